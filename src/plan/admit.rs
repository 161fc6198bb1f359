//! Whether a pool takes a job of this repository, and whose code that would run. Pure; docs/access.md tells the rules to users.
//!
//! A `workflow_job` event says which repository a job is of and whether that is private. What began the run and where its code
//! comes from is in GitHub's answer about the run, which costs a call: it is asked for only where a rule needs it, and what is
//! not known yet is never taken for harmless.

use crate::config::{Config, Pool};
use crate::model::{JobFacts, Patterns, RISKY_EVENTS, RepoName, RunFacts};
use serde::Serialize;
use std::fmt;
use std::sync::LazyLock;

/// What a public repository's pool takes that says nothing of events.
static HARMLESS: LazyLock<Patterns> =
    LazyLock::new(|| Patterns::new(["!pull_request_target", "!workflow_run", "!issue_comment"]));

/// The rule that keeps a job out of a pool. The order is that in which they are looked at: a later one is nearer to taking it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "rule")]
pub enum Rule {
    /// `matching.repositories`.
    Repository {
        /// What the pool takes.
        takes: String,
    },
    /// `matching.public_repositories`.
    Public,
    /// `matching.events`.
    Event {
        /// What began the run.
        event: String,
        /// What the pool takes; none where it is the rule for public repositories.
        takes: Option<String>,
    },
    /// `matching.forks`.
    Fork {
        /// Whose code; none where that repository is gone.
        head: Option<RepoName>,
        /// What began the run.
        event: String,
    },
}

/// What a pool says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It takes it.
    Yes,
    /// It does not.
    No(Rule),
    /// That depends on the run, of which nothing is known yet.
    Unknown,
}

impl Rule {
    /// Whether it keeps strangers' code out. A runner that is made meanwhile for another job must not get this one. Repositories and
    /// public ones are kept out by GitHub's runner groups.
    pub(super) fn is_about_code(&self) -> bool {
        match self {
            Self::Fork { .. } => true,
            Self::Event { event, .. } => RISKY_EVENTS.contains(&event.as_str()),
            Self::Repository { .. } | Self::Public => false,
        }
    }
}

/// Whether the pool takes the job, as far as its repository and its run count.
pub(super) fn admit(pool: &Pool, config: &Config, job: &JobFacts, run: Option<&RunFacts>) -> Verdict {
    let rules = &pool.admission;
    if !rules.repositories.take(job.repository.as_str()) {
        return Verdict::No(Rule::Repository { takes: rules.repositories.to_string() });
    }
    let takes_public = rules.public.unwrap_or(config.allow_public_repositories);
    let private = job.private.or(run.and_then(|run| run.private));
    if !takes_public {
        match (private, run) {
            (Some(true), _) => {}
            (None, None) => return Verdict::Unknown,
            (Some(false), _) | (None, Some(_)) => return Verdict::No(Rule::Public),
        }
    }
    let is_public = private != Some(true);
    let events = rules.events.as_ref().or_else(|| is_public.then_some(&*HARMLESS));
    let takes_forks = rules.forks.unwrap_or(!is_public);
    if events.is_none() && takes_forks {
        return Verdict::Yes;
    }
    let Some(run) = run else { return Verdict::Unknown };
    if events.is_some_and(|events| !events.take(&run.event)) {
        let takes = rules.events.as_ref().map(ToString::to_string);
        return Verdict::No(Rule::Event { event: run.event.clone(), takes });
    }
    if !takes_forks && run.is_from_elsewhere(&job.repository) {
        return Verdict::No(Rule::Fork { head: run.head_repository.clone(), event: run.event.clone() });
    }
    Verdict::Yes
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { takes } => write!(f, "it takes {takes} (matching.repositories)"),
            Self::Public => f.write_str(
                "the repository is public, and a fork's pull request there would run anybody's code here; \
                 matching.public_repositories: allow takes its jobs, or security.allow_public_repositories for all pools",
            ),
            Self::Event { event, takes: Some(takes) } => {
                write!(f, "its run was begun by `{event}`, and the pool takes {takes} (matching.events)")
            }
            Self::Event { event, takes: None } => write!(
                f,
                "`{event}` began its run: on a public repository strangers can cause that, and it runs with the repository's \
                 secrets; matching.events: [\"*\"] takes it"
            ),
            Self::Fork { head, event } => {
                match head {
                    Some(head) => write!(f, "its code comes from the fork {head}")?,
                    None => f.write_str("its code comes from a fork that is gone")?,
                }
                write!(f, " (`{event}`): whoever wrote that would run it here; matching.forks: allow takes it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_that_are_refused_are_those_that_are_told() {
        for event in RISKY_EVENTS {
            assert!(!HARMLESS.take(event), "{event}");
        }
        assert!(HARMLESS.take("push") && HARMLESS.take("pull_request") && HARMLESS.take("an_event_to_come"));
        assert_eq!(HARMLESS.to_string().matches('!').count(), RISKY_EVENTS.len());
    }
}
