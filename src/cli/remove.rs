//! `runnerfleet remove`.

use super::output::{Column, Output, known_pool, pool_names, render};
use super::say;
use super::source::Source;
use super::view::tell_unknown;
use crate::config::Config;
use crate::model::{RunnerName, StateName};
use crate::removal::RemoveOutcome;
use clap::Args;
use futures_util::StreamExt;
use serde::Serialize;
use std::process::ExitCode;

/// Runners that are removed at the same time.
const AT_ONCE: usize = 8;

/// An outcome.
const NOT_THERE: &str = "not there";

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
    /// How to print; `wide` is a table with all columns.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
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
    let pools = pool_names(&config);
    let source = Source::find(config).await?;
    let overview = source.overview().await?;
    tell_unknown(&overview);
    known_pool(args.which.pool.as_deref(), &pools, overview.runners.iter().map(|row| Some(row.pool.as_str())))?;
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
    // "I could not look" is not "there is none".
    let unseen: Vec<_> = overview.unknown.keys().map(String::as_str).collect();
    for line in lines.iter_mut().filter(|line| line.outcome == NOT_THERE && !unseen.is_empty()) {
        line.why = Some(format!("nothing is known of it, but {} could not be looked at", unseen.join(", ")));
    }
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
    let may_be_more = args.which.names.is_empty() && !unseen.is_empty();
    Ok(ExitCode::from(u8::from(may_be_more || lines.iter().any(|line| line.failed))))
}

async fn one(source: &Source, name: String, force: bool) -> Line {
    let (outcome, why, failed) = match source.remove(&RunnerName::new(name.as_str()), force).await {
        Ok(RemoveOutcome::Removed) => ("removed", None, false),
        Ok(RemoveOutcome::Ended { why }) => ("ended", Some(why), false),
        Ok(RemoveOutcome::NotThere) => {
            (NOT_THERE, Some("no runner of that name; `runnerfleet list` shows them".to_owned()), true)
        }
        Ok(RemoveOutcome::Kept { why }) => ("kept", Some(why), true),
        Err(error) => ("failed", Some(format!("{error:#}")), true),
    };
    Line { name, outcome: outcome.to_owned(), why, failed }
}

fn dry(name: &str, row: Option<&crate::overview::RunnerRow>, force: bool) -> Line {
    let (outcome, why) = match row {
        None => (NOT_THERE, Some("no runner of that name; `runnerfleet list` shows them".to_owned())),
        Some(row) if row.state == StateName::Running && !force => {
            ("would be kept", Some("it runs a job; --force ends the job as well".to_owned()))
        }
        Some(_) => ("would be removed", None),
    };
    Line { name: name.to_owned(), outcome: outcome.to_owned(), why, failed: row.is_none() }
}
