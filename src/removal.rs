//! A person removes a runner: GitHub first, then the container; one with a job only when they say so.

use crate::model::{RunnerName, StateName};
use crate::plan::Action;
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
    /// There is no such runner.
    NotThere,
    /// It stays.
    Kept {
        /// Why.
        why: String,
    },
}

/// Removes one runner.
pub async fn remove_one(memory: &Memory, executor: &Executor, name: &RunnerName, force: bool) -> RemoveOutcome {
    let (_, row) = memory.runner(name);
    if !row.is_some_and(|row| row.is_live()) {
        return RemoveOutcome::NotThere;
    }
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
        (Ok(_), _) => RemoveOutcome::Kept {
            why: "its container is gone; GitHub keeps its registration for now, and it is deleted as soon as GitHub lets us"
                .to_owned(),
        },
    }
}
