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
