//! How far builds are: a line for each pool on a terminal, plain lines elsewhere, nothing with `--quiet`.

use super::complain;
use super::output::span;
use crate::config::Pool;
use crate::images::{BuildNews, NewsKind};
use crate::model::PoolName;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The bytes of a pull are told in steps of so many percent where lines stay.
const COARSE: u8 = 25;

/// Where news are shown.
pub(super) struct Board {
    form: Form,
    began: Instant,
    width: usize,
    /// How much was told last of each pool.
    told: HashMap<PoolName, u8>,
}

enum Form {
    Quiet,
    Plain,
    Live(MultiProgress, HashMap<PoolName, ProgressBar>),
}

impl Board {
    pub(super) fn new(quiet: bool, pools: &[&Pool]) -> Self {
        let form = if quiet {
            Form::Quiet
        } else if std::io::stderr().is_terminal() {
            Form::Live(MultiProgress::new(), HashMap::new())
        } else {
            Form::Plain
        };
        let width = pools.iter().map(|pool| pool.name.as_str().len()).max().unwrap_or_default();
        Self { form, began: Instant::now(), width, told: HashMap::new() }
    }

    /// Until nobody tells any more.
    pub(super) async fn show(mut self, mut news: mpsc::Receiver<BuildNews>) {
        while let Some(one) = news.recv().await {
            match &mut self.form {
                Form::Quiet => {}
                Form::Plain => {
                    if let Some(line) = plain(&one, self.began.elapsed(), self.width, &mut self.told) {
                        complain(&line);
                    }
                }
                Form::Live(all, bars) => {
                    if one.kind == NewsKind::Note {
                        // It stays above the lines that change.
                        let _ = all.println(format!("{}: {}", one.pool, one.text));
                        continue;
                    }
                    let width = self.width;
                    let bar = bars.entry(one.pool.clone()).or_insert_with(|| {
                        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4} {wide_msg}");
                        let bar = all.add(
                            ProgressBar::new_spinner()
                                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())),
                        );
                        bar.set_prefix(format!("{:width$}", one.pool.as_str()));
                        bar.enable_steady_tick(Duration::from_millis(200));
                        bar
                    });
                    bar.set_message(message(&one));
                }
            }
        }
        if let Form::Live(all, _) = &self.form {
            let _ = all.clear();
        }
    }
}

fn message(news: &BuildNews) -> String {
    let step = news.step.map_or_else(String::new, |(number, all)| format!("{number}/{all} "));
    let percent = news.percent.map_or_else(String::new, |percent| format!("{percent:>3}% "));
    format!("{percent}{step}{}", news.text)
}

/// A line that stays: steps, and bytes now and then. What a step prints is told when it fails.
fn plain(news: &BuildNews, elapsed: Duration, width: usize, told: &mut HashMap<PoolName, u8>) -> Option<String> {
    match news.kind {
        NewsKind::Output => return None,
        NewsKind::Note | NewsKind::Step => {
            told.remove(&news.pool);
        }
        NewsKind::Progress => {
            let percent = news.percent?;
            let before = told.get(&news.pool).copied();
            if before.is_some_and(|before| percent < before.saturating_add(COARSE)) {
                return None;
            }
            told.insert(news.pool.clone(), percent);
        }
    }
    Some(format!("{:width$}  {:>6}  {}", news.pool.as_str(), span(elapsed), message(news)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_few_and_say_where_and_when() {
        let mut told = HashMap::new();
        let mut line = |kind, text: &str, step, percent| {
            let news = BuildNews { pool: PoolName::new("web"), kind, step, text: text.to_owned(), percent };
            plain(&news, Duration::from_secs(65), 5, &mut told)
        };
        let step = line(NewsKind::Step, "RUN make", Some((2, 4)), Some(25));
        assert_eq!(step.as_deref(), Some("web     1m 5s   25% 2/4 RUN make"));
        assert_eq!(line(NewsKind::Output, "gcc", Some((2, 4)), None), None);
        assert!(line(NewsKind::Progress, "Downloading", None, Some(1)).is_some());
        assert_eq!(line(NewsKind::Progress, "Downloading", None, Some(20)), None);
        assert!(line(NewsKind::Progress, "Downloading", None, Some(26)).is_some());
        assert_eq!(line(NewsKind::Progress, "Waiting", None, None), None);
    }
}
