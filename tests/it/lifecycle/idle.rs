//! Runners without a job: spares, their replacement, their time.

use super::{an_idle_one, finish_without_spares, job, linux, patient};
use crate::support::app::TestApp;
use runnerfleet::model::StateName;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn spares_serve_at_once_and_are_replaced() {
    let mut pool = patient(linux());
    pool.min_idle = 2;
    let app = TestApp::start(vec![pool]).await;
    let two_idle = "two idle runners";
    let idle = |world: &runnerfleet::plan::World| {
        world.runners.values().filter(|runner| runner.state.name == StateName::Started).count()
    };
    app.until(two_idle, |world| idle(world) == 2).await;
    let job = app.github.queue_job(job());
    let runner = app.served(job).await.expect("a runner had it");
    assert!(runner.starts_with("linux-spare-"), "{runner}");
    app.until("the used one removed", |world| {
        let used = world.runners.values().find(|row| row.name.as_str() == runner);
        used.is_some_and(|row| row.state.name == StateName::Removed)
    })
    .await;
    app.until(two_idle, |world| idle(world) == 2).await;
    assert_eq!(app.runners().len(), 3, "one was used, one took its place");
    finish_without_spares(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_needs_goes_after_its_time() {
    let app = TestApp::start(vec![linux()]).await;
    // Its job is taken away while the container starts.
    let job = app.github.queue_job(job());
    app.until("a runner on its way", |world| !world.runners.is_empty()).await;
    app.github.cancel(job);
    app.settled().await;
    let rows = app.runners();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].state.cause.contains("idle for"), "{:?}", rows[0].history);
    let up = rows[0].history.iter().find(|change| change.to == StateName::Started).expect("it was up").at;
    assert!(runnerfleet::model::age(rows[0].state.since, up) >= Duration::from_secs(3), "not before idle_timeout");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_runner_is_replaced_when_it_is_old() {
    let mut pool = patient(linux());
    pool.min_idle = 1;
    pool.max_lifetime = Duration::from_secs(4);
    let app = TestApp::start(vec![pool]).await;
    let first = an_idle_one(&app).await;
    app.until("a younger one", |world| {
        let old = world.runners.get(&first.name).is_some_and(|row| row.state.name == StateName::Removed);
        old && world.runners.values().any(|row| row.name != first.name && row.state.name == StateName::Started)
    })
    .await;
    let old = app.runner(first.name.as_str()).expect("its row stays");
    assert!(old.state.cause.contains("max_lifetime"), "{}", old.state.cause);
    finish_without_spares(app).await;
}
