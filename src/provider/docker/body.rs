//! What a container is asked for, in the engine's words. Pure.

use super::labels;
use super::network::Names;
use super::wrapper;
use crate::config::Network;
use crate::model::InstanceId;
use crate::provider::{ContainerSpec, StartCommand};
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum};
use std::collections::HashMap;

/// A `docker stop` (or the engine's own shutdown) waits for so long before it kills. The agent's listener cancels its
/// job within 30 seconds of a SIGTERM; less, and GitHub shows the job as hung for ten minutes.
const STOP_TIMEOUT_SECS: i64 = 40;

/// Set for every agent: `run.sh` passes signals on only with the first, and tells that GitHub refused the agent for its
/// age (exit code 7) only with the second.
const AGENT_ENV: [(&str, &str); 2] =
    [("RUNNER_MANUALLY_TRAP_SIG", "1"), ("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1")];

/// Linux refuses longer host names.
const HOSTNAME_MAX: usize = 63;

/// The body of the request that makes it.
pub(super) fn body(spec: &ContainerSpec, instance: &InstanceId, names: &Names) -> ContainerCreateBody {
    let (entrypoint, cmd) = wrapper::command(&spec.start, &spec.runner);
    ContainerCreateBody {
        hostname: Some(hostname(spec.runner.as_str())),
        user: spec.user.clone(),
        // One line comes in, once; the engine closes standard input when the hand-over's connection ends.
        attach_stdin: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        tty: Some(false),
        env: Some(env(spec)),
        entrypoint: Some(entrypoint),
        cmd: Some(cmd),
        image: Some(spec.image.clone()),
        labels: Some(labels::write(spec, instance)),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(STOP_TIMEOUT_SECS),
        host_config: Some(host_config(spec, names)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec, names: &Names) -> HostConfig {
    let memory = bytes(spec.resources.memory);
    HostConfig {
        memory: Some(memory),
        // Memory and swap together: no swap.
        memory_swap: Some(memory),
        nano_cpus: spec.resources.cpus.map(nano_cpus),
        pids_limit: Some(i64::from(spec.resources.pids)),
        shm_size: spec.resources.shm_size.map(bytes),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities(&spec.security)),
        privileged: Some(spec.security.privileged),
        security_opt: spec.security.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
        binds: Some(spec.security.mounts.clone()),
        // Zombies of jobs are reaped; the agent is never process 1, which would ignore signals without a handler.
        init: Some(true),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        // Its evidence is read after it ended; removing it is ours.
        auto_remove: Some(false),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ])),
        }),
        network_mode: Some(match &spec.network {
            Network::Isolated => names.isolated(),
            Network::Dedicated => names.dedicated(&spec.runner),
            Network::None => "none".to_owned(),
            Network::Named(name) => name.clone(),
        }),
        ..HostConfig::default()
    }
}

fn env(spec: &ContainerSpec) -> Vec<String> {
    // All ways of starting end in the same agent.
    let agent = match &spec.start {
        StartCommand::Jit { .. } | StartCommand::Register { .. } | StartCommand::Keep { .. } => AGENT_ENV,
    };
    spec.env
        .iter()
        .filter(|(key, _)| agent.iter().all(|(ours, _)| ours != key))
        .map(|(key, value)| format!("{key}={value}"))
        .chain(agent.iter().map(|(key, value)| format!("{key}={value}")))
        .collect()
}

/// The runner's name as a host name: other signs become `-`, and what is too long loses its middle part's end, since
/// the number that tells two runners apart stands last.
fn hostname(runner: &str) -> String {
    let clean: String = runner.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let skip = clean.len().saturating_sub(HOSTNAME_MAX);
    clean[skip..].trim_matches('-').to_owned()
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "a float to integer cast saturates; no machine has 9e9 processors")]
fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9).round() as i64
}

/// What a container may do beyond the least. A pool that gives `no_new_privileges` up wants `sudo` to work, and `sudo` and
/// what it is mostly used for (`apt-get install`) need these; without them it would fail in a way that nobody understands.
fn capabilities(security: &crate::config::Security) -> Vec<String> {
    const FOR_SUDO: [&str; 8] =
        ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"];
    let mut given = security.cap_add.clone();
    if !security.no_new_privileges {
        given.extend(FOR_SUDO.map(str::to_owned).into_iter().filter(|name| !security.cap_add.contains(name)));
    }
    given
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Resources, Security};
    use crate::model::{HostId, JobId, JobKey, PoolName, RegistrationId, RunnerName, Scope};

    pub(crate) fn spec() -> ContainerSpec {
        ContainerSpec {
            runner: RunnerName::new("linux-7"),
            pool: PoolName::new("linux"),
            scope: Scope::Organization("acme".to_owned()),
            host: HostId::new("host-1"),
            created_for: Some(JobKey { id: JobId(7), attempt: 2 }),
            registration: Some(RegistrationId(42)),
            kept: None,
            image: "agent:1".to_owned(),
            pull: false,
            env: [("LANG", "C"), ("RUNNER_MANUALLY_TRAP_SIG", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            start: StartCommand::Jit { command: vec!["/home/runner/run.sh".to_owned()] },
            user: None,
            resources: Resources { memory: 64 << 20, cpus: Some(1.5), pids: 100, shm_size: Some(1 << 20) },
            security: Security { privileged: false, no_new_privileges: true, cap_add: Vec::new(), mounts: Vec::new() },
            network: Network::Isolated,
        }
    }

    fn made(spec: &ContainerSpec) -> ContainerCreateBody {
        let instance = InstanceId::new("fleet");
        body(spec, &instance, &Names::new(&instance))
    }

    #[test]
    fn the_default_gives_nothing_away() {
        let host = made(&spec()).host_config.unwrap();
        assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
        assert_eq!((host.nano_cpus, host.pids_limit, host.shm_size), (Some(1_500_000_000), Some(100), Some(1 << 20)));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.cap_add, Some(Vec::new()));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!((host.privileged, host.init, host.auto_remove), (Some(false), Some(true), Some(false)));
        assert_eq!(host.binds, Some(Vec::new()));
        assert_eq!(host.network_mode.as_deref(), Some("runnerfleet-fleet"));
    }

    #[test]
    fn sudo_works_where_the_pool_asks_for_it() {
        let mut wanted = spec();
        wanted.security.no_new_privileges = false;
        wanted.security.cap_add = vec!["SYS_PTRACE".to_owned(), "SETUID".to_owned()];
        let host = made(&wanted).host_config.unwrap();
        assert_eq!(host.security_opt, None);
        let given = host.cap_add.unwrap();
        assert!(["SYS_PTRACE", "SETUID", "SETGID", "CHOWN"].iter().all(|name| given.iter().any(|has| has == name)));
        assert_eq!(given.iter().filter(|name| *name == "SETUID").count(), 1);
    }

    #[test]
    fn what_the_agent_needs_wins_over_the_pool_s_environment() {
        assert_eq!(
            made(&spec()).env.unwrap(),
            ["LANG=C", "RUNNER_MANUALLY_TRAP_SIG=1", "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE=1"]
        );
    }

    #[test]
    fn a_host_name_is_short_and_keeps_its_end() {
        assert_eq!(hostname("linux_x64.7"), "linux-x64-7");
        let long = hostname(&format!("{}-1234567", "x".repeat(80)));
        assert_eq!(long.len(), 63);
        assert!(long.ends_with("x-1234567"));
    }
}
