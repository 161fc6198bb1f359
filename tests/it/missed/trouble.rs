//! GitHub is away, or wants to be left alone.

use super::{Bed, OVER, PAGES, PAYLOADS, none_twice, until};
use runnerfleet::simulation::github::{Fault, Limits};
use std::time::Duration;

fn trouble(manager: &super::Manager) -> Option<String> {
    manager.missed.report().log.and_then(|log| log.trouble)
}

#[tokio::test(flavor = "multi_thread")]
async fn away_it_is_waited_for_and_what_was_lost_is_made_good_afterwards() {
    let bed = Bed::start(|_, _| {}).await;
    let jobs = bed.lose(3, OVER).await;
    bed.github.set_down(true);
    let manager = bed.manager().await;
    until("it is told", || trouble(&manager).is_some()).await;
    assert!(trouble(&manager).unwrap().contains("GitHub is not available"), "{:?}", trouble(&manager));
    bed.github.set_down(false);
    manager.knows(&jobs).await;
    until("all is well", || trouble(&manager).is_none()).await;
    bed.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_that_cannot_be_had_now_are_fetched_later_and_those_that_came_are_not_lost() {
    let bed = Bed::start(|_, _| {}).await;
    let jobs = bed.lose(12, OVER).await;
    // Of the four that are fetched at once all three tries fail, and the round ends.
    bed.github.faults().next(PAYLOADS, Fault::status(500), 12);
    let manager = bed.manager().await;
    manager.knows(&jobs).await;
    until("all of them are counted", || manager.made_good() == 12).await;
    none_twice(&bed.fetched());
    bed.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_left_the_log_holds_nothing_up() {
    let bed = Bed::start(|_, _| {}).await;
    let jobs = bed.lose(3, OVER).await;
    bed.github.faults().next(PAYLOADS, Fault::status(404), 1);
    let manager = bed.manager().await;
    until("the others", || jobs.iter().filter(|job| manager.is_queued(**job)).count() == 2).await;
    bed.readings(2).await;
    assert_eq!(bed.count(PAYLOADS), 3, "it is not asked for again");
    bed.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hourly_limit_is_waited_for_and_nothing_is_asked_meanwhile() {
    let window = Duration::from_secs(8);
    let bed = Bed::start(|_, options| options.limits = Limits { core: 1, window, ..Limits::default() }).await;
    let jobs = bed.lose(2, OVER).await;
    let manager = bed.manager().await;
    until("it is told", || trouble(&manager).is_some_and(|why| why.contains("rate limit"))).await;
    let asked = bed.github.exchanges().len();
    assert!(asked <= 2, "{asked}");
    assert_eq!(bed.count(PAGES), 0);
    bed.github.set_limits(Limits { window: Duration::from_secs(3600), ..Limits::default() });
    manager.knows(&jobs).await;
    let refused = bed.github.exchanges().iter().filter(|it| it.status == 403).count();
    assert!(refused <= 1, "{refused} refusals");
    none_twice(&bed.fetched());
    bed.finish();
}
