//! `runnerfleet build`.

use super::build_news::Board;
use super::output::{Column, Printing, or_dash, pool_names, render, span};
use super::source::LAST_NOTICES;
use super::{WrongUse, complain, environment, say};
use crate::app::engine;
use crate::clock;
use crate::config::{Config, Pool};
use crate::images::{Ensured, Kind, Options, ensure_and_tell};
use crate::notify::Notifier;
use crate::provider::docker::build::Builder;
use crate::update::Environment;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// News that wait for the terminal.
const NEWS: usize = 256;

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// These pools; all that have a `build_image` where none is named.
    #[arg(value_name = "POOL")]
    pools: Vec<String>,
    /// Run every step, whatever the engine remembers of earlier builds.
    #[arg(long)]
    no_cache: bool,
    /// Pull base images also where this engine has them.
    #[arg(long)]
    pull: bool,
    /// A build argument, over those of the configuration. NAME alone takes its value from the environment.
    #[arg(long = "build-arg", value_name = "NAME=VALUE", value_parser = build_arg)]
    args: Vec<(String, Option<String>)>,
    /// Only say what would be built.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) printing: Printing,
}

fn build_arg(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{name}` is not the name of a build argument: letters, digits and `_` are possible"));
    }
    Ok((name.to_owned(), value))
}

/// A pool, and what became of its image.
#[derive(Debug, Serialize)]
struct Line {
    pool: String,
    outcome: &'static str,
    /// The tag that stays, of a pool that is built.
    image: Option<String>,
    id: Option<String>,
    base: Option<String>,
    seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

const FAILED: &str = "failed";
const NOTHING: &str = "nothing to build";

/// Builds them with the logins of registries; progress is shown, and whoever wants to know is told.
pub(super) async fn made(
    config: &Config,
    pools: &[&Pool],
    options: &Options,
    quiet: bool,
) -> anyhow::Result<Vec<Ensured>> {
    let env: Environment = Arc::new(environment);
    let docker = engine(config, Some(&env))?;
    // What would be done is nobody's news.
    let notifier = if options.dry_run { Notifier::silent() } else { Notifier::start(config) };
    let (sender, receiver) = mpsc::channel(NEWS);
    let board = tokio::spawn(Board::new(quiet, pools).show(receiver));
    let ensured = ensure_and_tell(config, &docker, pools, options, &sender, &notifier).await;
    drop(sender);
    // Nothing is printed between the lines of the progress.
    board.await?;
    notifier.finish(LAST_NOTICES).await;
    Ok(ensured?)
}

pub(super) async fn build(config: Config, args: BuildArgs) -> anyhow::Result<ExitCode> {
    let pools = chosen(&config, &args.pools).map_err(WrongUse)?;
    let Printing { output, quiet } = args.printing;
    let options = Options {
        args: given(args.args),
        no_cache: args.no_cache,
        pull: args.pull,
        dry_run: args.dry_run,
        builder: environment("DOCKER_BUILDKIT").filter(|value| value == "0").map(|_| Builder::Classic),
        ..Options::default()
    };
    let (buildable, other): (Vec<&Pool>, Vec<&Pool>) = pools.into_iter().partition(|pool| pool.build.is_some());
    let ensured = made(&config, &buildable, &options, quiet).await?;

    let mut lines: Vec<Line> = ensured.iter().map(line).collect();
    lines.extend(other.into_iter().map(|pool| Line {
        pool: pool.name.to_string(),
        outcome: NOTHING,
        image: Some(pool.image.clone()),
        id: None,
        base: pool.base_image.clone(),
        seconds: 0,
        why: Some("it has no `build_image`: it runs this image as it is".to_owned()),
    }));
    for one in &ensured {
        if let Err(error) = &one.result {
            complain(&format!("error: pool `{}`: {error}", one.pool));
        }
    }
    let is_table = output.is_table();
    if lines.is_empty() && is_table {
        if !quiet {
            complain("no pool has a `build_image`: there is nothing to build");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        Column { heading: "POOL", narrow: true, text: |line: &Line, _| line.pool.clone() },
        Column { heading: "OUTCOME", narrow: true, text: |line, _| line.outcome.to_owned() },
        Column { heading: "IMAGE", narrow: true, text: |line, _| or_dash(line.image.as_deref()) },
        Column { heading: "TOOK", narrow: true, text: |line, _| span(Duration::from_secs(line.seconds)) },
        Column { heading: "BASE", narrow: false, text: |line, _| or_dash(line.base.as_deref()) },
        Column { heading: "ID", narrow: false, text: |line, _| or_dash(line.id.as_deref()) },
        Column { heading: "WHY", narrow: true, text: |line, _| line.why.clone().unwrap_or_default() },
    ];
    if !quiet || !is_table {
        say(&render(output, clock::now(), &lines, &columns)?)?;
    }
    if !quiet && is_table {
        say(&summary(&lines))?;
    }
    let failed = lines.iter().any(|line| line.outcome == FAILED);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The pools that were named, or all that are built.
fn chosen<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a Pool>, String> {
    if names.is_empty() {
        return Ok(config.pools.iter().filter(|pool| pool.build.is_some()).collect());
    }
    for name in names {
        if !config.pools.iter().any(|pool| pool.name.as_str() == name) {
            return Err(format!("there is no pool `{name}`; the configuration has {}", pool_names(config).join(", ")));
        }
    }
    Ok(config.pools.iter().filter(|pool| names.iter().any(|name| pool.name.as_str() == name)).collect())
}

/// A name without a value takes it from the environment, and is left out where that has none, as with `docker build`.
fn given(args: Vec<(String, Option<String>)>) -> BTreeMap<String, String> {
    args.into_iter().filter_map(|(name, value)| Some((name.clone(), value.or_else(|| environment(&name))?))).collect()
}

fn line(one: &Ensured) -> Line {
    let pool = one.pool.to_string();
    match &one.result {
        Ok(done) => Line {
            pool,
            outcome: outcome(done.kind),
            image: Some(done.reference.clone()),
            id: done.image.clone(),
            base: done.base.clone(),
            seconds: done.took.as_secs(),
            why: None,
        },
        Err(error) => Line {
            pool,
            outcome: FAILED,
            image: None,
            id: None,
            base: None,
            seconds: 0,
            why: Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
        },
    }
}

fn outcome(kind: Kind) -> &'static str {
    match kind {
        Kind::UpToDate => "up to date",
        Kind::Built => "built",
        Kind::Named => "built before",
        Kind::Pulled => "pulled",
        Kind::WouldBuild => "would be built",
        Kind::WouldName => "would be taken: built before",
        Kind::WouldPull => "would be pulled",
    }
}

/// `1 built, 2 up to date`.
fn summary(lines: &[Line]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for line in lines {
        match counts.iter_mut().find(|(outcome, _)| *outcome == line.outcome) {
            Some((_, count)) => *count += 1,
            None => counts.push((line.outcome, 1)),
        }
    }
    counts.into_iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_arguments_are_name_and_value() {
        assert_eq!(build_arg("A=b=c"), Ok(("A".to_owned(), Some("b=c".to_owned()))));
        assert_eq!(build_arg("A="), Ok(("A".to_owned(), Some(String::new()))));
        assert_eq!(build_arg("HTTP_PROXY"), Ok(("HTTP_PROXY".to_owned(), None)));
        assert!(build_arg("=b").is_err() && build_arg("1A=b").is_err() && build_arg("a-b=c").is_err());
    }
}
