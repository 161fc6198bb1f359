//! Jobs whose deliveries never arrived, or were never sent, and jobs that are read from GitHub's log.

use super::{each_is_served_once, job, known_to_be_over, linux};
use crate::support::app::{PATIENCE, TestApp};
use runnerfleet::config::IntakeMode;
use runnerfleet::simulation::github::WebhookFault;
use std::time::{Duration, Instant};

/// Longer than an attempt of a delivery may take, and than one may be on its way.
const OVER: Duration = Duration::from_secs(60);

/// How many jobs are lost in the outage. The measure of docs/lost-deliveries.md has 500 of them.
fn lost() -> usize {
    std::env::var("LOST_JOBS").map_or(4, |number| number.parse().expect("LOST_JOBS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_receiver_is_made_good_when_it_is_back() {
    let mut app = TestApp::set_up(vec![linux()], |config, options| {
        config.github.poll_deliveries = Some(Duration::from_secs(1));
        config.docker.max_runners = 50;
        config.pools[0].max = 50;
        options.limits.core = 5000;
    })
    .await;
    // Nobody listens there.
    app.github.set_webhook("http://127.0.0.1:9/webhook", None);
    let jobs: Vec<_> = (0..lost()).map(|_| app.github.queue_job(job())).collect();
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    app.github.backdate(Duration::from_secs(3600));
    let (calls, back) = (app.github.exchanges().len(), Instant::now());
    app.serve().await;
    each_is_served_once(&app, &jobs).await;
    println!(
        "{} jobs whose deliveries were lost: each has had its runner {:.1} s after the return, with {} calls of GitHub's API",
        jobs.len(),
        back.elapsed().as_secs_f64(),
        app.github.exchanges().len() - calls
    );
    for job in jobs {
        known_to_be_over(&app, job).await;
    }
    app.settled().await;
    assert_eq!(app.runners().len(), lost(), "a runner for each, and none in vain");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_which_nothing_was_sent_is_served() {
    let app = TestApp::with(vec![linux()], |config, options| {
        config.github.poll_jobs = Some(Duration::from_secs(1));
        options.limits.core = 1_000_000;
    })
    .await;
    app.github.next_webhooks(1, Some("queued"), WebhookFault::NeverSent);
    let job = app.github.queue_job(job());
    app.github.backdate(OVER);
    app.served(job).await.expect("a runner had it");
    known_to_be_over(&app, job).await;
    app.finish().await;
}

/// Nothing is received: each delivery fails, and is read from GitHub's log.
#[tokio::test(flavor = "multi_thread")]
async fn with_pull_jobs_are_served_to_the_end_though_no_delivery_arrives() {
    let app = TestApp::with(vec![linux()], |config, _| {
        config.intake.mode = IntakeMode::Pull;
        config.intake.secrets.clear();
        config.github.poll_deliveries = Some(Duration::from_secs(1));
    })
    .await;
    let jobs: Vec<_> = (0..3).map(|_| app.github.queue_job(job())).collect();
    each_is_served_once(&app, &jobs).await;
    for job in jobs {
        known_to_be_over(&app, job).await;
    }
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    assert!(app.github.deliveries().iter().all(|it| it.status_code == 404), "nothing takes deliveries");
    app.settled().await;
    // A job that is over before GitHub's log was read again may cost a runner in vain, which idles and goes.
    assert!((3..=6).contains(&app.runners().len()), "{}", app.runners().len());
    app.finish().await;
}
