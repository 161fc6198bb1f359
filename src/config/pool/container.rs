//! The container of a pool's runners: its limits, its surroundings, and what it is given away.

use super::super::collection::Table;
use super::super::leaf::AnyText;
use super::super::names::{Name, is_docker_name};
use super::super::reading::{Placed, Reading};
use super::super::section::Field;
use super::super::shape::{self, PoolSettings};
use super::super::{Network, Resources, Security};
use std::collections::BTreeMap;

/// Docker refuses containers with less.
const LEAST_MEMORY: u64 = 6 << 20;

pub(super) fn container_limits(resources: &shape::Resources, reading: &mut Reading<'_>) -> Resources {
    if let Field::Good(memory) = &resources.memory
        && memory.value.0 < LEAST_MEMORY
    {
        reading.problem(
            &memory.spot,
            "is too little memory for a container",
            "6m are Docker's least; the agent alone wants 256m",
        );
    }
    if let Field::Good(size) = &resources.shm_size
        && size.value.0 == 0
    {
        reading.problem(&size.spot, "is too little", "leave it out for Docker's 64m");
    }
    Resources {
        memory: resources.memory.good().copied().unwrap_or_default().0,
        cpus: resources.cpus.good().map(|cpus| cpus.0),
        pids: resources.pids.good().and_then(|pids| pids.get()).unwrap_or_default(),
        shm_size: resources.shm_size.good().map(|size| size.0),
    }
}

pub(super) fn environment(env: &Field<Table<AnyText>>, reading: &mut Reading<'_>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (name, Placed { value, spot }) in env.good().map(|table| table.0.as_slice()).unwrap_or_default() {
        let good = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != '=');
        if !good || value.0.contains('\0') {
            reading.problem(spot, "is not a variable that a process can have", "");
        } else if name.to_ascii_uppercase().starts_with("ACTIONS_RUNNER_INPUT_") {
            // The agent takes its own settings from these, the JIT configuration among them.
            reading.problem(
                spot,
                "would change the agent's own settings",
                "`ACTIONS_RUNNER_INPUT_…` is the program's to set",
            );
        }
        map.insert(name.clone(), value.0.clone());
    }
    map
}

pub(super) fn command(settings: &PoolSettings, reading: &mut Reading<'_>) -> Vec<String> {
    if let Field::Good(command) = &settings.command
        && command.value.0.is_empty()
    {
        reading.problem(&command.spot, "is empty", "leave it out for `/home/runner/run.sh`");
    }
    let words = settings.command.good().map(|list| list.0.as_slice()).unwrap_or_default();
    words.iter().map(|word| word.value.0.clone()).collect()
}

pub(super) fn network(field: &Field<Name<64>>, reading: &mut Reading<'_>) -> Network {
    let Field::Good(Placed { value, spot }) = field else { return Network::Isolated };
    match value.0.as_str() {
        "isolated" => Network::Isolated,
        "dedicated" => Network::Dedicated,
        "none" => Network::None,
        name => {
            if name == "host" {
                reading.warning(spot, "jobs share the host's network: they reach all that listens on it", "");
            }
            debug_assert!(is_docker_name(name));
            Network::Named(name.to_owned())
        }
    }
}

/// What a container is given beyond the least; each step is said aloud.
pub(super) fn given_away(security: &shape::PoolSecurity, reading: &mut Reading<'_>) -> Security {
    if let Field::Good(privileged) = &security.privileged
        && privileged.value
    {
        reading.warning(&privileged.spot, "a privileged container gives every job the whole host", "");
    }
    let cap_add = security.cap_add.good().map(|list| list.0.as_slice()).unwrap_or_default();
    for Placed { value, spot } in cap_add {
        if matches!(
            value.0.as_str(),
            "ALL" | "SYS_ADMIN" | "SYS_MODULE" | "SYS_RAWIO" | "SYS_PTRACE" | "DAC_READ_SEARCH" | "BPF"
        ) {
            reading.warning(spot, format!("`{}` lets a job out of its container", value.0), "");
        }
    }
    let mounts = security.mounts.good().map(|list| list.0.as_slice()).unwrap_or_default();
    for Placed { value, spot } in mounts {
        let host = value.0.split(':').next().unwrap_or_default();
        if host.ends_with("docker.sock")
            || matches!(host.trim_end_matches('/'), "" | "/var/run" | "/run" | "/etc" | "/var/lib/docker")
        {
            reading.warning(spot, format!("`{host}` inside a container gives every job the whole host"), "");
        }
    }
    Security {
        privileged: security.privileged.good().copied().unwrap_or_default(),
        no_new_privileges: security.no_new_privileges.good().copied().unwrap_or(true),
        cap_add: cap_add.iter().map(|cap| cap.value.0.clone()).collect(),
        mounts: mounts.iter().map(|mount| mount.value.0.clone()).collect(),
    }
}
