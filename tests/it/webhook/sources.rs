use super::{Delivery, Door, Payload, until};
use runnerfleet::config::{self, Sources};
use runnerfleet::github::Client;
use runnerfleet::simulation::github::{App, Fault, Handle, Options, Outage, SimulatedGitHub};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

async fn github() -> Handle {
    super::provide_cryptography();
    // Nobody signs anything here, so that any key will do.
    SimulatedGitHub::start(Options::acme(App::with_public_key(""))).await.unwrap()
}

async fn door_of(github: &Handle) -> (Door, Client) {
    let door = Door::open_with(|config| {
        config.intake.sources = Sources::GitHubMeta;
        github.api_url().clone_into(&mut config.github.api_url);
    })
    .await;
    let client = Client::new(&config::GitHub::clone(&door.config.github)).unwrap();
    (door, client)
}

fn job(id: u64) -> Delivery {
    Delivery::of(&Payload::job(id))
}

#[tokio::test]
async fn without_githubs_list_nothing_is_taken_and_once_read_it_stays() {
    let github = github().await;
    let (door, client) = door_of(&github).await;
    let sources = &door.parts().sources;
    github.set_outage(Outage::Api);
    assert!(sources.refresh(&client).await.is_err());
    let answer = door.deliver(&job(1)).await;
    answer.is(503, "unavailable", "GitHub's list of its hooks' addresses could not be read yet");

    github.set_outage(Outage::None);
    sources.refresh(&client).await.unwrap();
    door.deliver(&job(1)).await.is(202, "queued", "");

    github.set_outage(Outage::Api);
    assert!(sources.refresh(&client).await.is_err());
    door.deliver(&job(2)).await.is(202, "queued", "");

    github.set_outage(Outage::None);
    for no_list in ["{}", r#"{"hooks":[]}"#, r#"{"hooks":["here"]}"#, "hello"] {
        github.faults().next("GET /meta", Fault::status(200).body(no_list), 1);
        assert!(sources.refresh(&client).await.is_err(), "{no_list}");
    }
    door.deliver(&job(3)).await.is(202, "queued", "");

    let elsewhere = Fault::status(200).body(r#"{"hooks":["192.30.252.0/22","2606:50c0::/32"]}"#);
    github.faults().next("GET /meta", elsewhere, 1);
    sources.refresh(&client).await.unwrap();
    door.deliver(&job(4)).await.is(403, "refused", "deliveries are not taken from 127.0.0.1");
}

#[tokio::test]
async fn the_list_is_read_again_until_it_is_there() {
    let github = github().await;
    let (door, client) = door_of(&github).await;
    github.set_outage(Outage::Api);
    let stop = CancellationToken::new();
    let feed = door.parts().sources.clone().keep_current(client, stop.clone());
    let feed = AbortOnDropHandle::new(tokio::spawn(feed));
    door.deliver(&job(1)).await.is(503, "unavailable", "could not be read yet");
    github.set_outage(Outage::None);
    let taken = until("the list is read", async || {
        let answer = door.deliver(&job(1)).await;
        (answer.code != 503).then_some(answer)
    });
    taken.await.is(202, "queued", "");
    stop.cancel();
    feed.await.unwrap();
}

#[tokio::test]
async fn addresses_of_ipv6_count_and_a_changed_list_counts_from_then_on() {
    let github = github().await;
    let door = Door::open_with(|config| {
        config.intake.sources = Sources::GitHubMeta;
        // So that a test can come from anywhere.
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        github.api_url().clone_into(&mut config.github.api_url);
    })
    .await;
    let client = Client::new(&config::GitHub::clone(&door.config.github)).unwrap();
    let from = |id: u64, address: &str| job(id).header("x-forwarded-for", address);
    let list = |hooks: &str| github.faults().next("GET /meta", Fault::status(200).body(hooks), 1);

    list(r#"{"hooks":["192.30.252.0/22","2606:50c0::/32"]}"#);
    door.parts().sources.refresh(&client).await.unwrap();
    door.deliver(&from(1, "2606:50c0::7")).await.is(202, "queued", "");
    door.deliver(&from(2, "192.30.253.9")).await.is(202, "queued", "");
    door.deliver(&from(3, "::ffff:192.30.253.9")).await.is(202, "queued", "");
    door.deliver(&from(4, "2a0a:a440::7")).await.is(403, "refused", "deliveries are not taken from 2a0a:a440::7");

    // GitHub moves.
    list(r#"{"hooks":["2a0a:a440::/29"]}"#);
    door.parts().sources.refresh(&client).await.unwrap();
    door.deliver(&from(4, "2a0a:a440::7")).await.is(202, "queued", "");
    door.deliver(&from(5, "2606:50c0::7")).await.is(403, "refused", "deliveries are not taken from 2606:50c0::7");
    door.deliver(&from(6, "192.30.253.9")).await.is(403, "refused", "deliveries are not taken from 192.30.253.9");
}
