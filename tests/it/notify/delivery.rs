//! Receivers that fail, hang, ask for patience or send elsewhere; and floods.

use super::config;
use crate::support::app::PATIENCE;
use crate::support::told::{Told, generic};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use runnerfleet::notify::event::{Event, Kind};
use runnerfleet::notify::{Notifier, try_out};
use std::time::Duration;

fn event(kind: Kind) -> Event {
    Event::sample(kind)
}

/// What is said of one that did not arrive.
async fn failure(config: &runnerfleet::config::Config) -> String {
    let why = try_out(config, &config.notifications.recipients[0], Kind::RunnerError).send().await.unwrap_err();
    assert!(!why.contains("verysecret") && !why.contains("T0000000") && !why.contains("/services/"), "{why}");
    why
}

#[tokio::test]
async fn what_may_pass_is_tried_again_as_the_same_delivery() {
    let told = Told::answering(|number| {
        let answers = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TOO_MANY_REQUESTS, StatusCode::OK];
        Some(answers[number].into_response())
    })
    .await;
    let config = config(vec![generic(&told.url())]);
    try_out(&config, &config.notifications.recipients[0], Kind::RunnerError).send().await.unwrap();
    let got = told.got();
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|one| one.body == got[0].body
        && one.header("x-runnerfleet-delivery") == got[0].header("x-runnerfleet-delivery")));
}

#[tokio::test]
async fn a_refusal_is_final_and_told_without_the_address() {
    // One that says the address back.
    let told = Told::answering(|_| Some((StatusCode::NOT_FOUND, "no_service:\nverysecretpath").into_response())).await;
    let config = config(vec![generic(&told.url())]);
    assert_eq!(failure(&config).await, "it answered 404: no_service: …");
    assert_eq!(told.got().len(), 1);
}

#[tokio::test]
async fn tries_are_bounded() {
    let told = Told::answering(|_| Some(StatusCode::BAD_GATEWAY.into_response())).await;
    let mut config = config(vec![generic(&told.url())]);
    config.notifications.retries = 2;
    assert_eq!(failure(&config).await, "it answered 502 (after 3 tries)");
    assert_eq!(told.got().len(), 3);
}

/// The program's own wait would be longer than this test's patience.
#[tokio::test]
async fn the_receivers_own_word_on_when_to_come_back_counts() {
    let told = Told::answering(|number| {
        Some(match number {
            0 => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response(),
            1 => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "Mon, 23 Nov 2020 12:00:00 GMT")])
                .into_response(),
            _ => StatusCode::NO_CONTENT.into_response(),
        })
    })
    .await;
    let mut config = config(vec![generic(&told.url())]);
    config.notifications.retry_delay = Duration::from_secs(3600);
    let trial = try_out(&config, &config.notifications.recipients[0], Kind::RunnerError);
    tokio::time::timeout(PATIENCE, trial.send()).await.expect("it does not wait an hour").unwrap();
    assert_eq!(told.got().len(), 3);
}

#[tokio::test]
async fn nothing_is_sent_elsewhere() {
    let elsewhere = Told::start().await;
    let url = elsewhere.url();
    let told = Told::answering(move |_| {
        Some((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, url.clone())]).into_response())
    })
    .await;
    let why = failure(&config(vec![generic(&told.url())])).await;
    assert!(why.starts_with("it answered 307: ") && why.contains("redirects are not followed"), "{why}");
    assert_eq!((told.got().len(), elsewhere.got().len()), (1, 0));
}

#[tokio::test]
async fn one_that_hangs_or_is_away_is_said_to() {
    let told = Told::hanging().await;
    let mut config = config(vec![generic(&told.url())]);
    config.notifications.recipients[0].timeout = Duration::from_millis(100);
    config.notifications.retries = 1;
    assert_eq!(failure(&config).await, "no answer within 0.1 s (after 2 tries)");
    assert_eq!(told.got().len(), 2);
    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.notifications.recipients = vec![generic(&format!("http://{free}/services/T0000000/verysecretpath"))];
    let why = failure(&config).await;
    assert!(why.starts_with("it cannot be reached: ") && why.contains("refused"), "{why}");
}

#[tokio::test]
async fn telling_is_for_those_who_want_to_know() {
    let (all, some) = (Told::start().await, Told::start().await);
    let mut few = generic(&some.url());
    few.events = [Kind::JobLost].into();
    let mut off = generic(&some.url());
    off.enabled = false;
    let notifier = Notifier::start(&config(vec![generic(&all.url()), few, off]));
    notifier.tell(event(Kind::RunnerError));
    notifier.tell(event(Kind::JobLost));
    notifier.finish(PATIENCE).await;
    let kinds: Vec<_> = all.got().iter().map(|got| got.json()["event_type"].clone()).collect();
    assert_eq!(kinds, ["runner_error", "job_lost"]);
    assert_eq!(some.got().len(), 1);
    // After the end nothing is sent, and nothing breaks.
    notifier.tell(event(Kind::JobLost));
    Notifier::silent().tell(event(Kind::JobLost));
    notifier.finish(PATIENCE).await;
    assert_eq!(some.got().len(), 1);
}

#[tokio::test]
async fn one_that_hangs_keeps_nobody_up() {
    let (hanging, well) = (Told::hanging().await, Told::start().await);
    let notifier = Notifier::start(&config(vec![generic(&hanging.url()), generic(&well.url())]));
    for _ in 0..3 {
        notifier.tell(event(Kind::RunnerError));
    }
    well.until(3).await;
    hanging.until(1).await;
    assert_eq!(hanging.got().len(), 1, "the first is still under way");
    // The end does not wait for it any longer than it is told to.
    tokio::time::timeout(PATIENCE, notifier.finish(Duration::from_millis(50))).await.expect("it ends");
}

#[tokio::test]
async fn a_flood_is_a_few_messages_and_a_digest() {
    let told = Told::start().await;
    let notifier = Notifier::start(&config(vec![generic(&told.url())]));
    for _ in 0..10_000 {
        notifier.tell(event(Kind::RunnerError));
    }
    notifier.finish(PATIENCE).await;
    let got = told.got();
    assert_eq!(got.len(), 6, "five by themselves, and one digest");
    let digest = got[5].json();
    let count = digest["data"]["count"].as_u64().unwrap();
    // The queue is bounded: what it could not hold is not in the digest.
    assert!((995..=9_995).contains(&count), "{count}");
    assert_eq!(digest["data"]["events"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn one_that_always_fails_is_left_alone() {
    let told = Told::answering(|_| Some(StatusCode::GONE.into_response())).await;
    let notifier = Notifier::start(&config(vec![generic(&told.url())]));
    for kind in Kind::ALL {
        notifier.tell(event(*kind));
    }
    notifier.finish(PATIENCE).await;
    assert_eq!(told.got().len(), 5);
}
