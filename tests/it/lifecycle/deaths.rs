//! Runners that die: at once, in their job, for memory, by somebody's hand, or that never come online.

use super::{an_idle_one, finish_without_spares, gives_up_soon, job, known_to_be_over, linux, patient, running};
use crate::support::app::TestApp;
use crate::support::docker::docker;
use runnerfleet::model::{Runner, RunnerName, StateName};
use runnerfleet::simulation::github::{Conclusion, SessionFault};
use runnerfleet::simulation::protocol::Ending;
use std::sync::Arc;
use std::time::Duration;

/// The row of a runner's first try for the only job.
fn first_try(app: &TestApp) -> Arc<Runner> {
    app.runners().into_iter().find(|row| row.name.as_str().contains("-1-1-")).expect("the first try has a row")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_at_once_is_followed_by_another_and_leaves_its_words() {
    // GitHub may have given the job away before the agent died; then it takes it back after a while.
    let app = TestApp::with(vec![patient(linux())], |_, options| options.timings = gives_up_soon()).await;
    app.github.next_sessions(1, SessionFault::Die(9));
    let job = app.github.queue_job(job());
    let runner = app.served(job).await.expect("a runner had it");
    assert!(runner.starts_with(&format!("linux-{}-1-2-", job.id)), "{runner}");
    app.settled().await;
    let dead = first_try(&app);
    assert!(super::states(&dead).contains(&StateName::Error), "{:?}", dead.history);
    let evidence = dead.evidence.clone().expect("it left something");
    assert_eq!(evidence.exit_code, Some(9));
    assert!(evidence.last_output.contains("Connected to GitHub"), "{evidence:?}");
    assert_eq!(app.runners().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_in_its_job_keeps_its_registration_until_github_lets_go() {
    let app = TestApp::with(vec![linux()], |_, options| options.timings = gives_up_soon()).await;
    let job = app.github.queue_job(job().ending(Ending::AgentDies { code: 7 }).printing(3));
    app.served(job).await.expect("a runner had it");
    assert_eq!(app.github.job(job).unwrap().conclusion, Some(Conclusion::Failure));
    known_to_be_over(&app, job).await;
    app.settled().await;
    let dead = first_try(&app);
    assert_eq!(dead.job, Some(job));
    let evidence = dead.evidence.clone().expect("it left something");
    assert_eq!((evidence.exit_code, evidence.oom_killed), (Some(7), false));
    assert!(evidence.last_output.contains("Running job"), "{evidence:?}");
    assert_eq!(app.runners().len(), 1, "a job that failed is not ours to run again");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_was_killed_for_memory_says_so_after_it_is_gone() {
    let app = TestApp::with(vec![linux()], |_, options| options.timings = gives_up_soon()).await;
    let job = app.github.queue_job(job().ending(Ending::AgentOutOfMemory));
    app.served(job).await.expect("a runner had it");
    known_to_be_over(&app, job).await;
    app.settled().await;
    let dead = first_try(&app);
    let evidence = dead.evidence.clone().expect("it left something");
    assert!(evidence.oom_killed, "{evidence:?}");
    assert_eq!(evidence.exit_code, Some(137));
    assert!(dead.history.iter().any(|change| change.cause.contains("killed for memory")), "{:?}", dead.history);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_killed_for_memory_is_only_a_failed_job() {
    let app = TestApp::start(vec![linux()]).await;
    let job = app.github.queue_job(job().ending(Ending::JobOutOfMemory));
    app.served(job).await.expect("a runner had it");
    assert_eq!(app.github.job(job).unwrap().conclusion, Some(Conclusion::Failure));
    app.settled().await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_does_not_come_online_is_replaced() {
    let mut pool = patient(linux());
    pool.online_timeout = Duration::from_secs(3);
    let app = TestApp::start(vec![pool]).await;
    app.github.next_sessions(1, SessionFault::NeverOnline);
    let job = app.github.queue_job(job());
    let runner = app.served(job).await.expect("a runner had it");
    assert!(runner.starts_with(&format!("linux-{}-1-2-", job.id)), "{runner}");
    app.settled().await;
    let silent = first_try(&app);
    assert!(
        silent
            .history
            .iter()
            .any(|change| change.to == StateName::Error && change.cause.contains("not seen its agent online")),
        "{:?}",
        silent.history
    );
    assert!(silent.evidence.is_some(), "what it said is kept");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_too_old_leaves_githubs_words() {
    let app = TestApp::start(vec![linux()]).await;
    app.github.next_sessions(1, SessionFault::Deprecated);
    let job = app.github.queue_job(job());
    app.served(job).await.expect("a runner had it");
    app.settled().await;
    let old = first_try(&app);
    assert!(old.evidence.clone().expect("it left something").last_output.contains("deprecated"), "{:?}", old.evidence);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_container_that_somebody_removed_is_replaced() {
    let mut pool = patient(linux());
    pool.min_idle = 1;
    let app = TestApp::start(vec![pool]).await;
    let idle = an_idle_one(&app).await;
    docker(&["rm", "-f", idle.name.as_str()]);
    is_removed(&app, &idle.name).await;
    let next = an_idle_one(&app).await;
    assert_ne!(next.name, idle.name);
    let job = app.github.queue_job(job());
    assert_eq!(app.served(job).await.as_deref(), Some(next.name.as_str()));
    finish_without_spares(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_somebody_removed_in_its_job_is_cleared_when_github_gives_up() {
    let app = TestApp::with(vec![linux()], |_, options| options.timings = gives_up_soon()).await;
    let job = app.github.queue_job(job().lasting(Duration::from_secs(100)));
    let row = running(&app, job).await;
    docker(&["rm", "-f", row.name.as_str()]);
    app.served(job).await;
    assert_eq!(app.github.job(job).unwrap().conclusion, Some(Conclusion::Failure));
    known_to_be_over(&app, job).await;
    is_removed(&app, &row.name).await;
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}

async fn is_removed(app: &TestApp, name: &RunnerName) {
    app.until("its row removed", |world| {
        world.runners.get(name).is_some_and(|row| row.state.name == StateName::Removed)
    })
    .await;
}
