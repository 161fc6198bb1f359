//! Docker is away.

use super::{JIT, linux_job, not_ready, ready, seen, until, waits_because};
use crate::support::app::{TestApp, pool};
use crate::support::engine_gate::EngineGate;
use runnerfleet::model::StateName;
use runnerfleet::simulation::github::Stage;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn away_at_the_start_and_there_later() {
    let mut gate = EngineGate::closed();
    let app = TestApp::with(vec![pool("linux", &super::LINUX)], |config, _| config.docker.url = Some(gate.url())).await;
    let job = app.github.queue_job(linux_job());
    waits_because(&app, job, &["Docker", "no socket at"]).await;
    assert!(seen(&app).unknown["docker"].contains("no socket at"), "{:?}", seen(&app).unknown);
    not_ready(&app, "docker", "no socket at").await;
    assert_eq!(app.github.requests(JIT).len(), 0, "no runner is registered that could not be started");

    gate.restore();
    app.served(job).await;
    assert_eq!(app.runners().len(), 1);
    ready(&app).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn away_while_jobs_run() {
    let mut gate = EngineGate::open();
    let app = TestApp::with(vec![pool("linux", &super::LINUX)], |config, _| config.docker.url = Some(gate.url())).await;
    let runs = app.github.queue_job(linux_job().lasting(Duration::from_secs(2)));
    let long = app.github.queue_job(linux_job().lasting(Duration::from_secs(8)));
    let in_progress = |job| matches!(app.github.job(job).unwrap().stage, Stage::InProgress { .. });
    until(&app, "both run", || in_progress(runs) && in_progress(long)).await;

    gate.cut().await;
    let queued = app.github.queue_job(linux_job());
    waits_because(&app, queued, &["Docker"]).await;
    // A job that is there goes on and ends, whether we can look at it or not.
    app.served(runs).await;
    assert_eq!(app.runners().len(), 2, "nothing is begun, nothing is given up");
    assert!(app.runners().iter().all(|runner| runner.is_live()), "unknown is not gone");

    gate.restore();
    app.served(queued).await;
    app.served(long).await;
    assert_eq!(app.runners().len(), 3);
    let was_error = |state: StateName| state == StateName::Error;
    assert!(!app.runners().iter().any(|runner| runner.history.iter().any(|change| was_error(change.to))));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn away_while_runners_are_made() {
    let mut gate = EngineGate::open();
    let app = TestApp::with(vec![pool("linux", &super::LINUX)], |config, _| config.docker.url = Some(gate.url())).await;
    let jobs: Vec<_> = (0..6).map(|_| app.github.queue_job(linux_job())).collect();
    app.until("the first container", |world| world.containers.known().is_some_and(|list| !list.is_empty())).await;
    gate.cut().await;
    until(&app, "it is told", || seen(&app).unknown.contains_key("docker")).await;
    gate.restore();
    for job in jobs {
        app.served(job).await;
    }
    // Each one that was cut off is tried once more, not again and again.
    assert!(app.runners().len() <= 12, "{} runners for 6 jobs", app.runners().len());
    app.finish().await;
}
