//! The receiver: `POST /webhook`, `GET /healthz`, `GET /readyz`; and [`judge`], which says what a delivery comes to, however it
//! came here.
//!
//! It answers at once and asks nobody: source, size, signature over the raw bytes, headers, JSON, then the queue. A 2xx answer
//! means that the event is on durable storage, or that it is none of ours and the answer says why. It knows nothing of
//! Docker or GitHub's API.

pub mod payload;
pub mod signature;

use crate::clock;
use crate::config::{Config, IntakeMode};
use crate::inbound::sources::Refused;
use crate::inbound::{Bodies, BodyError, Caller, Sources};
use crate::model::{DeliveryId, JobEvent, JobFacts};
use crate::plan::{Match, Why, match_pool};
use crate::queue::{Pushed, Queue, QueuedEvent};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use secrecy::SecretString;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;
use tracing::{debug, warn};

/// What GitHub sent a delivery for: `integration` for an App.
pub const TARGET_TYPE: &str = "x-github-hook-installation-target-type";

/// The number of that App.
pub const TARGET_ID: &str = "x-github-hook-installation-target-id";

/// Our App's number, once it is known.
pub type AppNumber = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// What the receiver needs.
#[derive(Clone)]
pub struct Receiver {
    /// Secrets and caps, and which repositories and labels are ours.
    pub config: Arc<Config>,
    /// Where events go. None: answers as if every event were stored (only `scripts/bench` measures that).
    pub queue: Option<Arc<dyn Queue>>,
    /// The parts that `/readyz` asks.
    pub readiness: Arc<dyn Readiness>,
    /// Who may deliver.
    pub sources: Arc<Sources>,
    /// What reads bodies.
    pub bodies: Arc<Bodies>,
    /// What deliveries may be signed with now.
    pub secrets: Arc<Secrets>,
    /// Rung when an event tells of the App's installations.
    pub installations: Arc<Notify>,
    /// Whose deliveries they must be.
    pub app: AppNumber,
}

impl Receiver {
    /// With bounds and sources as configured.
    pub fn new(config: Arc<Config>, queue: Option<Arc<dyn Queue>>, readiness: Arc<dyn Readiness>) -> Self {
        let sources = Arc::new(Sources::new(&config.intake.sources));
        let secrets = Arc::new(Secrets::new(config.intake.secrets.clone()));
        let bodies = Arc::new(Bodies::new(config.intake.max_body, config.http.limits.body_timeout));
        Self {
            config,
            queue,
            readiness,
            sources,
            bodies,
            secrets,
            installations: Arc::default(),
            app: Arc::new(|| None),
        }
    }
}

/// The secrets that are valid now; they change while the program runs.
#[derive(Debug)]
pub struct Secrets(RwLock<Arc<[SecretString]>>);

impl Secrets {
    /// With these.
    pub fn new(secrets: Vec<SecretString>) -> Self {
        Self(RwLock::new(secrets.into()))
    }

    /// These from now on.
    pub fn replace(&self, secrets: Vec<SecretString>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = secrets.into();
    }

    /// Those of this moment.
    pub fn valid(&self) -> Arc<[SecretString]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Which parts of the program are there.
#[async_trait::async_trait]
pub trait Readiness: Send + Sync {
    /// Part -> what it said, or why it is not there.
    async fn check(&self) -> BTreeMap<&'static str, Result<String, String>>;
}

/// What the sender is told.
#[derive(Debug, Serialize)]
struct Answer {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

fn answer(code: StatusCode, status: &'static str, why: impl Into<Option<String>>) -> Response {
    (code, axum::Json(Answer { status, why: why.into() })).into_response()
}

/// The routes. Without a secret (all pools are persistent) nothing is received, nor where GitHub's log is read instead.
pub fn router(receiver: Receiver) -> Router {
    let intake = &receiver.config.intake;
    let receives = intake.mode == IntakeMode::Webhook && !intake.secrets.is_empty();
    let routes = if receives { Router::new().route(&intake.path, post(receive)) } else { Router::new() };
    routes
        .route("/healthz", get(async || answer(StatusCode::OK, "ok", None)))
        .route("/readyz", get(ready))
        .with_state(Arc::new(receiver))
}

/// What the route does with a delivery, for a sender in the same process: the status, and what is said.
pub async fn deliver(receiver: &Arc<Receiver>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers;
    let (parts, body) = receive(State(receiver.clone()), request).await.into_parts();
    (parts.status, axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default())
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let client = parts.extensions.get::<Caller>().map(|caller| caller.address);
    if let Err(refused) = receiver.sources.admit(client) {
        debug!(client = ?client, "refused a delivery: {refused}");
        return not_from_there(refused);
    }
    let body = match receiver.bodies.read(&parts.headers, body).await {
        Ok(body) => body,
        Err(error) => return unread(&error),
    };
    let client = client.map(tracing::field::display);
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let delivery = DeliveryId {
        hook: text("x-github-hook-id").unwrap_or_default().to_owned(),
        guid: text("x-github-delivery").unwrap_or_default().to_owned(),
    };
    if let Err(error) = signature::verify(&receiver.secrets.valid(), text("x-hub-signature-256"), &body) {
        warn!(delivery = %delivery, client, "refused a delivery: {error}");
        return answer(StatusCode::UNAUTHORIZED, "refused", error.to_string());
    }
    if let Some(refusal) = wrong_content_type(text("content-type")) {
        warn!(delivery = %delivery, client, "refused a delivery: the hook's content type is not application/json");
        return refusal;
    }
    let Some(event) = text("x-github-event") else {
        return answer(StatusCode::BAD_REQUEST, "refused", "the X-GitHub-Event header is missing".to_owned());
    };
    if delivery.guid.is_empty() {
        return answer(StatusCode::BAD_REQUEST, "refused", "the X-GitHub-Delivery header is missing".to_owned());
    }
    if let Some(why) = anothers(text(TARGET_TYPE), text(TARGET_ID), (receiver.app)()) {
        warn!(delivery = %delivery, client, "ignored a delivery: {why}");
        return answer(StatusCode::OK, "ignored", why);
    }
    let event = match judge(event, &body, &receiver.config) {
        Ok(Verdict::Take(event)) => *event,
        Ok(Verdict::Ping) => return answer(StatusCode::OK, "pong", None),
        Ok(Verdict::Installation { action, account }) => {
            debug!(delivery = %delivery, "the App's installation on `{account}`: {action}");
            receiver.installations.notify_one();
            return answer(StatusCode::OK, "noted", "the App's installations are looked at again".to_owned());
        }
        Ok(Verdict::Ignore(why)) => {
            debug!(delivery = %delivery, "ignored a delivery: {why}");
            return answer(StatusCode::OK, "ignored", why);
        }
        Err(error) => {
            warn!(delivery = %delivery, client, "refused a delivery: {error}");
            return answer(StatusCode::BAD_REQUEST, "refused", error.to_string());
        }
    };
    let refused = refused(&event.job, &receiver.config);
    let Some(queue) = &receiver.queue else { return answer(StatusCode::ACCEPTED, "queued", None) };
    match queue.push(QueuedEvent { delivery: delivery.clone(), received_at: clock::now(), event }).await {
        // Kept all the same, so that `jobs` shows why it waits.
        Ok(Pushed::New) => answer(StatusCode::ACCEPTED, "queued", refused),
        Ok(Pushed::Repeated) => answer(StatusCode::OK, "repeated", "this delivery was taken before".to_owned()),
        Err(error) => {
            warn!(delivery = %delivery, "answered 503, so that GitHub's log keeps the delivery as failed: {error}");
            answer(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
        }
    }
}

/// What is told of a delivery from somewhere else. Its body was not read.
fn not_from_there(refused: Refused) -> Response {
    match refused {
        Refused::NotListed(_) => answer(StatusCode::FORBIDDEN, "refused", refused.to_string()),
        Refused::NotReadYet => later(&refused.to_string()),
    }
}

/// What is told of a body that was not read.
fn unread(error: &BodyError) -> Response {
    let code = match error {
        BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        BodyError::NoRoom => return later(&error.to_string()),
    };
    answer(code, "refused", error.to_string())
}

/// Nothing is wrong with it, and it comes at a bad time.
fn later(why: &str) -> Response {
    let answer = answer(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why.to_owned());
    ([(header::RETRY_AFTER, "30")], answer).into_response()
}

fn wrong_content_type(content_type: Option<&str>) -> Option<Response> {
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" {
        return None;
    }
    let why = if kind == "application/x-www-form-urlencoded" {
        "the hook sends form-encoded bodies: set its content type to application/json (in the App's or hook's settings, \
         \"Content type\")"
            .to_owned()
    } else {
        format!("the content type is `{kind}`, not application/json")
    };
    Some(answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, "refused", why))
}

/// What a delivery comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An event for the queue.
    Take(Box<JobEvent>),
    /// GitHub's greeting.
    Ping,
    /// Something changed about where the App is installed.
    Installation {
        /// `created`, `suspend`, `added`, …
        action: String,
        /// The account's login.
        account: String,
    },
    /// None of ours, with the reason.
    Ignore(String),
}

/// Reads a delivery that is believed, and says what it comes to. Pure.
///
/// # Errors
/// [`payload::PayloadError`] for a body that GitHub would not send.
pub fn judge(event: &str, body: &[u8], config: &Config) -> Result<Verdict, payload::PayloadError> {
    Ok(match payload::parse(event, body)? {
        payload::Parsed::Job(event) => match not_ours(&event.job, config) {
            Some(why) => Verdict::Ignore(why),
            None => Verdict::Take(event),
        },
        payload::Parsed::Ping => Verdict::Ping,
        payload::Parsed::Installation { action, account } => Verdict::Installation { action, account },
        payload::Parsed::NotOurs(why) => Verdict::Ignore(why),
    })
}

/// Why a delivery is another App's: GitHub has mixed them up (June 2026), and several Apps may have one receiver. `ours` is our
/// App's number, where it is known; hooks of repositories and organizations name none.
pub fn anothers(kind: Option<&str>, target: Option<&str>, ours: Option<u64>) -> Option<String> {
    let (Some("integration"), Some(target), Some(ours)) = (kind, target, ours) else { return None };
    (target != ours.to_string()).then(|| format!("it is for the App with the number {target}; ours is {ours}"))
}

/// Why an event is none of ours. A job whose labels fit no pool but has one of our labels is kept all the same: `jobs`
/// shows it as unmatched, since somebody probably waits for it.
pub fn not_ours(job: &JobFacts, config: &Config) -> Option<String> {
    if !config.pools.iter().any(|pool| pool.scope.serves(job.repository.as_str())) {
        return Some(format!("no pool is for repository {}", job.repository));
    }
    // Whose code it runs is asked later, by the plan: here nobody is asked anything.
    let matched = match_pool(job, None, config);
    let shares_a_label = || config.pools.iter().any(|pool| job.labels.iter().any(|label| pool.labels.has(label)));
    // A job that ended before it started may come without labels; it may be one that is known.
    if matches!(matched, Match::None { .. }) && !job.labels.is_empty() && !shares_a_label() {
        return Some(format!("none of its labels ({}) is a label of a pool", job.labels));
    }
    None
}

/// Which rule keeps the job out of the pools that have its labels, as far as the event itself tells.
fn refused(job: &JobFacts, config: &Config) -> Option<String> {
    match match_pool(job, None, config) {
        Match::Refused { pool, rule } => Some(Why::Refused { pool: pool.name.clone(), rule }.to_string()),
        Match::Pool(_) | Match::None { .. } | Match::Unknown { .. } => None,
    }
}

async fn ready(State(receiver): State<Arc<Receiver>>) -> Response {
    #[derive(Serialize)]
    struct Part {
        ok: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    }
    let parts: BTreeMap<_, _> = receiver
        .readiness
        .check()
        .await
        .into_iter()
        .map(|(name, state)| match state {
            Ok(detail) => (name, Part { ok: true, detail: Some(detail), why: None }),
            Err(why) => (name, Part { ok: false, detail: None, why: Some(why) }),
        })
        .collect();
    let ok = parts.values().all(|part| part.ok);
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(serde_json::json!({ "ready": ok, "parts": parts }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_apps_deliveries_are_anothers() {
        assert_eq!(anothers(Some("integration"), Some("7"), Some(7)), None);
        assert_eq!(anothers(Some("integration"), Some("7"), None), None, "not known yet");
        assert_eq!(anothers(Some("repository"), Some("8"), Some(7)), None, "the id of a repository");
        assert_eq!(anothers(None, None, Some(7)), None);
        let why = anothers(Some("integration"), Some("8"), Some(7));
        assert_eq!(why.as_deref(), Some("it is for the App with the number 8; ours is 7"));
    }
}
