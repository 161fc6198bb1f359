//! What `run.sh` does: it opens a session, waits for jobs, runs them, and ends as the real one does.

use super::configure::{read_files, remove_files, write_files};
use super::connection::{Away, Connection, News, Opened, Taken};
use super::job::{JobEnd, Worker};
use super::reaper::Reaper;
use super::worker::result_word;
use super::{Output, to_stdout};
use crate::simulation::protocol::{AGENT_VERSION, Acquired, Message, SessionOpened, decode_jit};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The first pause after a failed request; the real one's is longer, and nobody learns from waiting for it.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For how long a finished job is reported to a server that is away.
const REPORT: Duration = Duration::from_secs(10 * 60);
/// Which signal stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// SIGINT.
    Int,
    /// SIGTERM.
    Term,
}

/// How an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The listener ended with this code; `run.sh` hides most of them.
    Listener(u8),
    /// A signal stopped it.
    Stopped(Interrupt),
    /// It broke down with this code, as a test wanted it.
    Died(u8),
}

impl Ended {
    /// What `run.sh` makes of it: 0 for most of the listener's codes, 143 and 130 after a signal.
    pub fn exit_code(self) -> u8 {
        match self {
            // 7 leaves the listener only where the deprecation code was asked for.
            Self::Listener(7) => 7,
            Self::Listener(_) => 0,
            Self::Stopped(Interrupt::Term) => 143,
            Self::Stopped(Interrupt::Int) => 130,
            Self::Died(code) => code,
        }
    }
}

/// An agent that is about to run.
pub struct Agent {
    /// The JIT config; without one the files of `config.sh` are used.
    pub jit: Option<String>,
    /// The runner's folder, for those files; none leaves no files behind.
    pub root: Option<PathBuf>,
    /// What runs its jobs.
    pub worker: Worker,
    /// Where its lines go.
    pub output: Output,
    /// The version that it tells.
    pub version: String,
    /// Tells when it has to stop.
    pub stop: watch::Receiver<Option<Interrupt>>,
    /// Shows more, as `ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1` does.
    pub verbose: bool,
    /// Ends with code 7 when it is too old, as `ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE=1` wants it.
    pub tells_deprecation: bool,
    /// Waits for the processes of its jobs, and for orphans.
    pub(super) reaper: Option<Reaper>,
    /// One job only; known once its files are read.
    ephemeral: bool,
}

type Flow<T> = Result<T, Ended>;

impl Agent {
    /// An agent that writes to standard output, leaves no files, and stops only when it is done.
    pub fn new(jit: Option<String>, worker: Worker) -> Self {
        Self {
            jit,
            root: None,
            worker,
            output: to_stdout(),
            version: AGENT_VERSION.to_owned(),
            // Its sender is gone: nothing ever comes.
            stop: watch::channel(None).1,
            verbose: false,
            tells_deprecation: false,
            reaper: None,
            ephemeral: false,
        }
    }

    /// Runs until it is over.
    pub async fn run(mut self) -> Ended {
        match self.listen().await {
            Ok(ended) | Err(ended) => {
                if let Ended::Listener(code) = ended {
                    self.say_exit(code);
                }
                ended
            }
        }
    }

    pub(super) fn say(&self, line: &str) {
        (self.output)(line);
    }

    fn say_now(&self, line: &str) {
        self.say(&format!("{}: {line}", moment()));
    }

    fn trace(&self, line: &str) {
        if self.verbose {
            self.say(&format!("[RUNNER {} INFO Listener] {line}", moment()));
        }
    }

    /// The only place where the listener's code shows (run-helper.sh).
    fn say_exit(&self, code: u8) {
        self.say(match code {
            0 => "Runner listener exit with 0 return code, stop the service, no retry needed.",
            1 => "Runner listener exit with terminated error, stop the service, no retry needed.",
            5 => "Runner listener exit with Session Conflict error, stop the service, no retry needed.",
            7 => "Runner listener exit with deprecated version error, stop the service, no retry needed.",
            _ => "Exiting with unknown error code",
        });
        self.say("Exiting runner...");
    }

    async fn listen(&mut self) -> Flow<Ended> {
        if let Worker::Process { .. } = self.worker {
            match Reaper::start() {
                Ok(reaper) => self.reaper = Some(reaper),
                Err(error) => {
                    self.say(&format!("An error occurred: {error}"));
                    return Err(Ended::Listener(1));
                }
            }
        }
        let connection = self.connect()?;
        let session = self.open(&connection).await?;
        if let Some(code) = session.die {
            return Ok(Ended::Died(code));
        }
        self.say(&format!("Current runner version: '{}'", self.version));
        self.say_now("Listening for Jobs");
        loop {
            let job = match self.next_job(&connection, &session).await {
                Ok(Some(job)) => job,
                Ok(None) => {
                    self.say("The runner no longer exists on the server. Cleaning up local configuration.");
                    self.clean_up();
                    return Ok(Ended::Listener(0));
                }
                Err(ended) => {
                    self.close(&connection, &session).await;
                    return Err(ended);
                }
            };
            self.say_now(&format!("Running job: {}", job.name));
            let (conclusion, stopped) = match self.run_job(&connection, &session, &job).await {
                JobEnd::Finished(conclusion) => (conclusion, None),
                // The real one reports a job that it had to stop as failed, with a word about the shutdown signal.
                JobEnd::Stopped(interrupt) => ("failure".to_owned(), Some(interrupt)),
                JobEnd::Died(code) => return Ok(Ended::Died(code)),
            };
            self.say_now(&format!("Job {} completed with result: {}", job.name, result_word(&conclusion)));
            self.report(&connection, &session, job.id, &conclusion).await;
            let over = self.ephemeral;
            if over || stopped.is_some() {
                self.close(&connection, &session).await;
            }
            if over {
                self.clean_up();
            }
            match stopped {
                Some(interrupt) => return Ok(Ended::Stopped(interrupt)),
                None if over => return Ok(Ended::Listener(0)),
                None => {}
            }
        }
    }

    /// Reads whose agent it is.
    fn connect(&mut self) -> Flow<Connection> {
        let files = match &self.jit {
            Some(jit) => match decode_jit(jit) {
                Ok(files) => Some(files),
                Err(error) => {
                    self.say(&format!("An error occurred: the JIT config cannot be read: {error}"));
                    return Err(Ended::Listener(1));
                }
            },
            None => self.root.as_deref().and_then(read_files),
        };
        let Some((runner, credentials)) = files else {
            self.say("An error occurred: Not configured. Run Config.(sh/cmd) to configure the runner.");
            return Err(Ended::Listener(1));
        };
        if let (Some(root), Some(_)) = (&self.root, &self.jit)
            && let Err(error) = write_files(root, &runner, &credentials)
        {
            // The real agent needs a writable folder too.
            self.say(&format!("An error occurred: {error} in '{}'", root.display()));
            return Err(Ended::Listener(1));
        }
        self.trace(&format!("Version: {}, runner {}", self.version, runner.agent_name));
        self.ephemeral = runner.ephemeral;
        Connection::new(&runner, &credentials).map_err(|error| {
            self.say(&format!("An error occurred: {error}"));
            Ended::Listener(1)
        })
    }

    /// Opens a session, however long it takes.
    async fn open(&mut self, connection: &Connection) -> Flow<SessionOpened> {
        let began = Instant::now();
        let mut outage = Outage::default();
        loop {
            let version = self.version.clone();
            match self.unless_stopped(connection.open(&version)).await? {
                Ok(Opened::Session(session)) => {
                    outage.over(self);
                    self.say("\n√ Connected to GitHub\n");
                    return Ok(session);
                }
                Ok(Opened::Deleted) => {
                    self.say("Failed to create a session. The runner registration has been deleted from the server, please re-configure. Runner registrations are automatically deleted for runners that have not connected to the service recently.");
                    return Err(Ended::Listener(1));
                }
                Ok(Opened::Deprecated) => {
                    self.say(&format!(
                        "An error occurred: Runner version v{} is deprecated and cannot receive messages.",
                        self.version
                    ));
                    return Err(Ended::Listener(if self.tells_deprecation { 7 } else { 1 }));
                }
                Ok(Opened::Conflict(conflict)) => {
                    self.say("A session for this runner already exists.");
                    let give_up = Duration::from_millis(conflict.give_up_ms);
                    if began.elapsed() >= give_up {
                        self.say(&format!(
                            "Stop retry on SessionConflictException after retried for {} seconds.",
                            give_up.as_secs()
                        ));
                        return Err(Ended::Listener(5));
                    }
                    self.unless_stopped(sleep(Duration::from_millis(conflict.retry_ms))).await?;
                }
                Err(away) => {
                    let pause = outage.pause(self, &away);
                    self.unless_stopped(sleep(pause)).await?;
                }
            }
        }
    }

    /// Waits for a job and takes it; none when the registration is gone.
    async fn next_job(&mut self, connection: &Connection, session: &SessionOpened) -> Flow<Option<Acquired>> {
        let mut outage = Outage::default();
        loop {
            let news = self.unless_stopped(connection.poll(session)).await?;
            let taken = match news {
                Ok(News::Message(Message::Job { id })) => self.unless_stopped(connection.acquire(session, id)).await?,
                Ok(News::Message(Message::Cancel { .. }) | News::Nothing) => {
                    outage.over(self);
                    continue;
                }
                Ok(News::Gone) => return Ok(None),
                Err(away) => Err(away),
            };
            match taken {
                Ok(Taken::Job(job)) => return Ok(Some(job)),
                Ok(Taken::Gone) => return Ok(None),
                Ok(Taken::NotOurs) => {
                    // The real one stays and waits for another: which may never come.
                    self.trace("Skipping message Job. Job message not found");
                    self.unless_stopped(sleep(FIRST_PAUSE)).await?;
                }
                Err(away) => {
                    let pause = outage.pause(self, &away);
                    self.unless_stopped(sleep(pause)).await?;
                }
            }
        }
    }

    /// Tells the end of a job, also to a server that is away for a while.
    async fn report(&self, connection: &Connection, session: &SessionOpened, job: u64, conclusion: &str) {
        let mut outage = Outage::default();
        let reported = async {
            while let Err(away) = connection.complete(session, job, conclusion).await {
                let pause = outage.pause(self, &away);
                sleep(pause).await;
            }
            outage.over(self);
        };
        if tokio::time::timeout(REPORT, reported).await.is_err() {
            self.say("An error occurred: the job's end could not be reported.");
        }
    }

    /// Ends the session. The registration stays, as with the real agent: only GitHub ends that.
    async fn close(&self, connection: &Connection, session: &SessionOpened) {
        if let Err(away) = connection.close(session).await {
            self.trace(&format!("the session stays open: {away}"));
        }
    }

    fn clean_up(&self) {
        if let Some(root) = &self.root {
            remove_files(root);
        }
    }

    /// Does something that a signal may cut short.
    async fn unless_stopped<T>(&mut self, doing: impl Future<Output = T>) -> Flow<T> {
        let mut stop = self.stop.clone();
        tokio::select! {
            interrupt = stopped(&mut stop) => {
                self.say("Exiting...");
                Err(Ended::Stopped(interrupt))
            }
            done = doing => Ok(done),
        }
    }
}

/// Comes back when a signal came; never where none can.
pub(super) async fn stopped(stop: &mut watch::Receiver<Option<Interrupt>>) -> Interrupt {
    let came = stop.wait_for(Option::is_some).await.ok().and_then(|interrupt| *interrupt);
    match came {
        Some(interrupt) => interrupt,
        // The sender is gone without a word.
        None => std::future::pending().await,
    }
}

/// An outage is told once, and its end as well.
#[derive(Default)]
struct Outage {
    pause: Option<Duration>,
}

impl Outage {
    fn pause(&mut self, agent: &Agent, away: &Away) -> Duration {
        let pause = match self.pause {
            None => {
                agent.say_now(&format!("Runner connect error: {away}. Retrying until reconnected."));
                FIRST_PAUSE
            }
            Some(last) => (last * 2).min(LONGEST_PAUSE),
        };
        self.pause = Some(pause);
        pause
    }

    fn over(&mut self, agent: &Agent) {
        if self.pause.take().is_some() {
            agent.say_now("Runner reconnected.");
        }
    }
}

/// Turns the first SIGTERM or SIGINT into a stop. The signals are caught from the moment that this returns.
pub(super) fn trap_signals() -> std::io::Result<watch::Receiver<Option<Interrupt>>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let interrupt = tokio::select! {
            _ = term.recv() => Interrupt::Term,
            _ = int.recv() => Interrupt::Int,
        };
        sender.send_replace(Some(interrupt));
    });
    Ok(receiver)
}

/// Now, as the agent writes it.
pub(super) fn moment() -> String {
    crate::clock::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
