//! `runnerfleet scheduler …`: what is done at regular times, when it was done last, and now.

use super::output::{Output, plain, span, yaml};
use super::serve::Signals;
use super::{complain, from_file, say, start_log};
use crate::admin::client::Client;
use crate::app::{Parts, open_store};
use crate::clock;
use crate::config::{Backend, Config, Schedule};
use crate::model::age;
use crate::scheduler::{self, End, State, Status};
use crate::store::Store;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::Table;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a run is over.
const LOOK: Duration = Duration::from_millis(300);

/// A loop that is at work takes a wish within seconds; one that does not is not there.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// The last notifications of a verb have so long.
const LAST_NOTICES: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct SchedulerArgs {
    #[command(subcommand)]
    verb: Option<SchedulerVerb>,
}

#[derive(Debug, Subcommand)]
enum SchedulerVerb {
    /// Show what is done when, the last run and the next.
    #[command(after_help = "Example:\n  runnerfleet scheduler status --output json")]
    Status(StatusArgs),
    /// Do a run now, whatever the time window says, and wait for its end.
    #[command(after_help = "Example:\n  runnerfleet scheduler run-now")]
    RunNow(RunNowArgs),
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// How to print; `wide` is the same as `table` here.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, Args)]
struct RunNowArgs {
    /// Do not wait for its end; only where a `serve` does it.
    #[arg(long)]
    no_wait: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Print nothing when all went well.
    #[arg(short, long)]
    quiet: bool,
    /// How to print; `wide` is the same as `table` here.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// Where the note is.
enum Desk {
    /// With a `serve` that runs.
    Serve(Client),
    /// In the store itself.
    Store(Arc<dyn Store>),
    /// There is no store yet: nothing was ever written.
    Nowhere,
}

impl Desk {
    async fn find(config: &Config) -> anyhow::Result<Self> {
        if let Some(client) = Client::connect(&config.http.admin_socket).await {
            return Ok(Self::Serve(client));
        }
        if matches!(&config.store.backend, Backend::Embedded { path } if !path.exists()) {
            return Ok(Self::Nowhere);
        }
        Ok(Self::Store(open_store(config)?.1))
    }

    async fn state(&self) -> anyhow::Result<State> {
        Ok(match self {
            Self::Serve(client) => client.scheduler().await?,
            Self::Store(store) => scheduler::read(store.as_ref()).await?,
            Self::Nowhere => State::default(),
        })
    }
}

pub(super) async fn run(config: Config, args: SchedulerArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        None => alone(config).await,
        Some(SchedulerVerb::Status(args)) => {
            let schedule = schedule(&config);
            let state = Desk::find(&config).await?.state().await?;
            print(&scheduler::status(&schedule, &state, clock::now()), args.output)?;
            if config.scheduler.is_none() {
                complain("note: the configuration has no `scheduler`: nothing is done at regular times");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(SchedulerVerb::RunNow(args)) => run_now(config, args).await,
    }
}

fn schedule(config: &Config) -> Schedule {
    config.scheduler.clone().unwrap_or_default()
}

/// The loop by itself, until SIGTERM.
async fn alone(config: Config) -> anyhow::Result<ExitCode> {
    if Client::connect(&config.http.admin_socket).await.is_some() {
        bail!("a `serve` runs here, and does it already; `runnerfleet scheduler status` shows it");
    }
    start_log(&config.log);
    let mut signals = Signals::new()?;
    let parts = joined(config)?;
    let stop = CancellationToken::new();
    let looping = tokio::spawn(looped(&parts, stop.clone())?);
    signals.next().await;
    stop.cancel();
    looping.await.context("ending the scheduler")?;
    parts.notifier.finish(LAST_NOTICES).await;
    Ok(ExitCode::SUCCESS)
}

fn joined(config: Config) -> anyhow::Result<Parts> {
    let (queue, store) = open_store(&config)?;
    let file = from_file(&config);
    Parts::join(Arc::new(config), queue, store, Some(&file))
}

fn looped(parts: &Parts, stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let actions = parts.scheduled.clone().context("this program was put together without what the scheduler does")?;
    Ok(scheduler::run(parts.config.clone(), parts.store.clone(), actions, parts.notifier.clone(), stop))
}

async fn run_now(config: Config, args: RunNowArgs) -> anyhow::Result<ExitCode> {
    let schedule = schedule(&config);
    if args.dry_run {
        let tasks: Vec<_> = schedule.actions.iter().map(ToString::to_string).collect();
        say(&format!("would do: {}", if tasks.is_empty() { "nothing".to_owned() } else { tasks.join(", ") }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let began = clock::now();
    let end = if let Some(client) = Client::connect(&config.http.admin_socket).await {
        if config.scheduler.as_ref().is_none_or(|schedule| !schedule.enabled) {
            bail!("the `serve` that runs here has no scheduler: `scheduler.enabled` in {}", config.file.display());
        }
        client.run_scheduler().await?;
        if args.no_wait {
            say("asked for")?;
            return Ok(ExitCode::SUCCESS);
        }
        awaited(&Desk::Serve(client), began).await?
    } else {
        let parts = joined(config)?;
        let stop = CancellationToken::new();
        let looping = tokio::spawn(looped(&parts, stop.clone())?);
        scheduler::ask(parts.store.as_ref(), began).await?;
        let end = awaited(&Desk::Store(parts.store.clone()), began).await;
        stop.cancel();
        looping.await.context("ending the scheduler")?;
        parts.notifier.finish(LAST_NOTICES).await;
        end?
    };
    let failed = end.error.is_some();
    if failed || !args.quiet {
        match args.output {
            Output::Json => say(&serde_json::to_string_pretty(&end)?)?,
            Output::Yaml => say(&yaml(&end)?)?,
            Output::Table | Output::Wide => match &end.error {
                None => say(&format!("done: {}", end.summary))?,
                Some(error) => complain(&format!("error: the run failed: {error}")),
            },
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Until the run that was asked for is over.
async fn awaited(desk: &Desk, asked: jiff::Timestamp) -> anyhow::Result<End> {
    let until = clock::now() + TAKEN_WITHIN;
    loop {
        let state = desk.state().await?;
        let run = state.last.filter(|run| run.began >= asked && state.asked.is_none());
        match run {
            Some(run) => {
                if let Some(end) = run.end {
                    return Ok(end);
                }
            }
            None if state.asked.is_some() && clock::now() > until => {
                complain("note: no scheduler has taken it yet; another run may be under way");
                bail!("not begun within {} s; it is still asked for", TAKEN_WITHIN.as_secs());
            }
            None => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn print(status: &Status, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => return say(&serde_json::to_string_pretty(status)?),
        Output::Yaml => return say(&yaml(status)?),
        Output::Table | Output::Wide => {}
    }
    let tasks: Vec<_> = status.actions.iter().map(ToString::to_string).collect();
    let words = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
    let last = match &status.state.last {
        None => "-".to_owned(),
        Some(run) => {
            let ago = span(age(status.at, run.began));
            let tried = if run.attempt > 0 { format!(", try {}", run.attempt + 1) } else { String::new() };
            let how = match &run.end {
                None => "under way".to_owned(),
                Some(End { error: Some(error), .. }) => format!("failed: {error}"),
                Some(end) => end.summary.clone(),
            };
            format!("{:.0} ({ago} ago{tried}, on {}): {how}", run.began, run.by)
        }
    };
    let mut table = Table::new();
    for (name, value) in [
        ("enabled", if status.enabled { "yes" } else { "no" }.to_owned()),
        ("every", span(Duration::from_secs(status.every_seconds))),
        ("window", format!("{} {}", status.time_window, status.tz)),
        ("days", words(&status.days)),
        ("actions", words(&tasks)),
        ("last run", last),
        ("next", format!("{:.0}: {}", status.next, status.why)),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    say(&plain(table))
}
