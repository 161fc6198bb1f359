//! Runner groups: GitHub's own wall. Which repositories' jobs it gives to the runners of a group.

use super::RepoName;
use std::collections::{BTreeMap, BTreeSet};

/// A group of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// GitHub's id of it.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whether it is the one where runners go that name none.
    pub is_default: bool,
    /// Which repositories may use it.
    pub visibility: Visibility,
    /// Whether public ones among them may.
    pub allows_public: bool,
}

/// Which repositories may use a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// All of the organization.
    All,
    /// Those that are not public.
    Private,
    /// These (`owner/name` in lower case); none where the list could not be read.
    Selected(Option<BTreeSet<String>>),
}

/// The groups of each account (login in lower case) that could be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(pub BTreeMap<String, Vec<Group>>);

/// Why GitHub never gives a repository's jobs to a group's runners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// The repository is public, and the group is not for those.
    Public,
    /// It is not among the group's repositories.
    NotSelected,
}

impl Group {
    /// Why the repository may not use it; none where it may, or that cannot be told. `private` as an event tells it.
    pub fn hidden_from(&self, repository: &RepoName, private: Option<bool>) -> Option<Hidden> {
        if private == Some(false) && (!self.allows_public || self.visibility == Visibility::Private) {
            return Some(Hidden::Public);
        }
        match &self.visibility {
            Visibility::Selected(Some(names)) if !names.contains(&repository.as_str().to_lowercase()) => {
                Some(Hidden::NotSelected)
            }
            Visibility::Selected(_) | Visibility::All | Visibility::Private => None,
        }
    }
}

impl Groups {
    /// All of an account; none where they are not known.
    pub fn of(&self, account: &str) -> Option<&[Group]> {
        self.0.get(&account.to_lowercase()).map(Vec::as_slice)
    }

    /// The one of that name, or the default one.
    pub fn find<'a>(groups: &'a [Group], name: Option<&str>) -> Option<&'a Group> {
        groups.iter().find(|group| match name {
            Some(name) => group.name.eq_ignore_ascii_case(name),
            None => group.is_default,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_repositories_need_to_be_let_in_twice() {
        let site = RepoName::new("acme/Site");
        let group = |visibility: Visibility, allows_public: bool| Group {
            id: 9,
            name: "builders".to_owned(),
            is_default: false,
            visibility,
            allows_public,
        };
        let selected = |name: &str| Visibility::Selected(Some(BTreeSet::from([name.to_owned()])));
        for (visibility, public, private, want) in [
            (Visibility::All, false, true, None),
            (Visibility::All, false, false, Some(Hidden::Public)),
            (Visibility::All, true, false, None),
            (Visibility::Private, true, false, Some(Hidden::Public)),
            (selected("acme/site"), false, true, None),
            (selected("acme/site"), true, false, None),
            (selected("acme/web"), true, true, Some(Hidden::NotSelected)),
            (Visibility::Selected(None), false, true, None),
        ] {
            let group = group(visibility, public);
            assert_eq!(group.hidden_from(&site, Some(private)), want, "{group:?} private {private}");
        }
    }
}
