//! The real engine, a fleet of its own for each test, and what it leaves swept up, also when the test fails.

use runnerfleet::config::{self, Network, Resources, Security};
use runnerfleet::model::{Container, ContainerId, ContainerStatus, HostId, InstanceId, PoolName, RunnerName, Scope};
use runnerfleet::provider::docker::Docker;
use runnerfleet::provider::{ContainerSpec, Provider, StartCommand};
use runnerfleet::simulation::image;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// How an agent is stood in for: everything a test wants to see happens in its command.
pub const TEST_REPOSITORY: &str = "runnerfleet/test";

/// The engine's client program: what a test looks at must not come from the code under test.
pub fn docker(arguments: &[&str]) -> String {
    let output =
        Command::new("docker").args(arguments).output().expect("the `docker` program is needed by these tests");
    assert!(
        output.status.success(),
        "docker {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Panics with a hint where there is no engine: a missing part is a failure.
pub async fn engine() {
    let probe = TestFleet::unprepared("probe");
    if let Err(why) = probe.docker.ping().await {
        panic!("these tests need a Docker engine ({why}): start dockerd");
    }
}

/// A small image with a shell and `bash` (as the program): made once, kept while this machine's files stay the same.
pub async fn image(docker: &Docker) -> String {
    let config_sh = "#!/bin/sh\necho \"config $*\"\n";
    let run_sh = "#!/bin/sh\necho run\n";
    image::ensure(docker, Path::new("/bin/bash"), TEST_REPOSITORY, run_sh, config_sh).await.unwrap()
}

/// The configuration of an engine at this address; the usual one where none.
pub fn at(url: Option<String>) -> config::Docker {
    config::Docker { url, max_runners: 10, reserve_memory: 0, concurrent_starts: None }
}

/// A fleet that only this test knows.
pub struct TestFleet {
    pub docker: Docker,
    pub instance: InstanceId,
    pub host: HostId,
    pub image: String,
}

impl TestFleet {
    /// A fleet with the test image and its isolated network.
    pub async fn start(name: &str) -> Self {
        engine().await;
        let mut fleet = Self::unprepared(name);
        fleet.image = image(&fleet.docker).await;
        fleet
    }

    /// A fleet for which nothing was asked of the engine.
    pub fn unprepared(name: &str) -> Self {
        Self::at(name, None)
    }

    /// The same, at another address.
    pub fn at(name: &str, url: Option<String>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() % 1_000_000_000;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let instance = InstanceId::new(format!("test-{name}-{}-{count}-{now}", std::process::id()));
        let host = HostId::new("test-host");
        Self { docker: Docker::connect(&at(url), &instance, &host).unwrap(), instance, host, image: String::new() }
    }

    /// A name for a runner that no other test has: container names belong to the whole engine.
    pub fn runner(&self, name: &str) -> RunnerName {
        RunnerName::new(format!("{}-{name}", self.instance))
    }

    /// A container without a network that runs these lines of shell after the hand-over.
    pub fn spec(&self, name: &str, lines: &str) -> ContainerSpec {
        ContainerSpec {
            runner: self.runner(name),
            pool: PoolName::new("linux"),
            scope: Scope::Organization("acme".to_owned()),
            host: self.host.clone(),
            created_for: None,
            registration: None,
            kept: None,
            image: self.image.clone(),
            pull: false,
            env: BTreeMap::new(),
            start: StartCommand::Jit { command: ["/bin/sh", "-c", lines].map(str::to_owned).to_vec() },
            user: None,
            resources: Resources { memory: 64 << 20, cpus: None, pids: 100, shm_size: None },
            security: Security { privileged: false, no_new_privileges: true, cap_add: vec![], mounts: vec![] },
            network: Network::None,
        }
    }

    /// Makes and starts it.
    pub async fn launch(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.docker.create(spec).await.unwrap();
        self.docker.start(&id, &SecretString::from("a-credential")).await.unwrap();
        id
    }

    /// Makes and starts it, waits for its end, and returns code and output.
    pub async fn run(&self, spec: &ContainerSpec) -> (i64, String) {
        let id = self.launch(spec).await;
        self.ended(&id).await;
        let evidence = self.docker.evidence(&id).await.unwrap().unwrap();
        self.docker.remove(&id).await.unwrap();
        (evidence.exit_code.unwrap(), evidence.last_output)
    }

    /// The container as the list has it.
    pub async fn container(&self, id: &ContainerId) -> Option<Container> {
        self.docker.list().await.unwrap().into_iter().find(|container| container.id == *id)
    }

    /// Waits until it ended.
    pub async fn ended(&self, id: &ContainerId) -> Container {
        until("the container's end", async || {
            let found = self.container(id).await.expect("the container is there");
            matches!(found.status, ContainerStatus::Exited { .. }).then_some(found)
        })
        .await
    }

    /// Waits until its output has these words.
    pub async fn says(&self, id: &ContainerId, words: &str) -> String {
        until("the container's words", async || {
            let output = docker(&["logs", id.as_str()]);
            output.contains(words).then_some(output)
        })
        .await
    }

    /// The name of the fleet's shared network.
    pub fn network(&self) -> String {
        format!("runnerfleet-{}", self.instance)
    }

    /// The rules of the host's firewall for this fleet's bridges.
    pub fn rules(&self) -> Vec<String> {
        let bridge = self.bridge();
        let of = |chain: &str| {
            let output = Command::new("iptables").args(["-w", "5", "-S", chain]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let rules = ["DOCKER-USER", "INPUT"].map(of).concat();
        rules.lines().filter(|rule| rule.contains(&bridge)).map(str::to_owned).collect()
    }

    /// What the fleet's bridges are called.
    pub fn bridge(&self) -> String {
        use sha2::{Digest, Sha256};
        format!("rf-{}", &hex::encode(Sha256::digest(self.instance.as_str()))[..8])
    }

    fn sweep(&self) {
        let filter = format!("label=runnerfleet.instance={}", self.instance);
        let ids = |arguments: &[&str]| {
            let output = Command::new("docker").args(arguments).args(["-q", "--filter", &filter]).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        for id in ids(&["ps", "-a"]) {
            let _ = Command::new("docker").args(["rm", "-f", "-v", &id]).output();
        }
        for id in ids(&["network", "ls"]) {
            let _ = Command::new("docker").args(["network", "rm", &id]).output();
        }
        // Images are labelled by another name than containers, which inherit the labels of their image.
        let built = format!("label=runnerfleet.image.instance={}", self.instance);
        let images = Command::new("docker").args(["images", "-aq", "--filter", &built]).output();
        let images = images.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for id in images.split_whitespace() {
            let _ = Command::new("docker").args(["rmi", "-f", id]).output();
        }
        for rule in self.rules() {
            let _ = Command::new("iptables").args(["-w", "5"]).args(rule.replacen("-A", "-D", 1).split(' ')).output();
        }
    }
}

impl Drop for TestFleet {
    fn drop(&mut self) {
        self.sweep();
    }
}

/// Waits for a state, and says for which when it does not come.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
