//! One engine's address, and the client that speaks to it: made at the first call, made again after the engine was away.

use crate::provider::ProviderError;
use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, ClientVersion};
use http::Uri;
use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// For calls that only look something up. An engine under load answers within one or two seconds.
pub(super) const LOOK_UP: Duration = Duration::from_secs(15);
/// For calls that make, start or end a container: with many under way each waits for its turn in the engine.
pub(super) const CHANGE: Duration = Duration::from_secs(60);

/// bollard's own limit until an answer begins. Ours are shorter and around each call; this one only must not be shorter
/// than a slow registry's first word.
const ANSWER_BEGINS_SECS: u64 = 15 * 60;

/// Docker Engine 20.10. Before it, events and networks behave in ways that are not tested here.
const OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Unix(String),
    /// `host:port`, without TLS.
    Tcp(String),
}

/// A client, when there is one.
#[derive(Debug)]
pub(super) struct Connection {
    address: Address,
    client: Mutex<Option<bollard::Docker>>,
}

/// Why a call did not do what it should, before the caller makes sense of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer.
    Away(String),
    /// An answer that is not a yes.
    Answer {
        /// HTTP status; 200 where the engine told of an error inside a stream.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// An answer that cannot be read.
    Unreadable(String),
}

impl Address {
    /// From the configuration, `DOCKER_HOST`, or the usual socket, in this order.
    #[expect(clippy::disallowed_methods, reason = "`DOCKER_HOST` is Docker's own way to name the engine")]
    pub(super) fn choose(configured: Option<&str>) -> Result<Self, ProviderError> {
        let from_env = std::env::var("DOCKER_HOST").ok().filter(|text| !text.is_empty());
        Self::parse(configured.or(from_env.as_deref()).unwrap_or("unix:///var/run/docker.sock"))
    }

    fn parse(url: &str) -> Result<Self, ProviderError> {
        let refused = |why: &str| Err(ProviderError::Refused(format!("docker url `{url}`: {why}")));
        match url.split_once("://") {
            None if url.starts_with('/') => Ok(Self::Unix(url.to_owned())),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.to_owned())),
            Some(("tcp" | "http", rest)) => {
                let rest = rest.trim_end_matches('/');
                match rest.rsplit_once(':') {
                    Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                        Ok(Self::Tcp(rest.to_owned()))
                    }
                    _ => refused("host and port are needed, as in `tcp://127.0.0.1:2375`"),
                }
            }
            Some(("https" | "ssh", _)) => refused(
                "an engine behind TLS or ssh is not supported; run a manager on that host, or forward its socket \
                 (`ssh -L /run/remote-docker.sock:/var/run/docker.sock host`)",
            ),
            _ => refused("neither `unix:///path/to/docker.sock` nor `tcp://host:port`"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

impl Connection {
    pub(super) fn new(address: Address) -> Self {
        Self { address, client: Mutex::new(None) }
    }

    /// Where the engine is.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether files of the engine's machine can be looked at from here.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.address, Address::Unix(_))
    }

    /// A client that agreed with the engine on a version of its API.
    pub(super) async fn client(&self) -> Result<bollard::Docker, Failure> {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let fresh = match &self.address {
            Address::Unix(path) => bollard::Docker::connect_with_unix(path, ANSWER_BEGINS_SECS, API_DEFAULT_VERSION),
            Address::Tcp(host) => bollard::Docker::connect_with_http(host, ANSWER_BEGINS_SECS, API_DEFAULT_VERSION),
        };
        let fresh = fresh.map_err(|error| self.failure(error))?;
        let agreed = tokio::time::timeout(LOOK_UP, fresh.negotiate_version())
            .await
            .map_err(|_| self.too_slow(LOOK_UP))?
            .map_err(|error| self.failure(error))?;
        let version = agreed.client_version();
        if version < OLDEST {
            return Err(Failure::Unreadable(format!(
                "the engine at {} speaks API {version}; {OLDEST} (Docker Engine 20.10) is the oldest that is supported",
                self.address
            )));
        }
        // bollard 0.21 agrees on a version and then leaves it out of its requests; the engine would answer each in its
        // newest, whose shapes this program may not know.
        let agreed = agreed.with_request_modifier(move |mut request| {
            if let Some(uri) = with_version(request.uri(), version) {
                *request.uri_mut() = uri;
            }
            request
        });
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed.clone());
        Ok(agreed)
    }

    /// The next call agrees on a version again: an engine that was away may come back as another.
    pub(super) fn forget(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// One call, with a bound.
    pub(super) async fn call<T, F, Fut>(&self, limit: Duration, request: F) -> Result<T, Failure>
    where
        F: FnOnce(bollard::Docker) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let client = self.client().await?;
        match tokio::time::timeout(limit, request(client)).await {
            Ok(answer) => answer.map_err(|error| self.failure(error)),
            Err(_) => Err(self.too_slow(limit)),
        }
    }

    fn too_slow(&self, limit: Duration) -> Failure {
        self.forget();
        Failure::Away(format!("no answer from {} within {} seconds", self.address, limit.as_secs()))
    }

    /// Sorts bollard's errors by what they mean here.
    pub(super) fn failure(&self, error: Error) -> Failure {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                // An engine that was replaced by another between two calls.
                if status_code == 400 && message.contains("client version") {
                    self.forget();
                }
                Failure::Answer { status: status_code, message: message.trim().to_owned() }
            }
            Error::DockerStreamError { error } => Failure::Answer { status: 200, message: error.trim().to_owned() },
            error @ (Error::JsonDataError { .. }
            | Error::JsonSerdeError { .. }
            | Error::APIVersionParseError {}
            | Error::StrParseError { .. }) => {
                Failure::Unreadable(format!("the answer of {} cannot be read: {error}", self.address))
            }
            Error::SocketNotFoundError(path) => {
                self.forget();
                Failure::Away(format!("there is no socket at {path}"))
            }
            error => {
                self.forget();
                Failure::Away(format!("{}: {}", self.address, chain(&error)))
            }
        }
    }
}

/// `/v1.41/info` for `/info`; nothing where a version is there already.
fn with_version(uri: &Uri, version: ClientVersion) -> Option<Uri> {
    let path = uri.path_and_query()?;
    if path.as_str().starts_with("/v1.") {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("/v{version}{path}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// bollard's texts name the layer ("error in the hyper legacy client"), the cause names the fault ("connection refused").
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

impl Failure {
    /// What the engine answered, if it is this status.
    pub(super) fn is(&self, expected: u16) -> bool {
        matches!(self, Self::Answer { status, .. } if *status == expected)
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(why) | Failure::Answer { status: 502..=504, message: why } => Self::Unavailable(why),
            Failure::Answer { message, .. } | Failure::Unreadable(message) => Self::Refused(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let unix = |path: &str| Address::Unix(path.to_owned());
        assert_eq!(Address::parse("unix:///run/docker.sock").unwrap(), unix("/run/docker.sock"));
        assert_eq!(Address::parse("/run/docker.sock").unwrap(), unix("/run/docker.sock"));
        assert_eq!(Address::parse("tcp://10.0.0.7:2375/").unwrap(), Address::Tcp("10.0.0.7:2375".to_owned()));
        for (url, part) in [
            ("https://10.0.0.7:2376", "TLS"),
            ("ssh://me@there", "ssh"),
            ("tcp://10.0.0.7", "host and port"),
            ("unix://docker.sock", "neither"),
            ("docker", "neither"),
        ] {
            let refused = Address::parse(url).unwrap_err().to_string();
            assert!(refused.contains(url) && refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn every_request_names_the_version() {
        let uri: Uri = "unix://2f72756e/containers/json?all=true".parse().unwrap();
        let versioned = with_version(&uri, OLDEST).unwrap();
        assert_eq!(versioned.to_string(), "unix://2f72756e/v1.41/containers/json?all=true");
        assert_eq!(with_version(&versioned, OLDEST), None);
    }

    #[test]
    fn an_engine_that_is_shutting_down_is_away() {
        let answer = |status| ProviderError::from(Failure::Answer { status, message: "no".to_owned() });
        assert!(matches!(answer(503), ProviderError::Unavailable(_)));
        assert!(matches!(answer(500), ProviderError::Refused(_)));
        assert!(matches!(answer(409), ProviderError::Refused(_)));
    }
}
