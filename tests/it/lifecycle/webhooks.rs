//! Webhooks that are lost, doubled, or come the wrong way round.

use super::{job, known_to_be_over, linux, running};
use crate::support::app::{PATIENCE, TestApp};
use runnerfleet::model::JobState;
use runnerfleet::simulation::github::WebhookFault;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_in_progress_costs_nothing() {
    let app = TestApp::start(vec![linux()]).await;
    app.github.next_webhooks(1, Some("in_progress"), WebhookFault::NeverSent);
    let job = app.github.queue_job(job().lasting(Duration::from_secs(1)));
    let runner = app.served(job).await.expect("a runner had it");
    known_to_be_over(&app, job).await;
    app.settled().await;
    let row = app.runner(&runner).expect("its row stays");
    assert!(row.job.is_none_or(|known| known == job));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_completed_is_asked_for() {
    let app = TestApp::start(vec![linux()]).await;
    app.github.next_webhooks(1, Some("completed"), WebhookFault::NeverSent);
    let job = app.github.queue_job(job());
    app.served(job).await.expect("a runner had it");
    known_to_be_over(&app, job).await;
    assert_eq!(app.github.requests("GET /repos/{owner}/{repo}/actions/jobs/{job_id}").len(), 1);
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

/// For us the job never left the queue. GitHub is asked, and the runner that was made for it in vain goes unused.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_which_nothing_more_was_heard_is_asked_for() {
    let app = TestApp::start(vec![linux()]).await;
    app.github.next_webhooks(1, Some("in_progress"), WebhookFault::NeverSent);
    app.github.next_webhooks(1, Some("completed"), WebhookFault::NeverSent);
    let job = app.github.queue_job(job());
    let runner = app.served(job).await.expect("a runner had it");
    known_to_be_over(&app, job).await;
    app.until("the job's own runner", |world| {
        let state = world.jobs.get(&job).map(|job| job.state.clone());
        matches!(state, Some(JobState::Completed { runner: Some(name), .. }) if name.as_str() == runner)
    })
    .await;
    app.settled().await;
    assert!(app.runners().len() <= 2, "one that served it, and one in vain");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doubled_webhooks_are_one() {
    let app = TestApp::start(vec![linux()]).await;
    app.github.next_webhooks(6, None, WebhookFault::Repeated(3));
    let jobs = [app.github.queue_job(job()), app.github.queue_job(job())];
    let first = app.served(jobs[0]).await.expect("a runner had it");
    assert_ne!(app.served(jobs[1]).await, Some(first));
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    // GitHub sends one of long ago again, by hand.
    let queued = app.github.deliveries().into_iter().find(|delivery| delivery.action.as_deref() == Some("queued"));
    assert!(app.github.redeliver(&queued.expect("it is in the log").guid));
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    app.settled().await;
    assert_eq!(app.runners().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_the_wrong_way_round_end_the_same() {
    let app = TestApp::start(vec![linux()]).await;
    // Everything of one job, the last first.
    app.github.hold_webhooks();
    let cancelled = app.github.queue_job(job());
    app.github.cancel(cancelled);
    app.github.release_webhooks(true);
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    known_to_be_over(&app, cancelled).await;
    assert!(app.runners().is_empty(), "a late `queued` revives nothing");

    let job = app.github.queue_job(job());
    app.until("the job", |world| world.jobs.contains_key(&job)).await;
    app.github.hold_webhooks();
    let runner = app.served(job).await.expect("a runner had it");
    app.github.release_webhooks(true);
    known_to_be_over(&app, job).await;
    app.settled().await;
    assert_eq!(app.runner(&runner).expect("its row").created_for, Some(job));
    app.finish().await;
}

/// GitHub's list shows that a runner is busy before its `in_progress` comes, and after its job it shows it for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_flag_that_lags_ends_nobodys_job() {
    let app = TestApp::with(vec![linux()], |_, options| {
        options.timings.busy_lag = Duration::from_secs(8);
    })
    .await;
    let job = app.github.queue_job(job().lasting(Duration::from_secs(10)));
    let row = running(&app, job).await;
    assert_eq!(app.served(job).await.as_deref(), Some(row.name.as_str()));
    known_to_be_over(&app, job).await;
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}
