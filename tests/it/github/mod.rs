//! The client, against a server that answers by script.

/// The App itself, its hook, its installations.
mod app_life;
/// What goes wrong on the way, and in which words it reaches a person.
mod failures;
/// Runner groups: looked at, made, changed.
mod groups;
/// Limits: waiting as told, and not asking meanwhile.
mod limits;
/// The log, runs and jobs in pages, and what is left of the limits.
mod listed;
/// `app-manifest.json`, against what the client asks for.
mod manifest;
/// Runners, groups and jobs.
mod operations;
/// Redirects, base paths, time-outs, answers that cannot be read.
mod roads;
/// The server.
mod server;
/// The App's JWT, installations and tokens.
mod tokens;

use jiff::{SignedDuration, Timestamp};
use runnerfleet::config::{GitHub, GitHubAuth};
use runnerfleet::github::{Client, Error, JitRequest, JitRunner};
use runnerfleet::model::{LabelSet, RunnerName, Scope};
use secrecy::SecretString;
use serde_json::{Value, json};
use server::{Reply, Server};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

const ORG_JIT: &str = "POST /orgs/acme/actions/runners/generate-jitconfig";
const ORG_RUNNERS: &str = "GET /orgs/acme/actions/runners";
const ORG_TOKEN: &str = "POST /orgs/acme/actions/runners/registration-token";
const ORG_INSTALLATION: &str = "GET /orgs/acme/installation";
const MINT: &str = "POST /app/installations/77/access_tokens";

/// A key as GitHub gives it out. Made once and kept in the build folder: each test is a process, and a key may take
/// openssl a second.
static KEY: LazyLock<String> = LazyLock::new(|| {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("app-key.pem");
    if let Ok(key) = std::fs::read_to_string(&kept) {
        return key;
    }
    let made = Command::new("openssl").args(["genrsa", "-traditional", "2048"]).output().expect("openssl is installed");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    // Renamed into place, so that a test beside this one never reads half a key.
    let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&made.stdout).unwrap();
    file.persist(kept).unwrap();
    String::from_utf8(made.stdout).unwrap()
});

fn acme() -> Scope {
    Scope::Organization("acme".to_owned())
}

fn web() -> Scope {
    Scope::Repository { owner: "acme".to_owned(), name: "web".to_owned() }
}

fn config(url: &str, auth: GitHubAuth) -> GitHub {
    GitHub {
        auth,
        api_url: url.to_owned(),
        max_concurrent: 10,
        poll_runners: Duration::from_secs(60),
        poll_deliveries: None,
        poll_jobs: None,
    }
}

fn as_app(installation: Option<u64>) -> GitHubAuth {
    GitHubAuth::App { issuer: "Iv23liTest".to_owned(), private_key: SecretString::from(KEY.clone()), installation }
}

fn as_owner() -> GitHubAuth {
    GitHubAuth::Token(SecretString::from("ghp_personal"))
}

/// A client with a personal token: for tests that are not about tokens.
fn client(server: &Server) -> Client {
    Client::new(&config(&server.url, as_owner())).unwrap()
}

/// A client that is an App, installed on acme as number 77.
fn app(server: &Server) -> Client {
    server.on(ORG_INSTALLATION, [installation(77)]);
    server.on("GET /repos/acme/web/installation", [installation(77)]);
    server.on(MINT, [minted("ghs_first", 60)]);
    Client::new(&config(&server.url, as_app(None))).unwrap()
}

fn installation(id: u64) -> Reply {
    Reply::json(200, &json!({ "id": id, "app_id": 5, "account": { "login": "acme" } }))
}

fn in_minutes(minutes: i64) -> String {
    format!("{:.0}", Timestamp::now() + SignedDuration::from_mins(minutes))
}

fn minted(token: &str, minutes: i64) -> Reply {
    Reply::json(201, &json!({ "token": token, "expires_at": in_minutes(minutes), "permissions": {} }))
}

fn listed(id: u64, name: &str) -> Value {
    json!({ "id": id, "name": name, "os": "linux", "status": "online", "busy": false, "labels": [{ "name": "Linux" }] })
}

fn list(total: usize, runners: &[Value]) -> Reply {
    Reply::json(200, &json!({ "total_count": total, "runners": runners }))
}

fn jit_made(id: u64) -> Reply {
    Reply::json(201, &json!({ "runner": listed(id, "linux-7"), "encoded_jit_config": "c2VjcmV0" }))
}

async fn jit(client: &Client, scope: &Scope, group: Option<&str>) -> Result<JitRunner, Error> {
    let labels: LabelSet = ["self-hosted", "linux"].into_iter().collect();
    let name = RunnerName::new("linux-7");
    client.jit_config(scope, &JitRequest { name: &name, labels: &labels, group, work_dir: "_work" }).await
}
