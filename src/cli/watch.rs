//! `--watch`: the same page again and again, until Ctrl-C.

use super::times::duration;
use anyhow::Context;
use clap::Args;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Without a `serve` each look asks GitHub: more often would use up what it grants in an hour.
const ALONE: Duration = Duration::from_secs(10);

/// `--watch[=EVERY]`.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Watch {
    /// Show it again and again, until Ctrl-C; every 2 s, or as often as is said. Without a `serve`, every 10 s at most.
    #[arg(short, long, value_name = "EVERY", num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    #[arg(value_parser = often)]
    watch: Option<Duration>,
}

fn often(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        often if often < Duration::from_millis(100) => Err("100ms at least".to_owned()),
        often => Ok(often),
    }
}

/// What is shown.
pub(super) struct Page {
    /// The text, without its last line end.
    pub(super) text: String,
    /// Whether a `serve` told it.
    pub(super) served: bool,
}

impl Watch {
    /// How often; none: once.
    pub(super) fn every(self) -> Option<Duration> {
        self.watch
    }
}

/// Shows a page each `every`. On a terminal it takes the last one's place; elsewhere it is written after it.
///
/// # Errors
/// A page cannot be made or written.
pub(super) async fn watch(
    every: Duration,
    mut page: impl AsyncFnMut() -> anyhow::Result<Page>,
) -> anyhow::Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let redraws = std::io::stdout().is_terminal();
    let mut began = false;
    loop {
        let shown = tokio::select! {
            _ = interrupted.recv() => return Ok(ExitCode::SUCCESS),
            shown = page() => shown?,
        };
        if put(&mut std::io::stdout().lock(), &shown.text, redraws, began)?.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
        began = true;
        let pause = if shown.served { every } else { every.max(ALONE) };
        tokio::select! {
            _ = interrupted.recv() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Writes a page; none: nobody reads any more.
fn put(to: &mut dyn Write, text: &str, redraws: bool, began: bool) -> anyhow::Result<Option<()>> {
    let written = if redraws {
        // Home; each line with the rest of the old one taken away; then what is left below.
        let start = if began { "\x1b[H" } else { "\x1b[H\x1b[2J" };
        let lines: String = text.lines().flat_map(|line| [line, "\x1b[K\n"]).collect();
        write!(to, "{start}{lines}\x1b[J")
    } else {
        writeln!(to, "{text}")
    };
    match written.and_then(|()| to.flush()) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(error).context("writing to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_drawn_again_and_a_file_grows() {
        let mut file = Vec::new();
        put(&mut file, "a\nb", false, false).unwrap().unwrap();
        put(&mut file, "c", false, true).unwrap().unwrap();
        assert_eq!(String::from_utf8(file).unwrap(), "a\nb\nc\n");
        let mut terminal = Vec::new();
        put(&mut terminal, "a\nb", true, false).unwrap().unwrap();
        put(&mut terminal, "c", true, true).unwrap().unwrap();
        let drawn = String::from_utf8(terminal).unwrap();
        assert_eq!(drawn, "\x1b[H\x1b[2Ja\x1b[K\nb\x1b[K\n\x1b[J\x1b[Hc\x1b[K\n\x1b[J");
    }
}
