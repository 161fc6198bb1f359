//! Two managers of one fleet, on one Redis.

use super::{bounds_held, each_is_served_once, job, linux};
use crate::support::app::{TestApp, store_file};
use crate::support::docker::docker;
use crate::support::process::Serve;
use crate::support::redis::RedisServer;
use runnerfleet::app;
use runnerfleet::config::{Backend, Config};
use runnerfleet::model::{HostId, RegistrationHold, RegistrationId, Runner, Scope, StateName};
use runnerfleet::simulation::github::Fault;
use runnerfleet::store::{Reservation, Reserved, Saved, Store, Versioned};
use std::sync::Arc;
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

/// The store as another manager sees it.
fn store_of(redis: &RedisServer) -> Arc<dyn Store> {
    let lasts = Duration::from_secs(60);
    runnerfleet::durable::redis::connect(&redis.config(), &HostId::new("there"), lasts).unwrap().store()
}

/// Writes a row as another manager does, whatever this one writes meanwhile.
async fn write(store: &dyn Store, name: &runnerfleet::model::RunnerName, change: impl Fn(&Runner) -> Runner) {
    loop {
        let Versioned { version, row } = store.load().await.unwrap().runners[name].clone();
        if let Saved::Saved(_) = store.save_runner(Versioned { version, row: change(&row) }).await.unwrap() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_stood_still_starts_nothing_whose_row_was_closed() {
    let redis = RedisServer::start();
    let app = TestApp::with(vec![linux()], |config, _| config.store.backend = Backend::Redis(redis.config())).await;
    let store = store_of(&redis);
    // It stands still between the intent and GitHub's answer. Another manager takes it for dead and closes the row.
    let late = Fault::late(Duration::from_secs(5));
    app.github.faults().next("POST /orgs/{org}/actions/runners/generate-jitconfig", late, 1);
    let began = jiff::Timestamp::now();
    let job = app.github.queue_job(job());
    app.until("the intent", |world| world.runners.len() == 1).await;
    let name = app.runners()[0].name.clone();
    write(store.as_ref(), &name, |row| {
        let gone = row.become_state(StateName::Removed, "its manager is gone", jiff::Timestamp::now()).unwrap();
        Runner { registration: RegistrationHold::Gone, ..gone }
    })
    .await;
    app.until("its launch is over", |world| !world.in_flight.contains(&name)).await;
    // Another one is made for the job, or none where it is cancelled in time.
    app.github.cancel(job);
    app.settled().await;
    let acme = Scope::Organization("acme".to_owned());
    assert!(app.github.runners(&acme).is_empty(), "what it registered is given back: {}", app.github.state());
    let filter = format!("label=runnerfleet.instance={}", app.fleet.instance);
    let (since, until) = (began.to_string(), jiff::Timestamp::now().to_string());
    let started =
        docker(&["events", "--since", &since, "--until", &until, "--filter", &filter, "--filter", "event=start"]);
    assert!(!started.contains(name.as_str()), "its container was started: {started}");
    let row = app.runner(name.as_str()).expect("the trace is kept");
    assert_eq!((row.state.name, row.state.cause.as_str()), (StateName::Removed, "its manager is gone"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_of_a_dead_manager_is_closed_only_as_it_was_looked_at() {
    let redis = RedisServer::start();
    let app = TestApp::with(vec![linux()], |config, _| {
        config.store.backend = Backend::Redis(redis.config());
        config.github.poll_runners = Duration::from_secs(6);
    })
    .await;
    let store = store_of(&redis);
    let there = HostId::new("there");
    // Another manager has written its intent, and stands still.
    store.renew_lease(&there, jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1)).await.unwrap();
    let pool = linux();
    let name = runnerfleet::model::RunnerName::new(format!("linux-7-1-1-{}", app.fleet.instance));
    let row = Runner::intended(
        name.clone(),
        pool.name.clone(),
        pool.scope.clone(),
        there,
        pool.image,
        None,
        jiff::Timestamp::now(),
        "a job waits",
    );
    let wish = Reservation { runner: row, seen: 0, min_idle: 1, pool_max: 9, fleet_max: 9, host_max: 9 };
    // The look-up of its name takes long, and meanwhile it comes back and writes what it registered.
    let late = Fault::late(Duration::from_secs(4));
    app.github.faults().next("GET /orgs/{org}/actions/runners", late, 50);
    assert!(matches!(store.reserve(wish).await.unwrap(), Reserved::Granted(1)));
    app.until("the row", |world| world.runners.contains_key(&name)).await;
    app.until("it is being taken down", |world| world.in_flight.contains(&name)).await;
    let id = RegistrationId(4711);
    write(store.as_ref(), &name, |row| Runner { registration: RegistrationHold::Held(id), ..row.clone() }).await;
    app.github.faults().clear();
    app.settled().await;
    let deletions = app.github.requests("DELETE /orgs/acme/actions/runners/4711");
    assert!(!deletions.is_empty(), "the registration that it wrote was given up before the row was closed");
    app.finish().await;
}
