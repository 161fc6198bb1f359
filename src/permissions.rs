//! What the App must be allowed to, and what fails without it. Pure: the setup asks for it, `doctor` holds what was granted
//! against it, and docs/permissions.md shows it.
//!
//! GitHub docs, "Self-hosted runners reference" (authentication requirements) and "Webhook events and payloads"
//! (`workflow_job`).

use crate::model::Scope;
use std::collections::BTreeMap;

/// The events that the App's hook must get. `installation` and `installation_repositories` come to every App unasked.
pub const EVENTS: &[&str] = &["workflow_job"];

/// Where runners register: it decides what must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// At an organization.
    Organization,
    /// At single repositories, as personal accounts do. GitHub has no permission for runners of a repository alone, so this
    /// asks for its whole administration.
    Repository,
}

/// One permission, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// GitHub's name of it.
    pub permission: &'static str,
    /// `read` or `write`.
    pub level: &'static str,
    /// As GitHub's settings page calls it.
    pub title: &'static str,
    /// For which pools; none: for all.
    pub only: Option<Level>,
    /// What uses it.
    pub features: &'static [&'static str],
    /// What fails without it.
    pub breaks: &'static str,
}

/// A permission that was not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is needed.
    pub needed: Needed,
    /// What was granted of it.
    pub has: Option<String>,
}

/// All permissions that any feature needs.
pub const TABLE: &[Needed] = &[
    Needed {
        permission: "actions",
        level: "read",
        title: "Repository permissions: Actions",
        only: None,
        features: &[
            "`workflow_job` events",
            "what became of a job whose events were lost",
            "what made a run begin, and whose code it runs",
        ],
        breaks: "no job is heard of",
    },
    Needed {
        permission: "metadata",
        level: "read",
        title: "Repository permissions: Metadata",
        only: None,
        features: &["which repositories the App was given", "what is left of the rate limit"],
        breaks: "GitHub gives no App less",
    },
    Needed {
        permission: "organization_self_hosted_runners",
        level: "write",
        title: "Organization permissions: Self-hosted runners",
        only: Some(Level::Organization),
        features: &["registering, listing and removing runners of an organization", "runner groups"],
        breaks: "no runner of the organization can be registered or removed",
    },
    Needed {
        permission: "administration",
        level: "write",
        title: "Repository permissions: Administration",
        only: Some(Level::Repository),
        features: &["registering, listing and removing runners of a repository"],
        breaks: "no runner of a repository can be registered or removed",
    },
];

impl Level {
    /// Of a scope.
    pub fn of(scope: &Scope) -> Self {
        match scope {
            Scope::Organization(_) => Self::Organization,
            Scope::Repository { .. } => Self::Repository,
        }
    }
}

/// What runners of these scopes need.
pub fn needed<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> Vec<Needed> {
    let levels: Vec<Level> = scopes.into_iter().map(Level::of).collect();
    TABLE.iter().filter(|needed| needed.only.is_none_or(|only| levels.contains(&only))).copied().collect()
}

/// For the manifest of an App whose runners register there.
pub fn default_permissions(level: Level) -> BTreeMap<&'static str, &'static str> {
    let wanted = TABLE.iter().filter(|needed| needed.only.is_none_or(|only| only == level));
    wanted.map(|needed| (needed.permission, needed.level)).collect()
}

/// What of it was not granted.
pub fn missing(needed: &[Needed], granted: &BTreeMap<String, String>) -> Vec<Missing> {
    let lacks = |needed: &&Needed| granted.get(needed.permission).map_or(0, |has| rank(has)) < rank(needed.level);
    let missing = |needed: &Needed| Missing { needed: *needed, has: granted.get(needed.permission).cloned() };
    needed.iter().filter(lacks).map(missing).collect()
}

/// The needed events that the App did not subscribe to.
pub fn missing_events(events: &[String]) -> Vec<&'static str> {
    EVENTS.iter().filter(|needed| events.iter().all(|event| event != **needed)).copied().collect()
}

/// `admin` > `write` > `read`; a word that nobody knows grants nothing.
fn rank(level: &str) -> u8 {
    match level {
        "admin" => 3,
        "write" => 2,
        "read" => 1,
        _ => 0,
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Needed { permission, level, title, breaks, .. } = self.needed;
        write!(f, "`{permission}: {level}` ({title}) is not granted")?;
        if let Some(has) = &self.has {
            write!(f, ", only `{has}`")?;
        }
        write!(f, "; without it {breaks}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> Scope {
        Scope::Organization("acme".to_owned())
    }

    fn web() -> Scope {
        Scope::Repository { owner: "acme".to_owned(), name: "web".to_owned() }
    }

    fn granted(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
    }

    #[test]
    fn repositories_ask_for_more_than_organizations() {
        let names = |scopes: &[Scope]| needed(scopes).iter().map(|needed| needed.permission).collect::<Vec<_>>();
        assert_eq!(names(&[acme()]), ["actions", "metadata", "organization_self_hosted_runners"]);
        assert_eq!(names(&[web()]), ["actions", "metadata", "administration"]);
        assert_eq!(names(&[acme(), web()]).len(), 4);
        assert_eq!(default_permissions(Level::Repository)["administration"], "write");
        assert!(!default_permissions(Level::Organization).contains_key("administration"));
    }

    #[test]
    fn what_is_missing_says_what_fails_without_it() {
        let has = granted(&[("metadata", "read"), ("organization_self_hosted_runners", "read"), ("actions", "write")]);
        let missing = missing(&needed(&[acme()]), &has);
        assert_eq!(missing.len(), 1);
        assert_eq!(
            missing[0].to_string(),
            "`organization_self_hosted_runners: write` (Organization permissions: Self-hosted runners) is not granted, only \
             `read`; without it no runner of the organization can be registered or removed"
        );
        assert!(super::missing(&needed(&[acme()]), &granted(&[])).len() == 3);
        assert_eq!(missing_events(&["push".to_owned()]), ["workflow_job"]);
        assert!(missing_events(&["workflow_job".to_owned()]).is_empty());
    }

    #[test]
    fn the_docs_show_the_table() {
        let docs = include_str!("../docs/permissions.md");
        for needed in TABLE {
            let pools = match needed.only {
                None => "all",
                Some(Level::Organization) => "of an organization",
                Some(Level::Repository) => "of repositories",
            };
            let row = format!(
                "| `{}: {}` | {} | {} | {} | {} |",
                needed.permission,
                needed.level,
                needed.title,
                pools,
                needed.features.join("; "),
                needed.breaks
            );
            assert!(docs.contains(&row), "docs/permissions.md lacks\n{row}");
        }
        assert!(EVENTS.iter().all(|event| docs.contains(&format!("`{event}`"))));
    }

    #[test]
    fn the_manifest_in_the_repository_is_an_organizations() {
        let manifest: serde_json::Value = serde_json::from_str(include_str!("../app-manifest.json")).unwrap();
        assert_eq!(manifest["default_permissions"], serde_json::json!(default_permissions(Level::Organization)));
        assert_eq!(manifest["default_events"], serde_json::json!(EVENTS));
    }
}
