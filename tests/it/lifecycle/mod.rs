//! From a signed webhook to a runner in a real container and back: stories through the front door.

mod access;
mod accounts;
mod burst;
mod deaths;
mod idle;
mod jobs;
mod managers;
mod missed;
mod recovery;
mod restarts;
mod steals;
mod token;
mod webhooks;

use crate::support::app::{TestApp, pool};
use runnerfleet::config::{Config, Pool};
use runnerfleet::model::{JobKey, Runner, StateName};
use runnerfleet::simulation::github::{Conclusion, JobSpec, Stage, Timings};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The pool of most stories.
fn linux() -> Pool {
    pool("linux", &["self-hosted", "linux"])
}

/// A job for it.
fn job() -> JobSpec {
    JobSpec::new("acme/web", ["self-hosted", "linux"])
}

/// Nothing that idles is let go while the story looks at something else.
fn patient(pool: Pool) -> Pool {
    Pool { idle_timeout: Duration::from_secs(300), ..pool }
}

/// A GitHub that gives up within seconds on agents that vanished; otherwise in no hurry.
fn gives_up_soon() -> Timings {
    Timings {
        poll: Duration::from_secs(2),
        offline_after: Duration::from_secs(2),
        lost_after: Duration::from_secs(4),
        fetch_within: Duration::from_secs(4),
        ..Timings::default()
    }
}

/// The history of a runner, as words.
fn states(runner: &Runner) -> Vec<StateName> {
    runner.history.iter().map(|change| change.to).collect()
}

/// Rows that are still alive in some state.
fn live_in(app: &TestApp, state: StateName) -> Vec<Arc<Runner>> {
    app.runners().into_iter().filter(|runner| runner.state.name == state).collect()
}

/// Until a runner is up and idle; its row.
async fn an_idle_one(app: &TestApp) -> Arc<Runner> {
    app.until("an idle runner", |world| world.runners.values().any(|runner| runner.state.name == StateName::Started))
        .await;
    live_in(app, StateName::Started).remove(0)
}

/// Until an agent runs the job, and the store knows.
async fn running(app: &TestApp, job: JobKey) -> Arc<Runner> {
    app.until("a runner with the job", |world| {
        world.runners.values().any(|runner| runner.job == Some(job) && runner.state.name == StateName::Running)
    })
    .await;
    app.runners().into_iter().find(|runner| runner.job == Some(job)).expect("it was there a moment ago")
}

/// Until the store knows that the job is over.
async fn known_to_be_over(app: &TestApp, job: JobKey) {
    app.until("the job's end in the store", |world| world.jobs.get(&job).is_some_and(|job| job.is_over())).await;
}

/// Ends a story whose pools keep idle runners: they are not wanted any more.
async fn finish_without_spares(mut app: TestApp) {
    app.stop_serve().await;
    for pool in &mut app.config.pools {
        pool.min_idle = 0;
        pool.idle_timeout = Duration::from_secs(1);
    }
    app.serve().await;
    app.finish().await;
}

/// Waits for all jobs, and holds that each succeeded, began once, and had a runner of its own.
async fn each_is_served_once(app: &TestApp, jobs: &[JobKey]) {
    let mut runners = BTreeSet::new();
    for job in jobs {
        let runner = app.served(*job).await.unwrap_or_else(|| panic!("job {job} had no runner"));
        let known = app.github.job(*job).expect("the job is remembered");
        assert_eq!(known.conclusion, Some(Conclusion::Success), "job {job}\n{}", app.github.state());
        assert!(runners.insert(runner.clone()), "{runner} had two jobs");
    }
    let mut began: BTreeMap<u64, u32> = BTreeMap::new();
    for delivery in app.github.deliveries() {
        if delivery.action.as_deref() == Some("in_progress") && !delivery.redelivery {
            let payload: serde_json::Value = serde_json::from_slice(&delivery.payload).expect("a payload is JSON");
            *began.entry(payload["workflow_job"]["id"].as_u64().expect("a job has an id")).or_default() += 1;
        }
    }
    for job in jobs {
        assert_eq!(began.get(&job.id.0), Some(&1), "job {job} began so often");
    }
}

/// Holds that no bound was exceeded at any moment of the rows' lives.
fn bounds_held(config: &Config, rows: &[Arc<Runner>]) {
    let most = |rows: &mut dyn Iterator<Item = &Arc<Runner>>| {
        let mut changes = Vec::new();
        for row in rows {
            changes.push((row.created_at, 1_i64));
            if !row.is_live() {
                changes.push((row.state.since, -1));
            }
        }
        // A place is free in the moment in which it is given up.
        changes.sort_unstable();
        let (mut now, mut most) = (0, 0);
        for (_, change) in changes {
            now += change;
            most = most.max(now);
        }
        most
    };
    for pool in &config.pools {
        let seen = most(&mut rows.iter().filter(|row| row.pool == pool.name));
        assert!(seen <= i64::from(pool.max), "pool {} had {seen} runners at once, its max is {}", pool.name, pool.max);
    }
    let seen = most(&mut rows.iter().filter(|row| row.owner == config.host));
    assert!(seen <= i64::from(config.docker.max_runners), "this host had {seen} runners at once");
    let seen = most(&mut rows.iter());
    assert!(seen <= i64::from(config.limits.max_runners), "the fleet had {seen} runners at once");
}

/// All jobs are over at GitHub.
fn all_over(app: &TestApp) -> bool {
    app.github.jobs().iter().all(|job| job.stage == Stage::Completed)
}
