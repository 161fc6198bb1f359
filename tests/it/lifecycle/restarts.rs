//! `serve` is killed or stopped in the middle of a burst, and started again.
//!
//! What it did not hear meanwhile, GitHub's log has as failed deliveries; a person (or a script) sends the `queued` ones again.
//! All else the program finds out by itself.

use super::{all_over, each_is_served_once, job, linux, running};
use crate::support::app::{HOOK_SECRET, PATIENCE, TestApp};
use crate::support::docker::{docker, until};
use crate::support::process::Serve;
use runnerfleet::model::JobKey;
use runnerfleet::simulation::github::{JobSpec, Stage};
use secrecy::SecretString;
use std::time::Duration;

const JIT: &str = "POST /orgs/{org}/actions/runners/generate-jitconfig";

/// A child, with the hook pointed at it and what was missed sent again.
fn start(app: &TestApp) -> Serve {
    let serve = Serve::start(&app.config, "serve");
    app.github.set_webhook(format!("http://{}/webhook", serve.addr), Some(SecretString::from(HOOK_SECRET)));
    for delivery in app.github.deliveries() {
        if delivery.action.as_deref() == Some("queued") && !delivery.ok() {
            app.github.redeliver(&delivery.guid);
        }
    }
    serve
}

async fn stage() -> TestApp {
    let mut pool = linux();
    pool.idle_timeout = Duration::from_secs(15);
    TestApp::set_up(vec![pool], |config, _| config.docker.max_runners = 6).await
}

/// Fifteen jobs, none, some and a second long.
fn burst(app: &TestApp) -> Vec<JobKey> {
    (0..15).map(|number| app.github.queue_job(spec(number))).collect()
}

fn spec(number: u64) -> JobSpec {
    job().lasting(Duration::from_millis(number % 4 * 400))
}

/// A number out of a seed: where it is cut off is arbitrary, and the same each time.
fn pick(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

/// Waits until a number of runners was asked for since `before`, and a part of a second more.
async fn somewhere_in_the_middle(app: &TestApp, seed: &mut u64, before: usize) {
    let count = before + 1 + usize::try_from(pick(seed, 5)).unwrap();
    let reached = async {
        // No more may be asked for than there are jobs.
        while app.github.requests(JIT).len() < count && !all_over(app) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("no work begins\n{}", app.github.state()));
    // The moment of the cut itself is what is chosen here; nothing is hoped for.
    tokio::time::sleep(Duration::from_millis(pick(seed, 400))).await;
}

/// Waits until all jobs are over and the fleet is empty, stops the child, and holds the store against it.
async fn end(mut app: TestApp, serve: Serve, jobs: &[JobKey]) {
    each_is_served_once(&app, jobs).await;
    let empty = until("an empty fleet", async || {
        let acme = runnerfleet::model::Scope::Organization("acme".to_owned());
        let gone = app.github.runners(&acme).is_empty() && app.containers().await.is_empty();
        gone.then_some(())
    });
    empty.await;
    assert_eq!(serve.terminate().await.code(), Some(0));
    app.serve().await;
    app.until("all ends in the store", |world| world.jobs.values().all(|job| job.is_over())).await;
    app.finish().await;
}

async fn killed_in_a_burst(mut seed: u64) {
    let app = stage().await;
    let mut serve = start(&app);
    let jobs = burst(&app);
    for _ in 0..2 {
        let before = app.github.requests(JIT).len();
        somewhere_in_the_middle(&app, &mut seed, before).await;
        serve.kill();
        serve = start(&app);
    }
    end(app, serve, &jobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_burst_1() {
    killed_in_a_burst(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_burst_2() {
    killed_in_a_burst(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_burst_3() {
    killed_in_a_burst(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_a_burst() {
    let app = stage().await;
    let serve = start(&app);
    let mut seed = 4;
    let jobs = burst(&app);
    somewhere_in_the_middle(&app, &mut seed, 0).await;
    assert_eq!(serve.terminate().await.code(), Some(0));
    let serve = start(&app);
    end(app, serve, &jobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_lives_on_while_serve_is_away() {
    let mut app = stage().await;
    app.serve().await;
    let job = app.github.queue_job(job().lasting(Duration::from_secs(5)));
    let row = running(&app, job).await;
    app.stop_serve().await;
    let container = row.container.clone().expect("it runs").to_string();
    assert_eq!(docker(&["inspect", "--format", "{{.State.Running}}", &container]).trim(), "true");
    assert!(matches!(app.github.job(job).unwrap().stage, Stage::InProgress { .. }));
    // It ends, and its `completed` finds nobody.
    app.served(job).await.expect("a runner had it");
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    app.serve().await;
    super::known_to_be_over(&app, job).await;
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}
