//! What a check says.

use super::catalogue::{Area, Check};
use serde::Serialize;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// In order.
    Ok,
    /// What it depends on is broken, or there is nothing to look at.
    NotLooked,
    /// It was looked at, and cannot be told.
    Unknown,
    /// It works, and should not stay as it is.
    Warning,
    /// Something does not work, or is open to those whom it should not be open to.
    Broken,
}

/// What stands between a check's title and the reason why it was not made.
pub const NOT_LOOKED: &str = ": not looked at, because ";

/// One line of the doctor. Programs read it; fields are added, never taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check: `github.clock`. It never changes its meaning.
    pub id: &'static str,
    /// The part of the whole.
    pub area: Area,
    /// Of what, where a check looks at several: an account, a pool, a file.
    pub about: Option<String>,
    /// How it is.
    pub verdict: Verdict,
    /// A sentence.
    pub says: String,
    /// What to do; none where there is nothing to do.
    pub remedy: Option<String>,
}

/// What was seen of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T, E = String> {
    /// This.
    Known(T),
    /// It could not be seen; why.
    Failed(E),
    /// Nobody looked, because…
    NotLooked(String),
}

impl Verdict {
    /// The sign before a line.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Ok => "✓",
            Self::NotLooked => "–",
            Self::Unknown => "?",
            Self::Warning => "!",
            Self::Broken => "✗",
        }
    }
}

impl Finding {
    /// The same, of this.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self { about: Some(about.into()), ..self }
    }
}

impl Check {
    fn says(&self, verdict: Verdict, says: impl Into<String>, remedy: Option<String>) -> Finding {
        Finding { id: self.id, area: self.area, about: None, verdict, says: says.into(), remedy }
    }

    /// In order.
    pub fn ok(&self, says: impl Into<String>) -> Finding {
        self.says(Verdict::Ok, says, None)
    }

    /// Works, and should not stay so.
    pub fn warning(&self, says: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.says(Verdict::Warning, says, Some(remedy.into()))
    }

    /// Does not work.
    pub fn broken(&self, says: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.says(Verdict::Broken, says, Some(remedy.into()))
    }

    /// Cannot be told.
    pub fn unknown(&self, says: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.says(Verdict::Unknown, says, Some(remedy.into()))
    }

    /// Nobody looked.
    pub fn not_looked(&self, because: &str) -> Finding {
        self.says(Verdict::NotLooked, format!("{}{NOT_LOOKED}{because}", self.title), None)
    }
}

impl<T, E> Seen<T, E> {
    /// The thing, where it was seen.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(seen) => Some(seen),
            Self::Failed(_) | Self::NotLooked(_) => None,
        }
    }
}

impl<T, E> From<Result<T, E>> for Seen<T, E> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(seen) => Self::Known(seen),
            Err(why) => Self::Failed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;

    #[test]
    fn the_shape_for_programs() {
        let finding = catalogue::CLOCK.broken("it is late", "set the clock").about("acme");
        assert_eq!(
            serde_json::to_value(&finding).unwrap(),
            serde_json::json!({
                "id": "github.clock", "area": "github", "about": "acme", "verdict": "broken",
                "says": "it is late", "remedy": "set the clock",
            })
        );
        let quiet = serde_json::to_value(catalogue::CLOCK.not_looked("GitHub is away")).unwrap();
        assert_eq!(quiet["verdict"], "not_looked");
        assert_eq!((&quiet["about"], &quiet["remedy"]), (&serde_json::Value::Null, &serde_json::Value::Null));
        assert_eq!(quiet["says"], "the clock: not looked at, because GitHub is away");
    }

    #[test]
    fn the_worst_is_the_greatest() {
        let all = [Verdict::Ok, Verdict::NotLooked, Verdict::Unknown, Verdict::Warning, Verdict::Broken];
        assert!(all.is_sorted());
        let signs: std::collections::BTreeSet<_> = all.iter().map(|verdict| verdict.sign()).collect();
        assert_eq!(signs.len(), all.len());
    }
}
