//! What becomes of each runner of this manager: its job, its container and its registration are followed, and what is
//! over is sent away.

use super::{Action, Draft, Listing};
use crate::config::Pool;
use crate::model::{Container, ContainerStatus, JobState, RegistrationStatus, Runner, StateName, after, age};
use std::time::Duration;

/// What the engine shows counts against a runner only so long after the runner's last change: the list may have been asked
/// for before its container was made or started. Longer than any list call may take.
const ENGINE_LAG: Duration = Duration::from_secs(20);

/// After `completed`, the agent needs a moment to say goodbye and end. Only then is its container ended from outside, and
/// only if GitHub gives the registration up.
const GOODBYE: Duration = Duration::from_secs(30);

/// How long after `in_progress` a registration that is missing in GitHub's list means that the job is over.
const LIST_LAG: Duration = Duration::from_secs(60);

/// Follows every live runner of this manager that was made for one job.
pub(super) fn follow_runners(draft: &mut Draft<'_>) {
    let world = draft.world;
    for runner in world.runners.values() {
        if runner.kept.is_some() || !runner.is_live() || !draft.is_mine(runner) || draft.is_left_alone(&runner.name) {
            continue;
        }
        if let Some(action) = follow(draft, runner) {
            draft.act(action);
        }
    }
}

fn follow(draft: &mut Draft<'_>, runner: &Runner) -> Option<Action> {
    let world = draft.world;
    // What a job says of its runner is news even while the engine cannot be looked at.
    if let Some(action) = took_a_job(draft, runner) {
        return Some(action);
    }
    world.containers.known()?;
    match (runner.state.name, draft.container_of(runner)) {
        (StateName::Removed, _) => None,
        (StateName::Stopped | StateName::Error, _) => {
            Some(take_down(runner, runner.state.name == StateName::Error, runner.state.cause.clone()))
        }
        (StateName::Created, None) if runner.container.is_none() => {
            Some(take_down(runner, false, "interrupted before its container was made"))
        }
        (StateName::Created | StateName::Started | StateName::Running, None) => {
            once_settled(draft, runner, "its container vanished: somebody else removed it")
        }
        (StateName::Created, Some(container)) => Some(found(runner, container)),
        (StateName::Started | StateName::Running, Some(container)) => match container.status {
            ContainerStatus::Exited { exit_code, oom_killed } => Some(ended(runner, exit_code, oom_killed)),
            ContainerStatus::Created => once_settled(draft, runner, "its container never started"),
            ContainerStatus::Running if runner.state.name == StateName::Running => with_a_job(draft, runner),
            ContainerStatus::Running => waiting_for_a_job(draft, runner),
        },
    }
}

/// `in_progress` or `completed` named this runner.
fn took_a_job(draft: &Draft<'_>, runner: &Runner) -> Option<Action> {
    let job = *draft.ran.get(&runner.name)?;
    let is_news = match runner.state.name {
        StateName::Created | StateName::Started => true,
        StateName::Running => runner.job != Some(job.key()),
        StateName::Stopped | StateName::Error | StateName::Removed => false,
    };
    is_news.then(|| Action::Record {
        runner: runner.name.clone(),
        state: StateName::Running,
        job: Some(job.key()),
        container: None,
        cause: format!("GitHub gave it job {} of {}", job.key(), job.facts.repository),
    })
}

fn once_settled(draft: &mut Draft<'_>, runner: &Runner, cause: &str) -> Option<Action> {
    let counts_from = after(runner.state.since, ENGINE_LAG);
    if draft.world.now < counts_from {
        draft.look_at(counts_from);
        return None;
    }
    Some(take_down(runner, true, cause))
}

/// A row that says `created`, no action that works on it, and a container: this program was cut off in between.
fn found(runner: &Runner, container: &Container) -> Action {
    match container.status {
        ContainerStatus::Created => take_down(runner, false, "interrupted before its start"),
        ContainerStatus::Running => Action::Record {
            runner: runner.name.clone(),
            state: StateName::Started,
            job: None,
            container: Some(container.id.clone()),
            cause: "found running after a restart".to_owned(),
        },
        ContainerStatus::Exited { exit_code, oom_killed } => ended(runner, exit_code, oom_killed),
    }
}

/// The container ended. Exit code 0 does not mean that a job ran; whether one did, the jobs tell.
fn ended(runner: &Runner, exit_code: i64, oom_killed: bool) -> Action {
    let memory = if oom_killed { ", killed for memory" } else { "" };
    let job = if runner.job.is_some() { "" } else { " before any job that we know of" };
    let failed = exit_code != 0 || oom_killed;
    take_down(runner, failed, format!("its container ended with exit code {exit_code}{memory}{job}"))
}

fn with_a_job(draft: &mut Draft<'_>, runner: &Runner) -> Option<Action> {
    let world = draft.world;
    let job = runner.job.and_then(|key| world.jobs.get(&key));
    let listing = draft.listing(&runner.scope).filter(|listing| listing.at > runner.state.since);
    let Some(job) = job else {
        // GitHub's list said "busy", and no event named the job. When the list says "idle" for long enough, GitHub is
        // asked to give the registration up; it refuses if there is a job.
        let pool = draft.config.pool(&runner.pool);
        let patience = pool.map_or(Duration::from_secs(300), |pool| pool.idle_timeout);
        let idle_from = after(runner.state.since, patience);
        let listing = listing?;
        let busy = listing.runners.get(&runner.name).is_some_and(|listed| listed.registration.busy);
        if busy {
            return None;
        }
        if listing.at < idle_from {
            draft.look_at(idle_from);
            return None;
        }
        return Some(take_down(runner, false, "GitHub listed it as busy, then as idle"));
    };
    match &job.state {
        JobState::Completed { conclusion, .. } => {
            let goodbye = after(job.since, GOODBYE);
            if world.now < goodbye {
                draft.look_at(goodbye);
                return None;
            }
            let cause =
                format!("job {} is over ({conclusion}) for {} s", job.key(), age(world.now, job.since).as_secs());
            Some(take_down(runner, false, cause))
        }
        JobState::Waiting | JobState::Queued | JobState::InProgress { .. } => {
            // The registration of an ephemeral runner goes with its job: if it is gone, so is the job, and `completed` is
            // late or lost.
            let listing = listing.filter(|listing| listing.at > after(job.since, LIST_LAG))?;
            let asked = world.asked.get(&job.key());
            // A clock that went back makes the list look newer than any answer: then it is asked about once in a while.
            let again = asked.map(|asked| after(*asked, LIST_LAG)).filter(|again| *again > world.now);
            let asked_already = again.is_some() || asked.is_some_and(|asked| *asked >= listing.at);
            if let Some(again) = again {
                draft.look_at(again);
            }
            (!listing.runners.contains_key(&runner.name) && !asked_already).then(|| Action::AskJob { job: job.key() })
        }
    }
}

fn waiting_for_a_job(draft: &mut Draft<'_>, runner: &Runner) -> Option<Action> {
    let Some(pool) = draft.config.pool(&runner.pool) else {
        return Some(take_down(runner, false, "its pool is not in the configuration any more"));
    };
    let due = after(runner.state.since, pool.online_timeout);
    draft.look_at(due);
    let listing = draft.listing(&runner.scope).filter(|listing| listing.at > runner.state.since)?;
    if listing.runners.get(&runner.name).is_some_and(|listed| listed.registration.busy) {
        return Some(Action::Record {
            runner: runner.name.clone(),
            state: StateName::Running,
            job: None,
            container: None,
            cause: "GitHub lists it as busy".to_owned(),
        });
    }
    let cause = not_online(runner, listing, pool)?;
    Some(take_down(runner, true, cause))
}

/// Why a started runner's registration is no good, once it has had its time.
fn not_online(runner: &Runner, listing: &Listing, pool: &Pool) -> Option<String> {
    if listing.at < after(runner.state.since, pool.online_timeout) {
        return None;
    }
    let Some(listed) = listing.runners.get(&runner.name) else {
        return Some("its registration is gone from GitHub though it has no job".to_owned());
    };
    match listed.registration.status {
        RegistrationStatus::Online => None,
        RegistrationStatus::Offline => {
            let long_enough = listed.offline_since.is_some_and(|since| listing.at >= after(since, pool.online_timeout))
                || listed.offline_since.is_none_or(|since| since <= runner.state.since);
            long_enough.then(|| {
                format!("GitHub has not seen its agent online for {} s", age(listing.at, runner.state.since).as_secs())
            })
        }
    }
}

pub(super) fn take_down(runner: &Runner, failed: bool, cause: impl Into<String>) -> Action {
    Action::TakeDown { runner: runner.name.clone(), failed, cause: cause.into() }
}
