//! `runnerfleet serve` as a process of its own, for stories that kill it.

use runnerfleet::config::{Backend, Config, GitHubAuth};
use secrecy::ExposeSecret;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// From its start to its listening: a store that was killed is repaired first.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// Actions under way may end before it does.
const DOWN_WITHIN: Duration = Duration::from_secs(60);

/// The process. Killed when dropped; its log is shown when the test failed.
pub struct Serve {
    /// Where it receives.
    pub addr: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Serve {
    /// Writes the configuration as a user would, starts the program with it, and waits until it listens.
    pub fn start(config: &Config, name: &str) -> Self {
        let file = config.folder.join(format!("{name}.yaml"));
        std::fs::write(&file, text(config)).unwrap();
        let log = config.folder.join(format!("{name}-{}.log", logs_so_far(&config.folder)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_runnerfleet"));
        command.args(["serve", "--config"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(&log).unwrap());
        if let GitHubAuth::App { private_key, .. } = &config.github.auth {
            command.env("TEST_APP_KEY", private_key.expose_secret());
        }
        command.env("TEST_HOOK_SECRET", config.intake.secrets[0].expose_secret());
        let child = command.spawn().expect("the program starts");
        let mut serve = Self { addr: SocketAddr::from(([127, 0, 0, 1], 0)), child, log };
        let began = Instant::now();
        serve.addr = loop {
            if let Some(addr) = listening(&serve.said()) {
                break addr;
            }
            let ended = serve.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < UP_WITHIN, "it does not listen: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        };
        serve
    }

    /// The most memory that it ever had.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// SIGKILL, in this moment.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM; how it ended.
    pub async fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < DOWN_WITHIN, "SIGTERM does not end it");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.end();
    }
}

/// The logs of all processes that ran in a folder, oldest first.
pub fn logs(folder: &Path) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    let read = |file: &PathBuf| std::fs::read_to_string(file).unwrap_or_default();
    files.iter().map(|file| format!("{}:\n{}", file.display(), read(file))).collect::<Vec<_>>().join("\n")
}

fn logs_so_far(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.iter().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log")).count()
}

fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on http://")?;
    rest.split('/').next()?.parse().ok()
}

/// The configuration as a file. JSON is YAML.
fn text(config: &Config) -> String {
    let seconds = |time: Duration| format!("{}ms", time.as_millis());
    let runners: Vec<_> = config
        .pools
        .iter()
        .map(|pool| {
            json!({
                "id": pool.name,
                "labels": pool.labels,
                "image": pool.image,
                "pull_policy": "never",
                "resources": { "memory": format!("{}m", pool.resources.memory >> 20), "pids": pool.resources.pids },
                "scaling": {
                    "min_idle": pool.min_idle,
                    "max": pool.max,
                    "idle_timeout": seconds(pool.idle_timeout),
                    "max_lifetime": seconds(pool.max_lifetime),
                },
            })
        })
        .collect();
    let GitHubAuth::App { issuer, .. } = &config.github.auth else { panic!("the stories use an App") };
    let mut queue = match &config.store.backend {
        Backend::Embedded { path } => json!({ "backend": "embedded", "embedded": { "path": path } }),
        Backend::Redis(redis) => {
            json!({ "backend": "redis", "redis": { "url": redis.urls[0].expose_secret(), "prefix": redis.prefix } })
        }
    };
    queue["visibility_timeout"] = json!(seconds(config.store.visibility_timeout));
    let mut file = json!({
        "version": 1,
        "runners_defaults": {
            "org_url": "https://github.com/acme",
            "base_image": config.pools[0].image,
            "default_labels": false,
        },
        "runners": runners,
        "github": {
            "auth": { "app": { "client_id": issuer, "private_key": "${TEST_APP_KEY}" } },
            "api_url": config.github.api_url,
            "poll": { "runners": seconds(config.github.poll_runners) },
        },
        "intake": { "secrets": ["${TEST_HOOK_SECRET}"] },
        "queue": queue,
        "http": { "listen": "127.0.0.1:0", "admin": { "socket": config.http.admin_socket } },
        "hosts": [{
            "name": config.host,
            "max_runners": config.docker.max_runners,
            "reserve": { "memory": "0m" },
        }],
        "limits": { "disk_free_min": "0m", "max_runners": config.limits.max_runners },
        "security": { "instance": config.instance },
    });
    if let Some(url) = &config.docker.url {
        file["hosts"][0]["docker"] = json!(url);
    }
    serde_json::to_string_pretty(&file).unwrap()
}
