//! The agent in a simulated container: it opens its session, waits, runs one job, reports it, and ends.

use super::dice::Dice;
use super::stage::Stage;
use crate::model::JobId;
use crate::provider::StartCommand;
use crate::simulation::github::Poll;
use crate::simulation::protocol::{Ending, Register};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// How long the server holds a poll.
const POLL: Duration = Duration::from_secs(50);

/// What an agent that was refused does before it asks again.
const PAUSE: Duration = Duration::from_secs(15);

/// What can be seen of an agent from outside.
#[derive(Debug, Default)]
pub(super) struct Work {
    job: Mutex<Option<JobId>>,
    worker: AtomicBool,
    /// Whether all of its processes stand still, and who is to be told when they go on.
    still: Mutex<(bool, Option<Waker>)>,
}

impl Work {
    /// The job that it fetched.
    pub(super) fn job(&self) -> Option<JobId> {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everything in it stand still, or go on.
    pub(super) fn stand_still(&self, still: bool) {
        let mut now = self.still.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 = still;
        if let Some(waiting) = now.1.take().filter(|_| !still) {
            waiting.wake();
        }
    }

    /// The same life, which does nothing while it stands still.
    pub(super) async fn unless_still(&self, life: impl Future<Output = i64>) -> i64 {
        let mut life = std::pin::pin!(life);
        std::future::poll_fn(|context| {
            {
                let mut now = self.still.lock().unwrap_or_else(PoisonError::into_inner);
                if now.0 {
                    now.1 = Some(context.waker().clone());
                    return std::task::Poll::Pending;
                }
            }
            life.as_mut().poll(context)
        })
        .await
    }

    /// Whether the job's own process lives.
    pub(super) fn has_worker(&self) -> bool {
        self.worker.load(Ordering::Relaxed)
    }
}

/// How an agent begins: under which name, in which way, with which credential.
pub(super) struct Beginning {
    pub(super) name: String,
    pub(super) start: StartCommand,
    pub(super) credential: String,
}

impl Beginning {
    /// Who it is at GitHub, once it knows.
    fn identity(self, stage: &Stage) -> Option<(u64, String)> {
        match self.start {
            StartCommand::Jit { .. } => stage.github().agent_of(&self.credential),
            StartCommand::Register { url, labels, group, work_dir, .. }
            | StartCommand::Keep { url, labels, group, work_dir, .. } => stage.github().register_agent(&Register {
                url,
                token: self.credential,
                name: self.name,
                labels,
                group,
                ephemeral: true,
                replace: false,
                work_folder: work_dir,
            }),
        }
    }
}

/// From the container's start to its end; the exit code. A container that is killed drops this.
pub(super) async fn live(stage: Arc<Stage>, beginning: Beginning, work: Arc<Work>, dice: Dice) -> i64 {
    let weather = stage.weather();
    tokio::time::sleep(dice.millis(500, 6000)).await;
    if dice.happens(weather.stillborn) {
        return *dice.one_of(&[1, 0, 125]).unwrap_or(&1);
    }
    if dice.happens(weather.never_online) {
        std::future::pending::<()>().await;
    }
    let Some((agent, secret)) = beginning.identity(&stage) else { return 1 };
    tokio::time::sleep(dice.millis(100, 2000)).await;
    let Some(session) = stage.github().open_session(agent, &secret) else { return 1 };
    let github = stage.github();
    let job = loop {
        let Some(_polling) = github.begin_poll(&session) else { return 0 };
        match tokio::time::timeout(POLL, github.news(&session)).await {
            Err(_) | Ok(Poll::Cancelled) => {}
            Ok(Poll::Gone) => return 0,
            Ok(Poll::Job(id)) => {
                tokio::time::sleep(dice.millis(50, 1500)).await;
                match github.acquire(&session, id) {
                    Some(job) => break job,
                    // The real one stays, and waits for another.
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        }
    };
    let id = JobId(job.id);
    *work.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    // The job's process is there a moment after GitHub says that it runs.
    tokio::time::sleep(dice.millis(10, 1500)).await;
    work.worker.store(true, Ordering::Relaxed);
    let mut lasts = Duration::from_millis(job.duration_ms);
    let dies = dice.happens(weather.dies_in_job) || matches!(job.ending, Ending::AgentDies { .. });
    if dies {
        lasts /= 2;
    }
    let cancelled = run(&stage, &session, lasts).await;
    if dies && !cancelled {
        return *dice.one_of(&[137, 1, 0]).unwrap_or(&137);
    }
    tokio::time::sleep(dice.millis(10, 500)).await;
    github.complete(&session, id, if cancelled { "cancelled" } else { &job.conclusion });
    work.worker.store(false, Ordering::Relaxed);
    tokio::time::sleep(dice.millis(50, 3000)).await;
    github.close_session(&session);
    0
}

/// The job's time, with the session polled meanwhile. True where it was cancelled.
async fn run(stage: &Stage, session: &str, lasts: Duration) -> bool {
    let github = stage.github();
    let end = tokio::time::Instant::now() + lasts;
    let _polling = github.begin_poll(session);
    let told = async {
        loop {
            match github.news(session).await {
                Poll::Cancelled => return,
                // Its registration is gone; the job goes on to its end.
                Poll::Gone => std::future::pending::<()>().await,
                Poll::Job(_) => github.changed().await,
            }
        }
    };
    tokio::time::timeout_at(end, told).await.is_ok()
}
