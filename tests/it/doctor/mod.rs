//! `runnerfleet doctor` through the real program: each line is broken where it can be, and turns with its remedy.

mod files;
mod fleet;
mod github;
mod store;
mod webhook;

use crate::support::hub::Hub;
use crate::support::program::{Said, run};
use runnerfleet::simulation::github::Options;
use serde_json::Value;

/// What the doctor said.
struct Told {
    said: Said,
    rows: Vec<Value>,
}

impl Told {
    fn read(said: Said) -> Self {
        let rows = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        Self { said, rows }
    }

    /// The first line of this check.
    fn line(&self, id: &str) -> &Value {
        self.rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no {id}: {:#?}", self.rows))
    }

    fn verdict(&self, id: &str) -> &str {
        self.line(id)["verdict"].as_str().unwrap()
    }

    fn says(&self, id: &str) -> &str {
        self.line(id)["says"].as_str().unwrap()
    }

    fn remedy(&self, id: &str) -> &str {
        self.line(id)["remedy"].as_str().unwrap_or_default()
    }

    /// The ids of all lines with this verdict.
    fn with(&self, verdict: &str) -> Vec<&str> {
        self.rows.iter().filter(|row| row["verdict"] == verdict).map(|row| row["id"].as_str().unwrap()).collect()
    }

    /// The check is as it is said, and where it is not well it says what to do.
    #[track_caller]
    fn holds(&self, id: &str, verdict: &str) {
        assert_eq!(self.verdict(id), verdict, "{:#}", self.line(id));
        let well = matches!(verdict, "ok" | "not_looked");
        assert_eq!(self.line(id)["remedy"].is_null(), well, "{:#}", self.line(id));
    }
}

/// A fleet whose store and socket are in its folder, and whose engine is nowhere.
async fn hub() -> Hub {
    hub_with(|_| {}).await
}

async fn hub_with(change: impl FnOnce(&mut Options)) -> Hub {
    let hub = Hub::with(change).await;
    let mut config = hub.config();
    config["queue"] = serde_json::json!({ "backend": "embedded", "embedded": { "path": "data/fleet.redb" } });
    config["http"]["admin"] = serde_json::json!({ "socket": "data/fleet.sock" });
    hub.write_config(&config);
    hub
}

/// Changes one key of the file.
fn set(hub: &Hub, pointer: &str, value: Value) {
    let mut config = hub.config();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"))[key] = value;
    hub.write_config(&config);
}

async fn look(hub: &Hub) -> Told {
    look_with(hub, &[]).await
}

async fn look_with(hub: &Hub, arguments: &[&str]) -> Told {
    let nowhere = format!("unix://{}", hub.path("no-engine.sock").display());
    let mut command = hub.command(&[&["doctor", "--output", "json"], arguments].concat());
    Told::read(run(command.env("DOCKER_HOST", nowhere)).await)
}
