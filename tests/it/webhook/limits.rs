use super::refusals::speak;
use super::wire::{answer, ask, closed, head, request, try_answer};
use super::{Delivery, Door, Payload, SOON, until};
use futures_util::future::join_all;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const SHORT: Duration = Duration::from_millis(400);

fn job(id: u64) -> Delivery {
    Delivery::of(&Payload::job(id).without("steps"))
}

async fn connect(door: &Door) -> TcpStream {
    TcpStream::connect(door.addr).await.unwrap()
}

/// GETs with a connection of its own.
async fn get(addr: SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: fleet\r\n\r\n").as_bytes()).await.unwrap();
    answer(&mut stream).await.code
}

#[tokio::test]
async fn a_head_that_dribbles_in_and_a_connection_that_says_nothing_are_closed() {
    let door = Door::open_with(|config| config.http.limits.header_timeout = SHORT).await;
    let mut silent = connect(&door).await;
    let (mut from, mut to) = connect(&door).await.into_split();
    // Each byte comes soon after the last one; it is the whole that takes too long.
    let dribble = tokio::spawn(async move {
        let head = b"POST /webhook HTTP/1.1\r\nx-slow: ".iter().chain(std::iter::repeat(&b'x'));
        for byte in head {
            if to.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(closed(&mut silent).await, b"");
    assert_eq!(closed(&mut from).await, b"");
    tokio::time::timeout(SOON, dribble).await.expect("nobody listens to it").unwrap();
    // A connection that has been used is not measured by its silence between two requests.
    let mut kept = connect(&door).await;
    ask(&mut kept, &request(&job(1), "")).await.is(202, "queued", "");
    let other = async { assert_eq!(closed(&mut connect(&door).await).await, b"") };
    other.await;
    ask(&mut kept, &request(&job(2), "")).await.is(202, "queued", "");
}

#[tokio::test]
async fn a_body_that_hardly_moves_is_given_up_before_its_time_is_over() {
    let door = Door::open_with(|config| config.http.limits.body_timeout = Duration::from_secs(4 * 3600)).await;
    let slow = Door::open_with(|config| config.http.limits.body_timeout = SHORT * 4).await;
    for (at, expected) in [(&slow, Some(408)), (&door, None)] {
        let (mut from, mut to) = speak(at, "content-length: 100000").await.into_split();
        let dribble = tokio::spawn(async move {
            while to.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        match expected {
            Some(code) => answer(&mut from).await.is(code, "refused", "the body took too long"),
            // An hour is the window here: nothing has been decided yet, and others are served.
            None => at.queued(&Payload::job(1)).await,
        }
        dribble.abort();
    }
    until("its room is free again", async || (slow.parts().bodies.reserved() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let door = Door::open().await;
    let mut stream = connect(&door).await;
    let head = format!("POST /webhook HTTP/1.1\r\nx-long: {}", "x".repeat(64 * 1024));
    let _ = stream.write_all(head.as_bytes()).await;
    let said = closed(&mut stream).await;
    assert!(said.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_silent_connections_do_not_keep_deliveries_out_for_long() {
    let door = Door::open_with(|config| {
        config.http.limits.connections = 100;
        config.http.limits.header_timeout = Duration::from_secs(2);
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..2000 {
        silent.push(connect(&door).await);
    }
    // All but those that had a seat are closed at once, and those after their time.
    join_all(silent.iter_mut().map(closed)).await;
    let taken = until("a delivery is taken", async || {
        let mut stream = connect(&door).await;
        stream.write_all(&request(&job(1), "")).await.ok()?;
        try_answer(&mut stream).await.filter(|(_, answer)| answer.code != 503)
    });
    taken.await.1.is(202, "queued", "");
}

#[tokio::test]
async fn one_client_has_so_many_connections_and_the_next_one_is_told() {
    let door = Door::open_with(|config| config.http.limits.connections_per_address = 2).await;
    let mut held = [connect(&door).await, connect(&door).await];
    for (id, stream) in (1..).zip(&mut held) {
        ask(stream, &request(&job(id), "")).await.is(202, "queued", "");
    }
    let mut third = connect(&door).await;
    third.write_all(&request(&job(3), "")).await.unwrap();
    let (head, refused) = try_answer(&mut third).await.expect("it is told");
    refused.is(503, "unavailable", "http.limits.connections_per_address");
    assert!(head.contains("retry-after: ") && head.contains("connection: close"), "{head}");
    assert_eq!(closed(&mut third).await, b"");
    // Whoever watches the program has an answer all the same.
    assert_eq!((get(door.addr, "/healthz").await, get(door.addr, "/readyz").await), (200, 200));
    drop(held);
    let taken = until("there is a seat again", async || {
        let answer = ask(&mut connect(&door).await, &request(&job(3), "")).await;
        (answer.code != 503).then_some(answer)
    });
    taken.await.is(202, "queued", "");
}

#[tokio::test]
async fn all_clients_together_have_so_many_connections() {
    let door = Door::open_with(|config| config.http.limits.connections = 1).await;
    let mut held = connect(&door).await;
    ask(&mut held, &request(&job(1), "")).await.is(202, "queued", "");
    let refused = ask(&mut connect(&door).await, &request(&job(2), "")).await;
    refused.is(503, "unavailable", "all connections of the receiver are taken (http.limits.connections)");
    assert_eq!(get(door.addr, "/healthz").await, 200);
    ask(&mut held, &request(&job(2), "")).await.is(202, "queued", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_bodies_of_many_share_the_room_that_there_is() {
    const LARGEST: usize = 25 << 20;
    let door = Door::open_with(|config| config.http.limits.body_timeout = Duration::from_secs(3)).await;
    let door = Arc::new(door);
    let delivery = Arc::new(job(1));
    let mut senders = JoinSet::new();
    for _ in 0..32 {
        let (door, delivery) = (door.clone(), delivery.clone());
        senders.spawn(async move {
            let (mut from, mut to) = connect(&door).await.into_split();
            let sending = tokio::spawn(async move {
                to.write_all(head(&delivery, LARGEST, "").as_bytes()).await.ok()?;
                let chunk = vec![b' '; 1 << 20];
                for _ in 0..24 {
                    to.write_all(&chunk).await.ok()?;
                }
                // The last megabyte never comes.
                Some(to)
            });
            let answer = answer(&mut from).await;
            let _ = sending.await;
            answer
        });
    }
    let bodies = &door.parts().bodies;
    until("all room for large bodies is taken", async || (bodies.reserved() >= 2 * LARGEST as u64).then_some(())).await;
    // Meanwhile what GitHub sends goes through, and the probes answer.
    door.deliver(&job(1)).await.is(202, "queued", "");
    assert_eq!((get(door.addr, "/healthz").await, get(door.addr, "/readyz").await), (200, 200));
    let mut codes: Vec<u16> = senders.join_all().await.iter().map(|answer| answer.code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, [408, 503], "those with room were too slow, and the others had none");
    assert!(bodies.peak() <= bodies.room(), "{} of {} bytes", bodies.peak(), bodies.room());
    assert!(bodies.room() < 3 * LARGEST as u64, "{} bytes", bodies.room());
    until("all room is free again", async || (bodies.reserved() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_its_answer() {
    let door = Door::open().await;
    let mut whole = connect(&door).await;
    whole.write_all(&request(&job(1), "")).await.unwrap();
    whole.shutdown().await.unwrap();
    answer(&mut whole).await.is(202, "queued", "");
    assert_eq!(closed(&mut whole).await, b"");

    let mut within_the_head = connect(&door).await;
    within_the_head.write_all(b"POST /webhook HTTP/1.1\r\nhost:").await.unwrap();
    within_the_head.shutdown().await.unwrap();
    closed(&mut within_the_head).await;

    let mut within_the_body = connect(&door).await;
    let all = request(&job(2), "");
    within_the_body.write_all(&all[..all.len() - 1]).await.unwrap();
    within_the_body.shutdown().await.unwrap();
    let said = String::from_utf8(closed(&mut within_the_body).await).unwrap();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{said}");
    let mut stored = door.stored().await;
    assert_eq!(stored.pop().map(|stored| stored.event.job.key.id.0), Some(1));
    assert!(stored.is_empty(), "of half a body nothing is stored");
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_nobody_else_notices() {
    let door = Door::open().await;
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"SSH-2.0-x\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"\r\n"]
    {
        let mut stream = connect(&door).await;
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let said = closed(&mut stream).await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{said:?}");
    }
    door.queued(&Payload::job(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_while_it_stopped_is_stored() {
    let mut door = Door::open().await;
    let addr = door.addr;
    let silent = connect(&door).await;
    let mut idle = connect(&door).await;
    ask(&mut idle, &request(&job(1), "")).await.is(202, "queued", "");
    let (count, mut counted) = tokio::sync::watch::channel(0);
    let mut senders = JoinSet::new();
    for sender in 1..=8_u64 {
        let count = count.clone();
        senders.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let id = sender * 1_000_000 + number;
                let Ok(mut stream) = TcpStream::connect(addr).await else { break };
                if stream.write_all(&request(&job(id), "")).await.is_err() {
                    break;
                }
                let Some((_, answer)) = try_answer(&mut stream).await else { break };
                assert_eq!(answer.code, 202, "{answer:?}");
                acknowledged.push(id);
                count.send_modify(|count| *count += 1);
            }
            acknowledged
        });
    }
    // In the middle of it.
    tokio::time::timeout(SOON, counted.wait_for(|count| *count > 50)).await.expect("deliveries go through").unwrap();
    let parts = door.parts.as_mut().unwrap();
    parts.stop.cancel();
    tokio::time::timeout(SOON, &mut parts.server).await.expect("it ends").unwrap();
    let acknowledged: Vec<u64> = senders.join_all().await.into_iter().flatten().chain([1]).collect();
    assert!(closed(&mut idle).await.is_empty());
    drop(silent);
    let stored: Vec<u64> = door.stored().await.iter().map(|stored| stored.event.job.key.id.0).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
}
