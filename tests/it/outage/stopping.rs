//! SIGTERM in the middle of it.

use super::{linux_job, redeliver_failed};
use crate::support::app::{PATIENCE, TestApp, pool};
use runnerfleet::model::StateName;
use runnerfleet::simulation::github::Stage;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn while_runners_are_made_nothing_is_left_half_done() {
    let mut app = TestApp::start(vec![pool("linux", &super::LINUX)]).await;
    let jobs: Vec<_> = (0..8).map(|_| app.github.queue_job(linux_job().lasting(Duration::from_secs(1)))).collect();
    app.until("some are being made", |world| {
        world.runners.len() == 8 && world.runners.values().any(|runner| runner.state.name == StateName::Created)
    })
    .await;
    let memory = app.serve.as_ref().unwrap().memory.clone();
    app.stop_serve().await;
    // What was under way ended: no row speaks of a container that is not there, no container is without its row.
    let rows = memory.world().runners;
    assert!(memory.world().in_flight.is_empty());
    assert!(rows.values().all(|row| row.state.name != StateName::Created), "{rows:#?}");

    app.serve().await;
    redeliver_failed(&app, 1).await;
    for job in jobs {
        app.served(job).await;
    }
    redeliver_failed(&app, 1).await;
    assert_eq!(app.runners().len(), 8, "each job had its runner before the stop, or got it after");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_jobs_are_left_alone() {
    let mut app = TestApp::start(vec![pool("linux", &super::LINUX)]).await;
    let job = app.github.queue_job(linux_job().lasting(Duration::from_secs(3)));
    let runs = |model: &runnerfleet::simulation::github::Model| {
        model.job(job).is_some_and(|job| matches!(job.stage, Stage::InProgress { .. }))
    };
    app.github.wait_until("the job runs", PATIENCE, runs).await.unwrap();
    app.stop_serve().await;
    assert!(!app.config.http.admin_socket.exists(), "the socket goes with it");
    let over = app.github.wait_for_job(job, PATIENCE).await.unwrap();
    assert_eq!(over.conclusion, Some(runnerfleet::simulation::github::Conclusion::Success));
    app.serve().await;
    redeliver_failed(&app, 1).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_dawdles_does_not_hold_it_up() {
    let mut app = TestApp::start(vec![pool("linux", &super::LINUX)]).await;
    let addr = app.serve.as_ref().unwrap().addr;
    let mut half_a_head = TcpStream::connect(addr).await.unwrap();
    half_a_head.write_all(b"POST /webhook HTTP/1.1\r\nhost: localhost\r\ncontent-le").await.unwrap();
    let mut half_a_body = TcpStream::connect(addr).await.unwrap();
    half_a_body.write_all(b"POST /webhook HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{").await.unwrap();
    let began = Instant::now();
    app.stop_serve().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
