//! What GitHub does by itself: it gives queued jobs to idle runners, and gives up on what takes too long.

use super::{Conclusion, Job, Model, Runner, RunnerStamp, Stage, sooner};
use crate::model::{JobKey, LabelSet, Scope, after};
use jiff::Timestamp;

impl Model {
    /// Brings everything up to `now`. True when something changed.
    pub(crate) fn settle(&mut self, now: Timestamp) -> bool {
        let overdue = self.end_overdue(now);
        let unused = self.drop_unused(now);
        let assigned = self.assign(now);
        overdue || unused || assigned
    }

    /// When [`Model::settle`] has to be called next, if nothing else happens.
    pub(crate) fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let jobs = self.open.iter().filter_map(|id| self.jobs.get(id)).filter_map(|job| self.deadline(job));
        let going_offline = self
            .runners
            .values()
            .filter(|runner| runner.session.as_ref().is_some_and(|session| session.polls == 0))
            .filter_map(|runner| runner.last_seen)
            .map(|seen| after(seen, self.timings.offline_after))
            .filter(|offline| *offline > now);
        let unused = self
            .runners
            .values()
            .filter(|runner| forgettable(runner))
            .map(|runner| after(runner.last_seen.unwrap_or(runner.created_at), self.timings.unused_at_most));
        sooner(sooner(jobs.min(), going_offline.min()), unused.min())
    }

    /// When a job that is not over has to be looked at.
    fn deadline(&self, job: &Job) -> Option<Timestamp> {
        match job.stage {
            Stage::Waiting | Stage::Completed => None,
            Stage::Queued => job.queued_at.map(|since| after(since, self.timings.queued_at_most)),
            Stage::Assigned { .. } => job.assigned_at.map(|since| after(since, self.timings.fetch_within)),
            Stage::InProgress { runner } => {
                let forced = job.cancel_requested_at.map(|since| after(since, self.timings.cancel_within));
                let own = match self.runners.get(&runner) {
                    Some(runner) if runner.foreign => {
                        let done = job.started_at.map(|since| after(since, job.spec.duration));
                        // Someone else's agent reacts to a cancellation at once.
                        sooner(done, job.cancel_requested_at)
                    }
                    Some(runner) if runner.session.as_ref().is_some_and(|session| session.polls > 0) => None,
                    Some(runner) => {
                        runner.last_seen.or(job.started_at).map(|seen| after(seen, self.timings.lost_after))
                    }
                    None => job.started_at.map(|since| after(since, self.timings.lost_after)),
                };
                sooner(forced, own)
            }
        }
    }

    /// Queues again what was not fetched, and ends what takes too long.
    fn end_overdue(&mut self, now: Timestamp) -> bool {
        let due: Vec<u64> = self
            .open
            .iter()
            .filter_map(|id| self.jobs.get(id))
            .filter(|job| self.deadline(job).is_some_and(|deadline| deadline <= now))
            .map(|job| job.key.id.0)
            .collect();
        for id in &due {
            let Some(job) = self.jobs.get(id) else { continue };
            match job.stage {
                Stage::Assigned { runner } => self.take_back(*id, runner, now),
                Stage::InProgress { runner } => {
                    let foreign = self.runners.get(&runner).is_some_and(|runner| runner.foreign);
                    let conclusion = match (job.cancel_requested_at, foreign) {
                        (Some(_), _) => Conclusion::Cancelled,
                        (None, true) => job.spec.conclusion,
                        (None, false) => Conclusion::Failure,
                    };
                    self.finish(*id, conclusion, now);
                }
                Stage::Queued => self.finish(*id, Conclusion::Failure, now),
                Stage::Waiting | Stage::Completed => {}
            }
        }
        !due.is_empty()
    }

    /// The runner did not fetch its job: another may have it.
    fn take_back(&mut self, id: u64, runner: u64, now: Timestamp) {
        self.release(runner, now, false);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.stage = Stage::Queued;
            job.assigned_at = None;
            job.not_fetched_by.insert(runner);
        }
    }

    /// Forgets ephemeral runners whose agent stayed away for too long.
    fn drop_unused(&mut self, now: Timestamp) -> bool {
        let limit = self.timings.unused_at_most;
        let gone: Vec<u64> = self
            .runners
            .values()
            .filter(|runner| forgettable(runner))
            .filter(|runner| now >= after(runner.last_seen.unwrap_or(runner.created_at), limit))
            .map(|runner| runner.id)
            .collect();
        for id in &gone {
            self.forget_runner(*id);
        }
        !gone.is_empty()
    }

    /// Gives queued jobs to idle runners, the oldest job first; among the runners that fit, the seed chooses.
    fn assign(&mut self, now: Timestamp) -> bool {
        let mut idle: Vec<u64> =
            self.runners.values().filter(|runner| self.takes_jobs(runner, now)).map(|runner| runner.id).collect();
        if idle.is_empty() {
            return false;
        }
        let mut queued: Vec<(Timestamp, u64)> = self
            .open
            .iter()
            .filter_map(|id| self.jobs.get(id))
            .filter(|job| job.stage == Stage::Queued)
            .map(|job| (job.queued_at.unwrap_or(job.created_at), job.key.id.0))
            .collect();
        queued.sort_unstable();
        let mut any = false;
        for (_, id) in queued {
            let Some(job) = self.jobs.get(&id) else { continue };
            let fits: Vec<usize> = (0..idle.len())
                .filter(|index| self.runners.get(&idle[*index]).is_some_and(|runner| self.may_run(runner, job)))
                .collect();
            if fits.is_empty() {
                continue;
            }
            let runner = idle.swap_remove(fits[self.seed.below(fits.len())]);
            self.give(id, runner, now);
            any = true;
            if idle.is_empty() {
                break;
            }
        }
        any
    }

    /// Whether a runner waits for a job.
    fn takes_jobs(&self, runner: &Runner, now: Timestamp) -> bool {
        let recent = match (&self.version_floor, &runner.version) {
            (Some(floor), Some(version)) => number(version) >= number(floor),
            (Some(_) | None, _) => true,
        };
        !runner.foreign && recent && runner.job.is_none() && runner.online(now, self.timings.offline_after)
    }

    /// Whether a runner may have a job: its labels, its scope, its group.
    pub(crate) fn may_run(&self, runner: &Runner, job: &Job) -> bool {
        let Some(repo) = self.repo_named(&job.spec.repository) else { return false };
        let wanted: LabelSet = job.spec.labels.iter().map(String::as_str).collect();
        let seen = match &runner.scope {
            Scope::Organization(_) => self.groups.get(&runner.group_id).is_some_and(|group| group.lets_in(repo)),
            Scope::Repository { .. } => runner.scope.serves(&job.spec.repository),
        };
        seen && runner.labels.covers(&wanted) && !job.not_fetched_by.contains(&runner.id)
    }

    fn give(&mut self, job: u64, runner: u64, now: Timestamp) {
        if let Some(runner) = self.runners.get_mut(&runner) {
            runner.job = Some(job);
        }
        if let Some(job) = self.jobs.get_mut(&job) {
            job.stage = Stage::Assigned { runner };
            job.assigned_at = Some(now);
        }
    }

    /// A job begins on a runner.
    pub(super) fn begin(&mut self, job: u64, runner: u64, now: Timestamp) {
        let Some(holder) = self.runners.get_mut(&runner) else { return };
        holder.job = Some(job);
        holder.busy_since = Some(now);
        holder.idle_since = None;
        let stamp = RunnerStamp {
            id: holder.id,
            name: holder.name.clone(),
            group_id: holder.group_id,
            group_name: holder.group_name.clone(),
        };
        if let Some(job) = self.jobs.get_mut(&job) {
            job.stage = Stage::InProgress { runner };
            job.assigned_at.get_or_insert(now);
            job.started_at = Some(now);
            job.runner = Some(stamp);
        }
        self.announce(job, "in_progress");
    }

    /// A test lets a runner of its choice take a queued job, against all rules of matching. False where the job is not
    /// queued or the runner is not free.
    pub(crate) fn steal(&mut self, key: JobKey, runner: &str, now: Timestamp) -> bool {
        let Some(id) = self.runner(runner).map(|runner| runner.id) else { return false };
        let stage = self.job(key).map(|job| job.stage);
        match stage {
            Some(Stage::Queued) => {}
            Some(Stage::Assigned { runner }) => self.release(runner, now, false),
            _ => return false,
        }
        if self.runners.get(&id).is_some_and(|runner| runner.job.is_some()) {
            return false;
        }
        self.begin(key.id.0, id, now);
        true
    }
}

/// An ephemeral runner whose agent is not there and which has no job.
fn forgettable(runner: &Runner) -> bool {
    let polled = runner.session.as_ref().is_some_and(|session| session.polls > 0);
    runner.ephemeral && !runner.foreign && !polled && runner.job.is_none()
}

/// A version as numbers.
fn number(version: &str) -> Vec<u32> {
    version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0)).collect()
}
