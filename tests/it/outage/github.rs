//! GitHub is away, slow, or wants to be left alone.

use super::{JIT, linux_job, not_ready, ready, seen, until, waits_because};
use crate::support::app::{TestApp, pool};
use jiff::{SignedDuration, Timestamp};
use runnerfleet::clock;
use runnerfleet::model::{Scope, StateName};
use runnerfleet::simulation::github::{Fault, Limits};
use std::time::Duration;

async fn app() -> TestApp {
    TestApp::start(vec![pool("linux", &super::LINUX)]).await
}

/// Until when GitHub is left alone.
fn blocked_until(app: &TestApp) -> Option<Timestamp> {
    let world = app.serve.as_ref().unwrap().memory.world();
    world.github_blocked.get(&Scope::Organization("acme".to_owned())).map(|blocked| blocked.until)
}

/// Until the pause has grown to this.
async fn paused_for(app: &TestApp, at_least: SignedDuration) {
    until(app, "a longer pause", || {
        blocked_until(app).is_some_and(|until| until.duration_since(clock::now()) >= at_least)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn away_at_the_start_and_there_later() {
    let mut app = TestApp::set_up(vec![pool("linux", &super::LINUX)], |_, _| {}).await;
    app.github.set_down(true);
    app.serve().await;
    let jobs: Vec<_> = (0..4).map(|_| app.github.queue_job(linux_job())).collect();
    waits_because(&app, jobs[3], &["GitHub is left alone until", "not available"]).await;
    not_ready(&app, "github", "not available").await;
    assert!(seen(&app).unknown["github acme"].contains("not available"), "{:?}", seen(&app).unknown);
    paused_for(&app, SignedDuration::from_secs(3)).await;
    assert!(app.runners().len() <= 4, "no runner after the other is begun in vain: {}", app.runners().len());

    app.github.set_down(false);
    for job in jobs {
        app.served(job).await;
    }
    ready(&app).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_break_while_all_else_works() {
    let app = app().await;
    app.github.faults().next(JIT, Fault::status(500), 1000);
    let jobs: Vec<_> = (0..5).map(|_| app.github.queue_job(linux_job())).collect();
    let told = waits_because(&app, jobs[4], &["GitHub is left alone until", "500"]).await;
    assert!(told.contains("register runner"), "{told}");
    // 1 s, 2 s, 4 s: the first wave, then one at a time.
    paused_for(&app, SignedDuration::from_secs(3)).await;
    let tried = app.github.requests(JIT).len();
    assert!(tried <= 5 + 2, "{tried} tries");
    assert_eq!(app.runners().len(), tried, "a runner for each try, and all of them are cleared");
    app.settled().await;

    app.github.faults().clear();
    for job in jobs {
        app.served(job).await;
    }
    assert_eq!(app.github.requests(JIT).len(), app.runners().len());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hourly_limit_is_waited_for() {
    let app = app().await;
    let window = Duration::from_secs(8);
    app.github.set_limits(Limits { registration: 2, window, ..Limits::default() });
    let jobs: Vec<_> = (0..5).map(|_| app.github.queue_job(linux_job())).collect();
    waits_because(&app, jobs[4], &["GitHub is left alone until", "rate limit"]).await;
    until(&app, "two are served", || app.github.jobs().iter().filter(|job| job.runner.is_some()).count() == 2).await;
    for job in jobs {
        app.served(job).await;
    }
    // Those that the limit met under way were refused; nobody else asked.
    let asked = app.github.requests(JIT).len();
    assert!((5..=5 + 3 + 2).contains(&asked), "{asked} requests");
    let begun = app.runners().len();
    assert!(begun <= asked + 4, "{begun} runners were begun for {asked} requests");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_obeyed() {
    let app = app().await;
    app.github.faults().next(JIT, Fault::status(429).header("retry-after", "3"), 1);
    let job = app.github.queue_job(linux_job());
    waits_because(&app, job, &["GitHub is left alone until", "rate limit"]).await;
    app.served(job).await;
    let asked = app.github.requests(JIT);
    assert_eq!(asked.len(), 2);
    assert!(asked[1].duration_since(asked[0]) >= SignedDuration::from_secs(3), "{asked:?}");
    let refused = asked[0];
    let meanwhile = |exchange: &&runnerfleet::simulation::github::Exchange| {
        exchange.at > refused && exchange.at < refused + SignedDuration::from_millis(2900)
    };
    assert_eq!(app.github.exchanges().iter().filter(meanwhile).count(), 0, "a secondary limit holds for everything");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_revoked_are_renewed() {
    let app = app().await;
    let first = app.github.queue_job(linux_job());
    app.served(first).await;
    app.github.revoke_tokens();
    let second = app.github.queue_job(linux_job());
    app.served(second).await;
    assert_eq!(app.runners().len(), 2, "no try was lost");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_hangs_is_given_up_and_tried_again() {
    let app = app().await;
    app.github.faults().next(JIT, Fault::late(Duration::from_secs(90)), 1);
    let job = app.github.queue_job(linux_job());
    waits_because(&app, job, &["GitHub is left alone until", "no answer within"]).await;
    app.served(job).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_no_ghost() {
    let app = app().await;
    app.github.faults().next(JIT, Fault::answer_lost(), 1);
    app.github.faults().next(JIT, Fault::connection_cut(), 1);
    let jobs: Vec<_> = (0..2).map(|_| app.github.queue_job(linux_job())).collect();
    for job in jobs {
        app.served(job).await;
    }
    assert!(app.runners().iter().any(|runner| runner.history.iter().any(|change| change.to == StateName::Error)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_outage_in_the_middle() {
    let app = app().await;
    let runs = app.github.queue_job(linux_job().lasting(Duration::from_secs(1)));
    until(&app, "it runs", || app.github.job(runs).unwrap().started_at.is_some()).await;
    app.github.set_down(true);
    let queued = app.github.queue_job(linux_job());
    waits_because(&app, queued, &["GitHub is left alone until"]).await;
    paused_for(&app, SignedDuration::from_secs(1)).await;
    assert!(app.runners().len() <= 2, "{}", app.runners().len());
    app.github.set_down(false);
    app.served(queued).await;
    app.served(runs).await;
    app.finish().await;
}
