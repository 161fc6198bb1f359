//! `runnerfleet deploy`: makes what is there match the file. Shows the difference first, and asks before it ends what runs.

use super::act::is_up;
use super::build::made;
use super::confirm::{ask, listed};
use super::drive::{carry_out, channel, drive};
use super::output::{Care, Column, Output, Printing, render};
use super::select::{Choice, is_persistent, pools};
use super::source::{Need, Source};
use super::summary::{self, Line, natural};
use super::times::duration;
use super::{complain, say, view};
use crate::config::{Config, Pool};
use crate::images;
use crate::model::{PoolName, RunnerName};
use crate::persistent::{Change, ChangeKind, Options, Order, OutcomeKind, Verb};
use clap::Args;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How `deploy` works.
#[derive(Debug, Args)]
pub(super) struct DeployArgs {
    /// Only these pools; all where none is named.
    #[arg(value_name = "POOL")]
    pools: Vec<String>,
    /// Only show what differs from the file.
    #[arg(long)]
    diff: bool,
    /// Do not wait for running jobs: those of runners that are replaced or removed end with them.
    #[arg(long)]
    force: bool,
    /// Wait so long for a running job (`30s`, `10m`), instead of the pool's `timeouts.drain`.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "force")]
    timeout: Option<Duration>,
    #[command(flatten)]
    care: Care,
    #[command(flatten)]
    pub(super) printing: Printing,
}

pub(super) async fn deploy(config: Config, args: DeployArgs) -> anyhow::Result<ExitCode> {
    let config = Arc::new(config);
    let quiet = args.printing.quiet;
    let wanted = pools(&config, &args.pools)?;
    let only_shown = args.diff || args.care.dry_run;
    let broken = if only_shown { BTreeMap::new() } else { ensure_images(&config, &wanted, quiet).await? };
    for (pool, why) in &broken {
        complain(&format!("error: pool `{pool}`: {why}"));
    }
    let (kept, on_demand): (Vec<&Pool>, Vec<&Pool>) = wanted.into_iter().partition(|pool| is_persistent(pool));
    if !quiet {
        tell_on_demand(&on_demand, &args.pools);
    }
    if kept.is_empty() && !args.pools.is_empty() {
        return Ok(ExitCode::from(u8::from(!broken.is_empty())));
    }
    let source = Source::find(config.clone(), if only_shown { Need::Look } else { Need::Change }).await?;
    let overview = source.overview().await?;
    view::tell(&source, &overview, quiet);
    let names: Vec<PoolName> = match args.pools.is_empty() {
        // Of pools that are gone from the file as well.
        true => Vec::new(),
        false => kept.iter().map(|pool| pool.name.clone()).collect(),
    };
    let mut changes = source.difference(&names).await?;
    changes.sort_by(|a, b| natural(a.runner.as_str(), b.runner.as_str()));
    // Without its image a pool stays as it is.
    let mut lines: Vec<Line> = broken
        .keys()
        .map(|pool| Line::new(pool.as_str(), OutcomeKind::Failed, "failed").because("its image could not be built"))
        .collect();
    changes.retain(|change| !broken.contains_key(&change.pool) || change.kind == ChangeKind::Remove);
    let to_do: Vec<&Change> = changes.iter().filter(|change| change.kind != ChangeKind::Keep).collect();

    if only_shown || args.printing.output.is_table() {
        show(&args.printing, overview.at, &changes, &to_do)?;
    }
    if only_shown {
        return Ok(ExitCode::SUCCESS);
    }
    let unchanged = changes.iter().filter(|change| change.kind == ChangeKind::Keep);
    lines.extend(
        unchanged
            .map(|change| Line::new(change.runner.as_str(), OutcomeKind::Unchanged, "unchanged").because(&change.why)),
    );
    if !to_do.is_empty() {
        let choice = Choice::new(&config, &overview);
        if !consent(&args, &to_do, &choice)? {
            complain("nothing was done");
            return Ok(ExitCode::from(1));
        }
        let names: Vec<String> = to_do.iter().map(|change| change.runner.to_string()).collect();
        let runners: Vec<RunnerName> = to_do.iter().map(|change| change.runner.clone()).collect();
        let options = Options { force: args.force, timeout: args.timeout.map(|timeout| timeout.as_secs()) };
        let (news, hear) = channel();
        let order = Order { verb: Verb::Deploy, runners, options };
        let work = carry_out(&source, order, "deployed", news);
        let ended = drive(&names, quiet, source.is_served(), hear, work).await;
        source.finish().await;
        match ended?.lines() {
            Ok(done) => lines.extend(done),
            Err(interrupted) => return Ok(interrupted),
        }
    } else if args.printing.output.is_table() && broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if args.printing.output.is_table() && !quiet {
        say("")?;
    }
    summary::print(&args.printing, overview.at, "NAME", lines)
}

/// Builds the images that are made here, where they are missing or something in them changed, before anything is made from
/// them. The pools whose image could not be made, each with the reason: the others go on.
async fn ensure_images(config: &Config, pools: &[&Pool], quiet: bool) -> anyhow::Result<BTreeMap<PoolName, String>> {
    let built: Vec<&Pool> = pools.iter().copied().filter(|pool| pool.build.is_some()).collect();
    if built.is_empty() {
        return Ok(BTreeMap::new());
    }
    let made = made(config, &built, &images::Options::default(), quiet).await?;
    Ok(made.into_iter().filter_map(|one| Some((one.pool, one.result.err()?.to_string()))).collect())
}

/// Nothing of an ephemeral pool is deployed; one that was asked for by name deserves a word.
fn tell_on_demand(pools: &[&Pool], asked: &[String]) {
    for pool in pools.iter().filter(|pool| asked.iter().any(|asked| asked == pool.name.as_str())) {
        let image = if pool.build.is_some() { "; its image is there" } else { "" };
        complain(&format!(
            "note: pool `{}` is ephemeral: `runnerfleet serve` makes its runners when jobs ask for them{image}",
            pool.name
        ));
    }
}

/// The difference, like a plan.
fn show(printing: &Printing, now: Timestamp, changes: &[Change], to_do: &[&Change]) -> anyhow::Result<()> {
    if printing.quiet {
        return Ok(());
    }
    let columns = [
        Column { heading: "CHANGE", narrow: true, text: |change: &Change, _| word(change.kind).to_owned() },
        Column { heading: "NAME", narrow: true, text: |change, _| change.runner.to_string() },
        Column { heading: "POOL", narrow: true, text: |change, _| change.pool.to_string() },
        Column { heading: "WHY", narrow: true, text: |change, _| change.why.clone() },
    ];
    match printing.output {
        Output::Json | Output::Yaml | Output::Wide if !changes.is_empty() => {
            say(&render(printing.output, now, changes, &columns)?)?;
        }
        Output::Table if !to_do.is_empty() => {
            let rows: Vec<Change> = to_do.iter().map(|change| (*change).clone()).collect();
            say(&render(printing.output, now, &rows, &columns)?)?;
        }
        Output::Json | Output::Yaml => say("[]")?,
        Output::Table | Output::Wide => {}
    }
    if printing.output.is_table() {
        let gap = if changes.is_empty() || (to_do.is_empty() && printing.output == Output::Table) { "" } else { "\n" };
        say(&format!("{gap}{}", counted(changes)))?;
    }
    Ok(())
}

/// `2 to create, 1 to replace, 3 stay as they are`.
fn counted(changes: &[Change]) -> String {
    let count = |kind| changes.iter().filter(|change| change.kind == kind).count();
    let kept = match count(ChangeKind::Keep) {
        0 => None,
        1 => Some("1 is as the file describes it".to_owned()),
        kept => Some(format!("{kept} are as the file describes them")),
    };
    if changes.iter().all(|change| change.kind == ChangeKind::Keep) {
        return format!(
            "nothing to do: {}",
            kept.unwrap_or_else(|| "the file describes no persistent runners".to_owned())
        );
    }
    let kinds = [ChangeKind::Create, ChangeKind::Start, ChangeKind::Replace, ChangeKind::Remove];
    let counts = kinds.into_iter().filter(|kind| count(*kind) > 0);
    counts.map(|kind| format!("{} to {}", count(kind), word(kind))).chain(kept).collect::<Vec<_>>().join(", ")
}

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Create => "create",
        ChangeKind::Start => "start",
        ChangeKind::Replace => "replace",
        ChangeKind::Remove => "remove",
        ChangeKind::Keep => "keep",
    }
}

/// Asks where something ends that runs.
fn consent(args: &DeployArgs, to_do: &[&Change], choice: &Choice) -> anyhow::Result<bool> {
    let runs = |change: &&&Change| choice.get(change.runner.as_str()).is_none_or(|candidate| is_up(candidate.state));
    let ending = |kind| -> Vec<&str> {
        to_do.iter().filter(|change| change.kind == kind).filter(runs).map(|change| change.runner.as_str()).collect()
    };
    let (replaced, removed) = (ending(ChangeKind::Replace), ending(ChangeKind::Remove));
    let question = match (replaced.is_empty(), removed.is_empty()) {
        (true, true) => return Ok(true),
        (false, true) => format!("Replace {}?", listed(&replaced)),
        (true, false) => format!("Remove {}?", listed(&removed)),
        (false, false) => format!("Replace {} and remove {}?", listed(&replaced), listed(&removed)),
    };
    let jobs = if args.force { "Running jobs end." } else { "Running jobs are waited for." };
    ask(args.care.yes, &format!("{question} {jobs}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(kinds: &[ChangeKind]) -> Vec<Change> {
        let change = |kind: &ChangeKind| Change {
            runner: RunnerName::new("web-1"),
            pool: PoolName::new("web"),
            kind: *kind,
            why: String::new(),
        };
        kinds.iter().map(change).collect()
    }

    #[test]
    fn a_plan_ends_with_its_numbers() {
        use ChangeKind::{Create, Keep, Remove, Replace};
        assert_eq!(
            counted(&changes(&[Create, Create, Replace, Remove, Keep, Keep])),
            "2 to create, 1 to replace, 1 to remove, 2 are as the file describes them"
        );
        assert_eq!(counted(&changes(&[Keep])), "nothing to do: 1 is as the file describes it");
        assert_eq!(counted(&[]), "nothing to do: the file describes no persistent runners");
    }
}
