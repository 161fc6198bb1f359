//! Real parts, broken on purpose: a burst of jobs on a real engine and a real Redis, while both, `serve`, runners' containers and
//! every connection between them are killed and cut in an order that a seed gives. `docs/chaos.md` tells what it shows.
//!
//! ```text
//! scripts/chaos [--seed 1] [--jobs 100] [--minutes 10]
//! ```
//!
//! Everything runs in namespaces of its own, on their loopback, and ends by itself. Needs root.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table is what it is for")]

mod parts;

/// Shared with the tests.
#[allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, reason = "made for the tests, which use it all")]
#[path = "../../tests/it/support"]
mod support {
    pub(crate) mod redis;
}

use anyhow::{Context, ensure};
use clap::Parser;
use parts::Wish;
use parts::enclosure::{Enclosure, until_unwanted};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Breaks real parts while a burst of jobs is served, and tells what became of it.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Args {
    /// From which the order follows.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Jobs that are queued at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    jobs: u32,
    /// Nothing more is broken after this, or when all jobs are over.
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=240))]
    minutes: u32,
    /// Break each part once only, as the test does.
    #[arg(long)]
    once: bool,
    /// Keep the logs of all parts, in a folder that is named at the end.
    #[arg(long)]
    keep: bool,
    /// Inside: the enclosure's folder.
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    match &args.inside {
        Some(folder) => inside(&args, folder.clone()).await,
        None => outside(&args).await,
    }
}

/// Makes the enclosure, waits for its end, and clears away.
async fn outside(args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(rustix::process::geteuid().is_root(), "this needs root: namespaces, and a Docker engine of its own");
    let folder = tempfile::Builder::new().prefix("runnerfleet-chaos-").tempdir()?.keep();
    let program = std::env::current_exe()?;
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    arguments.extend(["--inside".into(), folder.clone().into_os_string()]);
    let mut enclosure = Enclosure::run(&folder, program.as_os_str(), &arguments, &[])?;
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ended = tokio::select! {
        ended = enclosure.ended() => Some(ended?),
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
    };
    if args.keep {
        keep_logs(&folder)?;
    }
    if ended.is_none() {
        eprintln!("interrupted: clearing away");
        enclosure.end().await;
    }
    let code = ended.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// What the parts said, beside the folder that goes.
fn keep_logs(folder: &std::path::Path) -> anyhow::Result<()> {
    let kept = folder.with_extension("logs");
    std::fs::create_dir(&kept)?;
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
        }
    }
    eprintln!("logs: {}", kept.display());
    Ok(())
}

async fn inside(args: &Args, folder: PathBuf) -> anyhow::Result<ExitCode> {
    let minutes = Duration::from_secs(60 * u64::from(args.minutes));
    let wish = Wish {
        seed: args.seed,
        jobs: args.jobs,
        faults_for: minutes,
        patience: Duration::from_secs(if args.once { 60 } else { 240 }),
        once: args.once,
        program: program()?,
        folder,
    };
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        played = parts::play(&wish) => {
            let (table, good) = played?;
            println!("{table}");
            Ok(ExitCode::from(u8::from(!good)))
        }
        // The kernel ends the rest with this process.
        () = until_unwanted() => Ok(ExitCode::from(1)),
        _ = interrupted.recv() => Ok(ExitCode::from(1)),
        _ = terminated.recv() => Ok(ExitCode::from(1)),
    }
}

/// The program under test lies beside the examples' folder.
fn program() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.parent().and_then(std::path::Path::parent).context("the folder of the build")?;
    let program = folder.join("runnerfleet");
    ensure!(program.exists(), "{} is not there: build it first (`scripts/chaos` does)", program.display());
    Ok(program)
}
