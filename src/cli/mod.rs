//! The command line: what a user types, and which exit code comes back (0 done, 1 failed, 2 wrong use or configuration).

mod build;
mod build_news;
mod config;
mod demo;
mod images;
mod output;
mod remove;
mod serve;
mod source;
mod view;

use crate::config::file;
use crate::config::{Config, Log};
use crate::simulation::agent::AgentCommand;
use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
  runnerfleet serve                  receive jobs and run them
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
    /// Show the runners.
    #[command(after_help = "Example:\n  runnerfleet list --pool linux --state running --output json")]
    List(view::ListArgs),
    /// Show the jobs: queued, running, recent, unmatched; each that waits with its reason.
    #[command(after_help = "Example:\n  runnerfleet jobs --state queued")]
    Jobs(view::JobsArgs),
    /// Show what the reconciler would do now, and why not more. Changes nothing.
    #[command(after_help = "Example:\n  runnerfleet plan --output yaml")]
    Plan(view::PlanArgs),
    /// Remove runners: first from GitHub, then the container.
    #[command(
        after_help = "Examples:\n  runnerfleet remove linux-41230001-1-1-9c0e\n  runnerfleet remove --pool linux --dry-run"
    )]
    Remove(remove::RemoveArgs),
    /// Build the images of pools that have a `build_image`. One whose inputs did not change is left as it is.
    #[command(
        alias = "build-runners-images",
        after_help = "Examples:\n  runnerfleet build\n  runnerfleet build web --pull --build-arg NODE_VERSION=24.1.0"
    )]
    Build(build::BuildArgs),
    /// Show the images of the pools, or remove those that nothing uses.
    #[command(after_help = "Examples:\n  runnerfleet images -o wide\n  runnerfleet images prune --dry-run")]
    Images(images::ImagesArgs),
    /// Check or describe the configuration.
    #[command(subcommand, after_help = "Example:\n  runnerfleet config check")]
    Config(config::ConfigVerb),
    /// Show the whole thing at work on this machine: a simulated GitHub, real containers, nothing to set up.
    #[command(after_help = "Example:\n  runnerfleet demo --jobs 50 --pools 3")]
    Demo(demo::DemoArgs),
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  runnerfleet completions bash > /etc/bash_completion.d/runnerfleet")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// The stand-in for GitHub's agent, inside the demo's containers.
    #[command(hide = true, subcommand)]
    StandInAgent(AgentCommand),
}

/// Runs the verb.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Verb::StandInAgent(command) = cli.verb {
        return ExitCode::from(crate::simulation::agent::main_blocking(command));
    }
    // Whoever was first is as good: there is one provider in the tree.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("starting the async runtime")),
    };
    let code = runtime.block_on(run(cli));
    // A blocking read of a terminal or a DNS look-up must not hold the program up.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> ExitCode {
    let path = cli.config;
    let result = match cli.verb {
        Verb::Serve => match load(&path) {
            Ok(config) => serve::serve(config).await,
            Err(code) => return code,
        },
        Verb::List(args) => match load(&path) {
            Ok(config) => view::list(config, args).await,
            Err(code) => return code,
        },
        Verb::Jobs(args) => match load(&path) {
            Ok(config) => view::jobs(config, args).await,
            Err(code) => return code,
        },
        Verb::Plan(args) => match load(&path) {
            Ok(config) => view::plan(config, args).await,
            Err(code) => return code,
        },
        Verb::Remove(args) => match load(&path) {
            Ok(config) => remove::remove(config, args).await,
            Err(code) => return code,
        },
        Verb::Build(args) => match load(&path) {
            Ok(config) => build::build(config, args).await,
            Err(code) => return code,
        },
        Verb::Images(args) => match load(&path) {
            Ok(config) => images::images(config, args).await,
            Err(code) => return code,
        },
        Verb::Config(verb) => config::run(&path, &verb),
        Verb::Demo(args) => demo::demo(args).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "runnerfleet", &mut script);
            say(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
        }
        Verb::StandInAgent(_) => Ok(ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| failed(&error))
}

/// Reads the configuration; its problems are printed, and exit code 2 is given back.
fn load(path: &Path) -> Result<Config, ExitCode> {
    match file::load(path, &environment) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
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

#[expect(clippy::disallowed_methods, reason = "the environment is read here and handed on")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn failed(error: &anyhow::Error) -> ExitCode {
    complain(&format!("error: {error:#}"));
    ExitCode::from(1)
}

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
