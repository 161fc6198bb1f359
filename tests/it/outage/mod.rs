//! Docker, GitHub or the store is away, at the start or in the middle: a clear answer, nothing lost, no storm of requests, and
//! all goes on without a restart once it is back.

mod docker;
mod github;
mod refusals;
mod stopping;
mod store;

use crate::support::app::{PATIENCE, TestApp};
use runnerfleet::model::JobKey;
use runnerfleet::overview::{Overview, overview};
use runnerfleet::simulation::github::JobSpec;
use serde_json::Value;
use std::time::Duration;

/// Requests that register a runner.
const JIT: &str = "POST /orgs/{org}/actions/runners/generate-jitconfig";

/// What the pool of most stories is asked for.
const LINUX: [&str; 2] = ["self-hosted", "linux"];

fn linux_job() -> JobSpec {
    JobSpec::new("acme/web", LINUX)
}

/// What a person sees now.
fn seen(app: &TestApp) -> Overview {
    overview(&app.serve.as_ref().expect("`serve` runs").memory.world(), &app.config, &std::collections::BTreeMap::new())
}

/// Why a job waits, as a person sees it.
fn why(app: &TestApp, job: JobKey) -> Option<String> {
    seen(app).jobs.into_iter().find(|row| row.job == job.to_string())?.why
}

/// Until the job's reason has all of these words.
async fn waits_because(app: &TestApp, job: JobKey, words: &[&str]) -> String {
    let mut last = None;
    let looked = tokio::time::timeout(PATIENCE, async {
        loop {
            last = why(app, job);
            if let Some(why) = last.as_ref().filter(|why| words.iter().all(|word| why.contains(word))) {
                return why.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    looked.await.unwrap_or_else(|_| {
        panic!("job {job} should wait with {words:?}; it has {last:?}\n{:#?}\n{}", seen(app), app.github.state())
    })
}

/// Until this holds.
async fn until(app: &TestApp, what: &str, mut holds: impl FnMut() -> bool) {
    let looked = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let seen_in_time = looked.await.is_ok();
    assert!(seen_in_time, "not seen within {PATIENCE:?}: {what}\n{:#?}\n{}", seen(app), app.github.state());
}

/// What `/readyz` or `/healthz` answers.
async fn ask(app: &TestApp, path: &str) -> (u16, Value) {
    let addr = app.serve.as_ref().expect("`serve` runs").addr;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{addr}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Until `/readyz` says that this part is not there, and why; the others are there, and the process is healthy.
async fn not_ready(app: &TestApp, part: &str, words: &str) {
    let looked = tokio::time::timeout(PATIENCE, async {
        loop {
            let (status, answer) = ask(app, "/readyz").await;
            let parts = &answer["parts"];
            let others = ["docker", "github", "store"].into_iter().filter(|other| *other != part);
            if status == 503
                && answer["ready"] == false
                && parts[part]["ok"] == false
                && parts[part]["why"].as_str().is_some_and(|why| why.contains(words))
                && others.into_iter().all(|other| parts[other]["ok"] == true)
            {
                return;
            }
            eprintln!("/readyz: {answer}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    looked.await.unwrap_or_else(|_| panic!("/readyz never said that {part} is away: {words}"));
    assert_eq!(ask(app, "/healthz").await.0, 200, "the process itself is well");
}

/// Until `/readyz` says that all is there.
async fn ready(app: &TestApp) {
    let looked = tokio::time::timeout(PATIENCE, async {
        while ask(app, "/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    looked.await.expect("/readyz is 200 again");
}

/// Has GitHub send again what did not arrive, as a person (or a later GitHub) does it; each of them `times` times.
async fn redeliver_failed(app: &TestApp, times: usize) {
    app.github.webhooks_settled(PATIENCE).await.unwrap();
    let mut failed: Vec<String> = Vec::new();
    for delivery in app.github.deliveries() {
        let arrived = delivery.status_code / 100 == 2;
        failed.retain(|guid| !(arrived && *guid == delivery.guid));
        if !arrived && !failed.contains(&delivery.guid) {
            failed.push(delivery.guid);
        }
    }
    for guid in failed {
        for _ in 0..times {
            assert!(app.github.redeliver(&guid));
        }
    }
    app.github.webhooks_settled(PATIENCE).await.unwrap();
}
