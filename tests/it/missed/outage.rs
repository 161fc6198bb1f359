//! An hour in which nothing arrived.

use super::{Bed, PAGES, PATIENCE, PAYLOADS, job, none_twice, until};
use runnerfleet::config::IntakeMode;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// The measure of docs/lost-deliveries.md: 500 lost deliveries are in the queue after one reading of the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_with_500_lost_deliveries_is_made_good_in_one_reading() {
    let bed = Bed::start(|config, _| config.github.poll_deliveries = Some(Duration::from_secs(60))).await;
    let jobs = bed.lose(500, HOUR).await;
    let manager = bed.manager().await;
    manager.knows(&jobs).await;
    until("the reading is over", || manager.missed.report().log.is_some_and(|log| log.at.is_some())).await;
    let (pages, payloads, all) = (bed.count(PAGES), bed.count(PAYLOADS), bed.github.exchanges().len());
    println!(
        "500 lost deliveries: {all} calls of GitHub's API ({pages} pages of the log, {payloads} payloads, {} others), \
         in the first reading after the return",
        all - pages - payloads
    );
    assert_eq!(manager.made_good(), 500);
    assert_eq!((pages, payloads), (5, 500), "one reading, which the next one follows after a minute");
    assert!(all <= 510, "{all} calls");
    none_twice(&bed.fetched());
    bed.finish();
}

/// More than a round may fetch: the rest comes with the next ones, and what is new meanwhile is not kept waiting by it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_round_comes_with_the_next_ones() {
    let bed = Bed::start(|_, _| {}).await;
    let jobs = bed.lose(230, HOUR).await;
    let manager = bed.manager().await;
    until("the first round", || manager.made_good() > 0).await;
    assert!(manager.made_good() <= 20, "every second at most so many");
    let late = bed.lose(1, Duration::from_secs(20)).await;
    manager.knows(&late).await;
    manager.knows(&jobs).await;
    none_twice(&bed.fetched());
    bed.finish();
}

/// Ends that were lost end what waits here, and what is over begins nothing.
#[tokio::test(flavor = "multi_thread")]
async fn lost_ends_are_made_good_as_well() {
    let bed = Bed::start(|_, _| {}).await;
    let cancelled = bed.github.queue_job(job());
    bed.github.cancel(cancelled);
    let ran = bed.github.queue_job(job().lasting(Duration::from_millis(1)));
    let acme = runnerfleet::model::Scope::Organization("acme".to_owned());
    bed.github.add_foreign_runner(&acme, "other-1", ["linux"], true).unwrap();
    assert!(bed.github.steal(ran, "other-1"));
    bed.github.wait_for_job(ran, PATIENCE).await.unwrap();
    bed.github.webhooks_settled(PATIENCE).await.unwrap();
    bed.github.backdate(HOUR);
    let manager = bed.manager().await;
    for job in [cancelled, ran] {
        until("its end", || manager.memory.job(job).1.is_some_and(|job| job.is_over())).await;
        assert_eq!(manager.memory.job(job).1.unwrap().queued_at, None, "it never was demand");
    }
    assert_eq!(manager.state(ran).unwrap().runner().map(ToString::to_string).as_deref(), Some("other-1"));
    bed.finish();
}

/// The measure of docs/lost-deliveries.md: what the intake by GitHub's log costs. Each job comes right after a reading, so each
/// waits for the longest time that there is.
#[tokio::test(flavor = "multi_thread")]
async fn what_pull_costs() {
    let every = Duration::from_secs(2);
    let bed = Bed::start(|config, _| {
        config.intake.mode = IntakeMode::Pull;
        config.intake.secrets.clear();
        config.github.poll_deliveries = Some(every);
    })
    .await;
    let manager = bed.manager().await;
    bed.readings(1).await;
    let before = bed.count(PAGES);
    let mut longest = Duration::ZERO;
    for _ in 0..6 {
        let began = Instant::now();
        let job = bed.github.queue_job(job());
        manager.knows(&[job]).await;
        longest = longest.max(began.elapsed());
    }
    let readings = bed.count(PAGES) - before;
    println!(
        "6 jobs with a reading every {} s: {readings} readings of a page each, {} payloads; the longest wait until a job is \
         known was {} ms",
        every.as_secs(),
        bed.count(PAYLOADS),
        longest.as_millis()
    );
    assert_eq!(bed.count(PAYLOADS), 6, "a payload for each delivery, and no other call for it");
    none_twice(&bed.fetched());
    bed.finish();
}
