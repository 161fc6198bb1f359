//! The end of every verb that changes something: a line for each thing, how many of which outcome, and the exit code.

use super::output::{Column, Output, Printing, render};
use super::{complain, say};
use crate::persistent::OutcomeKind;
use jiff::Timestamp;
use serde::Serialize;
use std::process::ExitCode;

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// Its name.
    pub(super) name: String,
    /// One or two words: `started`, `unchanged`, `failed`.
    pub(super) outcome: String,
    /// The rest of the story.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// How it counts.
    pub(super) result: OutcomeKind,
}

impl Line {
    /// A line without more to tell.
    pub(super) fn new(name: impl Into<String>, result: OutcomeKind, outcome: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: outcome.into(), why: None, result }
    }

    /// With the rest of the story.
    pub(super) fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }
}

/// 0 when all is done, 1 when something failed or is left for later.
pub(super) fn code(lines: &[Line]) -> ExitCode {
    let is_done = |line: &Line| matches!(line.result, OutcomeKind::Changed | OutcomeKind::Unchanged);
    ExitCode::from(u8::from(!lines.iter().all(is_done)))
}

/// `3 started, 1 failed`: each outcome with its number, what went well first.
pub(super) fn closing(lines: &[Line]) -> String {
    const ORDER: [OutcomeKind; 4] =
        [OutcomeKind::Changed, OutcomeKind::Unchanged, OutcomeKind::Deferred, OutcomeKind::Failed];
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for kind in ORDER {
        for line in lines.iter().filter(|line| line.result == kind) {
            match counts.iter_mut().find(|(outcome, _)| *outcome == line.outcome) {
                Some((_, count)) => *count += 1,
                None => counts.push((&line.outcome, 1)),
            }
        }
    }
    counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
}

/// Prints the lines as asked for, in the order of their names. `heading` names the things: `NAME`, `POOL`.
///
/// # Errors
/// Standard output is closed or full.
pub(super) fn print(
    printing: &Printing,
    now: Timestamp,
    heading: &'static str,
    mut lines: Vec<Line>,
) -> anyhow::Result<ExitCode> {
    lines.sort_by(|a, b| natural(&a.name, &b.name));
    let code = code(&lines);
    if printing.quiet {
        for line in &lines {
            if matches!(line.result, OutcomeKind::Deferred | OutcomeKind::Failed) {
                complain(&format!("error: {}: {}", line.name, line.why.as_ref().unwrap_or(&line.outcome)));
            }
        }
        return Ok(code);
    }
    let columns = [
        Column { heading, narrow: true, text: |line: &Line, _| line.name.clone() },
        Column { heading: "OUTCOME", narrow: true, text: |line, _| line.outcome.clone() },
        Column { heading: "WHY", narrow: true, text: |line, _| line.why.clone().unwrap_or_default() },
    ];
    let closing = match printing.output {
        Output::Table | Output::Wide => format!("\n\n{}", closing(&lines)),
        Output::Json | Output::Yaml => String::new(),
    };
    say(&format!("{}{closing}", render(printing.output, now, &lines, &columns)?))?;
    Ok(code)
}

/// `web-2` before `web-10`.
pub(super) fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let split = |name: &str| match name.rsplit_once('-') {
        Some((head, number)) => match number.parse::<u32>() {
            Ok(number) => (head.to_owned(), number),
            Err(_) => (name.to_owned(), 0),
        },
        None => (name.to_owned(), 0),
    };
    split(a).cmp(&split(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_well_is_counted_first_and_a_failure_is_exit_code_1() {
        let mut lines = vec![
            Line::new("web-3", OutcomeKind::Unchanged, "unchanged"),
            Line::new("web-1", OutcomeKind::Changed, "started"),
            Line::new("web-2", OutcomeKind::Changed, "started"),
        ];
        assert_eq!(closing(&lines), "2 started, 1 unchanged");
        assert_eq!(code(&lines), ExitCode::SUCCESS);
        lines.insert(0, Line::new("web-4", OutcomeKind::Failed, "failed").because("its image is not there"));
        assert_eq!(closing(&lines), "2 started, 1 unchanged, 1 failed");
        assert_eq!(code(&lines), ExitCode::from(1));
        assert_eq!(code(&[Line::new("web-4", OutcomeKind::Deferred, "deferred")]), ExitCode::from(1));
        assert_eq!((closing(&[]).as_str(), code(&[])), ("", ExitCode::SUCCESS));
    }

    #[test]
    fn numbers_sort_as_numbers() {
        let mut names = ["web-10", "web-2", "api-3", "web-x", "web-1", "web"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["api-3", "web", "web-1", "web-2", "web-10", "web-x"]);
    }
}
