//! All parts of a play, with a link between each two of them.
//!
//! ```text
//! agents in containers --link--> simulated GitHub --link--> serve --link--> GitHub's API
//!                                                             +--link--> Redis
//!                                                             +--link--> dockerd
//! ```

use super::Wish;
use super::engine::Engine;
use super::link::{Link, Place};
use super::order::Between;
use super::serve::Serve;
use crate::support::redis::RedisServer;
use anyhow::Context;
use runnerfleet::config::{self, Network};
use runnerfleet::model::{HostId, InstanceId, Scope};
use runnerfleet::provider::Provider;
use runnerfleet::provider::docker::Docker;
use runnerfleet::simulation::github::{App, Handle, Options, SimulatedGitHub, Timings};
use runnerfleet::simulation::{agent, image, keys};
use secrecy::SecretString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The fleet's name on its containers and networks.
pub(super) const INSTANCE: &str = "chaos";

/// The pools' labels.
pub(super) const POOLS: [&str; 3] = ["linux", "gpu", "arm"];

/// Runners at the same time.
const RUNNERS: u32 = 8;

/// See the file's head. What it has started ends with the enclosure at the latest.
pub(super) struct Stage {
    pub(super) serve: Serve,
    pub(super) redis: RedisServer,
    pub(super) engine: Engine,
    pub(super) github: Handle,
    pub(super) links: Links,
}

/// One for each [`Between`].
pub(super) struct Links {
    redis: Link,
    engine: Link,
    api: Link,
    hook: Link,
    agents: Link,
}

impl Links {
    pub(super) fn of(&self, between: Between) -> &Link {
        match between {
            Between::Redis => &self.redis,
            Between::Engine => &self.engine,
            Between::Api => &self.api,
            Between::Hook => &self.hook,
            Between::Agents => &self.agents,
        }
    }
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    /// A part is missing on this machine, or does not start.
    pub(super) async fn set_up(wish: &Wish) -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = &wish.folder;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let engine = Engine::start(folder).await?;
        let address = format!("unix://{}", engine.socket().display());
        let settings =
            config::Docker { url: Some(address), max_runners: RUNNERS, reserve_memory: 0, concurrent_starts: None };
        let docker = Docker::connect(&settings, &InstanceId::new(INSTANCE), &HostId::new(INSTANCE))?;
        let image = image::ensure(&docker, &wish.program, "runnerfleet/stand-in", agent::RUN_SH, agent::CONFIG_SH);
        let image = image.await.context("making the image of the stand-in agent")?;
        docker.prepare(&Network::Isolated).await.context("making the runners' network")?;
        let gateway = docker.network_gateway(&Network::Isolated).await?;

        let redis = tokio::task::spawn_blocking(|| RedisServer::start_with(&["--appendfsync", "always"])).await?;
        let tcp = async |near| Link::open(Place::Tcp(near)).await.context("opening a link");
        let links = Links {
            redis: tcp(loopback).await?,
            engine: Link::open(Place::Unix(folder.join("link.sock"))).await.context("opening a link")?,
            api: tcp(loopback).await?,
            hook: tcp(loopback).await?,
            agents: tcp(SocketAddr::new(gateway, 0)).await?,
        };
        links.redis.leads_to(Place::Tcp((Ipv4Addr::LOCALHOST, redis.port()).into()));
        links.engine.leads_to(Place::Unix(engine.socket()));

        let key = keys::generate().map_err(|_| anyhow::anyhow!("no key could be made for the App"))?;
        let app = App::with_public_key(&key.public_pem);
        let issuer = app.client_id.clone();
        let url = |link: &Link| link.address().map(|address| format!("http://{address}")).unwrap_or_default();
        let options =
            Options { agent_url: Some(url(&links.agents)), timings: timings(), seed: wish.seed, ..Options::acme(app) };
        let github = SimulatedGitHub::start(options).await.context("starting the simulated GitHub")?;
        let api: SocketAddr = github.api_url().trim_start_matches("http://").parse()?;
        links.api.leads_to(Place::Tcp(api));
        links.agents.leads_to(Place::Tcp(api));

        let port = links.redis.address().map(|address| address.port()).unwrap_or_default();
        let engine_link = format!("unix://{}", folder.join("link.sock").display());
        let text = configuration(&image, &issuer, &url(&links.api), &engine_link, port);
        std::fs::write(folder.join("runners_config.yaml"), format!("{text:#}\n"))?;
        let hook_secret = SecretString::from("the play's own secret");
        let mut serve = Serve::new(&wish.program, folder, key.private_pem, hook_secret.clone());
        links.hook.leads_to(Place::Tcp(serve.up().await?));
        github.set_webhook(format!("{}/webhook", url(&links.hook)), Some(hook_secret));
        Ok(Self { serve, redis, engine, github, links })
    }

    /// Names of the registrations that GitHub has.
    pub(super) fn registered(&self) -> Vec<String> {
        let acme = Scope::Organization("acme".to_owned());
        self.github.runners(&acme).into_iter().map(|runner| runner.name).collect()
    }

    /// What everybody said last, for a person who wonders.
    pub(super) fn told(&self) -> String {
        format!("serve:\n{}\ndockerd:\n{}\nGitHub:\n{}", self.serve.log(), self.engine.log(), self.github.state())
    }
}

/// GitHub's rules, with less patience where it would wait for minutes. Longer than any fault lasts: an agent that is cut off
/// meanwhile keeps its job.
fn timings() -> Timings {
    Timings {
        poll: Duration::from_secs(3),
        fetch_within: Duration::from_secs(15),
        offline_after: Duration::from_secs(10),
        lost_after: Duration::from_secs(30),
        ..Timings::default()
    }
}

fn configuration(image: &str, issuer: &str, api_url: &str, engine: &str, redis: u16) -> serde_json::Value {
    let pools = POOLS.map(|name| {
        serde_json::json!({
            "id": name, "labels": ["self-hosted", name], "resources": { "memory": "128m", "pids": 256 },
            "scaling": { "max": RUNNERS, "idle_timeout": "20s" },
        })
    });
    serde_json::json!({
        "version": 1,
        "runners_defaults": {
            "org_url": "https://github.com/acme", "base_image": image, "default_labels": false, "pull_policy": "never",
        },
        "runners": pools,
        "github": {
            "auth": { "app": { "client_id": issuer, "private_key": "${APP_KEY}" } },
            "api_url": api_url,
            "poll": { "runners": "6s", "deliveries": "5s" },
        },
        "intake": { "secrets": ["${HOOK_SECRET}"] },
        "queue": {
            "backend": "redis", "redis": { "url": format!("redis://127.0.0.1:{redis}/0") }, "visibility_timeout": "10s",
        },
        "http": { "listen": "127.0.0.1:0", "admin": { "socket": "serve.sock" } },
        "hosts": [{
            "name": INSTANCE, "docker": engine, "max_runners": RUNNERS, "reserve": { "memory": "0m" },
        }],
        "limits": { "disk_free_min": "0m" },
        "security": { "instance": INSTANCE },
        "log": { "level": "info" },
    })
}
