//! The pages on loopback: one that takes a person to GitHub with the manifest, and one to which GitHub sends them back with
//! the code. Who may not know the first one's address (other users of this machine) can make nothing of the second.

use super::{chance, page};
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use secrecy::SecretString;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Visits that wait for the conversation. One person clicks one thing after the other.
const VISITS: usize = 8;

/// The last page is a few kilobytes, over loopback or somebody's SSH.
const LAST_PAGE: Duration = Duration::from_secs(2);

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Somebody else listens there.
    #[error("port {0} of this machine is taken by another program: name a free one with --port")]
    Taken(u16),
    /// Anything else.
    #[error("no page can be served on 127.0.0.1:{port}: {why}")]
    Failed {
        /// The port.
        port: u16,
        /// In the system's words.
        why: String,
    },
    /// No random numbers.
    #[error("the system gives no random numbers")]
    NoChance,
}

/// A place for the pages.
pub struct Desk {
    listener: TcpListener,
    address: SocketAddr,
    /// Only who knows it gets the form, and with it the state.
    door: String,
    state: String,
    nonce: String,
}

/// Somebody came back from GitHub.
#[derive(Debug)]
pub enum Visit {
    /// With a code, and the right state.
    Came {
        /// Good once, and for an hour.
        code: SecretString,
        /// What to show them.
        answer: oneshot::Sender<Answer>,
    },
    /// With another state than the form had: not through this form, or through one of an earlier run.
    WrongState,
}

/// What the person is shown.
#[derive(Debug)]
pub enum Answer {
    /// The App is there.
    Made {
        /// Its name.
        name: String,
        /// Where it is installed.
        install: String,
        /// On which account.
        account: String,
    },
    /// It is not; why.
    Failed(String),
}

/// The pages, open until dropped.
pub struct Open {
    visits: mpsc::Receiver<Visit>,
    stop: DropGuard,
    served: JoinHandle<()>,
}

impl Open {
    /// The next visit.
    pub async fn visit(&mut self) -> Option<Visit> {
        self.visits.recv().await
    }

    /// Ends them, once the page that is on its way has arrived.
    pub async fn close(self) {
        let Self { visits, stop, served } = self;
        drop((visits, stop));
        // A browser that does not read on holds nobody up.
        let _ = tokio::time::timeout(LAST_PAGE, served).await;
    }
}

impl Desk {
    /// Takes the port; 0 is any that is free.
    ///
    /// # Errors
    /// It is taken, or may not be used.
    pub async fn bind(port: u16) -> Result<Self, DeskError> {
        let failed = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::AddrInUse => DeskError::Taken(port),
            _ => DeskError::Failed { port, why: error.to_string() },
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let word = || chance::word().map_err(|_| DeskError::NoChance);
        Ok(Self { listener, address, door: word()?, state: word()?, nonce: word()? })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where the person begins. A secret: it leads to the state.
    pub fn address(&self) -> String {
        format!("http://{}/{}", self.address, self.door)
    }

    /// Where GitHub sends them back to.
    pub fn redirect_url(&self) -> String {
        format!("http://{}/made", self.address)
    }

    /// What GitHub gives back with the code.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Serves the pages. `form_address` is GitHub's page that takes the manifest.
    pub fn open(self, form_address: &str, manifest: &Value) -> Open {
        let (tell, visits) = mpsc::channel(VISITS);
        let stop = CancellationToken::new();
        let name = manifest["name"].as_str().unwrap_or_default();
        let port = self.address.port();
        let shared = Arc::new(Shared {
            form: page::form(form_address, manifest, name, &self.nonce),
            state: self.state,
            nonce: self.nonce,
            hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
            done: AtomicBool::new(false),
            tell,
        });
        let routes = Router::new()
            .route(&format!("/{}", self.door), get(form))
            .route("/made", get(made))
            .layer(axum::middleware::from_fn_with_state(shared.clone(), guarded))
            .with_state(shared);
        let (listener, stopped) = (self.listener, stop.clone());
        let served = tokio::spawn(async move {
            let served = axum::serve(listener, routes).with_graceful_shutdown(stopped.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::warn!("the pages on loopback broke: {error}");
            }
        });
        Open { visits, stop: stop.drop_guard(), served }
    }
}

struct Shared {
    form: String,
    state: String,
    nonce: String,
    hosts: [String; 2],
    done: AtomicBool,
    tell: mpsc::Sender<Visit>,
}

/// A page elsewhere that a browser takes for ours (DNS rebinding) gets nothing, and ours is kept nowhere and shown in no frame.
async fn guarded(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !shared.hosts.iter().any(|ours| ours == host) {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    }
    let mut response = next.run(request).await;
    let nonce = &shared.nonce;
    // No `form-action`: browsers hold redirects after a form against it, and signing in at GitHub may redirect anywhere.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Not "no-referrer": the form's `Origin` would be "null", which GitHub may take for something bad.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn form(State(shared): State<Arc<Shared>>) -> Response {
    Html(shared.form.clone()).into_response()
}

async fn made(State(shared): State<Arc<Shared>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let failed = |status: StatusCode, why: &str| (status, Html(page::failed(why, &shared.nonce))).into_response();
    if !same(query.get("state").map(String::as_str).unwrap_or_default(), &shared.state) {
        // Full: the conversation knows already.
        let _ = shared.tell.try_send(Visit::WrongState);
        let why = "The answer does not belong to this setup: its state is another one. Begin at the address that the terminal \
                   shows, and at no older one.";
        return failed(StatusCode::FORBIDDEN, why);
    }
    let Some(code) = query.get("code").filter(|code| !code.is_empty()) else {
        return failed(
            StatusCode::BAD_REQUEST,
            "GitHub sent no code: begin again at the address that the terminal shows.",
        );
    };
    if shared.done.load(Ordering::SeqCst) {
        return failed(
            StatusCode::CONFLICT,
            "This App is made already: its code is good once. The terminal says what is next.",
        );
    }
    let (answer, told) = oneshot::channel();
    let code = SecretString::from(code.clone());
    if shared.tell.send(Visit::Came { code, answer }).await.is_err() {
        return failed(StatusCode::GONE, "The setup is over: run it again.");
    }
    match told.await {
        Ok(Answer::Made { name, install, account }) => {
            shared.done.store(true, Ordering::SeqCst);
            Html(page::made(&name, &install, &account, &shared.nonce)).into_response()
        }
        Ok(Answer::Failed(why)) => failed(StatusCode::BAD_GATEWAY, &why),
        Err(_) => failed(StatusCode::GONE, "The setup is over: run it again."),
    }
}

/// Whether both are the same, in a time that tells nothing of where they differ: their digests are compared, to the end.
fn same(given: &str, ours: &str) -> bool {
    let (given, ours) = (Sha256::digest(given.as_bytes()), Sha256::digest(ours.as_bytes()));
    given.iter().zip(ours.iter()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn only_the_same_is_the_same() {
        assert!(same("abc", "abc"));
        for other in ["", "abd", "abcd", "ABC"] {
            assert!(!same(other, "abc"), "{other}");
        }
    }
}
