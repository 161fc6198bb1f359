//! What a persistent runner is described as: its name, its container, and a short digest of the settings that the container
//! is made with. Pure.

use crate::config::{Config, Mode, Network, Pool, Resources, Security};
use crate::model::{Container, HostId, ImageId, KeptContainer, RunnerName};
use crate::provider::{ContainerSpec, StartCommand};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Hexadecimal digits of the digest: enough that two settings never share one by chance, short enough to read.
const DIGITS: usize = 16;

/// A runner that the file describes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Described<'a> {
    /// Its pool.
    pub pool: &'a Pool,
    /// Its number in the pool, from 1.
    pub index: u32,
}

/// The name of a pool's runner with this number.
pub fn name(pool: &Pool, index: u32) -> RunnerName {
    RunnerName::new(format!("{}-{index}", pool.name_prefix))
}

/// All runners that the file describes, pool by pool.
pub fn described(config: &Config) -> impl Iterator<Item = (RunnerName, Described<'_>)> {
    config
        .persistent_pools()
        .flat_map(|(pool, count)| (1..=count).map(move |index| (name(pool, index), Described { pool, index })))
}

/// What the file says of a runner; none: it is not described.
pub fn description<'a>(config: &'a Config, runner: &RunnerName) -> Option<Described<'a>> {
    config.persistent_pools().find_map(|(pool, count)| {
        let index = number_in(pool, runner)?;
        (index >= 1 && index <= count).then_some(Described { pool, index })
    })
}

/// The number in a name of this pool, written as we write it.
fn number_in(pool: &Pool, runner: &RunnerName) -> Option<u32> {
    let digits = runner.as_str().strip_prefix(&pool.name_prefix)?.strip_prefix('-')?;
    let index: u32 = digits.parse().ok()?;
    (index.to_string() == digits).then_some(index)
}

impl Described<'_> {
    /// Its name.
    pub fn name(&self) -> RunnerName {
        name(self.pool, self.index)
    }

    /// The container that it is to have.
    pub fn container(&self, host: &HostId) -> ContainerSpec {
        let pool = self.pool;
        ContainerSpec {
            runner: self.name(),
            pool: pool.name.clone(),
            scope: pool.scope.clone(),
            host: host.clone(),
            created_for: None,
            registration: None,
            kept: Some(KeptContainer { index: self.index, spec: digest(pool), restarts: 0 }),
            image: pool.image.clone(),
            pull: pool.pull,
            env: pool.env.clone(),
            start: StartCommand::Keep {
                command: pool.command.clone(),
                url: pool.scope_url.clone(),
                labels: pool.labels.to_vec(),
                group: pool.runner_group.clone(),
                work_dir: pool.work_dir.clone(),
            },
            user: pool.user.clone(),
            resources: pool.resources,
            security: pool.security.clone(),
            network: pool.network.clone(),
        }
    }

    /// Why its container is not as described any more; none where it is, or where that cannot be told. `current` is what
    /// the pool's image is now.
    pub fn outdated(&self, container: &Container, current: Option<&ImageId>) -> Option<String> {
        let made_with = container.kept.as_ref().map(|kept| kept.spec.as_str());
        if made_with != Some(digest(self.pool).as_str()) {
            return Some("its settings changed".to_owned());
        }
        match (&container.image_id, current) {
            (Some(has), Some(current)) if has != current => Some("its image is not the current one".to_owned()),
            _ => None,
        }
    }
}

/// The digest of everything of a pool that is built into a container or a registration. What only steers the manager
/// (`nb`, time-outs, priorities) is not in it: changing that replaces nobody.
pub fn digest(pool: &Pool) -> String {
    // Taken apart by name, so that a new setting has to be sorted into one of the two.
    let Pool {
        name: _,
        name_prefix: _,
        labels,
        scope: _,
        scope_url,
        runner_group,
        create_runner_group: _,
        admission: _,
        registration: _,
        mode: _,
        image,
        pull: _,
        base_image: _,
        build: _,
        min_idle: _,
        max: _,
        priority: _,
        idle_timeout: _,
        max_lifetime: _,
        job_max_age: _,
        provision_timeout: _,
        online_timeout: _,
        drain_timeout: _,
        stop_grace: _,
        max_unavailable: _,
        resources,
        env,
        command,
        user,
        work_dir,
        network,
        security,
    } = pool;
    let Resources { memory, cpus, pids, shm_size } = resources;
    let Security { privileged, no_new_privileges, cap_add, mounts } = security;
    let mut text = String::new();
    // Each value is written with its length, so that no two lists of values read the same.
    let mut put = |key: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key} {} {value}", value.len());
    };
    put("format", "1");
    put("url", scope_url);
    put("group", runner_group.as_deref().unwrap_or_default());
    put("image", image);
    put("work", work_dir);
    put("user", user.as_deref().unwrap_or_default());
    for label in labels.to_vec() {
        put("label", &label);
    }
    for word in command {
        put("command", word);
    }
    for (key, value) in env {
        put("env", key);
        put("value", value);
    }
    put("memory", &memory.to_string());
    put("cpus", &cpus.map(|cpus| cpus.to_string()).unwrap_or_default());
    put("pids", &pids.to_string());
    put("shm", &shm_size.map(|bytes| bytes.to_string()).unwrap_or_default());
    put("privileged", &privileged.to_string());
    put("no_new_privileges", &no_new_privileges.to_string());
    for capability in cap_add {
        put("capability", capability);
    }
    for mount in mounts {
        put("mount", mount);
    }
    match network {
        Network::Isolated => put("network", "isolated"),
        Network::Dedicated => put("network", "dedicated"),
        Network::None => put("network", "none"),
        Network::Named(name) => put("network named", name),
    }
    let mut digest = hex::encode(Sha256::digest(text));
    digest.truncate(DIGITS);
    digest
}

/// Whether the pool's runners are kept.
pub fn is_kept(pool: &Pool) -> bool {
    matches!(pool.mode, Mode::Persistent { .. })
}

#[cfg(test)]
mod tests;
