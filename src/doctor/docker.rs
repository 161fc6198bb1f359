//! The engine: whether it can carry runners as they are meant to be.

use super::catalogue::{Check, DISK, ENGINE, ENGINE_WARNINGS, FIREWALL, IMAGES, LIMITS, ROOM};
use super::finding::{Finding, Seen};
use super::words::bytes;
use crate::config::{Config, Network, Pool};
use crate::provider::docker::{EngineFacts, MetadataRule};
use std::collections::BTreeMap;

/// So many times the configured bound are little room: an image has some GiB.
const LITTLE_ROOM: u64 = 2;

/// Without a configuration this much should be free.
const USUAL_ROOM: u64 = 5 << 30;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerFacts {
    /// The engine.
    pub engine: Seen<EngineFacts>,
    /// Each pool's image, by its reference: whether it is there.
    pub images: BTreeMap<String, Seen<bool>>,
    /// The rule against the metadata address.
    pub rule: MetadataRule,
    /// What puts it in.
    pub rule_command: String,
}

/// What there is to say; without a configuration only of the engine itself.
pub fn findings(config: Option<&Config>, facts: &DockerFacts) -> Vec<Finding> {
    let all: [Check; 7] = [ENGINE, LIMITS, ENGINE_WARNINGS, DISK, ROOM, IMAGES, FIREWALL];
    let engine = match &facts.engine {
        Seen::Known(engine) => engine,
        Seen::Failed(why) => {
            let remedy = "start the engine (`systemctl start docker`), let this user open its socket (group `docker`), or name \
                          another (`hosts[].docker`, DOCKER_HOST)";
            let first = ENGINE.broken(why.clone(), remedy);
            let rest = all[1..].iter().map(|check| check.not_looked("the engine does not answer"));
            return std::iter::once(first).chain(rest).collect();
        }
        Seen::NotLooked(because) => return all.iter().map(|check| check.not_looked(because)).collect(),
    };
    let mut findings =
        vec![ENGINE.ok(format!("Docker Engine {} at {}, API {}", engine.version, engine.address, engine.api))];
    findings.push(limits(config, engine));
    findings.extend(warnings(engine));
    findings.push(disk(config, engine));
    match config {
        None => {
            let because = "the configuration cannot be used";
            findings.extend([ROOM, IMAGES, FIREWALL].iter().map(|check| check.not_looked(because)));
        }
        Some(config) => {
            findings.push(room(config, engine));
            findings.extend(config.pools.iter().map(|pool| image(pool, facts.images.get(&pool.image))));
            findings.push(metadata(config, facts));
        }
    }
    findings
}

fn limits(config: Option<&Config>, engine: &EngineFacts) -> Finding {
    let wants_cpus = config.is_some_and(|config| config.pools.iter().any(|pool| pool.resources.cpus.is_some()));
    let mut missing = Vec::new();
    for (is_kept, what) in [
        (engine.memory_limit, "memory"),
        (engine.pids_limit, "processes"),
        (engine.cpu_quota || !wants_cpus, "processors"),
    ] {
        if !is_kept {
            missing.push(what);
        }
    }
    let remedy = "switch the kernel's cgroup controllers on (on some boards `cgroup_enable=memory cgroup_memory=1` on its command \
                  line); a rootless engine needs them delegated to its user";
    if !missing.is_empty() {
        let says = format!("limits of {} are not kept here: one job can take the whole host", missing.join(" and of "));
        return LIMITS.broken(says, remedy);
    }
    if !engine.swap_limit {
        let says = "limits of memory do not hold for swap: a job can fill the host's swap";
        return LIMITS.warning(says, "add `swapaccount=1` to the kernel's command line, or switch swap off");
    }
    let cpus = if engine.cpu_quota { ", processors" } else { "" };
    LIMITS.ok(format!("limits of memory, swap{cpus} and processes are kept"))
}

/// Those that `limits` tells of are left out.
fn warnings(engine: &EngineFacts) -> Vec<Finding> {
    let told = |warning: &&String| {
        let text = warning.to_lowercase();
        !["no memory limit", "no swap limit", "no cpu cfs", "no pids limit"].iter().any(|known| text.contains(known))
    };
    let warnings: Vec<Finding> = (engine.warnings.iter().filter(told))
        .map(|warning| {
            let text = warning.trim().trim_start_matches("WARNING: ").lines().next().unwrap_or_default();
            let remedy = if text.contains("without encryption") || text.contains("is accessible on http") {
                "whoever reaches that address is root on the host: take it away from the engine's `hosts`, or bind it to this machine alone"
            } else if text.contains("bridge-nf-call") {
                "modprobe br_netfilter; sysctl net.bridge.bridge-nf-call-iptables=1: without it runners can reach each other"
            } else {
                "`docker info` shows it as well; the engine's documentation knows more"
            };
            ENGINE_WARNINGS.warning(format!("the engine warns: {text}"), remedy)
        })
        .collect();
    if warnings.is_empty() { vec![ENGINE_WARNINGS.ok("the engine warns of nothing else")] } else { warnings }
}

fn disk(config: Option<&Config>, engine: &EngineFacts) -> Finding {
    let folder = engine.root_dir.as_deref().unwrap_or("its folder");
    let Some(free) = engine.disk_free else {
        return DISK.unknown(
            "how much disk space the engine has cannot be told from here: it is on another machine",
            "look there: `docker system df`, `df -h`",
        );
    };
    let least = config.map(|config| config.limits.disk_free_min);
    let remedy =
        "`runnerfleet images prune` removes images that nothing uses; `docker system df` shows what takes the rest";
    match least {
        Some(least) if free < least => DISK.broken(
            format!(
                "{} are free in {folder}, and limits.disk_free_min is {}: no runner is made",
                bytes(free),
                bytes(least)
            ),
            remedy,
        ),
        _ if free < least.map_or(USUAL_ROOM, |least| least.saturating_mul(LITTLE_ROOM)) => {
            DISK.warning(format!("only {} are free in {folder}", bytes(free)), remedy)
        }
        _ => DISK.ok(format!("{} are free in {folder}", bytes(free))),
    }
}

fn room(config: &Config, engine: &EngineFacts) -> Finding {
    let free = engine.memory.saturating_sub(config.docker.reserve_memory);
    let too_large: Vec<String> = (config.pools.iter())
        .filter(|pool| pool.resources.memory > free)
        .map(|pool| format!("`{}` ({})", pool.name, bytes(pool.resources.memory)))
        .collect();
    if too_large.is_empty() {
        let most = config.pools.iter().map(|pool| pool.resources.memory).max().unwrap_or(1).max(1);
        let many = free / most;
        let fit = if many == 1 { "one of the largest fits".to_owned() } else { format!("{many} of the largest fit") };
        return ROOM.ok(format!("{} for runners: {fit}", bytes(free)));
    }
    ROOM.broken(
        format!("no runner of {} fits: runners have {} here", too_large.join(", "), bytes(free)),
        "lower `resources.memory` of the pool or `hosts[].reserve.memory`, or give the host more",
    )
}

fn image(pool: &Pool, seen: Option<&Seen<bool>>) -> Finding {
    let (name, image) = (&pool.name, &pool.image);
    let finding = match seen {
        Some(Seen::Known(true)) => IMAGES.ok(format!("pool `{name}`: image `{image}` is there")),
        Some(Seen::Known(false)) if pool.build.is_some() => {
            IMAGES.broken(format!("pool `{name}`: its image was never built"), format!("runnerfleet build {name}"))
        }
        Some(Seen::Known(false)) if pool.pull => IMAGES.warning(
            format!("pool `{name}`: image `{image}` is not there; the first job waits until it is fetched"),
            format!("docker pull {image}"),
        ),
        Some(Seen::Known(false)) => IMAGES.broken(
            format!("pool `{name}`: image `{image}` is not there, and may not be fetched (`pull_policy: never`)"),
            format!("docker pull {image}, or bring it there another way (`docker load`)"),
        ),
        Some(Seen::Failed(why)) => IMAGES.unknown(
            format!("pool `{name}`: whether image `{image}` is there cannot be told: {why}"),
            "see the engine's log",
        ),
        Some(Seen::NotLooked(because)) => IMAGES.not_looked(because),
        None => IMAGES.not_looked("nobody asked for it"),
    };
    finding.about(name.as_str())
}

fn metadata(config: &Config, facts: &DockerFacts) -> Finding {
    // `serve`'s rule is for its own bridges.
    let elsewhere: Vec<String> = (config.pools.iter())
        .filter(|pool| matches!(pool.network, Network::Named(_)))
        .map(|pool| format!("`{}`", pool.name))
        .collect();
    let ours = config.pools.iter().any(|pool| matches!(pool.network, Network::Isolated | Network::Dedicated));
    let run = format!("run as root on the engine's machine: {}", facts.rule_command);
    if !elsewhere.is_empty() {
        let says = format!(
            "pools {} are on networks of your own, for which there is no rule: their jobs can ask for the host's credentials \
             where it is a cloud's machine",
            elsewhere.join(", ")
        );
        return FIREWALL.warning(says, "use the network `isolated`, or cut the way to 169.254.0.0/16 yourself");
    }
    if !ours {
        return FIREWALL.ok("no pool has a network");
    }
    match &facts.rule {
        MetadataRule::There => FIREWALL.ok("runners cannot reach the host's metadata address"),
        MetadataRule::Missing => FIREWALL.warning(
            "nothing keeps runners from the host's metadata address yet",
            format!("`serve` puts the rule in when it runs as root; or {run}"),
        ),
        MetadataRule::Unknown(why) => FIREWALL.unknown(
            format!("whether runners can reach the host's metadata address cannot be told: {why}"),
            format!("where the host is a cloud's machine, {run}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Broken, NotLooked, Ok, Unknown, Warning};
    use super::*;
    use std::path::Path;

    const GIB: u64 = 1 << 30;

    fn config(pool: &str) -> Config {
        let text = format!(
            "version: 1\nrunners_defaults: {{ org_url: https://github.com/acme }}\n\
             runners: [{{ id: linux, labels: [linux], {pool} }}]\ngithub: {{ auth: {{ token: '${{TOKEN}}' }} }}\n\
             intake: {{ secrets: ['${{SECRET}}'] }}\nlimits: {{ disk_free_min: 1g }}\n\
             hosts: [{{ name: here, reserve: {{ memory: 1g }} }}]\n"
        );
        let env = |name: &str| Some(format!("value-of-{name}"));
        crate::config::parse(&text, "fleet.yaml", Path::new("/etc/fleet"), &env, "here").unwrap().config
    }

    fn plain() -> Config {
        config("base_image: 'runner:1', resources: { memory: 2g, cpus: 1 }")
    }

    fn engine() -> EngineFacts {
        EngineFacts {
            address: "unix:///var/run/docker.sock".to_owned(),
            version: "27.3.1".to_owned(),
            api: "1.47".to_owned(),
            memory_limit: true,
            swap_limit: true,
            cpu_quota: true,
            pids_limit: true,
            memory: 16 * GIB,
            root_dir: Some("/var/lib/docker".to_owned()),
            disk_free: Some(100 * GIB),
            warnings: Vec::new(),
        }
    }

    fn facts() -> DockerFacts {
        DockerFacts {
            engine: Seen::Known(engine()),
            images: BTreeMap::from([("runner:1".to_owned(), Seen::Known(true))]),
            rule: MetadataRule::There,
            rule_command: "iptables -I DOCKER-USER".to_owned(),
        }
    }

    fn verdict(config: &Config, facts: &DockerFacts, id: &str) -> Verdict {
        let all = findings(Some(config), facts);
        let finding = all.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}"));
        assert!(matches!(finding.verdict, Ok | NotLooked) || finding.remedy.is_some(), "{finding:?}");
        finding.verdict
    }

    fn with(change: impl FnOnce(&mut EngineFacts)) -> DockerFacts {
        let mut engine = engine();
        change(&mut engine);
        DockerFacts { engine: Seen::Known(engine), ..facts() }
    }

    #[test]
    fn all_is_green() {
        let all = findings(Some(&plain()), &facts());
        assert!(all.iter().all(|finding| finding.verdict == Ok), "{all:?}");
        assert_eq!(all.len(), 7);
        assert_eq!(all[0].says, "Docker Engine 27.3.1 at unix:///var/run/docker.sock, API 1.47");
        assert_eq!(all[4].says, "15.0 GiB for runners: 7 of the largest fit");
    }

    #[test]
    fn an_engine_that_is_away_is_red_and_the_rest_is_not_looked_at() {
        let away = DockerFacts { engine: Seen::Failed("Docker cannot be reached: no socket".to_owned()), ..facts() };
        let all = findings(Some(&plain()), &away);
        assert_eq!(all[0].verdict, Broken);
        assert!(all[0].remedy.as_ref().unwrap().contains("systemctl start docker"));
        assert!(all[1..].iter().all(|finding| finding.verdict == NotLooked), "{all:?}");
    }

    #[test]
    fn limits_in_each_colour() {
        let of = |change: fn(&mut EngineFacts)| verdict(&plain(), &with(change), "docker.limits");
        assert_eq!(of(|engine| engine.memory_limit = false), Broken);
        assert_eq!(of(|engine| engine.pids_limit = false), Broken);
        assert_eq!(of(|engine| engine.cpu_quota = false), Broken);
        assert_eq!(of(|engine| engine.swap_limit = false), Warning);
        let without_cpus = config("base_image: 'runner:1', resources: { memory: 2g }");
        assert_eq!(verdict(&without_cpus, &with(|engine| engine.cpu_quota = false), "docker.limits"), Ok);
    }

    #[test]
    fn the_engines_warnings_are_yellow_but_for_those_told_already() {
        let said = |warning: &'static str| with(move |engine| engine.warnings = vec![warning.to_owned()]);
        assert_eq!(verdict(&plain(), &said("WARNING: No swap limit support"), "docker.warnings"), Ok);
        let open = "WARNING: API is accessible on http://0.0.0.0:2375 without encryption.\n Access is root.";
        let all = findings(Some(&plain()), &said(open));
        let finding = all.iter().find(|finding| finding.id == "docker.warnings").unwrap();
        assert_eq!(finding.verdict, Warning);
        assert!(finding.remedy.as_ref().unwrap().contains("is root on the host"), "{finding:?}");
        assert!(!finding.says.contains('\n'));
    }

    #[test]
    fn disk_space_in_each_colour() {
        let of = |free: Option<u64>| {
            let facts = DockerFacts { engine: Seen::Known(EngineFacts { disk_free: free, ..engine() }), ..facts() };
            verdict(&plain(), &facts, "docker.disk")
        };
        assert_eq!([of(Some(3 * GIB)), of(Some(GIB + 1)), of(Some(GIB - 1)), of(None)], [Ok, Warning, Broken, Unknown]);
    }

    #[test]
    fn a_pool_that_fits_nowhere_is_red() {
        assert_eq!(verdict(&plain(), &with(|engine| engine.memory = 2 * GIB), "docker.room"), Broken);
    }

    #[test]
    fn images_in_each_colour() {
        let of = |config: &Config, seen: Seen<bool>| {
            let images = config.pools.iter().map(|pool| (pool.image.clone(), seen.clone())).collect();
            verdict(config, &DockerFacts { images, ..facts() }, "docker.images")
        };
        let fetched = config("base_image: 'runner:1', pull_policy: if-not-present");
        assert_eq!(of(&fetched, Seen::Known(true)), Ok);
        assert_eq!(of(&fetched, Seen::Known(false)), Warning);
        assert_eq!(of(&config("base_image: 'runner:1', pull_policy: never"), Seen::Known(false)), Broken);
        assert_eq!(of(&fetched, Seen::Failed("it broke".to_owned())), Unknown);
        let mut built = fetched.clone();
        built.pools[0].build = Some(crate::config::Build {
            dockerfile: "/etc/fleet/Dockerfile".into(),
            context: "/etc/fleet".into(),
            techno: None,
            techno_version: None,
            args: BTreeMap::new(),
        });
        assert_eq!(of(&built, Seen::Known(false)), Broken);
    }

    #[test]
    fn the_metadata_rule_in_each_colour() {
        let of = |rule: MetadataRule| verdict(&plain(), &DockerFacts { rule, ..facts() }, "docker.metadata");
        assert_eq!(of(MetadataRule::There), Ok);
        assert_eq!(of(MetadataRule::Missing), Warning);
        assert_eq!(of(MetadataRule::Unknown("no root".to_owned())), Unknown);
        let mut elsewhere = plain();
        elsewhere.pools[0].network = Network::Named("bridge".to_owned());
        assert_eq!(verdict(&elsewhere, &facts(), "docker.metadata"), Warning);
        elsewhere.pools[0].network = Network::None;
        assert_eq!(verdict(&elsewhere, &DockerFacts { rule: MetadataRule::Missing, ..facts() }, "docker.metadata"), Ok);
    }

    #[test]
    fn without_a_configuration_the_engine_is_looked_at_all_the_same() {
        let all = findings(None, &facts());
        assert_eq!((all[0].verdict, all[3].verdict), (Ok, Ok));
        assert_eq!(all.iter().filter(|finding| finding.verdict == NotLooked).count(), 3);
    }
}
