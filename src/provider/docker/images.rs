//! Images in the engine: looked at, tagged, removed, or made of one layer.

use super::Docker;
use super::connection::{CHANGE, LOOK_UP};
use crate::provider::ProviderError;
use bollard::query_parameters::{CreateImageOptions, ListImagesOptions, RemoveImageOptions};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use std::collections::HashMap;
use std::time::Duration;

/// For an image of one layer from this machine.
const IMPORT: Duration = Duration::from_secs(15 * 60);

impl Docker {
    /// Whether the engine has this image.
    pub async fn has_image(&self, reference: &str) -> Result<bool, ProviderError> {
        match self.connection.call(LOOK_UP, |docker| async move { docker.inspect_image(reference).await }).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is(404) => Ok(false),
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
        match tokio::time::timeout(IMPORT, progress).await {
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
