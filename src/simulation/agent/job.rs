//! One job of an agent: its process, its cancellation, and what else can end it.

use super::WORKER_NAME;
use super::connection::{Connection, News};
use super::listen::{Agent, FIRST_PAUSE, Interrupt, stopped};
use super::worker::{devour, exit_code};
use crate::simulation::protocol::{Acquired, Ending, Message, SessionOpened};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// What a worker has after SIGINT, and then after SIGTERM (actions/runner, ProcessInvoker).
const AFTER_INT: Duration = Duration::from_millis(7500);
const AFTER_TERM: Duration = Duration::from_millis(2500);

/// What runs a job.
#[derive(Debug, Clone)]
pub enum Worker {
    /// A process called `Runner.Worker`: this program with these arguments.
    Process {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
    /// Nothing but time, in this process: for tests and demos without containers.
    InProcess,
}

/// How a job's process ended.
enum WorkerEnd {
    /// As planned.
    AsPlanned,
    /// By a signal, or with a code that says nothing.
    Broken,
}

/// What came between a job and its end.
pub(super) enum JobEnd {
    Finished(String),
    Stopped(Interrupt),
    Died(u8),
}

impl Agent {
    /// Runs a job until it ends, is cancelled, or the agent itself has to go.
    pub(super) async fn run_job(&self, connection: &Connection, session: &SessionOpened, job: &Acquired) -> JobEnd {
        let (cancel, mut cancelled) = watch::channel(false);
        let mut stop = self.stop.clone();
        let doomed = match job.ending {
            Ending::AgentDies { .. } | Ending::AgentOutOfMemory => true,
            Ending::Normal | Ending::JobOutOfMemory | Ending::Hangs => false,
        };
        let job_time = Duration::from_millis(job.duration_ms);
        let work = self.work(job, &mut cancelled);
        tokio::pin!(work);
        let doom = async {
            if !doomed {
                std::future::pending::<()>().await;
            }
            sleep(job_time).await;
        };
        let ended = tokio::select! {
            end = &mut work => (!doomed).then_some(end),
            () = doom => None,
            () = told_to_cancel(connection, session, job.id) => {
                cancel.send_replace(true);
                work.await;
                return JobEnd::Finished("cancelled".into());
            }
            interrupt = stopped(&mut stop) => {
                self.say("Exiting...");
                cancel.send_replace(true);
                work.await;
                return JobEnd::Stopped(interrupt);
            }
        };
        match ended {
            Some(WorkerEnd::AsPlanned) => JobEnd::Finished(job.conclusion.clone()),
            Some(WorkerEnd::Broken) => JobEnd::Finished("failure".into()),
            None => JobEnd::Died(match (job.ending, &self.worker) {
                (Ending::AgentDies { code }, _) => code,
                // It would take the whole test or demo with it.
                (_, Worker::InProcess) => 137,
                (_, Worker::Process { .. }) => devour(),
            }),
        }
    }

    /// The job's process from start to end; ended early when it is cancelled.
    async fn work(&self, job: &Acquired, cancelled: &mut watch::Receiver<bool>) -> WorkerEnd {
        let Worker::Process { program, arguments } = &self.worker else {
            let life = match job.ending {
                Ending::Hangs => Duration::from_secs(60 * 60 * 24),
                _ => Duration::from_millis(job.duration_ms),
            };
            return tokio::select! {
                () = sleep(life) => match job.ending {
                    Ending::JobOutOfMemory => WorkerEnd::Broken,
                    _ => WorkerEnd::AsPlanned,
                },
                _ = cancelled.wait_for(|cancelled| *cancelled) => WorkerEnd::Broken,
            };
        };
        let started = match &self.reaper {
            Some(reaper) => start(program, arguments, job).map(|pid| (reaper, pid)),
            None => Err(std::io::Error::other("nobody would wait for it")),
        };
        let (reaper, pid) = match started {
            Ok(started) => started,
            Err(error) => {
                self.say(&format!("An error occurred: the worker does not start: {error}"));
                return WorkerEnd::Broken;
            }
        };
        let mut life = Life { pid, over: false };
        let steps = [(Signal::INT, AFTER_INT), (Signal::TERM, AFTER_TERM), (Signal::KILL, Duration::from_secs(60))];
        let mut steps = steps.into_iter();
        let mut limit = None;
        loop {
            let status = tokio::select! {
                status = reaper.wait(pid) => Some(status),
                _ = cancelled.wait_for(|cancelled| *cancelled), if limit.is_none() => None,
                () = sleep(limit.unwrap_or_default()), if limit.is_some() => None,
            };
            if let Some(status) = status {
                life.over = true;
                return match status.exit_status() {
                    Some(code) if code == i32::from(exit_code(&job.conclusion)) => WorkerEnd::AsPlanned,
                    _ => WorkerEnd::Broken,
                };
            }
            let Some((signal, patience)) = steps.next() else { return WorkerEnd::Broken };
            // It may have ended in this moment: the next look shows it.
            let _ = kill_process(pid, signal);
            limit = Some(patience);
        }
    }
}

/// Comes back when this job is cancelled, or is not this agent's any more: the real one loses its lock on it then, and
/// gives it up. The poll also shows the server that the agent lives.
async fn told_to_cancel(connection: &Connection, session: &SessionOpened, job: u64) {
    loop {
        match connection.poll(session).await {
            Ok(News::Message(Message::Cancel { id })) if id == job => return,
            Ok(News::Gone) => return,
            Ok(News::Nothing) => {}
            // Away, or a message that is not for now: the job goes on, and its end will be reported.
            Ok(News::Message(_)) | Err(_) => sleep(FIRST_PAUSE * 5).await,
        }
    }
}

/// Starts the job's process, under the name that the real one has. The job comes by standard input, and what configured
/// the agent is not in its environment.
fn start(program: &PathBuf, arguments: &[OsString], job: &Acquired) -> std::io::Result<Pid> {
    let mut command = Command::new(program);
    command.arg0(WORKER_NAME).args(arguments).stdin(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_ascii_uppercase().starts_with("ACTIONS_RUNNER_INPUT_") {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(serde_json::to_string(job)?.as_bytes())?;
    }
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| std::io::Error::other("a process without an id"))
}

/// No worker outlives its agent.
struct Life {
    pid: Pid,
    /// It was waited for: the id may belong to someone else by now.
    over: bool,
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.over {
            // It may have ended in this moment; then there is nothing to do.
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }
}
