//! Names that somebody else will check as well: Docker, GitHub, the kernel. Told here, before anything is started.

use super::leaf::{Leaf, Wrong, nearest, text_schema};
use super::node::Kind;
use serde_json::{Value as Json, json};

/// Docker's rule for names of containers, networks and (the value of) our labels.
const DOCKER_NAME: &str = "letters, digits, `_`, `.` and `-` are possible, a letter or digit first";

/// A name by Docker's rule, at most `MAX` characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Name<const MAX: usize>(pub(super) String);

impl<const MAX: usize> Leaf for Name<MAX> {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if !is_docker_name(text) {
            return Err(Wrong::new("is not a possible name", DOCKER_NAME));
        }
        if text.len() > MAX {
            return Err(Wrong::new("is too long", format!("{MAX} characters are the most")));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        text_schema()
    }
}

/// Whether Docker takes it as a name.
pub(super) fn is_docker_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// A label of a runner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Label(pub(super) String);

impl Leaf for Label {
    fn parse(text: &str) -> Result<Self, Wrong> {
        match text {
            "" => Err(Wrong::new("is empty", "a label has at least one character")),
            // The agent's `--labels` is split at commas, and `runs-on` has no way to ask for a blank.
            _ if text.contains(',') => {
                let each: Vec<_> = text.split(',').map(|label| format!("`{}`", label.trim())).collect();
                let wrong = Wrong::new("has a comma", "write each label as an item of its own");
                Err(wrong.guess(format!("write them as items of their own: {}", each.join(", "))))
            }
            _ if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                Err(Wrong::new("has a blank", "a label is one word"))
            }
            _ if text.chars().count() > 256 => Err(Wrong::new("is too long", "256 characters are the most")),
            _ => Ok(Self(text.to_owned())),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"], "minLength": 1, "maxLength": 256, "pattern": r"^[^,\s]+$" })
    }
}

/// An image, as Docker's `pull` takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Image(pub(super) String);

impl Leaf for Image {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = |says: &str, hint: &str| Err(Wrong::new(format!("is not an image: {says}"), hint));
        let example = "as in `ghcr.io/actions/actions-runner:2.336.0`";
        if text.contains("://") {
            return wrong("it is a URL", "leave `https://` out");
        }
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return wrong("the digest behind `@` is not one", "it is `sha256:` and 64 hexadecimal digits");
        }
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return wrong(
                "the tag behind `:` is not one",
                "letters, digits, `_`, `.` and `-` are possible, at most 128",
            );
        }
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), path),
            _ => (None, name),
        };
        if host.is_some_and(|host| host.chars().any(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | ':' | '-'))) {
            return wrong("the registry in front of `/` is not a host", example);
        }
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return wrong("its name has capital letters", "names of images are in lower case");
        }
        let good = |part: &str| {
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            edge(part.chars().next())
                && edge(part.chars().next_back())
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
        };
        if !path.split('/').all(good) {
            return wrong("its name is not one", example);
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"], "examples": ["ghcr.io/actions/actions-runner:2.336.0"] })
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// A file or folder of the host inside the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mount(pub(super) String);

impl Leaf for Mount {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let hint = "write `/on/the/host:/in/the/container`, with `:ro` behind it to forbid writing";
        let parts: Vec<&str> = text.split(':').collect();
        let (host, inside) = match parts.as_slice() {
            [host, inside] | [host, inside, "ro" | "rw"] => (*host, *inside),
            _ => return Err(Wrong::new("is not a mount", hint)),
        };
        if !host.starts_with('/') || !inside.starts_with('/') {
            return Err(Wrong::new("is not a mount: both paths have to start with `/`", hint));
        }
        if inside.trim_matches('/').is_empty() || host.split('/').chain(inside.split('/')).any(|part| part == "..") {
            return Err(Wrong::new("is not a mount: neither `/` as the inner path nor `..` is possible", hint));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["/srv/cache:/cache:ro"] })
    }
}

/// Linux's capabilities, without `CAP_`.
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// A capability that is given back to a container, without `CAP_`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Capability(pub(super) String);

impl Leaf for Capability {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if CAPABILITIES.contains(&name) {
            return Ok(Self(name.to_owned()));
        }
        let wrong = Wrong::new("is not a capability of Linux", "capabilities(7) lists them, as in `NET_ADMIN`");
        Err(match nearest(name, CAPABILITIES) {
            Some(near) => wrong.guess(format!("did you mean `{near}`?")),
            None => wrong,
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["NET_ADMIN"] })
    }
}

/// The agent's work folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkDir(pub(super) String);

impl Leaf for WorkDir {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.trim().is_empty() || text.contains('\0') || text.split('/').any(|part| part == "..") {
            return Err(Wrong::new("is not a work folder", "write `_work`, or a path without `..`"));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        text_schema()
    }
}

/// What to log: a level, or a filter as `tracing` knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogLevel(pub(super) String);

impl Leaf for LogLevel {
    fn parse(text: &str) -> Result<Self, Wrong> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let hint =
            "it is `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,runnerfleet::plan=debug`";
        if LEVELS.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        // A single word would be taken for a module's name, and all else be silent.
        if !text.contains('=') {
            let wrong = Wrong::new("is not a level of the log", hint);
            return Err(match nearest(text, LEVELS) {
                Some(near) => wrong.guess(format!("did you mean `{near}`?")),
                None => wrong,
            });
        }
        match tracing_subscriber::EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(Wrong::new("is not a filter for the log", hint)),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["info", "debug", "info,runnerfleet::plan=debug"] })
    }
}

/// `version: 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version;

impl Leaf for Version {
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "1" {
            Ok(Self)
        } else {
            Err(Wrong::new("is not a version of this file that the program knows", "write `version: 1`"))
        }
    }

    fn schema() -> Json {
        json!({ "const": 1 })
    }
}

/// `auto`, or the number of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installation {
    /// Looked up for each account.
    Auto,
    /// This one.
    Number(u64),
}

impl Leaf for Installation {
    fn parse(text: &str) -> Result<Self, Wrong> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match text.parse() {
                Ok(number) if number > 0 => Ok(Self::Number(number)),
                _ => Err(Wrong::new(
                    "is not an installation",
                    "write `auto`, or the number at the end of the installation's address at GitHub",
                )),
            },
        }
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"], "minimum": 1, "pattern": r"^auto$|^[0-9]+$|\$\{" })
    }
}

/// Client id or App id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppId(pub(super) String);

impl Leaf for AppId {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            return Err(Wrong::new(
                "is not the id of an App",
                "the App's settings page shows it, as in `Iv23liAbCdEf` or `12345`",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        text_schema()
    }
}

/// What all of our keys in Redis start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPrefix(pub(super) String);

impl Leaf for KeyPrefix {
    fn parse(text: &str) -> Result<Self, Wrong> {
        // The rest are marks of Redis's patterns.
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '{' | '}');
        if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
            let hint = "letters, digits, `:`, `-`, `_`, `.` and a hash tag in `{}` are possible, at most 64";
            return Err(Wrong::new("is not a prefix for keys", hint));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        text_schema()
    }
}

#[cfg(test)]
mod tests {
    use super::super::leaf::takes;
    use super::*;

    #[test]
    fn images() {
        takes::<Image>(
            &[
                "alpine",
                "ghcr.io/actions/actions-runner:2.336.0",
                "localhost:5000/a/b_c:x-1",
                "library/alpine@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                "a:1@sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            ],
            &[
                "",
                "Alpine",
                "a b",
                "a:",
                ":1",
                "a/",
                "/a",
                "a:b c",
                "https://ghcr.io/a",
                "a@sha256:12",
                "-a",
                "a//b",
                "ghcr.io/A/b",
            ],
        );
    }

    #[test]
    fn mounts() {
        takes::<Mount>(
            &["/a:/b", "/a/b:/c:ro", "/a:/b:rw"],
            &["", "/a", "a:/b", "/a:b", "/a:/b:z", "/a:/", "/a/../b:/c", "cache:/c", "/a:/b:ro:x"],
        );
    }

    #[test]
    fn filters_for_the_log() {
        takes::<LogLevel>(&["info", "off", "info,runnerfleet::plan=debug"], &["", "inof", "loud", "a=b=c"]);
    }

    #[test]
    fn labels_and_names() {
        takes::<Label>(&["gpu", "3.10", "größe"], &["", "a,b", "a b", "a\tb", &"x".repeat(257)]);
        takes::<Name<5>>(&["a", "A.b-c"], &["", "-a", "a/b", "ä", "abcdef"]);
        takes::<Capability>(&["NET_ADMIN", "cap_net_raw"], &["", "NETADMIN", "EVERYTHING"]);
        assert_eq!(Capability::parse("NET_ADMN").unwrap_err().hint(true), "did you mean `NET_ADMIN`?");
    }
}
