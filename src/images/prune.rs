//! Images that nobody needs: what goes is decided by [`unneeded`] (pure) and removed by [`prune`].

use super::{BASE_ID, INSTANCE, ImageError, names};
use crate::config::Config;
use crate::model::{InstanceId, PoolName, built_image};
use crate::provider::docker::Docker;
use crate::provider::docker::images::{EngineImage, ImageUser};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An image that can go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unneeded {
    /// The engine's id.
    pub id: String,
    /// Its names of ours.
    pub names: Vec<String>,
    /// Bytes that it has more than its base.
    pub size: u64,
    /// Whether it stays under a name that somebody else gave it.
    pub stays: bool,
}

/// What became of one.
#[derive(Debug)]
pub struct Pruned {
    /// Which.
    pub image: Unneeded,
    /// Whether it went.
    pub result: Result<(), ImageError>,
}

/// Which images can go: those of this fleet that are neither current nor used by a container. The one before the current
/// one stays for the way back, unless `all`. A pool that is not in the file any more has no current one.
pub fn unneeded(
    images: &[EngineImage],
    users: &[ImageUser],
    instance: &InstanceId,
    pools: &[PoolName],
    all: bool,
) -> Vec<Unneeded> {
    let used: BTreeSet<&str> = users.iter().map(|user| user.image.as_str()).collect();
    let kept: BTreeSet<String> = pools
        .iter()
        .flat_map(|pool| {
            let previous = (!all).then(|| names::previous(instance, pool));
            std::iter::once(built_image::current(instance, pool)).chain(previous)
        })
        .collect();
    let sizes: BTreeMap<&str, u64> = images.iter().map(|image| (image.id.as_str(), image.size)).collect();
    let prefix = names::prefix(instance);
    images
        .iter()
        // By label alone: a name proves nothing.
        .filter(|image| image.labels.get(INSTANCE).map(String::as_str) == Some(instance.as_str()))
        .filter(|image| !used.contains(image.id.as_str()) && !image.tags.iter().any(|tag| kept.contains(tag)))
        .map(|image| {
            let (ours, others): (Vec<_>, Vec<_>) = image.tags.iter().cloned().partition(|tag| tag.starts_with(&prefix));
            let below =
                image.labels.get(BASE_ID).and_then(|base| sizes.get(base.as_str())).copied().unwrap_or_default();
            Unneeded {
                id: image.id.clone(),
                names: ours,
                size: image.size.saturating_sub(below),
                stays: !others.is_empty(),
            }
        })
        // One that only others name is theirs already.
        .filter(|image| !image.stays || !image.names.is_empty())
        .collect()
}

/// What could go now.
///
/// # Errors
/// The engine does not answer.
pub async fn look(config: &Config, docker: &Docker, all: bool) -> Result<Vec<Unneeded>, ImageError> {
    let mut images = docker.labelled_images(&format!("{INSTANCE}={}", config.instance)).await?;
    let bases: BTreeSet<String> = images.iter().filter_map(|image| image.labels.get(BASE_ID).cloned()).collect();
    // For their sizes.
    for base in bases {
        images.extend(docker.image(&base).await?.filter(|image| !image.labels.contains_key(INSTANCE)));
    }
    let users = docker.image_users().await?;
    let pools: Vec<_> = config.pools.iter().filter(|pool| pool.build.is_some()).map(|pool| pool.name.clone()).collect();
    Ok(unneeded(&images, &users, &config.instance, &pools, all))
}

/// Removes them, one after the other.
pub async fn prune(docker: &Docker, images: Vec<Unneeded>) -> Vec<Pruned> {
    let mut pruned = Vec::new();
    for image in images {
        let result = remove(docker, &image).await;
        pruned.push(Pruned { image, result });
    }
    pruned
}

async fn remove(docker: &Docker, image: &Unneeded) -> Result<(), ImageError> {
    for name in &image.names {
        // The name may belong to another image since it was looked at.
        if docker.image(name).await?.is_some_and(|found| found.id == image.id) {
            docker.remove_image(name).await?;
        }
    }
    if image.names.is_empty() {
        docker.remove_image(&image.id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, tags: &[&str], size: u64) -> EngineImage {
        let labels =
            BTreeMap::from([(INSTANCE.to_owned(), "fleet".to_owned()), (BASE_ID.to_owned(), "base".to_owned())]);
        let tags = tags.iter().map(|tag| tag.replace("WEB", "runnerfleet/fleet/web")).collect();
        EngineImage { id: id.to_owned(), tags, labels, size, ..Default::default() }
    }

    fn ids(images: &[EngineImage], used: &[&str], all: bool) -> Vec<String> {
        let users: Vec<_> = used
            .iter()
            .map(|id| ImageUser { image: (*id).to_owned(), container: "c".to_owned(), is_ours: false, pool: None })
            .collect();
        let pools = [PoolName::new("web")];
        let found = unneeded(images, &users, &InstanceId::new("fleet"), &pools, all);
        found.into_iter().map(|image| image.id).collect()
    }

    #[test]
    fn what_is_current_before_or_used_stays() {
        let images = [
            image("now", &["WEB:current", "WEB:1-a"], 10),
            image("before", &["WEB:previous", "WEB:1-b"], 10),
            image("old", &["WEB:1-c"], 10),
            image("nameless", &[], 10),
            image("gone-pool", &["runnerfleet/fleet/gone:current"], 10),
        ];
        assert_eq!(ids(&images, &[], false), ["old", "nameless", "gone-pool"]);
        assert_eq!(ids(&images, &["old", "gone-pool"], false), ["nameless"]);
        assert_eq!(ids(&images, &[], true), ["before", "old", "nameless", "gone-pool"]);
    }

    #[test]
    fn ownership_is_the_label_s() {
        let mut stranger = image("stranger", &["WEB:1-x"], 10);
        stranger.labels.insert(INSTANCE.to_owned(), "fleet-2".to_owned());
        let mut unlabelled = image("unlabelled", &["WEB:1-y"], 10);
        unlabelled.labels.clear();
        assert!(ids(&[stranger, unlabelled], &[], true).is_empty());
    }

    #[test]
    fn somebody_else_s_name_stays_and_the_base_is_not_counted() {
        let base = EngineImage { id: "base".to_owned(), size: 100, ..Default::default() };
        let images = [base, image("a", &["mine:1", "WEB:1-a"], 130), image("b", &["mine:2"], 130)];
        let found = unneeded(&images, &[], &InstanceId::new("fleet"), &[PoolName::new("web")], false);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].names.as_slice(), found[0].stays, found[0].size),
            (&["runnerfleet/fleet/web:1-a".to_owned()][..], true, 30)
        );
    }
}
