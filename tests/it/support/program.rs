//! The real program, as a person runs it: a configuration in a folder, `serve` as a process, the verbs beside it.
//!
//! GitHub is simulated, Docker is real. Dropped, it ends the process that it started and clears its containers away.

use super::app::{HOOK_SECRET, PATIENCE};
use super::docker::TestFleet;
use runnerfleet::config::Network;
use runnerfleet::model::{JobKey, Scope};
use runnerfleet::provider::Provider;
use runnerfleet::simulation::github::{App, Handle, JobSpec, Options, SimulatedGitHub, Stage, Timings};
use runnerfleet::simulation::{agent, image, keys};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_runnerfleet");

/// What a verb said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A process that is ended when dropped.
pub struct Process(Child);

/// See the file's head.
pub struct Program {
    pub github: Handle,
    pub fleet: TestFleet,
    pub folder: tempfile::TempDir,
    pub key: SecretString,
    pub serve: Option<Process>,
    /// More variables for what is started from now on.
    pub env: Vec<(&'static str, String)>,
    logs: usize,
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.kill_on_drop(true).stdin(Stdio::null()).spawn().expect("the program starts"))
    }

    pub fn id(&self) -> u32 {
        self.0.id().expect("it runs")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Until it ends by itself; its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        tokio::time::timeout(PATIENCE, self.0.wait()).await.expect("it ends").expect("it is ours").code()
    }

    pub fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }
}

/// Runs it to its end.
pub async fn run(command: &mut Command) -> Said {
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Program {
    /// A configuration with pools `linux` and `arm`; nothing runs yet.
    pub async fn set_up() -> Self {
        let fleet = TestFleet::start("program").await;
        let image =
            image::ensure(&fleet.docker, Path::new(PROGRAM), "runnerfleet/stand-in", agent::RUN_SH, agent::CONFIG_SH)
                .await
                .expect("the image of the stand-in agent");
        fleet.docker.prepare(&Network::Isolated).await.expect("the runners' network");
        let gateway = fleet.docker.network_gateway(&Network::Isolated).await.expect("its gateway");
        let key = keys::generate().expect("a key");
        let hub = App::with_public_key(&key.public_pem);
        let issuer = hub.client_id.clone();
        let options = Options {
            agents: Some(SocketAddr::new(gateway, 0)),
            timings: Timings { poll: Duration::from_secs(2), ..Timings::default() },
            ..Options::acme(hub)
        };
        let github = SimulatedGitHub::start(options).await.expect("the simulated GitHub");
        let folder = tempfile::tempdir().expect("a folder");
        let pool = |name: &str| {
            serde_json::json!({
                "id": name, "labels": ["self-hosted", name], "resources": { "memory": "128m", "pids": 256 },
                "scaling": { "max": 4, "idle_timeout": "5m" },
            })
        };
        let config = serde_json::json!({
            "version": 1,
            "runners_defaults": {
                "org_url": "https://github.com/acme", "base_image": image, "default_labels": false,
                "pull_policy": "never",
            },
            "runners": [pool("linux"), pool("arm")],
            "github": {
                "auth": { "app": { "client_id": issuer, "private_key": "${APP_KEY}" } },
                "api_url": github.api_url(),
                "poll": { "runners": "6s" },
            },
            "intake": { "secrets": ["${HOOK_SECRET}"] },
            "queue": { "backend": "embedded", "embedded": { "path": "fleet.redb" } },
            "http": { "listen": "127.0.0.1:0", "admin": { "socket": "fleet.sock" } },
            "hosts": [{ "name": "here", "max_runners": 10, "reserve": { "memory": "0m" } }],
            "limits": { "disk_free_min": "0m" },
            "security": { "instance": fleet.instance },
            "log": { "level": "info" },
        });
        let program = Self { github, fleet, folder, key: key.private_pem, serve: None, env: Vec::new(), logs: 0 };
        program.write_config(&config);
        program
    }

    /// The file as it stands, for a change of it.
    pub fn config(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.path("runners_config.yaml")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// JSON is YAML.
    pub fn write_config(&self, config: &serde_json::Value) {
        std::fs::write(self.path("runners_config.yaml"), format!("{config:#}\n")).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with these arguments, in its folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.folder.path());
        command.env_remove("RUNNERFLEET_CONFIG").env_remove("RUST_LOG").env("HOOK_SECRET", HOOK_SECRET);
        command.env("APP_KEY", self.key.expose_secret());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a verb.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments)).await
    }

    /// Runs a verb that is to succeed; its standard output.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments).await;
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.out
    }

    /// The rows that a verb prints as JSON.
    pub async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let out = self.ok(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Starts `serve` and points the hook at it.
    pub async fn serve(&mut self) {
        self.logs += 1;
        let log = std::fs::File::create(self.log_path()).unwrap();
        let mut command = self.command(&["serve"]);
        self.serve = Some(Process::spawn(command.stderr(log.try_clone().unwrap()).stdout(log)));
        let log = self.log_path();
        let address = self
            .until("`serve` listens", || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let rest = text.split_once("listening on http://")?.1;
                rest.contains('\n').then(|| rest.split('/').next().unwrap_or_default().to_owned())
            })
            .await;
        self.github.set_webhook(format!("http://{address}/webhook"), Some(SecretString::from(HOOK_SECRET)));
    }

    fn log_path(&self) -> PathBuf {
        self.path(&format!("serve-{}.log", self.logs))
    }

    /// All that `serve` printed since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Ends `serve` as an init system does; its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        let mut serve = self.serve.take().expect("`serve` runs");
        serve.signal(Signal::TERM);
        serve.ended().await
    }

    /// Ends it as a power cut does.
    pub async fn kill(&mut self) {
        let mut serve = self.serve.take().expect("`serve` runs");
        serve.signal(Signal::KILL);
        serve.ended().await;
    }

    /// Until this gives something.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = look() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("not seen: {what}\n{}\n{}", self.log(), self.github.state()))
    }

    /// Until a verb's rows are as wanted.
    pub async fn rows(
        &self,
        arguments: &[&str],
        holds: impl Fn(&[serde_json::Value]) -> bool,
    ) -> Vec<serde_json::Value> {
        let wait = async {
            loop {
                let rows = self.json(arguments).await;
                let rows = rows.as_array().expect("rows").clone();
                if holds(&rows) {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("not seen in {arguments:?}\n{}\n{}", self.log(), self.github.state()))
    }

    /// Until `serve` has looked at all of its parts.
    pub async fn looked(&self) {
        let wait = async {
            while !self.json(&["plan"]).await["unknown"].as_object().expect("a map").is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("something is away:\n{}", self.log()));
    }

    /// A job that runs until somebody ends it; its runner's name.
    pub async fn busy(&self, pool: &str) -> (JobKey, String) {
        let spec = JobSpec::new("acme/web", ["self-hosted", pool]).named("endless").lasting(Duration::from_secs(3600));
        let job = self.github.queue_job(spec);
        let name = self
            .until("the job runs", || match self.github.job(job)?.stage {
                Stage::InProgress { .. } => self.github.job(job)?.runner.map(|runner| runner.name),
                _ => None,
            })
            .await;
        self.rows(&["list"], |rows| rows.iter().any(|row| row["name"] == name && row["state"] == "running")).await;
        (job, name)
    }

    /// A runner that waits for a job: GitHub thinks its agent too old, and its job was cancelled meanwhile.
    pub async fn idle(&self, pool: &str) -> String {
        self.github.set_version_floor(Some("999.0.0"));
        let job = self.github.queue_job(JobSpec::new("acme/web", ["self-hosted", pool]));
        let beginning = format!("{pool}-{}-", job.id);
        let is_it = |row: &serde_json::Value| {
            row["name"].as_str().is_some_and(|name| name.starts_with(&beginning))
                && row["state"] == "started"
                && row["github"] == "online"
        };
        let rows = self.rows(&["list"], |rows| rows.iter().any(is_it)).await;
        assert!(self.github.cancel(job));
        self.github.webhooks_settled(PATIENCE).await.unwrap();
        self.github.set_version_floor(None);
        rows.into_iter().find(is_it).unwrap()["name"].as_str().unwrap().to_owned()
    }

    /// Names of GitHub's registrations.
    pub fn registered(&self) -> Vec<String> {
        let acme = Scope::Organization("acme".to_owned());
        self.github.runners(&acme).into_iter().map(|runner| runner.name).collect()
    }

    /// Names of the fleet's containers.
    pub async fn containers(&self) -> Vec<String> {
        let list = self.fleet.docker.list().await.expect("the engine answers");
        list.into_iter().map(|container| container.runner.to_string()).collect()
    }
}
