//! `runnerfleet images`.

use super::confirm::{ask, listed};
use super::output::{Care, Column, Printing, or_dash, render, span};
use super::{complain, say};
use crate::app::engine;
use crate::clock;
use crate::config::Config;
use crate::images::inventory::{ImageRow, inventory};
use crate::images::names::short;
use crate::images::prune::{Pruned, Unneeded, look, prune};
use crate::model::age;
use crate::provider::docker::Docker;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ImagesArgs {
    #[command(subcommand)]
    verb: Option<ImagesVerb>,
    #[command(flatten)]
    printing: Printing,
}

impl ImagesArgs {
    /// `--quiet`.
    pub(super) fn is_quiet(&self) -> bool {
        match &self.verb {
            Some(ImagesVerb::Prune(args)) => args.printing.quiet,
            None => self.printing.quiet,
        }
    }
}

#[derive(Debug, Subcommand)]
enum ImagesVerb {
    /// Remove images that were built here, are not current, and that no container uses.
    #[command(after_help = "Examples:\n  runnerfleet images prune --dry-run\n  runnerfleet images prune --yes --all")]
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// Also the one before the current one of each pool, which is kept for a roll-back.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    care: Care,
    #[command(flatten)]
    printing: Printing,
}

pub(super) async fn images(config: Config, args: ImagesArgs) -> anyhow::Result<ExitCode> {
    let docker = engine(&config, None)?;
    match args.verb {
        None => list(&config, &docker, &args.printing).await,
        Some(ImagesVerb::Prune(args)) => clear(&config, &docker, &args).await,
    }
}

async fn list(config: &Config, docker: &Docker, printing: &Printing) -> anyhow::Result<ExitCode> {
    let pools: Vec<_> = config.pools.iter().collect();
    let rows = inventory(config, docker, &pools).await?;
    let columns = [
        Column { heading: "POOL", narrow: true, text: |row: &ImageRow, _| row.pool.to_string() },
        Column { heading: "BASE", narrow: true, text: |row, _| or_dash(row.base.as_deref()) },
        Column { heading: "VERSION", narrow: true, text: |row, _| or_dash(row.version.as_deref()) },
        Column { heading: "ID", narrow: true, text: |row, _| or_dash(row.id.as_deref().map(short)) },
        Column { heading: "NEWEST", narrow: true, text: |row, _| or_dash(row.newest.as_deref()) },
        Column { heading: "SIZE", narrow: true, text: |row, _| or_dash(row.size.map(bytes).as_deref()) },
        Column {
            heading: "AGE",
            narrow: true,
            text: |row, now| or_dash(row.created_at.map(|at| span(age(now, at))).as_deref()),
        },
        Column { heading: "RUNNERS", narrow: true, text: |row, _| runners(row) },
        Column { heading: "STATE", narrow: true, text: |row, _| row.state.text().to_owned() },
        Column { heading: "IMAGE", narrow: false, text: |row, _| row.image.clone() },
        Column { heading: "WHY", narrow: false, text: |row, _| row.why.clone().unwrap_or_default() },
    ];
    if printing.output.is_table() && rows.is_empty() {
        if !printing.quiet {
            complain("no pools");
        }
    } else {
        say(&render(printing.output, clock::now(), &rows, &columns)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `3`, or `3 (+1 outdated)`.
fn runners(row: &ImageRow) -> String {
    match row.outdated {
        0 => row.runners.to_string(),
        outdated => format!("{} (+{outdated} outdated)", row.runners),
    }
}

/// An image that goes or went.
#[derive(Debug, Serialize)]
struct Line {
    image: String,
    id: String,
    bytes: u64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Line {
    fn new(image: &Unneeded, outcome: &'static str, why: Option<String>) -> Self {
        let names = if image.names.is_empty() { "-".to_owned() } else { image.names.join(", ") };
        let bytes = if image.stays { 0 } else { image.size };
        Self { image: names, id: image.id.clone(), bytes, outcome, why }
    }
}

async fn clear(config: &Config, docker: &Docker, args: &PruneArgs) -> anyhow::Result<ExitCode> {
    let found = look(config, docker, args.all).await?;
    let is_table = args.printing.output.is_table();
    if found.is_empty() && is_table {
        if !args.printing.quiet {
            say("no image can go: each is current, the one before it, or used by a container")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.care.dry_run {
        let lines: Vec<_> = found.iter().map(|image| Line::new(image, "would go", None)).collect();
        return show(args, &lines);
    }
    if !found.is_empty() {
        let names: Vec<String> = found
            .iter()
            .map(|image| image.names.first().cloned().unwrap_or_else(|| short(&image.id).to_owned()))
            .collect();
        if !ask(args.care.yes, &format!("Remove {}?", listed(&names)))? {
            complain("nothing was removed");
            return Ok(ExitCode::from(1));
        }
    }
    let pruned = prune(docker, found).await;
    let lines: Vec<_> = pruned
        .iter()
        .map(|Pruned { image, result }| match result {
            Ok(()) if image.stays => {
                Line::new(image, "untagged", Some("somebody gave it another name; under that it stays".to_owned()))
            }
            Ok(()) => Line::new(image, "removed", None),
            Err(error) => Line { bytes: 0, ..Line::new(image, "failed", Some(error.to_string())) },
        })
        .collect();
    show(args, &lines)
}

fn show(args: &PruneArgs, lines: &[Line]) -> anyhow::Result<ExitCode> {
    let columns = [
        Column { heading: "IMAGE", narrow: true, text: |line: &Line, _| line.image.clone() },
        Column { heading: "ID", narrow: true, text: |line, _| short(&line.id).to_owned() },
        Column { heading: "SIZE", narrow: true, text: |line, _| bytes(line.bytes) },
        Column { heading: "OUTCOME", narrow: true, text: |line, _| line.outcome.to_owned() },
        Column { heading: "WHY", narrow: true, text: |line, _| line.why.clone().unwrap_or_default() },
    ];
    let is_table = args.printing.output.is_table();
    if !is_table || !args.printing.quiet {
        say(&render(args.printing.output, clock::now(), lines, &columns)?)?;
    }
    let failed = lines.iter().filter(|line| line.outcome == "failed").count();
    if is_table && !args.printing.quiet {
        let freed = bytes(lines.iter().map(|line| line.bytes).sum());
        let done = lines.len() - failed;
        // Layers that images share are counted with each.
        let what = if args.care.dry_run { "would go, up to" } else { "removed, up to" };
        let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
        say(&format!("{done} {what} {freed} freed{failed}"))?;
    } else if failed > 0 {
        for line in lines.iter().filter(|line| line.outcome == "failed") {
            complain(&format!("error: {}: {}", line.image, line.why.as_deref().unwrap_or_default()));
        }
    }
    Ok(if failed > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// `512 B`, `3.4 MiB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // In tenths, so that no number needs a fraction.
    let (mut tenths, mut unit) = (count.saturating_mul(10) / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let text = [0, 1023, 1024, 3_600_000, 5 << 30, u64::MAX].map(bytes);
        assert_eq!(text[..5], ["0 B", "1023 B", "1.0 KiB", "3.4 MiB", "5.0 GiB"]);
    }
}
