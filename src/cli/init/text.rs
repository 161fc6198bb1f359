//! What `init` writes and says.

use super::languages::{Picked, pool_names};
use super::{Answers, Mode, SOMEBODY};
use crate::setup::standing::KEY_FILE;
use std::fmt::Write;
use std::path::Path;

/// The official image, in a version that GitHub takes today.
const BASE_IMAGE: &str = "ghcr.io/actions/actions-runner:2.336.0";

/// The file.
pub(super) fn config(answers: &Answers) -> String {
    let mut text = head(answers);
    text += "\nrunners:\n";
    if answers.languages.is_empty() {
        let name = answers.pool.clone().unwrap_or_else(|| "linux".to_owned());
        text += &plain_pool(&name, answers);
    } else {
        let names = pool_names(&answers.languages);
        for (at, (picked, name)) in answers.languages.iter().zip(names).enumerate() {
            if at > 0 {
                text.push('\n');
            }
            let name = answers.pool.clone().unwrap_or(name);
            text += &language_pool(&name, picked, answers);
        }
    }
    text += &access(answers);
    if answers.mode == Mode::Ephemeral {
        text += &intake(answers);
    }
    text += TAIL;
    text
}

fn head(answers: &Answers) -> String {
    let what = match answers.mode {
        Mode::Persistent => {
            "\
# Each entry under `runners` is a pool: so many runners of one kind, which take one job after the other.
#
#   runnerfleet config check    is this file right?
#   runnerfleet deploy          makes what is described here, and starts it
#   runnerfleet list            what there is
"
        }
        Mode::Ephemeral => {
            "\
# Each entry under `runners` is a pool. When a job is queued whose `runs-on` labels are all labels of a pool, a fresh
# container is started for it, registered with GitHub, and removed once the job is over.
#
#   runnerfleet config check    is this file right?
#   runnerfleet serve           receives jobs and runs them
#   runnerfleet list            what there is
"
        }
    };
    format!(
        "# runners_config.yaml: what runnerfleet runs, and where.
#
{what}#
# Nothing secret belongs in here: `${{NAME}}` stands for a variable of the environment, or of a file `.env` in the folder
# where runnerfleet is started. Times are written as 30s, 5m, 2h; sizes as 512m, 4g; paths start at this file's folder.

version: 1

# What holds for every pool. A pool can set each of these keys itself.
runners_defaults:
  # Where the runners register: an organization, or one repository (https://github.com/acme/web).
  org_url: {}

  # What images are built on, and what pools without an image of their own run. GitHub refuses agents that are too old:
  # `runnerfleet check-base-image-update` looks for a newer one.
  base_image: {BASE_IMAGE}

  # Limits of each container.
  resources:
    memory: 4g
    # cpus: 2
",
        answers.org
    )
}

/// How many there are.
fn size(answers: &Answers, prefix: &str) -> String {
    let count = answers.count;
    match answers.mode {
        Mode::Persistent => {
            let last = match count {
                1 => String::new(),
                2 => format!(" and {prefix}-2"),
                _ => format!(" to {prefix}-{count}"),
            };
            format!("    nb: {count}                          # {prefix}-1{last}; `runnerfleet deploy` makes it so\n")
        }
        Mode::Ephemeral => format!(
            "    scaling:
      min_idle: 0                  # so many wait, so that a job starts at once
      max: {count}                       # no more at the same time; further jobs wait their turn
"
        ),
    }
}

fn plain_pool(name: &str, answers: &Answers) -> String {
    format!(
        "  # In a workflow: `runs-on: [self-hosted, {name}]`.
  - id: {name}
    labels: [{name}]                # self-hosted, linux and x64 (or arm64) are added
{}",
        size(answers, name)
    )
}

fn language_pool(name: &str, picked: &Picked, answers: &Answers) -> String {
    let language = picked.language.name();
    let labels = if name == language { name.to_owned() } else { format!("{language}, {name}") };
    let mut text = format!(
        "  # In a workflow: `runs-on: [self-hosted, {name}]`.
  - id: {name}
    labels: [{labels}]
{}    build_image: {}
",
        size(answers, name),
        picked.language.folder()
    );
    if let Some(version) = &picked.version {
        // A writer to a text cannot fail.
        let _ = write!(text, "    language: {language}\n    language_version: {version}\n");
    }
    text
}

fn access(answers: &Answers) -> String {
    match &answers.client_id {
        Some(client_id) => format!(
            "
github:
  auth:
    app:
      client_id: {client_id}
      private_key_file: {KEY_FILE}   # the .pem file that GitHub let you download; `chmod 600` it
"
        ),
        None => "
github:
  auth:
    # A personal access token that may manage self-hosted runners. A GitHub App can do no more than it was allowed, and is
    # the better way: `app: {client_id: …, private_key_file: …}`.
    token: ${GITHUB_TOKEN}
"
        .to_owned(),
    }
}

fn intake(answers: &Answers) -> String {
    let secrets = match answers.secrets_file {
        None => "  secrets:
    - ${WEBHOOK_SECRET}              # the same as in the webhook's settings at GitHub
"
        .to_owned(),
        Some(file) => format!("  secrets_file: {file}   # one on each line; all of them are valid\n"),
    };
    format!(
        "
# GitHub's deliveries (`workflow_job` events) come to https://YOUR-HOST/webhook.
intake:
  path: /webhook
{secrets}
http:
  listen: 127.0.0.1:8080             # put a proxy with TLS in front
"
    )
}

const TAIL: &str = "
# Where state is kept.
queue:
  embedded:
    path: ./data/runnerfleet.redb

security:
  instance: default                  # this fleet's name, written on every container; others are never touched
";

/// What to do now.
pub(super) fn what_next(answers: &Answers, path: &Path) -> String {
    let config =
        if path == Path::new("runners_config.yaml") { String::new() } else { format!(" --config {}", path.display()) };
    let mut before: Vec<String> = Vec::new();
    if answers.org == SOMEBODY {
        before.push(format!("put your organization into `org_url` in {}", path.display()));
    }
    match answers.client_id {
        Some(_) => before.push(format!("put the App's private key into {KEY_FILE}, seen from that file's folder")),
        None => before.push("export GITHUB_TOKEN=…       (or write it into .env)".to_owned()),
    }
    if answers.mode == Mode::Ephemeral {
        before.push("export WEBHOOK_SECRET=…     (the same as at GitHub; or write it into .env)".to_owned());
    }
    let build = "build             make the images";
    let commands: &[&str] = match (answers.mode, answers.languages.is_empty()) {
        (Mode::Persistent, _) => &[
            "config check      is the file right?",
            "deploy            make the runners, and start them",
            "list              see them online",
        ],
        (Mode::Ephemeral, true) => &[
            "config check      is the file right?",
            "serve             receive jobs and run them",
            "list              see the runners, from another terminal",
        ],
        (Mode::Ephemeral, false) => {
            &["config check      is the file right?", build, "serve             receive jobs and run them"]
        }
    };
    let mut text = "\nFirst:\n".to_owned();
    for line in before {
        text.push_str("  ");
        text.push_str(&line);
        text.push('\n');
    }
    text += "Then:\n";
    for command in commands {
        let (verb, about) = command.split_once("  ").unwrap_or((command, ""));
        let command = format!("runnerfleet{config} {verb}");
        text += &["  ", &format!("{command:<34}"), about.trim(), "\n"].concat();
    }
    text
}
