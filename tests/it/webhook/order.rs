use super::{Delivery, Door, Payload, RedisServer};
use runnerfleet::model::{JobState, PoolName, RunnerName};
use serde_json::json;

/// The three events of one job.
fn life(id: u64) -> [Payload; 3] {
    let job = Payload::job(id);
    [job.clone(), job.clone().in_progress("linux-1"), job.in_progress("linux-1").completed("success")]
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Delivers each order of a job's events, one by one or all at once, with each event twice under another GUID.
async fn every_order_ends_in_completed(mut door: Door) {
    let success = JobState::Completed { conclusion: "success".into(), runner: Some(RunnerName::new("linux-1")) };
    // Events that wait for ingest together are applied together; events that come one by one are not.
    for (from, together) in [(100, true), (200, false)] {
        if !together {
            door.ingest();
        }
        for (id, order) in (from..).zip(ORDERS) {
            let life = life(id);
            for place in order {
                door.queued(&life[place]).await;
                let again = Delivery::of(&life[place]).header("x-github-delivery", format!("again-{id}-{place}"));
                door.deliver(&again).await.is(202, "queued", "");
                if !together {
                    door.settled().await;
                }
            }
        }
        if together {
            door.ingest();
            door.settled().await;
        }
        for (id, order) in (from..).zip(ORDERS) {
            let (_, job) = door.job(id, 1).await.unwrap();
            assert_eq!(job.state, success, "{order:?}, together: {together}");
            assert_eq!(job.pool.as_ref().map(PoolName::as_str), Some("linux"));
            // A `queued` that comes late is no demand.
            assert_eq!(job.queued_at.is_some(), order[0] == 0, "{order:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_events_in_any_order_end_in_completed_embedded() {
    every_order_ends_in_completed(Door::open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_events_in_any_order_end_in_completed_redis() {
    let redis = RedisServer::start();
    every_order_ends_in_completed(Door::open_on(&redis).await).await;
}

#[tokio::test]
async fn a_job_that_was_approved_becomes_demand() {
    let mut door = Door::open().await;
    door.ingest();
    let job = Payload::job(1);
    door.queued(&job.clone().status("waiting")).await;
    door.settled().await;
    let (_, waiting) = door.job(1, 1).await.unwrap();
    assert_eq!((waiting.state, waiting.queued_at), (JobState::Waiting, None));
    door.queued(&job.clone().action("waiting")).await;
    door.queued(&job).await;
    door.settled().await;
    let (version, queued) = door.job(1, 1).await.unwrap();
    assert!(queued.is_queued() && queued.queued_at.is_some());
    assert_eq!(version, 2, "the second `waiting` was no news");
}

#[tokio::test]
async fn a_run_that_is_started_again_leaves_the_first_attempt_as_it_was() {
    let mut door = Door::open().await;
    door.ingest();
    let first = Payload::job(1).in_progress("linux-1").completed("failure");
    door.queued(&first).await;
    door.settled().await;
    let before = door.job(1, 1).await.unwrap();
    // GitHub sends old events again with a re-run.
    door.deliver(&Delivery::of(&first).header("x-github-delivery", "resent")).await.is(202, "queued", "");
    door.queued(&Payload::job(1).attempt(2)).await;
    door.settled().await;
    assert_eq!(door.job(1, 1).await.unwrap(), before);
    let (_, second) = door.job(1, 2).await.unwrap();
    assert!(second.is_queued(), "the second attempt is demand");
    door.deliver(&Delivery::of(&first).header("x-github-delivery", "resent again")).await.is(202, "queued", "");
    door.settled().await;
    assert!(door.job(1, 2).await.unwrap().1.is_queued(), "and no old event ends it");
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_queued_keeps_what_its_last_event_does_not_say() {
    let mut door = Door::open().await;
    door.ingest();
    door.queued(&Payload::job(1)).await;
    door.settled().await;
    let over = Payload::job(1).completed("cancelled").labels(&[]).job_field("runner_id", json!(0));
    door.queued(&over).await;
    // And one that nobody has heard of before.
    door.queued(&Payload::job(2).completed("skipped").labels(&[])).await;
    door.settled().await;
    let (_, known) = door.job(1, 1).await.unwrap();
    assert_eq!(known.state, JobState::Completed { conclusion: "cancelled".into(), runner: None });
    assert_eq!(known.facts.labels.to_vec(), ["linux"]);
    assert_eq!(known.pool.as_ref().map(PoolName::as_str), Some("linux"));
    let (_, unknown) = door.job(2, 1).await.unwrap();
    assert!(unknown.is_over() && unknown.pool.is_none());
}

#[tokio::test]
async fn a_second_ingest_that_knows_nothing_yet_changes_nothing() {
    let mut door = Door::open().await;
    door.ingest();
    let [queued, _, completed] = life(1);
    door.queued(&completed).await;
    door.settled().await;
    let before = door.job(1, 1).await.unwrap();
    let mut door = door.restarted().await;
    // Its memory is empty, so it takes the job for new; the store knows better.
    door.ingest();
    door.queued(&queued).await;
    door.settled().await;
    assert_eq!(door.job(1, 1).await.unwrap(), before);
}
