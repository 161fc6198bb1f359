//! What could be looked at, and what could not.

/// A part of the world. "I could not look" is not "there is nothing": nothing destructive follows from `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed<T> {
    /// Looked at.
    Known(T),
    /// Not looked at, with the reason in a person's words.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The thing, if it could be looked at.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// Why it could not be looked at.
    pub fn why_unknown(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }
}
