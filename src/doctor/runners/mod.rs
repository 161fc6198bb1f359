//! What runs: `serve`, the agents, and GitHub's list held against the engine's.

use super::catalogue::{AGENT, Check, GHOSTS, ORPHANS, SERVE};
use super::finding::{Finding, Seen};
use super::github::Asked;
use super::words::{count, some, version};
use crate::config::{Config, Mode, Pool};
use crate::images::names::runner_version;
use crate::model::{Container, ContainerStatus, Registration, RegistrationStatus, RunnerName, Scope, after};
use crate::overview::Overview;
use crate::plan::naming;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The oldest agent that may register at github.com and ghe.com (GitHub's changelog of 2026, enforced since 2026-09-25;
/// actions/runner issue 4542). Servers of enterprises have no such floor.
pub const OLDEST_AGENT: &str = "2.329.0";

/// A container whose pool is not in the file any more may take so long to register.
const USUAL_START: Duration = Duration::from_secs(10 * 60);

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnersFacts {
    /// What `serve` knows; it failed where none runs.
    pub serve: Serve,
    /// GitHub's list of each scope.
    pub registrations: BTreeMap<Scope, Asked<Vec<Registration>>>,
    /// The engine's containers of this fleet.
    pub containers: Seen<Vec<Container>>,
    /// The agent that GitHub gives out, for each scope.
    pub newest_agents: BTreeMap<Scope, Asked<Option<String>>>,
}

/// The `serve` of this machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Serve {
    /// It answers.
    Runs(Box<Overview>),
    /// It is there, and does not answer as it should.
    Silent(String),
    /// Nobody listens on its socket.
    NotThere,
    /// Nobody looked, because…
    NotLooked(String),
}

const ALL: [Check; 4] = [SERVE, AGENT, GHOSTS, ORPHANS];

/// Nobody looked.
pub fn not_looked(because: &str) -> Vec<Finding> {
    ALL.iter().map(|check| check.not_looked(because)).collect()
}

impl Serve {
    /// Whether it answers.
    pub fn runs(&self) -> bool {
        matches!(self, Self::Runs(_))
    }
}

/// What there is to say.
pub fn findings(config: &Config, facts: &RunnersFacts, now: Timestamp) -> Vec<Finding> {
    let mut findings = serve(config, &facts.serve);
    findings.extend(config.pools.iter().map(|pool| agent(config, pool, facts)));
    findings.push(ghosts(config, facts));
    findings.push(orphans(config, facts, now));
    findings
}

fn serve(config: &Config, serve: &Serve) -> Vec<Finding> {
    let socket = config.http.admin_socket.display();
    match serve {
        Serve::Runs(overview) if overview.unknown.is_empty() => {
            vec![SERVE.ok("`serve` runs here, and sees all of its parts")]
        }
        Serve::Runs(overview) => (overview.unknown.iter())
            .map(|(part, why)| {
                let says = format!("`serve` runs here, and cannot see {part}: {why}");
                SERVE.warning(says, "nothing is begun or ended there until it can; the lines above say what is wrong")
            })
            .collect(),
        Serve::Silent(why) => vec![SERVE.warning(
            format!("a `serve` listens on {socket}, and does not answer as it should: {why}"),
            "is it of another version? restart it; a running job goes on meanwhile",
        )],
        Serve::NotThere => vec![SERVE.warning(
            format!("no `serve` runs here (nobody listens on {socket}): no job gets a runner"),
            "systemctl start runnerfleet, or `runnerfleet serve`",
        )],
        Serve::NotLooked(because) => vec![SERVE.not_looked(because)],
    }
}

/// Whether GitHub refuses agents below its floor there.
fn has_floor(api_url: &str) -> bool {
    let host = api_url.split("://").nth(1).unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
    host == "api.github.com" || host.ends_with(".ghe.com")
}

fn agent(config: &Config, pool: &Pool, facts: &RunnersFacts) -> Finding {
    let name = &pool.name;
    let image = pool.base_image.as_deref().unwrap_or(&pool.image);
    // What GitHub's list says of the pool's own runners is what really runs; else what the image's tag promises.
    let running = facts.registrations.get(&pool.scope).and_then(Seen::known).into_iter().flatten();
    let running = running.filter(|runner| of_pool(config, &runner.name).is_some_and(|its| its.name == *name));
    let oldest = running.filter_map(|runner| runner.version.clone()).min_by_key(|text| version(text));
    let (has, from) = match (oldest, runner_version(image)) {
        (Some(running), _) => (running, "by GitHub's list of its runners".to_owned()),
        (None, Some(tag)) => (tag.to_owned(), format!("by the tag of `{image}`")),
        (None, None) => {
            return AGENT
                .unknown(
                    format!("pool `{name}`: the tag of `{image}` has no version of the agent, and no runner of it is registered"),
                    "name a base image by the agent's version, as in `ghcr.io/actions/actions-runner:2.336.0`",
                )
                .about(name.as_str());
        }
    };
    let newer = "`runnerfleet check-base-image-update --apply` takes a newer base image";
    let known = version(&has);
    let newest = match facts.newest_agents.get(&pool.scope) {
        Some(Seen::Known(Some(newest))) => Some(newest.clone()),
        Some(Seen::Known(None) | Seen::Failed(_) | Seen::NotLooked(_)) | None => None,
    };
    let finding = if has_floor(&config.github.api_url) && known < version(OLDEST_AGENT) {
        AGENT.broken(
            format!(
                "pool `{name}`: agent {has} ({from}) is older than {OLDEST_AGENT}: GitHub does not take it any more"
            ),
            newer,
        )
    } else {
        match newest {
            Some(newest) if known < version(&newest) => AGENT.warning(
                format!(
                    "pool `{name}`: agent {has} ({from}), GitHub gives out {newest}; 30 days after a release an older agent gets \
                     no jobs, and when {newest} was released cannot be told from here"
                ),
                newer,
            ),
            Some(newest) => AGENT.ok(format!("pool `{name}`: agent {has} ({from}); GitHub gives out {newest}")),
            None => AGENT.unknown(
                format!("pool `{name}`: agent {has} ({from}); which one GitHub gives out could not be read"),
                "run this again once GitHub answers",
            ),
        }
    };
    finding.about(name.as_str())
}

/// The pool that a runner's name is of.
fn of_pool<'a>(config: &'a Config, runner: &RunnerName) -> Option<&'a Pool> {
    naming::given_by(runner, &config.pools, &config.instance).or_else(|| {
        config.pools.iter().find(|pool| match pool.mode {
            Mode::Ephemeral => false,
            Mode::Persistent { count } => {
                let number =
                    runner.as_str().strip_prefix(pool.name_prefix.as_str()).and_then(|rest| rest.strip_prefix('-'));
                number.and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| (1..=count).contains(&number))
            }
        })
    })
}

fn ghosts(config: &Config, facts: &RunnersFacts) -> Finding {
    let containers = match &facts.containers {
        Seen::Known(containers) => containers,
        Seen::Failed(_) => return GHOSTS.not_looked("the engine does not answer"),
        Seen::NotLooked(because) => return GHOSTS.not_looked(because),
    };
    let mut unread = Vec::new();
    let (mut ghosts, mut elsewhere, mut behind) = (Vec::new(), 0_usize, 0_usize);
    // Those of another manager have their containers on its engine.
    let of_others: BTreeSet<&str> = match &facts.serve {
        Serve::Runs(overview) => {
            overview.runners.iter().filter(|row| row.host != overview.host).map(|row| row.name.as_str()).collect()
        }
        Serve::Silent(_) | Serve::NotThere | Serve::NotLooked(_) => BTreeSet::new(),
    };
    for (scope, list) in &facts.registrations {
        let list = match list {
            Seen::Known(list) => list,
            Seen::Failed(error) => {
                unread.push(error.to_string());
                continue;
            }
            Seen::NotLooked(because) => return GHOSTS.not_looked(because),
        };
        for runner in list {
            if of_pool(config, &runner.name).is_none_or(|pool| pool.scope != *scope) {
                continue;
            }
            if containers.iter().any(|container| container.runner == runner.name) {
                behind += 1;
            } else if of_others.contains(runner.name.as_str())
                || runner.busy
                || runner.status == RegistrationStatus::Online
            {
                elsewhere += 1;
            } else {
                ghosts.push(runner.name.to_string());
            }
        }
    }
    if !ghosts.is_empty() {
        let says = format!(
            "{} in GitHub's list with no container here, and offline: {}",
            count(ghosts.len(), "runner of this fleet stands", "runners of this fleet stand"),
            some(&ghosts)
        );
        let first = &ghosts[0];
        let remedy = format!(
            "a running `serve` takes it off after two minutes; or `runnerfleet remove {first}`. One that another manager is just \
             bringing up looks the same"
        );
        return GHOSTS.warning(says, remedy);
    }
    if let Some(why) = unread.first() {
        return GHOSTS
            .unknown(format!("GitHub's list of runners cannot be read: {why}"), "run this again once GitHub answers");
    }
    let others = if elsewhere == 0 { String::new() } else { format!("; {elsewhere} more run on other engines") };
    GHOSTS.ok(match behind {
        0 => format!("no runner of this fleet is registered here{others}"),
        many => format!("{} in GitHub's list, each with its container{others}", count(many, "runner", "runners")),
    })
}

fn orphans(config: &Config, facts: &RunnersFacts, now: Timestamp) -> Finding {
    let containers = match &facts.containers {
        Seen::Known(containers) => containers,
        Seen::Failed(_) => return ORPHANS.not_looked("the engine does not answer"),
        Seen::NotLooked(because) => return ORPHANS.not_looked(because),
    };
    let mut orphans = Vec::new();
    let (mut running, mut starting, mut unread) = (0_usize, 0_usize, 0_usize);
    for container in containers {
        match container.status {
            ContainerStatus::Running => {}
            ContainerStatus::Created | ContainerStatus::Exited { .. } => continue,
        }
        let Some(list) = facts.registrations.get(&container.scope).and_then(Seen::known) else {
            unread += 1;
            continue;
        };
        let patience = config.pool(&container.pool).map_or(USUAL_START, |pool| pool.online_timeout);
        if list.iter().any(|runner| runner.name.as_str().eq_ignore_ascii_case(container.runner.as_str())) {
            running += 1;
        } else if now < after(container.created_at, patience) {
            starting += 1;
        } else {
            orphans.push(container.runner.to_string());
        }
    }
    if !orphans.is_empty() {
        let says = format!(
            "{} runs, and GitHub does not know it: {}",
            count(orphans.len(), "container of this fleet", "containers of this fleet"),
            some(&orphans)
        );
        let remedy = format!(
            "a running `serve` ends it once no job's process is in it; or look yourself (`runnerfleet logs {0}`) and \
             `runnerfleet remove {0}`",
            orphans[0]
        );
        return ORPHANS.warning(says, remedy);
    }
    if unread > 0 {
        let says = format!(
            "{} cannot be held against GitHub's list, which could not be read",
            count(unread, "container", "containers")
        );
        return ORPHANS.unknown(says, "run this again once GitHub answers");
    }
    let starts = if starting == 0 { String::new() } else { format!("; {starting} just begun") };
    ORPHANS.ok(match running {
        0 => format!("no container of this fleet runs{starts}"),
        many => format!("GitHub knows each of the {} that run{starts}", count(many, "container", "containers")),
    })
}

#[cfg(test)]
mod tests;
