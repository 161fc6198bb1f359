//! Images in the engine: pulled from a registry, or made from what is here.

use super::Docker;
use super::connection::{CHANGE, Failure, LOOK_UP};
use crate::model::ImageId;
use crate::provider::ProviderError;
use bollard::query_parameters::{CreateImageOptions, ListImagesOptions, RemoveImageOptions};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use std::collections::HashMap;
use std::time::Duration;
use tracing::info;

/// A cold pull of the official image (about 500 MB) over a slow line; longer, and the pool's own deadline has passed.
const PULL: Duration = Duration::from_secs(15 * 60);

impl Docker {
    /// Pulls an image. Registries that ask who we are are out of reach: credentials stay on the host.
    pub(super) async fn pull(&self, image: &str) -> Result<(), ProviderError> {
        info!("pulling `{image}`");
        // Without a tag the engine would pull every tag that there is.
        let from_image = if has_tag(image) { image.to_owned() } else { format!("{image}:latest") };
        let options = CreateImageOptions { from_image: Some(from_image), ..Default::default() };
        let client = self.connection.client().await?;
        let progress = client.create_image(Some(options), None, None).try_for_each(|_| std::future::ready(Ok(())));
        let why = match tokio::time::timeout(PULL, progress).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => match self.connection.failure(error) {
                Failure::Answer { message, .. } => message,
                failure => return Err(failure.into()),
            },
            Err(_) => format!("the pull took longer than {} minutes", PULL.as_secs() / 60),
        };
        Err(ProviderError::ImageMissing {
            image: image.to_owned(),
            why: format!(
                "{why} (pulls are made without registry credentials; `docker pull {image}` on the host can use its own)"
            ),
        })
    }

    /// Whether the engine has this image.
    pub async fn has_image(&self, reference: &str) -> Result<bool, ProviderError> {
        match self.connection.call(LOOK_UP, |docker| async move { docker.inspect_image(reference).await }).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is(404) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn id_of_image(&self, reference: &str) -> Result<Option<ImageId>, ProviderError> {
        match self.connection.call(LOOK_UP, |docker| async move { docker.inspect_image(reference).await }).await {
            Ok(found) => Ok(found.id.map(ImageId::new)),
            Err(failure) if failure.is(404) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Makes an image of one layer from a tar stream. `changes` are lines of a Dockerfile (`ENV`, `USER`, `LABEL`, …).
    /// An import, not a build: every engine since 20.10 does it the same way, with no builder and no registry.
    pub async fn import_image<S>(
        &self,
        repository: &str,
        tag: &str,
        changes: Vec<String>,
        layer: S,
    ) -> Result<(), ProviderError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            changes,
            ..Default::default()
        };
        let client = self.connection.client().await?;
        let progress = client
            .create_image(Some(options), Some(bollard::body_try_stream(layer)), None)
            .try_for_each(|_| std::future::ready(Ok(())));
        match tokio::time::timeout(PULL, progress).await {
            Ok(done) => done.map_err(|error| self.connection.failure(error).into()),
            Err(_) => Err(ProviderError::Unavailable("the import of an image does not end".to_owned())),
        }
    }

    /// The references of all images with this label (`key=value`).
    pub async fn images_with_label(&self, label: &str) -> Result<Vec<String>, ProviderError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let images = self.connection.call(LOOK_UP, |docker| async move { docker.list_images(Some(options)).await });
        Ok(images.await?.into_iter().flat_map(|image| image.repo_tags).collect())
    }

    /// Removes an image. One that is gone is no error; one in use stays, and that is [`ProviderError::Refused`].
    pub async fn remove_image(&self, reference: &str) -> Result<(), ProviderError> {
        let removed = self
            .connection
            .call(
                CHANGE,
                |docker| async move { docker.remove_image(reference, None::<RemoveImageOptions>, None).await },
            )
            .await;
        match removed {
            Ok(_) => Ok(()),
            Err(failure) if failure.is(404) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// Whether a reference names a tag or digest. A colon before the last slash belongs to the registry's port.
fn has_tag(image: &str) -> bool {
    image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        assert!(has_tag("alpine:3") && has_tag("localhost:5000/a/b:1") && has_tag("a/b@sha256:00"));
        assert!(!has_tag("alpine") && !has_tag("localhost:5000/a/b"));
    }
}
