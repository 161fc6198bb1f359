//! `check-base-image-update --apply`, as it is typed: a real registry, the real engine, agents that come online, and one
//! that does not.

use crate::support::docker::docker;
use crate::support::program::{PROGRAM, Program};
use crate::support::registry::Registry;
use runnerfleet::config::file;
use runnerfleet::images::{Options, ensure};
use runnerfleet::simulation::{agent, image};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::mpsc;

/// A fleet whose pools stand on a base image of a registry: `web` is built on it, `api` runs it.
struct World {
    program: Program,
    registry: Registry,
    prefix: String,
    stand_in: String,
    local: Vec<String>,
}

impl World {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // For the simulated GitHub's own client; the program does so at its start.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let program = Program::set_up().await;
        let stand_in = image::ensure(
            &program.fleet.docker,
            Path::new(PROGRAM),
            "runnerfleet/stand-in",
            agent::RUN_SH,
            agent::CONFIG_SH,
        )
        .await
        .unwrap();
        let prefix = format!("up{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { program, registry: Registry::open(), prefix, stand_in, local: Vec::new() }
    }

    /// A base image with this tag in the registry: the stand-in with a mark, and an agent that may be dead.
    fn publish(&mut self, tag: &str, mark: &str, lives: bool) {
        let container = format!("{}-{mark}", self.prefix);
        let local = format!("runnerfleet/test-base:{container}");
        docker(&["create", "--name", &container, &self.stand_in, "true"]);
        if !lives {
            let script = self.program.path("dead.sh");
            std::fs::write(&script, "#!/bin/sh\necho 'this agent is broken' >&2\nexit 3\n").unwrap();
            docker(&["cp", script.to_str().unwrap(), &format!("{container}:/home/runner/run.sh")]);
        }
        docker(&["commit", "--change", &format!("LABEL mark={mark}"), &container, &local]);
        docker(&["rm", &container]);
        self.registry.push(&local, &format!("acme/base:{tag}"));
        self.local.push(local);
    }

    fn base(&self, tag: &str) -> String {
        self.registry.image(&format!("acme/base:{tag}"))
    }

    /// With comments and styles that have to stay.
    fn write_config(&self) {
        let config = self.program.config();
        let part = |key: &str| format!("{key}: {}\n", config[key]);
        let same: String =
            ["github", "intake", "queue", "http", "hosts", "limits", "security", "log"].map(part).concat();
        std::fs::create_dir_all(self.program.path("docker")).unwrap();
        std::fs::write(self.program.path("docker/Dockerfile"), "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nLABEL built=yes\n")
            .unwrap();
        let pool = |id: &str, more: &str| {
            let prefix = &self.prefix;
            format!(
                "  - id: {id}   # a pool\n    name_prefix: {prefix}-{id}\n    labels: [{id}]\n{more}    \
                 resources: {{memory: 128m, pids: 256}}\n    timeouts: {{stop_grace: 5s, online: 20s}}\n"
            )
        };
        let text = format!(
            "# The fleet of this test.\nversion: 1\nrunners_defaults:\n    org_url: '{url}/acme'\n    default_labels: false\n    \
             base_image: \"{base}\"   # moved by check-base-image-update\n\nrunners:\n{web}{api}{same}",
            url = self.program.github.agent_url(),
            base = self.base("1.0.0"),
            web = pool("web", "    nb: 2\n    build_image: docker\n"),
            api = pool("api", &format!("    nb: 1\n    base_image: {} # the same\n", self.base("1.0.0"))),
        );
        std::fs::write(self.program.path("runners_config.yaml"), text).unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.program.path("runners_config.yaml")).unwrap()
    }

    /// What `runnerfleet build` does.
    async fn build(&self) {
        let key = secrecy::ExposeSecret::expose_secret(&self.program.key).to_owned();
        let env = move |name: &str| match name {
            "APP_KEY" => Some(key.clone()),
            "HOOK_SECRET" => Some("x".to_owned()),
            _ => None,
        };
        let config = file::load(&self.program.path("runners_config.yaml"), &env).unwrap().config;
        let (sender, mut news) = mpsc::channel(1024);
        let docker = &self.program.fleet.docker;
        let options = Options::default();
        let made = async {
            let made = ensure(&config, docker, &[&config.pools[0]], &options, &sender).await.unwrap();
            drop(sender);
            made
        };
        let (made, ()) = tokio::join!(made, async { while news.recv().await.is_some() {} });
        made[0].result.as_ref().unwrap();
    }

    /// The marks of the images that the runners run, in the order of their names; all of them online.
    async fn marks(&self) -> Vec<String> {
        let mut names = self.program.containers().await;
        names.sort();
        let rows = self.program.json(&["list"]).await;
        for row in rows.as_array().unwrap() {
            assert!(names.iter().any(|name| row["name"] == name.as_str()), "{rows}");
            assert_eq!(row["github"], "online", "{rows}");
        }
        names
            .iter()
            .map(|name| docker(&["inspect", "--format", "{{.Config.Labels.mark}}", name]).trim().to_owned())
            .collect()
    }

    /// Runs the verb; what it said is printed, for a person who reads the test's output.
    async fn check(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let said = self.program.run(&[&["check-base-image-update"], arguments].concat()).await;
        println!("{}{}", said.out, said.err);
        (said.code, format!("{}{}", said.out, said.err))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let repository = format!("runnerfleet/{}/web", self.program.fleet.instance);
        let images = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", &repository]);
        for image in images.lines().chain(self.local.iter().map(String::as_str)) {
            let _ = std::process::Command::new("docker").args(["rmi", "-f", image]).output();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_base_is_taken_everywhere_and_a_broken_one_is_taken_back() {
    let mut world = World::new().await;
    world.publish("1.0.0", "one", true);
    world.write_config();
    world.build().await;
    world.program.ok(&["deploy", "--yes"]).await;
    assert_eq!(world.marks().await, ["one", "one", "one"]);
    let (code, _) = world.check(&[]).await;
    assert_eq!(code, Some(0));

    // A newer tag.
    world.publish("1.1.0", "two", true);
    let before = world.text();
    let (code, said) = world.check(&["--apply"]).await;
    assert_eq!(code, Some(2), "nobody can be asked: {said}");
    assert!(said.contains("--yes") && world.text() == before, "{said}");
    let (code, said) = world.check(&["--apply", "--dry-run"]).await;
    assert_eq!((code, world.text() == before), (Some(10), true), "{said}");
    let (code, said) = world.check(&["--apply", "--yes"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(world.text(), before.replace("1.0.0", "1.1.0"), "comments and all");
    assert_eq!(std::fs::read_to_string(world.program.path("runners_config.yaml.bak")).unwrap(), before);
    assert_eq!(world.marks().await, ["two", "two", "two"]);
    assert_eq!(world.check(&[]).await.0, Some(0));

    // The same tag, another image.
    world.publish("1.1.0", "three", true);
    // (Publishing took the tag from the engine; it had the old image.)
    let old = docker(&["images", "--no-trunc", "--quiet", "--filter", "label=mark=two"]);
    let old = old.lines().last().unwrap();
    docker(&["tag", old, &world.base("1.1.0")]);
    let before = world.text();
    let (code, said) = world.check(&["--apply", "--yes"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(world.text(), before, "the file says the same");
    assert_eq!(world.marks().await, ["three", "three", "three"]);

    // One whose agent dies.
    world.publish("1.2.0", "dead", false);
    let (code, said) = world.check(&["--apply", "--yes"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("rolled back") && said.contains("the file and the runners are as they were"), "{said}");
    assert_eq!(world.text(), before, "byte for byte");
    assert_eq!(world.marks().await, ["three", "three", "three"]);
    assert_eq!(world.check(&[]).await.0, Some(10), "it is still there to be taken");

    world.program.ok(&["remove", "--all", "--yes"]).await;
    assert!(world.program.containers().await.is_empty());
    assert!(world.program.registered().is_empty());
}
