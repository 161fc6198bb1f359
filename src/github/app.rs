//! The App itself: who GitHub says that it is, and how one is made from a manifest.

use super::auth::{App, Identity};
use super::error::{Error, refusal};
use super::line::{Endpoint, Line, Repeat, Request};
use super::transport::{Answer, Transport};
use super::{CONNECT_TIMEOUT, Client, REQUEST_TIMEOUT, pages};
use http::{Method, StatusCode};
use jiff::SignedDuration;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What GitHub says of an App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFacts {
    /// Its number.
    pub id: u64,
    /// Its name in addresses.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// The recommended issuer of its JWTs; servers of enterprises may not know one.
    pub client_id: Option<String>,
    /// The account that it belongs to.
    pub owner: Option<String>,
    /// Its page, from which it is installed.
    pub html_url: String,
    /// The permissions that it asks of an account, with their levels.
    pub permissions: BTreeMap<String, String>,
    /// The events that its hook gets.
    pub events: Vec<String>,
    /// On how many accounts it is installed, where GitHub tells.
    pub installations: Option<u64>,
}

/// An App that was just made. Its client secret is dropped: nothing here signs a user in.
#[derive(Debug)]
pub struct NewApp {
    /// What it is.
    pub facts: AppFacts,
    /// Its RSA key (PEM). GitHub shows it this once.
    pub private_key: SecretString,
    /// The secret of its hook. GitHub shows it this once.
    pub webhook_secret: Option<SecretString>,
}

#[derive(Deserialize)]
struct AppAnswer {
    id: u64,
    slug: Option<String>,
    name: Option<String>,
    client_id: Option<String>,
    owner: Option<OwnerAnswer>,
    html_url: Option<String>,
    #[serde(default)]
    permissions: BTreeMap<String, Option<String>>,
    #[serde(default)]
    events: Vec<String>,
    installations_count: Option<u64>,
}

#[derive(Deserialize)]
struct OwnerAnswer {
    login: Option<String>,
    /// Enterprises have no login.
    slug: Option<String>,
}

#[derive(Deserialize)]
struct ConversionAnswer {
    #[serde(flatten)]
    app: AppAnswer,
    pem: SecretString,
    webhook_secret: Option<SecretString>,
}

impl From<AppAnswer> for AppFacts {
    fn from(answer: AppAnswer) -> Self {
        let slug = answer.slug.or_else(|| answer.name.clone()).unwrap_or_default();
        Self {
            id: answer.id,
            name: answer.name.unwrap_or_else(|| slug.clone()),
            slug,
            client_id: answer.client_id.filter(|id| !id.is_empty()),
            owner: answer.owner.and_then(|owner| owner.login.or(owner.slug)),
            html_url: answer.html_url.unwrap_or_default(),
            permissions: granted(answer.permissions),
            events: answer.events,
            installations: answer.installations_count,
        }
    }
}

/// Permissions with their levels; what is listed without a level is not granted.
pub(super) fn granted(permissions: BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    permissions.into_iter().filter_map(|(name, level)| Some((name, level?))).collect()
}

/// Makes the App for which GitHub gave the code (docs, "Registering a GitHub App from a manifest"). The code is the
/// credential: it is good once, and for an hour.
///
/// # Errors
/// [`Error::NotFound`] where the code is wrong, used or older than an hour. A lost answer is not asked for again: the code may
/// be used up.
pub async fn convert_manifest(api_url: &str, code: &str) -> Result<NewApp, Error> {
    let line = Line::new(Transport::new(api_url, CONNECT_TIMEOUT, REQUEST_TIMEOUT)?, 1);
    let request = Request {
        method: Method::POST,
        path: format!("app-manifests/{}/conversions", pages::escaped(code)),
        body: None,
        etag: None,
        what: "make the App from its manifest".to_owned(),
        repeat: Repeat::Never,
        endpoint: Endpoint::Manifest,
    };
    let answer = line.ask_as_nobody(&request).await?;
    if answer.status == StatusCode::NOT_FOUND {
        let message = "the code is wrong, was used before, or is older than an hour".to_owned();
        return Err(Error::NotFound { what: request.what, message });
    }
    let made: ConversionAnswer = read(&answer, &request.what)?;
    Ok(NewApp { facts: made.app.into(), private_key: made.pem, webhook_secret: made.webhook_secret })
}

/// Reads a successful answer.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer, what: &str) -> Result<T, Error> {
    if !answer.status.is_success() {
        return Err(refusal(answer, what, Line::now()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(what, &error))
}

impl Client {
    /// What GitHub says of the App, and by how much this machine's clock is ahead of GitHub's, where it tells the time.
    pub async fn app(&self) -> Result<(AppFacts, Option<SignedDuration>), Error> {
        let request = Request::get(Endpoint::Ourselves, "app".to_owned(), "read the App".to_owned());
        let answer = self.ask_as_the_app(&request).await?;
        let ahead = answer.date().map(|date| Line::now().duration_since(date));
        let facts: AppAnswer = read(&answer, &request.what)?;
        if let Identity::App(app) = self.identity().as_ref() {
            app.remember_number(facts.id);
        }
        Ok((facts.into(), ahead))
    }

    /// The App's number, as GitHub told it of the credentials of now; none where it was not asked yet, or with a personal token.
    pub fn app_number(&self) -> Option<u64> {
        match self.identity().as_ref() {
            Identity::App(app) => app.number(),
            Identity::Token(_) => None,
        }
    }

    /// Sends a request as the App itself.
    pub(super) async fn ask_as_the_app(&self, request: &Request) -> Result<Answer, Error> {
        let identity = self.identity();
        as_the_app(&identity, request)?.ask(&self.inner.line, request).await
    }

    /// Sends a question as the App itself, and reads the answer.
    pub(super) async fn read_as_the_app<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        read(&self.ask_as_the_app(request).await?, &request.what)
    }
}

fn as_the_app<'a>(identity: &'a Arc<Identity>, request: &Request) -> Result<&'a App, Error> {
    match identity.as_ref() {
        Identity::App(app) => Ok(app),
        Identity::Token(_) => Err(Error::Credentials(format!(
            "cannot {}: only a GitHub App can, and the configuration has a personal token (github.auth)",
            request.what
        ))),
    }
}
