//! `runnerfleet list`: every runner of every kind.

use super::output::{Column, Printing, known_pool, or_dash, pool_names, render, span};
use super::select::is_declared;
use super::source::{Need, Source};
use super::summary::natural;
use super::view::is_wanted;
use super::watch::{Page, Watch, watch};
use super::{complain, say};
use crate::config::Config;
use crate::model::{StateName, age};
use crate::overview::{Kind, Overview, RunnerRow};
use clap::Args;
use jiff::Timestamp;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only runners of this pool.
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Only runners of this kind: ephemeral, persistent.
    #[arg(long, value_name = "KIND", value_parser = ["ephemeral", "persistent"])]
    kind: Option<String>,
    /// Only runners in this state: created, started, running, stopped, removed, error.
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<StateName>,
    /// Only runners with a job of this repository (`owner/name`).
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<String>,
    /// Removed runners too, as long as they are remembered.
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    pub(super) printing: Printing,
}

fn state(text: &str) -> Result<StateName, String> {
    serde_json::from_value(serde_json::Value::String(text.to_lowercase()))
        .map_err(|_| "one of created, started, running, stopped, removed, error".to_owned())
}

pub(super) async fn list(config: Config, args: ListArgs) -> anyhow::Result<ExitCode> {
    let config = Arc::new(config);
    let pools = pool_names(&config);
    let Some(every) = args.watch.every() else {
        let (source, overview) = look(&config).await?;
        known_pool(args.pool.as_deref(), &pools, overview.runners.iter().map(|row| Some(row.pool.as_str())))?;
        if !args.printing.quiet {
            for note in notes(&source, &overview, &config, &args) {
                complain(&note);
            }
        }
        let rows = chosen(&overview, &args);
        if rows.is_empty() && args.printing.output.is_table() {
            if !args.printing.quiet {
                complain("no runners");
            }
            return Ok(ExitCode::SUCCESS);
        }
        say(&page(&overview, &rows, &args)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    known_pool(args.pool.as_deref(), &pools, [])?;
    watch(every, async || {
        let (source, overview) = look(&config).await?;
        let rows = chosen(&overview, &args);
        let mut text = page(&overview, &rows, &args)?;
        if args.printing.output.is_table() && !args.printing.quiet {
            let notes = notes(&source, &overview, &config, &args).into_iter().map(|note| format!("\n{note}"));
            let rows = if rows.is_empty() { "no runners" } else { text.as_str() };
            text = format!("{:.0}\n{rows}{}", overview.at, notes.collect::<String>());
        }
        Ok(Page { text, served: source.is_served() })
    })
    .await
}

async fn look(config: &Arc<Config>) -> anyhow::Result<(Source, Overview)> {
    let source = Source::find(config.clone(), Need::Look).await?;
    let overview = source.overview().await?;
    Ok((source, overview))
}

/// The rows that are asked for, by pool and name.
fn chosen(overview: &Overview, args: &ListArgs) -> Vec<RunnerRow> {
    let wants_removed = args.all || args.state == Some(StateName::Removed);
    let mut rows: Vec<RunnerRow> = overview
        .runners
        .iter()
        .filter(|row| wants_removed || row.state != StateName::Removed)
        .filter(|row| args.state.is_none_or(|state| row.state == state))
        .filter(|row| args.kind.as_ref().is_none_or(|kind| row.kind.to_string() == *kind))
        .filter(|row| args.pool.as_ref().is_none_or(|pool| row.pool == *pool))
        .filter(|row| is_wanted(args.repository.as_ref(), row.repository.as_ref()))
        .cloned()
        .collect();
    rows.sort_by(|a, b| a.pool.cmp(&b.pool).then_with(|| natural(&a.name, &b.name)));
    rows
}

fn page(overview: &Overview, rows: &[RunnerRow], args: &ListArgs) -> anyhow::Result<String> {
    if args.printing.quiet && args.printing.output.is_table() {
        return Ok(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join("\n"));
    }
    let columns = [
        Column { heading: "NAME", narrow: true, text: |row: &RunnerRow, _| row.name.clone() },
        Column { heading: "POOL", narrow: true, text: |row, _| row.pool.clone() },
        Column { heading: "KIND", narrow: true, text: |row, _| row.kind.to_string() },
        Column { heading: "STATE", narrow: true, text: |row, _| row.state.to_string() },
        Column { heading: "GITHUB", narrow: true, text: |row, _| or_dash(row.github.as_deref()) },
        Column { heading: "JOB", narrow: true, text: |row, _| or_dash(row.job_name.as_deref().or(row.job.as_deref())) },
        Column { heading: "REPOSITORY", narrow: true, text: |row, _| or_dash(row.repository.as_deref()) },
        Column { heading: "AGE", narrow: true, text: lifetime },
        Column { heading: "IMAGE", narrow: false, text: |row, _| row.image.clone() },
        Column { heading: "CURRENT", narrow: false, text: |row, _| is_current(row) },
        Column { heading: "LABELS", narrow: false, text: |row, _| row.labels.to_string() },
        Column { heading: "HOST", narrow: false, text: |row, _| row.host.clone() },
        Column { heading: "PHASE", narrow: false, text: |row, _| phase(row) },
        Column { heading: "CAUSE", narrow: false, text: |row, _| cause(row) },
    ];
    render(args.printing.output, overview.at, rows, &columns)
}

/// What only the file describes has no age.
fn lifetime(row: &RunnerRow, now: Timestamp) -> String {
    if is_declared(row) { "-".to_owned() } else { span(age(now, row.created_at)) }
}

/// Whether its image and its settings are those of the file; a dash where that is not asked or not known.
pub(super) fn is_current(row: &RunnerRow) -> String {
    match &row.outdated {
        Some(why) => format!("no: {why}"),
        None if row.kind == Kind::Persistent && row.container.is_some() => "yes".to_owned(),
        None => "-".to_owned(),
    }
}

/// Where it is in its life, finer than its state.
pub(super) fn phase(row: &RunnerRow) -> String {
    row.phase.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Why it is in its state, with what it left if it ended badly.
pub(super) fn cause(row: &RunnerRow) -> String {
    match &row.evidence {
        Some(evidence) => format!("{} ({evidence})", row.cause),
        None => row.cause.clone(),
    }
}

/// What could not be looked at, and which runners of the file are not there.
fn notes(source: &Source, overview: &Overview, config: &Config, args: &ListArgs) -> Vec<String> {
    let mut notes = source.notes(overview);
    let may_be_unseen = !overview.unknown.is_empty();
    let narrowed = args.state.is_some() || args.repository.is_some() || args.kind.as_deref() == Some("ephemeral");
    if may_be_unseen || narrowed {
        return notes;
    }
    for (pool, count) in config.persistent_pools() {
        if args.pool.as_ref().is_some_and(|wanted| wanted != pool.name.as_str()) {
            continue;
        }
        let is_there = |index: &u32| {
            let name = format!("{}-{index}", pool.name_prefix);
            overview.runners.iter().any(|row| row.name == name && row.state != StateName::Removed && !is_declared(row))
        };
        let missing = (1..=count).filter(|index| !is_there(index)).count();
        if missing > 0 {
            let name = &pool.name;
            notes.push(format!(
                "note: of pool `{name}`, {missing} of {count} are not there; `runnerfleet deploy {name}` makes what is missing"
            ));
        }
    }
    notes
}
