//! The command line: what a user types, and which exit code comes back (0 done, 1 failed, 2 wrong use or configuration).

mod act;
mod adopt;
mod build;
mod build_news;
mod check_base_image_update;
mod config;
mod confirm;
mod deliveries;
mod demo;
mod deploy;
mod doctor;
#[cfg(test)]
mod documents;
mod dotenv;
mod drive;
mod health;
mod images;
mod init;
mod list;
mod logs;
mod notify;
mod output;
mod progress;
mod scheduler;
mod select;
mod serve;
mod setup;
mod simulate;
mod source;
mod status;
mod summary;
mod times;
mod view;
mod watch;

use crate::app::FromFile;
use crate::config::file;
use crate::config::{Config, Log};
use crate::persistent;
use crate::simulation::agent::AgentCommand;
use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

/// Gives every queued GitHub Actions job a fresh runner on your own machines.
#[derive(Debug, Parser)]
#[command(
    name = "runnerfleet",
    version,
    about,
    max_term_width = 110,
    after_help = "\
Examples:
  runnerfleet demo                   see it work; nothing to set up
  runnerfleet config check           is runners_config.yaml right?
  runnerfleet doctor                 what is wrong, anywhere, and what to do about it?
  runnerfleet serve                  receive jobs and run them
  runnerfleet deploy                 make the persistent runners match the file
  runnerfleet list --watch           what runs, and on what
  runnerfleet jobs --state queued    what waits, and why"
)]
pub struct Cli {
    /// The configuration.
    #[arg(
        short,
        long,
        global = true,
        env = "RUNNERFLEET_CONFIG",
        default_value = "runners_config.yaml",
        value_name = "FILE"
    )]
    config: PathBuf,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Receive jobs from GitHub and give each a runner, until SIGTERM.
    #[command(after_help = "Example:\n  runnerfleet serve --config /etc/runnerfleet/runners_config.yaml")]
    Serve,
    /// Make the persistent runners match the file: make, start, replace and remove what differs.
    #[command(after_help = "\
Shows the difference first, and asks before it ends what runs. Runners of ephemeral pools are made by `serve`.

Examples:
  runnerfleet deploy --diff          what differs from the file?
  runnerfleet deploy                 all pools
  runnerfleet deploy web api --yes   two pools, without a question")]
    Deploy(deploy::DeployArgs),
    /// Start persistent runners; one that is not there is made.
    #[command(after_help = "Examples:\n  runnerfleet start web-1\n  runnerfleet start --pool web")]
    Start(act::StartArgs),
    /// Stop persistent runners, each after its job. `start` brings them back.
    #[command(
        after_help = "Examples:\n  runnerfleet stop web-1 web-2 --timeout 10m\n  runnerfleet stop --all --force --yes"
    )]
    Stop(act::EndArgs),
    /// Stop persistent runners, each after its job, and start them again.
    #[command(after_help = "Example:\n  runnerfleet restart --pool web")]
    Restart(act::EndArgs),
    /// Remove runners of any kind: first from GitHub, then the container with its volumes.
    #[command(
        after_help = "Examples:\n  runnerfleet remove web-3\n  runnerfleet remove --pool linux --dry-run\n  runnerfleet remove --all --yes"
    )]
    Remove(act::EndArgs),
    /// Show the runners, of every kind.
    #[command(
        alias = "list-runners",
        after_help = "Examples:\n  runnerfleet list --pool linux --state running --output json\n  runnerfleet list --watch"
    )]
    List(list::ListArgs),
    /// Show everything of one runner: its states with times and causes, its job, its image, its last lines.
    #[command(after_help = "Examples:\n  runnerfleet status web-1\n  runnerfleet status web-1 --watch=5s")]
    Status(status::StatusArgs),
    /// Show the output of a runner's container; of one that is gone, what is kept of it.
    #[command(after_help = "\
A shell in the container, or a command, is Docker's: docker exec -it NAME bash

Examples:
  runnerfleet logs web-1 --follow
  runnerfleet logs web-1 --since 10m --tail 100")]
    Logs(logs::LogsArgs),
    /// Show the jobs: queued, running, recent, unmatched; each that waits with its reason.
    #[command(after_help = "Example:\n  runnerfleet jobs --state queued")]
    Jobs(view::JobsArgs),
    /// Show what the reconciler would do now, and why not more. Changes nothing.
    #[command(after_help = "Example:\n  runnerfleet plan --output yaml")]
    Plan(view::PlanArgs),
    /// Write a configuration to begin with, and the Dockerfiles of the languages that jobs need.
    #[command(
        after_help = "Examples:\n  runnerfleet init\n  runnerfleet init --org acme --mode persistent --language node --language php=8.3\n  runnerfleet init --defaults --org https://github.com/acme/web"
    )]
    Init(init::InitArgs),
    /// Make a GitHub App, install it, and see its webhook arrive; asks for what it needs. Run again, it goes on where it was.
    #[command(after_help = "\
Key and secret go into files that only their owner reads (./secrets), references to them into the configuration. For automation \
there are the variables RUNNERFLEET_SETUP_ORG, _URL, _CLIENT_ID, _PRIVATE_KEY or _PRIVATE_KEY_FILE, and _WEBHOOK_SECRET.

Examples:
  runnerfleet setup
  runnerfleet setup --org acme --url https://ci.example.com --no-browser
  runnerfleet setup --non-interactive --client-id Iv23liAbCdEf --key-file app.pem --set-webhook
  runnerfleet setup --rotate-secret
  runnerfleet setup --rotate-key ~/Downloads/new.private-key.pem")]
    Setup(setup::SetupArgs),
    /// Build the images of pools that have a `build_image`. One whose inputs did not change is left as it is.
    #[command(
        alias = "build-runners-images",
        after_help = "Examples:\n  runnerfleet build\n  runnerfleet build web --pull --build-arg NODE_VERSION=24.1.0"
    )]
    Build(build::BuildArgs),
    /// Show the images of the pools, or remove those that nothing uses.
    #[command(after_help = "Examples:\n  runnerfleet images --check\n  runnerfleet images prune --dry-run")]
    Images(images::ImagesArgs),
    /// Ask the registries for newer base images (a newer tag, or another image behind the same one), and take them.
    #[command(after_help = "\
How far a newer tag may be away is `versions.policy`: patch, minor (the default), major or digest.
Exit code: 0 all are up to date, 10 there is an update, 1 it is not known of one, or an update failed.

Examples:
  runnerfleet check-base-image-update --output json
  runnerfleet check-base-image-update --apply --yes")]
    CheckBaseImageUpdate(check_base_image_update::CheckArgs),
    /// Try out notifications.
    #[command(subcommand, alias = "webhook", after_help = "Example:\n  runnerfleet notify test --provider slack")]
    Notify(notify::NotifyVerb),
    /// Do what `scheduler` in the configuration says, until SIGTERM; `serve` does it as well.
    #[command(after_help = "Examples:\n  runnerfleet scheduler status\n  runnerfleet scheduler run-now")]
    Scheduler(scheduler::SchedulerArgs),
    /// Ask the `serve` on this host whether its parts answer: the store, Docker, GitHub.
    #[command(after_help = "\
Exit code: 0 they do, 1 one does not, or no `serve` runs here.

Examples:
  runnerfleet health
  runnerfleet health --alive --quiet   for a container's HEALTHCHECK")]
    Health(health::HealthArgs),
    /// Look at everything that can be wrong, and say what to do about it. Changes nothing.
    #[command(after_help = "\
✓ in order, ! should not stay so, ✗ broken, ? cannot be told, – not looked at. A check that fails keeps no other from being made.
Exit code: 0 nothing is broken, 1 something is, 2 wrong use; with --strict 3 where something is warned of or cannot be told.

Examples:
  runnerfleet doctor
  runnerfleet doctor --strict --quiet
  runnerfleet doctor --output json")]
    Doctor(doctor::DoctorArgs),
    /// Show GitHub's log of the App's webhook deliveries.
    #[command(
        after_help = "Examples:\n  runnerfleet deliveries --failed --since 1h\n  runnerfleet deliveries --event ping --output json"
    )]
    Deliveries(deliveries::DeliveriesArgs),
    /// Have GitHub send deliveries again. What was taken before changes nothing the second time.
    #[command(
        after_help = "Examples:\n  runnerfleet redeliver 72057594037927943\n  runnerfleet redeliver --failed --since 1h"
    )]
    Redeliver(deliveries::RedeliverArgs),
    /// Check or describe the configuration.
    #[command(subcommand, after_help = "Example:\n  runnerfleet config check")]
    Config(config::ConfigVerb),
    /// Show the whole thing at work on this machine: a simulated GitHub, real containers, nothing to set up.
    #[command(after_help = "Example:\n  runnerfleet demo --jobs 50 --pools 3")]
    Demo(demo::DemoArgs),
    /// Play whole lives of a fleet in memory, with everything going wrong, and see whether what must hold does.
    #[command(after_help = "\
The planner, the loops, the GitHub client and the store are the real ones; GitHub, the engine and the time are simulated. Each run \
follows from its number alone: one that fails is printed with the command that plays it again.

Examples:
  runnerfleet simulate --seeds 1000
  runnerfleet simulate --seeds 1000000 --minutes 30
  runnerfleet simulate --seed 4711 --trace")]
    Simulate(simulate::SimulateArgs),
    /// Take over runners of the tool before this one: its containers end, each after its job, and ours take their places.
    #[command(after_help = "\
A container is one of that tool's only if its name is a runner's (name_prefix and a number) and its environment has that name \
(RUNNER_NAME) and the pool's org_url (RUNNER_REPO). All others are left alone, whatever they are called.

Nobody can label a container that runs, so none is taken over as it stands: GitHub forgets it (not while it has a job), its \
container is removed, and a new one takes the name; `rollout.max_unavailable` of a pool at a time.

Examples:
  runnerfleet adopt --all --dry-run
  runnerfleet adopt --pool web --timeout 2h
  runnerfleet adopt web-1 web-2 --yes")]
    Adopt(adopt::AdoptArgs),
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  runnerfleet completions bash > /etc/bash_completion.d/runnerfleet")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// As `start --all`: how the tool that this one replaces calls it.
    #[command(hide = true, after_help = "Example:\n  runnerfleet start --all")]
    StartRunners(act::Starting),
    /// As `stop --all`.
    #[command(hide = true, after_help = "Example:\n  runnerfleet stop --all")]
    StopRunners(act::Ending),
    /// As `remove --all`.
    #[command(hide = true, after_help = "Example:\n  runnerfleet remove --all")]
    RemoveRunners(act::Ending),
    /// The stand-in for GitHub's agent, inside the demo's containers.
    #[command(hide = true, subcommand)]
    StandInAgent(AgentCommand),
}

/// Runs the verb.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Whoever was first is as good: there is one provider in the tree.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if let Verb::StandInAgent(command) = cli.verb {
        return ExitCode::from(crate::simulation::agent::main_blocking(command));
    }
    // Before there are threads: it changes the environment.
    let socket = match cli.verb {
        Verb::Serve => crate::service::handed_over(of_the_process),
        _ => Ok(None),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("starting the async runtime")),
    };
    let code = runtime.block_on(run(cli, socket));
    // A blocking read of a terminal or a DNS look-up must not hold the program up.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli, socket: serve::HandedOver) -> ExitCode {
    let path = cli.config;
    let verb = match cli.verb {
        Verb::StartRunners(how) => Verb::Start(how.into()),
        Verb::StopRunners(how) => Verb::Stop(how.into()),
        Verb::RemoveRunners(how) => Verb::Remove(how.into()),
        verb => verb,
    };
    let result = match verb {
        Verb::Init(args) => init::init(&path, args),
        Verb::Setup(args) => setup::setup(&path, args).await,
        Verb::Config(verb) => config::run(&path, &verb),
        Verb::Doctor(args) => doctor::doctor(&path, &args).await,
        Verb::Demo(args) => demo::demo(args).await,
        Verb::Simulate(args) => tokio::task::block_in_place(|| simulate::simulate(&args)),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "runnerfleet", &mut script);
            say(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
        }
        verb => match load(&path, verb.is_quiet()) {
            Ok(config) => with_config(config, verb, socket).await,
            Err(code) => return code,
        },
    };
    result.unwrap_or_else(|error| failed(&error))
}

/// The verbs that need the configuration.
async fn with_config(config: Config, verb: Verb, socket: serve::HandedOver) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Serve => serve::serve(config, socket).await,
        Verb::Health(args) => health::health(&config, &args).await,
        Verb::Deploy(args) => deploy::deploy(config, args).await,
        Verb::Start(args) => act::start(config, args).await,
        Verb::Stop(args) => act::end(config, persistent::Verb::Stop, args).await,
        Verb::Restart(args) => act::end(config, persistent::Verb::Restart, args).await,
        Verb::Remove(args) => act::end(config, persistent::Verb::Remove, args).await,
        Verb::List(args) => list::list(config, args).await,
        Verb::Status(args) => status::status(config, args).await,
        Verb::Logs(args) => logs::logs(config, args).await,
        Verb::Adopt(args) => adopt::adopt(config, args).await,
        Verb::Notify(verb) => notify::run(&config, verb).await,
        Verb::Scheduler(args) => scheduler::run(config, args).await,
        Verb::Jobs(args) => view::jobs(config, args).await,
        Verb::Plan(args) => view::plan(config, args).await,
        Verb::Deliveries(args) => deliveries::deliveries(&config, args).await,
        Verb::Redeliver(args) => deliveries::redeliver(&config, args).await,
        Verb::Build(args) => build::build(config, args).await,
        Verb::Images(args) => images::images(config, args).await,
        Verb::CheckBaseImageUpdate(args) => check_base_image_update::check_base_image_update(config, args).await,
        Verb::StartRunners(_)
        | Verb::StopRunners(_)
        | Verb::RemoveRunners(_)
        | Verb::Init(_)
        | Verb::Setup(_)
        | Verb::Config(_)
        | Verb::Doctor(_)
        | Verb::Demo(_)
        | Verb::Simulate(_)
        | Verb::Completions { .. }
        | Verb::StandInAgent(_) => Ok(ExitCode::SUCCESS),
    }
}

impl Verb {
    /// `--quiet`.
    fn is_quiet(&self) -> bool {
        match self {
            Self::Deploy(args) => args.printing.quiet,
            Self::Start(args) => args.how.printing.quiet,
            Self::Stop(args) | Self::Restart(args) | Self::Remove(args) => args.how.printing.quiet,
            Self::List(args) => args.printing.quiet,
            Self::Status(args) => args.printing.quiet,
            Self::Logs(args) => args.quiet,
            Self::Adopt(args) => args.printing.quiet,
            Self::Jobs(args) => args.printing.quiet,
            Self::Plan(args) => args.printing.quiet,
            Self::Deliveries(args) => args.printing.quiet,
            Self::Redeliver(args) => args.printing.quiet,
            Self::Health(args) => args.printing.quiet,
            Self::Build(args) => args.printing.quiet,
            Self::Images(args) => args.is_quiet(),
            Self::CheckBaseImageUpdate(args) => args.printing.quiet,
            _ => false,
        }
    }
}

/// Reads the configuration; its problems are printed, and exit code 2 is given back.
fn load(path: &Path, quiet: bool) -> Result<Config, ExitCode> {
    match file::load(path, &environment) {
        Ok(loaded) => {
            for warning in loaded.warnings.iter().filter(|_| !quiet) {
                complain(&format!("warning: {warning}"));
            }
            Ok(loaded.config)
        }
        Err(problems) => {
            complain(&problems.to_string());
            Err(ExitCode::from(2))
        }
    }
}

/// A variable: of the environment, else of `.env` in the working directory.
fn environment(name: &str) -> Option<String> {
    static BESIDE: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
        let (variables, wrong) = dotenv::read(Path::new(".env"), &of_the_process);
        for line in wrong {
            complain(&format!("warning: {line}"));
        }
        variables
    });
    of_the_process(name).or_else(|| BESIDE.get(name).cloned())
}

/// The way back to the file.
fn from_file(config: &Config) -> FromFile {
    let path = config.file.clone();
    FromFile {
        reread: Arc::new(move || {
            file::load(&path, &environment).map(|loaded| loaded.config).map_err(|problems| problems.to_string())
        }),
        env: Arc::new(environment),
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment is read here and handed on")]
fn of_the_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn failed(error: &anyhow::Error) -> ExitCode {
    complain(&format!("error: {error:#}"));
    ExitCode::from(if error.is::<WrongUse>() { 2 } else { 1 })
}

/// A wrong use that shows only once the program has looked (there is no such runner; nobody can be asked): exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUse(String);

/// A line to standard error. A closed pipe is nobody's problem.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Text to standard output.
///
/// # Errors
/// Standard output is closed or full.
fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        // `runnerfleet list | head -1` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("writing to standard output"),
    }
}

/// Log lines go to standard error, so that standard output stays for the answer.
fn start_log(log: &Log) {
    let filter = tracing_subscriber::EnvFilter::try_new(&log.level)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let _ = if log.json { lines.json().try_init() } else { lines.try_init() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
