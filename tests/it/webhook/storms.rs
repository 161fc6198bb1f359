use super::{Delivery, Door, Payload, RedisServer, until};
use futures_util::StreamExt;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_the_answer_is_503_and_afterwards_the_same_delivery_is_taken() {
    let mut redis = RedisServer::start();
    let mut door = Door::open_on(&redis).await;
    door.ingest();
    door.queued(&Payload::job(1)).await;
    door.settled().await;

    redis.kill();
    let late = Delivery::of(&Payload::job(2));
    let answer = door.deliver(&late).await;
    answer.is(503, "unavailable", "the queue is not available: redis");
    let others: Vec<_> = (3..20).map(|id| Delivery::of(&Payload::job(id))).collect();
    assert_eq!(deliver_all(&door, &others, 17).await, [503; 17]);
    let health = door.client.get(format!("http://{}/healthz", door.addr)).send().await.unwrap();
    assert_eq!(health.status(), 200, "the process itself is well");

    redis.up();
    let taken = until("the delivery is taken", async || {
        let answer = door.deliver(&late).await;
        (answer.code != 503).then_some(answer)
    });
    taken.await.is(202, "queued", "");
    door.deliver(&late).await.is(200, "repeated", "taken before");
    door.settled().await;
    assert!(door.job(2, 1).await.unwrap().1.is_queued(), "ingest has found its way back too");
    assert!(door.job(1, 1).await.unwrap().1.is_queued(), "what was there before the fall is still there");
    assert_eq!(door.job(3, 1).await, None, "what was answered with 503 is GitHub's to send again");
}

/// Delivers all, so many at once, and hands back the codes of the answers.
async fn deliver_all(door: &Door, deliveries: &[Delivery], at_once: usize) -> Vec<u16> {
    let deliver = async |delivery: &Delivery| door.deliver(delivery).await.code;
    futures_util::stream::iter(deliveries).map(deliver).buffer_unordered(at_once).collect().await
}

fn jobs(count: u64) -> Vec<Delivery> {
    (1..=count).map(|id| Delivery::of(&Payload::job(id).without("steps"))).collect()
}

async fn a_thousand_are_a_thousand_events(door: &Door, at_once: usize) {
    let codes = deliver_all(door, &jobs(1000), at_once).await;
    assert_eq!(codes, [202; 1000]);
    let stored: Vec<u64> = door.stored().await.iter().map(|stored| stored.event.job.key.id.0).collect();
    assert_eq!(stored.len(), 1000);
    assert_eq!(BTreeSet::from_iter(stored), (1..=1000).collect());
}

async fn each_five_times_is_one_event_each(door: &Door, at_once: usize) {
    let jobs = jobs(60);
    let repeated: Vec<_> = jobs.iter().flat_map(|job| std::iter::repeat_n(job.clone(), 5)).collect();
    let mut codes = deliver_all(door, &repeated, at_once).await;
    codes.sort_unstable();
    assert_eq!(codes, [[200; 240].as_slice(), &[202; 60]].concat());
    assert_eq!(door.stored().await.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_deliveries_at_once_are_a_thousand_events_embedded() {
    a_thousand_are_a_thousand_events(&Door::open().await, 1000).await;
}

// Redis must answer within 3 s. With a thousand requests at once a build for tests does not get round to all of its
// answers in that time on a small machine, and then says 503, as it should.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_deliveries_at_once_are_a_thousand_events_redis() {
    let redis = RedisServer::start();
    a_thousand_are_a_thousand_events(&Door::open_on(&redis).await, 64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_are_repeated_at_the_same_time_are_one_event_each_embedded() {
    each_five_times_is_one_event_each(&Door::open().await, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_are_repeated_at_the_same_time_are_one_event_each_redis() {
    let redis = RedisServer::start();
    each_five_times_is_one_event_each(&Door::open_on(&redis).await, 64).await;
}
