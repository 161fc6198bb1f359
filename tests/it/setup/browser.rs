//! The whole way in a real browser, as a person goes it: from GitHub's manifest form to a job on a fresh runner.

use super::{PATIENCE, Way};
use crate::support::browser::Browser;
use crate::support::docker::TestFleet;
use crate::support::program::{PROGRAM, Process};
use runnerfleet::config::Network;
use runnerfleet::model::Scope;
use runnerfleet::provider::Provider;
use runnerfleet::simulation::github::{JobSpec, Timings};
use runnerfleet::simulation::{agent, image};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// A configuration whose pool runs the stand-in agent.
fn config(way: &Way, fleet: &TestFleet, image: &str) -> String {
    let more = "queue: { embedded: { path: fleet.redb } }\n\
                hosts: [{ max_runners: 4, reserve: { memory: 0m } }]\n\
                limits: { disk_free_min: 0m }\n";
    let image = format!("base_image: \"{image}\", pull_policy: never, resources: {{ memory: 128m, pids: 256 }}");
    format!("{}{more}", way.config("acme"))
        .replace("instance: theirs", &format!("instance: {}", fleet.instance))
        .replace("base_image: \"runner:1\"", &image)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_manifest_to_the_first_job() {
    let fleet = TestFleet::start("setup").await;
    let image =
        image::ensure(&fleet.docker, Path::new(PROGRAM), "runnerfleet/stand-in", agent::RUN_SH, agent::CONFIG_SH)
            .await
            .expect("the image of the stand-in agent");
    fleet.docker.prepare(&Network::Isolated).await.expect("the runners' network");
    let gateway = fleet.docker.network_gateway(&Network::Isolated).await.expect("its gateway");
    let way = Way::with(|options| {
        options.agents = Some(SocketAddr::new(gateway, 0));
        options.timings = Timings { poll: Duration::from_secs(2), ..Timings::default() };
    })
    .await;
    way.write(&config(&way, &fleet, &image));
    // Somebody else has the name that the setup would take.
    way.github.take_name("runnerfleet-acme");

    let mut setup = way.start(&["--url", &way.url()]);
    let address = setup.page().await;
    let browser = Browser::start().await;
    // The page's own script goes on to GitHub.
    browser.open(&address).await;
    assert!(browser.text("#create").await.contains("Create GitHub App for acme"));
    assert!(
        browser.address().await.starts_with(&format!("{}/organizations/acme/settings/apps/new", way.github.web_url()))
    );
    browser.click("#create").await;
    assert_eq!(browser.text("#error").await, "Name is already taken");
    browser.fill("#name", "Acme fleet").await;
    browser.click("#create").await;
    // GitHub sent us back with the code.
    assert_eq!(browser.text("#made").await, "Acme fleet");
    setup.says("is not installed").await;
    browser.click("#to-install").await;
    browser.click("#install").await;
    assert!(browser.text("#installed").await.contains("was installed"));
    browser.close().await;
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("it arrived: GitHub's log says 200 `OK`, from this setup"), "{said}");
    way.tells_no_secret(&said);

    // What it wrote is all that `serve` needs.
    let log = way.path("serve.log");
    let file = std::fs::File::create(&log).unwrap();
    let serve = Process::spawn(way.command(&["serve"]).stderr(file.try_clone().unwrap()).stdout(Stdio::from(file)));
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    until("`serve` listens", &read, async || read().contains("listening on http://")).await;
    let job = way.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]));
    let done = way.github.wait_for_job(job, PATIENCE).await.unwrap_or_else(|error| panic!("{error}\n{}", read()));
    let runner = done.runner.expect("a runner had it").name;
    assert!(runner.starts_with(&format!("linux-{}", job.id)), "{runner}");
    let acme = Scope::Organization("acme".to_owned());
    until("nothing is left", &read, async || {
        way.github.runners(&acme).is_empty() && fleet.docker.list().await.is_ok_and(|list| list.is_empty())
    })
    .await;
    // A person looks again: it arrives at `serve` now.
    let again = way.setup(&[]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.err.contains("from `serve`"), "{again:?}");
    way.asked_rightly();
    drop(serve);
}

async fn until(what: &str, log: &impl Fn() -> String, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not seen: {what}\n{}", log()));
}
