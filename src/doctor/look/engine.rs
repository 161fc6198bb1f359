//! The engine.

use super::super::Seen;
use super::super::docker::DockerFacts;
use super::{ENGINE, NO_CONFIG, within};
use crate::config::{self, Config};
use crate::model::{Container, HostId, InstanceId};
use crate::provider::Provider;
use crate::provider::docker::{Docker, EngineFacts, MetadataRule};
use std::collections::BTreeMap;

/// The engine, and the containers of this fleet on it. Without a configuration the engine that Docker's own tools would use.
pub(super) async fn look(config: Option<&Config>) -> (DockerFacts, Seen<Vec<Container>>) {
    let connected = match config {
        Some(config) => Docker::connect(&config.docker, &config.instance, &config.host),
        None => Docker::connect(&usual(), &InstanceId::new("doctor"), &HostId::new("doctor")),
    };
    let docker = match connected {
        Ok(docker) => docker,
        Err(error) => return away(error.to_string(), String::new()),
    };
    let command = docker.metadata_command();
    let engine: EngineFacts = match within(ENGINE, async { docker.engine().await.map_err(|e| e.to_string()) }).await {
        Ok(engine) => engine,
        Err(why) => return away(why, command),
    };
    let mut images = BTreeMap::new();
    for pool in config.map(|config| config.pools.as_slice()).unwrap_or_default() {
        if !images.contains_key(&pool.image) {
            let ask = async { docker.image_id(&pool.image).await.map_err(|error| error.to_string()) };
            images.insert(pool.image.clone(), within(ENGINE, ask).await.map(|id| id.is_some()).into());
        }
    }
    let containers = match config {
        Some(_) => within(ENGINE, async { docker.list().await.map_err(|error| error.to_string()) }).await.into(),
        None => Seen::NotLooked(NO_CONFIG.to_owned()),
    };
    let rule = docker.metadata_rule().await;
    (DockerFacts { engine: Seen::Known(engine), images, rule, rule_command: command }, containers)
}

fn away(why: String, rule_command: String) -> (DockerFacts, Seen<Vec<Container>>) {
    let rule = MetadataRule::Unknown("the engine does not answer".to_owned());
    let facts = DockerFacts { engine: Seen::Failed(why.clone()), images: BTreeMap::new(), rule, rule_command };
    (facts, Seen::Failed(why))
}

/// No bounds: nothing is made with it.
fn usual() -> config::Docker {
    config::Docker { url: None, max_runners: 0, reserve_memory: 0, concurrent_starts: None }
}
