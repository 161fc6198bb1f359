//! The store, looked at without being touched.

use super::{hub, look, set};
use crate::support::redis::RedisServer;
use runnerfleet::durable::embedded;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_file_in_each_colour() {
    let hub = hub().await;
    let path = hub.path("data/fleet.redb");
    look(&hub).await.holds("store.available", "ok");
    assert!(!path.exists(), "looking makes nothing");

    let db = embedded::open(&path, Duration::from_secs(60)).unwrap();
    let told = look(&hub).await;
    told.holds("store.available", "warning");
    assert!(told.says("store.available").contains(&format!("process {}", std::process::id())), "{:?}", told.rows);
    drop(db);
    let before = std::fs::read(&path).unwrap();
    look(&hub).await.holds("store.available", "ok");
    assert_eq!(std::fs::read(&path).unwrap(), before, "looking changes nothing");
    look(&hub).await.holds("store.durability", "ok");
    look(&hub).await.holds("store.disk", "ok");

    std::fs::write(&path, "not a database").unwrap();
    let told = look(&hub).await;
    told.holds("store.available", "broken");
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_in_each_colour() {
    let hub = hub().await;
    let mut redis = RedisServer::down();
    let url = format!("redis://127.0.0.1:{}/0", redis.port());
    set(&hub, "/queue", serde_json::json!({ "backend": "redis", "redis": { "url": url } }));
    let told = look(&hub).await;
    told.holds("store.available", "broken");
    told.holds("store.eviction", "not_looked");

    redis.up();
    let told = look(&hub).await;
    for id in ["store.available", "store.durability", "store.eviction"] {
        told.holds(id, "ok");
    }
    assert!(redis.ask("DBSIZE").contains(":0"), "nothing is written");

    for command in ["CONFIG SET appendonly no", "CONFIG SET maxmemory 100mb", "CONFIG SET maxmemory-policy allkeys-lru"]
    {
        assert!(redis.ask(command).contains("+OK"), "{command}");
    }
    let told = look(&hub).await;
    told.holds("store.durability", "warning");
    assert!(told.remedy("store.durability").contains("appendonly yes"));
    told.holds("store.eviction", "broken");
    assert!(told.remedy("store.eviction").contains("noeviction"));
}
