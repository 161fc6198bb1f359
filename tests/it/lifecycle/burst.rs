//! Fifty jobs at once over three pools: each is served once, no bound is exceeded, the oldest come first.

use super::{bounds_held, each_is_served_once};
use crate::support::app::{TestApp, pool};
use crate::support::redis::RedisServer;
use runnerfleet::config::{Backend, Config};
use runnerfleet::model::{JobKey, StateName};
use runnerfleet::plan::World;
use runnerfleet::simulation::github::{JobSpec, Options};
use std::time::Duration;

const POOLS: [&str; 3] = ["linux", "gpu", "arm"];

fn bounds(config: &mut Config, _: &mut Options) {
    config.docker.max_runners = 8;
    for pool in &mut config.pools {
        // A runner that GitHub is slow to give a job to is not taken for idle on a busy machine.
        pool.idle_timeout = Duration::from_secs(20);
    }
}

fn queue(app: &TestApp, numbers: std::ops::Range<usize>) -> Vec<JobKey> {
    numbers
        .map(|number| {
            let repository = ["acme/web", "acme/api"][number % 2];
            app.github.queue_job(JobSpec::new(repository, ["self-hosted", POOLS[number % 3]]))
        })
        .collect()
}

async fn fifty_jobs(app: TestApp) {
    let older = queue(&app, 0..20);
    let known = |jobs: &[JobKey], world: &World| jobs.iter().all(|job| world.jobs.contains_key(job));
    app.until("the older jobs in the store", |world| known(&older, world)).await;
    let younger = queue(&app, 20..50);
    let all = [older.clone(), younger].concat();
    each_is_served_once(&app, &all).await;
    app.until("all ends in the store", |world| world.jobs.values().all(|job| job.is_over())).await;
    app.settled().await;

    let rows = app.runners();
    bounds_held(&app.config, &rows);
    // Only this host's bound holds here, so that nobody's turn depends on its pool. One plan begins as many at once as there
    // are places, in no order among themselves.
    let mut begun = rows.clone();
    begun.sort_by_key(|row| row.created_at);
    let at_once = app.config.docker.max_runners as usize;
    let last_older = begun.iter().rposition(|row| row.created_for.is_some_and(|job| older.contains(&job)));
    assert!(
        last_older.is_some_and(|place| place < older.len() + at_once),
        "an older job's turn was the {last_older:?}th"
    );
    assert!(rows.iter().all(|row| row.state.name == StateName::Removed));
    assert_eq!(rows.len(), 50, "one runner for each job");
    app.finish().await;
}

fn pools() -> Vec<runnerfleet::config::Pool> {
    POOLS.map(|name| pool(name, &["self-hosted", name])).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_on_the_embedded_store() {
    fifty_jobs(TestApp::with(pools(), bounds).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_on_redis() {
    let redis = RedisServer::start();
    let app = TestApp::with(pools(), |config, options| {
        bounds(config, options);
        config.store.backend = Backend::Redis(redis.config());
    })
    .await;
    fifty_jobs(app).await;
}

/// Here the pools' own bounds bind, and none holds the others up.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_holds_no_other_up() {
    let mut pools = pools();
    pools[0].max = 1;
    pools[1].max = 2;
    let app = TestApp::with(pools, |config, options| {
        bounds(config, options);
        config.docker.max_runners = 6;
    })
    .await;
    let long = |name: &str| JobSpec::new("acme/web", ["self-hosted", name]).lasting(Duration::from_secs(1));
    let mut jobs: Vec<_> = (0..4).map(|_| app.github.queue_job(long("linux"))).collect();
    let arm = app.github.queue_job(long("arm"));
    jobs.extend((0..3).map(|_| app.github.queue_job(long("gpu"))));
    app.served(arm).await;
    let waiting = jobs.iter().filter(|job| app.github.job(**job).is_some_and(|job| job.runner.is_none())).count();
    assert!(waiting > 0, "the young job of an idle pool did not wait for the crowded one");
    jobs.push(arm);
    each_is_served_once(&app, &jobs).await;
    app.settled().await;
    bounds_held(&app.config, &app.runners());
    app.finish().await;
}
