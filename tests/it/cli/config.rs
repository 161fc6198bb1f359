//! `config check`, `config schema`, and what every verb does with a file that is wrong.

use crate::support::program::{PROGRAM, Said, run};
use serde_json::Value;
use std::path::Path;
use tokio::process::Command;

const GOOD: &str = "\
version: 1
runners_defaults:
  org_url: https://github.com/acme
  base_image: ghcr.io/actions/actions-runner:2.336.0
runners:
  - id: small
    labels: [small]
intake:
  secrets: [\"${HOOK}\"]
github:
  auth:
    token: ${TOKEN}
";

async fn said(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env_remove("RUNNERFLEET_CONFIG");
    run(command.env("HOOK", "a-secret-of-the-hook").env("TOKEN", "ghp_hunter2hunter2")).await
}

fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runners_config.yaml"), text).unwrap();
    folder
}

#[tokio::test]
async fn a_file_that_is_right() {
    let folder = folder(GOOD);
    let check = said(folder.path(), &["config", "check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.out.starts_with("runners_config.yaml is right"), "{}", check.out);
    assert!(check.out.contains("small"), "{}", check.out);
    let check = said(folder.path(), &["config", "check", "--output", "json"]).await;
    let answer: Value = serde_json::from_str(&check.out).unwrap();
    assert_eq!((check.code, &answer["ok"]), (Some(0), &Value::Bool(true)));
    for text in ["hunter2", "a-secret-of"] {
        assert!(!check.out.contains(text) && !check.err.contains(text), "{check:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_wrong_starts_nothing() {
    let folder = folder(&GOOD.replace("labels: [small]", "lables: [small]").replace("version: 1", "version: 7"));
    for verb in [&["config", "check"][..], &["serve"], &["list"], &["jobs"], &["plan"], &["remove", "--all"]] {
        let refused = said(folder.path(), verb).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{verb:?}: {refused:?}");
        assert!(refused.err.contains("lables") && refused.err.contains("version"), "both at once: {}", refused.err);
        assert!(refused.err.contains("runners_config.yaml:"), "with its place: {}", refused.err);
    }
    let check = said(folder.path(), &["config", "check", "-o", "json"]).await;
    let answer: Value = serde_json::from_str(&check.out).unwrap();
    assert_eq!((check.code, &answer["ok"]), (Some(2), &Value::Bool(false)));
    assert!(answer["problems"].as_array().unwrap().len() >= 2, "{answer}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["runners_config.yaml"], "no store, no socket");
}

#[tokio::test]
async fn a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = said(folder.path(), &["serve"]).await;
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.err.contains("runners_config.yaml") && missing.err.contains("--config"), "{}", missing.err);
    let a_folder = said(folder.path(), &["list", "--config", "."]).await;
    assert_eq!(a_folder.code, Some(2), "{a_folder:?}");
    std::fs::write(folder.path().join("bytes.yaml"), [0xff, 0xfe, 0x00, 0x80]).unwrap();
    let bytes = said(folder.path(), &["list", "--config", "bytes.yaml"]).await;
    assert_eq!(bytes.code, Some(2), "{bytes:?}");
    assert!(bytes.err.contains("bytes.yaml"), "{}", bytes.err);
}

#[tokio::test]
async fn the_schema_is_a_json_schema_that_takes_the_example() {
    let folder = tempfile::tempdir().unwrap();
    // Without a configuration: an editor wants it before there is one.
    let schema = said(folder.path(), &["config", "schema"]).await;
    assert_eq!((schema.code, schema.err.as_str()), (Some(0), ""), "{schema:?}");
    let schema: Value = serde_json::from_str(&schema.out).unwrap();
    assert!(schema["$schema"].as_str().is_some_and(|uri| uri.contains("json-schema.org")), "{}", schema["$schema"]);
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let example: Value = serde_yaml::from_str(GOOD).unwrap();
    assert!(validator.is_valid(&example));
    assert!(!validator.is_valid(&serde_json::json!({ "version": 1, "runers": [] })));
}

const FORMER: &str = "\
# Two of them.
runners_defaults:
  base_image: ghcr.io/actions/actions-runner:2.328.0   # checked
  org_url: https://github.com/acme
runners:
  - {id: web, name_prefix: web, labels: [web], nb: 2, build_image: Dockerfile, techno: php, techno_version: 8.3}
";

#[tokio::test]
async fn a_file_of_the_former_tool_is_checked_and_brought_up_to_date() {
    let folder = folder(FORMER);
    let file = folder.path().join("runners_config.yaml");
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let check = said(folder.path(), &["config", "check"]).await;
    // The former tool took its token from a variable, or from `.env`; there is neither here.
    assert_eq!((check.code, check.err.contains("GITHUB_TOKEN")), (Some(2), true), "{check:?}");
    std::fs::write(folder.path().join(".env"), "# ours\nexport GITHUB_TOKEN='ghp_hunter2'\nno assignment\n").unwrap();
    let check = said(folder.path(), &["config", "check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.err.starts_with("warning: .env:3: is not `NAME=value`; the line is left out\n"), "{}", check.err);
    assert_eq!(check.err.matches("note: ").count(), 3, "{}", check.err);
    assert!(check.err.contains("`techno` is called `language` today"), "{}", check.err);
    assert!(check.out.contains("2 kept"), "{}", check.out);
    let json = said(folder.path(), &["config", "check", "-o", "json"]).await;
    let answer: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&answer["ok"], answer["notes"].as_array().unwrap().len()), (&Value::Bool(true), 3));

    let new = FORMER
        .replace("runners_defaults", "version: 1\n\nrunners_defaults")
        .replace("techno_version", "language_version")
        .replace("techno:", "language:");
    let shown = said(folder.path(), &["config", "migrate"]).await;
    assert_eq!((shown.code, shown.out.as_str()), (Some(0), new.as_str()), "{shown:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), FORMER, "nothing is written unasked");
    let written = said(folder.path(), &["config", "migrate", "--write"]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    assert!(written.out.contains("runners_config.yaml.bak"), "{}", written.out);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), new);
    assert_eq!(std::fs::read_to_string(folder.path().join("runners_config.yaml.bak")).unwrap(), FORMER);
    let again = said(folder.path(), &["config", "migrate", "--write"]).await;
    assert_eq!((again.code, again.out.contains("has today's form already")), (Some(0), true), "{again:?}");
    let again = said(folder.path(), &["config", "migrate"]).await;
    assert_eq!((again.code, again.out.as_str()), (Some(0), new.as_str()));
    let check = said(folder.path(), &["config", "check"]).await;
    assert!(check.code == Some(0) && !check.err.contains("note: "), "{check:?}");
}

#[tokio::test]
async fn a_file_that_is_wrong_is_not_migrated() {
    let folder = folder(&FORMER.replace("nb: 2", "nb: many"));
    for arguments in [&["config", "migrate"][..], &["config", "migrate", "--write"]] {
        let refused = said(folder.path(), arguments).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
        assert!(refused.err.contains("runners[0].nb: `many` is not a whole number"), "{}", refused.err);
    }
    let missing = said(folder.path(), &["config", "migrate", "--write", "-c", "none.yaml"]).await;
    assert_eq!((missing.code, missing.err.contains("the file is not there")), (Some(2), true), "{missing:?}");
}

#[tokio::test]
async fn the_environment_comes_before_the_file_beside() {
    let folder = folder(GOOD);
    std::fs::write(folder.path().join(".env"), "TOKEN=\nHOOK=\n").unwrap();
    // Both would be empty, and empty secrets are refused.
    assert_eq!(said(folder.path(), &["config", "check"]).await.code, Some(0));
}
