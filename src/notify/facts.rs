//! What the configuration knows of a runner, for those who tell of it.

use super::event::{BuildFacts, RunnerFacts};
use crate::config::Pool;
use crate::model::{LabelSet, PoolName, RunnerName};

impl RunnerFacts {
    /// Of a runner of this pool.
    pub fn of(name: &RunnerName, pool: &Pool) -> Self {
        let build = pool.build.as_ref();
        Self {
            name: name.clone(),
            pool: pool.name.clone(),
            labels: pool.labels.clone(),
            image: pool.image.clone(),
            base_image: pool.base_image.clone(),
            techno: build.and_then(|build| build.techno.clone()),
            techno_version: build.and_then(|build| build.techno_version.clone()),
        }
    }

    /// Of a runner whose pool is not in the configuration any more.
    pub fn bare(name: &RunnerName, pool: &PoolName, image: &str) -> Self {
        Self {
            name: name.clone(),
            pool: pool.clone(),
            labels: LabelSet::default(),
            image: image.to_owned(),
            base_image: None,
            techno: None,
            techno_version: None,
        }
    }
}

impl BuildFacts {
    /// Of a build of this pool that makes `image`; none where the pool's image is not made here.
    pub fn of(pool: &Pool, image: &str) -> Option<Self> {
        let build = pool.build.as_ref()?;
        Some(Self {
            pool: pool.name.clone(),
            image: image.to_owned(),
            dockerfile: build.dockerfile.display().to_string(),
            base_image: pool.base_image.clone(),
            techno: build.techno.clone(),
            techno_version: build.techno_version.clone(),
        })
    }
}
