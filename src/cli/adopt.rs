//! `runnerfleet adopt`.

use super::confirm::{ask, listed};
use super::drive::{News, channel, drive};
use super::output::{Care, Printing};
use super::select::{Which, known_pool};
use super::source::{Need, Source, engine};
use super::summary::{self, Line};
use super::times::duration;
use super::{WrongUse, complain, say};
use crate::adoption::{Patience, retire};
use crate::clock;
use crate::config::{Config, Mode, Pool};
use crate::github::Client;
use crate::model::RunnerName;
use crate::persistent::{Options, Order, OutcomeKind, Progress, Verb};
use crate::provider::Provider;
use crate::provider::docker::Docker;
use crate::provider::docker::adoption::{AtName, Former};
use anyhow::Context;
use clap::Args;
use futures_util::StreamExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(Debug, Args)]
pub(super) struct AdoptArgs {
    #[command(flatten)]
    which: Which,
    /// Wait so long for a running job (`30s`, `10m`), instead of the pool's `timeouts.drain`.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    care: Care,
    #[command(flatten)]
    pub(super) printing: Printing,
}

/// A container of the former tool, and the pool that it is for.
struct Found<'a> {
    former: Former,
    pool: &'a Pool,
    /// Whether the pool still has that many.
    described: bool,
}

pub(super) async fn adopt(config: Config, args: AdoptArgs) -> anyhow::Result<ExitCode> {
    let AdoptArgs { which, timeout, care, printing } = args;
    let config = Arc::new(config);
    check(&config, &which)?;
    let docker = Docker::connect(&config.docker, &config.instance, &config.host).context("preparing Docker")?;
    let url_of = |name: &str| pool_of(&config, name).map(|(pool, _)| pool.scope_url.clone());
    let mut lines: Vec<Line> = Vec::new();
    let mut found: Vec<Found<'_>> = Vec::new();
    for at_name in docker.at_names(&url_of).await.context("looking at the containers")? {
        let name = match &at_name {
            AtName::Former(former) => &former.runner,
            AtName::Ours(name) | AtName::Stranger { name, .. } => name,
        };
        let Some((pool, number)) = pool_of(&config, name.as_str()) else { continue };
        if !is_meant(&which, pool, name) {
            continue;
        }
        let by_name = !which.names.is_empty();
        match at_name {
            AtName::Former(former) => {
                let described = matches!(pool.mode, Mode::Persistent { count } if (1..=count).contains(&number));
                found.push(Found { former, pool, described });
            }
            AtName::Ours(name) if by_name => {
                lines
                    .push(Line::new(name.as_str(), OutcomeKind::Unchanged, "unchanged").because("it is runnerfleet's"));
            }
            AtName::Ours(_) => {}
            // Nobody asked for it by name: it is left alone, and that is all there is to say.
            AtName::Stranger { name, why } => {
                let result = if by_name { OutcomeKind::Failed } else { OutcomeKind::Unchanged };
                lines.push(Line::new(name.as_str(), result, "left alone").because(why));
            }
        }
    }
    for name in &which.names {
        if !lines.iter().any(|line| line.name == *name) && !found.iter().any(|it| it.former.runner.as_str() == name) {
            let line = Line::new(name, OutcomeKind::Failed, "not there").because("there is no container of that name");
            lines.push(line);
        }
    }
    if care.dry_run {
        lines.extend(found.iter().map(|it| {
            let outcome = if it.described { "would be adopted" } else { "would be removed" };
            Line::new(it.former.runner.as_str(), OutcomeKind::Changed, outcome).because(format!(
                "a container of the former tool, {}",
                if it.former.running { "running" } else { "stopped" }
            ))
        }));
    } else if !found.is_empty() {
        check_images(engine(&config)?.as_ref(), &found).await?;
        let names: Vec<&str> = found.iter().map(|it| it.former.runner.as_str()).collect();
        let question = format!(
            "Adopt {}? Each is taken out of GitHub, its container is removed after its job, and a new one of runnerfleet's \
             takes its place.",
            listed(&names)
        );
        if !ask(care.yes, &question)? {
            complain("nothing was done");
            return Ok(ExitCode::from(1));
        }
        match all(&config, &docker, found, timeout, printing.quiet).await? {
            Ok(done) => lines.extend(done),
            Err(interrupted) => return Ok(interrupted),
        }
    }
    if lines.is_empty() && printing.output.is_table() {
        if !printing.quiet {
            say("there are no containers of the former tool")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    summary::print(&printing, clock::now(), "NAME", lines)
}

/// Names and pools that cannot be meant.
fn check(config: &Config, which: &Which) -> Result<(), WrongUse> {
    let pools: Vec<String> = config.pools.iter().map(|pool| pool.name.to_string()).collect();
    if let Some(pool) = &which.pool {
        known_pool(pool, &pools, [])?;
    }
    match which.names.iter().find(|name| pool_of(config, name).is_none()) {
        Some(name) => Err(WrongUse(format!(
            "no persistent pool of the file has runners called `{name}`: their names are `name_prefix` and a number, as in \
             web-1"
        ))),
        None => Ok(()),
    }
}

/// The persistent pool whose runners are called so, with the number behind the prefix.
fn pool_of<'a>(config: &'a Config, name: &str) -> Option<(&'a Pool, u32)> {
    config.persistent_pools().find_map(|(pool, _)| {
        let number = name.strip_prefix(pool.name_prefix.as_str())?.strip_prefix('-')?;
        // `web-01` and `web-+1` are other names.
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
        if is_plain { Some((pool, number.parse().ok()?)) } else { None }
    })
}

fn is_meant(which: &Which, pool: &Pool, name: &RunnerName) -> bool {
    which.all
        || which.pool.as_deref() == Some(pool.name.as_str())
        || which.names.iter().any(|wanted| wanted == name.as_str())
}

/// Without its image the new one could not be made, and the old one would be gone.
async fn check_images(engine: &dyn Provider, found: &[Found<'_>]) -> anyhow::Result<()> {
    for it in found.iter().filter(|it| it.described && !it.pool.pull) {
        if engine.image_id(&it.pool.image).await.context("looking for the pool's image")?.is_none() {
            let hint = if it.pool.build.is_some() {
                format!("`runnerfleet build {}` makes it", it.pool.name)
            } else {
                "the pool may not pull it".to_owned()
            };
            anyhow::bail!(
                "nothing was done: the image `{}` of pool `{}` is not there; {hint}",
                it.pool.image,
                it.pool.name
            );
        }
    }
    Ok(())
}

/// The pools side by side; of each at most `rollout.max_unavailable` at a time. Or the exit code for Ctrl-C.
async fn all(
    config: &Arc<Config>,
    docker: &Docker,
    found: Vec<Found<'_>>,
    timeout: Option<Duration>,
    quiet: bool,
) -> anyhow::Result<Result<Vec<Line>, ExitCode>> {
    let client = Client::new(&config.github).context("preparing the GitHub client")?;
    let source = Source::find(config.clone(), Need::Change).await?;
    let names: Vec<String> = found.iter().map(|it| it.former.runner.to_string()).collect();
    let (news, hear) = channel();
    let (source, client) = (&source, &client);
    let pools = config.persistent_pools().map(|(pool, _)| {
        let of_it: Vec<&Found<'_>> = found.iter().filter(|it| it.pool.name == pool.name).collect();
        let at_once = usize::try_from(pool.max_unavailable.max(1)).unwrap_or(1);
        let news = news.clone();
        async move {
            let one = async |it: &Found<'_>| {
                let name = it.former.runner.to_string();
                let line = one(source, client, docker, it, timeout, &news).await;
                let _ = news.send(News { name, text: line.outcome.clone(), line: Some(line) }).await;
            };
            futures_util::stream::iter(of_it).for_each_concurrent(at_once, one).await;
        }
    });
    let pools: Vec<_> = pools.collect();
    drop(news);
    let work = async {
        futures_util::future::join_all(pools).await;
        Ok(())
    };
    // What is begun here is not gone on with by `serve`: the second half is.
    Ok(drive(&names, quiet, false, hear, work).await?.lines())
}

async fn one(
    source: &Source,
    client: &Client,
    docker: &Docker,
    it: &Found<'_>,
    timeout: Option<Duration>,
    news: &mpsc::Sender<News>,
) -> Line {
    let name = it.former.runner.to_string();
    let say = |text: &str| {
        // A full channel has newer news in it.
        let _ = news.try_send(News { name: name.clone(), text: text.to_owned(), line: None });
    };
    let patience = Patience { job: timeout.unwrap_or(it.pool.drain_timeout), grace: it.pool.stop_grace };
    if let Err(trouble) = retire(client, docker, &it.former, &it.pool.scope, patience, &say).await {
        return Line::new(&name, OutcomeKind::Failed, "failed").because(trouble.to_string());
    }
    if !it.described {
        return Line::new(&name, OutcomeKind::Changed, "removed").because("the pool has no runner of that number");
    }
    let (told, mut hear) = mpsc::channel::<Progress>(64);
    let order = Order { verb: Verb::Deploy, runners: vec![it.former.runner.clone()], options: Options::default() };
    let listen = async {
        let mut outcome = None;
        while let Some(progress) = hear.recv().await {
            say(&progress.phase);
            outcome = progress.outcome.or(outcome);
        }
        outcome
    };
    let again = format!("the old one is gone; `runnerfleet deploy {}` makes the new one", it.pool.name);
    match tokio::join!(source.carry_out(order, told), listen) {
        (Ok(()), Some(outcome)) if matches!(outcome.kind, OutcomeKind::Changed | OutcomeKind::Unchanged) => {
            Line::new(&name, OutcomeKind::Changed, "adopted")
        }
        (Ok(()), Some(outcome)) => {
            Line::new(&name, outcome.kind, "failed").because(format!("{}; {again}", outcome.text))
        }
        (Ok(()), None) => Line::new(&name, OutcomeKind::Failed, "failed").because(again),
        (Err(error), _) => Line::new(&name, OutcomeKind::Failed, "failed").because(format!("{error:#}; {again}")),
    }
}
