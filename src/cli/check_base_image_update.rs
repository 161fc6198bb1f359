//! `runnerfleet check-base-image-update`.

use super::confirm::ask;
use super::drive::{News, channel, drive};
use super::output::{Care, Column, Printing, render};
use super::source::{LAST_NOTICES, Need, Source};
use super::summary::{self, Line};
use super::times::duration;
use super::{complain, environment, say};
use crate::clock;
use crate::config::{Config, Mode, file};
use crate::model::PoolName;
use crate::notify::Notifier;
use crate::persistent::{Change, Options, Order, OutcomeKind, Progress};
use crate::provider::docker::Docker;
use crate::registry::{Client, DockerLogins};
use crate::update::{Applied, BaseImage, Hands, Keepers, Parts, Update, apply, check};
use anyhow::Context;
use async_trait::async_trait;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// There is an update, and nothing was done about it.
const UPDATE_AVAILABLE: u8 = 10;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Put the newest in place: build the pools on it, change the file, replace the runners pool after pool. Taken back if
    /// the first runner does not come online.
    #[arg(long)]
    apply: bool,
    /// With `--apply`: wait so long for a running job (`30s`, `10m`), instead of the pool's `timeouts.drain`.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "apply")]
    timeout: Option<Duration>,
    #[command(flatten)]
    care: Care,
    #[command(flatten)]
    pub(super) printing: Printing,
}

/// A base image as it is printed.
#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    base: &'a BaseImage,
    /// What to go to; the same as `reference` where only the image behind the tag is another one.
    newest: Option<String>,
}

pub(super) async fn check_base_image_update(config: Config, args: CheckArgs) -> anyhow::Result<ExitCode> {
    let logins = DockerLogins::of_docker(&environment);
    let client = Client::new(logins.clone()).context("preparing to ask registries")?;
    let docker = Docker::connect(&config.docker, &config.instance, &config.host).context("preparing Docker")?;
    // What is checked with a login is pulled with it.
    let docker = docker.with_credentials(Arc::new(logins));
    let bases = check(&config, &client, &docker).await;
    let updates: Vec<Update> = bases.iter().filter_map(BaseImage::update).collect();
    if !args.apply || args.care.dry_run || updates.is_empty() {
        tell(&bases, &args.printing)?;
        return Ok(ExitCode::from(code(&bases)));
    }
    // The answer of `--apply` is what became of it; a machine that reads it gets one document.
    if args.printing.output.is_table() && !args.printing.quiet {
        tell(&bases, &args.printing)?;
        say("\n")?;
    } else {
        complain_of(&bases, args.printing.quiet);
    }
    if !ask(args.care.yes, &question(&updates))? {
        complain("nothing was done");
        return Ok(ExitCode::from(1));
    }
    let unknown = bases.iter().any(|base| base.error.is_some());
    let config = Arc::new(config);
    let done = take(Arc::clone(&config), &docker, &updates, &args).await?;
    // What could not be asked is not done.
    Ok(if unknown { ExitCode::from(1) } else { done })
}

fn question(updates: &[Update]) -> String {
    let moves: Vec<String> = updates
        .iter()
        .map(|update| match &update.digest {
            None => format!("{} to {}", update.from, update.to),
            Some(digest) => format!("{} to its new image ({})", update.from, short(digest)),
        })
        .collect();
    format!("Update {}, and replace the runners of their pools? Running jobs are waited for.", moves.join(", "))
}

/// Update after update; what goes wrong with one keeps no other back.
async fn take(config: Arc<Config>, docker: &Docker, updates: &[Update], args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let source = Source::find(Arc::clone(&config), Need::Change).await?;
    let notifier = Notifier::start(&config);
    let keepers = Through { source: &source, config: Arc::clone(&config) };
    let options = Options { force: false, timeout: args.timeout.map(|timeout| timeout.as_secs()) };
    let names: Vec<String> = updates.iter().map(|update| update.from.clone()).collect();
    let (news, hear) = channel();
    let work = async {
        let show = |name: &str, text: &str| {
            // A terminal that is slow misses a step, and holds nothing up.
            let _ = news.try_send(News { name: name.to_owned(), text: text.to_owned(), line: None });
        };
        for update in updates {
            let hands = Hands {
                config: &config,
                docker,
                keepers: &keepers,
                notifier: &notifier,
                env: Arc::new(environment),
                options: options.clone(),
                tell: &show,
            };
            let line = match Parts::new(hands, update).await {
                Ok(parts) => {
                    let applied = apply(&parts, update).await;
                    applied.tell(&notifier);
                    line(&applied)
                }
                Err(why) => Line::new(&update.from, OutcomeKind::Failed, "failed").because(why),
            };
            let ended = News { name: update.from.clone(), text: line.outcome.clone(), line: Some(line) };
            let _ = news.send(ended).await;
        }
        drop(news);
        Ok(())
    };
    let quiet = args.printing.quiet;
    if source.is_served() && !quiet {
        let late = late(&config, updates);
        if !late.is_empty() {
            complain(&format!(
                "note: the runners of {} are made by `serve`, which reads their image when it starts: start it again afterwards",
                pools(&late)
            ));
        }
    }
    let ended = drive(&names, quiet, source.is_served(), hear, work).await;
    tokio::join!(notifier.finish(LAST_NOTICES), source.finish());
    match ended?.lines() {
        Ok(lines) => summary::print(&args.printing, clock::now(), "BASE IMAGE", lines),
        Err(interrupted) => {
            complain("`runnerfleet deploy` finishes what was begun: the file says what is wanted");
            Ok(interrupted)
        }
    }
}

/// Ephemeral pools that run the base image itself: its name changes in the file, which a `serve` that runs has read.
fn late(config: &Config, updates: &[Update]) -> Vec<PoolName> {
    let names = updates.iter().filter(|update| update.changes_the_file()).flat_map(|update| &update.pools);
    let pools = names.filter_map(|name| config.pool(name));
    pools.filter(|pool| pool.mode == Mode::Ephemeral && pool.build.is_none()).map(|pool| pool.name.clone()).collect()
}

/// What became of an update, in a line.
fn line(applied: &Applied) -> Line {
    let Applied { update, unfinished, failure } = applied;
    let to = match &update.digest {
        None => update.to.clone(),
        Some(digest) => format!("its image {}", short(digest)),
    };
    let Some(failure) = failure else {
        let done = format!("to {to}, with {}", pools(&update.pools));
        if unfinished.is_empty() {
            return Line::new(&update.from, OutcomeKind::Changed, "updated").because(done);
        }
        let missing: Vec<String> = unfinished.iter().map(|(pool, why)| format!("pool `{pool}`: {why}")).collect();
        let why = format!("{done}; not yet replaced: {}; `runnerfleet deploy` goes on with it", missing.join("; "));
        return Line::new(&update.from, OutcomeKind::Deferred, "updated in part").because(why);
    };
    let of_pool = failure.pool.as_ref().map(|pool| format!("pool `{pool}`: ")).unwrap_or_default();
    let mut why = format!("{to} was not taken: {of_pool}{}", failure.why);
    if failure.left.is_empty() {
        why += "; the file and the runners are as they were";
        return Line::new(&update.from, OutcomeKind::Failed, "rolled back").because(why);
    }
    why = format!("{why}; and not all of it could be taken back: {}", failure.left.join("; "));
    Line::new(&update.from, OutcomeKind::Failed, "failed").because(why)
}

/// Whoever keeps the runners: a `serve`, which reads the file itself; or this process, which does it here.
struct Through<'a> {
    source: &'a Source,
    config: Arc<Config>,
}

impl Through<'_> {
    fn read_again(&self) -> Result<(), String> {
        if let Source::Alone { parts, .. } = self.source {
            let fresh = file::load(&self.config.file, &environment).map_err(|problems| problems.to_string())?;
            parts.keeper.set_pools(&fresh.config);
        }
        Ok(())
    }
}

#[async_trait]
impl Keepers for Through<'_> {
    async fn difference(&self, pool: &PoolName) -> Result<Vec<Change>, String> {
        self.read_again()?;
        self.source.difference(std::slice::from_ref(pool)).await.map_err(|error| format!("{error:#}"))
    }

    async fn carry_out(&self, order: Order, progress: mpsc::Sender<Progress>) -> Result<(), String> {
        self.read_again()?;
        self.source.carry_out(order, progress).await.map_err(|error| format!("{error:#}"))
    }
}

/// 1 where it is not known of one, since "none" would be a guess; 10 where there is one.
fn code(bases: &[BaseImage]) -> u8 {
    if bases.iter().any(|base| base.error.is_some()) {
        1
    } else if bases.iter().any(|base| base.update().is_some()) {
        UPDATE_AVAILABLE
    } else {
        0
    }
}

/// What there is; the reasons for what is not known go to standard error.
fn tell(bases: &[BaseImage], printing: &Printing) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> =
        bases.iter().map(|base| Row { base, newest: base.update().map(|update| update.to) }).collect();
    if rows.is_empty() && printing.output.is_table() {
        if !printing.quiet {
            complain("no pool has a `base_image`");
        }
        return Ok(());
    }
    let columns = [
        Column { heading: "BASE IMAGE", narrow: true, text: |row: &Row<'_>, _: Timestamp| row.base.reference.clone() },
        Column { heading: "NEWEST", narrow: true, text: |row, _| newest(row.base) },
        Column { heading: "POOLS", narrow: true, text: |row, _| pools(&row.base.pools) },
        Column { heading: "DIGEST", narrow: false, text: |row, _| row.base.newer_digest.clone().unwrap_or("-".into()) },
    ];
    say(&render(printing.output, clock::now(), &rows, &columns)?)?;
    complain_of(bases, printing.quiet);
    Ok(())
}

fn complain_of(bases: &[BaseImage], quiet: bool) {
    for base in bases {
        if let Some(error) = &base.error {
            complain(&format!("error: {}: {error}", base.reference));
        }
        if let Some(note) = base.note.as_ref().filter(|_| !quiet) {
            complain(&format!("note: {}: {note}", base.reference));
        }
    }
}

/// In a few words.
fn newest(base: &BaseImage) -> String {
    match (&base.newer_tag, &base.newer_digest, &base.error, &base.note) {
        (Some(tag), ..) => format!("-> {tag}"),
        (None, Some(digest), ..) => format!("-> another image behind the tag ({})", short(digest)),
        (None, None, Some(_), _) => "not known".to_owned(),
        (None, None, None, Some(_)) => "-".to_owned(),
        (None, None, None, None) => "up to date".to_owned(),
    }
}

fn pools(names: &[PoolName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// As Docker shortens it.
fn short(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::{Failure, Stage};

    fn update() -> Update {
        Update {
            from: "base:1".to_owned(),
            to: "base:2".to_owned(),
            digest: None,
            pools: vec![PoolName::new("node"), PoolName::new("php")],
        }
    }

    #[test]
    fn the_exit_code_says_what_is_known() {
        let known = BaseImage { reference: "a:1".to_owned(), ..BaseImage::default() };
        let newer = BaseImage { newer_tag: Some("2".to_owned()), ..known.clone() };
        let unknown = BaseImage { error: Some("away".to_owned()), ..known.clone() };
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[known.clone()]), 0);
        assert_eq!(code(&[known.clone(), newer.clone()]), 10);
        assert_eq!(code(&[newer, unknown]), 1);
    }

    #[test]
    fn what_became_of_it_is_one_line() {
        let told = |unfinished: Vec<(PoolName, String)>, failure: Option<Failure>| {
            let line = line(&Applied { update: update(), unfinished, failure });
            format!("{:?} {}: {}", line.result, line.outcome, line.why.unwrap_or_default())
        };
        assert_eq!(told(vec![], None), "Changed updated: to base:2, with node, php");
        assert_eq!(
            told(vec![(PoolName::new("php"), "php-1: its job runs".to_owned())], None),
            "Deferred updated in part: to base:2, with node, php; not yet replaced: pool `php`: php-1: its job runs; \
             `runnerfleet deploy` goes on with it"
        );
        let failure = |left: Vec<String>| Failure {
            stage: Stage::Redeploy,
            pool: Some(PoolName::new("php")),
            why: "php-1: its agent ended with 127".to_owned(),
            left,
        };
        assert_eq!(
            told(vec![], Some(failure(vec![]))),
            "Failed rolled back: base:2 was not taken: pool `php`: php-1: its agent ended with 127; the file and the runners \
             are as they were"
        );
        assert!(
            told(vec![], Some(failure(vec!["the file has it still".to_owned()])))
                .ends_with("and not all of it could be taken back: the file has it still")
        );
    }

    #[test]
    fn the_question_names_what_moves() {
        let moved = Update { to: "base:1".to_owned(), digest: Some(format!("sha256:{}", "a".repeat(64))), ..update() };
        assert_eq!(
            question(&[update(), moved]),
            "Update base:1 to base:2, base:1 to its new image (sha256:aaaaaaaaaaaa), and replace the runners of their pools? \
             Running jobs are waited for."
        );
    }
}
