//! The line of the file that is shown below a problem, without what may be secret in it.

use super::node::Place;
use std::ops::Range;

/// Longest text shown; more of it is cut around the mark.
const WIDTH: usize = 120;
/// Stands for what is left out.
const LEFT_OUT: char = '…';

/// A line and the part that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) text: String,
    /// Characters before the mark.
    before: usize,
    /// Characters that are marked.
    marked: usize,
}

impl Excerpt {
    /// The line around `place`, with the bytes in `hidden` left out. `None` where there is nothing to show.
    pub(super) fn new(source: &str, place: Place, hidden: &[Range<usize>]) -> Option<Self> {
        if place.line == 0 {
            return None;
        }
        let line = window(source, line_around(source, place.start)?, place.start);
        let text = source.get(line.clone())?;
        let mut is_hidden = vec![false; text.len()];
        for range in hidden.iter().filter(|range| range.start < line.end && range.end > line.start) {
            let part = range.start.max(line.start) - line.start..range.end.min(line.end) - line.start;
            is_hidden[part].fill(true);
        }
        let end = line.start + code_length(text, place.end.saturating_sub(line.start));
        let mut shown = String::new();
        let (mut before, mut marked) = (0, 0);
        let mut hiding = false;
        for (offset, character) in text.char_indices() {
            let at = line.start + offset;
            if at >= end {
                break;
            }
            let is_hidden = is_hidden[offset];
            if is_hidden && hiding {
                continue;
            }
            hiding = is_hidden;
            shown.push(if is_hidden { LEFT_OUT } else { printable(character) });
            if at < place.start {
                before += 1;
            } else if at < place.end {
                marked += 1;
            }
        }
        let shown = shown.trim_end().to_owned();
        if shown.trim().is_empty() {
            return None;
        }
        Some(Self { text: shown, before, marked: marked.max(1) }.cropped())
    }

    /// The line of a text that is no YAML: what is a secret in it is not known, so it is shown only where nothing
    /// around it speaks of one.
    pub(super) fn of_broken_yaml(source: &str, place: Place) -> Option<Self> {
        let line = line_around(source, place.start)?;
        let text = source.get(line.clone())?;
        let named = nearest_key(source.get(..line.end)?);
        (!speaks_of_secrets(text) && !speaks_of_secrets(named) && !looks_like_key_material(text))
            .then(|| Self::new(source, place, &[]))
            .flatten()
    }

    /// The marks that stand below the text.
    pub(super) fn marks(&self) -> String {
        " ".repeat(self.before) + &"^".repeat(self.marked)
    }

    /// No more than [`WIDTH`] characters, with the mark inside.
    fn cropped(self) -> Self {
        let length = self.text.chars().count();
        let before = self.before.min(length);
        if length <= WIDTH {
            let marked = self.marked.min((length + 1).saturating_sub(before)).max(1);
            return Self { before, marked, ..self };
        }
        let first = before.saturating_sub(WIDTH / 3).min(length - WIDTH);
        let mut text: String = self.text.chars().skip(first).take(WIDTH).collect();
        if first > 0 {
            text = std::iter::once(LEFT_OUT).chain(text.chars().skip(1)).collect();
        }
        if first + WIDTH < length {
            text.push(LEFT_OUT);
        }
        let before = before - first;
        Self { text, before, marked: self.marked.min(WIDTH - before.min(WIDTH - 1)) }
    }
}

/// The bytes of the line in which `at` stands, without its end.
fn line_around(source: &str, at: usize) -> Option<Range<usize>> {
    let at = at.min(source.len());
    let start = source.get(..at)?.rfind(['\n', '\r']).map_or(0, |found| found + 1);
    let end = source.get(at..)?.find(['\n', '\r']).map_or(source.len(), |found| at + found);
    Some(start..end)
}

/// The part of a line around `at` that can be shown at all, so that a file in one line costs no more than others.
fn window(source: &str, line: Range<usize>, at: usize) -> Range<usize> {
    let near = |wanted: usize| (wanted..line.end).find(|at| source.is_char_boundary(*at)).unwrap_or(line.end);
    let at = at.clamp(line.start, line.end);
    let start = if at - line.start > 4 * WIDTH { near(at - 4 * WIDTH) } else { line.start };
    start..near(at.saturating_add(4 * WIDTH).min(line.end))
}

/// The length of a line without its comment (people note old passwords there). `meant` is where the part that is meant
/// ends; a `#` before it belongs to a value.
fn code_length(line: &str, meant: usize) -> usize {
    let from = if line.is_char_boundary(meant) { meant } else { 0 };
    let tail = line.get(from..).unwrap_or_default();
    tail.find(" #").or_else(|| tail.find("\t#")).map_or(line.len(), |found| from + found)
}

/// Tabs and control characters as one blank: they would move the mark, or the terminal's cursor.
fn printable(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

/// The last line with a `key:` in it.
fn nearest_key(source: &str) -> &str {
    source.lines().rev().find(|line| line.contains(": ") || line.trim_end().ends_with(':')).unwrap_or_default()
}

fn speaks_of_secrets(line: &str) -> bool {
    let line = line.to_lowercase();
    [
        "secret",
        "token",
        "tok",
        "key",
        "pass",
        "pwd",
        "auth",
        "redis",
        "sentinel",
        "://",
        "ghp_",
        "github_pat",
        "-----",
        "|",
        ">",
    ]
    .iter()
    .any(|word| line.contains(word))
}

/// A long run of letters and digits, as in base64 or hexadecimal.
fn looks_like_key_material(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/' | '=' | '_')).any(|run| run.len() >= 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source: &str, part: &str) -> Place {
        let start = source.find(part).unwrap();
        Place { line: 1, column: 1, start, end: start + part.len() }
    }

    fn drawn(source: &str, part: &str, secret: &str) -> String {
        let hidden = source.find(secret).filter(|_| !secret.is_empty()).map(|start| start..start + secret.len());
        let excerpt = Excerpt::new(source, place(source, part), hidden.as_slice()).unwrap();
        format!("{}\n{}", excerpt.text, excerpt.marks())
    }

    #[test]
    fn the_part_that_is_meant_is_marked() {
        assert_eq!(drawn("a: 1\nbc: dé # old\nx: y\n", "dé", ""), "bc: dé\n    ^^");
        assert_eq!(drawn("a:\t\u{1b}[31mx", "x", ""), "a:  [31mx\n        ^");
    }

    #[test]
    fn what_is_hidden_is_one_dot_and_the_mark_still_fits() {
        let source = "{k: hunter2, z: 1}";
        assert_eq!(drawn(source, "z", "hunter2"), "{k: …, z: 1}\n       ^");
        assert_eq!(drawn(source, "hunter2", "hunter2"), "{k: …, z: 1}\n    ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let source = format!("{}key{}", "a".repeat(500), "b".repeat(500));
        let drawn = drawn(&source, "key", "");
        let (text, marks) = drawn.split_once('\n').unwrap();
        assert!(text.chars().count() <= WIDTH + 1, "{text}");
        let before = marks.chars().take_while(|c| *c == ' ').count();
        assert_eq!(text.chars().skip(before).take(3).collect::<String>(), "key");
    }

    #[test]
    fn a_broken_line_near_a_secret_is_not_shown() {
        for source in [
            "secrets: [hunter2",
            "github:\n  private_key: |\n  MIIEpAIB",
            "intake:\n  secrets:\n    - hunter2 \"",
            "x: 'ghp_abc",
            "MIIEpAIBAAKCAQEA1c7aaaaaaaaaaaaaaaa",
        ] {
            let start = source.len();
            let place = Place { line: 1, column: 1, start, end: start };
            assert_eq!(Excerpt::of_broken_yaml(source, place), None, "{source}");
        }
        let source = "runners: [";
        assert!(Excerpt::of_broken_yaml(source, Place { line: 1, column: 10, start: 9, end: 10 }).is_some());
    }
}
