//! Labels, compared as GitHub compares them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// A set of labels. GitHub stores a runner's labels in lower case and compares without regard to case, so they
/// are folded here once.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Vec<String>")]
pub struct LabelSet(BTreeSet<String>);

impl LabelSet {
    /// Whether a runner with these labels may take a job that asks for `wanted`.
    pub fn covers(&self, wanted: &Self) -> bool {
        wanted.0.is_subset(&self.0)
    }

    /// Those of `wanted` that are not here.
    pub fn missing(&self, wanted: &Self) -> Vec<String> {
        wanted.0.difference(&self.0).cloned().collect()
    }

    /// Whether this label is there, in whatever case it is written.
    pub fn has(&self, label: &str) -> bool {
        self.0.contains(&label.to_lowercase())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// As a list, for GitHub's API.
    pub fn to_vec(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

impl From<Vec<String>> for LabelSet {
    fn from(labels: Vec<String>) -> Self {
        labels.iter().map(String::as_str).collect()
    }
}

impl<'a> FromIterator<&'a str> for LabelSet {
    fn from_iter<I: IntoIterator<Item = &'a str>>(labels: I) -> Self {
        Self(labels.into_iter().map(|label| label.trim().to_lowercase()).collect())
    }
}

impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_vec().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_compared_without_case() {
        let pool: LabelSet = ["self-hosted", "Linux", "x64", "gpu"].into_iter().collect();
        let job: LabelSet = ["LINUX", "Self-Hosted"].into_iter().collect();
        assert!(pool.covers(&job));
        assert!(!job.covers(&pool));
        assert_eq!(job.missing(&pool), ["gpu", "x64"]);
    }
}
