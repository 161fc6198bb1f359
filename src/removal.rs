//! A person removes a runner: GitHub first, then the container; one with a job only when they say so.

use crate::model::{RunnerName, StateName};
use crate::plan::{Action, naming};
use crate::reconcile::execute::{Executor, Outcome};
use crate::reconcile::memory::Memory;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An action that is at work on the runner is waited for; a launch with an image pull may take longer than that.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether that action ended.
const LOOK: Duration = Duration::from_millis(50);

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum RemoveOutcome {
    /// Container and registration are gone.
    Removed,
    /// Its container is gone; GitHub does not give its registration up yet.
    Ended {
        /// Why not.
        why: String,
    },
    /// There is no such runner.
    NotThere,
    /// It stays.
    Kept {
        /// Why.
        why: String,
    },
}

/// Removes one runner. Of one that the store does not know there may be a container, or a registration alone.
pub async fn remove_one(memory: &Memory, executor: &Executor, name: &RunnerName, force: bool) -> RemoveOutcome {
    if memory.runner(name).1.is_none()
        && let Some(container) = memory.container(name)
    {
        let adopt = Action::Adopt { runner: name.clone(), container: container.id };
        if memory.begin(&adopt) {
            let outcome = executor.carry_out(&adopt).await;
            memory.end(&adopt, outcome);
        }
    }
    match memory.runner(name).1 {
        Some(row) if row.is_live() => take_down(memory, executor, name, force).await,
        Some(_) => RemoveOutcome::NotThere,
        None if memory.container(name).is_some() => {
            RemoveOutcome::Kept { why: "its container could not be written into the store: try again".to_owned() }
        }
        None => deregister(memory, executor, name).await,
    }
}

/// Only a name that this fleet gave: a stranger's runner is never touched.
async fn deregister(memory: &Memory, executor: &Executor, name: &RunnerName) -> RemoveOutcome {
    let config = &executor.config;
    let found = memory.world().registrations.into_iter().find_map(|(scope, listing)| {
        let listed = listing.known()?.runners.get(name)?.registration.id;
        Some(Action::Deregister { scope, id: listed, runner: name.clone() })
    });
    let Some(action) = found.filter(|_| naming::given_by(name, &config.pools, &config.instance).is_some()) else {
        return RemoveOutcome::NotThere;
    };
    if !memory.begin(&action) {
        return RemoveOutcome::Kept { why: "another action is at work on it: try again".to_owned() };
    }
    let outcome = executor.carry_out(&action).await;
    memory.end(&action, outcome);
    match outcome {
        Outcome::Done => RemoveOutcome::Removed,
        Outcome::NotDone | Outcome::NotGranted => {
            RemoveOutcome::Kept { why: "GitHub did not delete its registration".to_owned() }
        }
    }
}

async fn take_down(memory: &Memory, executor: &Executor, name: &RunnerName, force: bool) -> RemoveOutcome {
    let cause = if force { "removed by hand, with --force" } else { "removed by hand" };
    let action = Action::TakeDown { runner: name.clone(), failed: false, cause: cause.to_owned() };
    let began = tokio::time::timeout(PATIENCE, async {
        while !memory.begin(&action) {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    if began.is_err() {
        let why = format!("another action is at work on it for over {} s: try again", PATIENCE.as_secs());
        return RemoveOutcome::Kept { why };
    }
    let result = executor.take_down(name, false, cause, force).await;
    memory.end(&action, if matches!(result, Ok(Outcome::Done)) { Outcome::Done } else { Outcome::NotDone });
    let (_, row) = memory.runner(name);
    match (result, row) {
        (Err(error), _) => RemoveOutcome::Kept { why: error.to_string() },
        (Ok(Outcome::Done), _) => RemoveOutcome::Removed,
        (Ok(_), Some(row)) if row.state.name == StateName::Running => {
            RemoveOutcome::Kept { why: format!("it runs a job ({}); --force ends the job as well", row.state.cause) }
        }
        (Ok(_), _) => RemoveOutcome::Ended {
            why: "its container is gone; GitHub keeps the registration of a runner that had a job for some minutes, then `serve` deletes it"
                .to_owned(),
        },
    }
}
