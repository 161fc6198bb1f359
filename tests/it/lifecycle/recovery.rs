//! Cut off between GitHub and the store: what is known to one of them only.

use super::{job, known_to_be_over, linux};
use crate::support::app::TestApp;
use runnerfleet::model::Scope;
use runnerfleet::plan::naming;
use runnerfleet::simulation::github::Fault;

const JIT: &str = "POST /orgs/{org}/actions/runners/generate-jitconfig";

/// GitHub registered the runner, and nobody heard of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_whose_answer_was_lost_leaves_no_ghost() {
    let app = TestApp::start(vec![linux()]).await;
    app.github.faults().next(JIT, Fault::answer_lost(), 1);
    let job = app.github.queue_job(job());
    let runner = app.served(job).await.expect("a runner had it");
    known_to_be_over(&app, job).await;
    app.settled().await;
    let up = app.runners().iter().filter(|row| row.container.is_some() || row.job.is_some()).count();
    assert!(up <= 1, "{:?}", app.runners());
    assert!(app.runner(&runner).is_some());
    app.finish().await;
}

/// The program was cut off after GitHub registered the runner and before the store knew; its name is taken when the
/// same try is made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_by_a_try_that_was_cut_off_is_ours_to_free() {
    let app = TestApp::start(vec![linux()]).await;
    app.github.hold_webhooks();
    let job = app.github.queue_job(job());
    let name = naming::for_job(&app.config.pools[0], job, 1, &app.config.instance);
    let acme = Scope::Organization("acme".to_owned());
    app.github.add_foreign_runner(&acme, name.as_str(), ["self-hosted", "linux"], true).expect("the name is free");
    app.github.release_webhooks(false);
    assert_eq!(app.served(job).await.as_deref(), Some(name.as_str()));
    assert_eq!(app.github.requests(JIT).len(), 2);
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

/// The store's file is gone; the containers and GitHub are as they were.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_store_lost_every_runner_is_found_again() {
    let mut app = TestApp::start(vec![super::patient(linux())]).await;
    let busy = app.github.queue_job(job().lasting(std::time::Duration::from_secs(6)));
    super::running(&app, busy).await;
    app.stop_serve().await;
    let file = crate::support::app::store_file(&app.config).expect("the embedded store");
    std::fs::remove_file(file).expect("the store's file is there");
    app.serve().await;
    app.until("its row again", |world| world.runners.len() == 1).await;
    assert_eq!(app.github.job(busy).unwrap().conclusion, None, "the job goes on");
    app.served(busy).await.expect("a runner had it");
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}
