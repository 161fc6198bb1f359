//! The line to GitHub: each request waits its turn, stays within the limits and is repeated only where that is safe.

use super::error::{Error, refusal};
use super::limits::{Budget, Left, Reading};
use super::transport::{Answer, NoAnswer, Transport};
use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Waits before the second and the third try. Short: who asked waits, and the reconciler comes back anyway.
const BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// Against whom GitHub counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Payer {
    /// The App itself (requests with a JWT).
    App,
    /// The App's installation on an account (login in lower case).
    Installation(String),
    /// The owner of the personal token, whatever the account asked about.
    TokenOwner,
    /// This machine's address: requests without a token.
    Nobody,
}

/// How often a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Once: a lost answer may have had its effect.
    Never,
    /// Once more if the connection failed: a second token is harmless.
    OnceMore,
    /// After failed connections, time-outs and 5xx: asking twice is asking once.
    Safe,
}

/// Which endpoint. GitHub counts some of them on their own, and tells with each answer under which name
/// (`x-ratelimit-resource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    /// JIT configs.
    Jit,
    /// Registration tokens.
    RegistrationToken,
    /// Lists of runners.
    Runners,
    /// The end of a registration.
    DeleteRunner,
    /// Lists of runner groups.
    Groups,
    /// A job, or the jobs of a run.
    Job,
    /// Lists of runs.
    Runs,
    /// Installations and their tokens.
    Installation,
    /// Lists of repositories.
    Repositories,
    /// The App's hook and its log.
    Hook,
    /// The making of an App.
    Manifest,
    /// Who we are.
    Ourselves,
}

/// A request, without who sends it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Path and query below `api_url`.
    pub(super) path: String,
    pub(super) body: Option<Bytes>,
    /// The `ETag` of the answer that we have: GitHub then says 304, which counts against no limit, where nothing changed.
    pub(super) etag: Option<String>,
    /// The operation in words that follow "cannot".
    pub(super) what: String,
    pub(super) repeat: Repeat,
    pub(super) endpoint: Endpoint,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    transport: Transport,
    max_concurrent: usize,
    lanes: Mutex<HashMap<Payer, Arc<Semaphore>>>,
    limits: Mutex<Limits>,
}

#[derive(Debug, Default)]
struct Limits {
    budgets: HashMap<Payer, Budget>,
    /// What GitHub counted an endpoint under.
    named: HashMap<Endpoint, String>,
}

impl Limits {
    fn resource(&self, endpoint: Endpoint) -> String {
        self.named.get(&endpoint).cloned().unwrap_or_else(|| match endpoint {
            Endpoint::Jit | Endpoint::RegistrationToken => "actions_runner_registration".to_owned(),
            Endpoint::Manifest => "integration_manifest".to_owned(),
            Endpoint::Runners
            | Endpoint::DeleteRunner
            | Endpoint::Groups
            | Endpoint::Job
            | Endpoint::Runs
            | Endpoint::Installation
            | Endpoint::Repositories
            | Endpoint::Hook
            | Endpoint::Ourselves => "core".to_owned(),
        })
    }
}

impl Request {
    /// A question: repeated as needed.
    pub(super) fn get(endpoint: Endpoint, path: String, what: String) -> Self {
        Self { method: Method::GET, path, body: None, etag: None, what, repeat: Repeat::Safe, endpoint }
    }

    /// No answer worth the name.
    fn unanswered(&self, why: NoAnswer) -> Error {
        let what = self.what.clone();
        match why {
            NoAnswer::Network(message) => Error::Unavailable { what, message },
            NoAnswer::TimedOut(after) => {
                Error::Unavailable { what, message: format!("no answer within {} ms", after.as_millis()) }
            }
            NoAnswer::Astray(message) => Error::Invalid { what, message },
        }
    }
}

impl Line {
    pub(super) fn new(transport: Transport, max_concurrent: usize) -> Self {
        Self {
            transport,
            max_concurrent: max_concurrent.clamp(1, Semaphore::MAX_PERMITS),
            lanes: Mutex::default(),
            limits: Mutex::default(),
        }
    }

    /// The program's clock; the only place of this module that reads it.
    pub(super) fn now() -> Timestamp {
        crate::clock::now()
    }

    /// Until when a request to that endpoint must wait.
    pub(super) fn blocked_until(&self, payer: &Payer, endpoint: Endpoint) -> Option<Timestamp> {
        let limits = self.limits();
        limits.budgets.get(payer)?.blocked(&limits.resource(endpoint), Self::now())
    }

    /// What is left for requests to that endpoint, as far as answers told.
    pub(super) fn left(&self, payer: &Payer, endpoint: Endpoint) -> Option<Left> {
        let limits = self.limits();
        limits.budgets.get(payer)?.left(&limits.resource(endpoint), Self::now())
    }

    /// Sends a request. An answer is returned whatever its status, except for limits (`RateLimited`) and 5xx
    /// (`Unavailable`).
    pub(super) async fn ask(&self, request: &Request, payer: &Payer, bearer: &SecretString) -> Result<Answer, Error> {
        self.ask_with(request, payer, Some(bearer)).await
    }

    /// Sends a request without a token.
    pub(super) async fn ask_as_nobody(&self, request: &Request) -> Result<Answer, Error> {
        self.ask_with(request, &Payer::Nobody, None).await
    }

    async fn ask_with(&self, request: &Request, payer: &Payer, bearer: Option<&SecretString>) -> Result<Answer, Error> {
        let mut tries = BACKOFF.iter();
        loop {
            let (failure, may_repeat) = match self.ask_once(request, payer, bearer).await? {
                Ok(answer) if answer.status.is_server_error() => {
                    (refusal(&answer, &request.what, Self::now()), request.repeat == Repeat::Safe)
                }
                Ok(answer) => return Ok(answer),
                Err(why) => {
                    let may_repeat = match (&why, request.repeat) {
                        (NoAnswer::Network(_), Repeat::OnceMore) => tries.len() == BACKOFF.len(),
                        (NoAnswer::Astray(_), _) | (_, Repeat::Never) | (NoAnswer::TimedOut(_), Repeat::OnceMore) => {
                            false
                        }
                        (NoAnswer::Network(_) | NoAnswer::TimedOut(_), Repeat::Safe) => true,
                    };
                    (request.unanswered(why), may_repeat)
                }
            };
            let Some(wait) = tries.next().filter(|_| may_repeat) else {
                return Err(failure);
            };
            tracing::debug!(error = %failure, "asking GitHub again in {} ms", wait.as_millis());
            tokio::time::sleep(*wait).await;
        }
    }

    async fn ask_once(
        &self,
        request: &Request,
        payer: &Payer,
        bearer: Option<&SecretString>,
    ) -> Result<Result<Answer, NoAnswer>, Error> {
        let limited = |until| Error::RateLimited { until, what: request.what.clone() };
        if let Some(until) = self.blocked_until(payer, request.endpoint) {
            return Err(limited(until));
        }
        let lane = self.lane(payer);
        let _permit = lane.acquire().await.map_err(|_| Error::Unavailable {
            what: request.what.clone(),
            message: "the client is shut down".to_owned(),
        })?;
        // Those before us in the lane may have reached a limit.
        if let Some(until) = self.blocked_until(payer, request.endpoint) {
            return Err(limited(until));
        }
        let sent = self.transport.send(request, bearer).await;
        if let Ok(answer) = &sent
            && let Some(until) = self.take_limits(request, payer, answer)
        {
            return Err(limited(until));
        }
        Ok(sent)
    }

    fn take_limits(&self, request: &Request, payer: &Payer, answer: &Answer) -> Option<Timestamp> {
        let now = Self::now();
        let reading = Reading::of(answer, now);
        let mut limits = self.limits();
        if let Some(resource) = &reading.resource {
            limits.named.insert(request.endpoint, resource.clone());
        }
        let resource = limits.resource(request.endpoint);
        limits.budgets.entry(payer.clone()).or_default().take(&reading, &resource, now)
    }

    fn lane(&self, payer: &Payer) -> Arc<Semaphore> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(payer.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.max_concurrent)));
        Arc::clone(lane)
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
