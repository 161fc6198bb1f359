//! An order on its way: news is shown as it comes, the end of each runner is collected, Ctrl-C is answered.

use super::complain;
use super::confirm::listed;
use super::progress::Progress;
use super::source::Source;
use super::summary::Line;
use crate::persistent::{Order, Outcome, OutcomeKind, Progress as Told};
use anyhow::Context;
use std::collections::BTreeMap;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// News that may wait to be shown.
const WAITING: usize = 64;

/// News of one runner.
pub(super) struct News {
    /// Which one.
    pub(super) name: String,
    /// What it is at.
    pub(super) text: String,
    /// Its end.
    pub(super) line: Option<Line>,
}

/// How it ended.
pub(super) enum Ended {
    /// Every runner has its line.
    Whole(Vec<Line>),
    /// Ctrl-C: this is told, and the exit code is another.
    Interrupted,
}

impl Ended {
    /// The lines; or the exit code for Ctrl-C, with what goes on and what was left told.
    pub(super) fn lines(self) -> Result<Vec<Line>, ExitCode> {
        match self {
            Self::Whole(lines) => Ok(lines),
            Self::Interrupted => Err(ExitCode::from(INTERRUPTED)),
        }
    }
}

/// A way for news, from whoever works to [`drive`].
pub(super) fn channel() -> (mpsc::Sender<News>, mpsc::Receiver<News>) {
    mpsc::channel(WAITING)
}

/// Waits for `work` and shows its news. Of `names` each gets a line, also one that nothing was told of.
///
/// # Errors
/// `work` failed before there was any news.
pub(super) async fn drive(
    names: &[String],
    quiet: bool,
    is_served: bool,
    mut news: mpsc::Receiver<News>,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Ended> {
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut progress = Progress::here(quiet);
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    let mut work = std::pin::pin!(work);
    let mut result = None;
    loop {
        tokio::select! {
            biased;
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            told = news.recv() => match told {
                Some(News { name, text, line: Some(line) }) => {
                    progress.end(&name, &text);
                    lines.insert(name, line);
                }
                Some(News { name, text, line: None }) => progress.tell(&name, &text),
                // All that worked on it are through.
                None if result.is_some() => break,
                None => result = Some(work.as_mut().await),
            },
            ended = &mut work, if result.is_none() => result = Some(ended),
        }
    }
    progress.clear();
    let open: Vec<&String> = names.iter().filter(|name| !lines.contains_key(*name)).collect();
    match result {
        None => {
            complain(&interruption(&open, is_served));
            Ok(Ended::Interrupted)
        }
        Some(Err(error)) if lines.is_empty() => Err(error),
        Some(result) => {
            let why = match result {
                Err(error) => format!("{error:#}"),
                Ok(()) => "its end was not told".to_owned(),
            };
            let lost: Vec<Line> = open
                .into_iter()
                .map(|name| {
                    let why = format!("{why}; `runnerfleet status {name}` shows where it stands");
                    Line::new(name, OutcomeKind::Failed, "failed").because(why)
                })
                .collect();
            Ok(Ended::Whole(lines.into_values().chain(lost).collect()))
        }
    }
}

/// What goes on after Ctrl-C, and what was left.
fn interruption(open: &[&String], is_served: bool) -> String {
    match (open.is_empty(), is_served) {
        (true, _) => "interrupted; all was done".to_owned(),
        (false, true) => {
            format!("interrupted; `serve` goes on with {}: `runnerfleet list` shows how far it is", listed(open))
        }
        (false, false) => format!(
            "interrupted; left as they are: {}. The same command again, or `runnerfleet serve`, goes on from there",
            listed(open)
        ),
    }
}

/// Carries an order out. `done` is the word for "done" where the news has none of its own.
///
/// # Errors
/// The order was refused as a whole, or `serve` cannot be reached.
pub(super) async fn carry_out(
    source: &Source,
    order: Order,
    done: &str,
    news: mpsc::Sender<News>,
) -> anyhow::Result<()> {
    let (told, mut hear) = mpsc::channel::<Told>(WAITING);
    let forward = async {
        while let Some(told) = hear.recv().await {
            let name = told.runner.to_string();
            let line = told.outcome.as_ref().map(|outcome| line(&name, outcome, done));
            let text = match &told.outcome {
                Some(outcome) => outcome.text.clone(),
                None => told.phase,
            };
            if news.send(News { name, text, line }).await.is_err() {
                break;
            }
        }
    };
    let (carried, ()) = tokio::join!(source.carry_out(order, told), forward);
    carried
}

/// `replaced: its image is newer` is the outcome `replaced`, and why; `created, and online` is `created`, and that it is online.
fn line(name: &str, outcome: &Outcome, done: &str) -> Line {
    let is_word = |text: &str| !text.is_empty() && text.split(' ').count() <= 2;
    let text = outcome.text.as_str();
    match outcome.kind {
        OutcomeKind::Changed => match text.split_once(": ").or_else(|| text.split_once(", and ")) {
            Some((word, why)) if is_word(word) => Line::new(name, outcome.kind, word).because(why),
            None if is_word(text) => Line::new(name, outcome.kind, text),
            _ => Line::new(name, outcome.kind, done).because(text),
        },
        OutcomeKind::Unchanged => Line::new(name, outcome.kind, "unchanged").because(text),
        OutcomeKind::Deferred => Line::new(name, outcome.kind, "deferred").because(text),
        OutcomeKind::Failed => Line::new(name, outcome.kind, "failed").because(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: OutcomeKind, text: &str) -> (String, Option<String>) {
        let line = line("web-1", &Outcome { kind, text: text.to_owned() }, "started");
        (line.outcome, line.why)
    }

    #[test]
    fn an_outcome_is_a_word_and_a_story() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told(OutcomeKind::Changed, "started"), ("started".to_owned(), None));
        assert_eq!(
            told(OutcomeKind::Changed, "replaced: its image is newer"),
            ("replaced".to_owned(), some("its image is newer"))
        );
        assert_eq!(told(OutcomeKind::Changed, "made anew, and online"), ("made anew".to_owned(), some("online")));
        assert_eq!(
            told(OutcomeKind::Changed, "it is up and GitHub lists it: as 17"),
            ("started".to_owned(), some("it is up and GitHub lists it: as 17"))
        );
        assert_eq!(told(OutcomeKind::Failed, "image: gone"), ("failed".to_owned(), some("image: gone")));
    }

    #[tokio::test]
    async fn each_name_gets_a_line_also_when_its_end_is_not_told() {
        let (tell, news) = channel();
        let work = async move {
            let line = Some(Line::new("web-1", OutcomeKind::Changed, "started"));
            tell.send(News { name: "web-1".to_owned(), text: "started".to_owned(), line }).await?;
            anyhow::bail!("the socket closed")
        };
        let names = ["web-1".to_owned(), "web-2".to_owned()];
        let Ok(lines) = drive(&names, true, true, news, work).await.unwrap().lines() else { panic!("not interrupted") };
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].outcome, "started");
        let why = lines[1].why.as_deref().unwrap();
        assert_eq!(why, "the socket closed; `runnerfleet status web-2` shows where it stands");

        let (tell, news) = channel();
        let work = async move {
            drop(tell);
            anyhow::bail!("refused")
        };
        assert_eq!(drive(&names, true, true, news, work).await.map(drop).unwrap_err().to_string(), "refused");
    }

    #[test]
    fn ctrl_c_says_what_goes_on_and_what_was_left() {
        let (one, two) = ("web-1".to_owned(), "web-2".to_owned());
        assert_eq!(
            interruption(&[&one, &two], true),
            "interrupted; `serve` goes on with web-1 and web-2: `runnerfleet list` shows how far it is"
        );
        assert!(interruption(&[&one], false).starts_with("interrupted; left as they are: web-1. The same command"));
        assert_eq!(interruption(&[], true), "interrupted; all was done");
    }
}
