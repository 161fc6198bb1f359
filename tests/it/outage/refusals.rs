//! GitHub or Docker refuses what a pool asks for: the reason names it, others go on, and there is no storm.

use super::{JIT, linux_job, until, waits_because};
use crate::support::app::{TestApp, pool};
use runnerfleet::model::{InstanceId, JobKey, PoolName, Scope, StateName};
use runnerfleet::plan::naming;
use runnerfleet::simulation::github::{Fault, JobSpec};

fn broken_job() -> JobSpec {
    JobSpec::new("acme/web", ["self-hosted", "broken"])
}

/// How many runners of a pool were begun.
fn begun(app: &TestApp, pool: &str) -> usize {
    app.runners().iter().filter(|runner| runner.pool == PoolName::new(pool)).count()
}

/// The broken pool's job waits with these words, a job of the other pool is served meanwhile, and the broken pool tries less
/// and less often.
async fn only_that_pool_waits(app: &TestApp, words: &[&str]) -> JobKey {
    let jobs: Vec<_> = (0..2).map(|_| app.github.queue_job(broken_job())).collect();
    waits_because(app, jobs[0], words).await;
    let other = app.github.queue_job(linux_job());
    app.served(other).await;
    waits_because(app, jobs[0], &[words, &["failed 3 times in a row"]].concat()).await;
    let tried = begun(app, "broken");
    assert!(tried <= 2 * 3, "{tried} runners in three waves for two jobs");
    assert_eq!(begun(app, "linux"), 1);
    assert!(app.github.cancel(jobs[1]));
    jobs[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_missing() {
    let (linux, broken) = (pool("linux", &super::LINUX), pool("broken", &["self-hosted", "broken"]));
    let app = TestApp::with(vec![linux, broken], |config, _| config.pools[1].image = "nowhere:1".to_owned()).await;
    let job = only_that_pool_waits(&app, &["image `nowhere:1` is not there"]).await;
    assert!(app.github.cancel(job));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_group_that_is_unknown() {
    let (linux, mut broken) = (pool("linux", &super::LINUX), pool("broken", &["self-hosted", "broken"]));
    broken.runner_group = Some("Secret".to_owned());
    let app = TestApp::start(vec![linux, broken]).await;
    app.until("the groups", |world| world.groups.of("acme").is_some()).await;
    let job = app.github.queue_job(broken_job());
    waits_because(&app, job, &["acme has no runner group `Secret`", "create_runner_group"]).await;
    let other = app.github.queue_job(linux_job());
    app.served(other).await;
    assert_eq!(begun(&app, "broken"), 0, "nothing is tried in vain");
    assert_eq!(app.github.requests(JIT).len(), 1, "only the other pool registered one");
    assert!(app.github.cancel(job));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_github_finds_wrong() {
    let app = TestApp::start(vec![pool("linux", &super::LINUX)]).await;
    let wrong = Fault::status(422).body(r#"{"message":"Validation Failed","errors":["labels are odd"]}"#);
    app.github.faults().next(JIT, wrong, 2);
    let job = app.github.queue_job(linux_job());
    waits_because(&app, job, &["failed 2 times in a row", "labels are odd"]).await;
    app.served(job).await;
    assert_eq!(app.runners().len(), 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_missing_and_granted_later() {
    let mut app = TestApp::set_up(vec![pool("linux", &super::LINUX)], |_, _| {}).await;
    app.github.set_permissions("acme", [("metadata", "read"), ("actions", "read")]);
    app.serve().await;
    let job = app.github.queue_job(linux_job());
    waits_because(&app, job, &["failed 3 times", "organization_self_hosted_runners=write"]).await;
    let asked = app.github.requests("POST /app/installations/{installation_id}/access_tokens").len();
    assert!(asked <= 3 * 2 + 5, "{asked} requests for a token");
    assert_eq!(app.github.requests(JIT).len(), 0);

    app.github.set_permissions("acme", [("metadata", "read"), ("organization_self_hosted_runners", "write")]);
    app.served(job).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_registered_already() {
    let app = TestApp::start(vec![pool("linux", &super::LINUX)]).await;
    let job = app.github.waiting_job(linux_job());
    let fleet = InstanceId::new(app.config.instance.as_str());
    let name = naming::for_job(&app.config.pools[0], job, 1, &fleet);
    let acme = Scope::Organization("acme".to_owned());
    // What a try leaves that was killed between the answer and the row.
    app.github.add_foreign_runner(&acme, name.as_str(), ["self-hosted"], true).expect("the name is free");
    assert!(app.github.approve(job));
    assert_eq!(app.served(job).await.as_deref(), Some(name.as_str()));
    assert_eq!(app.runners().len(), 1);
    assert_eq!(app.github.requests(JIT).len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_freed() {
    let app = TestApp::start(vec![pool("linux", &super::LINUX)]).await;
    let job = app.github.waiting_job(linux_job());
    let name = naming::for_job(&app.config.pools[0], job, 1, &app.config.instance);
    let acme = Scope::Organization("acme".to_owned());
    app.github.add_foreign_runner(&acme, name.as_str(), ["other"], true).expect("the name is free");
    let theirs = app.github.queue_job(JobSpec::new("acme/api", ["other"]).lasting(std::time::Duration::from_secs(4)));
    assert!(app.github.steal(theirs, name.as_str()));
    assert!(app.github.approve(job));
    // The next try has the next name, and what keeps the first one busy is left alone.
    let had = app.served(job).await.unwrap();
    assert_ne!(had, name.as_str());
    assert_eq!(app.served(theirs).await.as_deref(), Some(name.as_str()));
    until(&app, "its row ends too", || {
        app.runner(name.as_str()).is_some_and(|row| row.state.name == StateName::Removed)
    })
    .await;
    app.finish().await;
}
