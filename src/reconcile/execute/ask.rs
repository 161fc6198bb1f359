//! Asks GitHub: how far a job is, and what its run is about.

use super::{ExecuteError, Executor, Outcome};
use crate::clock;
use crate::ingest;
use crate::model::{Job, JobKey, JobState, RunFacts};
use crate::plan::match_pool;
use std::collections::BTreeMap;
use tracing::{debug, warn};

impl Executor {
    /// GitHub's own word on a job; it goes through the same steps as an event.
    pub(super) async fn ask_job(&self, key: JobKey) -> Result<Outcome, ExecuteError> {
        let (_, Some(job)) = self.memory.job(key) else { return Ok(Outcome::Done) };
        let answer = self.client.job(&job.facts.repository, job.facts.installation, key.id).await;
        self.memory.asked_about(key);
        let Some(event) = answer? else {
            return self.job_is_gone(key).await;
        };
        let events = BTreeMap::from([(key, vec![event])]);
        ingest::apply_events(&self.config, self.store.as_ref(), &self.memory, events).await?;
        Ok(Outcome::Done)
    }

    /// What began a run and whose code it runs, for all of its jobs: one call for the run. The next plan decides on it.
    pub(super) async fn ask_run(&self, key: JobKey, run: u64) -> Result<Outcome, ExecuteError> {
        let (_, Some(job)) = self.memory.job(key) else { return Ok(Outcome::Done) };
        let facts = match self.memory.run(run) {
            Some(known) => known,
            None => match self.client.run(&job.facts.repository, run, job.facts.installation).await {
                Ok(Some(told)) => {
                    RunFacts { event: told.event, head_repository: told.head_repository, private: told.private }
                }
                Ok(None) => {
                    warn!(job.id = %key, "GitHub knows no run {run} of {}: its jobs count as over", job.facts.repository);
                    for key in self.memory.open_jobs_of(run) {
                        self.job_is_gone(key).await?;
                    }
                    return Ok(Outcome::Done);
                }
                Err(error) => {
                    warn!(job.id = %key, "the jobs of run {run} of {} wait, since a pool wants to know whose code they run: {error}", job.facts.repository);
                    self.memory.asked_about_run(run, Some(error.to_string()));
                    return Ok(Outcome::NotDone);
                }
            },
        };
        debug!(job.id = %key, "run {run} of {} was begun by `{}`", job.facts.repository, facts.event);
        self.memory.asked_about_run(run, None);
        for key in self.memory.open_jobs_of(run) {
            self.change_job(key, |job| {
                if job.run.is_some() {
                    return None;
                }
                let pool = match_pool(&job.facts, Some(&facts), &self.config).pool().map(|pool| pool.name.clone());
                Some(Job { run: Some(facts.clone()), pool, ..job.clone() })
            })
            .await?;
        }
        Ok(Outcome::Done)
    }

    /// GitHub knows it no more.
    async fn job_is_gone(&self, key: JobKey) -> Result<Outcome, ExecuteError> {
        self.change_job(key, |job| {
            let state = JobState::Completed { conclusion: "gone".to_owned(), runner: job.state.runner().cloned() };
            (!job.is_over()).then(|| Job { state, since: clock::now(), ..job.clone() })
        })
        .await
    }
}
