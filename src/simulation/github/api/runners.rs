//! Routes about runners, of an organization or of a repository.

use super::call::Call;
use crate::model::Scope;
use crate::simulation::github::answer::{Answer, Refusal};
use crate::simulation::github::model::{Held, Model, NewRunner, RegisterRefused, Runner, TokenKind};
use crate::simulation::github::{jit, payload};
use crate::simulation::protocol::AGENT_VERSION;
use serde_json::{Value, json};

/// GitHub's description: 1 to 100 labels.
const MOST_LABELS: usize = 100;

/// The scope of the path, spelt as it is registered.
fn scope(call: &Call<'_>) -> Result<Scope, Refusal> {
    call.read(|model| match call.path.get("org") {
        Some(org) => model.owner(org).map(|owner| Scope::Organization(owner.login.clone())),
        None => model
            .repo(call.part("owner"), call.part("repo"))
            .map(|repo| Scope::Repository { owner: repo.owner.clone(), name: repo.name.clone() }),
    })
    .ok_or_else(Refusal::not_found)
}

pub(super) fn shown(call: &Call<'_>, model: &Model, runner: &Runner) -> Value {
    payload::runner(
        runner,
        runner.online(call.now, model.timings.offline_after),
        runner.shows_busy(call.now, model.timings.busy_lag),
    )
}

pub(super) fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let scope = scope(call)?;
    let all: Vec<Value> = call.read(|model| {
        model
            .runners_of(&scope)
            .filter(|runner| call.query("name").is_none_or(|name| runner.name.eq_ignore_ascii_case(name)))
            .map(|runner| shown(call, model, runner))
            .collect()
    });
    let count = all.len();
    let (page, link) = call.page(all);
    Ok(Answer::ok(json!({ "total_count": count, "runners": page })).with_header(link))
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (scope, id) = (scope(call)?, call.number("runner_id")?);
    call.read(|model| {
        let runner = model.runner_by_id(id).filter(|runner| runner.scope == scope).ok_or_else(Refusal::not_found)?;
        Ok(Answer::ok(shown(call, model, runner)))
    })
}

pub(super) fn labels(call: &Call<'_>) -> Result<Answer, Refusal> {
    let runner = get(call)?.body.ok_or_else(Refusal::not_found)?;
    let labels = runner["labels"].as_array().cloned().unwrap_or_default();
    Ok(Answer::ok(json!({ "total_count": labels.len(), "labels": labels })))
}

/// A runner with a job stays: 422.
pub(super) fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (scope, id) = (scope(call)?, call.number("runner_id")?);
    let name = call.read(|model| model.runner_by_id(id).map(|runner| runner.name.clone())).unwrap_or_default();
    match call.shared.change(|model, _| model.delete_runner(&scope, id)) {
        Ok(()) => Ok(Answer::no_content()),
        Err(Held::NotThere) => Err(Refusal::not_found()),
        Err(Held::RunsAJob) => {
            Err(Refusal::new(422, format!("Runner \"{name}\" is currently running a job and cannot be deleted.")))
        }
    }
}

/// Registers a runner, and gives the two files with which its agent starts.
pub(super) fn jit_config(call: &Call<'_>) -> Result<Answer, Refusal> {
    let scope = scope(call)?;
    let new = wanted(&call.body, scope)?;
    let (name, group) = (new.name.clone(), new.group_id);
    let made = call.shared.change(|model, now| {
        model.register(new, now).map(|runner| {
            let shown = payload::runner(&runner, false, false);
            (shown, jit::encode(model, &runner))
        })
    });
    match made {
        Ok((runner, config)) => Ok(Answer::created(json!({ "runner": runner, "encoded_jit_config": config }))),
        Err(RegisterRefused::NameTaken(_)) => {
            Err(Refusal::new(409, format!("Already exists - A runner with the name {name} already exists.")))
        }
        Err(RegisterRefused::NoSuchGroup) => Err(Refusal::new(404, format!("Runner group {group} not found"))),
    }
}

/// What the body asks for, or what is wrong with it.
fn wanted(body: &Value, scope: Scope) -> Result<NewRunner, Refusal> {
    let invalid = |why: String| Refusal::new(422, format!("Invalid request.\n\n{why}"));
    let missing: Vec<&str> =
        ["name", "runner_group_id", "labels"].into_iter().filter(|key| body.get(key).is_none()).collect();
    if !missing.is_empty() {
        let keys = missing.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
        return Err(invalid(format!("{keys} wasn't supplied; the object is missing a required key.")));
    }
    let name = body["name"].as_str().map(str::trim).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid("`name` is not a string.".into()))?;
    if name.len() > 64 {
        return Err(invalid("`name` is longer than 64 characters.".into()));
    }
    let group_id =
        body["runner_group_id"].as_u64().ok_or_else(|| invalid("`runner_group_id` is not an integer.".into()))?;
    let labels: Vec<String> = serde_json::from_value(body["labels"].clone())
        .map_err(|_| invalid("`labels` is not an array of strings.".into()))?;
    if labels.is_empty() || labels.len() > MOST_LABELS {
        return Err(invalid(format!("`labels` must have 1 to {MOST_LABELS} items, and has {}.", labels.len())));
    }
    if labels.iter().any(|label| label.trim().is_empty() || label.len() > 256) {
        return Err(invalid("a label is empty or longer than 256 characters.".into()));
    }
    Ok(NewRunner {
        name: name.to_owned(),
        scope,
        group_id,
        labels,
        ephemeral: true,
        work_folder: body.get("work_folder").and_then(Value::as_str).unwrap_or("_work").to_owned(),
    })
}

pub(super) fn registration_token(call: &Call<'_>) -> Result<Answer, Refusal> {
    token(call, TokenKind::Registration)
}

pub(super) fn remove_token(call: &Call<'_>) -> Result<Answer, Refusal> {
    token(call, TokenKind::Removal)
}

fn token(call: &Call<'_>, kind: TokenKind) -> Result<Answer, Refusal> {
    let scope = scope(call)?;
    let (token, expires_at) = call.shared.change(|model, now| model.mint_runner_token(kind, scope, now));
    Ok(Answer::created(json!({ "token": token, "expires_at": payload::moment(expires_at) })))
}

/// The version that GitHub wants its agents to have.
pub(super) fn downloads(call: &Call<'_>) -> Result<Answer, Refusal> {
    let web = &call.shared.urls.web;
    let one = |architecture: &str| {
        let file = format!("actions-runner-linux-{architecture}-{AGENT_VERSION}.tar.gz");
        json!({
            "os": "linux",
            "architecture": architecture,
            "download_url": format!("{web}/actions/runner/releases/download/v{AGENT_VERSION}/{file}"),
            "filename": file,
            "sha256_checksum": "0".repeat(64),
        })
    };
    Ok(Answer::ok(json!([one("x64"), one("arm64")])))
}
