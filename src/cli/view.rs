//! `runnerfleet jobs`, `plan`.

use super::output::{Column, Output, Printing, known_pool, or_dash, pool_names, render, span, yaml};
use super::source::{Need, Source};
use super::{complain, say};
use crate::config::Config;
use crate::missed::report::Looked;
use crate::model::age;
use crate::overview::{ActionRow, JobRow, Overview};
use clap::Args;
use jiff::Timestamp;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Completed jobs are shown for so long unless `--all` is given.
const RECENT: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(super) struct JobsArgs {
    #[command(flatten)]
    pub(super) printing: Printing,
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
    #[command(flatten)]
    pub(super) printing: Printing,
}

/// Whether a row's repository is the one that is asked for.
pub(super) fn is_wanted(wanted: Option<&String>, has: Option<&String>) -> bool {
    wanted.is_none_or(|wanted| has.is_some_and(|has| has.eq_ignore_ascii_case(wanted)))
}

pub(super) async fn jobs(config: Config, args: JobsArgs) -> anyhow::Result<ExitCode> {
    let pools = pool_names(&config);
    let overview = look(config, args.printing.quiet).await?;
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
    if args.printing.output.is_table() && (rows.is_empty() || args.printing.quiet) {
        match rows.is_empty() {
            true if args.printing.quiet => {}
            true => complain("no jobs"),
            false => say(&rows.iter().map(|row| row.job.as_str()).collect::<Vec<_>>().join("\n"))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    say(&render(args.printing.output, overview.at, &rows, &columns)?)?;
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
    let quiet = args.printing.quiet || !args.printing.output.is_table();
    let overview = look(config, quiet).await?;
    let waiting: Vec<_> = overview.jobs.iter().filter(|row| row.why.is_some()).collect();
    match args.printing.output {
        Output::Json | Output::Yaml => {
            let whole = serde_json::json!({
                "at": overview.at, "unknown": overview.unknown, "actions": overview.actions, "waiting": waiting,
                "missed": overview.missed,
            });
            say(&if args.printing.output == Output::Json {
                serde_json::to_string_pretty(&whole)?
            } else {
                yaml(&whole)?
            })?;
        }
        Output::Table | Output::Wide => {
            let columns = [
                Column { heading: "ACTION", narrow: true, text: |row: &ActionRow, _| row.action.clone() },
                Column { heading: "ON", narrow: true, text: |row, _| row.subject.clone() },
                Column { heading: "CAUSE", narrow: true, text: |row, _| action_cause(row) },
            ];
            if overview.actions.is_empty() {
                say("nothing to do")?;
            } else {
                say(&render(args.printing.output, overview.at, &overview.actions, &columns)?)?;
            }
            for row in waiting {
                say(&format!(
                    "job {} ({}) waits: {}",
                    row.job,
                    row.repository,
                    row.why.as_deref().unwrap_or_default()
                ))?;
            }
            for line in missed(&overview) {
                say(&line)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was made good of lost deliveries, a line for each of the two ways in which they are found.
fn missed(overview: &Overview) -> Vec<String> {
    let ago =
        |at: Option<Timestamp>| at.map_or("not yet".to_owned(), |at| format!("{} ago", span(age(overview.at, at))));
    let line = |what: &str, looked: &Looked, things: &str| {
        let last = looked.last_made_good.map(|at| format!(", the last {}", ago(Some(at)))).unwrap_or_default();
        let rest = looked.still_to.map(|to| format!("; still to be read back to {to:.0}")).unwrap_or_default();
        let trouble = looked.trouble.as_ref().map(|why| format!("; now it cannot be: {why}")).unwrap_or_default();
        format!("{what}: read {}, {things} made good: {}{last}{rest}{trouble}", ago(looked.at), looked.made_good)
    };
    let log = overview.missed.log.iter().map(|it| line("GitHub's log of deliveries", it, "deliveries"));
    let jobs = overview.missed.jobs.iter().map(|it| line("GitHub's lists of queued jobs", it, "jobs"));
    log.chain(jobs).collect()
}

fn action_cause(row: &ActionRow) -> String {
    row.detail.get("cause").and_then(|cause| cause.as_str()).unwrap_or_default().to_owned()
}

/// What is there, with the notes on it told to standard error unless `quiet`.
pub(super) async fn look(config: Config, quiet: bool) -> anyhow::Result<Overview> {
    let source = Source::find(Arc::new(config), Need::Look).await?;
    let overview = source.overview().await?;
    tell(&source, &overview, quiet);
    Ok(overview)
}

/// The notes on what is there, to standard error unless `quiet`.
pub(super) fn tell(source: &Source, overview: &Overview, quiet: bool) {
    if !quiet {
        source.notes(overview).iter().for_each(|note| complain(note));
    }
}
