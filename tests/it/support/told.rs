//! Somebody who is told: an HTTP server on the loopback that keeps what it got, and answers as the test wants.

use super::app::PATIENCE;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use runnerfleet::config::{Form, Recipient};
use runnerfleet::notify::event::Kind;
use runnerfleet::notify::template::Cards;
use secrecy::SecretString;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Got {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What it answers to the request of this number, counted from 0; none: nothing, ever.
type Answer = Arc<dyn Fn(usize) -> Option<Response> + Send + Sync>;

#[derive(Clone)]
struct Desk {
    got: Arc<Mutex<Vec<Got>>>,
    bell: watch::Sender<usize>,
    answer: Answer,
}

/// See the file's head. Its task ends with the test's runtime.
pub struct Told {
    pub address: std::net::SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    bell: watch::Receiver<usize>,
}

impl Told {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::answering(|_| Some(StatusCode::OK.into_response())).await
    }

    /// One that never answers.
    pub async fn hanging() -> Self {
        Self::answering(|_| None).await
    }

    pub async fn answering(answer: impl Fn(usize) -> Option<Response> + Send + Sync + 'static) -> Self {
        // Whoever was first is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (bell, heard) = watch::channel(0);
        let got = Arc::new(Mutex::new(Vec::new()));
        let desk = Desk { got: got.clone(), bell, answer: Arc::new(answer) };
        let router = Router::new().fallback(take).with_state(desk);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, got, bell: heard }
    }

    pub fn url(&self) -> String {
        format!("http://{}/services/T0000000/verysecretpath", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Until so many have come.
    pub async fn until(&self, count: usize) -> Vec<Got> {
        let mut bell = self.bell.clone();
        let came = tokio::time::timeout(PATIENCE, bell.wait_for(|came| *came >= count)).await;
        assert!(came.is_ok(), "{count} messages were to come, and {} came", self.got().len());
        self.got()
    }
}

async fn take(State(desk): State<Desk>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let number = {
        let mut got = desk.got.lock().unwrap();
        got.push(Got { path: uri.path().to_owned(), headers, body });
        got.len() - 1
    };
    desk.bell.send_replace(number + 1);
    match (desk.answer)(number) {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}

/// A recipient at this address that wants to know everything.
pub fn recipient(name: &str, url: &str, form: Form) -> Recipient {
    Recipient {
        name: name.to_owned(),
        enabled: true,
        url: Some(SecretString::from(url)),
        timeout: Duration::from_secs(60),
        events: Kind::ALL.iter().copied().collect(),
        cards: Cards::default(),
        form,
    }
}

/// One that gets JSON.
pub fn generic(url: &str) -> Recipient {
    recipient("ops", url, Form::Generic { secret: None, headers: Vec::new() })
}
