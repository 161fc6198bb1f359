//! From a signed webhook to a runner in a real container and back: stories through the front door.

use crate::support::app::{TestApp, pool};
use runnerfleet::simulation::github::JobSpec;

#[tokio::test(flavor = "multi_thread")]
async fn one_job_gets_one_runner_and_leaves_nothing() {
    let app = TestApp::start(vec![pool("linux", &["self-hosted", "linux"])]).await;
    let job = app.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]));
    let runner = app.served(job).await.expect("a runner had it");
    assert!(runner.starts_with(&format!("linux-{}-1-1-", job.id)), "{runner}");
    assert_eq!(app.runners().len(), 1);
    app.finish().await;
}
