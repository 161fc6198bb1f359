//! Runners kept apart, and away from the host's metadata address.

use crate::support::docker::{TestFleet, docker, until};
use crate::support::metadata::MetadataService;
use runnerfleet::config::Network;
use runnerfleet::model::ContainerId;
use runnerfleet::provider::{Provider, ProviderError};
use secrecy::SecretString;
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

/// A container that lives until it is removed, without using a processor.
const IDLE: &str = "echo up; exec /usr/local/bin/runnerfleet -c 'exec 3<> <(:); read -u 3'";

/// Bash's own TCP client: answers, refuses, or keeps silent.
fn knock(address: &str, port: u16) -> String {
    format!(
        r#"exec /usr/local/bin/runnerfleet -c '
            ( exec 3<>/dev/tcp/{address}/{port} ) 2>/tmp/said & p=$!
            for i in 1 2 3 4 5 6; do kill -0 $p 2>/dev/null || break; read -t 0.5 <> <(:); done
            if kill -0 $p 2>/dev/null; then echo silent; exit; fi
            if wait $p; then echo open; else said=$(</tmp/said); case $said in *refused*) echo refused ;; *) echo "$said" ;; esac; fi'"#
    )
}

async fn idle(fleet: &TestFleet, name: &str, network: Network) -> (ContainerId, String) {
    let mut spec = fleet.spec(name, IDLE);
    spec.network = network;
    let id = fleet.launch(&spec).await;
    fleet.says(&id, "up").await;
    let ip = docker(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id.as_str()]);
    (id, ip.trim().to_owned())
}

async fn knocked(fleet: &TestFleet, name: &str, network: Network, address: &str, port: u16) -> String {
    let mut spec = fleet.spec(name, &knock(address, port));
    spec.network = network;
    fleet.run(&spec).await.1
}

#[tokio::test]
async fn runners_cannot_reach_each_other() {
    let fleet = TestFleet::start("apart").await;
    fleet.docker.prepare(&Network::Isolated).await.unwrap();
    let (_, peer) = idle(&fleet, "peer", Network::Isolated).await;
    let (_, alone) = idle(&fleet, "alone", Network::Dedicated).await;
    let (_, open) = idle(&fleet, "open", Network::Named("bridge".to_owned())).await;
    // A closed port answers at once where it can be reached: on Docker's own bridge it does.
    let on_bridge = knocked(&fleet, "1", Network::Named("bridge".to_owned()), &open, 9).await;
    assert_eq!(on_bridge, "refused");
    let (isolated, dedicated) = (Network::Isolated, Network::Dedicated);
    let ways = [(&isolated, &peer), (&isolated, &alone), (&dedicated, &peer), (&dedicated, &alone), (&isolated, &open)];
    let knocks = ways.iter().enumerate().map(async |(at, (network, address))| {
        let answer = knocked(&fleet, &format!("to-{at}"), (*network).clone(), address, 9).await;
        assert_eq!(answer, "silent", "{network:?} to {address}");
    });
    futures_util::future::join_all(knocks).await;
    let none = knocked(&fleet, "7", Network::None, &peer, 9).await;
    assert!(none.contains("unreachable"), "{none}");
}

#[tokio::test]
async fn the_metadata_address_is_out_of_reach_and_the_gateway_is_not() {
    let fleet = TestFleet::start("metadata").await;
    let service = MetadataService::start();
    let (address, port) = (&service.address, service.port);
    // Without the rule a container gets there.
    assert_eq!(knocked(&fleet, "1", Network::Named("bridge".to_owned()), address, port).await, "refused");
    fleet.docker.prepare(&Network::Isolated).await.unwrap();
    fleet.docker.prepare(&Network::Dedicated).await.unwrap();
    let rule = |chain: &str| format!("-A {chain} -d 169.254.0.0/16 -i {}+ -j DROP", fleet.bridge());
    assert_eq!(fleet.rules(), ["DOCKER-USER", "INPUT"].map(rule));
    assert_eq!(knocked(&fleet, "2", Network::Isolated, address, port).await, "silent");
    assert_eq!(knocked(&fleet, "3", Network::Dedicated, address, port).await, "silent");

    let gateway = fleet.docker.network_gateway(&Network::Isolated).await.unwrap();
    let listener = TcpListener::bind((gateway, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(knocked(&fleet, "4", Network::Isolated, &gateway.to_string(), port).await, "open");
    let default = fleet.docker.network_gateway(&Network::Dedicated).await.unwrap();
    let listener = TcpListener::bind((default, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(knocked(&fleet, "5", Network::Dedicated, &default.to_string(), port).await, "open");
    assert_eq!(fleet.docker.network_gateway(&Network::Named("bridge".to_owned())).await.unwrap(), default);
    assert!(fleet.docker.network_gateway(&Network::Named("host".to_owned())).await.unwrap().is_loopback());
    assert!(fleet.docker.network_gateway(&Network::None).await.is_err());
    assert!(matches!(gateway, IpAddr::V4(_)));
}

#[tokio::test]
async fn the_shared_network_is_one_also_for_two_managers_at_once() {
    let fleet = TestFleet::start("shared").await;
    let prepare = || fleet.docker.prepare(&Network::Isolated);
    for outcome in futures_util::future::join_all([prepare(), prepare(), prepare(), prepare()]).await {
        outcome.unwrap();
    }
    prepare().await.unwrap();
    let name = fleet.network();
    let count = || docker(&["network", "ls", "-q", "--filter", &format!("name={name}")]).lines().count();
    assert_eq!(count(), 1);
    assert!(!fleet.rules().is_empty());
    let mut spec = fleet.spec("1", "");
    spec.network = Network::Isolated;
    let id = fleet.docker.create(&spec).await.unwrap();
    fleet.docker.start(&id, &SecretString::from("x")).await.unwrap();
    fleet.ended(&id).await;
    fleet.docker.remove(&id).await.unwrap();
    fleet.docker.remove_network().await.unwrap();
    assert_eq!((count(), fleet.rules().len()), (0, 0));
    fleet.docker.remove_network().await.unwrap();
}

#[tokio::test]
async fn a_network_that_was_removed_is_made_again() {
    let fleet = TestFleet::start("healed").await;
    fleet.docker.prepare(&Network::Isolated).await.unwrap();
    let name = fleet.network();
    docker(&["network", "rm", &name]);
    let mut spec = fleet.spec("1", "echo ran");
    spec.network = Network::Isolated;
    let id = fleet.docker.create(&spec).await.unwrap();
    // Between create and start, too.
    docker(&["network", "rm", &name]);
    fleet.docker.start(&id, &SecretString::from("x")).await.unwrap();
    fleet.ended(&id).await;
    assert_eq!(fleet.docker.evidence(&id).await.unwrap().unwrap().last_output, "ran");
    let mut spec = fleet.spec("2", "");
    spec.network = Network::Named(format!("{}-none", fleet.instance));
    let id = fleet.docker.create(&spec).await;
    let refused = match id {
        Ok(id) => fleet.docker.start(&id, &SecretString::from("x")).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(refused, ProviderError::Refused(_)) && refused.to_string().contains("network"), "{refused:?}");
}

#[tokio::test]
async fn somebody_else_s_network_of_our_name_is_not_used() {
    let fleet = TestFleet::start("foreign").await;
    let name = fleet.network();
    docker(&["network", "create", "--label", &format!("runnerfleet.instance={}", fleet.instance), &name]);
    let refused = fleet.docker.prepare(&Network::Isolated).await.unwrap_err();
    assert!(refused.to_string().contains("was not made by this fleet"), "{refused}");
}

#[tokio::test]
async fn a_runner_s_own_network_goes_with_it() {
    let fleet = TestFleet::start("own").await;
    let names =
        || docker(&["network", "ls", "--format", "{{.Name}}", "--filter", &format!("name={}", fleet.network())]);
    let (id, _) = idle(&fleet, "1", Network::Dedicated).await;
    assert_eq!(names().trim(), format!("{}.{}", fleet.network(), fleet.runner("1")));
    fleet.docker.remove(&id).await.unwrap();
    assert_eq!(names(), "");

    // A create that fails leaves none.
    let mut spec = fleet.spec("2", "");
    spec.network = Network::Dedicated;
    spec.image = "runnerfleet/not-there:1".to_owned();
    fleet.docker.create(&spec).await.unwrap_err();
    assert_eq!(names(), "");

    // One whose container went another way is found, once it is old enough.
    let (id, _) = idle(&fleet, "3", Network::Dedicated).await;
    let (other, _) = idle(&fleet, "4", Network::Dedicated).await;
    docker(&["rm", "-f", id.as_str()]);
    assert_eq!(fleet.docker.sweep_networks(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(fleet.docker.sweep_networks(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(names().trim(), format!("{}.{}", fleet.network(), fleet.runner("4")));
    fleet.docker.remove(&other).await.unwrap();
    until("the network's end", async || names().is_empty().then_some(())).await;
}
