//! From an entry under `runners:` to a checked [`Pool`].

use super::collection::Table;
use super::names::{Label, is_docker_name};
use super::reading::{Placed, Reading, Spot};
use super::section::{Field, Slot};
use super::shape::{self, PoolSettings, Runner};
use super::{Build, Mode, Network, Pool, RegistrationKind, Resources, Security};
use crate::model::{InstanceId, LabelSet, PoolName, Scope, built_image};
use std::collections::BTreeMap;
use std::time::Duration;

/// Docker refuses containers with less.
const LEAST_MEMORY: u64 = 6 << 20;
/// GitHub's bound for one runner.
const MOST_LABELS: usize = 100;
/// `{prefix}-{job}-{attempt}-{try}-{tag}` has to fit into GitHub's 64 characters.
const LONGEST_PREFIX: usize = 30;

/// A pool, with what later checks point to.
pub(super) struct Built {
    pub(super) pool: Pool,
    pub(super) site: super::org_url::Site,
    /// Where `org_url` stands.
    pub(super) org_url: Spot,
    /// Where `scaling.min_idle` stands.
    pub(super) min_idle: Spot,
}

/// All pools; those that cannot be built have told why.
pub(super) fn build_all(
    runners: &[Placed<Runner>],
    defaults: &PoolSettings,
    instance: &InstanceId,
    reading: &mut Reading<'_>,
) -> Vec<Built> {
    check_names(runners, reading);
    runners.iter().filter_map(|runner| build(&runner.value, defaults, instance, reading)).collect()
}

/// Ids and prefixes are each known once, and no runner's name can belong to two pools.
fn check_names(runners: &[Placed<Runner>], reading: &mut Reading<'_>) {
    let mut ids: Vec<(&str, &Spot)> = Vec::new();
    let mut prefixes: Vec<(&str, &Spot)> = Vec::new();
    for Placed { value: runner, .. } in runners {
        if let Field::Good(id) = &runner.id {
            if let Some((_, first)) = ids.iter().find(|(known, _)| known.eq_ignore_ascii_case(&id.value.0)) {
                let line = first.place.line;
                reading.problem(
                    &id.spot,
                    format!("`{}` is the id of another pool already (line {line})", id.value.0),
                    "",
                );
                continue;
            }
            ids.push((&id.value.0, &id.spot));
        }
        let (prefix, spot) = match (&runner.name_prefix, &runner.id) {
            (Field::Good(prefix), _) => (prefix.value.0.as_str(), &prefix.spot),
            (Field::Absent, Field::Good(id)) => (id.value.0.as_str(), &id.spot),
            (Field::Absent | Field::Bad, _) => continue,
        };
        for (other, first) in &prefixes {
            let line = first.place.line;
            if other.eq_ignore_ascii_case(prefix) {
                let message = format!("runners of another pool (line {line}) have the prefix `{prefix}` already");
                reading.problem(spot, message, "give this pool a `name_prefix` of its own");
            } else if is_numbered(prefix, other) || is_numbered(other, prefix) {
                let message = format!(
                    "the prefixes `{other}` (line {line}) and `{prefix}` cannot be told apart in a runner's name"
                );
                reading.problem(
                    spot,
                    message,
                    "runners are numbered behind the prefix; choose one that does not end in `-` and a number",
                );
            }
        }
        prefixes.push((prefix, spot));
    }
}

/// Whether `longer` is `prefix-NUMBER…`.
fn is_numbered(longer: &str, prefix: &str) -> bool {
    let rest = match (longer.get(..prefix.len()), longer.get(prefix.len()..)) {
        (Some(start), Some(rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        _ => return false,
    };
    let number = rest.strip_prefix('-').map(|rest| rest.split('-').next().unwrap_or_default());
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn build(runner: &Runner, defaults: &PoolSettings, instance: &InstanceId, reading: &mut Reading<'_>) -> Option<Built> {
    let settings = runner.settings.clone().over(defaults.clone());
    let PoolSettings { scaling, resources, timeouts, security, .. } = &settings;

    let mode = mode(runner, &settings, reading);
    let name_prefix = name_prefix(runner, reading);
    let labels = labels(runner, &settings, reading);
    let name = PoolName::new(runner.id.good().map_or("", |id| id.0.as_str()));
    let made = made_here(runner, reading);
    let image = match &made {
        Some(_) => Some(built_image::current(instance, &name)),
        None => image(runner, &settings, reading),
    };
    let base_image = base_image(runner, &settings, made.is_some(), reading);
    let org_url = org_url(runner, &settings, reading);
    let runner_group = runner_group(&settings, org_url.as_ref().map(|(url, _)| &url.scope), reading);

    let min_idle: u32 = scaling.min_idle.good().and_then(|count| count.get()).unwrap_or_default();
    let max: u32 = scaling.max.good().and_then(|count| count.get()).unwrap_or_default();
    if let (Field::Good(least), Field::Good(most)) = (&scaling.min_idle, &scaling.max)
        && min_idle > max
    {
        let spot = if least.spot.place.line > 0 { &least.spot } else { &most.spot };
        reading.problem(
            spot,
            format!("`min_idle` ({min_idle}) is more than `max` ({max})"),
            "a pool never has more than `max` runners",
        );
    }
    let pool = Pool {
        name,
        name_prefix: name_prefix.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        scope: org_url.as_ref().map(|(url, _)| url.scope.clone())?,
        scope_url: org_url.as_ref().map(|(url, _)| url.url())?,
        runner_group,
        registration: match settings.registration.good() {
            Some(shape::Registration::Token) => RegistrationKind::Token,
            Some(shape::Registration::Jit) | None => RegistrationKind::Jit,
        },
        mode,
        image: image.unwrap_or_default(),
        pull: made.is_none() && settings.pull_policy.good() != Some(&shape::PullPolicy::Never),
        base_image,
        build: made,
        min_idle,
        max,
        priority: settings.matching.priority.good().and_then(|number| number.get()).unwrap_or_default(),
        idle_timeout: scaling.idle_timeout.good().copied().unwrap_or_default(),
        max_lifetime: positive(&scaling.max_lifetime, reading),
        job_max_age: positive(&scaling.job_max_age, reading),
        provision_timeout: positive(&timeouts.provision, reading),
        online_timeout: positive(&timeouts.online, reading),
        drain_timeout: positive(&timeouts.drain, reading),
        stop_grace: positive(&timeouts.stop_grace, reading),
        max_unavailable: settings.rollout.max_unavailable.good().and_then(|count| count.get()).unwrap_or(1),
        resources: container_limits(resources, reading),
        env: environment(&settings.env, reading),
        command: command(&settings, reading),
        user: settings.user.good().map(|user| user.0.clone()),
        work_dir: settings.work.dir.good().map(|dir| dir.0.clone()).unwrap_or_default(),
        network: network(&settings.docker.network, reading),
        security: given_away(security, reading),
    };
    let (url, spot) = org_url?;
    let min_idle = scaling.min_idle.placed().map(|placed| placed.spot.clone()).unwrap_or_default();
    Some(Built { pool, site: url.site, org_url: spot, min_idle })
}

/// `nb` alone says it; `mode: persistent` wants a number, `mode: ephemeral` wants none.
fn mode(runner: &Runner, settings: &PoolSettings, reading: &mut Reading<'_>) -> Mode {
    let count: Option<u32> = runner.nb.good().and_then(|nb| nb.get());
    let own = runner.settings.mode.placed();
    // In `runners_defaults` it holds for the pools that have a number, and no other.
    match (own.or(settings.mode.placed()), count) {
        (Some(mode), Some(count)) if mode.value == shape::Mode::Ephemeral && count > 0 => {
            if own.is_none() {
                return Mode::Persistent { count };
            }
            if let Field::Good(nb) = &runner.nb {
                let hint = "leave `nb` out and set `scaling.min_idle` and `scaling.max`; or write `mode: persistent`";
                reading.problem(&nb.spot, "ephemeral runners have no fixed number", hint);
            }
            Mode::Ephemeral
        }
        (Some(mode), None) if mode.value == shape::Mode::Persistent && runner.nb.is_absent() => {
            reading.problem(&runner.at.missing("nb"), "is missing", "`mode: persistent` keeps `nb` runners");
            Mode::Persistent { count: 0 }
        }
        (Some(mode), count) if mode.value == shape::Mode::Persistent => {
            Mode::Persistent { count: count.unwrap_or_default() }
        }
        (None, Some(count)) if count > 0 => Mode::Persistent { count },
        (Some(_) | None, _) => Mode::Ephemeral,
    }
}

/// The Dockerfile of `build_image`. A folder means the `Dockerfile` in it.
fn made_here(runner: &Runner, reading: &mut Reading<'_>) -> Option<Build> {
    let path = runner.build_image.placed()?;
    if let Field::Good(image) = &runner.image {
        reading.problem(&image.spot, "the pool has a `build_image`, too", "keep one of them");
    }
    let written = reading.folder.join(&path.value.0).components().collect::<std::path::PathBuf>();
    let dockerfile = if written.is_dir() { written.join("Dockerfile") } else { written };
    let context = dockerfile.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    Some(Build {
        context,
        dockerfile,
        techno: runner.techno.good().map(|text| text.0.clone()),
        techno_version: runner.techno_version.good().map(|text| text.0.clone()),
        args: build_args(&runner.build_args, reading),
    })
}

fn build_args(args: &Field<Table<super::leaf::AnyText>>, reading: &mut Reading<'_>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (name, Placed { value, spot }) in args.good().map(|table| table.0.as_slice()).unwrap_or_default() {
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            reading.problem(spot, "is not the name of a build argument", "letters, digits and `_` are possible");
        }
        map.insert(name.clone(), value.0.clone());
    }
    map
}

/// What the pool builds on, or runs itself.
fn base_image(runner: &Runner, settings: &PoolSettings, built: bool, reading: &mut Reading<'_>) -> Option<String> {
    if !runner.image.is_absent() {
        return None;
    }
    if built && settings.base_image.is_absent() {
        let hint = "give the pool one, or all pools with `runners_defaults.base_image`";
        reading.problem(&runner.at.missing("base_image"), "is missing: the Dockerfile builds on it", hint);
    }
    settings.base_image.good().map(|image| image.0.clone())
}

/// A time that is not zero.
pub(super) fn positive(field: &Field<Duration>, reading: &mut Reading<'_>) -> Duration {
    if let Field::Good(time) = field
        && time.value.is_zero()
    {
        reading.problem(&time.spot, "no time at all is too short", "");
    }
    field.good().copied().unwrap_or_default()
}

fn name_prefix(runner: &Runner, reading: &mut Reading<'_>) -> Option<String> {
    match (&runner.name_prefix, &runner.id) {
        (Field::Good(prefix), _) => Some(prefix.value.0.clone()),
        (Field::Absent, Field::Good(id)) => {
            if id.value.0.len() > LONGEST_PREFIX {
                let hint = format!("add a `name_prefix` of at most {LONGEST_PREFIX} characters");
                reading.problem(&id.spot, "is too long to start the names of runners", hint);
            }
            Some(id.value.0.clone())
        }
        (Field::Absent | Field::Bad, _) => None,
    }
}

/// The labels of the pool and, unless it is switched off, those that GitHub's own agent would have added.
fn labels(runner: &Runner, settings: &PoolSettings, reading: &mut Reading<'_>) -> Option<LabelSet> {
    let Field::Good(list) = &runner.labels else { return None };
    let with_defaults = settings.default_labels.good().copied()?;
    let mut all: Vec<&str> = if with_defaults { vec!["self-hosted", "linux", architecture()] } else { Vec::new() };
    let mut own: Vec<String> = Vec::new();
    for Placed { value: Label(label), spot } in &list.value.0 {
        if own.contains(&label.to_lowercase()) {
            reading.warning(spot, format!("the label `{label}` is there twice"), "GitHub does not tell `a` from `A`");
        }
        own.push(label.to_lowercase());
    }
    all.extend(own.iter().map(String::as_str));
    let labels: LabelSet = all.into_iter().collect();
    if labels.is_empty() {
        reading.problem(
            &list.spot,
            "a pool without a label serves no job",
            "give it one, or leave `default_labels` on",
        );
    }
    if labels.len() > MOST_LABELS {
        let message = format!("{} labels are too many for GitHub", labels.len());
        reading.problem(&list.spot, message, format!("{MOST_LABELS} are the most, those of `default_labels` included"));
    }
    Some(labels)
}

/// The label that GitHub's agent gives itself for this machine.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "x64",
        other => other,
    }
}

fn image(runner: &Runner, settings: &PoolSettings, reading: &mut Reading<'_>) -> Option<String> {
    match (&runner.image, &settings.base_image) {
        (Field::Good(image), _) => Some(image.value.0.clone()),
        (Field::Bad, _) | (Field::Absent, Field::Bad) => None,
        (Field::Absent, Field::Absent) => {
            let hint = "give the pool an `image`, or all pools one with `runners_defaults.base_image`";
            reading.problem(&runner.at.missing("image"), "is missing", hint);
            None
        }
        (Field::Absent, Field::Good(base)) => {
            if let Some(techno) = runner
                .techno
                .placed()
                .map(|techno| &techno.spot)
                .or(runner.techno_version.placed().map(|version| &version.spot))
            {
                let hint = "give the pool a `build_image`, or an `image` with what its jobs need";
                reading.warning(techno, format!("chooses no image by itself: the pool runs `{}`", base.value.0), hint);
            }
            Some(base.value.0.clone())
        }
    }
}

fn org_url(
    runner: &Runner,
    settings: &PoolSettings,
    reading: &mut Reading<'_>,
) -> Option<(super::org_url::OrgUrl, Spot)> {
    match &settings.org_url {
        Field::Good(url) => Some((url.value.clone(), url.spot.clone())),
        Field::Bad => None,
        Field::Absent => {
            let hint = "give the pool an `org_url`, or all pools one with `runners_defaults.org_url`";
            reading.problem(&runner.at.missing("org_url"), "is missing", hint);
            None
        }
    }
}

fn runner_group(settings: &PoolSettings, scope: Option<&Scope>, reading: &mut Reading<'_>) -> Option<String> {
    let group = settings.runner_group.placed()?;
    match scope {
        Some(Scope::Repository { .. }) => {
            // A group in `runners_defaults` is meant for the pools of organizations.
            if group.spot.path.starts_with("runners[") {
                let hint = "leave it out, or register the pool at the organization";
                reading.problem(&group.spot, "a repository has no runner groups", hint);
            }
            None
        }
        Some(Scope::Organization(_)) | None => Some(group.value.0.clone()),
    }
}

fn container_limits(resources: &shape::Resources, reading: &mut Reading<'_>) -> Resources {
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

fn environment(env: &Field<Table<super::leaf::AnyText>>, reading: &mut Reading<'_>) -> BTreeMap<String, String> {
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

fn command(settings: &PoolSettings, reading: &mut Reading<'_>) -> Vec<String> {
    if let Field::Good(command) = &settings.command
        && command.value.0.is_empty()
    {
        reading.problem(&command.spot, "is empty", "leave it out for `/home/runner/run.sh`");
    }
    let words = settings.command.good().map(|list| list.0.as_slice()).unwrap_or_default();
    words.iter().map(|word| word.value.0.clone()).collect()
}

fn network(field: &Field<super::names::Name<64>>, reading: &mut Reading<'_>) -> Network {
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
fn given_away(security: &shape::PoolSecurity, reading: &mut Reading<'_>) -> Security {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_behind_the_prefix_is_ambiguous() {
        assert!(is_numbered("web-1", "web"));
        assert!(is_numbered("Web-12-x", "web"));
        for (longer, prefix) in
            [("web-api", "web"), ("web1", "web"), ("web-1a", "web"), ("web", "web"), ("we", "web"), ("web-", "web")]
        {
            assert!(!is_numbered(longer, prefix), "{longer} {prefix}");
        }
    }
}
