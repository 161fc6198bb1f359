//! GitHub's log of the App's deliveries, and having them sent again.

use super::confirm;
use super::output::{Care, Column, Output, Printing, or_dash, render};
use super::times::Since;
use super::{WrongUse, complain, say};
use crate::clock;
use crate::config::Config;
use crate::github::{Client, Delivery};
use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

/// GitHub's log goes back three days (GitHub docs, "Redelivering webhooks").
const LOG_GOES_BACK: Duration = Duration::from_secs(3 * 24 * 3600);

/// So many are shown if nobody says otherwise.
const SHOWN: usize = 50;

/// More than this are not read at once: 500 requests.
const MOST: usize = 50_000;

/// From so many on a person is asked first.
const MANY: usize = 20;

#[derive(Debug, Args)]
pub(super) struct DeliveriesArgs {
    /// Only those that the receiver did not take.
    #[arg(long)]
    failed: bool,
    /// Only since then: a time ago, as in `1h`, or a moment, as in `2026-11-22T14:00:00Z`. GitHub's log goes back three days.
    #[arg(long, value_name = "WHEN", value_parser = Since::parse)]
    since: Option<Since>,
    /// Only of this event, such as `workflow_job` or `ping`.
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// At most so many, the newest first; 50 where neither this nor --since is given.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    #[command(flatten)]
    pub(super) printing: Printing,
}

#[derive(Debug, Args)]
pub(super) struct RedeliverArgs {
    /// Which, by the ids that `deliveries` shows.
    #[arg(value_name = "ID", required_unless_present = "failed", conflicts_with = "failed")]
    ids: Vec<u64>,
    /// All that the receiver took at no attempt: each once, however often it was tried.
    #[arg(long)]
    failed: bool,
    /// With --failed: only those since then.
    #[arg(long, value_name = "WHEN", value_parser = Since::parse, requires = "failed", default_value = "24h")]
    since: Since,
    #[command(flatten)]
    care: Care,
    #[command(flatten)]
    pub(super) printing: Printing,
}

/// One attempt as it is shown. Its id is a text: it has more digits than a number in JSON may have.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    guid: String,
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    delivered_at: Timestamp,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    duration_seconds: f64,
    redelivery: bool,
    ok: bool,
}

impl From<&Delivery> for Row {
    fn from(it: &Delivery) -> Self {
        Self {
            id: it.id.to_string(),
            guid: it.guid.clone(),
            event: it.event.clone(),
            action: it.action.clone(),
            delivered_at: it.delivered_at,
            status: it.status.clone(),
            status_code: (it.status_code != 0).then_some(it.status_code),
            duration_seconds: it.duration,
            redelivery: it.redelivery,
            ok: it.ok(),
        }
    }
}

impl Row {
    fn what(&self) -> String {
        match &self.action {
            Some(action) => format!("{}.{action}", self.event),
            None => self.event.clone(),
        }
    }

    fn answer(&self) -> String {
        match self.status_code {
            Some(code) if self.ok => format!("{code} OK"),
            Some(_) | None => self.status.clone(),
        }
    }
}

const COLUMNS: &[Column<Row>] = &[
    Column { heading: "ID", narrow: true, text: |row, _| row.id.clone() },
    Column { heading: "GUID", narrow: true, text: |row, _| row.guid.clone() },
    Column { heading: "EVENT", narrow: true, text: |row, _| row.what() },
    Column { heading: "AT", narrow: true, text: |row, _| format!("{:.0}", row.delivered_at) },
    Column { heading: "STATUS", narrow: true, text: |row, _| row.answer() },
    Column { heading: "TOOK", narrow: true, text: |row, _| format!("{:.2}s", row.duration_seconds) },
    Column { heading: "AGAIN", narrow: false, text: |row, _| or_dash(row.redelivery.then_some("yes")) },
];

/// `runnerfleet deliveries`.
pub(super) async fn deliveries(config: &Config, args: DeliveriesArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let since = args.since.map(|since| since.moment(now));
    tell_how_far_back(since, now, args.printing.quiet);
    let most = args.limit.unwrap_or(if since.is_some() { MOST } else { SHOWN });
    // What is left out here is read all the same.
    let read = if args.failed || args.event.is_some() { MOST } else { most };
    let since = since.or_else(|| (read > most).then(|| back(now, LOG_GOES_BACK)));
    let all = client(config)?.deliveries(since, read).await?;
    let wanted = |it: &&Delivery| {
        !(args.failed && it.ok()) && args.event.as_ref().is_none_or(|event| it.event.eq_ignore_ascii_case(event))
    };
    let rows: Vec<Row> = all.iter().filter(wanted).take(most).map(Row::from).collect();
    if rows.is_empty() && args.printing.output.is_table() {
        complain(if args.failed { "no delivery failed" } else { "no deliveries" });
        return Ok(ExitCode::SUCCESS);
    }
    say(&render(args.printing.output, now, &rows, COLUMNS)?)?;
    let failed = all.iter().filter(|it| !it.ok()).count();
    if args.printing.output.is_table() && !args.printing.quiet && failed > 0 {
        complain(&format!("{failed} of {} failed; `runnerfleet redeliver --failed` asks for them again", all.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// How one was asked for again.
#[derive(Debug, Serialize)]
struct Asked {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    guid: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

const ASKED_COLUMNS: &[Column<Asked>] = &[
    Column { heading: "ID", narrow: true, text: |row, _| row.id.clone() },
    Column { heading: "GUID", narrow: true, text: |row, _| or_dash(row.guid.as_deref()) },
    Column { heading: "OUTCOME", narrow: true, text: |row, _| row.outcome.to_owned() },
    Column { heading: "WHY", narrow: true, text: |row, _| or_dash(row.why.as_deref()) },
];

/// `runnerfleet redeliver`.
pub(super) async fn redeliver(config: &Config, args: RedeliverArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let client = client(config)?;
    let wanted: Vec<(u64, Option<String>)> = if args.failed {
        let since = args.since.moment(now);
        tell_how_far_back(Some(since), now, args.printing.quiet);
        let log = client.deliveries(Some(since), MOST).await?;
        never_taken(&log).into_iter().map(|it| (it.id, Some(it.guid.clone()))).collect()
    } else {
        let ids: BTreeSet<u64> = args.ids.into_iter().collect();
        ids.into_iter().map(|id| (id, None)).collect()
    };
    if wanted.is_empty() {
        if args.printing.output.is_table() {
            complain("no delivery failed: nothing to ask for");
        } else {
            say(&render::<Asked>(args.printing.output, now, &[], ASKED_COLUMNS)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let question = format!("Have {} deliveries sent again?", wanted.len());
    if wanted.len() >= MANY && !args.care.dry_run && !confirm::ask(args.care.yes, &question)? {
        return Err(WrongUse("nothing was asked for".to_owned()).into());
    }
    let mut rows = Vec::new();
    for (id, guid) in wanted {
        let id_text = id.to_string();
        if args.care.dry_run {
            rows.push(Asked { id: id_text, guid, outcome: "would be asked for", why: None });
            continue;
        }
        // One after the other: GitHub asks for that where something is changed.
        match client.redeliver(id).await {
            Ok(()) => rows.push(Asked { id: id_text, guid, outcome: "asked for", why: None }),
            Err(error) => rows.push(Asked { id: id_text, guid, outcome: "refused", why: Some(error.to_string()) }),
        }
    }
    let refused = rows.iter().filter(|row| row.outcome == "refused").count();
    if !args.printing.quiet || refused > 0 || args.printing.output != Output::Table {
        say(&render(args.printing.output, now, &rows, ASKED_COLUMNS)?)?;
    }
    if args.printing.output.is_table() && !args.printing.quiet && !args.care.dry_run && refused == 0 {
        complain("`runnerfleet deliveries` shows how they went");
    }
    Ok(ExitCode::from(u8::from(refused > 0)))
}

/// The newest attempt of each delivery that the receiver took at no attempt, oldest first.
fn never_taken(log: &[Delivery]) -> Vec<&Delivery> {
    let mut newest: BTreeMap<&str, &Delivery> = BTreeMap::new();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for it in log {
        if it.ok() {
            taken.insert(&it.guid);
        }
        let known = newest.entry(&it.guid).or_insert(it);
        if it.id > known.id {
            *known = it;
        }
    }
    let mut due: Vec<&Delivery> = newest.into_values().filter(|it| !taken.contains(it.guid.as_str())).collect();
    due.sort_by_key(|it| it.id);
    due
}

fn client(config: &Config) -> anyhow::Result<Client> {
    Client::new(&config.github).context("preparing the GitHub client")
}

fn back(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn tell_how_far_back(since: Option<Timestamp>, now: Timestamp, quiet: bool) {
    if !quiet && since.is_some_and(|since| since < back(now, LOG_GOES_BACK)) {
        complain("note: GitHub keeps its log of deliveries for three days (seven on GitHub Enterprise Server)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, guid: &str, status: &str) -> Delivery {
        Delivery {
            id,
            guid: guid.to_owned(),
            delivered_at: Timestamp::UNIX_EPOCH,
            redelivery: false,
            duration: 0.1,
            status: status.to_owned(),
            status_code: 0,
            event: "workflow_job".to_owned(),
            action: None,
            installation_id: None,
            repository_id: None,
        }
    }

    #[test]
    fn each_is_asked_for_once_and_none_that_was_taken() {
        let log = [
            attempt(9, "late", "OK"),
            attempt(8, "twice", "timed out"),
            attempt(7, "twice", "failed to connect to host"),
            attempt(6, "late", "timed out"),
            attempt(5, "fine", "OK"),
            attempt(4, "once", "Invalid HTTP Response: 503"),
        ];
        assert_eq!(never_taken(&log).iter().map(|it| it.id).collect::<Vec<_>>(), [4, 8]);
        assert!(never_taken(&[]).is_empty());
    }
}
