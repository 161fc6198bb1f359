//! The feed of news, also when the engine is away.

use crate::support::docker::{TestFleet, docker};
use crate::support::engine_gate::EngineGate;
use runnerfleet::model::{Container, ContainerId, ContainerStatus};
use runnerfleet::provider::{ContainerNews, Provider, ProviderError};
use std::time::Duration;
use tokio::sync::mpsc;

const IDLE: &str = "echo up; exec /usr/local/bin/runnerfleet -c 'exec 3<> <(:); read -u 3'";

/// Reads news until one fits.
async fn next<T>(
    news: &mut mpsc::Receiver<ContainerNews>,
    what: &str,
    mut fits: impl FnMut(ContainerNews) -> Option<T>,
) -> T {
    let wait = async {
        loop {
            let one = news.recv().await.expect("the feed goes on");
            if let Some(found) = fits(one) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn all(news: &mut mpsc::Receiver<ContainerNews>) -> Vec<Container> {
    next(news, "the list", |news| if let ContainerNews::All(all) = news { Some(all) } else { None }).await
}

async fn becomes(news: &mut mpsc::Receiver<ContainerNews>, id: &ContainerId, status: &ContainerStatus) {
    next(news, "a status", |news| match news {
        ContainerNews::Changed(container) if container.id == *id && container.status == *status => Some(()),
        _ => None,
    })
    .await;
}

async fn goes(news: &mut mpsc::Receiver<ContainerNews>, id: &ContainerId) {
    next(news, "its end", |news| matches!(news, ContainerNews::Gone(gone) if gone == *id).then_some(())).await;
}

#[tokio::test]
async fn a_container_s_whole_life_is_told() {
    let fleet = TestFleet::start("told").await;
    let before = fleet.docker.create(&fleet.spec("before", "")).await.unwrap();
    let mut news = fleet.docker.watch();
    let listed: Vec<_> = all(&mut news).await.into_iter().map(|container| container.id).collect();
    assert_eq!(listed, [before]);

    let id = fleet.docker.create(&fleet.spec("1", "exit 9")).await.unwrap();
    becomes(&mut news, &id, &ContainerStatus::Created).await;
    fleet.docker.start(&id, &secrecy::SecretString::from("x")).await.unwrap();
    becomes(&mut news, &id, &ContainerStatus::Exited { exit_code: 9, oom_killed: false }).await;
    fleet.docker.remove(&id).await.unwrap();
    goes(&mut news, &id).await;

    let id = fleet.launch(&fleet.spec("2", IDLE)).await;
    becomes(&mut news, &id, &ContainerStatus::Running).await;
    fleet.says(&id, "up").await;
    docker(&["pause", id.as_str()]);
    becomes(&mut news, &id, &ContainerStatus::Running).await;
    docker(&["unpause", id.as_str()]);
    docker(&["kill", id.as_str()]);
    becomes(&mut news, &id, &ContainerStatus::Exited { exit_code: 137, oom_killed: false }).await;

    // Looking makes no news, and another fleet's are none of ours.
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(500), news.recv()).await {}
    let other = TestFleet::start("other").await;
    other.docker.create(&other.spec("1", "")).await.unwrap();
    let idle = fleet.launch(&fleet.spec("3", IDLE)).await;
    becomes(&mut news, &idle, &ContainerStatus::Running).await;
    assert!(!fleet.docker.runs_a_job(&idle).await.unwrap());
    let quiet = tokio::time::timeout(Duration::from_millis(700), news.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn the_feed_heals_and_misses_nothing() {
    let mut gate = EngineGate::open();
    let fleet = TestFleet::start("heal").await;
    let through = TestFleet::at("through", Some(gate.url()));
    let through = runnerfleet::provider::docker::Docker::connect(
        &crate::support::docker::at(Some(gate.url())),
        &fleet.instance,
        &through.host,
    )
    .unwrap();
    let first = fleet.launch(&fleet.spec("1", IDLE)).await;
    let mut news = through.watch();
    assert_eq!(all(&mut news).await.len(), 1);

    for round in 0..2 {
        gate.cut().await;
        next(&mut news, "the loss", |news| matches!(news, ContainerNews::Lost(_)).then_some(())).await;
        assert!(matches!(through.list().await, Err(ProviderError::Unavailable(_))));
        // What happens meanwhile is in the next list.
        let made = fleet.docker.create(&fleet.spec(&format!("new-{round}"), "")).await.unwrap();
        gate.restore();
        let again = all(&mut news).await;
        assert!(again.iter().any(|container| container.id == made), "{again:?}");
        fleet.docker.remove(&made).await.unwrap();
        goes(&mut news, &made).await;
    }
    fleet.docker.remove(&first).await.unwrap();
    goes(&mut news, &first).await;
}

#[tokio::test]
async fn an_engine_that_is_away_at_the_start_is_found_later() {
    let mut gate = EngineGate::open();
    gate.cut().await;
    let fleet = TestFleet::at("late", Some(gate.url()));
    let mut news = fleet.docker.watch();
    let why =
        next(&mut news, "the loss", |news| if let ContainerNews::Lost(why) = news { Some(why) } else { None }).await;
    assert!(why.contains("no socket"), "{why}");
    gate.restore();
    assert_eq!(all(&mut news).await, []);
}

#[tokio::test]
async fn nothing_is_missed_while_many_come_and_go() {
    let fleet = TestFleet::start("many").await;
    let churn = async {
        let mut left = Vec::new();
        for turn in 0..12 {
            let id = fleet.docker.create(&fleet.spec(&format!("{turn}"), "")).await.unwrap();
            if turn % 3 == 0 { left.push(id) } else { fleet.docker.remove(&id).await.unwrap() }
        }
        left
    };
    // The feed starts in the middle of it.
    let follow = async {
        tokio::task::yield_now().await;
        fleet.docker.watch()
    };
    let (mut left, mut news) = tokio::join!(churn, follow);
    let mut known = std::collections::BTreeSet::new();
    left.sort();
    next(&mut news, "the same picture", |news| {
        match news {
            ContainerNews::All(all) => known = all.into_iter().map(|container| container.id).collect(),
            ContainerNews::Changed(container) => {
                known.insert(container.id);
            }
            ContainerNews::Gone(id) => {
                known.remove(&id);
            }
            ContainerNews::Lost(why) => panic!("{why}"),
        }
        known.iter().eq(left.iter()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_feed_ends_with_its_reader() {
    let fleet = TestFleet::start("reader").await;
    let mut news = fleet.docker.watch();
    all(&mut news).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    drop(news);
    crate::support::docker::until("the feed's end", async || (tasks() < before).then_some(())).await;
}
