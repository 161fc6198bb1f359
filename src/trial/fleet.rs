//! The fleet of a run: its pools and bounds, drawn from the seed.

use super::dice::Dice;
use crate::config::{self, Config, GitHubAuth, Network, RegistrationKind};
use crate::model::{HostId, LabelSet, PoolName};
use crate::simulation::github::App;
use crate::simulation::keys;
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// The secret of the hook. It leaves this process nowhere.
pub(super) const HOOK_SECRET: &str = "a simulated hook's secret";

/// The pools that there can be, with their labels. The labels of the first are among those of the second.
pub(super) const POOLS: [(&str, &[&str]); 3] =
    [("linux", &["self-hosted", "linux"]), ("big", &["self-hosted", "linux", "big"]), ("gpu", &["self-hosted", "gpu"])];

/// A fleet that all others are made of, with the App that it is.
struct Base {
    config: Config,
    app: App,
}

/// Made once: a key takes a while. Which one it is changes nothing in a run.
fn base() -> Result<&'static Base, String> {
    static BASE: OnceLock<Result<Base, String>> = OnceLock::new();
    BASE.get_or_init(make_base).as_ref().map_err(Clone::clone)
}

fn make_base() -> Result<Base, String> {
    let key = keys::generate().map_err(|_| "no key could be made for the simulated App".to_owned())?;
    let app = App::with_public_key(&key.public_pem);
    let pools: Vec<_> = POOLS
        .iter()
        .map(|(name, labels)| serde_json::json!({ "id": name, "labels": labels, "image": "runner:1", "pull_policy": "never" }))
        .collect();
    let text = serde_json::json!({
        "version": 1,
        "runners_defaults": { "org_url": "https://github.com/acme", "base_image": "runner:1", "default_labels": false },
        "runners": pools,
        "github": {
            "auth": { "app": { "client_id": app.client_id, "private_key": "${KEY}" } },
            "api_url": "http://github.simulated",
        },
        "intake": { "secrets": ["${SECRET}"] },
        "security": { "instance": "trial" },
    });
    let environment = |name: &str| match name {
        "KEY" => Some(key.private_pem.expose_secret().to_owned()),
        "SECRET" => Some(HOOK_SECRET.to_owned()),
        _ => None,
    };
    let loaded = config::parse(&text.to_string(), "the trial's configuration", Path::new("/"), &environment, "here");
    let config = loaded.map_err(|problems| problems.to_string())?.config;
    if !matches!(config.github.auth, GitHubAuth::App { .. }) {
        return Err("the trial's configuration names no App".to_owned());
    }
    Ok(Base { config, app })
}

/// A fleet of this seed, and its App.
pub(super) fn draw(dice: &Dice) -> Result<(Config, App), String> {
    let base = base()?;
    let mut config = base.config.clone();
    let pools = usize::try_from(dice.between(1, POOLS.len() as u64)).unwrap_or(1);
    config.pools.truncate(pools);
    for pool in &mut config.pools {
        pool.min_idle = u32::try_from(dice.below(3)).unwrap_or(0) * u32::from(dice.happens(5000));
        pool.max = pool.min_idle + u32::try_from(dice.between(1, 5)).unwrap_or(1);
        pool.idle_timeout = dice.seconds(30, 180);
        pool.online_timeout = dice.seconds(60, 180);
        pool.provision_timeout = dice.seconds(60, 180);
        pool.network = Network::Isolated;
        pool.registration = if dice.happens(2500) { RegistrationKind::Token } else { RegistrationKind::Jit };
    }
    let spares: u32 = config.pools.iter().map(|pool| pool.min_idle).sum();
    config.limits.max_runners = spares + u32::try_from(dice.between(1, 8)).unwrap_or(1);
    config.docker.max_runners = spares + u32::try_from(dice.between(1, 8)).unwrap_or(1);
    config.docker.reserve_memory = 0;
    config.limits.disk_free_min = 0;
    config.github.poll_runners = dice.seconds(20, 60);
    config.github.poll_deliveries = Some(dice.seconds(5, 60));
    config.github.poll_jobs = Some(dice.seconds(60, 120));
    config.store.visibility_timeout = dice.seconds(30, 60);
    config.store.retention = dice.seconds(15 * 60, 3600);
    Ok((config, base.app.clone()))
}

/// The same fleet after somebody changed the file.
pub(super) fn change(config: &mut Config, dice: &Dice) {
    for pool in &mut config.pools {
        pool.max = pool.min_idle + u32::try_from(dice.between(1, 5)).unwrap_or(1);
        pool.idle_timeout = dice.seconds(30, 180);
    }
}

/// The same fleet on another machine.
pub(super) fn on(config: &Config, host: &str) -> Config {
    Config { host: HostId::new(host), ..config.clone() }
}

/// The secret in the form that the simulated GitHub wants.
pub(super) fn hook_secret() -> SecretString {
    SecretString::from(HOOK_SECRET)
}

/// Whether any pool serves a job with these labels.
pub(super) fn serves(config: &Config, labels: &[String]) -> bool {
    let wanted: LabelSet = labels.iter().map(String::as_str).collect();
    config.pools.iter().any(|pool| pool.labels.covers(&wanted))
}

/// The pool whose runner has this name.
pub(super) fn pool_of<'a>(config: &'a Config, runner: &str) -> Option<&'a PoolName> {
    let name = crate::model::RunnerName::new(runner);
    crate::plan::naming::given_by(&name, &config.pools, &config.instance).map(|pool| &pool.name)
}

/// The longest that a thing takes which nobody disturbs: GitHub keeps a dead runner busy for 10 to 15 minutes, and a pool that failed
/// waits for five.
pub(super) const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The row of a job that runs elsewhere may be behind for longer: it is asked about every half an hour.
pub(super) const PATIENCE_WITH_ROWS: Duration = Duration::from_secs(50 * 60);

/// What one job adds to its time.
pub(super) const OVERHEAD: Duration = Duration::from_secs(60);
