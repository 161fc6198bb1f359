//! What each base image's registry has that is newer.

use crate::config::{Config, UpdatePolicy};
use crate::model::PoolName;
use crate::provider::docker::Docker;
use crate::registry::{Client, Reference, RegistryError, update};
use futures_util::{StreamExt, stream};
use serde::Serialize;

/// Asked at a time.
const AT_ONCE: usize = 4;
/// A newer tag may be announced before its image is there, or be for other machines. So many are looked at.
const MOST_CANDIDATES: usize = 5;

/// A base image, and what is newer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BaseImage {
    /// As the file has it.
    pub reference: String,
    /// The pools that are built on it, or run it.
    pub pools: Vec<PoolName>,
    /// A newer tag that the policy allows, with an image for this machine.
    pub newer_tag: Option<String>,
    /// What the same tag stands for now, where that is not what is here.
    pub newer_digest: Option<String>,
    /// Why it is not known whether there is something newer.
    pub error: Option<String>,
    /// Why nothing newer is looked for.
    pub note: Option<String>,
}

/// A newer base image, to be put in place of the old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Update {
    /// As the file has it.
    pub from: String,
    /// What it becomes; the same where only the image behind the tag is another one.
    pub to: String,
    /// The image behind the same tag.
    pub digest: Option<String>,
    /// The pools that are built on it, or run it.
    pub pools: Vec<PoolName>,
}

impl BaseImage {
    /// What to go to, if there is something newer: a newer tag before another image behind the same one.
    pub fn update(&self) -> Option<Update> {
        let reference: Reference = self.reference.parse().ok()?;
        let (to, digest) = match (&self.newer_tag, &self.newer_digest) {
            (Some(tag), _) => (reference.with_tag(tag), None),
            // Pinned in the file: so it is the file that changes.
            (None, Some(digest)) if reference.digest().is_some() => (reference.with_digest(digest), None),
            (None, Some(digest)) => (reference, Some(digest.clone())),
            (None, None) => return None,
        };
        Some(Update { from: self.reference.clone(), to: to.to_string(), digest, pools: self.pools.clone() })
    }
}

impl Update {
    /// Whether the file changes.
    pub fn changes_the_file(&self) -> bool {
        self.from != self.to
    }
}

/// Asks for each distinct base image, in the order of the file. What goes wrong with one is told with that one.
pub async fn check(config: &Config, client: &Client, docker: &Docker) -> Vec<BaseImage> {
    let policy = config.versions.policy;
    stream::iter(base_images(config).into_iter().map(|base| look(base, policy, config, client, docker)))
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// Each distinct one, with its pools.
fn base_images(config: &Config) -> Vec<BaseImage> {
    let mut bases: Vec<BaseImage> = Vec::new();
    for reference in config.pools.iter().filter_map(|pool| pool.base_image.as_ref()) {
        if bases.iter().any(|base| base.reference == *reference) {
            continue;
        }
        // A pool that names the same image as its own moves with it.
        let uses =
            |pool: &&crate::config::Pool| pool.base_image.as_ref() == Some(reference) || pool.image == *reference;
        let pools = config.pools.iter().filter(uses).map(|pool| pool.name.clone()).collect();
        bases.push(BaseImage { reference: reference.clone(), pools, ..BaseImage::default() });
    }
    bases
}

async fn look(base: BaseImage, policy: UpdatePolicy, config: &Config, client: &Client, docker: &Docker) -> BaseImage {
    let reference: Reference = match base.reference.parse() {
        Ok(reference) => reference,
        Err(error) => return BaseImage { error: Some(error.to_string()), ..base },
    };
    let brought = |name: &PoolName| config.pool(name).is_some_and(|pool| pool.build.is_none() && !pool.pull);
    if base.pools.iter().all(brought) {
        let note = "not looked for: its pools have `pull_policy: never`, so somebody else brings it";
        return BaseImage { note: Some(note.to_owned()), ..base };
    }
    let Some(tag) = reference.effective_tag() else {
        let note = "it is pinned by its digest alone: nothing says what would be newer";
        return BaseImage { note: Some(note.to_owned()), ..base };
    };
    if let Some(pinned) = reference.digest() {
        return match client.digest(&reference.with_tag(tag)).await {
            Ok(digest) => BaseImage { newer_digest: Some(digest).filter(|digest| digest != pinned), ..base },
            Err(error) => BaseImage { error: Some(error.to_string()), ..base },
        };
    }
    let here = docker.image(&base.reference).await.map(|image| image.map(|image| image.digests));
    let mut base = base;
    match newer_tag(&reference, tag, policy, client, docker).await {
        Ok(found) => base.newer_tag = found,
        // Made on this machine, under a name that only looks like one of a registry.
        Err(RegistryError::NotFound { .. } | RegistryError::Denied { anonymous: true, .. }) if matches!(&here, Ok(Some(digests)) if digests.is_empty()) =>
        {
            let note = format!("it was made on this machine; {} has no such image", reference.registry());
            return BaseImage { note: Some(note), ..base };
        }
        Err(error) => return BaseImage { error: Some(error.to_string()), ..base },
    }
    match here {
        Ok(Some(digests)) if !digests.is_empty() => match client.digest(&reference).await {
            Ok(digest) => {
                let known = digests.iter().any(|here| here.rsplit('@').next() == Some(digest.as_str()));
                base.newer_digest = Some(digest).filter(|_| !known);
            }
            Err(error) => base.error = Some(error.to_string()),
        },
        // Not here yet: what will be pulled is the newest. Or made here: there is nothing to compare.
        Ok(_) => {}
        Err(error) => base.error = Some(format!("whether `{tag}` is another image now is not known: {error}")),
    }
    base
}

/// The newest tag that has an image for this machine.
async fn newer_tag(
    reference: &Reference,
    tag: &str,
    policy: UpdatePolicy,
    client: &Client,
    docker: &Docker,
) -> Result<Option<String>, RegistryError> {
    if policy == UpdatePolicy::Digest || update::version_in(tag).is_none() {
        // Whether it is there at all is worth knowing all the same.
        client.digest(reference).await?;
        return Ok(None);
    }
    let tags = client.tags(reference).await?;
    let candidates = update::newer(tag, &tags, policy);
    if candidates.is_empty() {
        return Ok(None);
    }
    // An engine that does not answer says nothing against a tag.
    let architecture = docker.architecture().await.ok().flatten();
    for candidate in candidates.into_iter().take(MOST_CANDIDATES) {
        match client.manifest(&reference.with_tag(candidate)).await {
            Ok(manifest) => {
                let fits = |platform: &crate::registry::Platform| {
                    platform.os == "linux" && architecture.as_ref().is_none_or(|it| *it == platform.architecture)
                };
                if manifest.platforms.is_empty() || manifest.platforms.iter().any(fits) {
                    return Ok(Some(candidate.to_owned()));
                }
            }
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_tag_goes_before_another_image_behind_the_same() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let base = |reference: &str, tag: Option<&str>, moved: bool| BaseImage {
            reference: reference.to_owned(),
            newer_tag: tag.map(str::to_owned),
            newer_digest: moved.then(|| digest.clone()),
            ..BaseImage::default()
        };
        let to = |base: BaseImage| base.update().map(|update| (update.to.clone(), update.changes_the_file()));
        assert_eq!(to(base("a:1.0.0", Some("1.1.0"), true)), Some(("a:1.1.0".to_owned(), true)));
        assert_eq!(to(base("a:1.0.0", None, true)), Some(("a:1.0.0".to_owned(), false)));
        assert_eq!(base("a:1.0.0", None, true).update().unwrap().digest, Some(digest.clone()));
        assert_eq!(to(base("a", None, true)), Some(("a".to_owned(), false)));
        let pinned = format!("a:1@sha256:{}", "b".repeat(64));
        assert_eq!(to(base(&pinned, None, true)), Some((format!("a:1@{digest}"), true)));
        assert_eq!(to(base("a:1.0.0", None, false)), None);
    }
}
