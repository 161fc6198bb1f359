//! `runnerfleet list`, `jobs`, `plan`.

use super::output::{Column, Output, known_pool, or_dash, pool_names, render, span, yaml};
use super::source::Source;
use super::{complain, say};
use crate::config::Config;
use crate::model::{StateName, age};
use crate::overview::{ActionRow, JobRow, Overview, RunnerRow};
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

/// Completed jobs are shown for so long unless `--all` is given.
const RECENT: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How to print; `wide` is a table with all columns.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
    /// Only runners of this pool.
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Only runners in this state: created, started, running, stopped, removed, error.
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<StateName>,
    /// Only runners with a job of this repository (`owner/name`).
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<String>,
    /// Removed runners too, as long as they are remembered.
    #[arg(short, long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct JobsArgs {
    /// How to print; `wide` is a table with all columns.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
    /// Only jobs in this state: waiting, queued, in_progress, completed, or unmatched (queued, and no pool fits).
    #[arg(long, value_name = "STATE", value_parser = ["waiting", "queued", "in_progress", "completed", "unmatched"])]
    state: Option<String>,
    /// Only jobs of this pool.
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Only jobs of this repository (`owner/name`).
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<String>,
    /// All completed jobs that are remembered, not only those of the last hour.
    #[arg(short, long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// How to print; `wide` is a table with all columns.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

fn state(text: &str) -> Result<StateName, String> {
    serde_json::from_value(serde_json::Value::String(text.to_lowercase()))
        .map_err(|_| "one of created, started, running, stopped, removed, error".to_owned())
}

pub(super) async fn list(config: Config, args: ListArgs) -> anyhow::Result<ExitCode> {
    let pools = pool_names(&config);
    let overview = Source::find(config).await?.overview().await?;
    tell_unknown(&overview);
    known_pool(args.pool.as_deref(), &pools, overview.runners.iter().map(|row| Some(row.pool.as_str())))?;
    let columns = [
        Column { heading: "NAME", narrow: true, text: |row: &RunnerRow, _| row.name.clone() },
        Column { heading: "POOL", narrow: true, text: |row, _| row.pool.clone() },
        Column { heading: "STATE", narrow: true, text: |row, _| row.state.to_string() },
        Column { heading: "GITHUB", narrow: false, text: |row, _| or_dash(row.github.as_deref()) },
        Column { heading: "JOB", narrow: true, text: |row, _| or_dash(row.job_name.as_deref().or(row.job.as_deref())) },
        Column { heading: "REPOSITORY", narrow: true, text: |row, _| or_dash(row.repository.as_deref()) },
        Column { heading: "AGE", narrow: true, text: |row, now| span(age(now, row.created_at)) },
        Column { heading: "HOST", narrow: false, text: |row, _| row.host.clone() },
        Column { heading: "IMAGE", narrow: false, text: |row, _| row.image.clone() },
        Column { heading: "CAUSE", narrow: false, text: |row, _| cause(row) },
    ];
    let wants_removed = args.all || args.state == Some(StateName::Removed);
    let rows: Vec<RunnerRow> = overview
        .runners
        .into_iter()
        .filter(|row| wants_removed || row.state != StateName::Removed)
        .filter(|row| args.state.is_none_or(|state| row.state == state))
        .filter(|row| args.pool.as_ref().is_none_or(|pool| row.pool == *pool))
        .filter(|row| is_wanted(args.repository.as_ref(), row.repository.as_ref()))
        .collect();
    if rows.is_empty() && matches!(args.output, Output::Table | Output::Wide) {
        complain("no runners");
        return Ok(ExitCode::SUCCESS);
    }
    say(&render(args.output, overview.at, &rows, &columns)?)?;
    Ok(ExitCode::SUCCESS)
}

fn cause(row: &RunnerRow) -> String {
    match &row.evidence {
        Some(evidence) => format!("{} ({evidence})", row.cause),
        None => row.cause.clone(),
    }
}

fn is_wanted(wanted: Option<&String>, has: Option<&String>) -> bool {
    wanted.is_none_or(|wanted| has.is_some_and(|has| has.eq_ignore_ascii_case(wanted)))
}

pub(super) async fn jobs(config: Config, args: JobsArgs) -> anyhow::Result<ExitCode> {
    let pools = pool_names(&config);
    let overview = Source::find(config).await?.overview().await?;
    tell_unknown(&overview);
    known_pool(args.pool.as_deref(), &pools, overview.jobs.iter().map(|row| row.pool.as_deref()))?;
    let columns = [
        Column { heading: "JOB", narrow: true, text: |row: &JobRow, _| row.job.clone() },
        Column { heading: "STATE", narrow: true, text: |row, _| state_text(row) },
        Column { heading: "NAME", narrow: true, text: |row, _| row.name.clone() },
        Column { heading: "REPOSITORY", narrow: true, text: |row, _| row.repository.clone() },
        Column { heading: "LABELS", narrow: false, text: |row, _| row.labels.to_string() },
        Column { heading: "POOL", narrow: true, text: |row, _| or_dash(row.pool.as_deref()) },
        Column { heading: "RUNNER", narrow: false, text: |row, _| or_dash(row.runner.as_deref()) },
        Column { heading: "SINCE", narrow: true, text: |row, now| span(age(now, row.since)) },
        Column { heading: "URL", narrow: false, text: |row, _| or_dash(row.url.as_deref()) },
        Column { heading: "WHY", narrow: true, text: |row, _| row.why.clone().unwrap_or_default() },
    ];
    let recent = |row: &JobRow| {
        args.all || args.state.is_some() || row.state != "completed" || age(overview.at, row.since) < RECENT
    };
    let mut rows: Vec<JobRow> = overview
        .jobs
        .into_iter()
        .filter(recent)
        .filter(|row| match args.state.as_deref() {
            None => true,
            Some("unmatched") => row.state == "queued" && row.pool.is_none(),
            Some(state) => row.state == state,
        })
        .filter(|row| args.pool.is_none() || row.pool == args.pool)
        .filter(|row| is_wanted(args.repository.as_ref(), Some(&row.repository)))
        .collect();
    rows.sort_by_key(|row| (row.state == "completed", row.queued_at.unwrap_or(row.since)));
    if rows.is_empty() && matches!(args.output, Output::Table | Output::Wide) {
        complain("no jobs");
        return Ok(ExitCode::SUCCESS);
    }
    say(&render(args.output, overview.at, &rows, &columns)?)?;
    Ok(ExitCode::SUCCESS)
}

fn state_text(row: &JobRow) -> String {
    match &row.conclusion {
        Some(conclusion) => conclusion.clone(),
        None if row.state == "queued" && row.pool.is_none() => "unmatched".to_owned(),
        None => row.state.clone(),
    }
}

pub(super) async fn plan(config: Config, args: PlanArgs) -> anyhow::Result<ExitCode> {
    let overview = Source::find(config).await?.overview().await?;
    let waiting: Vec<_> = overview.jobs.iter().filter(|row| row.why.is_some()).collect();
    match args.output {
        Output::Json | Output::Yaml => {
            let whole = serde_json::json!({
                "at": overview.at, "unknown": overview.unknown, "actions": overview.actions, "waiting": waiting,
            });
            say(&if args.output == Output::Json { serde_json::to_string_pretty(&whole)? } else { yaml(&whole)? })?;
        }
        Output::Table | Output::Wide => {
            tell_unknown(&overview);
            let columns = [
                Column { heading: "ACTION", narrow: true, text: |row: &ActionRow, _| row.action.clone() },
                Column { heading: "ON", narrow: true, text: |row, _| row.subject.clone() },
                Column { heading: "CAUSE", narrow: true, text: |row, _| action_cause(row) },
            ];
            if overview.actions.is_empty() {
                say("nothing to do")?;
            } else {
                say(&render(args.output, overview.at, &overview.actions, &columns)?)?;
            }
            for row in waiting {
                say(&format!(
                    "job {} ({}) waits: {}",
                    row.job,
                    row.repository,
                    row.why.as_deref().unwrap_or_default()
                ))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn action_cause(row: &ActionRow) -> String {
    row.detail.get("cause").and_then(|cause| cause.as_str()).unwrap_or_default().to_owned()
}

/// Parts that could not be looked at: what is printed may lack what they know.
pub(super) fn tell_unknown(overview: &Overview) {
    for (part, why) in &overview.unknown {
        complain(&format!("note: {part} cannot be looked at: {why}"));
    }
}
