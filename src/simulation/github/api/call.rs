//! A request on its way to a route, and what routes ask of it.

use crate::simulation::github::answer::Refusal;
use crate::simulation::github::auth::Caller;
use crate::simulation::github::model::Model;
use crate::simulation::github::{Shared, lock};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A request on its way.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) caller: &'a Caller,
    pub(super) path: BTreeMap<&'static str, String>,
    /// The path as it was asked, for links.
    pub(super) asked: String,
    pub(super) query: BTreeMap<String, String>,
    /// The body; `Null` where there was none.
    pub(super) body: Value,
    pub(super) now: Timestamp,
}

impl Call<'_> {
    pub(super) fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// A number in the path; what is none names nothing.
    pub(super) fn number(&self, name: &str) -> Result<u64, Refusal> {
        self.part(name).parse().map_err(|_| Refusal::not_found())
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(super) fn per_page(&self) -> usize {
        self.query("per_page").and_then(|text| text.parse().ok()).unwrap_or(30).clamp(1, 100)
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Model) -> T) -> T {
        look(&lock(&self.shared.model))
    }

    /// One page of a list, with the `Link` header that GitHub gives.
    pub(super) fn page(&self, items: Vec<Value>) -> (Vec<Value>, Option<(String, String)>) {
        let per_page = self.per_page();
        let page = self.query("page").and_then(|text| text.parse::<usize>().ok()).unwrap_or(1).max(1);
        let last = items.len().div_ceil(per_page).max(1);
        let mut links = Vec::new();
        if page > 1 {
            links.push(self.link(page - 1, "prev"));
        }
        if page < last {
            links.push(self.link(page + 1, "next"));
            links.push(self.link(last, "last"));
        }
        if page > 1 {
            links.push(self.link(1, "first"));
        }
        let header = (!links.is_empty()).then(|| ("link".to_owned(), links.join(", ")));
        (items.into_iter().skip((page - 1) * per_page).take(per_page).collect(), header)
    }

    fn link(&self, page: usize, rel: &str) -> String {
        self.link_with("page", &page.to_string(), rel)
    }

    pub(super) fn link_with(&self, name: &str, value: &str, rel: &str) -> String {
        let mut query: Vec<String> = self
            .query
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        query.push(format!("{name}={value}"));
        format!("<{}{}?{}>; rel=\"{rel}\"", self.shared.urls.api, self.asked, query.join("&"))
    }
}
