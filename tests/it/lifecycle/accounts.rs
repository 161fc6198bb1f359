//! Accounts that take the App away, and give it back.

use super::{an_idle_one, finish_without_spares, job, linux, patient, running};
use crate::support::app::TestApp;
use runnerfleet::model::{Bar, Scope, StateName};
use std::time::Duration;

fn acme() -> Scope {
    Scope::Organization("acme".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_app_lets_its_idle_runners_go_and_keeps_the_busy_one() {
    let mut pool = patient(linux());
    pool.min_idle = 1;
    let app = TestApp::start(vec![pool]).await;
    let idle = an_idle_one(&app).await;
    let long = app.github.queue_job(job().lasting(Duration::from_secs(3600)));
    let busy = running(&app, long).await;
    app.until("a spare beside it", |world| {
        world.runners.values().any(|row| row.state.name == StateName::Started && row.name != busy.name)
    })
    .await;
    let spare = super::live_in(&app, StateName::Started).remove(0).name.clone();
    assert_ne!(busy.name, spare);
    assert!(busy.name == idle.name || spare == idle.name);

    app.github.set_suspended("acme", true);
    app.until("the account is barred", |world| {
        world.accounts.known().and_then(|accounts| accounts.bar("acme")) == Some(Bar::Suspended)
    })
    .await;
    app.until("the idle one removed", |world| {
        world.runners.get(&spare).is_some_and(|row| row.state.name == StateName::Stopped)
            && world.containers.known().is_some_and(|list| list.values().all(|it| it.runner != spare))
    })
    .await;
    // Its registration is given up when GitHub takes calls again.
    let row = app.runner(spare.as_str()).expect("its row stays");
    assert!(row.state.cause.contains("the App is suspended on `acme`"), "{}", row.state.cause);
    // Its job goes on, in its container.
    assert_eq!(app.runner(busy.name.as_str()).expect("its row").state.name, StateName::Running);
    let left = app.containers().await;
    assert_eq!(left.iter().map(|container| &container.runner).collect::<Vec<_>>(), [&busy.name]);

    // Back again: the job of its runner ends, and spares are kept as before.
    app.github.set_suspended("acme", false);
    app.until("a spare again", |world| world.runners.values().any(|row| row.state.name == StateName::Started)).await;
    assert!(app.github.cancel(long));
    app.until("the busy one removed", |world| {
        world.runners.get(&busy.name).is_some_and(|row| row.state.name == StateName::Removed)
    })
    .await;
    finish_without_spares(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_while_the_app_is_suspended_is_served_when_it_is_back() {
    let mut pool = linux();
    pool.max = 1;
    let app = TestApp::start(vec![pool]).await;
    let first = app.github.queue_job(job().lasting(Duration::from_secs(3600)));
    let busy = running(&app, first).await;
    let second = app.github.queue_job(job());
    app.until("both known", |world| world.jobs.len() == 2).await;
    app.github.set_suspended("acme", true);
    app.until("the account is barred", |world| {
        world.accounts.known().is_some_and(|accounts| accounts.bar_of(&acme()).is_some())
    })
    .await;
    let plan = runnerfleet::plan::plan(&app.world(), &app.config);
    let why = plan.waiting.iter().find(|waiting| waiting.job == second).map(|waiting| waiting.why.to_string());
    assert_eq!(why.as_deref(), Some("the App is suspended on `acme`"));
    app.github.set_suspended("acme", false);
    assert!(app.github.cancel(first));
    app.served(second).await.expect("a runner had it");
    assert!(app.runner(busy.name.as_str()).is_some());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_installed_anew_serves_under_its_new_number() {
    let app = TestApp::start(vec![linux()]).await;
    let before = app.github.queue_job(job());
    app.served(before).await.expect("a runner had it");
    app.settled().await;
    app.github.uninstall("acme");
    app.until("the account is barred", |world| {
        world.accounts.known().and_then(|accounts| accounts.bar("acme")) == Some(Bar::NotInstalled)
    })
    .await;
    app.github.install("acme", None);
    app.until("it is not barred any more", |world| {
        world.accounts.known().is_some_and(|accounts| accounts.bar("acme").is_none())
    })
    .await;
    let after = app.github.queue_job(job());
    app.served(after).await.expect("a runner had it");
    app.finish().await;
}
