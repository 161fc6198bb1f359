use super::{Api, PATIENCE, Running, good_jwt, keys, options, start};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use runnerfleet::model::Scope;
use runnerfleet::simulation::github::{App, Handle, JobSpec, Options, WebhookFault};
use runnerfleet::simulation::sign;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) const SECRET: &str = "It's a Secret to Everybody";

#[derive(Default)]
struct Inbox {
    status: AtomicU16,
    got: Mutex<Vec<(HeaderMap, Bytes)>>,
}

/// A receiver that keeps what it gets.
pub(super) struct Receiver {
    pub(super) url: String,
    inbox: Arc<Inbox>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(super) async fn start() -> Self {
        async fn take(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
            inbox.got.lock().unwrap().push((headers, body));
            let status = inbox.status.load(Ordering::SeqCst);
            (StatusCode::from_u16(status).unwrap_or(StatusCode::ACCEPTED), "noted")
        }
        let inbox = Arc::new(Inbox::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        let routes = axum::Router::new().route("/webhook", post(take)).with_state(Arc::clone(&inbox));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, inbox, task }
    }

    pub(super) fn raw(&self, number: usize) -> Bytes {
        self.inbox.got.lock().unwrap()[number].1.clone()
    }

    pub(super) fn bodies(&self) -> Vec<Value> {
        self.inbox.got.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    /// Action and status of each, in the order in which they came.
    fn stories(&self) -> Vec<String> {
        let story = |body: &Value| {
            let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!("{} {}", word(&body["action"]), word(&body["workflow_job"]["status"]))
        };
        self.bodies().iter().map(story).collect()
    }
}

async fn listening() -> (Handle, Receiver) {
    let receiver = Receiver::start().await;
    let github = start(Options { app: App::with_public_key(keys().1), ..options() }).await;
    github.set_webhook(&receiver.url, Some(SECRET.into()));
    (github, receiver)
}

/// All names of fields in a value, with their paths; the items of a list count as one.
pub(super) fn fields(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                into.insert(format!("{path}.{name}"));
                fields(value, &format!("{path}.{name}"), into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, path, into)),
        _ => {}
    }
}

#[tokio::test]
async fn a_jobs_life_is_told_in_signed_deliveries_as_github_writes_them() {
    let (github, receiver) = listening().await;
    let api = Api::person(&github);
    github.ping();
    let job = github.queue_job(JobSpec::new("acme/web", ["Self-Hosted", "linux"]).named("build (1)"));
    github.webhooks_settled(PATIENCE).await.unwrap();
    let agent = Running::start(&api.registered("orgs/acme", "runner-1", &["self-hosted", "linux"]).await);
    github.wait_for_job(job, PATIENCE).await.unwrap();
    agent.ended().await;
    github.webhooks_settled(PATIENCE).await.unwrap();

    let got = receiver.inbox.got.lock().unwrap().clone();
    assert_eq!(got.len(), 4);
    let mut guids = BTreeSet::new();
    for (headers, body) in &got {
        assert_eq!(headers["x-hub-signature-256"], sign(SECRET, body));
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["x-github-hook-installation-target-type"], "integration");
        assert_eq!(headers["x-github-hook-installation-target-id"], "4242");
        assert!(headers["user-agent"].to_str().unwrap().starts_with("GitHub-Hookshot/"));
        assert!(headers.contains_key("x-github-hook-id"));
        guids.insert(headers["x-github-delivery"].to_str().unwrap().to_owned());
    }
    assert_eq!(guids.len(), 4, "one for each event");

    let bodies = receiver.bodies();
    let of = |action: &str| bodies.iter().find(|body| body["action"] == action).unwrap();
    let (queued, running, completed) = (of("queued"), of("in_progress"), of("completed"));
    for body in [queued, running, completed] {
        // The captured ones have 7 to 10 KB without white space.
        assert!((6500..16_000).contains(&body.to_string().len()), "{} bytes", body.to_string().len());
        assert_eq!(body["repository"]["full_name"], "acme/web");
        assert_eq!(body["repository"]["private"], true);
        assert_eq!(body["organization"]["login"], "acme");
        assert_eq!(body["installation"]["id"], 1001);
        assert_eq!(body["workflow_job"]["id"], job.id.0);
        assert_eq!(body["workflow_job"]["labels"], json!(["Self-Hosted", "linux"]));
    }
    assert_eq!(queued["workflow_job"]["runner_name"], Value::Null);
    assert_eq!(running["workflow_job"]["runner_name"], "runner-1");
    assert_eq!(running["workflow_job"]["runner_group_name"], "Default");
    assert_eq!(completed["workflow_job"]["conclusion"], "success");
    assert!(completed["workflow_job"]["steps"].as_array().unwrap().len() > 2);

    // Field for field what the captured ones have.
    for (ours, real) in [
        (queued, include_str!("../../fixtures/webhooks/workflow_job.queued.1.json")),
        (running, include_str!("../../fixtures/webhooks/workflow_job.in_progress.2.json")),
        (completed, include_str!("../../fixtures/webhooks/workflow_job.completed.1.json")),
    ] {
        let (mut has, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        fields(ours, "", &mut has);
        fields(&serde_json::from_str(real).unwrap(), "", &mut wanted);
        // A licence is an object there, and none here.
        let missing: Vec<_> = wanted.difference(&has).filter(|name| !name.contains(".license.")).collect();
        assert_eq!(missing, Vec::<&String>::new(), "of {}", ours["action"]);
    }
}

#[tokio::test]
async fn a_job_with_an_environment_is_told_as_waiting_first() {
    let (github, receiver) = listening().await;
    let job = github.waiting_job(JobSpec::new("acme/web", ["x"]));
    github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!(
        BTreeSet::from_iter(receiver.stories()),
        BTreeSet::from(["queued waiting".into(), "waiting waiting".into()])
    );
    assert!(receiver.bodies().iter().all(|body| body["deployment"]["environment"] == "production"));
    assert!(github.approve(job) && !github.approve(job));
    github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!(receiver.stories()[2..], ["queued queued"]);
}

#[tokio::test]
async fn a_rerun_sends_old_endings_again() {
    let (github, receiver) = listening().await;
    let scope = Scope::Organization("acme".into());
    github.add_foreign_runner(&scope, "theirs", ["x"], false).unwrap();
    let run = async |job| {
        assert!(github.steal(job, "theirs"));
        github.wait_for_job(job, PATIENCE).await.unwrap().run_id
    };
    let first = github.queue_job(JobSpec::new("acme/web", ["x"]).named("one"));
    let id = run(first).await;
    let second = github.queue_job(JobSpec::new("acme/web", ["x"]).named("two").in_run(id));
    run(second).await;
    github.webhooks_settled(PATIENCE).await.unwrap();
    let before = receiver.bodies().len();
    github.rerun(second).unwrap();
    github.webhooks_settled(PATIENCE).await.unwrap();
    let mut new = receiver.stories()[before..].to_vec();
    new.sort();
    assert_eq!(new, ["completed completed", "completed completed", "queued queued"]);
}

#[tokio::test]
async fn failed_deliveries_stay_in_the_log_and_can_be_had_again() {
    let (github, receiver) = listening().await;
    let app = Api::new(&github, Some(&good_jwt()));
    receiver.inbox.status.store(503, Ordering::SeqCst);
    github.queue_job(JobSpec::new("acme/web", ["x"]));
    github.webhooks_settled(PATIENCE).await.unwrap();
    receiver.inbox.status.store(0, Ordering::SeqCst);
    github.lose_next_webhooks(1, Some("queued"));
    github.queue_job(JobSpec::new("acme/web", ["x"]));
    github.next_webhooks(1, None, WebhookFault::NeverSent);
    github.queue_job(JobSpec::new("acme/web", ["x"]));
    github.queue_job(JobSpec::new("acme/web", ["x"]));
    github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!(receiver.bodies().len(), 2, "one refused, one lost, one never sent, one good");
    assert_eq!(github.deliveries().len(), 3);

    let log = app.get("/app/hook/deliveries").await;
    let statuses: BTreeSet<&str> = log.as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, BTreeSet::from(["Invalid HTTP Response: 503", "OK", "failed to connect to host"]));
    let failed = app.get("/app/hook/deliveries?status=failure").await;
    assert_eq!(failed.as_array().unwrap().len(), 1, "one that never connected is in neither list");

    let refused = &failed[0];
    let whole = app.get(&format!("/app/hook/deliveries/{}", refused["id"])).await;
    assert_eq!(whole["request"]["payload"]["action"], "queued");
    assert_eq!(whole["request"]["headers"]["X-GitHub-Delivery"], refused["guid"]);
    assert_eq!(whole["response"]["payload"], "noted");
    let again = format!("/app/hook/deliveries/{}/attempts", refused["id"]);
    assert_eq!(app.ask("POST", &again, None).await.0, 202);
    github.webhooks_settled(PATIENCE).await.unwrap();
    let newest = app.get("/app/hook/deliveries?per_page=1").await[0].clone();
    assert_eq!(
        (&newest["redelivery"], &newest["guid"], &newest["status"]),
        (&json!(true), &refused["guid"], &json!("OK"))
    );
    assert_ne!(newest["id"], refused["id"]);
    let (headers, body) = receiver.inbox.got.lock().unwrap().last().unwrap().clone();
    assert_eq!(headers["x-github-delivery"], refused["guid"].as_str().unwrap());
    assert_eq!(headers["x-hub-signature-256"], sign(SECRET, &body));

    // The whole log by cursor, newest first, each once.
    let mut ids = Vec::new();
    let mut path = "/app/hook/deliveries?per_page=1".to_owned();
    loop {
        let answer = app.send("GET", &path, None).await;
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = answer.json().await.unwrap();
        ids.extend(page.as_array().unwrap().iter().map(|it| it["id"].as_u64().unwrap()));
        let Some(link) = link else { break };
        let next = link.trim_start_matches('<').split('>').next().unwrap();
        path = next.strip_prefix(github.api_url()).unwrap().to_owned();
    }
    assert_eq!(ids.len(), 4);
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
}

#[tokio::test]
async fn deliveries_come_twice_late_and_in_another_order() {
    let (github, receiver) = listening().await;
    github.next_webhooks(1, Some("queued"), WebhookFault::Repeated(1));
    let job = github.queue_job(JobSpec::new("acme/web", ["x"]));
    github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!(receiver.stories(), ["queued queued", "queued queued"]);
    let guid = |index: usize| receiver.inbox.got.lock().unwrap()[index].0["x-github-delivery"].clone();
    assert_eq!(guid(0), guid(1));

    github.hold_webhooks();
    github.cancel(job);
    github.queue_job(JobSpec::new("acme/web", ["x"]));
    assert_eq!(receiver.bodies().len(), 2);
    github.release_webhooks(true);
    github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!(receiver.stories()[2..], ["queued queued", "completed completed"]);

    github.next_webhooks(1, None, WebhookFault::Late(Duration::from_secs(1)));
    let late = github.queue_job(JobSpec::new("acme/web", ["x"]));
    github.cancel(late);
    github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!(receiver.stories()[4..], ["completed completed", "queued queued"]);
}

#[tokio::test]
async fn only_what_the_app_was_given_is_told() {
    let (github, receiver) = listening().await;
    for repository in ["other/thing", "acme/nothing"] {
        github.queue_job(JobSpec::new(repository, ["x"]));
    }
    github.set_suspended("acme", true);
    github.queue_job(JobSpec::new("acme/web", ["x"]));
    github.set_suspended("acme", false);
    let octo = github.queue_job(JobSpec::new("octo/tool", ["x"]));
    github.webhooks_settled(PATIENCE).await.unwrap();
    let mut bodies = receiver.bodies();
    bodies.retain(|body| body.get("workflow_job").is_some());
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0]["workflow_job"]["id"], octo.id.0);
    assert_eq!(bodies[0].get("organization"), None, "a user is no organization");
}
