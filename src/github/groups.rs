//! Runner groups: the configuration names one, GitHub's API wants its id.

use super::auth::Acting;
use super::cache::Kept;
use super::error::Error;
use super::line::{Endpoint, Line, Request};
use super::pages::Listing;
use super::{Client, pages};
use crate::model::{Scope, after};
use serde::Deserialize;
use std::time::Duration;

/// The id of the default group, in every organization; a repository has no other.
const DEFAULT_GROUP: u64 = 1;

/// Groups change seldom, and a wrong id ends in a 404 that makes us look again.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);

/// A group that was made a moment ago should be found soon; asking for each runner would cost too much.
const KEPT_FOR_A_MISS: Duration = Duration::from_secs(30);

/// A group of an organization.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Group {
    id: u64,
    name: String,
}

impl Client {
    /// The id of the named group; the default group's where none is named.
    pub(super) async fn group_id(&self, scope: &Scope, name: Option<&str>) -> Result<u64, Error> {
        let (Scope::Organization(organization), Some(name)) = (scope, name) else {
            return Ok(DEFAULT_GROUP);
        };
        let key = organization.to_lowercase();
        let what = format!("find runner group `{name}` of `{organization}`");
        let ask = async || {
            let mut listing = Listing::new(|group: &Group| group.id);
            while let Some(number) = listing.next_page() {
                let path = format!("{}/actions/runner-groups?{}", scope.api_path(), pages::query(number));
                let request = Request::get(Endpoint::Groups, path, what.clone());
                listing.take(self.read(&Acting::runners(scope), &request).await?, &what)?;
            }
            let groups = listing.into_entries();
            let has_it = find(&groups, name).is_some();
            let fresh_until = after(Line::now(), if has_it { KEPT_FOR } else { KEPT_FOR_A_MISS });
            Ok(Kept { value: groups, fresh_until, valid_until: fresh_until })
        };
        let groups = self.inner.groups.get(key, Line::now, ask).await?;
        find(&groups, name).ok_or_else(|| {
            let known: Vec<String> = groups.iter().map(|group| format!("`{}`", group.name)).collect();
            Error::NotFound { what, message: format!("there is none of that name; there are: {}", known.join(", ")) }
        })
    }

    /// The next use looks at GitHub again.
    pub(super) fn forget_groups(&self, scope: &Scope) {
        let organization = scope.account().to_lowercase();
        self.inner.groups.forget(|key, _| *key == organization);
    }
}

fn find(groups: &[Group], name: &str) -> Option<u64> {
    groups.iter().find(|group| group.name.eq_ignore_ascii_case(name)).map(|group| group.id)
}
