//! Which job asks for which pool, and which jobs are demand at all.

use super::admit::{Rule, Verdict, admit};
use super::{Action, Draft, Listing, Why};
use crate::config::{Config, Pool};
use crate::model::{
    Access, Groups, Job, JobFacts, JobKey, JobState, PoolName, RunFacts, Runner, Scope, StateName, after, age,
};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long GitHub is given to tell what became of a job before it is asked: its event is late or lost. Shorter would ask for
/// jobs whose event is on its way.
const ASK_AFTER: Duration = Duration::from_secs(15);

/// How long until the same job is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// A job that somebody else's runner took, or that waits for an approval, is asked about so often: of its end nothing tells but
/// an event, which may be lost.
/// Without that its row would stay for as long as a run may last.
const ASK_ELSEWHERE: Duration = Duration::from_secs(30 * 60);

/// How long after `in_progress` GitHub's list must show a persistent runner as busy.
const LIST_LAG: Duration = Duration::from_secs(60);

/// A job that waits for an approval, or runs, for longer than this is over, whatever was heard of it: a workflow run ends
/// after 35 days (GitHub docs, "Actions limits").
const LONGEST_RUN: Duration = Duration::from_secs(36 * 24 * 3600);

/// An App that is taken off an account and put back within this time finds its jobs again.
const GONE_FOR_GOOD: Duration = Duration::from_secs(10 * 60);

/// How long after GitHub did not say what a run is about it is asked again.
const ASK_RUN_AGAIN: Duration = Duration::from_secs(15);

/// So many runs are asked about at once, oldest job first: the others' turn comes when these are known.
const RUNS_AT_ONCE: usize = 16;

/// Where a job belongs.
#[derive(Debug, Clone, PartialEq)]
pub enum Match<'a> {
    /// To this pool.
    Pool(&'a Pool),
    /// To none of ours.
    None {
        /// The pool of its account that lacks the fewest of its labels, with those labels.
        nearest: Option<(&'a PoolName, Vec<String>)>,
    },
    /// Its labels fit, and each pool refuses it for its repository or its run.
    Refused {
        /// The pool that came nearest to taking it.
        pool: &'a Pool,
        /// What keeps the job out of it.
        rule: Rule,
    },
    /// This pool's, if its run is one that the pool takes; nobody knows yet.
    Unknown {
        /// The pool.
        pool: &'a Pool,
    },
}

impl<'a> Match<'a> {
    /// The pool that the job is demand of.
    pub fn pool(&self) -> Option<&'a Pool> {
        match self {
            Self::Pool(pool) => Some(pool),
            Self::None { .. } | Self::Refused { .. } | Self::Unknown { .. } => None,
        }
    }
}

/// Whether the pool's runners see the job's repository and have all of its labels.
fn fits(pool: &Pool, job: &JobFacts) -> bool {
    pool.scope.serves(job.repository.as_str()) && !job.labels.is_empty() && pool.labels.covers(&job.labels)
}

/// The pool of a job: each of its labels is a label of the pool, the pool's runners see its repository, and its rules take the
/// job. Of several the higher `priority`, then the fewest labels to spare, then the order in the file. `run` is what GitHub said
/// of the job's run, if it was asked.
pub fn match_pool<'a>(job: &JobFacts, run: Option<&RunFacts>, config: &'a Config) -> Match<'a> {
    let mut fitting: Vec<&Pool> = config.pools.iter().filter(|pool| fits(pool, job)).collect();
    // A stable sort: the order in the file decides among equals.
    fitting.sort_by_key(|pool| (Reverse(pool.priority), pool.labels.len()));
    let mut refused: Option<(&Pool, Rule)> = None;
    for pool in fitting {
        match admit(pool, config, job, run) {
            Verdict::Yes => return Match::Pool(pool),
            Verdict::Unknown => return Match::Unknown { pool },
            Verdict::No(rule) => {
                let nearer =
                    |known: &Rule| std::mem::discriminant(known) != std::mem::discriminant(&rule) && rule > *known;
                if refused.as_ref().is_none_or(|(_, known)| nearer(known)) {
                    refused = Some((pool, rule));
                }
            }
        }
    }
    match refused {
        Some((pool, rule)) => Match::Refused { pool, rule },
        None => Match::None {
            nearest: config
                .pools
                .iter()
                .filter(|pool| pool.scope.serves(job.repository.as_str()))
                .map(|pool| (&pool.name, pool.labels.missing(&job.labels)))
                .min_by_key(|(_, missing)| missing.len()),
        },
    }
}

/// The order in which jobs are served: when they were queued, then their ids.
pub(super) fn place_in_line(job: &Job) -> (Timestamp, JobKey) {
    (job.queued_at.unwrap_or(job.since), job.key())
}

/// Sorts queued jobs into the lines of their pools; what has been queued for longer than GitHub keeps a job leaves.
pub(super) fn expire_and_assign(draft: &mut Draft<'_>) {
    let (world, config) = (draft.world, draft.config);
    let mut unknown: Vec<(&Job, &Pool)> = Vec::new();
    for job in world.jobs.values() {
        if job.is_over() {
            continue;
        }
        let matched = match_pool(&job.facts, job.run.as_ref(), config);
        let pool = matched.pool();
        if job.pool.as_ref() != pool.map(|pool| &pool.name) {
            draft.act(Action::Assign { job: job.key(), pool: pool.map(|pool| pool.name.clone()) });
        }
        if !job.is_queued() {
            if age(world.now, job.since) >= LONGEST_RUN {
                draft.act(Action::Expire { job: job.key() });
            }
            continue;
        }
        let queued_at = place_in_line(job).0;
        let max_age = pool.map_or(Duration::from_secs(24 * 3600), |pool| pool.job_max_age);
        if age(world.now, queued_at) >= max_age {
            draft.act(Action::Expire { job: job.key() });
            continue;
        }
        draft.look_at(after(queued_at, max_age));
        if is_put_aside(draft, job) {
            continue;
        }
        match matched {
            Match::Pool(pool) => match group_is_shut(draft, pool, job) {
                Some(why) => draft.wait(job, why),
                None => draft.queued.entry(&pool.name).or_default().push(job),
            },
            Match::None { nearest } => {
                let nearest = nearest.map(|(pool, missing)| (pool.clone(), missing));
                draft.wait(job, Why::NoPool { nearest });
            }
            Match::Refused { pool, rule } => {
                if rule.is_about_code() {
                    keep_back(draft, job);
                }
                draft.wait(job, Why::Refused { pool: pool.name.clone(), rule });
            }
            Match::Unknown { pool } => {
                keep_back(draft, job);
                unknown.push((job.as_ref(), pool));
            }
        }
    }
    ask_about_runs(draft, unknown);
    for line in draft.queued.values_mut() {
        line.sort_by_key(|job| place_in_line(job));
    }
}

/// GitHub gives a queued job to any runner that has its labels and that its repository may use. So while a job waits whose code a
/// pool refuses (or may refuse), no runner of that pool is begun for another: it would get this one.
fn keep_back(draft: &mut Draft<'_>, job: &Job) {
    let config = draft.config;
    for pool in config.ephemeral_pools().filter(|pool| fits(pool, &job.facts)) {
        if group_is_shut(draft, pool, job).is_some() {
            continue;
        }
        let first = draft.kept_back.entry(&pool.name).or_insert((place_in_line(job).0, job.key()));
        *first = place_in_line(job).min(*first);
    }
}

/// Asks what began the runs of these jobs, and whose code they run: once for a run, not for each of its jobs.
fn ask_about_runs(draft: &mut Draft<'_>, mut jobs: Vec<(&Job, &Pool)>) {
    let world = draft.world;
    jobs.sort_by_key(|(job, _)| place_in_line(job));
    let mut asking: BTreeSet<u64> = BTreeSet::new();
    for (job, pool) in jobs {
        let run = job.facts.run_id;
        let asked = world.runs_asked.get(&run);
        let error = asked.and_then(|asked| asked.error.clone());
        draft.wait(job, Why::RunNotKnown { pool: pool.name.clone(), run, error });
        let due = asked.map_or(world.now, |asked| after(asked.at, ASK_RUN_AGAIN));
        if due > world.now {
            draft.look_at(due);
        } else if asking.len() < RUNS_AT_ONCE && asking.insert(run) {
            draft.act(Action::AskRun { job: job.key(), run });
        }
    }
}

/// Why the job's repository cannot use the pool's runner group; none where it can, or nothing is known. A group that this program
/// is to make itself is not there before it was seen.
fn group_is_shut(draft: &Draft<'_>, pool: &Pool, job: &Job) -> Option<Why> {
    let Scope::Organization(account) = &pool.scope else { return None };
    let Some(groups) = draft.world.groups.of(account) else {
        return group_is_missing(draft, pool);
    };
    let Some(group) = Groups::find(groups, pool.runner_group.as_deref()) else { return group_is_missing(draft, pool) };
    let private = job.facts.private.or(job.run.as_ref().and_then(|run| run.private));
    let hidden = group.hidden_from(&job.facts.repository, private)?;
    let (group, repository) = (group.name.clone(), job.facts.repository.clone());
    Some(Why::GroupShut { group, account: account.clone(), repository, hidden })
}

/// Whether the pool's runner group is known not to be there.
pub(super) fn group_is_missing(draft: &Draft<'_>, pool: &Pool) -> Option<Why> {
    let (Scope::Organization(account), Some(name)) = (&pool.scope, &pool.runner_group) else { return None };
    let missing = match draft.world.groups.of(account) {
        Some(groups) => Groups::find(groups, Some(name)).is_none(),
        None => pool.create_runner_group,
    };
    missing.then(|| Why::GroupMissing {
        group: name.clone(),
        account: account.clone(),
        being_made: pool.create_runner_group,
    })
}

/// Whether the App can do nothing for the job: suspended, not installed, not given the repository. It waits outside the line,
/// and comes back when the account does; one whose account stays away is dropped, since nobody will tell how it ends.
fn is_put_aside(draft: &mut Draft<'_>, job: &Job) -> bool {
    let Some(accounts) = draft.world.accounts.known() else { return false };
    let (repository, now) = (&job.facts.repository, draft.world.now);
    let account = repository.owner();
    if let Some(Access::NotInstalled { since }) = accounts.of(account) {
        let due = after(*since, GONE_FOR_GOOD);
        if due <= now {
            draft.act(Action::Drop { job: job.key(), account: account.to_owned() });
            return true;
        }
        draft.look_at(due);
    }
    if let Some(bar) = accounts.bar(account) {
        draft.wait(job, Why::Barred { bar, account: account.to_owned() });
        return true;
    }
    let given = accounts.gives(repository);
    if !given {
        draft.wait(job, Why::NotGiven);
    }
    !given
}

/// Nothing can be done; every queued job is told why.
pub(super) fn all_wait(draft: &mut Draft<'_>, why: &str) {
    for job in draft.world.jobs.values().filter(|job| job.is_queued()) {
        draft.wait(job, Why::StoreAway { why: why.to_owned() });
    }
}

/// Jobs whose events may be lost: those that run on a runner of ours which is gone, and queued ones for which a runner was
/// up. GitHub is asked.
pub(super) fn ask_after_lost_jobs(draft: &mut Draft<'_>) {
    let world = draft.world;
    let mut doubtful: BTreeMap<JobKey, Timestamp> = BTreeMap::new();
    for runner in world.runners.values() {
        let doubt = match runner.created_for.and_then(|key| world.jobs.get(&key)) {
            Some(job) if job.is_queued() && ended_without_a_job(draft, runner) => Some((job, runner.state.since)),
            _ => None,
        };
        if let Some((job, since)) = doubt {
            doubtful.entry(job.key()).or_insert(since.max(job.since));
        }
    }
    for (job, since) in &draft.passed_over {
        doubtful.entry(*job).or_insert(*since);
    }
    for job in world.jobs.values() {
        let name = match &job.state {
            JobState::InProgress { runner } => runner.as_ref(),
            // It may be cancelled before anybody approves it.
            JobState::Waiting => None,
            JobState::Queued | JobState::Completed { .. } => continue,
        };
        let Some((name, runner)) = name.and_then(|name| Some((name, world.runners.get(name)?))) else {
            let asked = world.asked.get(&job.key()).copied().unwrap_or(job.since);
            let due = after(asked.max(job.since), ASK_ELSEWHERE);
            if due > world.now {
                draft.look_at(due);
            } else if age(world.now, job.since) < LONGEST_RUN {
                draft.act(Action::AskJob { job: job.key() });
            }
            continue;
        };
        if !runner.is_live() {
            doubtful.insert(job.key(), runner.state.since.max(job.since));
        } else if runner.kept.is_some() {
            // It lives on after its job: GitHub's list tells that there is none any more.
            let since = after(job.since, LIST_LAG);
            let listed = draft.listing(&runner.scope).filter(|listing| listing.at > since);
            let busy = |listing: &Listing| listing.runners.get(name).is_some_and(|listed| listed.registration.busy);
            if listed.is_some_and(|listing| !busy(listing)) {
                doubtful.insert(job.key(), since);
            }
        }
    }
    for (job, since) in doubtful {
        let due = match world.asked.get(&job) {
            Some(asked) => after(*asked, ASK_AGAIN),
            None => after(since, ASK_AFTER),
        };
        if due <= world.now {
            draft.act(Action::AskJob { job });
        } else {
            draft.look_at(due);
        }
    }
}

/// Whether a runner was up and is gone, and no job told of it: it may have had one all the same.
fn ended_without_a_job(draft: &Draft<'_>, runner: &Runner) -> bool {
    let over = match runner.state.name {
        StateName::Stopped | StateName::Error | StateName::Removed => true,
        StateName::Created | StateName::Started | StateName::Running => false,
    };
    let was_up = runner.history.iter().any(|change| change.to == StateName::Started);
    over && was_up && runner.job.is_none() && !draft.ran.contains_key(&runner.name)
}
