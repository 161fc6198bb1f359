//! `runnerfleet demo`: the main job on a machine with Docker and nothing else.

mod report;
mod stage;

use super::{complain, say, start_log};
use crate::config::Log;
use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use report::Report;
use stage::{Stage, Tally};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How many jobs are queued at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1000))]
    jobs: u32,
    /// For how many pools.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20))]
    pools: u32,
    /// How many runners may be there at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=200))]
    concurrency: u32,
    /// How long each job takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    job_seconds: f64,
    /// Print the log of `serve` as well.
    #[arg(short, long)]
    verbose: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0 to 600".to_owned()),
    }
}

/// Runs it. Exit code 1 if a job was not served or anything is left behind.
pub(super) async fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let level = if args.verbose { "info" } else { "error" };
    start_log(&Log { level: level.to_owned(), json: false });
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;

    complain("setting up: simulated GitHub, image of the stand-in agent, `serve` with the embedded store");
    let stage = Stage::set_up(&args).await?;
    complain(&format!(
        "queueing {} jobs for {} pools at once; at most {} runners",
        args.jobs, args.pools, args.concurrency
    ));
    let played = tokio::select! {
        played = play(&stage, &args) => Some(played),
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
    };
    // Whatever happened, nothing stays.
    let report = Report::of(&stage);
    let Some(played) = played else {
        complain("interrupted: clearing away");
        stage.clear_away(false).await?;
        let served = report.jobs() - report.not_served();
        complain(&format!("error: interrupted after {served} of {} jobs; nothing is left behind", report.jobs()));
        return Ok(ExitCode::from(1));
    };
    let left = stage.clear_away(true).await?;
    say(&report.to_string())?;
    for line in &left {
        complain(&format!("left behind (removed now): {line}"));
    }
    let not_served = report.not_served();
    if let Err(error) = played {
        complain(&format!("error: {error:#}"));
        return Ok(ExitCode::from(1));
    }
    if not_served > 0 || !left.is_empty() {
        complain(&format!("error: {not_served} jobs were not served, {} things were left behind", left.len()));
        return Ok(ExitCode::from(1));
    }
    say("every job was served once; no container, network or registration is left")?;
    Ok(ExitCode::SUCCESS)
}

/// Queues the jobs and shows what becomes of them, until all is over and cleared.
async fn play(stage: &Stage, args: &DemoArgs) -> anyhow::Result<()> {
    let live = std::io::stderr().is_terminal();
    let bar = if live { ProgressBar::new(u64::from(args.jobs)) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("  [{elapsed}] {bar:30} {pos}/{len} served   {msg}") {
        bar.set_style(style);
    }
    let mut told = Tally::default();
    let show = |tally: Tally| {
        bar.set_position(u64::from(tally.completed));
        bar.set_message(format!("{} queued, {} running, {} runners", tally.queued, tally.running, tally.runners));
        if !live && tally != told {
            complain(&format!(
                "  {} queued, {} running, {} served; {} runners",
                tally.queued, tally.running, tally.completed, tally.runners
            ));
            told = tally;
        }
    };
    let result = stage.play(args, show).await;
    bar.finish_and_clear();
    result
}

/// All jobs, one after the other through one runner, and a good deal for setting up: longer than that, something hangs.
fn patience(args: &DemoArgs) -> Duration {
    Duration::from_secs(120)
        + Duration::from_secs_f64((args.job_seconds + 5.0) * f64::from(args.jobs) / f64::from(args.concurrency.min(4)))
}
