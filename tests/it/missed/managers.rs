//! Several managers of one fleet, on one Redis.

use super::{Bed, Manager, OVER, PAGES, none_twice, until};
use crate::support::redis::RedisServer;
use runnerfleet::config::Backend;
use runnerfleet::model::HostId;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn two_managers_share_one_reading() {
    let redis = RedisServer::start();
    let bed = Bed::start(|config, _| {
        config.store.backend = Backend::Redis(redis.config());
        config.github.poll_deliveries = Some(Duration::from_secs(600));
    })
    .await;
    let jobs = bed.lose(30, OVER).await;
    let first = bed.manager().await;
    let mut other = bed.config.clone();
    other.host = HostId::new("there");
    let second = Manager::start(&other).await;
    let read_at = |manager: &Manager| manager.missed.report().log.and_then(|log| log.at);
    until("both know of a reading", || read_at(&first).is_some() && read_at(&second).is_some()).await;
    assert_eq!(read_at(&first), read_at(&second), "it was the same one");
    assert_eq!((bed.count(PAGES), first.made_good(), second.made_good()), (1, 30, 30));
    until("the jobs are in the store", || jobs.iter().all(|job| first.is_queued(*job) || second.is_queued(*job))).await;
    none_twice(&bed.fetched());
    first.kill().await;
    second.kill().await;

    let second = Manager::start(&other).await;
    until("it has seen the note", || read_at(&second).is_some()).await;
    assert_eq!(bed.count(PAGES), 1, "a restart alone is no reason to read again");
    bed.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_dies_the_other_reads_on() {
    let redis = RedisServer::start();
    let bed = Bed::start(|config, _| config.store.backend = Backend::Redis(redis.config())).await;
    let first = bed.manager().await;
    let mut other = bed.config.clone();
    other.host = HostId::new("there");
    let second = Manager::start(&other).await;
    bed.lose(2, OVER).await;
    until("they are made good", || first.made_good() == 2).await;
    first.kill().await;
    // In the worst case it died in the middle of a reading, which lapses after a minute.
    let jobs = bed.lose(2, OVER).await;
    second.knows(&jobs).await;
    until("it has done it", || second.made_good() == 4).await;
    none_twice(&bed.fetched());
    bed.finish();
}
