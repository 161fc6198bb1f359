//! One message over HTTP. The address is a secret: neither it nor any part of it is in an error.

use super::form::Payload;
use crate::config::Recipient;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use std::error::Error as _;
use std::time::Duration;

/// So much of a refusal's words is read.
const WORDS: usize = 300;

/// A part of an address that is at least so long is a secret, wherever it turns up.
const SECRET_PART: usize = 6;

pub(super) struct Sender {
    client: reqwest::Client,
    url: SecretString,
    timeout: Duration,
}

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The recipient said no.
    #[error("it answered {status}{}", words(.text))]
    Refused {
        /// With this status.
        status: u16,
        /// And these words.
        text: String,
        /// It wants to be left alone for so long.
        retry_after: Option<Duration>,
    },
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// No connection, or one that broke.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
}

/// Whether a further try makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TryAgain {
    Never,
    Soon,
    After(Duration),
}

fn words(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

impl SendError {
    pub(super) fn try_again(&self) -> TryAgain {
        match self {
            Self::Refused { status: 408 | 425 | 429 | 500.., retry_after, .. } => {
                retry_after.map_or(TryAgain::Soon, TryAgain::After)
            }
            Self::Refused { .. } => TryAgain::Never,
            Self::TimedOut(_) | Self::Unreachable(_) => TryAgain::Soon,
        }
    }
}

impl Sender {
    /// # Errors
    /// The recipient has no address, or the client cannot be made.
    pub(super) fn new(recipient: &Recipient) -> Result<Self, String> {
        let url = recipient.url.clone().ok_or("it has no address")?;
        let mut builder = reqwest::Client::builder();
        if url.expose_secret().starts_with("http://") {
            // Without TLS no certificates are needed; a small image has none, and looking for some would fail.
            builder = builder.tls_certs_only(std::iter::empty());
        }
        let client = builder
            // A message that is sent on to another address would take what it says there.
            .redirect(Policy::none())
            .timeout(recipient.timeout)
            .user_agent(concat!("runnerfleet/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no client could be made: {error}"))?;
        Ok(Self { client, url, timeout: recipient.timeout })
    }

    pub(super) async fn send(&self, payload: &Payload) -> Result<(), SendError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &payload.headers {
            // Both were checked when the configuration was read.
            if let (Ok(name), Ok(mut value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(value.expose_secret()))
            {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = self.client.post(self.url.expose_secret()).headers(headers).body(payload.body.clone());
        let mut answer = request.send().await.map_err(|error| self.told(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| wait(value, crate::clock::now()));
        let text = if status.is_redirection() {
            "it wants to be asked elsewhere; redirects are not followed, the address has to be changed".to_owned()
        } else {
            self.scrubbed(&first_words(&mut answer).await)
        };
        Err(SendError::Refused { status: status.as_u16(), text, retry_after })
    }

    fn told(&self, error: reqwest::Error) -> SendError {
        if error.is_timeout() {
            return SendError::TimedOut(self.timeout);
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            // The innermost cause says it best.
            text = cause.to_string();
            source = cause.source();
        }
        SendError::Unreachable(self.scrubbed(&text))
    }

    /// Without anything of the address that is a secret: a server may say it back.
    fn scrubbed(&self, text: &str) -> String {
        let url = self.url.expose_secret();
        let mut text = text.replace(url, "…");
        let behind = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (authority, path) = behind.split_once('/').unwrap_or((behind, ""));
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        let parts = path.split(['/', '?', '&', '=', '#']).chain(user.split(':'));
        for part in parts.filter(|part| part.len() >= SECRET_PART) {
            text = text.replace(part, "…");
        }
        text
    }
}

/// The first words of an answer, in one line.
async fn first_words(answer: &mut reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= WORDS {
            bytes.truncate(WORDS);
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `Retry-After`: seconds (Discord's have a fraction), or a date.
fn wait(value: &HeaderValue, now: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(crate::model::age(date, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let refused = |status, retry_after| SendError::Refused { status, text: String::new(), retry_after };
        for status in [408, 425, 429, 500, 502, 503, 599] {
            assert_eq!(refused(status, None).try_again(), TryAgain::Soon, "{status}");
        }
        for status in [301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422] {
            assert_eq!(refused(status, None).try_again(), TryAgain::Never, "{status}");
        }
        let wait = Duration::from_secs(7);
        assert_eq!(refused(429, Some(wait)).try_again(), TryAgain::After(wait));
        assert_eq!(refused(404, Some(wait)).try_again(), TryAgain::Never);
        assert_eq!(SendError::TimedOut(wait).try_again(), TryAgain::Soon);
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let read = |text| wait(&HeaderValue::from_static(text), now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("0.65"), Some(Duration::from_millis(650)));
        assert_eq!(read("Mon, 23 Nov 2026 12:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(read("Mon, 23 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        for text in ["", "soon", "-5", "NaN", "inf"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
