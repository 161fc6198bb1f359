//! The configuration file: every problem told at once, with its place.

mod access;
mod faults;
mod files;
mod fuzz;
mod intake;
mod legacy;
mod notifications;
mod pools;
mod receiver;
mod schedule;
mod secrets;
mod values;

use runnerfleet::config::{self, Loaded, Problem, Problems};
use std::path::Path;

/// As GitHub hands it out, as far as the configuration looks.
const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n";

/// The least that is a configuration.
const MINIMAL: &str = "\
version: 1
runners_defaults:
  org_url: https://github.com/acme
  base_image: ghcr.io/actions/actions-runner:2.336.0
runners:
  - id: small
    labels: [small]
intake:
  secrets: [\"${WEBHOOK_SECRET}\"]
";

fn env(name: &str) -> Option<String> {
    let value = match name {
        "WEBHOOK_SECRET" => "hook-hunter2",
        "GITHUB_TOKEN" => "ghp_hunter2",
        "APP_KEY" => KEY,
        "EMPTY" => "",
        "PORT" => "8081",
        "YES" => "true",
        "TRICK" => "x\nadmin: true",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: &str) -> Result<Loaded, Problems> {
    config::parse(text, "c.yaml", Path::new("/etc/fleet"), &env, "host-1")
}

/// A file that is in order.
fn good(text: &str) -> Loaded {
    parse(text).unwrap_or_else(|problems| panic!("{problems}\n---\n{text}"))
}

/// The problems of a file that is not.
fn problems(text: &str) -> Vec<Problem> {
    match parse(text) {
        Ok(_) => panic!("nothing was found wrong with\n{text}"),
        Err(problems) => problems.iter().cloned().collect(),
    }
}

/// The minimal file with more at its end.
fn minimal_and(more: &str) -> String {
    format!("{MINIMAL}{more}")
}

/// `line:column path: message; hint`.
fn told(problem: &Problem) -> String {
    let Problem { line, column, key_path, message, .. } = problem;
    let hint = problem.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{line}:{column} {key_path}: {message}{hint}")
}
