//! What is told of ephemeral runners. Telling never waits and never fails.

use super::Executor;
use crate::model::{Job, JobKey, LabelSet, Runner};
use crate::notify::event::{Event, RunnerFacts};
use std::sync::Arc;

impl Executor {
    /// A runner failed while `operation` was done with it; with it perhaps its job.
    pub(super) fn tell_failed(&self, runner: &Runner, operation: &str, error: &str) {
        let facts = match self.config.pool(&runner.pool) {
            Some(pool) => RunnerFacts::of(&runner.name, pool),
            None => RunnerFacts::bare(&runner.name, &runner.pool, &runner.image),
        };
        self.notifier.tell(Event::RunnerError {
            runner: facts,
            operation: operation.to_owned(),
            error: error.to_owned(),
        });
        // A job that is over was not lost, however its runner ended.
        let job = runner.job.and_then(|key| self.memory.job(key).1).filter(|job| !job.is_over());
        if let Some(job) = job {
            self.notifier.tell(lost(&job, Some(runner), error));
        }
    }

    /// A job waited until GitHub gave it up.
    pub(super) fn tell_expired(&self, key: JobKey) {
        if let (_, Some(job)) = self.memory.job(key)
            && !job.is_over()
        {
            self.notifier.tell(lost(&job, None, "no runner took it in the time that GitHub gives a job"));
        }
    }
}

fn lost(job: &Arc<Job>, runner: Option<&Runner>, error: &str) -> Event {
    let labels: LabelSet = job.facts.labels.clone();
    Event::JobLost {
        job: job.key(),
        job_name: job.facts.name.clone(),
        repository: job.facts.repository.to_string(),
        url: job.facts.html_url.clone(),
        runner: runner.map(|runner| runner.name.clone()),
        pool: job.pool.clone(),
        labels,
        error: error.to_owned(),
    }
}
