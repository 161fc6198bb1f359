//! Two managers of one fleet, on one Redis.

use super::{bounds_held, each_is_served_once, job, linux};
use crate::support::app::{TestApp, store_file};
use crate::support::process::Serve;
use crate::support::redis::RedisServer;
use runnerfleet::app;
use runnerfleet::config::{Backend, Config};
use runnerfleet::model::{HostId, StateName};
use std::time::Duration;

/// The same fleet, another manager.
fn another(config: &Config) -> Config {
    let mut other = config.clone();
    other.host = HostId::new("there");
    other.http.admin_socket = config.folder.join("there.sock");
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn two_managers_never_serve_the_same_job() {
    let redis = RedisServer::start();
    let mut pool = linux();
    pool.max = 20;
    pool.idle_timeout = Duration::from_secs(20);
    let app = TestApp::with(vec![pool], |config, _| {
        config.store.backend = Backend::Redis(redis.config());
        config.docker.max_runners = 6;
    })
    .await;
    assert!(store_file(&app.config).is_none());
    let other = app::start(another(&app.config)).await.expect("the second manager starts");
    let jobs: Vec<_> = (0..12).map(|_| app.github.queue_job(job())).collect();
    each_is_served_once(&app, &jobs).await;
    app.until("all ends in the store", |world| world.jobs.values().all(|job| job.is_over())).await;
    app.settled().await;
    let rows = app.runners();
    assert_eq!(rows.len(), 12, "never more runners than jobs");
    bounds_held(&app.config, &rows);
    let owners: std::collections::BTreeSet<_> = rows.iter().map(|row| row.owner.to_string()).collect();
    assert_eq!(owners.len(), 2, "both worked");
    other.stop().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_managers_runners_are_taken_over() {
    let redis = RedisServer::start();
    let mut pool = linux();
    pool.max = 20;
    let app = TestApp::with(vec![pool], |config, _| {
        config.store.backend = Backend::Redis(redis.config());
        // Its silence is a manager's death.
        config.store.visibility_timeout = Duration::from_secs(4);
        config.docker.max_runners = 1;
    })
    .await;
    let mut other = another(&app.config);
    other.docker.max_runners = 10;
    let doomed = Serve::start(&other, "there");
    let jobs: Vec<_> = (0..5).map(|_| app.github.queue_job(job().lasting(Duration::from_secs(8)))).collect();
    let there = HostId::new("there");
    app.until("runners of the other manager", |world| {
        let up = |row: &&std::sync::Arc<runnerfleet::model::Runner>| {
            row.owner == there && matches!(row.state.name, StateName::Started | StateName::Running)
        };
        world.runners.values().filter(up).count() >= 3
    })
    .await;
    doomed.kill();
    app.until("its runners taken over", |world| {
        world.runners.values().all(|row| row.owner != there || row.state.name == StateName::Removed)
    })
    .await;
    each_is_served_once(&app, &jobs).await;
    app.finish().await;
}
