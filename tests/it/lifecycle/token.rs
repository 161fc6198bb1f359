//! A pool whose agents register themselves with a token of the scope.

use super::{job, linux, running};
use crate::support::app::TestApp;
use crate::support::docker::docker;
use runnerfleet::config::RegistrationKind;
use std::process::Command;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_registration_token_is_out_of_the_jobs_reach() {
    let mut pool = linux();
    pool.registration = RegistrationKind::Token;
    let app = TestApp::start(vec![pool]).await;
    let first = app.github.queue_job(job().lasting(Duration::from_secs(5)));
    let second = app.github.queue_job(job());
    let row = running(&app, first).await;
    let container = row.container.clone().expect("it runs").to_string();

    let asked = app.github.exchanges();
    let tokens: Vec<String> = asked
        .iter()
        .filter(|exchange| exchange.template.ends_with("/registration-token"))
        .filter_map(|exchange| exchange.response.as_ref()?["token"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(tokens.len(), 1, "one token serves the whole burst");

    let mut places = vec![
        ("inspect", docker(&["inspect", &container]).into_bytes()),
        ("logs", docker(&["logs", &container]).into_bytes()),
        (
            "files",
            Command::new("docker").args(["cp", &format!("{container}:/home/runner"), "-"]).output().unwrap().stdout,
        ),
    ];
    let processes = docker(&["top", &container, "-eo", "pid"]);
    let pids: Vec<&str> = processes.lines().skip(1).map(str::trim).collect();
    assert!(pids.len() >= 2, "the agent and its job: {processes}");
    for pid in pids {
        // The test is root on this machine: it sees more than the job does.
        places.push(("environ", std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()));
        places.push(("cmdline", std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()));
    }
    assert!(places.iter().any(|(what, text)| *what == "environ" && !text.is_empty()), "nothing could be looked at");
    for (what, text) in places {
        let found = text.windows(tokens[0].len()).any(|part| part == tokens[0].as_bytes());
        assert!(!found, "the token is in the container's {what}");
    }
    super::each_is_served_once(&app, &[first, second]).await;
    app.finish().await;
}
