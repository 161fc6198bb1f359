//! What an image's reference names, read as Docker reads it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Docker's own registry, under the name that references have.
const DOCKER_HUB: &str = "docker.io";

/// `registry/repository:tag@digest`, with what Docker adds where a part is missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Registry and repository as they are written.
    name: String,
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// A text that is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no image: {why}")]
pub struct InvalidReference {
    text: String,
    why: &'static str,
}

impl Reference {
    /// `docker.io`, `ghcr.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one is written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// `sha256:…`, if it is written.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The tag; `latest` where neither tag nor digest is written; none where only a digest is.
    pub fn effective_tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// The same image name with another tag, written as this one is; without a digest.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// The same with another digest; a tag stays.
    #[must_use]
    pub fn with_digest(&self, digest: &str) -> Self {
        Self { digest: Some(digest.to_owned()), ..self.clone() }
    }

    /// Host and port of the registry's API.
    pub fn host(&self) -> &str {
        if self.registry == DOCKER_HUB { "registry-1.docker.io" } else { &self.registry }
    }

    /// Whether the registry is on this machine. Only such a one is spoken to without TLS, as Docker does it.
    pub fn is_on_loopback(&self) -> bool {
        is_loopback(host_of(&self.registry))
    }
}

/// Whether a host name or address is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Without the port.
fn host_of(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !registry.ends_with(']') => host,
        _ => registry,
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let wrong = |why| InvalidReference { text: text.chars().take(100).collect(), why };
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) if is_digest(digest) => (named, Some(digest.to_owned())),
            Some(_) => return Err(wrong("the digest behind `@` is not `sha256:` and 64 hexadecimal digits")),
            None => (text, None),
        };
        // A colon in front of the last slash belongs to the registry's port.
        let (name, tag) = match named.rsplit_once(':') {
            Some((name, tag)) if !tag.contains(['/', ']']) => (name, Some(tag)),
            _ => (named, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("the tag behind `:` is not one"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first, path),
            _ => (DOCKER_HUB, name),
        };
        if !is_host(registry) {
            return Err(wrong("the registry in front of `/` is not a host"));
        }
        let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
        if path.len() > 255 || !path.split('/').all(is_component) {
            return Err(wrong("its name is not one"));
        }
        let repository =
            if registry == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        Ok(Self {
            name: name.to_owned(),
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Whether the part in front of the first slash is a registry; else the whole name is a path at Docker's own.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_host(registry: &str) -> bool {
    if registry.starts_with('[') {
        let address = host_of(registry).trim_start_matches('[').trim_end_matches(']');
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// Letters and digits, with single separators (`.`, `_`, `__`, or any number of `-`) between them.
fn is_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    component.starts_with(alphanumeric)
        && component.ends_with(alphanumeric)
        && component
            .split(alphanumeric)
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parts(text: &str) -> (String, String, Option<String>, Option<String>) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), text, "written as it was");
        let owned = |part: Option<&str>| part.map(str::to_owned);
        (
            reference.registry().to_owned(),
            reference.repository().to_owned(),
            owned(reference.tag()),
            owned(reference.digest()),
        )
    }

    #[test]
    fn references_are_read_as_docker_reads_them() {
        let with_digest = format!("ghcr.io/a/b:1@{DIGEST}");
        for (text, registry, repository, tag, digest) in [
            ("alpine", "docker.io", "library/alpine", None, None),
            ("alpine:3.20", "docker.io", "library/alpine", Some("3.20"), None),
            ("acme/web:1", "docker.io", "acme/web", Some("1"), None),
            ("docker.io/alpine", "docker.io", "library/alpine", None, None),
            ("index.docker.io/library/alpine", "docker.io", "library/alpine", None, None),
            ("ghcr.io/actions/actions-runner:2.331.0", "ghcr.io", "actions/actions-runner", Some("2.331.0"), None),
            ("localhost/a", "localhost", "a", None, None),
            ("localhost:5000/a/b_c:x", "localhost:5000", "a/b_c", Some("x"), None),
            ("127.0.0.1:5000/a", "127.0.0.1:5000", "a", None, None),
            ("[::1]:5000/a:1", "[::1]:5000", "a", Some("1"), None),
            ("[::1]/a", "[::1]", "a", None, None),
            ("registry:5000/a", "registry:5000", "a", None, None),
            ("foo/bar/baz", "docker.io", "foo/bar/baz", None, None),
            (&with_digest, "ghcr.io", "a/b", Some("1"), Some(DIGEST)),
        ] {
            let owned = |part: Option<&str>| part.map(str::to_owned);
            assert_eq!(parts(text), (registry.into(), repository.into(), owned(tag), owned(digest)), "{text}");
        }
    }

    #[test]
    fn what_docker_refuses() {
        for text in [
            "",
            "Alpine",
            "a b",
            "a:",
            ":1",
            "a/",
            "/a",
            "a//b",
            "a@sha256:12",
            "-a/b",
            "ghcr.io/A/b",
            "a:-x",
            "a..b",
            "a___b",
            "ghcr.io:port/a",
            "[::g]:1/a",
            "a:b:c",
            "https://ghcr.io/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        let loopback = |text: &str| text.parse::<Reference>().unwrap().is_on_loopback();
        for text in ["localhost/a", "localhost:5000/a", "127.0.0.1:5000/a", "127.9.9.9/a", "[::1]:5000/a", "[::1]/a"] {
            assert!(loopback(text), "{text}");
        }
        for text in ["a", "ghcr.io/a", "10.0.0.1:5000/a", "localhost.example.com/a", "127.0.0.1.example.com/a"] {
            assert!(!loopback(text), "{text}");
        }
    }

    #[test]
    fn another_tag_is_written_the_same_way() {
        let reference: Reference = "alpine:3.20".parse().unwrap();
        assert_eq!(reference.with_tag("3.21").to_string(), "alpine:3.21");
        assert_eq!(reference.with_digest(DIGEST).to_string(), format!("alpine:3.20@{DIGEST}"));
        assert_eq!(reference.host(), "registry-1.docker.io");
        let tag = |text: &str| text.parse::<Reference>().unwrap().effective_tag().map(str::to_owned);
        assert_eq!(tag("a").as_deref(), Some("latest"));
        assert_eq!(tag(&format!("a@{DIGEST}")), None);
    }
}
