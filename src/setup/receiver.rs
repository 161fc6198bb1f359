//! A receiver for the time of the setup, where no `serve` runs yet: it answers the delivery that GitHub is asked to send again,
//! and nothing else. A job that is queued meanwhile is answered 503, so that GitHub's log keeps it as failed.

use super::verdict::Heard;
use crate::config::Http;
use crate::inbound::Inbound;
use crate::webhook::signature::{SignatureError, verify};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// GitHub's own cap is 25 MB; what is asked for again is a `ping`, or as small as a job's event.
const LARGEST: usize = 1 << 20;

/// So many are remembered: one is waited for.
const REMEMBERED: usize = 100;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NoReceiver {
    /// Somebody listens there.
    #[error("{0} (http.listen) is taken by another program")]
    Taken(SocketAddr),
    /// It may not be listened on.
    #[error("nothing can listen on {address} (http.listen): {why}")]
    Failed {
        /// Where.
        address: SocketAddr,
        /// In the system's words.
        why: String,
    },
    /// The certificate of http.tls cannot be used.
    #[error("the certificate of http.tls cannot be used: {0}")]
    Certificate(String),
}

/// Listens until dropped.
pub struct Receiver {
    heard: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    secrets: Vec<SecretString>,
    expected: Mutex<Option<String>>,
    heard: Mutex<Vec<(String, Heard)>>,
}

impl Receiver {
    /// Listens as `serve` would.
    ///
    /// # Errors
    /// The address is taken or may not be used, or the certificate is none.
    pub async fn open(http: &Http, path: &str, secrets: Vec<SecretString>) -> Result<Self, NoReceiver> {
        let address = http.listen;
        let inbound = Inbound::open(http).map_err(|error| NoReceiver::Certificate(error.to_string()))?;
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => NoReceiver::Taken(address),
            _ => NoReceiver::Failed { address, why: error.to_string() },
        })?;
        let heard = Arc::new(Shared { secrets, expected: Mutex::default(), heard: Mutex::default() });
        let routes = Router::new().route(path, post(receive)).with_state(heard.clone());
        let stop = CancellationToken::new();
        tokio::spawn(inbound.serve(listener, routes, stop.clone()));
        Ok(Self { heard, _stop: stop.drop_guard() })
    }

    /// The delivery of this GUID is waited for.
    pub fn expect(&self, guid: &str) {
        *self.heard.expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(guid.to_owned());
    }

    /// What was heard last of the delivery.
    pub fn heard(&self, guid: &str) -> Heard {
        let heard = self.heard.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().rev().find(|(of, _)| of == guid).map_or(Heard::Nothing, |(_, heard)| heard.clone())
    }
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let text =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let Ok(body) = to_bytes(body, LARGEST).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let (guid, signature) = (text("x-github-delivery"), text("x-hub-signature-256"));
    let heard = match signed_with(&shared.secrets, Some(signature.as_str()).filter(|it| !it.is_empty()), &body) {
        Ok(secret) => Heard::Verified { secret },
        Err(error) => Heard::Refused(error.to_string()),
    };
    let answer = match &heard {
        Heard::Verified { .. } => {
            let expected = shared.expected.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if text("x-github-event") == "ping" || expected.as_deref() == Some(guid.as_str()) {
                (StatusCode::OK, "pong: `runnerfleet setup` is here").into_response()
            } else {
                let why = "only `runnerfleet setup` is here yet, and no `serve`; have this sent again later";
                (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
            }
        }
        Heard::Refused(why) => (StatusCode::UNAUTHORIZED, why.clone()).into_response(),
        Heard::Nothing | Heard::NotOurs => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let mut all = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= REMEMBERED {
        all.remove(0);
    }
    all.push((guid, heard));
    answer
}

/// Which of the secrets it is signed with. Each is tried by itself, always all of them.
fn signed_with(secrets: &[SecretString], header: Option<&str>, body: &[u8]) -> Result<usize, SignatureError> {
    let mut found = Err(SignatureError::Wrong);
    for (number, secret) in secrets.iter().enumerate() {
        let one = verify(std::slice::from_ref(secret), header, body);
        match (one, found) {
            (Ok(()), Err(_)) => found = Ok(number),
            (Err(error), Err(_)) => found = Err(error),
            (_, Ok(_)) => {}
        }
    }
    found
}
