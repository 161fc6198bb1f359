//! `scripts/bench load` in short: a crowd comes to `serve`, which is then killed. What it acknowledged is in the store, and its
//! memory stayed within its bound. How long things take is not looked at: this machine may be busy.

use super::wire::{answer, request, try_answer};
use super::{Delivery, Payload, provide_cryptography};
use crate::support::fleet;
use crate::support::process::Serve;
use crate::support::redis::RedisServer;
use futures_util::future::join_all;
use runnerfleet::config::{Backend, Config, GitHubAuth};
use runnerfleet::simulation::keys;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// All that `serve` may have. Bodies alone, were all of them held at once, would be more ([`LARGE`] times 25 MiB).
const MEMORY_MIB: u64 = 250;

/// Connections that bring GitHub's largest body at the same time.
const LARGE: usize = 14;

const CONNECTIONS: u64 = 64;
const DELIVERIES: u64 = 640;
const IDLE: usize = 300;
const SLOW: usize = 50;

async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}

/// Ids of the jobs that were acknowledged, over one connection.
async fn deliver(addr: SocketAddr, ids: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut stream = connect(addr).await;
    let mut taken = Vec::new();
    for id in ids {
        let delivery = Delivery::of(&Payload::job(id).without("steps"));
        stream.write_all(&request(&delivery, "")).await.unwrap();
        let said = answer(&mut stream).await;
        match said.code {
            200 | 202 => taken.push(id),
            503 => stream = connect(addr).await,
            _ => panic!("{said:?}"),
        }
    }
    taken
}

/// GitHub's largest body from many at once. They are one delivery, and each is read and its signature checked.
async fn large(addr: SocketAddr, id: u64) -> Vec<u64> {
    let mut body = Payload::job(id).without("steps").bytes();
    body.pop();
    body.extend_from_slice(br#","filler":""#);
    body.resize((25 << 20) - 2, b'x');
    body.extend_from_slice(br#""}"#);
    let delivery = Delivery::bytes("workflow_job", body);
    let request = request(&delivery, "");
    let sent = (0..LARGE).map(async |_| {
        let (mut from, mut to) = connect(addr).await.into_split();
        // Where there is no room for it the answer comes before all is sent.
        let (_, said) = tokio::join!(to.write_all(&request), try_answer(&mut from));
        said.map(|(_, said)| said.code)
    });
    let codes = join_all(sent).await;
    assert!(codes.iter().all(|code| matches!(code, Some(200 | 202 | 503))), "{codes:?}");
    if codes.iter().any(|code| matches!(code, Some(200 | 202))) { vec![id] } else { Vec::new() }
}

/// Connections that begin something, and do not go on with it.
async fn hang_about(addr: SocketAddr) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..IDLE {
        held.push(connect(addr).await);
    }
    let begun = request(&Delivery::of(&Payload::job(1)), "");
    for number in 0..SLOW {
        let mut stream = connect(addr).await;
        stream.write_all(&begun[..if number % 2 == 0 { 40 } else { 1000 }]).await.unwrap();
        held.push(stream);
    }
    held
}

/// Ids of all jobs that the store or the queue has.
async fn stored(config: &Config) -> BTreeSet<u64> {
    let (queue, store) = runnerfleet::app::open_store(config).unwrap();
    let mut ids: BTreeSet<u64> = store.load().await.unwrap().jobs.keys().map(|job| job.id.0).collect();
    while queue.depth().await.unwrap() > 0 {
        let some = queue.receive(1000).await.unwrap();
        queue.ack(&some.iter().map(|event| event.id.clone()).collect::<Vec<_>>()).await.unwrap();
        ids.extend(some.into_iter().map(|received| received.event.unwrap().event.job.key.id.0));
    }
    ids
}

async fn a_crowd_comes(change: impl FnOnce(&mut Config)) {
    provide_cryptography();
    let folder = tempfile::tempdir().unwrap();
    let mut config = fleet::config(folder.path().to_owned(), "crowd", vec![fleet::pool("linux", &["linux", "x64"])]);
    let private_key = keys::generate().unwrap().private_pem;
    config.github.auth = GitHubAuth::App { issuer: "Iv1.crowd".to_owned(), private_key, installation: None };
    // What is handed out when it is killed comes back soon.
    config.store.visibility_timeout = std::time::Duration::from_secs(1);
    // Nothing is made on this machine's engine, if it has one.
    config.docker.url = Some("unix:///nowhere/docker.sock".to_owned());
    change(&mut config);
    let serve = Serve::start(&config, "serve");
    let addr = serve.addr;

    let held = hang_about(addr).await;
    let lines = (0..CONNECTIONS).map(|line| deliver(addr, (line..DELIVERIES).step_by(64).map(|number| 1000 + number)));
    let (taken, large) = tokio::join!(join_all(lines), large(addr, 999));
    let taken: BTreeSet<u64> = taken.into_iter().flatten().chain(large).collect();
    let memory = serve.peak_mib();
    serve.kill();
    drop(held);

    assert!(taken.len() as u64 > DELIVERIES / 2, "only {} of {DELIVERIES} were taken", taken.len());
    let stored = stored(&config).await;
    let missing: Vec<_> = taken.difference(&stored).collect();
    assert!(missing.is_empty(), "acknowledged and not in the store: {missing:?}");
    assert!(memory < MEMORY_MIB, "{memory} MiB, and the bound is {MEMORY_MIB}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crowd_was_acknowledged_is_stored_and_memory_is_bounded_embedded() {
    a_crowd_comes(|_| ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crowd_was_acknowledged_is_stored_and_memory_is_bounded_redis() {
    let redis = RedisServer::start();
    a_crowd_comes(|config| config.store.backend = Backend::Redis(redis.config())).await;
}
