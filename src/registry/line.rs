//! Requests to registries: who we are, what is tried again, and what each answer means.

use super::credentials::DockerLogins;
use super::error::RegistryError;
use super::reference::{Reference, is_loopback};
use super::token::{Challenge, TokenAnswer, challenge};
use crate::clock;
use crate::provider::{Login, RegistryCredentials};
use bytes::{Bytes, BytesMut};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(10);
/// One request, its body included.
const REQUEST: Duration = Duration::from_secs(30);
/// All requests only read, so each may be made again.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// What is read of an answer that tells of a failure.
const LONGEST_COMPLAINT: usize = 64 << 10;
const LONGEST_TOKEN: usize = 1 << 20;
const MOST_REDIRECTS: usize = 5;

/// The way to all registries.
#[derive(Debug)]
pub(super) struct Line {
    /// Through the proxy of the environment, if it names one; or why it cannot be made. (A system without certificates
    /// can still ask registries on itself.)
    far: Result<reqwest::Client, String>,
    /// To registries on this machine; no proxy could reach them.
    near: reqwest::Client,
    logins: DockerLogins,
    /// By registry and repository, until when. A token is for one repository.
    tokens: Mutex<HashMap<(String, String), (HeaderValue, Timestamp)>>,
}

/// A good answer.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Where it came from, redirects followed.
    pub(super) url: Url,
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) image: &'a Reference,
    /// For messages: `acme/web:1`.
    pub(super) what: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: &'static str,
    /// A longer body is no answer.
    pub(super) longest: usize,
}

/// Why one try gave no answer.
enum Failure {
    /// Told as it is.
    Final(RegistryError),
    /// Worth another try.
    Passing(String),
}

impl Line {
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub(super) fn new(logins: DockerLogins) -> Result<Self, reqwest::Error> {
        let builder = || {
            // Where somebody sends us on to, it stays as private as it was.
            let onward = reqwest::redirect::Policy::custom(|attempt| {
                let private = attempt.url().scheme() == "https" || attempt.url().host_str().is_some_and(is_loopback);
                if attempt.previous().len() > MOST_REDIRECTS || !private { attempt.stop() } else { attempt.follow() }
            });
            reqwest::Client::builder()
                .connect_timeout(CONNECT)
                .timeout(REQUEST)
                .redirect(onward)
                .user_agent(concat!("runnerfleet/", env!("CARGO_PKG_VERSION")))
        };
        let far = builder().build().map_err(|error| reason(&error));
        // Plain HTTP: looking for the system's certificates could only fail.
        let near = builder().no_proxy().tls_certs_only(std::iter::empty()).build()?;
        Ok(Self { far, near, logins, tokens: Mutex::default() })
    }

    fn client(&self, registry: &str, is_near: bool) -> Result<&reqwest::Client, RegistryError> {
        match &self.far {
            _ if is_near => Ok(&self.near),
            Ok(far) => Ok(far),
            Err(why) => {
                let why = format!("TLS cannot be set up on this system ({why}; are its certificates installed?)");
                Err(RegistryError::Unavailable { registry: registry.to_owned(), why })
            }
        }
    }

    /// Asks, with what the registry wants to know of us.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Answer, RegistryError> {
        let image = question.image;
        let key = (image.registry().to_owned(), image.repository().to_owned());
        let known = self.known(&key);
        let first = self.send(question, known.as_ref()).await?;
        let Denial { challenge, said } = match first {
            Ok(answer) => return Ok(answer),
            Err(denial) => denial,
        };
        let (login, no_login) = match self.logins.login(image.registry()).await {
            Ok(login) => (login, None),
            // Perhaps nobody has to be anybody here.
            Err(error) => (None, Some(error)),
        };
        let denied = |answer: String| match &no_login {
            Some(error) => RegistryError::Credentials { registry: image.registry().to_owned(), error: error.clone() },
            None => RegistryError::Denied {
                registry: image.registry().to_owned(),
                what: question.what.to_owned(),
                who: who(login.as_ref()),
                anonymous: login.is_none(),
                answer,
            },
        };
        let header = match (&challenge, &login) {
            (Some(Challenge::Basic), Some(RegistryCredentials { login: Login::Password { user, password }, .. })) => {
                let header = basic(user, password);
                // Good as long as the program runs; a client lives no longer than one.
                self.keep(key, &header, Timestamp::MAX);
                header
            }
            (Some(Challenge::Bearer { realm, service }), login) => {
                let asked = self.token(image, realm, service.as_deref(), login.as_ref()).await?;
                let (header, until) = asked.map_err(&denied)?;
                self.keep(key, &header, until);
                header
            }
            (Some(Challenge::Basic) | None, _) => return Err(denied(said)),
        };
        match self.send(question, Some(&header)).await? {
            Ok(answer) => Ok(answer),
            Err(again) => Err(denied(again.said)),
        }
    }

    fn known(&self, key: &(String, String)) -> Option<HeaderValue> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(key).filter(|(_, until)| clock::now() < *until).map(|(header, _)| header.clone())
    }

    fn keep(&self, key: (String, String), header: &HeaderValue, until: Timestamp) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (header.clone(), until));
    }

    /// A token for this repository; the inner error is what the server says to those whom it gives none.
    async fn token(
        &self,
        image: &Reference,
        realm: &str,
        service: Option<&str>,
        login: Option<&RegistryCredentials>,
    ) -> Result<Result<(HeaderValue, Timestamp), String>, RegistryError> {
        let invalid = |why: String| RegistryError::Invalid { registry: image.registry().to_owned(), why };
        let url = Url::parse(realm).map_err(|_| invalid("it names no token server".to_owned()))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        if url.scheme() != "https" && !is_loopback(&host) {
            return Err(invalid(format!("its token server {host} is to be spoken to without TLS")));
        }
        let scope = format!("repository:{}:pull", image.repository());
        let mut parameters = vec![("scope", scope.as_str())];
        parameters.extend(service.map(|service| ("service", service)));
        let client = self.client(image.registry(), is_loopback(&host))?;
        let request = || match login.map(|found| &found.login) {
            Some(Login::IdentityToken(token)) => {
                let mut form = parameters.clone();
                form.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "runnerfleet"),
                    ("refresh_token", token.expose_secret()),
                ]);
                let body = encoded(&form);
                client.post(url.clone()).header("content-type", "application/x-www-form-urlencoded").body(body)
            }
            login => {
                let mut url = url.clone();
                url.query_pairs_mut().extend_pairs(&parameters);
                let request = client.get(url);
                match login {
                    Some(Login::Password { user, password }) => request.header(AUTHORIZATION, basic(user, password)),
                    Some(Login::IdentityToken(_)) | None => request,
                }
            }
        };
        // A token server speaks for its registry; its own name is told where it matters.
        let name = if host == host_name(image) { host } else { format!("{} (token server {host})", image.registry()) };
        let asked_at = clock::now();
        let answer = self.several(&name, LONGEST_TOKEN, request).await?;
        match answer.status {
            status if status.is_success() => {
                let token = serde_json::from_slice::<TokenAnswer>(&answer.body).ok().and_then(TokenAnswer::token);
                let header = token.and_then(|(token, seconds)| Some((bearer(&token)?, seconds)));
                let (header, seconds) = header.ok_or_else(|| invalid("its token server gives no token".to_owned()))?;
                // Some seconds less than it is good for: it has to arrive as well.
                let good = SignedDuration::from_secs(i64::try_from(seconds.min(3600)).unwrap_or(60))
                    .saturating_sub(SignedDuration::from_secs(10));
                Ok(Ok((header, asked_at.checked_add(good).unwrap_or(asked_at))))
            }
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Ok(Err(complaint(&answer.body)))
            }
            status => Err(invalid(format!("its token server answers {status}"))),
        }
    }

    /// One question; the inner error is a denial.
    async fn send(
        &self,
        question: &Question<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Result<Answer, Denial>, RegistryError> {
        let Question { image, what, method, url, accept, longest } = question;
        let client = self.client(image.registry(), image.is_on_loopback())?;
        let registry = || image.registry().to_owned();
        let request = || {
            let request = client.request(method.clone(), url.clone()).header(ACCEPT, *accept);
            match authorization {
                Some(header) => request.header(AUTHORIZATION, header),
                None => request,
            }
        };
        let Raw { status, headers, body, url } = self.several(image.registry(), *longest, request).await?;
        match status {
            StatusCode::OK => Ok(Ok(Answer { headers, body, url })),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let lines = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|line| line.to_str().ok());
                Ok(Err(Denial { challenge: challenge(lines), said: complaint(&body) }))
            }
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound { registry: registry(), what: (*what).to_owned() }),
            status => {
                let said = complaint(&body);
                let why = if said.is_empty() {
                    format!("it answers {status}")
                } else {
                    format!("it answers {status}: {said}")
                };
                Err(RegistryError::Invalid { registry: registry(), why })
            }
        }
    }

    /// A request, made again where that may help.
    async fn several(
        &self,
        registry: &str,
        longest: usize,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<Raw, RegistryError> {
        let mut pauses = PAUSES.iter();
        loop {
            match once(registry, longest, request()).await {
                Ok(raw) => return Ok(raw),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(why)) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(RegistryError::Unavailable { registry: registry.to_owned(), why }),
                },
            }
        }
    }
}

/// What came back.
struct Raw {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    url: Url,
}

/// A 401 or 403.
struct Denial {
    challenge: Option<Challenge>,
    said: String,
}

async fn once(registry: &str, longest: usize, request: reqwest::RequestBuilder) -> Result<Raw, Failure> {
    let mut response = request.send().await.map_err(|error| Failure::Passing(reason(&error)))?;
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS {
        let until = retry_after(response.headers(), clock::now());
        return Err(Failure::Final(RegistryError::RateLimited { registry: registry.to_owned(), until }));
    }
    if status.is_server_error() {
        return Err(Failure::Passing(format!("it answers {status}")));
    }
    let (headers, url) = (response.headers().clone(), response.url().clone());
    let longest = if status.is_success() { longest } else { LONGEST_COMPLAINT };
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| Failure::Passing(reason(&error)))? {
        if body.len() + piece.len() > longest {
            if !status.is_success() {
                break;
            }
            let why = format!("an answer has more than {longest} bytes");
            return Err(Failure::Final(RegistryError::Invalid { registry: registry.to_owned(), why }));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Raw { status, headers, body: body.freeze(), url })
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u32>() {
        Ok(seconds) => now.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok(),
        Err(_) => jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp()),
    }
}

/// The innermost cause: "connection refused" rather than "error sending request".
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let text = inner.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// What a registry says of a failure, on one short line: the messages of its JSON.
fn complaint(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Errors { errors }) = serde_json::from_slice(body) else { return String::new() };
    let said: Vec<String> =
        errors.into_iter().take(3).map(|one| if one.message.is_empty() { one.code } else { one.message }).collect();
    said.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

fn who(login: Option<&RegistryCredentials>) -> String {
    match login {
        None => "us, who gave no credentials".to_owned(),
        Some(RegistryCredentials { login: Login::Password { user, .. }, found_in, .. }) => {
            format!("`{user}` (from {found_in})")
        }
        Some(RegistryCredentials { found_in, .. }) => format!("the bearer of the token from {found_in}"),
    }
}

fn host_name(image: &Reference) -> &str {
    image.host().rsplit_once(':').map_or(image.host(), |(host, _)| host)
}

fn basic(user: &str, password: &SecretString) -> HeaderValue {
    use base64::Engine;
    let pair = format!("{user}:{}", password.expose_secret());
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    // Base64 is always a possible header.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `a=1&b=2`, as forms are sent.
fn encoded(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://localhost/").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url.and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_when_a_registry_wants_to_be_left_alone() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let until = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, now).map(|until| until.to_string())
        };
        assert_eq!(until("90").as_deref(), Some("2026-01-01T00:01:30Z"));
        assert_eq!(until("Thu, 01 Jan 2026 02:00:00 GMT").as_deref(), Some("2026-01-01T02:00:00Z"));
        assert_eq!(until("soon"), None);
    }

    #[test]
    fn a_complaint_is_one_short_line() {
        let body = br#"{"errors": [{"code": "DENIED", "message": "requested access\nis denied"}, {"code": "X"}]}"#;
        assert_eq!(complaint(body), "requested access is denied; X");
        assert_eq!(complaint(b"<html>"), "");
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(
            encoded(&[("scope", "repository:a/b:pull"), ("t", "x&y=z")]),
            "scope=repository%3Aa%2Fb%3Apull&t=x%26y%3Dz"
        );
    }
}
