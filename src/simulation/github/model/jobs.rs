//! Jobs and runs: how they come, wait, end and are run again.

use super::{Conclusion, JobSpec, Model, Stage, age_out, earlier};
use crate::model::JobKey;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The runner that had a job: kept after the runner is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerStamp {
    /// GitHub's id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group_id: u64,
    /// The group's name.
    pub group_name: String,
}

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Id and attempt.
    pub key: JobKey,
    /// Its run.
    pub run_id: u64,
    /// What was asked for.
    pub spec: JobSpec,
    /// Where it is.
    pub stage: Stage,
    /// How it ended.
    pub conclusion: Option<Conclusion>,
    /// Who had it.
    pub runner: Option<RunnerStamp>,
    /// When it came.
    pub created_at: Timestamp,
    /// When it could first be run.
    pub queued_at: Option<Timestamp>,
    /// When it was last given to a runner.
    pub assigned_at: Option<Timestamp>,
    /// When an agent took it.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub completed_at: Option<Timestamp>,
    /// When it was cancelled while it ran.
    pub cancel_requested_at: Option<Timestamp>,
    /// Runners that were given it and did not fetch it.
    pub not_fetched_by: BTreeSet<u64>,
}

/// A workflow run: only what its jobs do not say.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) repository: String,
    pub(crate) workflow: String,
    pub(crate) attempt: u32,
    pub(crate) number: u64,
    pub(crate) event: String,
    pub(crate) head_repository: Option<String>,
    pub(crate) created_at: Timestamp,
}

impl Model {
    /// A job comes. With `waiting` it first waits for an approval, in the sequence that GitHub really sends: `queued`
    /// with status `waiting`, then `waiting`; and `queued` again once it is approved (terraform-aws issue
    /// "environments", CDK issue 380).
    pub(crate) fn add_job(&mut self, spec: JobSpec, waiting: bool, now: Timestamp) -> JobKey {
        let run = match spec.run.filter(|id| self.runs.contains_key(id)) {
            Some(id) => id,
            None => self.add_run(&spec, now),
        };
        let attempt = self.runs.get(&run).map_or(1, |run| run.attempt);
        let key = self.insert_job(spec, run, attempt, if waiting { Stage::Waiting } else { Stage::Queued }, now);
        self.announce(key.id.0, "queued");
        if waiting {
            self.announce(key.id.0, "waiting");
        }
        key
    }

    fn add_run(&mut self, spec: &JobSpec, now: Timestamp) -> u64 {
        self.last_run += 1 + self.seed.below(9) as u64;
        if spec.event == "push"
            && let Some(repo) = self.repos.iter_mut().find(|repo| repo.full_name() == spec.repository)
        {
            repo.pushed_at = Some(now);
        }
        let number = 1 + self.runs.values().filter(|run| run.repository == spec.repository).count() as u64;
        self.runs.insert(
            self.last_run,
            Run {
                id: self.last_run,
                repository: spec.repository.clone(),
                workflow: spec.workflow.clone(),
                attempt: 1,
                number,
                event: spec.event.clone(),
                head_repository: spec.head_repository.clone(),
                created_at: now,
            },
        );
        self.last_run
    }

    fn insert_job(&mut self, spec: JobSpec, run_id: u64, attempt: u32, stage: Stage, now: Timestamp) -> JobKey {
        let key = JobKey { id: self.next_job_id(), attempt };
        let job = Job {
            key,
            run_id,
            spec,
            stage,
            conclusion: None,
            runner: None,
            created_at: now,
            queued_at: (stage == Stage::Queued).then_some(now),
            assigned_at: None,
            started_at: None,
            completed_at: None,
            cancel_requested_at: None,
            not_fetched_by: BTreeSet::new(),
        };
        self.jobs.insert(key.id.0, job);
        self.open.insert(key.id.0);
        key
    }

    /// All jobs and runs that there are came so much earlier.
    pub(crate) fn backdate(&mut self, by: Duration) {
        for job in self.jobs.values_mut() {
            job.created_at = earlier(job.created_at, by);
            job.queued_at = job.queued_at.map(|at| earlier(at, by));
        }
        for run in self.runs.values_mut() {
            run.created_at = earlier(run.created_at, by);
        }
    }

    /// The approval of a waiting job. False where it does not wait.
    pub(crate) fn approve(&mut self, key: JobKey, now: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&key.id.0).filter(|job| job.stage == Stage::Waiting) else { return false };
        job.stage = Stage::Queued;
        job.queued_at = Some(now);
        self.announce(key.id.0, "queued");
        true
    }

    /// Cancels a job: at once where no agent has it, else by telling the agent. False where it is over.
    pub(crate) fn cancel(&mut self, key: JobKey, now: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&key.id.0) else { return false };
        match job.stage {
            Stage::Completed => return false,
            Stage::Waiting | Stage::Queued | Stage::Assigned { .. } => {
                self.finish(key.id.0, Conclusion::Cancelled, now);
            }
            Stage::InProgress { .. } => {
                job.cancel_requested_at.get_or_insert(now);
            }
        }
        true
    }

    /// Runs a finished job again: the same run, one attempt more, a new job id. GitHub then also sends the old
    /// `completed` events of that run's finished jobs again (actions-runner-controller issue 4315).
    pub(crate) fn rerun(&mut self, key: JobKey, now: Timestamp) -> Option<JobKey> {
        let job = self.jobs.get(&key.id.0).filter(|job| job.stage == Stage::Completed)?;
        let (run_id, spec) = (job.run_id, job.spec.clone());
        let run = self.runs.get_mut(&run_id)?;
        run.attempt += 1;
        let attempt = run.attempt;
        let new = self.insert_job(spec, run_id, attempt, Stage::Queued, now);
        let old: Vec<u64> = self
            .jobs
            .values()
            .filter(|job| job.run_id == run_id && job.stage == Stage::Completed)
            .map(|job| job.key.id.0)
            .collect();
        self.announce(new.id.0, "queued");
        for id in old {
            self.announce(id, "completed");
        }
        Some(new)
    }

    /// A job is over, whoever says so. Its ephemeral runner's registration ends with it.
    pub(super) fn finish(&mut self, id: u64, conclusion: Conclusion, now: Timestamp) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let before = job.stage;
        job.stage = Stage::Completed;
        job.conclusion = Some(conclusion);
        job.completed_at = Some(now);
        self.open.remove(&id);
        match before {
            Stage::Assigned { runner } => self.release(runner, now, false),
            Stage::InProgress { runner } => self.release(runner, now, true),
            Stage::Waiting | Stage::Queued | Stage::Completed => {}
        }
        self.announce(id, "completed");
        age_out(self, id);
    }

    /// A run's status, out of its jobs.
    pub(crate) fn run_status(&self, run: u64) -> (&'static str, Option<Conclusion>) {
        let latest = self.latest_jobs(run);
        let any = |status: &str| latest.iter().any(|job| job.stage.status() == status);
        for status in ["in_progress", "queued", "waiting"] {
            if any(status) {
                // Some jobs over and others not: the run is under way, though nothing runs at this moment.
                let under_way = status == "queued" && any("completed");
                return (if under_way { "in_progress" } else { status }, None);
            }
        }
        let ended = |conclusion| latest.iter().any(|job| job.conclusion == Some(conclusion));
        let worst =
            [Conclusion::Failure, Conclusion::TimedOut, Conclusion::Cancelled].into_iter().find(|it| ended(*it));
        ("completed", Some(worst.unwrap_or(Conclusion::Success)))
    }

    /// The jobs of a run's latest execution: of each name the highest attempt (a re-run carries the others over).
    pub(crate) fn latest_jobs(&self, run: u64) -> Vec<&Job> {
        let of_run: Vec<&Job> = self.jobs.values().filter(|job| job.run_id == run).collect();
        of_run
            .iter()
            .filter(|job| {
                !of_run.iter().any(|other| other.spec.name == job.spec.name && other.key.attempt > job.key.attempt)
            })
            .copied()
            .collect()
    }
}

/// The steps that GitHub shows for a job: one around the job's own at the start and the end.
pub(crate) fn steps(job: &Job) -> Value {
    let when = |moment: Option<Timestamp>| moment.map(super::super::payload::moment);
    let (Some(started), Some(runner)) = (job.started_at, &job.runner) else { return json!([]) };
    let running = job.stage != Stage::Completed;
    let step = |number: u32, name: &str, open: bool, conclusion: Option<&str>| {
        json!({
            "name": name,
            "status": if open { "in_progress" } else { "completed" },
            "conclusion": conclusion,
            "number": number,
            "started_at": when(Some(started)),
            "completed_at": if open { None } else { when(job.completed_at.or(Some(started))) },
        })
    };
    let mut steps = vec![step(1, "Set up job", false, Some("success"))];
    if running {
        steps.push(step(2, &format!("Run {} on {}", job.spec.name, runner.name), true, None));
    } else {
        let conclusion = job.conclusion.map_or("failure", Conclusion::as_str);
        steps.push(step(2, "Run actions/checkout@v5", false, Some("success")));
        steps.push(step(3, &format!("Run {}", job.spec.name), false, Some(conclusion)));
        steps.push(step(4, "Post Run actions/checkout@v5", false, Some("success")));
        steps.push(step(5, "Complete job", false, Some("success")));
    }
    Value::Array(steps)
}
