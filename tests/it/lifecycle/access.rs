//! Who may run what: public repositories, forks, repositories by name, runner groups, several accounts of one App.

use super::{job, known_to_be_over, linux};
use crate::support::app::{PATIENCE, TestApp, pool};
use runnerfleet::config::Pool;
use runnerfleet::model::{JobKey, Patterns, RepoName, Scope};
use runnerfleet::overview::overview;
use runnerfleet::simulation::github::{Fault, GroupSpec, Installation, JobSpec, Options, Stage};
use std::collections::BTreeMap;
use std::time::Duration;

const LABELS: [&str; 2] = ["self-hosted", "linux"];

/// What GitHub is asked about a run.
const ABOUT_RUNS: &str = "GET /repos/{owner}/{repo}/actions/runs/{run_id}";

/// A job of the public repository.
fn of_site() -> JobSpec {
    JobSpec::new("acme/site", LABELS)
}

/// A pool that takes public repositories.
fn open_pool() -> Pool {
    let mut pool = linux();
    pool.admission.public = Some(true);
    pool
}

/// The organization's default runner group takes public repositories as well; at GitHub that is off by default.
fn open_group(options: &mut Options) {
    options.accounts[0].default_group_public = true;
}

/// Until the reason why the job waits, as a person sees it, has all of these words.
async fn waits_because(app: &TestApp, job: JobKey, words: &[&str]) {
    let mut last = None;
    let looked = tokio::time::timeout(PATIENCE, async {
        loop {
            let seen = overview(&app.world(), &app.config, &BTreeMap::new());
            last = seen.jobs.into_iter().find(|row| row.job == job.to_string()).and_then(|row| row.why);
            if last.as_ref().is_some_and(|why| words.iter().all(|word| why.contains(word))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let seen = looked.await.is_ok();
    assert!(seen, "job {job} should wait with {words:?}; it has {last:?}\n{}", app.github.state());
}

/// Nobody was made for it, and GitHub has it still.
fn nobody_has(app: &TestApp, job: JobKey) {
    assert_eq!(app.github.job(job).unwrap().stage, Stage::Queued);
    assert!(app.runners().is_empty(), "{:?}", app.runners());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_repository_is_served_where_its_pool_says_so_and_its_run_is_asked_about_once() {
    let app = TestApp::with(vec![open_pool()], |_, options| open_group(options)).await;
    let first = app.github.queue_job(of_site());
    let run = app.github.job(first).unwrap().run_id;
    let second = app.github.queue_job(of_site().in_run(run));
    let private = app.github.queue_job(job());
    for job in [first, second, private] {
        app.served(job).await.expect("a runner had it");
        known_to_be_over(&app, job).await;
    }
    let third = app.github.queue_job(of_site().in_run(run));
    app.served(third).await.expect("a runner had it");
    assert_eq!(app.github.requests(ABOUT_RUNS).len(), 1, "one call for the run, none for the private repository");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_refused_with_its_reason_and_gets_no_runner_that_others_are_made() {
    let app = TestApp::with(vec![open_pool()], |_, options| open_group(options)).await;
    let fork = app.github.queue_job(of_site().from_fork("mallory/site"));
    waits_because(&app, fork, &["comes from the fork mallory/site (`pull_request`)", "matching.forks: allow"]).await;
    // GitHub would give the runner of this one to the older job, which is the fork's.
    let push = app.github.queue_job(of_site());
    waits_because(&app, push, &[&format!("to job {fork}, which it must not run")]).await;
    nobody_has(&app, fork);
    assert!(app.github.cancel(fork));
    app.served(push).await.expect("a runner had it");
    let risky = app.github.queue_job(of_site().event("pull_request_target"));
    waits_because(&app, risky, &["`pull_request_target` began its run", "matching.events"]).await;
    assert_eq!(app.github.job(risky).unwrap().stage, Stage::Queued);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forks_run_where_a_pool_takes_them() {
    let mut pool = open_pool();
    pool.admission.forks = Some(true);
    pool.admission.events = Some(Patterns::new(["push", "pull_request*"]));
    let app = TestApp::with(vec![pool], |_, options| open_group(options)).await;
    for spec in [of_site().from_fork("mallory/site"), of_site().event("pull_request_target")] {
        let job = app.github.queue_job(spec);
        app.served(job).await.expect("a runner had it");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_does_not_say_is_not_taken_for_harmless() {
    let mut pool = linux();
    pool.admission.forks = Some(false);
    let app = TestApp::start(vec![pool]).await;
    app.github.faults().next(ABOUT_RUNS, Fault::status(403), 1000);
    let private = app.github.queue_job(job());
    waits_because(&app, private, &["not known yet whose code it runs", "last time:"]).await;
    nobody_has(&app, private);
    app.github.faults().clear();
    let other = app.github.queue_job(job());
    // It is known at once, and waits for the first one all the same.
    waits_because(&app, other, &[&format!("to job {private}, which it must not run")]).await;
    app.served(other).await.expect("a runner had it, after GitHub was asked again");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_serves_the_repositories_that_its_patterns_take() {
    let mut pool = linux();
    pool.admission.repositories = Patterns::new(["acme/*", "!acme/a*"]);
    let app = TestApp::start(vec![pool]).await;
    let api = app.github.queue_job(JobSpec::new("acme/api", LABELS));
    waits_because(&app, api, &["it takes acme/*, !acme/a* (matching.repositories)"]).await;
    nobody_has(&app, api);
    let delivery = app.github.deliveries().into_iter().find(|it| it.action.as_deref() == Some("queued")).unwrap();
    assert_eq!(delivery.status_code, 202, "it is none of GitHub's faults");
    assert!(app.github.cancel(api));
    known_to_be_over(&app, api).await;
    let web = app.github.queue_job(job());
    app.served(web).await.expect("a runner had it");
    app.finish().await;
}

/// The group as the simulated GitHub has it.
fn group(app: &TestApp, name: &str) -> Option<GroupSpec> {
    app.github.groups("acme").into_iter().find(|group| group.name == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_group_is_made_for_the_repositories_of_the_rules_and_kept_so() {
    let mut pool = linux();
    pool.runner_group = Some("builders".to_owned());
    pool.create_runner_group = true;
    pool.admission.repositories = Patterns::new(["acme/*", "!acme/api"]);
    let mut other = crate::support::app::pool("other", &["self-hosted", "other"]);
    other.runner_group = Some("theirs".to_owned());
    other.create_runner_group = true;
    let app = TestApp::with(vec![pool, other], |_, options| {
        // Open to all, and there before: it is left alone.
        options.groups.push(GroupSpec {
            organization: "acme".into(),
            name: "theirs".into(),
            repositories: None,
            allows_public: true,
        });
        options.accounts[0].installation.as_mut().unwrap().repositories =
            Some(vec!["web".into(), "api".into(), "site".into()]);
    })
    .await;
    let web = app.github.queue_job(job());
    app.served(web).await.expect("a runner had it");
    let made = group(&app, "builders").expect("it was made");
    // The public one is not among them, since the pool does not take public repositories.
    assert_eq!((made.repositories, made.allows_public), (Some(vec!["web".to_owned()]), false));
    let runners = app.runners();
    assert!(!runners.is_empty());
    // The App is given another set of repositories: the group follows.
    app.github.set_repositories("acme", Some(&["site", "api"]));
    app.github
        .wait_for_requests("PUT /orgs/{org}/actions/runner-groups/{runner_group_id}/repositories", 1, PATIENCE)
        .await
        .unwrap();
    app.until("what is known of it", |world| {
        let groups = world.groups.of("acme").unwrap_or_default();
        let made = groups.iter().find(|group| group.name == "builders");
        made.is_some_and(|group| group.hidden_from(&RepoName::new("acme/web"), Some(true)).is_some())
    })
    .await;
    assert_eq!(group(&app, "builders").unwrap().repositories, Some(vec![]));
    let theirs = group(&app, "theirs").unwrap();
    assert_eq!((theirs.repositories, theirs.allows_public), (None, true));
    assert_eq!(app.github.requests("POST /orgs/{org}/actions/runner-groups").len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_not_open_to_the_repository_is_told() {
    let mut pool = linux();
    pool.runner_group = Some("builders".to_owned());
    let app = TestApp::with(vec![pool], |_, options| {
        options.groups.push(GroupSpec {
            organization: "acme".into(),
            name: "builders".into(),
            repositories: Some(vec!["api".into()]),
            allows_public: false,
        });
    })
    .await;
    app.until("the groups", |world| world.groups.of("acme").is_some()).await;
    let web = app.github.queue_job(job());
    waits_because(&app, web, &["runner group `builders` of acme is not open to acme/web"]).await;
    nobody_has(&app, web);
    let api = app.github.queue_job(JobSpec::new("acme/api", LABELS));
    app.served(api).await.expect("a runner had it");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_accepted_takes_effect_at_once() {
    let app = TestApp::with(vec![linux()], |_, options| {
        let installation = options.accounts[0].installation.as_mut().unwrap();
        installation.permissions.remove("organization_self_hosted_runners");
    })
    .await;
    let waits = app.github.queue_job(job());
    // After several failures in a row the next try would be many seconds away.
    waits_because(&app, waits, &["the pool failed 4 times in a row"]).await;
    let granted = Installation::usual(0).permissions;
    app.github.set_permissions("acme", granted.iter().map(|(name, level)| (name.as_str(), level.as_str())));
    app.until("the grant", |world| world.granted.contains_key("acme")).await;
    app.served(waits).await.expect("a runner had it");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_app_serves_two_accounts_with_the_same_labels() {
    let mut second = pool("second", &LABELS);
    second.scope = Scope::Organization("other".to_owned());
    let app = TestApp::with(vec![linux(), second], |_, options| {
        options.accounts[1].installation = Some(Installation::usual(1003));
    })
    .await;
    let here = app.github.queue_job(job());
    let there = app.github.queue_job(JobSpec::new("other/thing", LABELS));
    let (first, second) = (app.served(here).await.expect("a runner"), app.served(there).await.expect("a runner"));
    assert!(first.starts_with("linux-") && second.starts_with("second-"), "{first} {second}");
    // One account away is one account away.
    app.github.set_suspended("other", true);
    app.until("the account is barred", |world| {
        world.accounts.known().is_some_and(|accounts| accounts.bar("other").is_some())
    })
    .await;
    let here = app.github.queue_job(job());
    app.served(here).await.expect("a runner had it");
    app.github.set_suspended("other", false);
    app.until("it is back", |world| world.accounts.known().is_some_and(|accounts| accounts.bar("other").is_none()))
        .await;
    let there = app.github.queue_job(JobSpec::new("other/thing", LABELS));
    app.served(there).await.expect("a runner had it");
    app.settled().await;
    assert!(app.github.runners(&Scope::Organization("other".to_owned())).is_empty());
    app.finish().await;
}
