//! Redis is away.

use super::{linux_job, not_ready, ready, redeliver_failed, seen, until, waits_because};
use crate::support::app::{PATIENCE, TestApp, pool};
use crate::support::redis::RedisServer;
use runnerfleet::config::{Backend, Config};
use runnerfleet::simulation::github::{Options, Stage};
use std::time::Duration;

async fn app(redis: &RedisServer) -> TestApp {
    let address = redis.config();
    TestApp::with(vec![pool("linux", &super::LINUX)], |config, _| config.store.backend = Backend::Redis(address)).await
}

/// The receiver's answers to GitHub, as GitHub's log has them.
async fn answers(app: &TestApp) -> Vec<u16> {
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    app.github.deliveries().iter().map(|delivery| delivery.status_code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn away_at_the_start_and_there_later() {
    let mut redis = RedisServer::down();
    let address = redis.config();
    let change = |config: &mut Config, _: &mut Options| config.store.backend = Backend::Redis(address);
    let mut app = TestApp::set_up(vec![pool("linux", &super::LINUX)], change).await;
    app.serve_without_store().await;
    let job = app.github.queue_job(linux_job());
    assert_eq!(answers(&app).await, [503], "nothing is acknowledged that is not kept");
    not_ready(&app, "store", "refused").await;
    assert!(seen(&app).unknown["store"].contains("refused"), "{:?}", seen(&app).unknown);

    redis.up();
    ready(&app).await;
    redeliver_failed(&app, 1).await;
    app.served(job).await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_in_the_middle() {
    let mut redis = RedisServer::start();
    let app = app(&redis).await;
    let before = app.github.queue_job(linux_job().lasting(Duration::from_secs(3)));
    let runs = || matches!(app.github.job(before).unwrap().stage, Stage::InProgress { .. });
    until(&app, "it runs", runs).await;
    // What waits keeps its place, and the reason is the store's.
    let unmatched = app.github.queue_job(runnerfleet::simulation::github::JobSpec::new("acme/web", ["linux", "gpu"]));
    waits_because(&app, unmatched, &["gpu"]).await;

    redis.kill();
    waits_because(&app, unmatched, &["the store does not answer", "refused"]).await;
    let meanwhile = app.github.queue_job(linux_job());
    app.served(before).await;
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    not_ready(&app, "store", "refused").await;
    assert_eq!(app.runners().len(), 1, "nothing is begun that cannot be written down");

    redis.up();
    waits_because(&app, unmatched, &["gpu"]).await;
    redeliver_failed(&app, 1).await;
    app.served(meanwhile).await;
    assert!(app.github.cancel(unmatched));
    assert_eq!(app.runners().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deliveries_meanwhile_and_each_twice_afterwards() {
    let mut redis = RedisServer::start();
    let app = app(&redis).await;
    ready(&app).await;
    redis.kill();
    let jobs: Vec<_> = (0..8).map(|_| app.github.queue_job(linux_job())).collect();
    assert_eq!(answers(&app).await, [503; 8]);
    redis.up();
    ready(&app).await;
    redeliver_failed(&app, 2).await;
    let mut had = Vec::new();
    for job in jobs {
        had.push(app.served(job).await.expect("a runner had it"));
    }
    had.sort();
    had.dedup();
    assert_eq!((had.len(), app.runners().len()), (8, 8), "each is served once");
    app.finish().await;
}
