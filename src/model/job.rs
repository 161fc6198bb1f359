//! A job's life. It only moves forward: events arrive in any order, and re-runs resend old ones.

use super::event::{JobAction, JobEvent, JobFacts};
use super::ids::{JobKey, PoolName, RunnerName};
use super::run::RunFacts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A job and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What GitHub says of it.
    pub facts: JobFacts,
    /// How far it is.
    pub state: JobState,
    /// The pool that it asks for, by the configuration at the time of the last event; none when no pool matches.
    #[serde(default)]
    pub pool: Option<PoolName>,
    /// When we first heard of it.
    pub first_seen: Timestamp,
    /// When it entered its present state, by our clock.
    pub since: Timestamp,
    /// When it became queued, by our clock; the place in the line.
    #[serde(default)]
    pub queued_at: Option<Timestamp>,
    /// When a runner took it, by our clock.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// What GitHub said of its run, where that was asked.
    #[serde(default)]
    pub run: Option<RunFacts>,
}

/// How far a job is, in the only order in which it can move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum JobState {
    /// Waits for an approval or a concurrency group. No demand.
    Waiting,
    /// Waits for a runner. Demand.
    Queued,
    /// Runs.
    InProgress {
        /// On this runner, which may be anybody's.
        runner: Option<RunnerName>,
    },
    /// Over.
    Completed {
        /// How it ended, in GitHub's word, or `expired` when GitHub's own time for a queued job had passed.
        conclusion: String,
        /// Where it ran.
        runner: Option<RunnerName>,
    },
}

impl JobState {
    /// The place in the order. A later event with a lower or equal rank changes nothing.
    fn rank(&self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::Queued => 1,
            Self::InProgress { .. } => 2,
            Self::Completed { .. } => 3,
        }
    }

    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::InProgress { .. } => "in_progress",
            Self::Completed { .. } => "completed",
        }
    }

    /// The runner that has or had it.
    pub fn runner(&self) -> Option<&RunnerName> {
        match self {
            Self::Waiting | Self::Queued => None,
            Self::InProgress { runner } | Self::Completed { runner, .. } => runner.as_ref(),
        }
    }
}

impl From<&JobAction> for JobState {
    fn from(action: &JobAction) -> Self {
        match action {
            JobAction::Queued => Self::Queued,
            JobAction::Waiting => Self::Waiting,
            JobAction::InProgress { runner } => Self::InProgress { runner: runner.clone() },
            JobAction::Completed { conclusion, runner } => {
                Self::Completed { conclusion: conclusion.clone(), runner: runner.clone() }
            }
        }
    }
}

/// What an event did to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The job moved forward; save it.
    Changed(Box<Job>),
    /// A repeated, late or resent event: nothing to save.
    Unchanged,
}

impl Job {
    /// Its key.
    pub fn key(&self) -> JobKey {
        self.facts.key
    }

    /// Whether it waits for a runner.
    pub fn is_queued(&self) -> bool {
        self.state == JobState::Queued
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        matches!(self.state, JobState::Completed { .. })
    }

    /// What `event` makes of the job known so far. Pure and forward only: a late `queued` never revives a finished job,
    /// and the same event a second time changes nothing.
    pub fn apply(known: Option<&Self>, event: &JobEvent, now: Timestamp) -> Applied {
        let next = JobState::from(&event.action);
        let queued_at = (next == JobState::Queued).then_some(now);
        let started_at = matches!(next, JobState::InProgress { .. }).then_some(now);
        let Some(known) = known else {
            return Applied::Changed(Box::new(Self {
                facts: event.job.clone(),
                state: next,
                pool: None,
                first_seen: now,
                since: now,
                queued_at,
                started_at,
                run: None,
            }));
        };
        // `in_progress` without a runner's name may come first; the name that a second one brings is news.
        let names_runner = matches!(
            (&known.state, &next),
            (JobState::InProgress { runner: None }, JobState::InProgress { runner: Some(_) })
        );
        if next.rank() <= known.state.rank() && !names_runner {
            return Applied::Unchanged;
        }
        // `completed` sometimes comes without the runner that `in_progress` named.
        let next = match next {
            JobState::Completed { conclusion, runner: None } => {
                JobState::Completed { conclusion, runner: known.state.runner().cloned() }
            }
            other => other,
        };
        Applied::Changed(Box::new(Self {
            // A `completed` of a job that never started may come with empty labels: keep what is known.
            facts: if event.job.labels.is_empty() { known.facts.clone() } else { renewed(&known.facts, &event.job) },
            state: next,
            pool: known.pool.clone(),
            first_seen: known.first_seen,
            since: now,
            queued_at: queued_at.or(known.queued_at),
            started_at: started_at.or(known.started_at),
            run: known.run.clone(),
        }))
    }
}

/// GitHub's answer about a single job does not say whether its repository is private: what an event said of that stays.
fn renewed(known: &JobFacts, told: &JobFacts) -> JobFacts {
    JobFacts { private: told.private.or(known.private), ..told.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobId, RepoName};

    fn event(action: JobAction) -> JobEvent {
        JobEvent {
            action,
            job: JobFacts {
                key: JobKey { id: JobId(7), attempt: 1 },
                run_id: 1,
                name: "test".into(),
                workflow: None,
                repository: RepoName::new("acme/web"),
                private: Some(true),
                labels: ["linux"].into_iter().collect(),
                html_url: None,
                installation: None,
                created_at: None,
            },
        }
    }

    fn actions() -> Vec<JobAction> {
        let runner = Some(RunnerName::new("r"));
        vec![
            JobAction::Waiting,
            JobAction::Queued,
            JobAction::InProgress { runner: runner.clone() },
            JobAction::Completed { conclusion: "success".into(), runner },
        ]
    }

    fn run(actions: &[JobAction]) -> Option<Job> {
        let mut job = None;
        for (second, action) in actions.iter().enumerate() {
            let now = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
            if let Applied::Changed(next) = Job::apply(job.as_ref(), &event(action.clone()), now) {
                job = Some(*next);
            }
        }
        job
    }

    #[test]
    fn events_in_any_order_end_in_the_same_state() {
        let all = actions();
        let want = run(&all).unwrap().state;
        // All 24 orders, each with every event twice.
        for a in 0..4 {
            for b in (0..4).filter(|b| *b != a) {
                for c in (0..4).filter(|c| *c != a && *c != b) {
                    let d = 6 - a - b - c;
                    let order: Vec<_> = [a, b, c, d, a, b, c, d].iter().map(|i| all[*i].clone()).collect();
                    assert_eq!(run(&order).unwrap().state, want);
                }
            }
        }
    }

    #[test]
    fn a_late_queued_never_revives_a_finished_job() {
        let all = actions();
        let job = run(&[all[3].clone(), all[1].clone()]).unwrap();
        assert!(job.is_over());
        assert_eq!(job.queued_at, None);
    }

    #[test]
    fn waiting_then_queued_is_demand_from_the_second_on() {
        let all = actions();
        assert!(!run(&all[..1]).unwrap().is_queued());
        let job = run(&all[..2]).unwrap();
        assert!(job.is_queued());
        assert_eq!(job.queued_at, Some(Timestamp::from_second(1).unwrap()));
    }

    #[test]
    fn completed_without_labels_keeps_what_is_known() {
        let mut last = event(JobAction::Completed { conclusion: "cancelled".into(), runner: None });
        last.job.labels = LabelSet::default();
        let known = run(&actions()[1..2]);
        let Applied::Changed(job) = Job::apply(known.as_ref(), &last, Timestamp::UNIX_EPOCH) else {
            panic!("a cancelled job is over");
        };
        assert_eq!(job.facts.labels.to_vec(), ["linux"]);
    }

    #[test]
    fn an_answer_that_does_not_say_private_makes_no_public_repository_private() {
        let mut waiting = event(JobAction::Waiting);
        waiting.job.private = Some(false);
        let Applied::Changed(known) = Job::apply(None, &waiting, Timestamp::UNIX_EPOCH) else { panic!("it is new") };
        let mut asked = event(JobAction::Queued);
        asked.job.private = None;
        let Applied::Changed(job) = Job::apply(Some(&known), &asked, Timestamp::UNIX_EPOCH) else { panic!("forward") };
        assert_eq!(job.facts.private, Some(false));
    }

    use crate::model::LabelSet;
}
