//! Images in the engine: looked at, tagged, removed, or made of one layer.

use super::connection::{CHANGE, LOOK_UP};
use super::{Docker, labels};
use crate::model::{ImageId, PoolName};
use crate::provider::ProviderError;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    CreateImageOptions, ListContainersOptions, ListImagesOptions, RemoveImageOptions, TagImageOptions,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// For an image of one layer from this machine.
const IMPORT: Duration = Duration::from_secs(15 * 60);

/// Looked at so many at a time.
const AT_ONCE: usize = 8;

/// An image of the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineImage {
    /// `sha256:…`.
    pub id: String,
    /// Its names, each with a tag.
    pub tags: Vec<String>,
    /// Its names in registries, each with the digest of its manifest.
    pub digests: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Bytes, all layers.
    pub size: u64,
    /// Who its containers run as; empty for root.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Where its containers start.
    pub work_dir: String,
}

/// A container, and the image that it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    /// The image's id.
    pub image: String,
    /// The container's name.
    pub container: String,
    /// Whether it is of this fleet.
    pub is_ours: bool,
    /// The runner's pool, as its label says.
    pub pool: Option<PoolName>,
}

fn told(found: ImageInspect) -> EngineImage {
    let config = found.config.unwrap_or_default();
    EngineImage {
        id: found.id.unwrap_or_default(),
        tags: found.repo_tags.unwrap_or_default().into_iter().filter(|tag| !tag.contains("<none>")).collect(),
        digests: found.repo_digests.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        // An image of no layer has none, which the engine writes as the year 1.
        created_at: found
            .created
            .and_then(|text| text.parse::<Timestamp>().ok())
            .filter(|at| *at > Timestamp::UNIX_EPOCH),
        size: found.size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        work_dir: config.working_dir.unwrap_or_default(),
    }
}

impl Docker {
    /// Whether the engine has this image.
    pub async fn has_image(&self, reference: &str) -> Result<bool, ProviderError> {
        match self.connection.call(LOOK_UP, |docker| async move { docker.inspect_image(reference).await }).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is(404) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The image behind a reference or id; `None` where the engine has none.
    pub async fn image(&self, reference: &str) -> Result<Option<EngineImage>, ProviderError> {
        match self.connection.call(LOOK_UP, |docker| async move { docker.inspect_image(reference).await }).await {
            Ok(found) => Ok(Some(told(found))),
            Err(failure) if failure.is(404) => Ok(None),
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

    /// All images with this label (`key=value`), also those that lost their last name.
    pub async fn labelled_images(&self, label: &str) -> Result<Vec<EngineImage>, ProviderError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let listed = self.connection.call(LOOK_UP, |docker| async move { docker.list_images(Some(options)).await });
        let mut ids: Vec<String> = listed.await?.into_iter().map(|image| image.id).collect();
        // An engine may list an image once for each of its names.
        ids.sort();
        ids.dedup();
        let mut images: Vec<EngineImage> = stream::iter(ids.into_iter().map(|id| async move { self.image(&id).await }))
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|image| std::future::ready(Ok(image)))
            .try_collect()
            .await?;
        images.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(images)
    }

    /// Gives an image one more name; the name's former image loses it.
    pub async fn tag_image(&self, image: &str, reference: &str) -> Result<(), ProviderError> {
        let (repo, tag) = match reference.rsplit_once(':') {
            Some((repo, tag)) if !tag.contains('/') => (repo, tag),
            _ => (reference, "latest"),
        };
        let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
        let tagged =
            self.connection.call(CHANGE, |docker| async move { docker.tag_image(image, Some(options)).await }).await;
        Ok(tagged?)
    }

    /// All containers of the engine, by the image that each was made from.
    pub async fn image_users(&self) -> Result<Vec<ImageUser>, ProviderError> {
        let options = ListContainersOptions { all: true, ..Default::default() };
        let listed = self.connection.call(LOOK_UP, |docker| async move { docker.list_containers(Some(options)).await });
        let users = listed.await?.into_iter().filter_map(|container| {
            let pool = container.labels.as_ref().and_then(|labels| labels.get(labels::POOL)).map(PoolName::new);
            Some(ImageUser {
                pool,
                image: container.image_id?,
                container: container.names.unwrap_or_default().first()?.trim_start_matches('/').to_owned(),
                is_ours: labels::are_ours(container.labels.as_ref(), &self.instance),
            })
        });
        Ok(users.collect())
    }

    /// The processor's architecture, as images name it (`amd64`, `arm64`).
    pub async fn architecture(&self) -> Result<Option<String>, ProviderError> {
        Ok(self.connection.call(LOOK_UP, |docker| async move { docker.version().await }).await?.arch)
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
