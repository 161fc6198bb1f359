//! The simulated GitHub held against GitHub's description and its documented rules; the stand-in agent against what
//! actions/runner does.

/// The stand-in agent, in this process and as a process of its own.
mod agent;
/// The REST API: shapes, authentication, limits, faults.
mod api;
/// How the App is made, installed and taken off.
mod app_life;
/// Which runner gets which job, and what becomes of jobs.
mod jobs;
/// Signed deliveries, their log and their faults.
mod webhooks;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, RequestBuilder, Response};
use runnerfleet::simulation::agent::{Agent, Ended, Interrupt, Output, Worker};
use runnerfleet::simulation::github::{App, Handle, Options, SimulatedGitHub, Timings};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);
const PERSON: &str = "ghp_person";

/// The App's keys: made once for all tests, since making them takes a while. Private, then public.
fn keys() -> (String, String) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let finished = folder.join("simulated-app.pem");
    if !finished.exists() {
        let mine = folder.join(format!("simulated-app.{}.pem", std::process::id()));
        let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&mine).arg("2048").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        // Whoever is first wins, with a whole file: a test that has read it must find the same key again.
        if let Err(error) = std::fs::hard_link(&mine, &finished) {
            assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
        }
        std::fs::remove_file(&mine).unwrap();
    }
    let public = Command::new("openssl").args(["rsa", "-pubout", "-in"]).arg(&finished).output().unwrap();
    assert!(public.status.success(), "{public:?}");
    (std::fs::read_to_string(&finished).unwrap(), String::from_utf8(public.stdout).unwrap())
}

/// A JWT with these claims.
fn jwt(claims: &Value) -> String {
    let key = EncodingKey::from_rsa_pem(keys().0.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
}

/// A JWT as an App should make it.
fn good_jwt() -> String {
    let now = jiff::Timestamp::now().as_second();
    jwt(&json!({ "iss": "Iv23liSimulated00042", "iat": now - 60, "exp": now + 540 }))
}

/// The usual GitHub on a fast clock, open to a personal token. Tests of the App's JWT give it a real key.
fn options() -> Options {
    Options {
        personal_token: Some(SecretString::from(PERSON)),
        timings: Timings::fast(),
        ..Options::acme(App::with_public_key("no key"))
    }
}

async fn start(options: Options) -> Handle {
    SimulatedGitHub::start(options).await.unwrap()
}

/// A client of the API.
struct Api {
    client: Client,
    base: String,
    token: Option<String>,
}

impl Api {
    fn new(github: &Handle, token: Option<&str>) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        Self { client, base: github.api_url().to_owned(), token: token.map(str::to_owned) }
    }

    fn person(github: &Handle) -> Self {
        Self::new(github, Some(PERSON))
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let request = self.request(method, path);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send().await.unwrap()
    }

    /// Status and body.
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    async fn jit(&self, scope: &str, name: &str, labels: &[&str]) -> (u16, Value) {
        let body = json!({ "name": name, "runner_group_id": 1, "labels": labels });
        self.ask("POST", &format!("/{scope}/actions/runners/generate-jitconfig"), Some(body)).await
    }

    /// A registered runner's JIT config.
    async fn registered(&self, scope: &str, name: &str, labels: &[&str]) -> String {
        let (status, body) = self.jit(scope, name, labels).await;
        assert_eq!(status, 201, "{body}");
        body["encoded_jit_config"].as_str().unwrap().to_owned()
    }
}

/// An agent in this process, with what it prints.
struct Running {
    task: JoinHandle<Ended>,
    lines: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<Option<Interrupt>>,
}

impl Running {
    fn start(jit: &str) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = watch::channel(None);
        let mut agent = Agent::new(Some(jit.to_owned()), Worker::InProcess);
        agent.output = collect(&lines);
        agent.stop = stopped;
        Self { task: tokio::spawn(agent.run()), lines, stop }
    }

    async fn ended(self) -> (Ended, Vec<String>) {
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("the agent ends").unwrap();
        (ended, self.lines.lock().unwrap().clone())
    }
}

/// Keeps an agent's lines.
fn collect(lines: &Arc<Mutex<Vec<String>>>) -> Output {
    let lines = Arc::clone(lines);
    Arc::new(move |line| lines.lock().unwrap().push(line.to_owned()))
}

/// Waits until an agent of this name is there and waits for a job.
async fn online(github: &Handle, name: &str) {
    github
        .wait_until(&format!("agent {name}"), PATIENCE, |model| {
            model.runner(name).is_some_and(|runner| runner.online(jiff::Timestamp::now(), Duration::from_secs(1)))
        })
        .await
        .unwrap();
}
