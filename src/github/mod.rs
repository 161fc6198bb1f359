//! GitHub's API, as far as we need it: a client with a base URL.
//!
//! It owns our credentials there, the limits that GitHub sets, and the words in which its refusals reach a person. It
//! decides nothing about runners and knows nothing of Docker. The reconciler calls it, and `doctor` asks it who we are.
//! A request goes from an operation (`runners`, `jobs`, `groups`) through `auth` (who asks), `line` (its turn, limits,
//! repetition) and `transport` (the wire).

mod app;
mod auth;
mod cache;
mod error;
mod groups;
mod hook;
mod installations;
mod jobs;
mod limits;
mod line;
mod listed;
mod meta;
mod ourselves;
mod pages;
mod rate;
mod redact;
mod runners;
mod runs;
mod transport;

pub use app::{AppFacts, NewApp, convert_manifest};
pub use error::Error;
pub use groups::NewGroup;
pub use hook::{Delivery, DeliveryPage, DeliveryRequest, HookChange, HookConfig};
pub use installations::{AccountKind, Installation, RepositoryFacts, Selection};
pub use limits::Left;
pub use listed::{Listed, Page, RunRow};
pub use rate::Rate;
pub use runners::{Deleted, JitRequest, JitRunner};
pub use runs::Run;
pub use transport::Carrier;

use crate::config;
use crate::model::Scope;
use auth::{Acting, Identity};
use cache::Cache;
use error::refusal;
use groups::Group;
use jiff::Timestamp;
use line::{Endpoint, Line, Payer, Request};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use transport::{Answer, Transport};

/// GitHub is a few milliseconds away or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// GitHub itself ends requests after 10 seconds; slower servers of enterprises get some more.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The way to GitHub. Clones share everything: connections, tokens, limits.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    /// Another one from [`Client::renew_credentials`] on.
    identity: RwLock<Arc<Identity>>,
    line: Line,
    registration_tokens: Cache<String, SecretString>,
    groups: Cache<String, Vec<Group>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("line", &self.inner.line).finish_non_exhaustive()
    }
}

impl Client {
    /// Looks at the credentials and sets everything up, without asking GitHub. Must be called inside a Tokio runtime.
    pub fn new(config: &config::GitHub) -> Result<Self, Error> {
        Self::with_timeouts(config, CONNECT_TIMEOUT, REQUEST_TIMEOUT)
    }

    /// As [`Client::new`], with other time-outs: for tests that do not want to wait for a slow server.
    pub fn with_timeouts(config: &config::GitHub, connect: Duration, request: Duration) -> Result<Self, Error> {
        Self::by(config, Transport::new(&config.api_url, connect, request)?)
    }

    /// The same client, whose requests another carries: where GitHub is simulated in the same process.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn carried(config: &config::GitHub, carrier: Arc<dyn Carrier>) -> Result<Self, Error> {
        Self::by(config, Transport::carried(&config.api_url, carrier, REQUEST_TIMEOUT)?)
    }

    fn by(config: &config::GitHub, transport: Transport) -> Result<Self, Error> {
        let identity = Identity::new(&config.auth)?;
        let line = Line::new(transport, config.max_concurrent);
        let identity = RwLock::new(Arc::new(identity));
        let inner = Inner { identity, line, registration_tokens: Cache::new(), groups: Cache::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Until when GitHub's limits keep us from creating runners at the scope, as far as its answers told; none where the
    /// way is free.
    pub fn blocked_until(&self, scope: &Scope) -> Option<Timestamp> {
        let line = &self.inner.line;
        let identity = self.identity();
        let payer = identity.payer(scope.account());
        let needs_the_app = match identity.as_ref() {
            Identity::App(app) => !app.has_token(scope),
            Identity::Token(_) => false,
        };
        let app = if needs_the_app { line.blocked_until(&Payer::App, Endpoint::Installation) } else { None };
        line.blocked_until(&payer, Endpoint::Jit).max(line.blocked_until(&payer, Endpoint::RegistrationToken)).max(app)
    }

    /// Goes on with another key, App or token. Tokens in hand are forgotten; requests under way end with the old ones.
    ///
    /// # Errors
    /// The new one cannot be used; the old one stays.
    pub fn renew_credentials(&self, auth: &config::GitHubAuth) -> Result<(), Error> {
        let identity = Arc::new(Identity::new(auth)?);
        *self.inner.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
        self.inner.registration_tokens.forget(|_, _| true);
        Ok(())
    }

    /// Forgets what is known of an account: its installation and the tokens for it. To be called when the App was installed
    /// there, taken off, or granted something else.
    pub fn forget_account(&self, account: &str) {
        if let Identity::App(app) = self.identity().as_ref() {
            app.forget_account(account);
        }
        let ours = |key: &String| key.split('/').next().is_some_and(|owner| owner.eq_ignore_ascii_case(account));
        self.inner.registration_tokens.forget(|key, _| ours(key));
        self.inner.groups.forget(|key, _| ours(key));
    }

    /// Who we are now.
    fn identity(&self) -> Arc<Identity> {
        self.inner.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, acting: &Acting, request: &Request) -> Result<Answer, Error> {
        self.identity().ask(&self.inner.line, acting, request).await
    }

    /// Asks and reads a successful answer.
    async fn read<T: DeserializeOwned>(&self, acting: &Acting, request: &Request) -> Result<T, Error> {
        let answer = self.ask(acting, request).await?;
        if !answer.status.is_success() {
            return Err(refusal(&answer, &request.what, Line::now()));
        }
        serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(&request.what, &error))
    }
}
