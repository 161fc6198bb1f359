//! What a job's own event does not tell: what began its run, and whose code it runs.

use super::RepoName;
use serde::{Deserialize, Serialize};

/// Events that strangers can cause on a public repository, and which then run with its secrets and a token that may write
/// (GitHub docs, "Secure use reference": `pull_request_target`, `workflow_run`; comments are the third door of that kind).
pub const RISKY_EVENTS: [&str; 3] = ["pull_request_target", "workflow_run", "issue_comment"];

/// GitHub's word on a run, as far as trust depends on it. It stays the same for all jobs and attempts of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// `push`, `pull_request`, `pull_request_target`, …
    pub event: String,
    /// Where its commit comes from; none where that repository is gone.
    #[serde(default)]
    pub head_repository: Option<RepoName>,
    /// Whether its own repository is private; none where GitHub did not say.
    #[serde(default)]
    pub private: Option<bool>,
}

impl RunFacts {
    /// Whether the code comes from another repository than that of the run: a fork. One that is gone was none of ours.
    pub fn is_from_elsewhere(&self, repository: &RepoName) -> bool {
        self.head_repository.as_ref().is_none_or(|head| !head.as_str().eq_ignore_ascii_case(repository.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_that_is_gone_is_still_a_fork() {
        let run = |head: Option<&str>| RunFacts {
            event: "pull_request".to_owned(),
            head_repository: head.map(RepoName::new),
            private: None,
        };
        let web = RepoName::new("acme/web");
        assert!(!run(Some("Acme/Web")).is_from_elsewhere(&web));
        assert!(run(Some("mallory/web")).is_from_elsewhere(&web));
        assert!(run(None).is_from_elsewhere(&web));
    }
}
