//! What is wrong with a file, where, and what would be right.

use super::excerpt::Excerpt;
use serde::Serialize;
use std::fmt;

/// One thing that is wrong, or (as a warning) that should be known. Never holds a secret, neither in the words nor in
/// the line of the file that is shown with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as it was named to the program.
    pub file: String,
    /// Its line, from 1; 0 where the problem is with the whole file.
    pub line: usize,
    /// The column, from 1, in characters; 0 where the problem is with the whole file.
    pub column: usize,
    /// Which key: `runners[1].labels[0]`. Empty where the problem is with the whole file.
    pub key_path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// The line itself, with what may be secret left out.
    #[serde(skip)]
    pub(super) excerpt: Option<Excerpt>,
}

/// All problems of one file; at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problem {
    /// A problem with the file as a whole.
    pub(super) fn of_file(file: &str, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key_path: String::new(),
            message: message.into(),
            hint: hint.map(str::to_owned),
            excerpt: None,
        }
    }
}

impl Problems {
    /// The one problem that makes all others unknowable.
    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// `None` where there is no problem.
    pub(super) fn from_list(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// How many; never 0.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// In the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problem {
    /// `file:line:column: key: message; hint`, then the line with a mark below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.key_path.is_empty() {
            write!(f, "{}: ", self.key_path)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        if let Some(excerpt) = &self.excerpt {
            let number = self.line.to_string();
            write!(f, "\n  {number} | {}\n  {:width$} | {}", excerpt.text, "", excerpt.marks(), width = number.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    /// Each problem, then how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let file = self.0.first().map_or("", |problem| problem.file.as_str());
        match self.0.len() {
            1 => write!(f, "1 problem in {file}"),
            count => write!(f, "{count} problems in {file}"),
        }
    }
}

impl std::error::Error for Problems {}
