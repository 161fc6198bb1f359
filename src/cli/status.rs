//! `runnerfleet status NAME`: everything of one runner.

use super::list::{cause, is_current, phase};
use super::logs::last_lines;
use super::output::{Output, Printing, plain, span, yaml};
use super::select::{Choice, is_declared};
use super::source::{Need, Source, engine};
use super::watch::{Page, Watch, watch};
use super::{WrongUse, complain, say};
use crate::config::Config;
use crate::model::{StateName, age};
use crate::overview::{Overview, RunnerRow};
use clap::Args;
use comfy_table::Table;
use jiff::Timestamp;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;

/// So many lines of its log.
const LINES: u32 = 10;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The runner.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    pub(super) printing: Printing,
}

/// What is printed for programs.
#[derive(Debug, Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    row: &'a RunnerRow,
    last_error: Option<&'a str>,
    log: Vec<String>,
}

pub(super) async fn status(config: Config, args: StatusArgs) -> anyhow::Result<ExitCode> {
    let config = Arc::new(config);
    let Some(every) = args.watch.every() else {
        let (page, notes) = page(&config, &args).await?;
        if !args.printing.quiet {
            for note in &notes {
                complain(note);
            }
        }
        say(&page.text)?;
        return Ok(ExitCode::SUCCESS);
    };
    watch(every, async || {
        let (mut page, notes) = page(&config, &args).await?;
        if args.printing.output.is_table() && !args.printing.quiet {
            for note in &notes {
                page.text += &["\n", note].concat();
            }
            page.text.push('\n');
        }
        Ok(page)
    })
    .await
}

async fn page(config: &Arc<Config>, args: &StatusArgs) -> anyhow::Result<(Page, Vec<String>)> {
    let source = Source::find(config.clone(), Need::Look).await?;
    let overview = source.overview().await?;
    let notes = source.notes(&overview);
    let Some(row) = overview.runners.iter().find(|row| row.name == args.name && !is_declared(row)) else {
        return Err(not_there(config, &overview, &args.name).into());
    };
    let served = source.is_served();
    if args.printing.quiet && args.printing.output.is_table() {
        return Ok((Page { text: row.state.to_string(), served }, notes));
    }
    let log =
        if row.host == overview.host { last_lines(engine(config)?.as_ref(), row, LINES).await } else { Vec::new() };
    let text = match args.printing.output {
        Output::Json => serde_json::to_string_pretty(&Status { row, last_error: last_error(row), log })?,
        Output::Yaml => yaml(&Status { row, last_error: last_error(row), log })?,
        Output::Table | Output::Wide => sheet(row, overview.at, &log),
    };
    Ok((Page { text, served }, notes))
}

fn not_there(config: &Config, overview: &Overview, name: &str) -> WrongUse {
    let choice = Choice::new(config, overview);
    if choice.get(name).is_some() {
        WrongUse(format!("runner `{name}` is not there yet; `runnerfleet start {name}` makes it"))
    } else if choice.unseen().is_empty() {
        choice.unknown_name(name)
    } else {
        let unseen = choice.unseen().join(", ");
        WrongUse(format!("nothing is known of a runner `{name}`, but {unseen} could not be looked at"))
    }
}

/// The cause of the last error in its history.
fn last_error(row: &RunnerRow) -> Option<&str> {
    row.history.iter().rev().find(|change| change.to == StateName::Error).map(|change| change.cause.as_str())
}

/// For people: facts, history, log.
fn sheet(row: &RunnerRow, now: Timestamp, log: &[String]) -> String {
    let since = |at: Timestamp| format!("{at:.0} ({} ago)", span(age(now, at)));
    let mut facts: Vec<(&str, String)> = vec![
        ("Name", row.name.clone()),
        ("Pool", row.pool.clone()),
        ("Kind", row.kind.to_string()),
        ("State", format!("{} since {}", row.state, since(row.since))),
        ("Cause", cause(row)),
    ];
    let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    fact("Phase", Some(phase(row)).filter(|text| text != "-"));
    fact("Wanted", row.wanted.map(|wanted| wanted.to_string()));
    fact("GitHub", Some(row.github.clone().unwrap_or_else(|| "not known".to_owned())));
    let repository = row.repository.as_deref().map_or_else(String::new, |repository| format!(" of {repository}"));
    fact(
        "Job",
        row.job.as_ref().map(|job| match &row.job_name {
            Some(name) => format!("{name}{repository} ({job})"),
            None => format!("{job}{repository}"),
        }),
    );
    fact("Image", Some(row.image.clone()));
    fact("Current", Some(is_current(row)).filter(|text| text != "-"));
    fact("Labels", Some(row.labels.to_string()));
    fact("Host", Some(row.host.clone()));
    fact("Container", row.container.clone());
    fact("Created", Some(since(row.created_at)));
    fact("Last error", last_error(row).map(str::to_owned));
    let mut table = Table::new();
    for (name, value) in facts {
        table.add_row([format!("{name}:"), value]);
    }
    let mut text = plain(table);
    if !row.history.is_empty() {
        let mut table = Table::new();
        for change in &row.history {
            table.add_row([format!("{:.0}", change.at), change.to.to_string(), change.cause.clone()]);
        }
        text += &["\n\nHistory:\n", &plain(table)].concat();
    }
    if !log.is_empty() {
        let heading = format!("\n\nLast lines of its log (`runnerfleet logs {}`):\n", row.name);
        text += &[heading, log.join("\n")].concat();
    }
    text
}
