//! `runnerfleet notify …`: do the messages arrive, and what do they look like?

use super::output::{Column, Output, render};
use super::say;
use crate::clock;
use crate::config::{Config, Recipient};
use crate::notify::event::Kind;
use crate::notify::try_out;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use futures_util::StreamExt;
use serde::Serialize;
use std::process::ExitCode;

/// Recipients that are tried at the same time; of each, one message after the other.
const AT_ONCE: usize = 8;

#[derive(Debug, Subcommand)]
pub(super) enum NotifyVerb {
    /// Send an example of one event, to see whether it arrives and what it looks like.
    #[command(
        after_help = "Examples:\n  runnerfleet notify test\n  runnerfleet notify test --provider slack --event build_failed\n  runnerfleet notify test --dry-run"
    )]
    Test(TestArgs),
    /// Send an example of every event that each recipient is told of.
    #[command(after_help = "Example:\n  runnerfleet notify test-all --provider slack")]
    TestAll(TestAllArgs),
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// Which event.
    #[arg(short, long, value_name = "EVENT", default_value = "runner_error", value_parser = kinds())]
    event: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct TestAllArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Only this recipient: slack, discord, teams, or the name of a generic one.
    #[arg(short, long, value_name = "NAME")]
    provider: Option<String>,
    /// Only show what would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Nothing is asked; kept for scripts that give it.
    #[arg(short, long, hide = true)]
    yes: bool,
    /// Print nothing when all went well.
    #[arg(short, long)]
    quiet: bool,
    /// How to print; `wide` is a table with all columns.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// How one message went.
#[derive(Debug, Serialize)]
struct Line {
    provider: String,
    event: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<serde_json::Value>,
}

const SENT: &str = "sent";
const FAILED: &str = "failed";
const SKIPPED: &str = "skipped";
const WOULD_BE_SENT: &str = "would be sent";

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.name()))
}

pub(super) async fn run(config: &Config, verb: NotifyVerb) -> anyhow::Result<ExitCode> {
    let (common, wanted) = match verb {
        NotifyVerb::Test(args) => (args.common, Kind::named(&args.event)),
        NotifyVerb::TestAll(args) => (args.common, None),
    };
    let recipients = match chosen(config, common.provider.as_deref()) {
        Ok(recipients) => recipients,
        Err(why) => {
            super::complain(&format!("error: {why}"));
            return Ok(ExitCode::from(2));
        }
    };
    let kinds: Vec<Kind> = wanted.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]);
    let each = recipients.iter().map(|recipient| {
        let kinds = &kinds;
        let common = &common;
        async move {
            let mut lines = Vec::new();
            for kind in kinds {
                lines.push(one(config, recipient, *kind, wanted.is_some(), common.dry_run).await);
            }
            lines
        }
    });
    let lines: Vec<Line> =
        futures_util::stream::iter(each).buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter().flatten().collect();
    let failed = lines.iter().filter(|line| line.outcome == FAILED).count();
    if !(common.quiet && failed == 0) {
        print(&lines, &common)?;
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The recipients to try, or what is wrong with the wish.
fn chosen<'a>(config: &'a Config, wanted: Option<&str>) -> Result<Vec<&'a Recipient>, String> {
    let told = &config.notifications;
    let file = config.file.display();
    if told.recipients.is_empty() {
        return Err(format!("nobody is told of anything: {file} has no recipient under `webhooks`"));
    }
    let names: Vec<_> = told.recipients.iter().map(|recipient| recipient.name.as_str()).collect();
    let found: Vec<_> =
        told.recipients.iter().filter(|recipient| wanted.is_none_or(|wanted| recipient.name == wanted)).collect();
    if let (Some(wanted), []) = (wanted, found.as_slice()) {
        return Err(format!("there is no recipient `{wanted}` under `webhooks`; {file} has {}", names.join(", ")));
    }
    if !told.enabled {
        return Err(format!("notifications are switched off: `webhooks.enabled` is false in {file}"));
    }
    let on: Vec<_> = found.into_iter().filter(|recipient| recipient.enabled).collect();
    if on.is_empty() {
        let which = wanted.map_or_else(|| "every recipient".to_owned(), |wanted| format!("recipient `{wanted}`"));
        return Err(format!("{which} is switched off: `enabled` is false in {file}"));
    }
    Ok(on)
}

async fn one(config: &Config, recipient: &Recipient, kind: Kind, asked_for: bool, dry_run: bool) -> Line {
    let line = |outcome, why: Option<String>| Line {
        provider: recipient.name.clone(),
        event: kind.name().to_owned(),
        outcome,
        why,
        payload: None,
    };
    let is_subscribed = recipient.events.contains(&kind);
    if !is_subscribed && !asked_for {
        return line(SKIPPED, Some("not in its `events`".to_owned()));
    }
    // A test that is asked for in so many words is sent, and says that a real one would not be.
    let note = (!is_subscribed).then(|| "not in its `events`: a real one is not sent there".to_owned());
    let trial = try_out(config, recipient, kind);
    if dry_run {
        let payload = serde_json::from_slice(&trial.payload().body).ok();
        return Line { payload, ..line(WOULD_BE_SENT, note) };
    }
    match trial.send().await {
        Ok(()) => line(SENT, note),
        Err(why) => line(FAILED, Some(why)),
    }
}

fn print(lines: &[Line], common: &Common) -> anyhow::Result<()> {
    let columns = [
        Column { heading: "PROVIDER", narrow: true, text: |line: &Line, _| line.provider.clone() },
        Column { heading: "EVENT", narrow: true, text: |line, _| line.event.clone() },
        Column { heading: "OUTCOME", narrow: true, text: |line, _| line.outcome.to_owned() },
        Column { heading: "WHY", narrow: true, text: |line, _| line.why.clone().unwrap_or_default() },
    ];
    say(&render(common.output, clock::now(), lines, &columns)?)?;
    if matches!(common.output, Output::Table | Output::Wide) {
        for line in lines.iter().filter(|line| line.payload.is_some()) {
            say(&format!("\n{} for {}:\n{}", line.event, line.provider, serde_json::to_string_pretty(&line.payload)?))?;
        }
        let count = |outcome| lines.iter().filter(|line| line.outcome == outcome).count();
        let words: Vec<_> = [SENT, WOULD_BE_SENT, SKIPPED, FAILED]
            .into_iter()
            .map(|outcome| (count(outcome), outcome))
            .filter(|(count, _)| *count > 0)
            .map(|(count, outcome)| format!("{count} {outcome}"))
            .collect();
        say(&words.join(", "))?;
    }
    Ok(())
}
