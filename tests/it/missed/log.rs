//! Which entries of the log are fetched, and how far it is read.

use super::{Bed, OVER, PAGES, PATIENCE, PAYLOADS, job, none_twice, until};
use crate::support::hub::Listener;
use runnerfleet::model::DeliveryId;
use runnerfleet::queue::{Pushed, QueuedEvent};
use runnerfleet::simulation::github::{Fault, JobSpec, Limits};
use runnerfleet::webhook::{Verdict, judge};
use std::time::Duration;

/// What a delivery would have brought, had it arrived.
fn as_if_it_arrived(bed: &Bed, guid: &str) -> QueuedEvent {
    let delivery = bed.github.deliveries().into_iter().find(|it| it.guid == guid).unwrap();
    let Ok(Verdict::Take(event)) = judge(&delivery.event, &delivery.payload, &bed.config) else { panic!("it is ours") };
    let hook = delivery.request_headers.iter().find(|(name, _)| name == "X-GitHub-Hook-ID").unwrap().1.clone();
    QueuedEvent {
        delivery: DeliveryId { hook, guid: guid.to_owned() },
        received_at: runnerfleet::clock::now(),
        event: *event,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_though_its_attempt_failed_is_not_fetched() {
    let bed = Bed::start(|_, _| {}).await;
    let first = bed.lose(1, OVER).await;
    let manager = bed.manager().await;
    manager.knows(&first).await;
    // GitHub's time was over before our answer came.
    let second = bed.github.queue_job(job());
    bed.github.webhooks_settled(PATIENCE).await.unwrap();
    let guid = bed.github.deliveries().last().unwrap().guid.clone();
    assert_eq!(manager.queue.push(as_if_it_arrived(&bed, &guid)).await.unwrap(), Pushed::New);
    bed.github.backdate(OVER);
    manager.knows(&[second]).await;
    bed.readings(2).await;
    assert_eq!((bed.count(PAYLOADS), manager.made_good()), (1, 1));
    // GitHub sends it again by hand: the same delivery.
    bed.github.redeliver(&guid);
    bed.github.webhooks_settled(PATIENCE).await.unwrap();
    bed.github.backdate(OVER);
    bed.readings(2).await;
    assert_eq!(bed.count(PAYLOADS), 1);
    bed.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_took_is_not_fetched() {
    let bed = Bed::start(|_, _| {}).await;
    let lost = bed.lose(1, OVER).await;
    let listener = Listener::start().await;
    bed.github.set_webhook(&listener.url, None);
    // One that arrives, and one that arrives at its second attempt.
    bed.lose(1, OVER).await;
    bed.github.set_webhook("http://127.0.0.1:9/webhook", None);
    bed.lose(1, OVER).await;
    bed.github.set_webhook(&listener.url, None);
    let again = bed.github.deliveries().last().unwrap().guid.clone();
    bed.github.redeliver(&again);
    bed.github.webhooks_settled(PATIENCE).await.unwrap();
    bed.github.backdate(OVER);
    let manager = bed.manager().await;
    manager.knows(&lost).await;
    bed.readings(2).await;
    assert_eq!((bed.count(PAYLOADS), manager.made_good()), (1, 1));
    bed.finish();
}

/// With `intake: pull` nobody here had it, however the attempt went; and one of a moment ago is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn with_pull_every_delivery_is_fetched_at_once() {
    let bed = Bed::start(|config, _| {
        config.intake.mode = runnerfleet::config::IntakeMode::Pull;
        config.intake.secrets.clear();
    })
    .await;
    let manager = bed.manager().await;
    let listener = Listener::start().await;
    let lost = bed.lose(1, Duration::ZERO).await;
    bed.github.set_webhook(&listener.url, None);
    let taken_elsewhere = bed.lose(1, Duration::ZERO).await;
    manager.knows(&[lost[0], taken_elsewhere[0]]).await;
    bed.github.cancel(lost[0]);
    until("its end", || manager.memory.job(lost[0]).1.is_some_and(|job| job.is_over())).await;
    bed.readings(2).await;
    none_twice(&bed.fetched());
    assert_eq!(bed.count(PAYLOADS), 3);
    bed.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_none_of_ours_is_fetched_once_or_not_at_all() {
    let bed = Bed::start(|config, options| {
        // A second organization with the App, and no pool for it.
        options.accounts[1].installation = Some(runnerfleet::simulation::github::Installation::usual(1003));
        // Of acme only one repository.
        config.pools[0].scope = runnerfleet::model::Scope::try_from("acme/web".to_owned()).unwrap();
    })
    .await;
    bed.github.queue_job(JobSpec::new("acme/web", ["windows"]));
    for _ in 0..2 {
        bed.github.queue_job(JobSpec::new("octo/tool", ["linux"]));
        bed.github.queue_job(JobSpec::new("other/thing", ["linux"]));
    }
    bed.github.queue_job(JobSpec::new("acme/api", ["linux"]));
    bed.github.ping();
    let ours = bed.lose(1, OVER).await;
    let manager = bed.manager().await;
    manager.knows(&ours).await;
    bed.readings(3).await;
    assert_eq!(bed.count(PAYLOADS), 3, "one of ours, one with other labels, one of another repository");
    // By now that repository is known to be none of ours.
    bed.github.queue_job(JobSpec::new("acme/api", ["linux"]));
    bed.lose(1, OVER).await;
    bed.readings(3).await;
    assert_eq!(bed.count(PAYLOADS), 4);
    assert_eq!(manager.made_good(), 2);
    bed.finish();
}

/// The limit ends the first manager's reading in the middle of a page; it dies, and another goes on with what is written down.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_was_cut_off_goes_on_where_it_was() {
    let bed = Bed::start(|config, options| {
        config.github.poll_deliveries = Some(Duration::from_secs(4));
        // In little time, or the next reading would be saved up for.
        options.limits = Limits { core: 64, window: Duration::from_secs(15), ..Limits::default() };
    })
    .await;
    let jobs = bed.lose(150, Duration::from_secs(3600)).await;
    let manager = bed.manager().await;
    // Half of what is left, as the first answers told.
    until("what the limit lets through", || manager.made_good() >= 25).await;
    let done = manager.made_good();
    assert!(done <= 32, "{done}");
    manager.kill().await;
    bed.github.set_limits(Limits::default());
    let manager = bed.manager().await;
    manager.knows(&jobs).await;
    until("all of them are counted", || manager.made_good() == 150).await;
    none_twice(&bed.fetched());
    assert!(bed.count(PAGES) <= 14, "{} pages", bed.count(PAGES));
    bed.finish();
}

/// GitHub gives up a place in its log: it is looked for from the newest page on.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_the_log_that_is_lost_is_found_again() {
    let bed = Bed::start(|config, _| config.github.poll_deliveries = Some(Duration::from_secs(60))).await;
    let jobs = bed.lose(250, Duration::from_secs(3600)).await;
    // The first page comes; the answer to the second question is a refusal.
    let github = &bed.github;
    let manager = {
        let late = Fault::late(Duration::from_millis(300));
        github.faults().next("GET /app/hook/deliveries", late, 1);
        github.faults().next("GET /app/hook/deliveries/{delivery_id}", Fault::default(), 100);
        github.faults().next("GET /app/hook/deliveries", Fault::status(422), 1);
        bed.manager().await
    };
    manager.knows(&jobs).await;
    none_twice(&bed.fetched());
    assert!(bed.github.exchanges().iter().any(|it| it.status == 422));
    bed.finish();
}
