use super::{Delivery, Door, Payload, fleet, router};
use runnerfleet::config::{Config, IntakeMode};
use runnerfleet::webhook::{Readiness, Receiver};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Says what it was made with.
struct Said(BTreeMap<&'static str, Result<String, String>>);

#[async_trait::async_trait]
impl Readiness for Said {
    async fn check(&self) -> BTreeMap<&'static str, Result<String, String>> {
        self.0.clone()
    }
}

async fn readyz(parts: &[(&'static str, Result<&str, &str>)]) -> (u16, Value) {
    let own = |said: Result<&str, &str>| said.map(str::to_owned).map_err(str::to_owned);
    let readiness = Arc::new(Said(parts.iter().map(|(name, said)| (*name, own(*said))).collect()));
    let dir = tempfile::tempdir().unwrap();
    let config = Arc::new(fleet::config(dir.path().to_owned(), "fleet", Vec::new()));
    let routes = router(Receiver::new(config, None, readiness));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/readyz", listener.local_addr().unwrap());
    let _server = AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
    let answer = super::http_client().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn healthz_says_that_the_process_lives() {
    let door = Door::open().await;
    let answer = door.client.get(format!("http://{}/healthz", door.addr)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "status": "ok" }));
}

#[tokio::test]
async fn readyz_is_200_when_every_part_is_there() {
    let (code, body) = readyz(&[("store", Ok("answers")), ("docker", Ok("Docker 27"))]).await;
    assert_eq!(code, 200);
    let parts =
        json!({ "store": { "ok": true, "detail": "answers" }, "docker": { "ok": true, "detail": "Docker 27" } });
    assert_eq!(body, json!({ "ready": true, "parts": parts }));
}

#[tokio::test]
async fn readyz_is_503_and_says_why_when_one_is_not() {
    let (code, body) = readyz(&[("store", Ok("answers")), ("docker", Err("no socket at /var/run/docker.sock"))]).await;
    assert_eq!(code, 503);
    assert_eq!(body["ready"], false);
    assert_eq!(body["parts"]["store"]["ok"], true);
    assert_eq!(body["parts"]["docker"], json!({ "ok": false, "why": "no socket at /var/run/docker.sock" }));
}

#[tokio::test]
async fn without_a_secret_nothing_is_received_and_the_probes_answer() {
    nothing_is_received(|config| config.intake.secrets.clear()).await;
}

#[tokio::test]
async fn where_githubs_log_is_read_nothing_is_received_either() {
    nothing_is_received(|config| config.intake.mode = IntakeMode::Pull).await;
}

async fn nothing_is_received(change: impl FnOnce(&mut Config)) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = fleet::config(dir.path().to_owned(), "fleet", Vec::new());
    change(&mut config);
    let routes = router(Receiver::new(Arc::new(config), None, Arc::new(Said(BTreeMap::new()))));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let _server = AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
    // Plain HTTP only.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let delivery = client.post(format!("{url}/webhook")).body("{}").send().await.unwrap();
    assert_eq!(delivery.status(), 404);
    for probe in ["healthz", "readyz"] {
        assert_eq!(client.get(format!("{url}/{probe}")).send().await.unwrap().status(), 200);
    }
}

/// GitHub has mixed Apps up; one that is known to be another's is told so, and not taken.
#[tokio::test]
async fn a_delivery_for_another_app_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let config = fleet::config(dir.path().to_owned(), "fleet", vec![fleet::pool("linux", &["linux"])]);
    let mut receiver = Receiver::new(Arc::new(config), None, Arc::new(Said(BTreeMap::new())));
    receiver.app = Arc::new(|| Some(7));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let routes = router(receiver);
    let _server = AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
    let delivery = Delivery::of(&Payload::job(1));
    for (target, code) in [("7", 202), ("8", 200)] {
        let mut request = super::http_client().post(&url).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        request = request.header("x-github-hook-installation-target-type", "integration");
        let answer = request.header("x-github-hook-installation-target-id", target).send().await.unwrap();
        assert_eq!(answer.status(), code, "{target}");
        let body: Value = answer.json().await.unwrap();
        if code == 200 {
            assert_eq!(body["why"], "it is for the App with the number 8; ours is 7");
        }
    }
}
