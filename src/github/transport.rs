//! One request on the wire: octocrab carries it, everything else is decided here.
//!
//! octocrab's own authentication is not used (it would mint one token for each concurrent caller and send page 2 of a
//! list on a foreign base URL without any), nor its retries (one POST became four), nor its redirects (a redirected POST
//! became a GET). What comes back is the bare answer, for the callers to read.

use super::error::Error;
use super::line::Request;
use super::redact::redact;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use octocrab::{OctoBody, Octocrab};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The version of the REST API that our types are written for.
const API_VERSION: &str = "2022-11-28";

/// A page of 100 runners has some 100 kB; anything near this bound is not GitHub's answer.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// A renamed repository costs one redirect, one that was renamed again costs another.
const REDIRECTS_MAX: usize = 5;

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// No answer. The text holds no secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The connection could not be made, or broke.
    Network(String),
    /// It took too long.
    TimedOut(Duration),
    /// GitHub sent us somewhere that our token must not go.
    Astray(String),
}

/// Brings a request to GitHub, and its answer back, without a connection between: where GitHub is simulated in the same
/// process.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// One request, with its path and query below the origin.
    ///
    /// # Errors
    /// No answer came; in words.
    async fn carry(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String>;
}

/// How requests get there.
enum Way {
    Wire(Octocrab),
    Carried(Arc<dyn Carrier>),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wire(_) => "Wire",
            Self::Carried(_) => "Carried",
        })
    }
}

/// The way to one GitHub.
#[derive(Debug)]
pub(super) struct Transport {
    way: Way,
    origin: Uri,
    base_path: String,
    request_timeout: Duration,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// GitHub's clock when it answered.
    pub(super) fn date(&self) -> Option<Timestamp> {
        http_date(self.header("date")?)
    }
}

/// A moment as HTTP writes it.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

impl Transport {
    /// Must be called inside a Tokio runtime: octocrab starts a task there.
    pub(super) fn new(api_url: &str, connect_timeout: Duration, request_timeout: Duration) -> Result<Self, Error> {
        let unfit = |why: String| unfit(api_url, why);
        let (origin, base_path) = address(api_url)?;
        // An error only says that a provider was installed before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // The origin alone: octocrab's rule for joining a base path guesses, so paths are joined here.
        let octocrab = Octocrab::builder()
            .base_uri(origin.clone())
            .and_then(|builder| {
                builder
                    .set_connect_timeout(Some(connect_timeout))
                    .add_header(USER_AGENT, concat!("runnerfleet/", env!("CARGO_PKG_VERSION")).to_owned())
                    .add_header(ACCEPT, "application/vnd.github+json".to_owned())
                    .add_header(HeaderName::from_static("x-github-api-version"), API_VERSION.to_owned())
                    .build()
            })
            .map_err(|error| unfit(in_words(&error)))?;
        Ok(Self { way: Way::Wire(octocrab), origin, base_path, request_timeout })
    }

    /// By another way than the wire.
    pub(super) fn carried(api_url: &str, carrier: Arc<dyn Carrier>, request_timeout: Duration) -> Result<Self, Error> {
        let (origin, base_path) = address(api_url)?;
        Ok(Self { way: Way::Carried(carrier), origin, base_path, request_timeout })
    }

    /// Sends one request and reads the whole answer, within the time-out. Follows redirects on the same host, with the
    /// same method and body.
    pub(super) async fn send(&self, request: &Request, bearer: Option<&SecretString>) -> Result<Answer, NoAnswer> {
        tokio::time::timeout(self.request_timeout, self.follow(request, bearer))
            .await
            .unwrap_or(Err(NoAnswer::TimedOut(self.request_timeout)))
    }

    async fn follow(&self, request: &Request, bearer: Option<&SecretString>) -> Result<Answer, NoAnswer> {
        let mut path = format!("{}/{}", self.base_path, request.path.trim_start_matches('/'));
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.once(request, &path, bearer).await?;
            match answer.status {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => path = self.redirected(&answer)?,
                _ => return Ok(answer),
            }
        }
        Err(NoAnswer::Astray(format!("GitHub redirected more than {REDIRECTS_MAX} times")))
    }

    /// Path and query of a redirect's target. Another host, port or scheme never gets our token, and without a token
    /// there is nothing to ask there.
    fn redirected(&self, answer: &Answer) -> Result<String, NoAnswer> {
        let location = answer.header("location").unwrap_or_default();
        let target: Uri = location.parse().map_err(|_| {
            NoAnswer::Astray(format!("GitHub's {LOCATION} header is no address: `{}`", redact(location)))
        })?;
        let same_host = match (target.scheme_str(), target.host()) {
            (Some(scheme), Some(host)) => {
                Some(scheme) == self.origin.scheme_str()
                    && self.origin.host().is_some_and(|ours| ours.eq_ignore_ascii_case(host))
                    && port(&target) == port(&self.origin)
            }
            // `//host/path` names a host too.
            (None, None) => location.starts_with('/') && !location.starts_with("//"),
            _ => false,
        };
        match target.path_and_query() {
            Some(path) if same_host => Ok(path.as_str().to_owned()),
            _ => Err(NoAnswer::Astray(format!(
                "GitHub redirects to `{}`, which is not the host of `api_url`; not followed",
                redact(target.host().unwrap_or(location))
            ))),
        }
    }

    async fn once(&self, asked: &Request, path: &str, bearer: Option<&SecretString>) -> Result<Answer, NoAnswer> {
        let mut request = http::Request::builder().method(&asked.method).uri(path);
        if let Some(bearer) = bearer {
            let mut authorization = HeaderValue::try_from(format!("Bearer {}", bearer.expose_secret()))
                .map_err(|_| NoAnswer::Astray("the token holds characters that no header may hold".to_owned()))?;
            authorization.set_sensitive(true);
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(etag) = &asked.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if asked.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let astray = |error: http::Error| NoAnswer::Astray(error.to_string());
        let octocrab = match &self.way {
            Way::Wire(octocrab) => octocrab,
            Way::Carried(carrier) => {
                let request = request.body(asked.body.clone().unwrap_or_default()).map_err(astray)?;
                let (parts, body) = carrier.carry(request).await.map_err(NoAnswer::Network)?.into_parts();
                return Ok(Answer { status: parts.status, headers: parts.headers, body });
            }
        };
        let request = request
            .body(asked.body.as_ref().map_or_else(OctoBody::empty, |body| OctoBody::from(body.clone())))
            .map_err(astray)?;
        let response = octocrab.execute(request).await.map_err(|error| NoAnswer::Network(in_words(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX)
            .collect()
            .await
            .map_err(|error| NoAnswer::Network(in_words(error.as_ref())))?
            .to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

fn unfit(api_url: &str, why: String) -> Error {
    Error::Invalid { what: format!("use `{api_url}` as GitHub's address"), message: why }
}

/// The origin, and the path that comes before every other.
fn address(api_url: &str) -> Result<(Uri, String), Error> {
    let unfit = |why: String| unfit(api_url, why);
    let base: Uri = api_url.parse().map_err(|error: http::uri::InvalidUri| unfit(error.to_string()))?;
    let (Some(scheme), Some(authority)) = (base.scheme_str(), base.authority()) else {
        return Err(unfit("it must begin with https:// and a host".to_owned()));
    };
    let origin = Uri::builder()
        .scheme(scheme)
        .authority(authority.clone())
        .path_and_query("/")
        .build()
        .map_err(|error| unfit(error.to_string()))?;
    Ok((origin, base.path().trim_end_matches('/').to_owned()))
}

/// The port, or what the scheme means without one.
fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

/// An error and its causes, without repetition: the outer ones alone ("client error (Connect)") tell nothing.
fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    // octocrab's own wrapper only repeats its cause.
    let mut next = if error.is::<octocrab::Error>() { error.source().or(Some(error)) } else { Some(error) };
    while let Some(error) = next {
        let text = error.to_string();
        if !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    redact(&words.join(": "))
}
