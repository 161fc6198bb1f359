//! Jobs of which GitHub sent nothing at all, found in its lists.

use super::{Bed, OVER, PAGES, RUNS, job, until};
use runnerfleet::config::Config;
use runnerfleet::model::{JobState, Scope};
use runnerfleet::simulation::github::{JobSpec, Limits, Options, WebhookFault};
use std::time::Duration;

async fn bed(change: impl FnOnce(&mut Config, &mut Options)) -> Bed {
    Bed::start(|config, options| {
        config.github.poll_deliveries = None;
        config.github.poll_jobs = Some(Duration::from_secs(1));
        // Enough for a look each second.
        options.limits = Limits { core: 1_000_000, ..Limits::default() };
        change(config, options);
    })
    .await
}

fn made_good(manager: &super::Manager) -> u64 {
    manager.missed.report().jobs.map_or(0, |jobs| jobs.made_good)
}

/// Until so many rounds of lists were asked for since now; a round asks twice for each repository.
async fn rounds(bed: &Bed, more: usize) {
    let wanted = bed.github.requests(RUNS).len() + 2 * more;
    until(&format!("{more} rounds"), || bed.github.requests(RUNS).len() >= wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_which_nothing_was_sent_is_found_and_lists_that_are_the_same_cost_nothing() {
    let bed = bed(|_, _| {}).await;
    bed.github.next_webhooks(100, None, WebhookFault::NeverSent);
    let first = bed.github.queue_job(job());
    let run = bed.github.job(first).unwrap().run_id;
    let second = bed.github.queue_job(job().named("test").in_run(run));
    bed.github.backdate(OVER);
    assert!(bed.github.deliveries().is_empty());
    let manager = bed.manager().await;
    manager.knows(&[first, second]).await;
    assert_eq!(manager.memory.job(first).1.unwrap().facts.private, Some(true));
    rounds(&bed, 3).await;
    let same = |path: &str| {
        let exchanges = bed.github.exchanges();
        let of_it: Vec<u16> = exchanges.iter().filter(|it| it.path.ends_with(path)).map(|it| it.status).collect();
        (of_it.iter().filter(|status| **status == 200).count(), of_it.iter().filter(|status| **status == 304).count())
    };
    assert_eq!(same("/jobs").0, 1, "{:?}", same("/jobs"));
    assert!(same("/jobs").1 >= 2 && same("/runs").1 >= 4, "{:?}", same("/runs"));
    // One more in the same run changes the list.
    let third = bed.github.queue_job(job().named("late").in_run(run));
    rounds(&bed, 2).await;
    assert!(!manager.is_queued(third), "its delivery may be on its way");
    bed.github.backdate(OVER);
    manager.knows(&[third]).await;
    until("they are counted", || made_good(&manager) == 3).await;
    assert_eq!(bed.count(PAGES), 0);
    bed.finish();
}

/// What began and what ended is told by two looks in a row, and only of jobs that are known.
#[tokio::test(flavor = "multi_thread")]
async fn lost_beginnings_and_ends_are_found_too() {
    let bed = bed(|_, _| {}).await;
    bed.github.next_webhooks(100, None, WebhookFault::NeverSent);
    let one = bed.github.queue_job(job().lasting(Duration::from_secs(3600)));
    let run = bed.github.job(one).unwrap().run_id;
    let other = bed.github.queue_job(job().named("test").in_run(run).lasting(Duration::from_secs(3600)));
    bed.github.backdate(OVER);
    let manager = bed.manager().await;
    manager.knows(&[one, other]).await;
    let acme = Scope::Organization("acme".to_owned());
    bed.github.add_foreign_runner(&acme, "other-1", ["linux"], true).unwrap();
    assert!(bed.github.steal(one, "other-1"));
    bed.github.cancel(other);
    until("its beginning", || {
        matches!(manager.state(one), Some(JobState::InProgress { runner: Some(name) }) if name.as_str() == "other-1")
    })
    .await;
    until("its end", || matches!(manager.state(other), Some(JobState::Completed { .. }))).await;
    bed.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_public_repository_is_as_little_served_as_if_it_had_been_told() {
    let bed = bed(|_, _| {}).await;
    bed.github.next_webhooks(100, None, WebhookFault::NeverSent);
    let job = bed.github.queue_job(JobSpec::new("acme/site", ["linux"]));
    bed.github.queue_job(JobSpec::new("acme/web", ["windows"]));
    bed.github.backdate(OVER);
    let manager = bed.manager().await;
    until("it is known", || manager.memory.job(job).1.is_some()).await;
    let row = manager.memory.job(job).1.unwrap();
    assert_eq!((row.facts.private, row.pool.as_ref()), (Some(false), None));
    rounds(&bed, 2).await;
    assert_eq!(made_good(&manager), 1, "no pool has a label of the other one");
    bed.finish();
}

/// A quarter of what is left, spread over the time until it is full again: of 400 in an hour 16 at the start, as in ten minutes.
#[tokio::test(flavor = "multi_thread")]
async fn lists_take_no_more_than_their_share_of_the_limit() {
    let bed = bed(|_, options| options.limits = Limits { core: 400, ..Limits::default() }).await;
    bed.github.next_webhooks(200, None, WebhookFault::NeverSent);
    for _ in 0..60 {
        bed.github.queue_job(job());
    }
    bed.github.backdate(OVER);
    let manager = bed.manager().await;
    until("some are found", || made_good(&manager) > 0).await;
    let first = manager.missed.report().jobs.and_then(|jobs| jobs.at);
    until("later rounds", || manager.missed.report().jobs.is_some_and(|jobs| jobs.at > first)).await;
    let asked = bed.github.requests("GET /repos/acme/web/actions/").len();
    assert!((10..=16).contains(&asked), "{asked}");
    assert_eq!(made_good(&manager), asked as u64 - 2, "the two lists, and a run each");
    bed.finish();
}
