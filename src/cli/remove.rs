//! `runnerfleet remove`.

use super::output::{Column, Output, render};
use super::say;
use super::source::Source;
use crate::config::Config;
use crate::model::{RunnerName, StateName};
use crate::removal::RemoveOutcome;
use anyhow::bail;
use clap::Args;
use futures_util::StreamExt;
use serde::Serialize;
use std::process::ExitCode;

/// Runners that are removed at the same time.
const AT_ONCE: usize = 8;

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(super) struct Which {
    /// These runners.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All runners of this pool.
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// All runners.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    which: Which,
    /// Also those that run a job; the job ends with its runner.
    #[arg(long)]
    force: bool,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip)]
    failed: bool,
}

pub(super) async fn remove(config: Config, args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let pools: Vec<_> = config.pools.iter().map(|pool| pool.name.to_string()).collect();
    if let Some(pool) = &args.which.pool
        && !pools.contains(pool)
    {
        bail!("there is no pool `{pool}`; the configuration has {}", pools.join(", "));
    }
    let source = Source::find(config).await?;
    let overview = source.overview().await?;
    let live: Vec<_> = overview.runners.iter().filter(|row| row.state != StateName::Removed).collect();
    let names: Vec<String> = if args.which.names.is_empty() {
        let wanted = |pool: &String| args.which.pool.as_ref().is_none_or(|wanted| wanted == pool);
        live.iter().filter(|row| wanted(&row.pool)).map(|row| row.name.clone()).collect()
    } else {
        args.which.names.clone()
    };
    let mut lines: Vec<Line> = if args.dry_run {
        names
            .into_iter()
            .map(|name| dry(&name, live.iter().find(|row| row.name == name).copied(), args.force))
            .collect()
    } else {
        futures_util::stream::iter(names)
            .map(|name| one(&source, name, args.force))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    };
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    let columns = [
        Column { heading: "NAME", narrow: true, text: |line: &Line, _| line.name.clone() },
        Column { heading: "OUTCOME", narrow: true, text: |line, _| line.outcome.clone() },
        Column { heading: "WHY", narrow: true, text: |line, _| line.why.clone().unwrap_or_default() },
    ];
    if lines.is_empty() && matches!(args.output, Output::Table | Output::Wide) {
        say("no runners to remove")?;
    } else {
        say(&render(args.output, overview.at, &lines, &columns)?)?;
    }
    Ok(ExitCode::from(u8::from(lines.iter().any(|line| line.failed))))
}

async fn one(source: &Source, name: String, force: bool) -> Line {
    let (outcome, why, failed) = match source.remove(&RunnerName::new(name.as_str()), force).await {
        Ok(RemoveOutcome::Removed) => ("removed", None, false),
        Ok(RemoveOutcome::NotThere) => {
            ("not there", Some("no runner of that name; `runnerfleet list` shows them".to_owned()), true)
        }
        Ok(RemoveOutcome::Kept { why }) => ("kept", Some(why), true),
        Err(error) => ("failed", Some(format!("{error:#}")), true),
    };
    Line { name, outcome: outcome.to_owned(), why, failed }
}

fn dry(name: &str, row: Option<&crate::overview::RunnerRow>, force: bool) -> Line {
    let (outcome, why) = match row {
        None => ("not there", Some("no runner of that name".to_owned())),
        Some(row) if row.state == StateName::Running && !force => {
            ("would be kept", Some("it runs a job; --force ends the job as well".to_owned()))
        }
        Some(_) => ("would be removed", None),
    };
    Line { name: name.to_owned(), outcome: outcome.to_owned(), why, failed: row.is_none() }
}
