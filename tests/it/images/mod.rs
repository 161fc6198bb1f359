//! The images of the pools, on a real engine with both of its builders.

mod building;
mod changes;
mod pulling;
mod refusals;
mod verbs;

use crate::support::docker::{TestFleet, docker};
use crate::support::fleet;
use runnerfleet::config::{Build, Config, Pool};
use runnerfleet::images::{BuildNews, Done, Ensured, Kind, Options, ensure};
use runnerfleet::model::{PoolName, built_image};
use runnerfleet::provider::docker::Docker;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use tokio::sync::mpsc;

/// What the Dockerfiles here end with.
pub const GOOD: &str = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY --chown=runner greeting /home/runner/greeting\n\
                        USER root\nRUN read line < /home/runner/greeting; echo \"it says $line\"\nUSER runner\n";

/// A fleet with a folder for Dockerfiles, and a base image of its own that can move.
pub struct Bench {
    pub fleet: TestFleet,
    pub docker: Docker,
    pub folder: tempfile::TempDir,
    pub base: String,
    pub config: Config,
}

impl Bench {
    /// With these pools, each with a folder of its name that has a [`GOOD`] Dockerfile.
    pub async fn set_up(name: &str, pools: &[&str]) -> Self {
        let fleet = TestFleet::start(name).await;
        let folder = tempfile::tempdir().unwrap();
        let base = format!("base-of-{}:1.2.3", fleet.instance);
        docker(&["tag", &fleet.image, &base]);
        let pools = pools.iter().map(|name| pool(&fleet, folder.path(), name, &base)).collect();
        let config = fleet::config(folder.path().to_owned(), fleet.instance.as_str(), pools);
        let bench = Self { docker: fleet.docker.clone(), fleet, folder, base, config };
        for pool in &bench.config.pools {
            bench.write(&pool.name, "Dockerfile", GOOD);
            bench.write(&pool.name, "greeting", &format!("{}\n", bench.greeting(pool.name.as_str())));
        }
        bench
    }

    pub fn write(&self, pool: &PoolName, file: &str, text: &str) {
        let folder = self.folder.path().join(pool.as_str());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }

    /// What is in a pool's image. Of this test alone: BuildKit makes equal steps of builds that go on at once only once, and
    /// tells of them in one of the builds.
    pub fn greeting(&self, pool: &str) -> String {
        format!("hello from {pool} of {}", self.fleet.instance)
    }

    pub fn pool(&self, name: &str) -> &Pool {
        self.config.pool(&PoolName::new(name)).unwrap()
    }

    /// All pools, in the order of the configuration; with what was told on the way.
    pub async fn ensure(&self, options: &Options) -> (Vec<Ensured>, Vec<BuildNews>) {
        let (sender, mut receiver) = mpsc::channel(10_000);
        let pools: Vec<&Pool> = self.config.pools.iter().collect();
        let ensured = ensure(&self.config, &self.docker, &pools, options, &sender).await.unwrap();
        drop(sender);
        let mut news = Vec::new();
        while let Some(one) = receiver.recv().await {
            news.push(one);
        }
        (ensured, news)
    }

    /// The first pool's image, which must be there.
    pub async fn done(&self, options: &Options) -> Done {
        let (ensured, _) = self.ensure(options).await;
        ensured.into_iter().next().unwrap().result.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Why the first pool has none.
    pub async fn refused(&self, options: &Options) -> String {
        let (ensured, _) = self.ensure(options).await;
        ensured.into_iter().next().unwrap().result.unwrap_err().to_string()
    }

    /// The id behind a pool's moving tag, as Docker's own client sees it.
    pub fn current(&self, pool: &str) -> Option<String> {
        id(&built_image::current(&self.fleet.instance, &PoolName::new(pool)))
    }

    /// The base's name leads to another image from now on.
    pub fn move_base(&self, mark: &str) {
        let container = docker(&["create", &self.fleet.image, "true"]);
        docker(&["commit", "--change", &format!("LABEL mark={mark}"), container.trim(), &self.base]);
        docker(&["rm", container.trim()]);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let of = |reference: &str| id(reference);
        if let Some(id) = of(&self.base) {
            let _ = Command::new("docker").args(["rmi", &self.base]).output();
            let _ = Command::new("docker").args(["rmi", &id]).output();
        }
    }
}

fn pool(fleet: &TestFleet, folder: &Path, name: &str, base: &str) -> Pool {
    let context = folder.join(name);
    Pool {
        image: built_image::current(&fleet.instance, &PoolName::new(name)),
        base_image: Some(base.to_owned()),
        build: Some(Build {
            dockerfile: context.join("Dockerfile"),
            context,
            techno: Some("shell".to_owned()),
            techno_version: Some("5".to_owned()),
            args: BTreeMap::new(),
        }),
        ..fleet::pool(name, &[name])
    }
}

/// The id of an image, where there is one.
pub fn id(reference: &str) -> Option<String> {
    let output = Command::new("docker").args(["image", "inspect", "-f", "{{.Id}}", reference]).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub fn kinds(ensured: &[Ensured]) -> Vec<Kind> {
    ensured.iter().map(|one| one.result.as_ref().unwrap_or_else(|error| panic!("{}: {error}", one.pool)).kind).collect()
}
