//! What the App may do at an account: installed, suspended, or not there.

use super::{RepoName, Scope};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the App may do at one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It is installed: on all repositories, or on these (`owner/name` in lower case).
    Installed {
        /// Which, if not all.
        repositories: Option<BTreeSet<String>>,
    },
    /// Its owner suspended it: GitHub refuses every call, and tells of no job.
    Suspended,
    /// It is not installed there, or not any more; since the first look that showed it.
    NotInstalled {
        /// Since then.
        since: Timestamp,
    },
}

/// Why nothing can be done at an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// The App is suspended there.
    Suspended,
    /// It is not installed there.
    NotInstalled,
}

/// Accounts by their login in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts(pub BTreeMap<String, Access>);

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Suspended => "the App is suspended on",
            Self::NotInstalled => "the App is not installed on",
        })
    }
}

impl Accounts {
    /// What is known of an account.
    pub fn of(&self, account: &str) -> Option<&Access> {
        self.0.get(&account.to_lowercase())
    }

    /// Why nothing can be done at the account; none where something can, or nothing is known.
    pub fn bar(&self, account: &str) -> Option<Bar> {
        match self.of(account)? {
            Access::Installed { .. } => None,
            Access::Suspended => Some(Bar::Suspended),
            Access::NotInstalled { .. } => Some(Bar::NotInstalled),
        }
    }

    /// The same for the account of a scope.
    pub fn bar_of(&self, scope: &Scope) -> Option<Bar> {
        self.bar(scope.account())
    }

    /// Whether the App was given the repository; yes where nothing is known.
    pub fn gives(&self, repository: &RepoName) -> bool {
        match self.of(repository.owner()) {
            Some(Access::Installed { repositories: Some(given) }) => {
                given.contains(&repository.as_str().to_lowercase())
            }
            Some(_) | None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_bars_nothing() {
        let nothing = Accounts::default();
        assert_eq!(nothing.bar("acme"), None);
        assert!(nothing.gives(&RepoName::new("acme/web")));
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        let given = Access::Installed { repositories: Some(BTreeSet::from(["acme/web".to_owned()])) };
        let accounts = Accounts(BTreeMap::from([("acme".to_owned(), given), ("octo".to_owned(), Access::Suspended)]));
        assert!(accounts.gives(&RepoName::new("Acme/Web")));
        assert!(!accounts.gives(&RepoName::new("acme/api")));
        assert_eq!(accounts.bar("OCTO"), Some(Bar::Suspended));
        assert_eq!(accounts.bar_of(&Scope::Organization("Acme".to_owned())), None);
    }
}
