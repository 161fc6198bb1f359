//! Where runners register.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An organization, a repository or an enterprise (design: "scope").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Scope {
    /// All repositories of an organization that its runner group lets in.
    Organization(String),
    /// One repository.
    Repository {
        /// Its owner's login.
        owner: String,
        /// Its name.
        name: String,
    },
}

/// A text that names no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is neither an organization (`acme`) nor a repository (`acme/web`)")]
pub struct ScopeError(pub String);

impl Scope {
    /// The account that owns it: whose installation of the App acts here. Folded to lower case by nobody: GitHub
    /// keeps the case and compares without it.
    pub fn account(&self) -> &str {
        match self {
            Self::Organization(login) => login,
            Self::Repository { owner, .. } => owner,
        }
    }

    /// The first part of GitHub's REST paths for it: `orgs/acme` or `repos/acme/web`.
    pub fn api_path(&self) -> String {
        match self {
            Self::Organization(login) => format!("orgs/{login}"),
            Self::Repository { owner, name } => format!("repos/{owner}/{name}"),
        }
    }

    /// Whether jobs of this repository can be given to runners of this scope.
    pub fn serves(&self, repository: &str) -> bool {
        match self {
            Self::Organization(login) => {
                repository.split('/').next().is_some_and(|owner| owner.eq_ignore_ascii_case(login))
            }
            Self::Repository { .. } => repository.eq_ignore_ascii_case(&self.to_string()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(login) => f.write_str(login),
            Self::Repository { owner, name } => write!(f, "{owner}/{name}"),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    /// GitHub logins and repository names: letters, digits, `-`, `_` and `.`.
    fn try_from(text: String) -> Result<Self, ScopeError> {
        let good = |part: &str| {
            !part.is_empty()
                && !matches!(part, "." | "..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(login), None, None) if good(login) => Ok(Self::Organization(login.to_owned())),
            (Some(owner), Some(name), None) if good(owner) && good(name) => {
                Ok(Self::Repository { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(ScopeError(text)),
        }
    }
}
