//! Patterns of `matching`: which repositories, and which events.

use super::leaf::{Leaf, Wrong, nearest};
use serde_json::{Value as Json, json};

/// Events that begin a workflow (GitHub docs, "Events that trigger workflows"). `dynamic` is what GitHub calls its own, such as
/// code scanning. A slip in an exclusion would open a door, so a name has to be one of these; a pattern may be anything.
const EVENTS: &[&str] = &[
    "branch_protection_rule",
    "check_run",
    "check_suite",
    "create",
    "delete",
    "deployment",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "dynamic",
    "fork",
    "gollum",
    "image_version",
    "issue_comment",
    "issues",
    "label",
    "merge_group",
    "milestone",
    "page_build",
    "project",
    "project_card",
    "project_column",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_target",
    "push",
    "registry_package",
    "release",
    "repository_dispatch",
    "schedule",
    "status",
    "watch",
    "workflow_dispatch",
    "workflow_run",
];

/// `acme/*`, `!acme/secret-*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RepositoryPattern(pub(super) String);

/// `push`, `!pull_request_target`, `pull_request*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EventPattern(pub(super) String);

impl Leaf for RepositoryPattern {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let example = "write `OWNER/NAME`, as in `acme/web`, `acme/web-*` or `!acme/secret`";
        let glob = text.strip_prefix('!').unwrap_or(text);
        if glob.contains("://") {
            return Err(Wrong::new("is an address", "leave `https://github.com/` out"));
        }
        let (owner, name) = match glob.split_once('/') {
            Some((owner, name)) if !name.contains('/') => (owner, name),
            Some(_) => return Err(Wrong::new("is no repository", example)),
            None => {
                let wrong = Wrong::new("names no account", example);
                let is_name = !glob.is_empty() && glob.chars().all(is_in_a_pattern);
                return Err(if is_name { wrong.guess(format!("write `ORGANIZATION/{glob}`")) } else { wrong });
            }
        };
        if owner.is_empty() || name.is_empty() || !owner.chars().chain(name.chars()).all(is_in_a_pattern) {
            return Err(Wrong::new("is no repository", example));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^!?[^/\s]+/[^/\s]+$|\$\{", "examples": ["acme/*", "!acme/secret-*"] })
    }
}

fn is_in_a_pattern(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | '?')
}

impl Leaf for EventPattern {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let glob = text.strip_prefix('!').unwrap_or(text);
        let is_pattern = glob.contains(['*', '?']) && glob.chars().all(|c| c.is_ascii_lowercase() || "_*?".contains(c));
        if is_pattern || EVENTS.contains(&glob) {
            return Ok(Self(text.to_owned()));
        }
        let wrong =
            Wrong::new("is no event that begins a workflow", "as in `push`, `pull_request` or `!pull_request_target`");
        let mark = &text[..text.len() - glob.len()];
        Err(match nearest(glob, EVENTS.iter().copied()) {
            Some(word) => wrong.guess(format!("did you mean `{mark}{word}`?")),
            None => wrong,
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^!?[a-z_*?]+$|\$\{", "examples": ["push", "!pull_request_target"] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::leaf::takes;
    use super::*;

    #[test]
    fn repositories_have_an_owner_and_events_are_known() {
        takes::<RepositoryPattern>(
            &["acme/web", "acme/*", "!acme/secret-*", "*/*", "acme/w?b", "acme/.github"],
            &["", "!", "web", "acme/", "/web", "a/b/c", "https://github.com/acme/web", "acme/we b", "!!acme/web"],
        );
        takes::<EventPattern>(
            &["push", "!pull_request_target", "*", "pull_request*", "!workflow_*"],
            &["", "!", "pull_request_targt", "Push", "pull-request", "push*!"],
        );
        let hint = |text: &str| EventPattern::parse(text).unwrap_err().hint(true);
        assert_eq!(hint("!pull_request_targt"), "did you mean `!pull_request_target`?");
    }

    #[test]
    fn the_events_that_matter_most_are_among_them() {
        for event in ["pull_request_target", "workflow_run", "issue_comment", "pull_request", "push"] {
            assert!(EVENTS.contains(&event), "{event}");
        }
        assert!(EVENTS.is_sorted());
    }
}
