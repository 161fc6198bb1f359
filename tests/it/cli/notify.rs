//! `notify test` and `notify test-all`, as a person runs them.

use crate::support::program::{PROGRAM, Said, run};
use crate::support::told::Told;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use runnerfleet::notify::event::Kind;
use serde_json::{Value, json};
use std::path::Path;
use tokio::process::Command;

fn folder(webhooks: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "version": 1,
        "runners_defaults": { "org_url": "https://github.com/acme", "base_image": "ghcr.io/actions/actions-runner:2.336.0" },
        "runners": [{ "id": "small", "labels": ["small"] }],
        "intake": { "secrets": ["${HOOK}"] },
        "webhooks": webhooks,
    });
    std::fs::write(folder.path().join("runners_config.yaml"), config.to_string()).unwrap();
    folder
}

async fn said(folder: &Path, url: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env_remove("RUNNERFLEET_CONFIG");
    command.env("HOOK", "a-secret").env("GITHUB_TOKEN", "ghp_x").env("URL", url);
    let said = run(&mut command).await;
    for text in [&said.out, &said.err] {
        assert!(!text.contains("verysecret"), "the address is a secret: {text}");
    }
    said
}

#[tokio::test]
async fn an_example_arrives_at_each_recipient() {
    let told = Told::start().await;
    let folder = folder(&json!({
        "generic": [
            { "name": "ops", "url": "${URL}", "events": ["job_lost"] },
            { "name": "other", "url": "${URL}" },
            { "name": "off", "url": "${URL}", "enabled": false },
        ],
    }));
    let test = said(folder.path(), &told.url(), &["notify", "test", "--event", "job_lost"]).await;
    assert_eq!((test.code, test.err.as_str()), (Some(0), ""), "{test:?}");
    assert_eq!(told.got().len(), 2);
    assert_eq!(told.got()[0].json()["event_type"], "job_lost");
    assert!(test.out.ends_with("2 sent\n"), "{}", test.out);

    // What a recipient is not told of is sent as a test all the same, and said.
    let test = said(
        folder.path(),
        &told.url(),
        &["webhook", "test", "-p", "ops", "-e", "build_failed", "--yes", "-o", "json"],
    )
    .await;
    let lines: Value = serde_json::from_str(&test.out).unwrap();
    let why = "not in its `events`: a real one is not sent there";
    assert_eq!(lines, json!([{ "provider": "ops", "event": "build_failed", "outcome": "sent", "why": why }]));

    let all = said(folder.path(), &told.url(), &["notify", "test-all", "--output", "json"]).await;
    let lines: Vec<Value> = serde_json::from_str(&all.out).unwrap();
    let count = |provider: &str, outcome: &str| {
        lines.iter().filter(|line| line["provider"] == provider && line["outcome"] == outcome).count()
    };
    assert_eq!((count("ops", "sent"), count("ops", "skipped")), (1, Kind::ALL.len() - 1));
    assert_eq!((count("other", "sent"), count("off", "sent")), (Kind::ALL.len(), 0));
    let quiet = said(folder.path(), &told.url(), &["notify", "test", "-q"]).await;
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (Some(0), "", ""));
}

#[tokio::test]
async fn a_dry_run_shows_and_sends_nothing() {
    let told = Told::start().await;
    let folder = folder(&json!({ "slack": { "webhook_url": "${URL}" } }));
    let dry = said(folder.path(), &told.url(), &["notify", "test", "--dry-run"]).await;
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.out.contains("would be sent") && dry.out.contains("\"attachments\""), "{}", dry.out);
    let dry = said(folder.path(), &told.url(), &["notify", "test", "--dry-run", "-o", "yaml"]).await;
    assert!(dry.out.contains("Runner example-1 of pool example failed"), "{}", dry.out);
    assert!(told.got().is_empty());
}

#[tokio::test]
async fn one_that_does_not_arrive_fails_the_verb_and_says_why() {
    let told = Told::answering(|_| Some((StatusCode::FORBIDDEN, "invalid_token verysecretpath").into_response())).await;
    let folder = folder(&json!({ "discord": { "webhook_url": "${URL}" } }));
    let test = said(folder.path(), &told.url(), &["notify", "test"]).await;
    assert_eq!(test.code, Some(1), "{test:?}");
    assert!(test.out.contains("it answered 403: invalid_token …") && test.out.ends_with("1 failed\n"), "{}", test.out);
    let quiet = said(folder.path(), &told.url(), &["notify", "test", "-q"]).await;
    assert!(quiet.code == Some(1) && quiet.out.contains("403"), "{quiet:?}");
}

#[tokio::test]
async fn what_cannot_be_tried_is_wrong_use() {
    let nobody = folder(&json!({}));
    let test = said(nobody.path(), "x", &["notify", "test"]).await;
    assert_eq!(test.code, Some(2), "{test:?}");
    assert!(test.err.contains("no recipient under `webhooks`"), "{}", test.err);
    let folder = folder(&json!({ "slack": { "enabled": false }, "teams": { "webhook_url": "https://h/x" } }));
    for (arguments, why) in [
        (vec!["notify", "test", "-p", "slack"], "recipient `slack` is switched off"),
        (vec!["notify", "test", "-p", "slak"], "no recipient `slak`"),
        (vec!["notify", "test", "-e", "runner_exploded"], "runner_exploded"),
    ] {
        let test = said(folder.path(), "x", &arguments).await;
        assert_eq!(test.code, Some(2), "{test:?}");
        assert!(test.err.contains(why), "{}", test.err);
    }
    let off = self::folder(&json!({ "enabled": false, "teams": { "webhook_url": "https://h/x" } }));
    let test = said(off.path(), "x", &["notify", "test-all"]).await;
    assert!(test.code == Some(2) && test.err.contains("`webhooks.enabled` is false"), "{test:?}");
}
