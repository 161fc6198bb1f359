//! One runner to one goal: look, take the next step, look again.

use super::keeper::Inner;
use super::order::{Outcome, OutcomeKind};
use super::rows::Failure;
use super::spec::{self, Described};
use super::step::{self, Found, GiveUp, Goal, QUIET_LOOKS, Seen, Step, Task, Then};
use crate::clock;
use crate::config::Config;
use crate::model::{
    Container, ContainerStatus, Job, Observed, Registration, Runner, RunnerName, Scope, StateName, Wanted, after,
};
use crate::provider::ContainerNews;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// A runner whose pool is gone from the file: as long as a pool would wait by default.
const DRAIN: Duration = Duration::from_secs(600);

/// The same, for coming online.
const ONLINE: Duration = Duration::from_secs(180);

/// After a job was ended by force, GitHub is waited for so long to give the registration up.
const FORCED: Duration = Duration::from_secs(30);

/// So often something that must be known is asked for again before this gives up for now.
const ASK_AGAIN: u32 = 4;

/// Steps (waits not counted) after which a drive is taken to run in a circle. The longest way, an outdated runner in error to a
/// new one online, has about twelve.
const STEPS_MAX: u32 = 60;

/// Pauses between two looks: short at first, since most states come within a second or two.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Between two looks at a runner whose job is waited for.
const JOB_PAUSE: Duration = Duration::from_secs(10);

/// In a pause, the memory is looked at so often: it is told of ends by events.
const GLANCE: Duration = Duration::from_millis(100);

/// How a goal is gone for.
#[derive(Debug, Clone, Default)]
pub(super) struct How {
    /// End a running job.
    pub(super) force: bool,
    /// Seconds that a running job is waited for; the pool's own time where none.
    pub(super) timeout: Option<u64>,
    /// What a person wants from now on; none: nobody said anything.
    pub(super) wanted: Option<Wanted>,
}

/// What was done on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that happened or not")]
pub(super) struct Done {
    pub(super) created: bool,
    pub(super) started: bool,
    pub(super) stopped: bool,
    pub(super) removed: bool,
}

/// See the file's head.
pub(super) struct Drive<'a> {
    pub(super) inner: &'a Inner,
    pub(super) name: &'a RunnerName,
    pub(super) goal: Goal,
    pub(super) how: How,
    leave: CancellationToken,
    pub(super) config: Arc<Config>,
    pub(super) done: Done,
    quiet: u32,
    pub(super) starts: u32,
    pub(super) started_at: Option<Timestamp>,
    pub(super) refused: Option<(Timestamp, String)>,
}

/// A look.
pub(super) struct Look {
    pub(super) row: Option<Arc<Runner>>,
    pub(super) container: Observed<Option<Container>>,
    pub(super) registration: Observed<Option<Registration>>,
    worker: Observed<bool>,
    job: Option<Arc<Job>>,
    outdated: Option<String>,
}

impl<'a> Drive<'a> {
    pub(super) fn new(inner: &'a Inner, name: &'a RunnerName, goal: Goal, how: How, leave: CancellationToken) -> Self {
        Self {
            inner,
            name,
            goal,
            how,
            leave,
            config: inner.config(),
            done: Done::default(),
            quiet: 0,
            starts: 0,
            started_at: None,
            refused: None,
        }
    }

    /// To its end. `say` hears what it is at.
    pub(super) async fn run(mut self, say: &(dyn Fn(&str) + Send + Sync)) -> Outcome {
        let config = self.config.clone();
        let described = spec::description(&config, self.name);
        if let Some(wanted) = self.how.wanted
            && let Err(error) = self.inner.want(self.name, wanted).await
        {
            return outcome(OutcomeKind::Failed, error.to_string());
        }
        let task = self.task(described.as_ref());
        let (mut blocked, mut steps, mut pause) = (0, 0, PAUSES.0);
        loop {
            let look = self.look(described.as_ref()).await;
            let now = clock::now();
            let step = {
                let mut seen = self.seen(&look);
                self.quiet = if step::is_quiet(&seen, now) { self.quiet + 1 } else { 0 };
                seen.quiet = self.quiet;
                step::next(&task, &seen, now)
            };
            debug!(runner.name = %self.name, goal = ?self.goal, ?step, "next");
            match step {
                Step::Done => return self.reached(&look),
                Step::Wait(what) => {
                    say(&what);
                    blocked = 0;
                    // The look that makes sure comes soon; the wait for a job may be long.
                    let has_job = look.worker == Observed::Known(true);
                    let longest = if has_job { JOB_PAUSE } else { PAUSES.1 };
                    let this = if (1..QUIET_LOOKS).contains(&self.quiet) { PAUSES.0 } else { pause.min(longest) };
                    if !self.pause(this, &look).await {
                        return self.taken_over(&what);
                    }
                    pause = (pause * 2).min(longest);
                }
                Step::Blocked(why) => {
                    blocked += 1;
                    if blocked >= ASK_AGAIN {
                        return self.blocked(why);
                    }
                    say(&format!("trying again: {why}"));
                    if !self.pause(PAUSES.0 * 2_u32.pow(blocked), &look).await {
                        return self.taken_over(&why);
                    }
                }
                Step::GiveUp(given) => return self.given_up(given, &look).await,
                step => {
                    steps += 1;
                    pause = PAUSES.0;
                    if steps > STEPS_MAX {
                        return outcome(OutcomeKind::Failed, format!("it goes round in circles; last step: {step:?}"));
                    }
                    say(words(&step));
                    match self.take(&step, &look, described.as_ref()).await {
                        Ok(()) => blocked = 0,
                        Err(failure) if failure.is_passing() => {
                            blocked += 1;
                            if blocked >= ASK_AGAIN {
                                return self.blocked(failure.to_string());
                            }
                            say(&format!("trying again: {failure}"));
                            if !self.pause(PAUSES.0 * 2_u32.pow(blocked), &look).await {
                                return self.taken_over(&failure.to_string());
                            }
                        }
                        Err(failure) => {
                            let given = GiveUp { why: explained(&failure, described.as_ref()), then: Then::Error };
                            return self.given_up(given, &look).await;
                        }
                    }
                }
            }
        }
    }

    fn task(&self, described: Option<&Described<'_>>) -> Task {
        let began = clock::now();
        let drain = match self.how.timeout {
            Some(seconds) => Duration::from_secs(seconds),
            None if self.how.force => FORCED,
            None => described.map_or(DRAIN, |described| described.pool.drain_timeout),
        };
        Task {
            goal: self.goal,
            force: self.how.force,
            began,
            drain_until: after(began, drain),
            online_timeout: described.map_or(ONLINE, |described| described.pool.online_timeout),
            described: described.is_some(),
        }
    }

    /// Asks the engine and GitHub; the memory alone is never enough for what cannot be taken back.
    async fn look(&self, described: Option<&Described<'_>>) -> Look {
        let inner = self.inner;
        let row = inner.row(self.name);
        let container = match inner.provider.find(self.name).await {
            Ok(found) => Observed::Known(found),
            Err(error) => Observed::Unknown(error.to_string()),
        };
        if let Observed::Known(found) = &container {
            self.tell_memory(found.as_ref());
        }
        let found = container.known().and_then(Option::as_ref);
        let runs = found.is_some_and(|found| found.status == ContainerStatus::Running);
        let worker = async {
            match found.filter(|_| runs) {
                None => Observed::Known(false),
                Some(found) => match inner.provider.runs_a_job(&found.id).await {
                    Ok(works) => Observed::Known(works),
                    Err(error) => Observed::Unknown(error.to_string()),
                },
            }
        };
        // A plain stop of what does not run asks nothing of GitHub.
        let registration = async {
            let scope = self.scope(row.as_deref(), found, described);
            match scope.filter(|_| self.goal != Goal::Down || runs) {
                None => Observed::Known(None),
                Some(scope) => match inner.client.runner_named(&scope, self.name).await {
                    Ok(registration) => Observed::Known(registration),
                    Err(error) => Observed::Unknown(error.to_string()),
                },
            }
        };
        let outdated = async {
            let (described, found) = (described?, found?);
            let current = inner.provider.image_id(&described.pool.image).await.ok().flatten();
            described.outdated(found, current.as_ref())
        };
        let (worker, registration, outdated) = tokio::join!(worker, registration, outdated);
        Look { row, worker, registration, outdated, job: self.job(), container }
    }

    /// Where it is registered: a pool that moved to another organization leaves its old runners in the one before. One that is
    /// made anew registers where the file says.
    pub(super) fn scope(
        &self,
        row: Option<&Runner>,
        container: Option<&Container>,
        described: Option<&Described<'_>>,
    ) -> Option<Scope> {
        let anew = matches!(self.goal, Goal::Up { .. }) && container.is_none();
        if let Some(described) = described.filter(|_| anew) {
            return Some(described.pool.scope.clone());
        }
        row.filter(|row| row.is_live())
            .map(|row| row.scope.clone())
            .or_else(|| container.map(|container| container.scope.clone()))
            .or_else(|| described.map(|described| described.pool.scope.clone()))
            .or_else(|| row.map(|row| row.scope.clone()))
    }

    /// The memory is told at once: the engine's own news may come later than the next decision.
    fn tell_memory(&self, found: Option<&Container>) {
        match (found, self.inner.memory.container(self.name)) {
            (Some(found), known) if known.as_ref() != Some(found) => {
                self.inner.memory.apply_container(ContainerNews::Changed(found.clone()));
            }
            (None, Some(known)) => self.inner.memory.apply_container(ContainerNews::Gone(known.id)),
            _ => {}
        }
    }

    /// The job that events say it runs.
    fn job(&self) -> Option<Arc<Job>> {
        self.inner.memory.job_of(self.name)
    }

    fn seen<'l>(&self, look: &'l Look) -> Seen<'l> {
        let container = match &look.container {
            Observed::Known(found) => Observed::Known(found.as_ref().map(|found| Found {
                status: found.status.clone(),
                outdated: look.outdated.clone(),
                restarts: found.kept.as_ref().map_or(0, |kept| kept.restarts),
            })),
            Observed::Unknown(why) => Observed::Unknown(why.clone()),
        };
        Seen {
            row: look.row.as_deref(),
            container,
            registration: look.registration.clone(),
            worker: look.worker.clone(),
            job: look.job.as_ref().map(|job| job.key()),
            quiet: 0,
            starts: self.starts,
            started_at: self.started_at,
            refused: self.refused.clone(),
        }
    }

    /// Waits, and less where the memory hears of something meanwhile. False: somebody else takes over.
    async fn pause(&self, pause: Duration, look: &Look) -> bool {
        let (job, container) = (look.job.as_ref().map(|job| job.key()), look.container.known().cloned().flatten());
        let news = async {
            let mut left = pause;
            while !left.is_zero() {
                let some = left.min(GLANCE);
                tokio::time::sleep(some).await;
                left = left.saturating_sub(some);
                let ended = container.as_ref().is_some_and(|before| {
                    self.inner.memory.container(self.name).is_none_or(|now| now.status != before.status)
                });
                if ended || self.job().map(|job| job.key()) != job {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.leave.cancelled() => false,
            () = news => !self.leave.is_cancelled(),
        }
    }

    fn reached(&self, look: &Look) -> Outcome {
        let Done { created, started, stopped, removed } = self.done;
        let (changed, text) = match self.goal {
            Goal::Up { .. } if created && removed => (true, "made anew, and online"),
            Goal::Up { .. } if created => (true, "created, and online"),
            Goal::Up { .. } if started => (true, "started, and online"),
            Goal::Up { .. } => (false, "was online already"),
            Goal::Down if stopped => (true, "stopped"),
            Goal::Down if look.row.is_none() => (false, "is not there"),
            Goal::Down => (false, "was stopped already"),
            Goal::Gone if removed => (true, "removed"),
            Goal::Gone => (false, "was not there"),
        };
        outcome(if changed { OutcomeKind::Changed } else { OutcomeKind::Unchanged }, text.to_owned())
    }

    fn blocked(&self, why: String) -> Outcome {
        match self.goal {
            Goal::Gone => {
                let what = if self.done.stopped || self.done.removed { "its container is gone; " } else { "" };
                outcome(OutcomeKind::Deferred, format!("{what}not removed yet: {why}. {LATER}"))
            }
            Goal::Down => outcome(OutcomeKind::Deferred, format!("not stopped yet: {why}. {LATER}")),
            Goal::Up { .. } => outcome(OutcomeKind::Failed, why),
        }
    }

    fn taken_over(&self, what: &str) -> Outcome {
        if self.inner.closing.is_cancelled() {
            return outcome(OutcomeKind::Deferred, format!("the program stops while {what}. {LATER}"));
        }
        outcome(OutcomeKind::Deferred, format!("a newer order for it took over while {what}"))
    }

    async fn given_up(&self, given: GiveUp, look: &Look) -> Outcome {
        let GiveUp { why, then } = given;
        match then {
            Then::Later => match self.goal {
                Goal::Up { .. } if look.outdated.is_some() => outcome(
                    OutcomeKind::Deferred,
                    format!("{why}; it keeps its old image and settings until the next deploy, --force ends the job"),
                ),
                Goal::Down => outcome(OutcomeKind::Deferred, format!("{why}; --force ends the job. {LATER}")),
                Goal::Up { .. } | Goal::Gone => outcome(OutcomeKind::Deferred, format!("{why}. {LATER}")),
            },
            Then::Refused => outcome(OutcomeKind::Failed, why),
            Then::Error => {
                let evidence = match look.container.known().and_then(Option::as_ref) {
                    Some(container) => self.inner.provider.evidence(&container.id).await.ok().flatten(),
                    None => None,
                };
                let said = evidence.as_ref().map(|evidence| format!(" ({evidence})")).unwrap_or_default();
                let noted = self.inner.change(self.name, |row| {
                    let now = clock::now();
                    let mut next = match row.become_state(StateName::Error, why.clone(), now) {
                        Ok(next) => next,
                        // In error already, and now for this.
                        Err(_) if row.state.name == StateName::Error && row.state.cause != why => {
                            let mut next = row.clone();
                            next.state.cause.clone_from(&why);
                            next
                        }
                        Err(_) => return None,
                    };
                    // An end that nobody asked for counts, whoever had started it.
                    let ended = evidence.as_ref().is_some_and(|evidence| evidence.exit_code.is_some());
                    if let Some(kept) = next.kept.as_mut().filter(|kept| ended && kept.wanted == Wanted::Present) {
                        *kept = kept.with_end_at(now);
                    }
                    next.evidence = evidence.clone().or(next.evidence);
                    Some(next)
                });
                match noted.await {
                    Ok(_) => outcome(OutcomeKind::Failed, format!("{why}{said}")),
                    Err(error) => outcome(OutcomeKind::Failed, format!("{why}{said}; and {error}")),
                }
            }
        }
    }
}

/// What is said of an order that is not finished.
const LATER: &str = "A running `serve` finishes it when it can; without one, the next time this is asked for does";

fn outcome(kind: OutcomeKind, text: String) -> Outcome {
    Outcome { kind, text }
}

/// What is done, in a person's words.
fn words(step: &Step) -> &'static str {
    match step {
        Step::Intend | Step::Create => "making its container",
        Step::Adopt => "taking its container over",
        Step::Start => "starting it for the first time",
        Step::StartAgain => "starting it",
        Step::Deregister { .. } => "giving its registration back to GitHub",
        Step::Stop { with_job: true } => "stopping it, and its job",
        Step::Stop { with_job: false } => "stopping it",
        Step::RemoveContainer => "removing its container",
        Step::Close | Step::Record { .. } => "writing it down",
        Step::Done | Step::Wait(_) | Step::Blocked(_) | Step::GiveUp(_) => "",
    }
}

/// A person builds images; the engine's words would send them to a registry.
fn explained(failure: &Failure, described: Option<&Described<'_>>) -> String {
    match (failure, described) {
        (Failure::Provider(crate::provider::ProviderError::ImageMissing { image, .. }), Some(described))
            if described.pool.build.is_some() =>
        {
            let pool = &described.pool.name;
            format!("image `{image}` is not built yet: `runnerfleet build {pool}` makes it")
        }
        _ => failure.to_string(),
    }
}
