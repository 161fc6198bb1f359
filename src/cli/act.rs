//! `runnerfleet start`, `stop`, `restart`, `remove`.

use super::confirm::{ask, listed};
use super::drive::{News, carry_out, channel, drive};
use super::output::{Care, Printing};
use super::select::{self, Candidate, Choice, Which};
use super::source::{Need, Source};
use super::summary::{self, Line};
use super::times::duration;
use super::{WrongUse, complain, say, view};
use crate::config::Config;
use crate::model::{RunnerName, StateName};
use crate::persistent::{Options, Order, OutcomeKind, Verb};
use crate::removal::RemoveOutcome;
use clap::Args;
use futures_util::StreamExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Ephemeral runners that are removed at the same time.
const AT_ONCE: usize = 8;

/// An outcome.
const NOT_THERE: &str = "not there";

/// How `start` works.
#[derive(Debug, Args)]
pub(super) struct Starting {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) printing: Printing,
}

/// How `stop`, `restart` and `remove` work.
#[derive(Debug, Args)]
pub(super) struct Ending {
    /// Also those that run a job; the job ends with its runner.
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

#[derive(Debug, Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    pub(super) how: Starting,
}

#[derive(Debug, Args)]
pub(super) struct EndArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    pub(super) how: Ending,
}

impl From<Starting> for StartArgs {
    /// All of them.
    fn from(how: Starting) -> Self {
        Self { which: Which::all(), how }
    }
}

impl From<Ending> for EndArgs {
    /// All of them.
    fn from(how: Ending) -> Self {
        Self { which: Which::all(), how }
    }
}

/// One of the four, whichever it is.
struct Act {
    verb: Verb,
    which: Which,
    options: Options,
    dry_run: bool,
    yes: bool,
    printing: Printing,
}

pub(super) async fn start(config: Config, args: StartArgs) -> anyhow::Result<ExitCode> {
    let StartArgs { which, how: Starting { dry_run, printing } } = args;
    act(config, Act { verb: Verb::Start, which, options: Options::default(), dry_run, yes: true, printing }).await
}

/// `stop`, `restart` or `remove`.
pub(super) async fn end(config: Config, verb: Verb, args: EndArgs) -> anyhow::Result<ExitCode> {
    let EndArgs { which, how: Ending { force, timeout, care, printing } } = args;
    let options = Options { force, timeout: timeout.map(|timeout| timeout.as_secs()) };
    act(config, Act { verb, which, options, dry_run: care.dry_run, yes: care.yes, printing }).await
}

async fn act(config: Config, act: Act) -> anyhow::Result<ExitCode> {
    let config = Arc::new(config);
    let verb = act.verb;
    if verb != Verb::Remove {
        refuse_ephemeral_pool(&config, &act.which, verb)?;
    }
    let source = Source::find(config.clone(), if act.dry_run { Need::Look } else { Need::Change }).await?;
    let overview = source.overview().await?;
    view::tell(&source, &overview, act.printing.quiet);
    let choice = Choice::new(&config, &overview);
    let chosen = choice.choose(&act.which, |candidate| is_meant(verb, candidate))?;
    if let Some(ephemeral) = chosen.known.iter().find(|candidate| verb != Verb::Remove && !candidate.persistent) {
        let name = &ephemeral.name;
        let why =
            format!("`{name}` lives for one job and cannot be {}; `runnerfleet remove {name}` ends it", done(verb));
        return Err(WrongUse(why).into());
    }
    let unseen = format!("nothing is known of it, but {} could not be looked at", choice.unseen().join(", "));
    let mut lines: Vec<Line> =
        chosen.unseen.iter().map(|name| Line::new(name, OutcomeKind::Failed, NOT_THERE).because(&unseen)).collect();
    let mut to_do = Vec::new();
    for candidate in chosen.known {
        match nothing_to_do(verb, &candidate) {
            Some(line) => lines.push(line),
            None => to_do.push(candidate),
        }
    }
    if act.dry_run {
        lines.extend(to_do.iter().map(|candidate| dry(verb, candidate, act.options.force)));
    } else if !to_do.is_empty() {
        if !consent(&act, &to_do)? {
            complain("nothing was done");
            return Ok(ExitCode::from(1));
        }
        match all(&source, &act, to_do).await? {
            Ok(done) => lines.extend(done),
            Err(interrupted) => return Ok(interrupted),
        }
    }
    let may_be_more = verb == Verb::Remove && act.which.names.is_empty() && !choice.unseen().is_empty();
    if lines.is_empty() && act.printing.output.is_table() {
        if !act.printing.quiet {
            say(&format!("no runners to {}", word(verb)))?;
        }
        return Ok(ExitCode::from(u8::from(may_be_more)));
    }
    let code = summary::print(&act.printing, overview.at, "NAME", lines)?;
    Ok(if may_be_more { ExitCode::from(1) } else { code })
}

/// Whether `--pool` and `--all` mean this one.
fn is_meant(verb: Verb, candidate: &Candidate) -> bool {
    let is_there = candidate.state.is_some_and(|state| state != StateName::Removed);
    match verb {
        Verb::Remove => is_there,
        Verb::Stop | Verb::Restart => candidate.persistent && is_there,
        Verb::Start | Verb::Deploy => candidate.persistent && (candidate.described || is_there),
    }
}

fn refuse_ephemeral_pool(config: &Config, which: &Which, verb: Verb) -> Result<(), WrongUse> {
    let Some(pool) = &which.pool else { return Ok(()) };
    match config.pools.iter().find(|known| known.name.as_str() == pool) {
        Some(found) if !select::is_persistent(found) => Err(WrongUse(format!(
            "pool `{pool}` is ephemeral: its runners are made for one job each, and cannot be {}; `runnerfleet remove --pool \
             {pool}` ends them",
            done(verb)
        ))),
        Some(_) | None => Ok(()),
    }
}

/// What needs no order.
fn nothing_to_do(verb: Verb, candidate: &Candidate) -> Option<Line> {
    let name = candidate.name.as_str();
    let is_there = candidate.state.is_some_and(|state| state != StateName::Removed);
    match verb {
        Verb::Remove | Verb::Stop if !is_there => {
            Some(Line::new(name, OutcomeKind::Unchanged, "unchanged").because("it is not there"))
        }
        Verb::Restart if !is_there => Some(
            Line::new(name, OutcomeKind::Failed, NOT_THERE)
                .because(format!("there is nothing to restart; `runnerfleet start {name}` makes it")),
        ),
        _ => None,
    }
}

/// Asks where something ends that runs.
fn consent(act: &Act, candidates: &[Candidate]) -> anyhow::Result<bool> {
    let names = |ends: &dyn Fn(&&Candidate) -> bool| -> Vec<&str> {
        candidates.iter().filter(ends).map(|candidate| candidate.name.as_str()).collect()
    };
    let runs = |candidate: &&Candidate| is_up(candidate.state);
    let has_a_job = |candidate: &&Candidate| candidate.state == Some(StateName::Running);
    let ending = match act.verb {
        Verb::Remove => names(&runs),
        _ if act.options.force => names(&has_a_job),
        _ => Vec::new(),
    };
    if ending.is_empty() {
        return Ok(true);
    }
    let jobs = names(&has_a_job);
    let jobs = match (jobs.is_empty(), act.options.force) {
        (true, _) => String::new(),
        (false, true) => format!(" The jobs of {} end with their runners.", listed(&jobs)),
        (false, false) => format!(" Jobs run on {}.", listed(&jobs)),
    };
    let mut word = word(act.verb).to_owned();
    word[..1].make_ascii_uppercase();
    ask(act.yes, &format!("{word} {}?{jobs}", listed(&ending)))
}

/// Whether something of it runs now.
pub(super) fn is_up(state: Option<StateName>) -> bool {
    matches!(state, Some(StateName::Started | StateName::Running | StateName::Error))
}

/// All of them, side by side; or the exit code for Ctrl-C.
async fn all(source: &Source, act: &Act, to_do: Vec<Candidate>) -> anyhow::Result<Result<Vec<Line>, ExitCode>> {
    let names: Vec<String> = to_do.iter().map(|candidate| candidate.name.to_string()).collect();
    let (persistent, ephemeral): (Vec<_>, Vec<_>) = to_do.into_iter().partition(|candidate| candidate.persistent);
    let runners: Vec<RunnerName> = persistent.into_iter().map(|candidate| candidate.name).collect();
    let (news, hear) = channel();
    let work = async move {
        let order = Order { verb: act.verb, runners, options: act.options.clone() };
        let kept = async {
            if order.runners.is_empty() { Ok(()) } else { carry_out(source, order, done(act.verb), news.clone()).await }
        };
        let (kept, ()) = tokio::join!(kept, remove_ephemeral(source, ephemeral, act.options.force, &news));
        kept
    };
    let ended = drive(&names, act.printing.quiet, source.is_served(), hear, work).await;
    source.finish().await;
    Ok(ended?.lines())
}

async fn remove_ephemeral(source: &Source, runners: Vec<Candidate>, force: bool, news: &mpsc::Sender<News>) {
    let one = async |candidate: Candidate| {
        let name = candidate.name.to_string();
        let text = "removing it".to_owned();
        let _ = news.send(News { name: name.clone(), text, line: None }).await;
        let line = match source.remove(&candidate.name, force).await {
            Ok(RemoveOutcome::Removed) => Line::new(&name, OutcomeKind::Changed, "removed"),
            Ok(RemoveOutcome::Ended { why }) => Line::new(&name, OutcomeKind::Changed, "ended").because(why),
            Ok(RemoveOutcome::NotThere) => {
                Line::new(&name, OutcomeKind::Unchanged, "unchanged").because("it is not there any more")
            }
            Ok(RemoveOutcome::Kept { why }) => Line::new(&name, OutcomeKind::Failed, "kept").because(why),
            Err(error) => Line::new(&name, OutcomeKind::Failed, "failed").because(format!("{error:#}")),
        };
        let _ = news.send(News { name, text: line.outcome.clone(), line: Some(line) }).await;
    };
    futures_util::stream::iter(runners).for_each_concurrent(AT_ONCE, one).await;
}

/// What would be done.
fn dry(verb: Verb, candidate: &Candidate, force: bool) -> Line {
    let name = candidate.name.as_str();
    let would = |why: Option<&str>| {
        let line = Line::new(name, OutcomeKind::Changed, format!("would be {}", done(verb)));
        why.map_or_else(|| line.clone(), |why| line.clone().because(why))
    };
    let job = candidate.state == Some(StateName::Running);
    match (verb, candidate.state) {
        (Verb::Start, None | Some(StateName::Removed)) => would(Some("it is not there yet, and would be made")),
        (Verb::Start, Some(StateName::Started | StateName::Running)) => {
            Line::new(name, OutcomeKind::Unchanged, "unchanged").because("it is up")
        }
        (Verb::Stop, Some(StateName::Stopped)) => {
            Line::new(name, OutcomeKind::Unchanged, "unchanged").because("it is stopped")
        }
        (Verb::Remove, _) if job && !force && !candidate.persistent => {
            Line::new(name, OutcomeKind::Unchanged, "would be kept")
                .because("it runs a job; --force ends the job as well")
        }
        (Verb::Start | Verb::Deploy, _) => would(None),
        _ if job && force => would(Some("its job would end")),
        _ if job => would(Some("after its job")),
        _ => would(None),
    }
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Deploy => "deploy",
        Verb::Start => "start",
        Verb::Stop => "stop",
        Verb::Restart => "restart",
        Verb::Remove => "remove",
    }
}

fn done(verb: Verb) -> &'static str {
    match verb {
        Verb::Deploy => "deployed",
        Verb::Start => "started",
        Verb::Stop => "stopped",
        Verb::Restart => "restarted",
        Verb::Remove => "removed",
    }
}
