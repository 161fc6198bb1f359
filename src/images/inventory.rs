//! What there is: a row for each pool.

use super::ensure::read;
use super::{BASE, BASE_ID, INPUTS, ImageError, names};
use crate::config::{Build, Config, Pool};
use crate::model::PoolName;
use crate::provider::docker::Docker;
use crate::provider::docker::images::{EngineImage, ImageUser};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pool's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageRow {
    /// The pool.
    pub pool: PoolName,
    /// What it is built on, or runs as it is.
    pub base: Option<String>,
    /// What its containers are made from.
    pub image: String,
    /// The tag of the build that is current, or of the image that it runs as it is.
    pub version: Option<String>,
    /// The engine's id.
    pub id: Option<String>,
    /// The newest version of the base that its registry has, once somebody asked.
    pub newest: Option<String>,
    /// Bytes, all layers.
    pub size: Option<u64>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Runners of the pool that use it.
    pub runners: usize,
    /// Runners of the pool that use another one.
    pub outdated: usize,
    /// Whether it is what the file asks for.
    pub state: ImageState,
    /// More about the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether an image is what the file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageState {
    /// It is.
    Current,
    /// It was never built.
    NotBuilt,
    /// It is not on this engine.
    NotPulled,
    /// The base image is another one now.
    BaseMoved,
    /// The Dockerfile, its folder, or the arguments changed.
    InputsChanged,
    /// That cannot be told.
    Unknown,
}

impl ImageState {
    /// For a table.
    pub fn text(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::NotBuilt => "not built",
            Self::NotPulled => "not pulled",
            Self::BaseMoved => "base moved",
            Self::InputsChanged => "inputs changed",
            Self::Unknown => "unknown",
        }
    }
}

/// The images of these pools.
///
/// # Errors
/// The engine does not answer.
pub async fn inventory(config: &Config, docker: &Docker, pools: &[&Pool]) -> Result<Vec<ImageRow>, ImageError> {
    let config = Arc::new(config.clone());
    let users = docker.image_users().await?;
    let mut rows = Vec::new();
    for pool in pools {
        let image = docker.image(&pool.image).await?;
        let (state, why) = match (&pool.build, &image) {
            (None, None) => (ImageState::NotPulled, None),
            (None, Some(_)) => (ImageState::Current, None),
            (Some(_), None) => (ImageState::NotBuilt, None),
            (Some(build), Some(image)) => state(&config, docker, pool, build, image).await?,
        };
        rows.push(row(pool, image.as_ref(), &users, state, why));
    }
    Ok(rows)
}

fn row(
    pool: &Pool,
    image: Option<&EngineImage>,
    users: &[ImageUser],
    state: ImageState,
    why: Option<String>,
) -> ImageRow {
    let of_pool = users.iter().filter(|user| user.is_ours && user.pool.as_ref() == Some(&pool.name));
    let (using, others): (Vec<_>, Vec<_>) = of_pool.partition(|user| image.is_some_and(|image| image.id == user.image));
    let version = match (&pool.build, image) {
        (None, _) => names::tag(&pool.image).map(str::to_owned),
        (Some(_), Some(image)) => {
            image.labels.get(BASE).zip(image.labels.get(INPUTS)).map(|(base, digest)| names::version(base, digest))
        }
        (Some(_), None) => None,
    };
    ImageRow {
        pool: pool.name.clone(),
        base: pool.base_image.clone(),
        image: pool.image.clone(),
        version,
        id: image.map(|image| image.id.clone()),
        newest: None,
        size: image.map(|image| image.size),
        created_at: image.and_then(|image| image.created_at),
        runners: using.len(),
        outdated: others.len(),
        state,
        why,
    }
}

/// Holds a built image against what would be built now.
async fn state(
    config: &Arc<Config>,
    docker: &Docker,
    pool: &Pool,
    build: &Build,
    image: &EngineImage,
) -> Result<(ImageState, Option<String>), ImageError> {
    let base = pool.base_image.clone().unwrap_or_default();
    let inputs = match read(config.clone(), build.clone(), base.clone(), BTreeMap::new()).await {
        Ok(inputs) => inputs,
        Err(error) => return Ok((ImageState::Unknown, Some(error.to_string()))),
    };
    let mut ids = BTreeMap::new();
    for from in &inputs.images {
        if let Some(found) = docker.image(from).await? {
            ids.insert(from.clone(), found.id);
        }
    }
    let label = |key| image.labels.get(key);
    let built_on = label(BASE_ID);
    // A base that was cleared away has not moved.
    if let (false, Some(id)) = (ids.contains_key(&base), built_on) {
        ids.insert(base.clone(), id.clone());
    }
    Ok(if label(INPUTS) == Some(&inputs.digest(&ids)) {
        (ImageState::Current, None)
    } else if label(BASE) != Some(&base) {
        (ImageState::BaseMoved, label(BASE).map(|was| format!("built on {was}")))
    } else if ids.get(&base) != built_on && ids.contains_key(&base) {
        (ImageState::BaseMoved, Some(format!("`{base}` is another image now")))
    } else {
        (ImageState::InputsChanged, None)
    })
}
