//! `serve` as a process: signals, a second one beside it, and what its log never says.

use crate::support::app::HOOK_SECRET;
use crate::support::program::{Process, Program};
use runnerfleet::simulation::github::{Conclusion, JobSpec, Outage};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_is_told_so() {
    let mut program = Program::set_up().await;
    program.serve().await;
    let second = program.run(&["serve"]).await;
    println!("{}", second.err);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("another `runnerfleet serve`") && second.err.contains("fleet.sock"), "{}", second.err);

    // Another socket, the same store.
    let mut config = program.config();
    config["http"]["admin"]["socket"] = "other.sock".into();
    program.write_config(&config);
    let third = program.run(&["serve"]).await;
    println!("{}", third.err);
    assert_eq!(third.code, Some(1), "{third:?}");
    assert!(third.err.contains("fleet.redb") && third.err.contains("another"), "{}", third.err);
    assert!(!program.path("other.sock").exists(), "what it began is taken away");

    // The same port.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    config["http"]["listen"] = taken.local_addr().unwrap().to_string().into();
    program.write_config(&config);
    let fourth = program.run(&["serve"]).await;
    println!("{}", fourth.err);
    assert_eq!(fourth.code, Some(1), "{fourth:?}");
    assert!(fourth.err.contains("http.listen") && fourth.err.contains("in use"), "{}", fourth.err);
    assert!(!program.path("other.sock").exists());

    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_jobs_go_on_and_a_killed_one_is_replaced() {
    let mut program = Program::set_up().await;
    program.serve().await;
    assert!(program.path("fleet.sock").exists());
    let job =
        program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]).lasting(Duration::from_secs(4)));
    program.rows(&["list"], |rows| rows.iter().any(|row| row["state"] == "running")).await;
    assert_eq!(program.stop().await, Some(0));
    assert!(program.log().contains("stopping") && program.log().contains("stopped"), "{}", program.log());
    assert!(!program.path("fleet.sock").exists());
    program.serve().await;
    program.kill().await;
    assert!(program.path("fleet.sock").exists(), "nobody was left to take it away");
    let alone = program.run(&["list"]).await;
    assert_eq!((alone.code, alone.err.as_str()), (Some(0), ""), "a socket that nobody answers on is no `serve`");
    program.serve().await;
    let over = program.github.wait_for_job(job, crate::support::app::PATIENCE).await.unwrap();
    assert_eq!(over.conclusion, Some(Conclusion::Success));
    program.rows(&["list"], <[Value]>::is_empty).await;
    assert!(program.containers().await.is_empty() && program.registered().is_empty());
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let mut program = Program::set_up().await;
    program.serve().await;
    // A launch that waits for an answer of GitHub's holds the first signal's good end up.
    let slow = runnerfleet::simulation::github::Fault::late(Duration::from_secs(60));
    program.github.faults().next("POST /orgs/{org}/actions/runners/generate-jitconfig", slow, 1);
    program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]));
    program.rows(&["list"], |rows| rows.len() == 1).await;
    let mut serve = program.serve.take().unwrap();
    serve.signal(Signal::TERM);
    program.until("the first is heard", || program.log().contains("stopping").then_some(())).await;
    assert!(!serve.is_over());
    let asked = Instant::now();
    serve.signal(Signal::INT);
    assert_eq!(serve.ended().await, Some(1));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(program.log().contains("the next start recovers"), "{}", program.log());
    // And so it does.
    program.serve().await;
    program.until("it is served", || program.github.jobs()[0].completed_at).await;
    program.rows(&["list"], <[Value]>::is_empty).await;
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_in_the_log() {
    let mut program = Program::set_up().await;
    let mut config = program.config();
    config["log"]["level"] = "trace".into();
    config["runners"][1]["registration"] = "token".into();
    program.write_config(&config);
    program.serve().await;
    for pool in ["linux", "arm"] {
        let job = program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", pool]));
        if pool == "linux" {
            program.github.wait_for_job(job, crate::support::app::PATIENCE).await.unwrap();
        } else {
            // Its agent asks the address of the web pages, which this stage does not serve to containers.
            program.rows(&["list", "--pool", "arm"], |rows| !rows.is_empty()).await;
            program.github.cancel(job);
        }
    }
    program.github.set_outage(Outage::Api);
    program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]));
    program
        .rows(&["jobs", "--state", "queued"], |rows| {
            rows.iter().any(|row| row["why"].as_str().is_some_and(|why| why.contains("left alone")))
        })
        .await;
    assert_eq!(program.stop().await, Some(0));

    let mut secrets = vec![("the hook's secret".to_owned(), HOOK_SECRET.to_owned())];
    for line in program.key.expose_secret().lines().filter(|line| !line.starts_with("-----")) {
        secrets.push(("the key".to_owned(), line.to_owned()));
    }
    for exchange in program.github.exchanges() {
        for field in ["token", "encoded_jit_config"] {
            if let Some(secret) = exchange.response.as_ref().and_then(|body| body[field].as_str()) {
                secrets.push((format!("{field} of {}", exchange.template), secret.to_owned()));
            }
        }
    }
    let kinds: std::collections::BTreeSet<_> = secrets.iter().map(|(what, _)| what.as_str()).collect();
    assert!(kinds.len() >= 5, "JIT configs, both kinds of tokens: {kinds:?}");
    let log = program.log();
    assert!(log.contains("TRACE"), "the log is as talkative as it can be");
    assert!(log.len() > 10_000, "{}", log.len());
    for (what, secret) in &secrets {
        // A piece of it is too much as well; a hex or base64 dump would show one.
        let piece = &secret[..secret.len().min(24)];
        if let Some(line) = log.lines().find(|line| line.contains(piece)) {
            panic!("{what} is in the log: {line}");
        }
    }
    // Our JWTs.
    assert!(!log.contains("eyJ"), "a JWT or JIT config is in the log: {:?}", log.lines().find(|l| l.contains("eyJ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_with_everything_away_and_says_so() {
    let mut program = Program::set_up().await;
    program.github.set_down(true);
    let mut config = program.config();
    config["hosts"][0]["docker"] = "unix:///nowhere/docker.sock".into();
    program.write_config(&config);
    program.serve().await;
    let log = program
        .until("both are told", || {
            let log = program.log();
            (log.contains("/nowhere/docker.sock") && log.contains("cannot be read")).then_some(log)
        })
        .await;
    println!("{log}");
    assert_eq!(log.matches("lost sight of the containers").count(), 1, "told once: {log}");
    assert_eq!(program.stop().await, Some(0));
    let _: Option<Process> = program.serve.take();
}
