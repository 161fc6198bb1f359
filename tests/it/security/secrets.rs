//! Every secret that is in play, looked for everywhere but where it belongs: a `serve` that tells all it can (`trace`) runs jobs
//! of both kinds of registration, pulls with a password, is lied to, loses GitHub, and gets new secrets and a new key.

use super::processes;
use crate::support::app::{HOOK_SECRET, PATIENCE};
use crate::support::docker::docker;
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::registry::{self, Registry};
use base64::Engine;
use runnerfleet::simulation::github::{JobSpec, Outage};
use runnerfleet::simulation::keys;
use rustix::process::Signal;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const REDIS_PASSWORD: &str = "redis-word-5f2c91";
const NEXT_HOOK_SECRET: &str = "next-hook-secret-77ab01";
const WRONG_SECRET: &str = "wrong-secret-of-somebody";
const NOTIFY_PATH: &str = "hook-path-c0ffee17";
const NOTIFY_SECRET: &str = "notify-secret-9d3e55";

/// Somewhere a secret could have got to.
struct Place {
    what: String,
    bytes: Vec<u8>,
    /// The environment of an agent, which needs its JIT config.
    of_an_agent: bool,
}

fn place(what: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Place {
    Place { what: what.into(), bytes: bytes.into(), of_an_agent: false }
}

/// All that this machine shows of a container.
fn places_of(container: &str) -> Vec<Place> {
    let mut places = vec![
        place(format!("docker inspect {container}"), docker(&["inspect", container])),
        place(format!("docker logs {container}"), docker(&["logs", container])),
    ];
    for pid in processes(container) {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        places.push(place(format!("the arguments of process {pid} of {container}"), read("cmdline")));
        let environment = place(format!("the environment of process {pid} of {container}"), read("environ"));
        places.push(Place { of_an_agent: true, ..environment });
    }
    places
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            places.extend(files(&path));
        } else {
            places.push(place(path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    places
}

/// What the verbs and the socket answer.
async fn answers(program: &Program) -> Vec<Place> {
    let mut places = Vec::new();
    for verb in ["list", "jobs", "plan", "status"] {
        for form in ["wide", "json"] {
            let said = program.run(&[verb, "--output", form]).await;
            places.push(place(format!("`{verb} --output {form}`"), format!("{}{}", said.out, said.err)));
        }
    }
    let socket = program.path("fleet.sock");
    for (method, path) in
        [("GET", "/v1/overview"), ("POST", "/v1/reload"), ("GET", "/v1/difference"), ("GET", "/v1/scheduler")]
    {
        let mut curl = Command::new("curl");
        curl.arg("-s").arg("--unix-socket").arg(&socket).args(["-X", method]).arg(format!("http://x{path}"));
        let output = curl.output().expect("curl runs");
        assert!(output.status.success(), "{method} {path}: {output:?}");
        places.push(place(format!("{method} {path}"), output.stdout));
    }
    places
}

/// A job that must run to its end.
async fn served(program: &Program, label: &str) {
    let job = program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", label]));
    program.github.wait_for_job(job, PATIENCE).await.unwrap_or_else(|error| panic!("{error}\n{}", program.log()));
}

/// Runs the whole story; what could be seen of it, `serve`'s log first.
async fn story(program: &mut Program, registry: &Registry) -> Vec<Place> {
    let (hook_secrets, app_key) = (program.path("hook-secrets"), program.path("app.pem"));
    let private = |path: &Path, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    private(&hook_secrets, HOOK_SECRET);
    private(&app_key, program.key.expose_secret());
    let docker_home = program.path("docker");
    std::fs::create_dir(&docker_home).unwrap();
    private(&docker_home.join("config.json"), &registry.login());
    program.env.push(("DOCKER_CONFIG", docker_home.to_str().unwrap().to_owned()));
    program.env.push(("NOTIFY_URL", format!("https://127.0.0.1:9/{NOTIFY_PATH}")));
    program.env.push(("NOTIFY_SECRET", NOTIFY_SECRET.to_owned()));
    let mut config = program.config();
    let image = config["runners_defaults"]["base_image"].as_str().unwrap().to_owned();
    registry.push(&image, "acme/base:1");
    let mut pulled = config["runners"][0].clone();
    pulled["id"] = "pulled".into();
    pulled["labels"] = serde_json::json!(["self-hosted", "pulled"]);
    pulled["base_image"] = registry.image("acme/base:1").into();
    pulled["pull_policy"] = "if-not-present".into();
    config["runners"].as_array_mut().unwrap().push(pulled);
    config["runners"][1]["registration"] = "token".into();
    config["intake"] = serde_json::json!({ "secrets_file": "hook-secrets" });
    config["github"]["auth"]["app"].as_object_mut().unwrap().remove("private_key");
    config["github"]["auth"]["app"]["private_key_file"] = "app.pem".into();
    config["webhooks"] = serde_json::json!({ "generic": [{ "url": "${NOTIFY_URL}", "secret": "${NOTIFY_SECRET}" }] });
    config["log"]["level"] = "trace".into();
    program.write_config(&config);

    program.serve().await;
    let mut places = vec![place("the arguments of `serve`", {
        let pid = program.serve.as_ref().unwrap().id();
        std::fs::read(format!("/proc/{pid}/cmdline")).unwrap()
    })];
    served(program, "pulled").await;
    let (endless, container) = program.busy("linux").await;
    places.extend(places_of(&container));
    // Its agent asks the address of the web pages, which this stage does not serve to containers; its token is in play.
    let token_job = program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "arm"]));
    program
        .until("a token for the agent", || {
            let asked = program.github.requests("POST /orgs/{org}/actions/runners/registration-token");
            (!asked.is_empty()).then_some(())
        })
        .await;
    program.github.cancel(token_job);

    // A delivery that somebody else signed.
    let address = program.log().split("listening on http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let hook = format!("http://{address}/webhook");
    program.github.set_webhook(hook.clone(), Some(SecretString::from(WRONG_SECRET)));
    program.github.ping();
    program.until("it is refused", || program.log().contains("the signature does not match").then_some(())).await;

    // New secrets, and a key that is none of the App's.
    private(&hook_secrets, &format!("{NEXT_HOOK_SECRET}\n{HOOK_SECRET}\n"));
    let hang_up = |program: &Program| program.serve.as_ref().unwrap().signal(Signal::HUP);
    hang_up(program);
    program.until("two secrets", || program.log().contains("webhook secrets: 2 valid now").then_some(())).await;
    program.github.set_webhook(hook, Some(SecretString::from(NEXT_HOOK_SECRET)));
    let stranger = keys::generate().unwrap();
    private(&app_key, stranger.private_pem.expose_secret());
    hang_up(program);
    program.github.revoke_tokens();
    program
        .until("GitHub refuses the key", || {
            program.github.exchanges().iter().any(|exchange| exchange.status == 401).then_some(())
        })
        .await;
    private(&app_key, program.key.expose_secret());
    hang_up(program);
    served(program, "linux").await;

    program.github.set_outage(Outage::Api);
    let waits = program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]));
    program
        .rows(&["jobs", "--state", "queued"], |rows| {
            rows.iter().any(|row| row["why"].as_str().is_some_and(|why| why.contains("left alone")))
        })
        .await;
    places.extend(answers(program).await);
    program.github.set_outage(Outage::None);
    program.github.cancel(waits);
    program.github.cancel(endless);
    assert_eq!(program.stop().await, Some(0));
    let log = program.log();
    assert!(log.contains("TRACE") && log.len() > 10_000, "the log is as talkative as it can be");
    places.insert(0, place("the log", log));

    let mut secrets = vec![
        ("the hook's secret", HOOK_SECRET.to_owned()),
        ("the hook's next secret", NEXT_HOOK_SECRET.to_owned()),
        ("a recipient's address", NOTIFY_PATH.to_owned()),
        ("a recipient's secret", NOTIFY_SECRET.to_owned()),
        ("the password of Redis", REDIS_PASSWORD.to_owned()),
        ("the password of a registry", registry::PASSWORD.to_owned()),
        ("the login of a registry", base64_of(&format!("{}:{}", registry::USER, registry::PASSWORD))),
    ];
    for key in [&program.key, &stranger.private_pem] {
        let lines = key.expose_secret().lines().filter(|line| !line.starts_with("-----"));
        secrets.extend(lines.map(|line| ("a private key", line.to_owned())));
    }
    for exchange in program.github.exchanges() {
        for (field, what) in [("token", "a token"), ("encoded_jit_config", "a JIT config")] {
            if let Some(secret) = exchange.response.as_ref().and_then(|body| body[field].as_str()) {
                let kind =
                    if exchange.template.ends_with("/registration-token") { "a registration token" } else { what };
                secrets.push((kind, secret.to_owned()));
            }
        }
    }
    let kinds: BTreeSet<_> = secrets.iter().map(|(what, _)| *what).collect();
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    let mut agents_with_their_own = 0;
    for place in &places {
        for (what, secret) in &secrets {
            // A piece of it is too much as well.
            let piece = &secret.as_bytes()[..secret.len().min(24)];
            if !place.bytes.windows(piece.len()).any(|part| part == piece) {
                continue;
            }
            if place.of_an_agent && *what == "a JIT config" {
                agents_with_their_own += 1;
                continue;
            }
            let text = String::from_utf8_lossy(&place.bytes);
            let found = String::from_utf8_lossy(piece);
            let line = text.lines().find(|line| line.contains(&*found)).unwrap_or_default();
            panic!("{what} is in {}: {line}", place.what);
        }
    }
    assert!(
        agents_with_their_own > 0,
        "the environment of an agent was looked at: its own JIT config is there, and nothing else"
    );
    // Our own JWTs, which nobody records.
    let log = String::from_utf8_lossy(&places[0].bytes).into_owned();
    assert!(!log.contains("eyJ"), "a JWT is in the log: {:?}", log.lines().find(|line| line.contains("eyJ")));
    places
}

fn base64_of(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The same secrets, in the files of a store.
fn assert_not_in(files: &[Place], program: &Program) {
    assert!(files.iter().any(|file| !file.bytes.is_empty()), "there is something to look at");
    let mut secrets =
        vec![HOOK_SECRET.to_owned(), NEXT_HOOK_SECRET.to_owned(), REDIS_PASSWORD.to_owned(), NOTIFY_SECRET.to_owned()];
    secrets.extend(program.key.expose_secret().lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    for exchange in program.github.exchanges() {
        for field in ["token", "encoded_jit_config"] {
            secrets.extend(exchange.response.as_ref().and_then(|body| body[field].as_str()).map(str::to_owned));
        }
    }
    for file in files {
        for secret in &secrets {
            let piece = &secret.as_bytes()[..secret.len().min(24)];
            assert!(!file.bytes.windows(piece.len()).any(|part| part == piece), "a secret is in {}", file.what);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_embedded_store_no_secret_is_found_anywhere() {
    let registry = Registry::closed();
    let mut program = Program::set_up().await;
    story(&mut program, &registry).await;
    assert_not_in(&[place("fleet.redb", std::fs::read(program.path("fleet.redb")).unwrap())], &program);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_no_secret_is_found_anywhere() {
    let registry = Registry::closed();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let redis = RedisServer::start_with(&["--requirepass", REDIS_PASSWORD, "--dir", dir]);
    let mut program = Program::set_up().await;
    program.env.push(("REDIS_URL", format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}", redis.port())));
    let mut config = program.config();
    config["queue"] = serde_json::json!({ "backend": "redis", "redis": { "url": "${REDIS_URL}" } });
    program.write_config(&config);
    story(&mut program, &registry).await;
    assert_not_in(&files(folder.path()), &program);
}
