//! GitHub, not we, decides who runs a job.

use super::{job, known_to_be_over, linux};
use crate::support::app::{TestApp, pool};
use runnerfleet::model::Scope;
use runnerfleet::simulation::github::{JobSpec, WebhookFault};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_stolen_by_a_foreign_runner_leaves_an_idle_runner_for_its_time() {
    let app = TestApp::start(vec![linux()]).await;
    let acme = Scope::Organization("acme".to_owned());
    let foreign = app.github.add_foreign_runner(&acme, "buildbox", ["self-hosted", "linux"], true);
    foreign.expect("the name is free");
    let job = app.github.queue_job(job());
    assert!(app.github.steal(job, "buildbox"));
    assert_eq!(app.served(job).await.as_deref(), Some("buildbox"));
    known_to_be_over(&app, job).await;
    assert!(app.runners().len() <= 1);
    app.finish().await;
}

/// The runner that idles after a theft serves the next job.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_theft_leaves_idle_serves_the_next_job() {
    let app = TestApp::start(vec![super::patient(linux())]).await;
    let acme = Scope::Organization("acme".to_owned());
    app.github.add_foreign_runner(&acme, "buildbox", ["self-hosted", "linux"], true).expect("the name is free");
    let first = app.github.queue_job(job());
    app.until("a runner on its way", |world| !world.runners.is_empty()).await;
    assert!(app.github.steal(first, "buildbox"));
    let runner = super::an_idle_one(&app).await;
    let second = app.github.queue_job(job());
    assert_eq!(app.served(second).await.as_deref(), Some(runner.name.as_str()));
    known_to_be_over(&app, second).await;
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

/// The older job's webhook is late; its labels are fewer, so the runner that was made for the younger one takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_runner_took_another_is_made_good() {
    let small = pool("small", &["self-hosted", "linux"]);
    let big = pool("big", &["self-hosted", "linux", "gpu"]);
    let app = TestApp::start(vec![small, big]).await;
    app.github.next_webhooks(1, Some("queued"), WebhookFault::Late(Duration::from_secs(6)));
    let older = app.github.queue_job(job().lasting(Duration::from_secs(2)));
    let younger = app.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux", "gpu"]));
    let took_older = app.served(older).await.expect("a runner had it");
    assert!(took_older.starts_with(&format!("big-{}-1-1-", younger.id)), "{took_older}");
    let took_younger = app.served(younger).await.expect("a runner had it");
    assert!(took_younger.starts_with(&format!("big-{}-1-2-", younger.id)), "{took_younger}");
    app.github.webhooks_settled(crate::support::app::PATIENCE).await.unwrap();
    known_to_be_over(&app, older).await;
    known_to_be_over(&app, younger).await;
    app.settled().await;
    assert_eq!(app.runners().len(), 2, "the late `queued` of a job that is over starts nothing");
    app.finish().await;
}
