//! One job at a time: served, cancelled, not for us, waiting, run again.

use super::{job, known_to_be_over, linux, patient, running, states};
use crate::support::app::{PATIENCE, TestApp, pool};
use runnerfleet::model::StateName;
use runnerfleet::overview::overview;
use runnerfleet::simulation::github::{Conclusion, JobSpec, Stage};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn one_job_gets_one_runner_and_leaves_nothing() {
    use StateName::{Created, Removed, Running, Started, Stopped};
    let app = TestApp::start(vec![linux()]).await;
    let job = app.github.queue_job(job());
    let runner = app.served(job).await.expect("a runner had it");
    assert!(runner.starts_with(&format!("linux-{}-1-1-", job.id)), "{runner}");
    known_to_be_over(&app, job).await;
    app.settled().await;
    let rows = app.runners();
    assert_eq!(rows.len(), 1);
    assert_eq!(states(&rows[0]), [Created, Started, Running, Stopped, Removed]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_before_its_runner_is_up_leaves_nothing() {
    let app = TestApp::start(vec![linux()]).await;
    let job = app.github.queue_job(job().lasting(Duration::from_secs(60)));
    app.until("the job in the store", |world| world.jobs.contains_key(&job)).await;
    assert!(app.github.cancel(job));
    known_to_be_over(&app, job).await;
    assert!(app.runners().len() <= 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_while_its_container_starts_leaves_nothing() {
    let app = TestApp::start(vec![linux()]).await;
    let job = app.github.queue_job(job());
    app.until("its container", |world| {
        world.containers.known().is_some_and(|containers| !containers.is_empty())
            && world.runners.values().all(|runner| runner.state.name == StateName::Created)
    })
    .await;
    app.github.cancel(job);
    known_to_be_over(&app, job).await;
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_while_it_runs_takes_its_runner_with_it() {
    let app = TestApp::start(vec![linux()]).await;
    let job = app.github.queue_job(job().lasting(Duration::from_secs(60)));
    running(&app, job).await;
    assert!(app.github.cancel(job));
    app.served(job).await;
    assert_eq!(app.github.job(job).unwrap().conclusion, Some(Conclusion::Cancelled));
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_no_pool_waits_with_its_reason() {
    let app = TestApp::start(vec![linux()]).await;
    let stray = app.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux", "gpu"]));
    let ours = app.github.queue_job(job());
    app.served(ours).await;
    app.until("the stray job", |world| world.jobs.contains_key(&stray)).await;
    let seen = overview(&app.serve.as_ref().unwrap().memory.world(), &app.config, &std::collections::BTreeMap::new());
    let row = seen.jobs.iter().find(|row| row.job == stray.to_string()).expect("it is told of");
    assert_eq!((row.state.as_str(), row.pool.as_deref()), ("queued", None));
    assert_eq!(row.why.as_deref(), Some("no pool has all its labels; `linux` lacks gpu"));
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_before_an_approval() {
    let app = TestApp::start(vec![linux()]).await;
    let waits = app.github.waiting_job(job());
    app.until("the waiting job", |world| world.jobs.contains_key(&waits)).await;
    // Another job is served meanwhile: whatever the waiting one would have started is begun by then.
    let other = app.github.queue_job(job());
    app.served(other).await;
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    assert!(app.github.approve(waits));
    let runner = app.served(waits).await.expect("a runner had it");
    assert!(runner.starts_with(&format!("linux-{}-1-1-", waits.id)), "{runner}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_that_is_run_again_is_another_job() {
    let app = TestApp::start(vec![linux()]).await;
    let first = app.github.queue_job(job().concluding(Conclusion::Failure));
    app.served(first).await;
    known_to_be_over(&app, first).await;
    // GitHub sends the first one's `completed` again along with the second one's `queued`.
    let second = app.github.rerun(first).expect("it is over");
    assert_eq!(second.attempt, 2);
    let runner = app.served(second).await.expect("a runner had it");
    assert!(runner.starts_with(&format!("linux-{}-2-1-", second.id)), "{runner}");
    app.settled().await;
    assert_eq!(app.runners().len(), 2);
    app.finish().await;
}

/// The pool's labels count, not their case, and not their order.
#[tokio::test(flavor = "multi_thread")]
async fn the_narrowest_pool_serves_a_job() {
    let wide = pool("wide", &["self-hosted", "linux", "gpu", "large"]);
    let app = TestApp::start(vec![wide, patient(pool("narrow", &["Self-Hosted", "Linux"]))]).await;
    let job = app.github.queue_job(JobSpec::new("acme/api", ["LINUX", "self-hosted"]));
    let runner = app.served(job).await.expect("a runner had it");
    assert!(runner.starts_with("narrow-"), "{runner}");
    app.finish().await;
}

/// A job for which GitHub has no room in our pool's group stays GitHub's.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_repositorys_job_is_refused_with_its_reason() {
    let app = TestApp::start(vec![linux()]).await;
    let public = app.github.queue_job(JobSpec::new("acme/site", ["self-hosted", "linux"]));
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    app.until("the job", |world| world.jobs.contains_key(&public)).await;
    let seen = overview(&app.serve.as_ref().unwrap().memory.world(), &app.config, &std::collections::BTreeMap::new());
    assert!(seen.jobs[0].why.as_deref().is_some_and(|why| why.contains("is public")), "{:?}", seen.jobs);
    assert!(app.runners().is_empty());
    assert_eq!(app.github.job(public).unwrap().stage, Stage::Queued);
    app.finish().await;
}
