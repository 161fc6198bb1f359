//! One reading of one file: the world it may look at, and the problems found so far.

use super::excerpt::Excerpt;
use super::file::SecretSource;
use super::interpolate::{Interpolated, interpolate};
use super::migrate::Fix;
use super::node::{Kind, Node, Place, Value};
use super::problem::Problem;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Nobody reads more, and each costs an excerpt.
const MOST_PROBLEMS: usize = 500;

/// What a reading may look at, and what it has found.
pub(super) struct Reading<'a> {
    /// The environment.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Where relative paths start.
    pub(super) folder: &'a Path,
    /// What problems call the file.
    pub(super) file: &'a str,
    source: &'a str,
    /// No `version`: a file of the former tool.
    legacy: bool,
    /// Secrets may be missing still.
    forgiving: bool,
    problems: Vec<(Spot, String, Option<String>)>,
    warnings: Vec<(Spot, String, Option<String>)>,
    /// What is written in another way today. Only of a file of the former tool.
    notes: Vec<(Spot, String, Option<String>)>,
    /// Keys with another name today: the first place, the old name, the new one, how often.
    renamed: Vec<(Spot, String, &'static str, usize)>,
    /// What `config migrate` changes.
    fixes: Vec<Fix>,
    /// Bytes of the source that are never shown.
    hidden: Vec<Range<usize>>,
    /// Files that secrets were read from.
    secret_files: Vec<SecretSource>,
}

/// What a reading has found.
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) notes: Vec<Problem>,
    pub(super) fixes: Vec<Fix>,
    pub(super) secret_files: Vec<SecretSource>,
}

/// Which key, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) place: Place,
    pub(super) path: String,
}

/// A value and its key.
#[derive(Debug, Clone, Default)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

/// A scalar after its variables are filled in. No `Debug`: it may hold a secret.
pub(super) struct Scalar {
    pub(super) text: String,
    /// As the file has it.
    pub(super) written: String,
    pub(super) kind: Kind,
    pub(super) has_variables: bool,
    /// At least one variable was set.
    pub(super) from_environment: bool,
}

impl Spot {
    /// The key `name` in the section that stands here.
    pub(super) fn key(&self, name: &str, place: Place) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { place, path }
    }

    /// The same, with no better place than the section's.
    pub(super) fn missing(&self, name: &str) -> Self {
        self.key(name, self.place)
    }

    /// An item of the list that stands here.
    pub(super) fn item(&self, index: usize, place: Place) -> Self {
        Self { place, path: format!("{}[{index}]", self.path) }
    }
}

impl Scalar {
    /// How a message names the value: what a variable holds is never told.
    pub(super) fn shown(&self) -> String {
        let written = shortened(&self.written);
        if self.has_variables { format!("the value of `{written}`") } else { format!("`{written}`") }
    }
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        file: &'a str,
        source: &'a str,
        folder: &'a Path,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            env,
            folder,
            file,
            source,
            legacy: false,
            forgiving: false,
            problems: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            renamed: Vec::new(),
            fixes: Vec::new(),
            hidden: Vec::new(),
            secret_files: Vec::new(),
        }
    }

    /// The same, of a file of the former tool.
    pub(super) fn of_the_former_tool(self) -> Self {
        Self { legacy: true, ..self }
    }

    /// The same, before its secrets are there.
    pub(super) fn before_its_secrets(self) -> Self {
        Self { forgiving: true, ..self }
    }

    /// Whether a secret that is missing is no problem.
    pub(super) fn is_forgiving(&self) -> bool {
        self.forgiving
    }

    /// Whether this is a file of the former tool: it was more lenient, and had other names for a few keys.
    pub(super) fn is_legacy(&self) -> bool {
        self.legacy
    }

    /// Notes what is written in another way today; the file works as it is.
    pub(super) fn note(&mut self, spot: &Spot, message: impl Into<String>, hint: impl Into<String>) {
        if self.notes.len() > MOST_PROBLEMS {
            return;
        }
        self.notes.push((spot.clone(), message.into(), some_text(hint.into())));
    }

    /// Notes that a key of the former tool has another name today.
    pub(super) fn old_name(&mut self, key: &Node, spot: &Spot, old: &str, new: &'static str) {
        self.fixes.push(Fix::Replace { place: key.place, text: new.to_owned() });
        match self.renamed.iter_mut().find(|(_, known, today, _)| known == old && *today == new) {
            Some((.., count)) => *count += 1,
            None => self.renamed.push((Spot { place: key.place, ..spot.clone() }, old.to_owned(), new, 1)),
        }
    }

    /// Notes that a value has to be spelled in another way today.
    pub(super) fn old_spelling(&mut self, node: &Node, spot: &Spot, new: &str) {
        self.fixes.push(Fix::Replace { place: node.place, text: new.to_owned() });
        self.note(spot, format!("is written `{new}` today"), "");
    }

    /// `config migrate` turns the entry with this key into a comment.
    pub(super) fn fix_by_silencing(&mut self, section: &Spot, key: &Node) {
        self.fixes.push(Fix::Silence { section: section.place, key: key.place });
    }

    /// `config migrate` adds a line to the section, behind the line of another key's value.
    pub(super) fn fix_by_adding(&mut self, section: &Spot, behind: &Spot, line: &str) {
        self.fixes.push(Fix::Add { section: section.place, behind: behind.place, line: line.to_owned() });
    }

    /// Notes what makes the file unusable.
    pub(super) fn problem(&mut self, spot: &Spot, message: impl Into<String>, hint: impl Into<String>) {
        // One more than are shown, so that it is known that there are more.
        if self.problems.len() > MOST_PROBLEMS {
            return;
        }
        self.problems.push((spot.clone(), message.into(), some_text(hint.into())));
    }

    /// Whether further ones will not be shown.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len().max(self.warnings.len()) > MOST_PROBLEMS
    }

    /// Notes what should be known.
    pub(super) fn warning(&mut self, spot: &Spot, message: impl Into<String>, hint: impl Into<String>) {
        if self.warnings.len() > MOST_PROBLEMS {
            return;
        }
        self.warnings.push((spot.clone(), message.into(), some_text(hint.into())));
    }

    /// Never shows what this node says, nor anything in it.
    pub(super) fn hide(&mut self, node: &Node) {
        match &node.value {
            Value::Null => {}
            Value::Scalar { .. } => {
                let Place { start, end, .. } = node.place;
                // A value whose end is not known is hidden to the end of its line.
                let line_end =
                    self.source.get(start..).and_then(|rest| rest.find('\n')).map_or(usize::MAX, |at| start + at);
                self.hidden.push(start..if end > start { end } else { line_end });
            }
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.hide(key);
                    self.hide(value);
                }
            }
        }
    }

    /// The scalar at this node; `what` is what a problem says was expected.
    pub(super) fn scalar(&mut self, node: &Node, spot: &Spot, what: &str) -> Option<Scalar> {
        match &node.value {
            Value::Scalar { kind: Kind::Text, text } => {
                let Interpolated { text: filled, has_variables, from_environment } = self.interpolated(text, spot)?;
                Some(Scalar { text: filled, written: text.clone(), kind: Kind::Text, has_variables, from_environment })
            }
            Value::Scalar { kind, text } => Some(Scalar {
                text: text.clone(),
                written: text.clone(),
                kind: *kind,
                has_variables: false,
                from_environment: false,
            }),
            Value::Null => {
                self.problem(spot, "has no value", format!("give it {what}, or leave the key out"));
                None
            }
            Value::List(_) | Value::Map(_) => {
                self.wrong_shape(node, spot, what);
                None
            }
        }
    }

    fn interpolated(&mut self, text: &str, spot: &Spot) -> Option<Interpolated> {
        match interpolate(text, self.env) {
            Ok(done) => Some(done),
            Err(faults) => {
                for (message, hint) in faults.iter().map(super::interpolate::Fault::told) {
                    self.problem(spot, message, hint);
                }
                None
            }
        }
    }

    /// A list where a text should be, and the like. What stands there is not shown: it was meant for another key.
    pub(super) fn wrong_shape(&mut self, node: &Node, spot: &Spot, expected: &str) {
        self.hide(node);
        self.problem(spot, format!("expected {expected}, found {}", node.is_a()), "");
    }

    /// A path of the file, taken from the file's folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        // Through its components: `./data` becomes `data`.
        self.folder.join(path).components().collect()
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// All that was found, each in the order of the file and none twice.
    pub(super) fn finish(self) -> Findings {
        let Self { problems, warnings, mut notes, renamed, fixes, file, source, hidden, secret_files, .. } = self;
        for (spot, old, new, count) in renamed {
            let often = if count > 1 { format!(" ({count} times in this file)") } else { String::new() };
            notes.push((spot, format!("`{old}` is called `{new}` today{often}"), None));
        }
        Findings {
            problems: told(problems, file, source, &hidden),
            warnings: told(warnings, file, source, &hidden),
            notes: told(notes, file, source, &hidden),
            fixes,
            secret_files,
        }
    }

    /// Notes a file that a secret came from, with its permission bits.
    pub(super) fn saw_secret_file(&mut self, spot: &Spot, path: &Path, mode: u32) {
        let seen = SecretSource { key_path: spot.path.clone(), path: path.to_owned(), mode: mode & 0o7777 };
        self.secret_files.push(seen);
    }
}

fn told(
    mut drafts: Vec<(Spot, String, Option<String>)>,
    file: &str,
    source: &str,
    hidden: &[Range<usize>],
) -> Vec<Problem> {
    drafts.sort_by_key(|(spot, ..)| (spot.place.line, spot.place.column));
    let mut list: Vec<Problem> = Vec::new();
    for (spot, message, hint) in drafts {
        if list.len() == MOST_PROBLEMS {
            list.push(Problem::of_file(file, "there are more problems than are shown", None));
            break;
        }
        let problem = Problem {
            file: file.to_owned(),
            line: spot.place.line,
            column: spot.place.column,
            key_path: printable(&spot.path),
            message: printable(&message),
            hint: hint.as_deref().map(printable),
            excerpt: Excerpt::new(source, spot.place, hidden),
        };
        // One mistake in `runners_defaults` is met again in each pool.
        if !list.iter().rev().take_while(|other| other.line == problem.line).any(|other| *other == problem) {
            list.push(problem);
        }
    }
    list
}

fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Without control characters, which a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A key as a message names it: no further than it looks like one, since a value may hang on it (`{token:abc}`).
pub(super) fn shown_name(name: &str) -> String {
    let end = name.char_indices().find(|(at, c)| *at >= 60 || !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')));
    match end {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// At most 60 characters.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
