use super::refusals::speak;
use super::wire::{ask, head, request};
use super::{Delivery, Door, Payload};
use runnerfleet::config::{Config, Sources};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn job(id: u64) -> Delivery {
    Delivery::of(&Payload::job(id).without("steps"))
}

/// Takes deliveries of one network alone, so that the answer tells whom the receiver took the sender for.
fn from_one_network(config: &mut Config) {
    config.intake.sources = Sources::Networks(vec!["203.0.113.0/24".parse().unwrap()]);
}

fn behind_this_machine(config: &mut Config) {
    config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_is_not_believed() {
    let door = Door::open_with(from_one_network).await;
    for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        for value in ["203.0.113.9", "for=203.0.113.9", "203.0.113.9, 127.0.0.1"] {
            let answer = door.deliver(&job(1).header(name, value)).await;
            answer.is(403, "refused", "deliveries are not taken from 127.0.0.1 (intake.source_allowlist)");
        }
    }
    assert_eq!(door.stored().await, []);
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let door = Door::open_with(|config| {
        from_one_network(config);
        behind_this_machine(config);
    })
    .await;
    let with = |id, name, value: &str| job(id).header(name, value);
    door.deliver(&with(1, "x-forwarded-for", "203.0.113.9")).await.is(202, "queued", "");
    door.deliver(&with(2, "x-forwarded-for", "198.51.100.1, ::ffff:203.0.113.9, 127.0.0.2"))
        .await
        .is(202, "queued", "");
    door.deliver(&with(3, "forwarded", "for=\"203.0.113.9:4711\";proto=https")).await.is(202, "queued", "");
    for (name, value, told) in [
        ("x-forwarded-for", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("x-forwarded-for", "203.0.113.9, unknown", "127.0.0.1"),
        ("forwarded", "for=203.0.113.9, for=\"[2001:db8::1]\"", "2001:db8::1"),
        ("x-real-ip", "203.0.113.9", "127.0.0.1"),
    ] {
        let answer = door.deliver(&with(4, name, value)).await;
        answer.is(403, "refused", &format!("deliveries are not taken from {told}"));
    }
    let twice = with(4, "x-forwarded-for", "198.51.100.1").header("forwarded", "for=203.0.113.9");
    door.deliver(&twice).await.is(403, "refused", "not taken from 127.0.0.1");
    assert_eq!(door.stored().await.len(), 3);
}

#[tokio::test]
async fn behind_a_proxy_each_client_is_counted_and_the_proxy_is_not() {
    let door = Door::open_with(|config| {
        behind_this_machine(config);
        config.http.limits.connections_per_address = 1;
    })
    .await;
    let connect = async || TcpStream::connect(door.addr).await.unwrap();
    let forwarded = |address: &str| format!("x-forwarded-for: {address}\r\n");
    // A request whose last byte is still to come.
    let slow = job(1);
    let mut open = connect().await;
    open.write_all(head(&slow, slow.body.len(), &forwarded("203.0.113.9")).as_bytes()).await.unwrap();
    open.write_all(&slow.body[1..]).await.unwrap();
    let (mut same, mut other, mut own) = (connect().await, connect().await, connect().await);
    let refused = super::until("its request is under way", async || {
        let answer = ask(&mut connect().await, &request(&job(2), &forwarded("203.0.113.9"))).await;
        (answer.code == 503).then_some(answer)
    });
    refused.await.is(503, "unavailable", "this client has as many connections as one may have");
    let answer = ask(&mut same, &request(&job(3), &forwarded("198.51.100.1, 203.0.113.9"))).await;
    answer.is(503, "unavailable", "http.limits.connections_per_address");
    ask(&mut other, &request(&job(4), &forwarded("203.0.113.10"))).await.is(202, "queued", "");
    ask(&mut own, &request(&job(5), "")).await.is(202, "queued", "");
    drop(open);
    let taken = super::until("it may ask again", async || {
        let answer = ask(&mut connect().await, &request(&job(6), &forwarded("203.0.113.9"))).await;
        (answer.code != 503).then_some(answer)
    });
    taken.await.is(202, "queued", "");
}

#[tokio::test]
async fn clients_of_ipv6_are_served_and_ipv4_ones_of_the_same_socket_are_what_they_are() {
    let networks = |config: &mut Config| {
        config.http.listen = SocketAddr::from(([0_u16; 8], 0));
        config.intake.sources = Sources::Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    };
    let door = Door::open_with(networks).await;
    let at = |ip: [u16; 8]| SocketAddr::from((ip, door.addr.port()));
    let mut four = TcpStream::connect(("127.0.0.1", door.addr.port())).await.unwrap();
    ask(&mut four, &request(&job(1), "")).await.is(202, "queued", "");
    let mut six = TcpStream::connect(at([0, 0, 0, 0, 0, 0, 0, 1])).await.unwrap();
    ask(&mut six, &request(&job(2), "")).await.is(403, "refused", "deliveries are not taken from ::1");

    let door = Door::open_with(|config| {
        config.http.listen = "[::1]:0".parse().unwrap();
        config.intake.sources = Sources::Networks(vec!["::1/128".parse().unwrap()]);
    })
    .await;
    door.queued(&Payload::job(3)).await;
}

#[tokio::test]
async fn a_sender_that_is_not_in_the_list_is_refused_before_its_body_is_read() {
    let door = Door::open_with(from_one_network).await;
    let mut stream = speak(&door, "content-length: 100000").await;
    super::refusals::answer(&mut stream).await.is(403, "refused", "deliveries are not taken from 127.0.0.1");
    assert_eq!(door.parts().bodies.peak(), 0);
    let health = door.client.get(format!("http://{}/healthz", door.addr)).send().await.unwrap();
    assert_eq!(health.status(), 200, "the list is for deliveries alone");
}
