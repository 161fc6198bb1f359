//! A file of the former tool in today's form.
//!
//! The text is edited where it has to be and nowhere else: comments, order and spelling stay. What comes out is read
//! again before it is given to anybody, and has to mean the same.

use super::edit::{EditError, rewrite};
use super::file::{folder_of, hostname, parse, read, read_tree, tree};
use super::legacy;
use super::node::{Node, Place};
use super::problem::{Problem, Problems};
use std::path::{Path, PathBuf};

/// One change of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// Other words in this place.
    Replace {
        /// Where the old ones stand.
        place: Place,
        /// The new ones.
        text: String,
    },
    /// A key that means nothing, as a comment.
    Silence {
        /// The section.
        section: Place,
        /// The key.
        key: Place,
    },
    /// A key more.
    Add {
        /// The section.
        section: Place,
        /// A value in it; the new key comes behind its line.
        behind: Place,
        /// `key: value`.
        line: String,
    },
}

/// Bytes, and what stands there from now on.
struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// Why a file was not brought into today's form.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It is wrong as it is, or something in it has to be changed by hand.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// It could not be written.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// What the file would be, and whether that is another text.
///
/// # Errors
/// The file cannot be read, or see [`migrate`].
pub fn preview(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<(String, bool), Problems> {
    let name = path.display().to_string();
    let text = read(path).map_err(|(message, hint)| Problems::one(Problem::of_file(&name, message, hint)))?;
    match migrate(&text, &name, &folder_of(path), env, &hostname())? {
        Some(new) => Ok((new, true)),
        None => Ok((text, false)),
    }
}

/// Writes the file in today's form and gives back where the old text is kept; none where it has that form already.
///
/// # Errors
/// See [`migrate`]; or the file cannot be written. It is as it was then.
pub fn write(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<PathBuf>, MigrateError> {
    let name = path.display().to_string();
    // In the words that every other verb has for a file that cannot be read.
    read(path).map_err(|(message, hint)| Problems::one(Problem::of_file(&name, message, hint)))?;
    rewrite(path, |text| Ok(migrate(text, &name, &folder_of(path), env, &hostname())?))
}

/// The same configuration in today's form; none where it has that form. The other arguments are those of
/// [`parse`].
///
/// # Errors
/// The file is wrong as it is, or something in it has to be changed by hand.
pub fn migrate(
    text: &str,
    name: &str,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    hostname: &str,
) -> Result<Option<String>, Problems> {
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let root = tree(body, name)?;
    if !legacy::is_one(&root) {
        return Ok(None);
    }
    // Who reads the file later has the token; it changes nothing here.
    let env = &|name: &str| env(name).or_else(|| (name == "GITHUB_TOKEN").then(|| "not-needed-here".to_owned()));
    let (config, found) = read_tree(&root, body, name, folder, env, hostname);
    let before = match (Problems::from_list(found.problems), config) {
        (Some(problems), _) => return Err(problems),
        (None, Some(config)) => format!("{config:?}"),
        (None, None) => return Err(Problems::one(Problem::of_file(name, "cannot be read", None))),
    };
    let mut edits = vec![version(body, &root)];
    let mut by_hand = Vec::new();
    for fix in &found.fixes {
        match edits_of(fix, body) {
            Some(more) => edits.extend(more),
            None => by_hand.push(stays(name, fix)),
        }
    }
    if let Some(problems) = Problems::from_list(by_hand) {
        return Err(problems);
    }
    let new = format!("{mark}{}", applied(body, edits));
    match parse(&new, name, folder, env, hostname) {
        Ok(loaded) if loaded.notes.is_empty() && format!("{:?}", loaded.config) == before => Ok(Some(new)),
        Ok(_) => {
            let message = "cannot be brought into today's form by itself: it would mean something else";
            let hint = "write `version: 1` at its top, and follow `runnerfleet config check`";
            Err(Problems::one(Problem::of_file(name, message, Some(hint))))
        }
        Err(problems) => Err(problems),
    }
}

/// `version: 1` in front of the first key.
fn version(text: &str, root: &Node) -> Edit {
    let start = root.place.start;
    if text[start..].starts_with('{') {
        return Edit { start: start + 1, end: start + 1, text: "version: 1, ".to_owned() };
    }
    let newline = newline_of(text);
    let indentation = &text[line_start(text, start)..start];
    Edit { start, end: start, text: format!("version: 1{newline}{newline}{indentation}") }
}

/// What the fix changes; none where a person has to.
fn edits_of(fix: &Fix, text: &str) -> Option<Vec<Edit>> {
    let insert = |at: usize, text: String| Edit { start: at, end: at, text };
    match fix {
        Fix::Replace { place, .. } if place.end <= place.start || place.end > text.len() => None,
        Fix::Replace { place, text } => Some(vec![Edit { start: place.start, end: place.end, text: text.clone() }]),
        Fix::Silence { section, key } => {
            if is_in_braces(text, *section) {
                return None;
            }
            let column = key.start - line_start(text, key.start);
            let mut edits = vec![insert(key.start, "# ".to_owned())];
            edits.extend(lines_below(text, key.start, column).map(|line| insert(line + column, "# ".to_owned())));
            Some(edits)
        }
        Fix::Add { section, behind, line } => {
            if is_in_braces(text, *section) {
                return (behind.end > behind.start).then(|| vec![insert(behind.end, format!(", {line}"))]);
            }
            let column = section.start - line_start(text, section.start);
            let end = line_end(text, behind.start);
            Some(vec![insert(end, format!("{}{:column$}{line}", newline_of(text), ""))])
        }
    }
}

/// Where each line of the entry begins that follows the line of its key.
fn lines_below(text: &str, key: usize, column: usize) -> impl Iterator<Item = usize> {
    let mut inside = Vec::new();
    let mut sure = 0;
    let mut at = line_end(text, key) + 1;
    while at < text.len() {
        let end = line_end(text, at);
        let line = text[at..end].trim_end_matches('\r');
        let words = line.trim_start_matches(' ');
        let depth = line.len() - words.len();
        // The items of a list may stand as far left as its key.
        let belongs = depth > column || (depth == column && (words.starts_with("- ") || words == "-"));
        if !words.is_empty() {
            if !belongs {
                break;
            }
            inside.push(at);
            // Comments behind the last line may be about what follows.
            if !words.starts_with('#') {
                sure = inside.len();
            }
        }
        at = end + 1;
    }
    inside.truncate(sure);
    inside.into_iter()
}

fn is_in_braces(text: &str, section: Place) -> bool {
    text[section.start.min(text.len())..].starts_with('{')
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line's end is, its newline left out.
fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    if text[..end].ends_with('\r') && end > at { end - 1 } else { end }
}

fn newline_of(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// The problem with a fix that only a person can make.
fn stays(name: &str, fix: &Fix) -> Problem {
    let (place, message) = match fix {
        Fix::Replace { place, text } => (place, format!("has to be changed by hand, to `{text}`")),
        Fix::Silence { key, .. } => (key, "an unknown key within `{ }` has to be taken out by hand".to_owned()),
        Fix::Add { section, line, .. } => (section, format!("`{line}` has to be added by hand")),
    };
    let mut problem = Problem::of_file(name, message, None);
    problem.line = place.line;
    problem.column = place.column;
    problem
}

fn applied(text: &str, mut edits: Vec<Edit>) -> String {
    // Stable: what is put in front of the first key stays in front of it.
    edits.sort_by_key(|edit| (edit.start, edit.end));
    let mut new = String::with_capacity(text.len() + 64);
    let mut at = 0;
    let mut last: Option<&Edit> = None;
    for edit in &edits {
        // A value that an alias repeats is met more than once.
        let again = last.is_some_and(|last| last.start == edit.start && last.end == edit.end && last.text == edit.text);
        if again || edit.start < at {
            continue;
        }
        new.push_str(&text[at..edit.start]);
        new.push_str(&edit.text);
        at = edit.end;
        last = Some(edit);
    }
    new.push_str(&text[at..]);
    new
}
