//! `runnerfleet logs`: a container's output; of a runner that is gone, what is kept of it.

use super::select::{Choice, is_declared};
use super::source::{Need, Source, engine};
use super::times::Since;
use super::{WrongUse, complain, say};
use crate::clock;
use crate::config::Config;
use crate::model::RunnerName;
use crate::overview::RunnerRow;
use crate::provider::{LogQuery, LogStream, Provider};
use anyhow::Context;
use clap::Args;
use futures_util::StreamExt;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The runner.
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on with what comes, until the container ends or Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the last lines.
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<u32>,
    /// Only what is newer: `10m` ago, or `2026-11-22T14:00:00Z`.
    #[arg(long, value_name = "SINCE", value_parser = Since::parse)]
    since: Option<Since>,
    /// Print no notes.
    #[arg(short, long)]
    pub(super) quiet: bool,
}

pub(super) async fn logs(config: Config, args: LogsArgs) -> anyhow::Result<ExitCode> {
    let name = RunnerName::new(args.name.as_str());
    let provider = engine(&config)?;
    let query =
        LogQuery { tail: args.tail, since: args.since.map(|since| since.moment(clock::now())), follow: args.follow };
    // The engine first: it has all of it, and nothing else needs to be asked where it has.
    let found = provider.find(&name).await;
    if let Ok(Some(container)) = &found
        && let Some(stream) = provider.logs(&container.id, &query).await?
    {
        return copy(stream).await;
    }
    let config = Arc::new(config);
    let source = Source::find(config.clone(), Need::Look).await?;
    let overview = source.overview().await?;
    let Some(row) = overview.runners.iter().find(|row| row.name == args.name && !is_declared(row)) else {
        if let Err(error) = found {
            return Err(error).with_context(|| format!("looking for the container of `{name}`"));
        }
        let choice = Choice::new(&config, &overview);
        let described = choice.get(&args.name).is_some();
        let why = format!("runner `{name}` is not there yet, so it has no log; `runnerfleet start {name}` makes it");
        return Err(if described { WrongUse(why) } else { choice.unknown_name(&args.name) }.into());
    };
    if row.host != overview.host {
        anyhow::bail!("`{name}` is in the engine of `{}`: run `runnerfleet logs {name}` there", row.host);
    }
    if let Err(error) = found {
        complain(&format!("note: the engine cannot be asked ({error}); this is what is kept of `{name}`"));
    }
    kept(row, &args)
}

/// What is kept of a runner whose container is gone.
fn kept(row: &RunnerRow, args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let name = &row.name;
    let Some(evidence) = &row.evidence else {
        anyhow::bail!(
            "nothing is kept of `{name}`: its container is gone, and it did not end badly ({}: {})",
            row.state,
            row.cause
        );
    };
    if !args.quiet {
        let code = evidence.exit_code.map_or_else(String::new, |code| format!(", exit code {code}"));
        let memory = if evidence.oom_killed { ", killed for memory" } else { "" };
        complain(&format!("note: the container of `{name}` is gone{code}{memory}; its last lines were kept:"));
    }
    let lines: Vec<&str> = evidence.last_output.lines().collect();
    let tail = args.tail.map_or(lines.len(), |tail| usize::try_from(tail).unwrap_or(usize::MAX));
    let shown = lines[lines.len().saturating_sub(tail)..].join("\n");
    if shown.is_empty() { Ok(()) } else { say(&shown) }?;
    Ok(ExitCode::SUCCESS)
}

/// Copies it to standard output as it comes.
async fn copy(mut stream: LogStream) -> anyhow::Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut out = std::io::stdout();
    loop {
        let piece = tokio::select! {
            _ = interrupted.recv() => return Ok(ExitCode::SUCCESS),
            piece = stream.next() => piece,
        };
        let Some(piece) = piece else { return Ok(ExitCode::SUCCESS) };
        match out.write_all(&piece?).and_then(|()| out.flush()) {
            Ok(()) => {}
            // `runnerfleet logs … | head -1` is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error).context("writing to standard output"),
        }
    }
}

/// The last lines of a runner's log, for `status`; none where there is no container and nothing was kept.
pub(super) async fn last_lines(provider: &dyn Provider, row: &RunnerRow, lines: u32) -> Vec<String> {
    let query = LogQuery { tail: Some(lines), since: None, follow: false };
    let name = RunnerName::new(row.name.as_str());
    let mut bytes = Vec::new();
    if let Ok(Some(container)) = provider.find(&name).await
        && let Ok(Some(mut stream)) = provider.logs(&container.id, &query).await
    {
        while let Some(Ok(piece)) = stream.next().await {
            bytes.extend_from_slice(&piece);
        }
    } else if let Some(evidence) = &row.evidence {
        bytes.extend_from_slice(evidence.last_output.as_bytes());
    }
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let tail = usize::try_from(lines).unwrap_or(usize::MAX);
    all[all.len().saturating_sub(tail)..].iter().map(|line| plain(line)).collect()
}

/// A line without what would move a terminal's cursor.
fn plain(line: &str) -> String {
    line.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}
