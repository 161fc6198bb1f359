//! A person removes a runner: GitHub first, then the container; one with a job only when they say so.

use crate::model::{RunnerName, StateName};
use crate::persistent::{self, Keeper, Options, Order, OutcomeKind, Prepared, Progress, Verb};
use crate::plan::{Action, naming};
use crate::reconcile::execute::{self, Executor};
use crate::reconcile::memory::Memory;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;

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

/// Removes one runner; a persistent one is its keeper's. Of one that the store does not know there may be a container, or a registration alone.
pub async fn remove_one(
    memory: &Memory,
    executor: &Executor,
    keeper: &Keeper,
    name: &RunnerName,
    force: bool,
) -> RemoveOutcome {
    if keeper.knows(name) {
        return remove_kept(keeper, name, force).await;
    }
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

async fn remove_kept(keeper: &Keeper, name: &RunnerName, force: bool) -> RemoveOutcome {
    let options = Options { force, timeout: None };
    let order = Order { verb: Verb::Remove, runners: vec![name.clone()], options };
    let (progress, mut news) = mpsc::channel(16);
    let carried = async {
        let refused = keeper.carry_out(order, progress).await.err();
        refused.map(|refused| refused.to_string())
    };
    let listened = async {
        let mut last = None;
        while let Some(news) = news.recv().await {
            last = news.outcome.or(last);
        }
        last
    };
    let (refused, outcome) = tokio::join!(carried, listened);
    match (refused, outcome) {
        (Some(why), _) => RemoveOutcome::Kept { why },
        (None, None) => RemoveOutcome::Kept { why: "nothing was told of it: try again".to_owned() },
        (None, Some(outcome)) => match outcome.kind {
            OutcomeKind::Changed => RemoveOutcome::Removed,
            OutcomeKind::Unchanged => RemoveOutcome::NotThere,
            OutcomeKind::Deferred => RemoveOutcome::Ended { why: outcome.text },
            OutcomeKind::Failed => RemoveOutcome::Kept { why: outcome.text },
        },
    }
}

/// Carries an order out. Of runners that live for one job, `remove` is the one thing that can be ordered.
pub async fn carry_out(
    memory: &Memory,
    executor: &Executor,
    keeper: &Keeper,
    prepared: Prepared,
    order: Order,
    progress: mpsc::Sender<Progress>,
) {
    let (kept, others): (Vec<_>, Vec<_>) = match order.verb {
        Verb::Remove => order.runners.iter().cloned().partition(|name| keeper.knows(name)),
        Verb::Deploy | Verb::Start | Verb::Stop | Verb::Restart => (order.runners.clone(), Vec::new()),
    };
    let force = order.options.force;
    let each = others.iter().map(|name| {
        let progress = &progress;
        async move {
            let phase = "giving its registration back to GitHub".to_owned();
            // Nobody may listen any more.
            let _ = progress.try_send(Progress { runner: name.clone(), phase, outcome: None });
            let outcome = match remove_one(memory, executor, keeper, name, force).await {
                RemoveOutcome::Removed => {
                    persistent::Outcome { kind: OutcomeKind::Changed, text: "removed".to_owned() }
                }
                RemoveOutcome::Ended { why } => persistent::Outcome { kind: OutcomeKind::Deferred, text: why },
                RemoveOutcome::NotThere => persistent::Outcome {
                    kind: OutcomeKind::Failed,
                    text: format!("there is no runner `{name}`; `runnerfleet list` shows them"),
                },
                RemoveOutcome::Kept { why } => persistent::Outcome { kind: OutcomeKind::Failed, text: why },
            };
            let last = Progress { runner: name.clone(), phase: outcome.text.clone(), outcome: Some(outcome) };
            let _ = progress.send(last).await;
        }
    });
    let order = Order { runners: kept, ..order.clone() };
    tokio::join!(
        keeper.begin(prepared, order, progress.clone()),
        each.collect::<FuturesUnordered<_>>().collect::<()>()
    );
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
        execute::Outcome::Done => RemoveOutcome::Removed,
        execute::Outcome::NotDone | execute::Outcome::NotGranted => {
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
    memory.end(
        &action,
        if matches!(result, Ok(execute::Outcome::Done)) { execute::Outcome::Done } else { execute::Outcome::NotDone },
    );
    let (_, row) = memory.runner(name);
    match (result, row) {
        (Err(error), _) => RemoveOutcome::Kept { why: error.to_string() },
        (Ok(execute::Outcome::Done), _) => RemoveOutcome::Removed,
        (Ok(_), Some(row)) if row.state.name == StateName::Running => {
            RemoveOutcome::Kept { why: format!("it runs a job ({}); --force ends the job as well", row.state.cause) }
        }
        (Ok(_), _) => RemoveOutcome::Ended {
            why: "its container is gone; GitHub keeps the registration of a runner that had a job for some minutes, then `serve` deletes it"
                .to_owned(),
        },
    }
}
