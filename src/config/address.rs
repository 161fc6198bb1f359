//! Where the program listens, and where it finds Docker.

use super::leaf::{Leaf, Wrong};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;

/// `127.0.0.1:8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listen(pub(super) SocketAddr);

impl Leaf for Listen {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
        text.parse().map(Self).map_err(|_| {
            let wrong = Wrong::new(
                "is not an address to listen on",
                "write an IP address and a port, as in `127.0.0.1:8080`, or `0.0.0.0:8080` for all interfaces",
            );
            let port = text.strip_prefix(':').unwrap_or(&text);
            if port.parse::<u16>().is_ok() {
                return wrong.guess(format!("write `127.0.0.1:{port}`, or `0.0.0.0:{port}` for all interfaces"));
            }
            wrong
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["127.0.0.1:8080", "0.0.0.0:8080"] })
    }
}

/// `/webhook`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UrlPath(pub(super) String);

impl Leaf for UrlPath {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let hint = "write a path such as `/webhook`";
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
        if !text.starts_with('/')
            || text.len() < 2
            || text.ends_with('/')
            || text.contains("//")
            || !text.chars().all(good)
        {
            return Err(Wrong::new("is not a path that the receiver can have", hint));
        }
        if matches!(text, "/healthz" | "/readyz") {
            return Err(Wrong::new("is taken: the program answers there itself", hint));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^/|\$\{" })
    }
}

/// `https://ci.example.com`: where GitHub reaches the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicUrl(pub(super) String);

impl Leaf for PublicUrl {
    fn parse(text: &str) -> Result<Self, Wrong> {
        crate::config::public_url(text).map(Self).map_err(|why| {
            Wrong::new(why, "write the address at which GitHub reaches this receiver, as in `https://ci.example.com`")
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^https?://|\$\{", "examples": ["https://ci.example.com"] })
    }
}

/// Where Docker's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DockerUrl(pub(super) String);

impl Leaf for DockerUrl {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let hint = "write `unix:///var/run/docker.sock` or `tcp://host:2375`";
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Wrong::new("is not the address of a Docker engine", hint));
        };
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self(text.to_owned())),
            "tcp" | "http" if !rest.is_empty() && !rest.contains(['/', '@']) && !rest.contains(char::is_whitespace) => {
                Ok(Self(text.to_owned()))
            }
            "ssh" | "https" | "npipe" => {
                Err(Wrong::new(format!("cannot be reached: `{scheme}://` is not in this version yet"), hint))
            }
            _ => Err(Wrong::new("is not the address of a Docker engine", hint)),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^(unix|tcp|http)://|\$\{" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::leaf::takes;
    use super::*;

    #[test]
    fn addresses_and_paths() {
        takes::<Listen>(
            &["127.0.0.1:8080", "0.0.0.0:0", "[::1]:80", "localhost:80"],
            &["", "8080", ":8080", "example.org:80", "1.2.3.4"],
        );
        takes::<UrlPath>(&["/webhook", "/a/b-c"], &["", "/", "webhook", "/a?b", "/a/", "//a", "/healthz", "/a b"]);
        takes::<PublicUrl>(
            &["https://ci.example.com", "https://ci.example.com/ci/", "http://127.0.0.1:8080", "http://localhost"],
            &["", "ci.example.com", "http://ci.example.com", "https://", "https://a b", "https://x?y", "ftp://x"],
        );
        takes::<DockerUrl>(
            &["unix:///var/run/docker.sock", "tcp://10.0.0.5:2375"],
            &["", "/var/run/docker.sock", "unix://x", "ssh://host", "tcp://", "tcp://a/b"],
        );
    }
}
