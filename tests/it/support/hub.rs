//! The real program beside a simulated GitHub, without Docker: a folder with a configuration, and the verbs as processes.

use super::program::{PROGRAM, Said, run};
use runnerfleet::simulation::github::{App, Handle, Options, SimulatedGitHub};
use runnerfleet::simulation::keys;
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use tokio::process::Command;

/// See the file's head.
pub struct Hub {
    pub github: Handle,
    pub folder: tempfile::TempDir,
}

impl Hub {
    /// An App installed on acme, and a configuration that is in order.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same; `change` sees the options before anything starts.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let key = keys::generate().expect("a key");
        let app = App::with_public_key(&key.public_pem);
        let issuer = app.client_id.clone();
        let mut options = Options::acme(app);
        change(&mut options);
        let github = SimulatedGitHub::start(options).await.expect("the simulated GitHub");
        let hub = Self { github, folder: tempfile::tempdir().expect("a folder") };
        hub.write_key(&key.private_pem);
        let config = serde_json::json!({
            "version": 1,
            "runners_defaults": { "org_url": "https://github.com/acme", "base_image": "runner:1" },
            "runners": [{ "id": "linux", "labels": ["linux"] }],
            "github": {
                "auth": { "app": { "client_id": issuer, "private_key_file": "app.pem" } },
                "api_url": hub.github.api_url(),
            },
            "intake": { "secrets": ["${HOOK_SECRET}"] },
            "http": { "listen": "127.0.0.1:0" },
        });
        hub.write_config(&config);
        hub
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write_key(&self, pem: &SecretString) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path("app.pem");
        std::fs::write(&path, pem.expose_secret()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn config(&self) -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(self.path("runners_config.yaml")).unwrap()).unwrap()
    }

    /// JSON is YAML.
    pub fn write_config(&self, config: &serde_json::Value) {
        std::fs::write(self.path("runners_config.yaml"), format!("{config:#}\n")).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.folder.path());
        command.env_remove("RUNNERFLEET_CONFIG").env_remove("RUST_LOG").env_remove("DOCKER_HOST");
        command.env("HOOK_SECRET", super::app::HOOK_SECRET);
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments)).await
    }
}

/// Somebody who takes every delivery.
pub struct Listener {
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        let routes = axum::Router::new().route("/webhook", axum::routing::post(async || "taken"));
        Self { url, task: tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}
