//! Why a queued job does not run yet: one closed list, each with a sentence for a person.

use super::admit::Rule;
use crate::model::{Bar, Hidden, JobKey, PoolName, RepoName, RunnerName};
use jiff::Timestamp;
use serde::Serialize;
use std::fmt;

/// The reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Why {
    /// No pool has all its labels, or none is for its account.
    NoPool {
        /// The pool that comes nearest, and the labels that it lacks.
        nearest: Option<(PoolName, Vec<String>)>,
    },
    /// A pool has its labels, and a rule of the pool keeps it out.
    Refused {
        /// The pool that comes nearest to taking it.
        pool: PoolName,
        /// The rule.
        rule: Rule,
    },
    /// A pool has its labels, and has to know first what began its run and whose code it runs.
    RunNotKnown {
        /// The pool.
        pool: PoolName,
        /// The run.
        run: u64,
        /// What GitHub said when it was asked last.
        error: Option<String>,
    },
    /// A runner of its pool would get another job first, one that the pool refuses.
    KeptBack {
        /// The pool.
        pool: PoolName,
        /// The other job.
        refused: JobKey,
    },
    /// GitHub gives no job of its repository to the runners of the pool's group.
    GroupShut {
        /// The group.
        group: String,
        /// The organization.
        account: String,
        /// The repository.
        repository: RepoName,
        /// Why.
        hidden: Hidden,
    },
    /// The pool's runner group is not there.
    GroupMissing {
        /// The group.
        group: String,
        /// The organization.
        account: String,
        /// Whether this program makes it.
        being_made: bool,
    },
    /// The App can do nothing at its account.
    Barred {
        /// Why.
        bar: Bar,
        /// The account.
        account: String,
    },
    /// The App was not given its repository.
    NotGiven,
    /// A runner is begun for it now.
    Launching {
        /// Which.
        runner: RunnerName,
    },
    /// A runner is being made.
    RunnerComing {
        /// Which.
        runner: RunnerName,
    },
    /// A runner is up; GitHub has not given it the job yet.
    RunnerReady {
        /// Which.
        runner: RunnerName,
    },
    /// Its pool has a fixed number of runners, which take one job after the other.
    WaitsForKept {
        /// Which pool.
        pool: PoolName,
        /// `nb`.
        count: u32,
    },
    /// The pool has as many runners as it may.
    PoolFull {
        /// `scaling.max`.
        max: u32,
    },
    /// The fleet has as many runners as it may.
    FleetFull {
        /// `limits.max_runners`.
        max: u32,
    },
    /// This host has as many runners as it may.
    HostFull {
        /// `hosts[].max_runners`.
        max: u32,
    },
    /// This host's memory is given out.
    MemoryFull {
        /// Bytes that a runner of the pool may use.
        needs: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// A runner of the pool is larger than the host.
    NeverFits {
        /// Bytes that a runner of the pool may use.
        needs: u64,
        /// Bytes that the host has for runners.
        has: u64,
    },
    /// An older job waits for this host's room; nobody overtakes it.
    BehindOthers,
    /// Too little disk is free.
    DiskFull {
        /// Bytes free.
        free: u64,
        /// `limits.disk_free_min`.
        min: u64,
    },
    /// The pool's runners failed; the next is tried later.
    BackingOff {
        /// Then.
        until: Timestamp,
        /// How many times in a row.
        failures: u32,
        /// What the last one said.
        last: String,
    },
    /// A runner could not be made a moment ago because the engine, GitHub or the store did not answer; the next is tried later.
    TriedInVain {
        /// Then.
        until: Timestamp,
        /// What the last one met.
        last: String,
    },
    /// After several failures, or after GitHub was away, one runner at a time is tried.
    Probing {
        /// The one that is tried.
        runner: RunnerName,
        /// What the last failure said.
        last: String,
    },
    /// The store does not answer.
    StoreAway {
        /// What it said.
        why: String,
    },
    /// The engine does not answer.
    DockerAway {
        /// What it said.
        why: String,
    },
    /// GitHub's limits, or no answer from GitHub.
    GitHubBlocked {
        /// Until then.
        until: Timestamp,
        /// What it said.
        why: String,
    },
}

impl Why {
    /// Whether the pool's runner group is what it waits for.
    pub fn is_about_a_group(&self) -> bool {
        matches!(self, Self::GroupShut { .. } | Self::GroupMissing { .. })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool { nearest: Some((pool, missing)) } => {
                write!(f, "no pool has all its labels; `{pool}` lacks {}", missing.join(", "))
            }
            Self::NoPool { nearest: None } => f.write_str("no pool is for its account or repository"),
            Self::Refused { pool, rule } => write!(f, "pool `{pool}` has its labels and refuses it: {rule}"),
            Self::RunNotKnown { pool, run, error } => {
                write!(
                    f,
                    "not known yet whose code it runs, which pool `{pool}` wants to know: GitHub is asked about run {run}"
                )?;
                error.as_ref().map_or(Ok(()), |error| write!(f, "; last time: {error}"))
            }
            Self::KeptBack { pool, refused } => write!(
                f,
                "GitHub would give a runner of pool `{pool}` that is made now to job {refused}, which it must not run: see why that one waits"
            ),
            Self::GroupShut { group, account, repository, hidden } => {
                match hidden {
                    Hidden::Public => {
                        write!(f, "runner group `{group}` of {account} does not take public repositories")?;
                    }
                    Hidden::NotSelected => {
                        write!(f, "runner group `{group}` of {account} is not open to {repository}")?;
                    }
                }
                f.write_str(": GitHub would never give its runners this job (the organization's settings, Actions, Runner groups)")
            }
            Self::GroupMissing { group, account, being_made: true } => {
                write!(f, "runner group `{group}` of {account} is not made yet")
            }
            Self::GroupMissing { group, account, being_made: false } => {
                write!(f, "{account} has no runner group `{group}`: make it, or set create_runner_group")
            }
            Self::Barred { bar, account } => write!(f, "{bar} `{account}`"),
            Self::NotGiven => {
                f.write_str("the App was not given its repository (the installation's settings at GitHub)")
            }
            Self::Launching { runner } => write!(f, "runner {runner} is begun now"),
            Self::RunnerComing { runner } => write!(f, "runner {runner} is on its way"),
            Self::RunnerReady { runner } => write!(f, "runner {runner} is up; GitHub has not given it the job yet"),
            Self::WaitsForKept { pool, count: 0 } => {
                write!(f, "pool `{pool}` is persistent and has no runners (nb: 0)")
            }
            Self::WaitsForKept { pool, count: 1 } => {
                write!(f, "waits for the one persistent runner of pool `{pool}`")
            }
            Self::WaitsForKept { pool, count } => {
                write!(f, "waits for one of the {count} persistent runners of pool `{pool}`")
            }
            Self::PoolFull { max } => write!(f, "the pool has its {max} runners (scaling.max)"),
            Self::FleetFull { max } => write!(f, "the fleet has its {max} runners (limits.max_runners)"),
            Self::HostFull { max } => write!(f, "this host has its {max} runners (hosts[].max_runners)"),
            Self::MemoryFull { needs, left } => {
                write!(f, "a runner needs {} MiB, and {} MiB of this host are left", mib(*needs), mib(*left))
            }
            Self::NeverFits { needs, has } => {
                write!(
                    f,
                    "a runner needs {} MiB, and this host has {} MiB for runners: lower resources.memory",
                    mib(*needs),
                    mib(*has)
                )
            }
            Self::BehindOthers => f.write_str("an older job waits for room on this host"),
            Self::DiskFull { free, min } => {
                write!(f, "{} MiB of disk are free, and limits.disk_free_min is {} MiB", mib(*free), mib(*min))
            }
            Self::BackingOff { until, failures, last } => {
                write!(f, "the pool failed {failures} times in a row, next try at {until:.0}; last: {last}")
            }
            Self::TriedInVain { until, last } => {
                write!(f, "a runner could not be made a moment ago, next try at {until:.0}: {last}")
            }
            Self::Probing { runner, last } => {
                write!(f, "runner {runner} shows first whether this is over: {last}")
            }
            Self::StoreAway { why } => write!(f, "the store does not answer: {why}"),
            Self::DockerAway { why } => write!(f, "the Docker engine cannot be looked at: {why}"),
            Self::GitHubBlocked { until, why } => write!(f, "GitHub is left alone until {until:.0}: {why}"),
        }
    }
}

fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}
