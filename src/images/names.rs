//! What images are called. The repository of a pool is [`built_image::repository`]'s word.

use crate::model::{InstanceId, PoolName, built_image};

/// Docker allows 128 signs in a tag; digest and separator take 13.
const LONGEST_VERSION: usize = 100;
/// So much of a digest is in a tag.
const SHORT: usize = 12;

/// The tag that stays: base version and input digest.
pub fn built(instance: &InstanceId, pool: &PoolName, base: &str, digest: &str) -> String {
    format!("{}:{}", built_image::repository(instance, pool), version(base, digest))
}

/// The tag alone: `2.336.0-0c1f66d2c0de`.
pub fn version(base: &str, digest: &str) -> String {
    format!("{}-{}", base_version(base), short(digest))
}

/// The tag of the image that was current before.
pub fn previous(instance: &InstanceId, pool: &PoolName) -> String {
    format!("{}:previous", built_image::repository(instance, pool))
}

/// What all repositories of a fleet begin with.
pub fn prefix(instance: &InstanceId) -> String {
    let repository = built_image::repository(instance, &PoolName::new("x"));
    repository.strip_suffix('x').unwrap_or(&repository).to_owned()
}

/// The first signs of a digest or an image's id.
pub fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..SHORT).unwrap_or(hex)
}

/// The tag of a reference; none where it has no tag.
pub fn tag(reference: &str) -> Option<&str> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map(|(_, tag)| tag)
}

/// The base's version as a part of a tag: its tag, or what stands in a tag's place.
fn base_version(reference: &str) -> String {
    let version = match (tag(reference), reference.split_once('@')) {
        (Some(tag), _) => tag,
        (None, Some((_, digest))) => short(digest),
        (None, None) => "latest",
    };
    version
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .take(LONGEST_VERSION)
        .collect()
}

/// The agent's version, where the base's tag begins with one: `2.336.0` of `…:v2.336.0-jammy`.
pub fn runner_version(reference: &str) -> Option<&str> {
    let tag = tag(reference)?;
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let end = tag.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tag.len());
    let version = tag[..end].trim_end_matches('.');
    (version.contains('.') && version.starts_with(|c: char| c.is_ascii_digit())).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0c1f66d2c0de0000000000000000000000000000000000000000000000000000";

    #[test]
    fn a_tag_has_the_base_s_version_and_the_digest() {
        for (base, expected) in [
            ("ghcr.io/actions/actions-runner:2.336.0", "2.336.0-0c1f66d2c0de"),
            ("localhost:5000/runner", "latest-0c1f66d2c0de"),
            ("runner@sha256:aabbccddeeff00112233", "aabbccddeeff-0c1f66d2c0de"),
            ("runner:v2@sha256:aabbccddeeff00112233", "v2-0c1f66d2c0de"),
        ] {
            assert_eq!(version(base, DIGEST), expected);
        }
        let tag = built(&InstanceId::new("Prod"), &PoolName::new("web"), &format!("a:{}", "9".repeat(128)), DIGEST);
        let tag = tag.strip_prefix("runnerfleet/prod/web:").unwrap();
        assert!(tag.len() <= 128 && tag.ends_with("9-0c1f66d2c0de"), "{tag}");
        assert_eq!(prefix(&InstanceId::new("Prod_1")), "runnerfleet/prod-1/");
    }

    #[test]
    fn the_agent_s_version_is_a_version() {
        for (base, expected) in [
            ("ghcr.io/actions/actions-runner:2.336.0", Some("2.336.0")),
            ("a/b:v2.336.0-jammy", Some("2.336.0")),
            ("a/b:2.", None),
            ("a/b:latest", None),
            ("localhost:5000/b", None),
        ] {
            assert_eq!(runner_version(base), expected, "{base}");
        }
    }
}
