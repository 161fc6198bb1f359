//! What becomes of runners is told, and a recipient that hangs holds none of them up.

use crate::support::app::{TestApp, pool};
use crate::support::told::{Told, generic};
use runnerfleet::config::{Config, Pool};
use runnerfleet::simulation::github::{JobSpec, Options, SessionFault, Timings};
use runnerfleet::simulation::protocol::Ending;
use std::time::Duration;

fn linux() -> Pool {
    Pool { idle_timeout: Duration::from_secs(300), ..pool("linux", &["self-hosted", "linux"]) }
}

fn job() -> JobSpec {
    JobSpec::new("acme/web", ["self-hosted", "linux"])
}

fn telling(url: String) -> impl FnOnce(&mut Config, &mut Options) {
    move |config, options| {
        let mut recipient = generic(&url);
        // Longer than any story lasts.
        recipient.timeout = Duration::from_secs(3600);
        config.notifications.recipients = vec![recipient];
        options.timings = Timings {
            poll: Duration::from_secs(2),
            offline_after: Duration::from_secs(2),
            lost_after: Duration::from_secs(4),
            fetch_within: Duration::from_secs(4),
            ..Timings::default()
        };
    }
}

/// The order of events is what counts: the message is under way, unanswered, from before the second runner began until after
/// all is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_hangs_holds_no_runner_up() {
    let told = Told::hanging().await;
    let app = TestApp::with(vec![linux()], telling(told.url())).await;
    app.github.next_sessions(1, SessionFault::Die(9));
    let job = app.github.queue_job(job());
    let got = told.until(1).await;
    let body = got[0].json();
    assert_eq!(body["event_type"], "runner_error");
    assert_eq!((&body["data"]["pool"], &body["data"]["operation"]), (&"linux".into(), &"run".into()));
    assert!(body["data"]["error_message"].as_str().unwrap().contains("exit code 9"), "{body}");
    let runner = app.served(job).await.expect("another runner had it");
    assert!(runner.starts_with(&format!("linux-{}-1-2-", job.id)), "{runner}");
    app.settled().await;
    assert_eq!(told.got().len(), 1, "the first message is still waiting for its answer");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_dies_with_its_runner_is_told_of() {
    let told = Told::start().await;
    let app = TestApp::with(vec![linux()], telling(told.url())).await;
    let job = app.github.queue_job(job().ending(Ending::AgentDies { code: 7 }));
    app.served(job).await.expect("a runner had it");
    let got = told.until(2).await;
    let bodies: Vec<_> = got.iter().map(crate::support::told::Got::json).collect();
    assert_eq!(bodies[0]["event_type"], "runner_error");
    let lost = &bodies[1];
    assert_eq!(lost["event_type"], "job_lost");
    assert_eq!((&lost["data"]["repository"], &lost["data"]["job"]), (&"acme/web".into(), &job.to_string().into()));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_runners_fail_one_after_the_other_is_told_of_once() {
    let told = Told::start().await;
    let app = TestApp::with(vec![linux()], telling(told.url())).await;
    app.github.next_sessions(4, SessionFault::Die(3));
    let job = app.github.queue_job(job());
    app.served(job).await.expect("a runner had it in the end");
    app.settled().await;
    let degraded: Vec<_> = told
        .got()
        .iter()
        .map(crate::support::told::Got::json)
        .filter(|body| body["event_type"] == "pool_degraded")
        .collect();
    assert_eq!(degraded.len(), 1, "{degraded:?}");
    assert_eq!((&degraded[0]["data"]["pool"], &degraded[0]["data"]["failures"]), (&"linux".into(), &3.into()));
    app.finish().await;
}
