//! Runner groups: the configuration names one, GitHub's API wants its id; and GitHub's own wall, which repositories may use one.

use super::auth::Acting;
use super::cache::Kept;
use super::error::{Error, refusal};
use super::line::{Endpoint, Line, Repeat, Request};
use super::pages::Listing;
use super::{Client, pages};
use crate::model::{self, RepoName, Scope, Visibility, after};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The id of the default group of a repository, which has no other, and of most organizations.
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
    #[serde(default)]
    visibility: Option<String>,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    allows_public_repositories: bool,
}

/// A group that is to be made: open to these repositories, and to no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup<'a> {
    /// Its name.
    pub name: &'a str,
    /// GitHub's ids of the repositories.
    pub repositories: &'a [u64],
    /// Whether public ones among them may use it.
    pub allows_public: bool,
}

#[derive(Deserialize)]
struct MemberAnswer {
    id: u64,
    full_name: RepoName,
}

impl Client {
    /// The id of the named group; the default group's where none is named, as far as it is known: nobody is asked for that one,
    /// since its number is nearly always the same. [`Client::default_group`] looks.
    pub(super) async fn group_id(&self, scope: &Scope, name: Option<&str>) -> Result<u64, Error> {
        let Scope::Organization(organization) = scope else { return Ok(DEFAULT_GROUP) };
        let key = organization.to_lowercase();
        let Some(name) = name else {
            let known = self.inner.groups.peek(&key).and_then(|kept| find(&kept.value, None));
            return Ok(known.unwrap_or(DEFAULT_GROUP));
        };
        let what = format!("find runner group `{name}` of `{organization}`");
        let groups = self.groups_of(scope, Some(name), &what).await?;
        find(&groups, Some(name)).ok_or_else(|| {
            let known: Vec<String> = groups.iter().map(|group| format!("`{}`", group.name)).collect();
            Error::NotFound { what, message: format!("there is none of that name; there are: {}", known.join(", ")) }
        })
    }

    /// The id of the default group, from GitHub's list; none where that shows none.
    pub(super) async fn default_group(&self, scope: &Scope) -> Result<Option<u64>, Error> {
        let what = format!("find the default runner group of `{scope}`");
        Ok(find(&self.groups_of(scope, None, &what).await?, None))
    }

    /// The list, kept for a while; for a shorter one where it lacks the group that it was asked for.
    async fn groups_of(&self, scope: &Scope, name: Option<&str>, what: &str) -> Result<Vec<Group>, Error> {
        let ask = async || {
            let groups = self.list_groups(scope, what).await?;
            let has_it = find(&groups, name).is_some();
            let fresh_until = after(Line::now(), if has_it { KEPT_FOR } else { KEPT_FOR_A_MISS });
            Ok(Kept { value: groups, fresh_until, valid_until: fresh_until })
        };
        self.inner.groups.get(scope.account().to_lowercase(), Line::now, ask).await
    }

    async fn list_groups(&self, scope: &Scope, what: &str) -> Result<Vec<Group>, Error> {
        let mut listing = Listing::new(|group: &Group| group.id);
        while let Some(number) = listing.next_page() {
            let path = format!("{}/actions/runner-groups?{}", scope.api_path(), pages::query(number));
            let request = Request::get(Endpoint::Groups, path, what.to_owned());
            listing.take(self.read(&Acting::runners(scope), &request).await?, what)?;
        }
        Ok(listing.into_entries())
    }

    /// The runner groups of an organization, as they are now. Of those that are open to selected repositories the list is read
    /// where `in_use` says so (by name, and whether it is the default one): it is a call for each hundred.
    pub async fn runner_groups(
        &self,
        organization: &str,
        in_use: impl Fn(&str, bool) -> bool,
    ) -> Result<Vec<model::Group>, Error> {
        let scope = Scope::Organization(organization.to_owned());
        let answers = self.list_groups(&scope, &format!("list the runner groups of `{organization}`")).await?;
        let fresh_until = after(Line::now(), KEPT_FOR);
        let kept = Kept { value: answers.clone(), fresh_until, valid_until: fresh_until };
        self.inner.groups.put(organization.to_lowercase(), kept);
        let mut groups = Vec::with_capacity(answers.len());
        for group in answers {
            let visibility = match group.visibility.as_deref() {
                Some("selected") if in_use(&group.name, group.default) => {
                    let members = self.group_repositories(organization, group.id).await?;
                    let names = members.values().map(|name| name.as_str().to_lowercase());
                    Visibility::Selected(Some(names.collect()))
                }
                Some("selected") => Visibility::Selected(None),
                Some("private") => Visibility::Private,
                _ => Visibility::All,
            };
            groups.push(model::Group {
                id: group.id,
                name: group.name,
                is_default: group.default,
                visibility,
                allows_public: group.allows_public_repositories,
            });
        }
        Ok(groups)
    }

    /// The repositories that may use a group, by GitHub's ids.
    pub async fn group_repositories(&self, organization: &str, group: u64) -> Result<BTreeMap<u64, RepoName>, Error> {
        let scope = Scope::Organization(organization.to_owned());
        let what = format!("list the repositories of runner group {group} of `{organization}`");
        let mut listing = Listing::new(|member: &MemberAnswer| member.id);
        while let Some(number) = listing.next_page() {
            let pages = pages::query(number);
            let path = format!("{}/actions/runner-groups/{group}/repositories?{pages}", scope.api_path());
            let request = Request::get(Endpoint::Groups, path, what.clone());
            listing.take(self.read(&Acting::runners(&scope), &request).await?, &what)?;
        }
        Ok(listing.into_entries().into_iter().map(|member| (member.id, member.full_name)).collect())
    }

    /// Makes a group; its id. Sent once: after a lost answer the next look shows whether it is there.
    pub async fn create_group(&self, organization: &str, new: &NewGroup<'_>) -> Result<u64, Error> {
        let scope = Scope::Organization(organization.to_owned());
        let body = json!({
            "name": new.name,
            "visibility": "selected",
            "selected_repository_ids": new.repositories,
            "allows_public_repositories": new.allows_public,
        });
        let path = format!("{}/actions/runner-groups", scope.api_path());
        let what = format!("make runner group `{}` of `{organization}`", new.name);
        let request = change(Method::POST, path, &body, what, Repeat::Never);
        let made: Group = self.read(&Acting::runners(&scope), &request).await?;
        self.forget_groups(&scope);
        Ok(made.id)
    }

    /// Opens a group to these repositories alone.
    pub async fn set_group_repositories(&self, organization: &str, group: u64, ids: &[u64]) -> Result<(), Error> {
        let scope = Scope::Organization(organization.to_owned());
        let path = format!("{}/actions/runner-groups/{group}/repositories", scope.api_path());
        let what = format!("change the repositories of runner group {group} of `{organization}`");
        let request = change(Method::PUT, path, &json!({ "selected_repository_ids": ids }), what, Repeat::Safe);
        self.done(&scope, &request).await
    }

    /// Makes a group one for selected repositories, and says whether public ones may be among them.
    pub async fn set_group_bounds(
        &self,
        organization: &str,
        (group, name): (u64, &str),
        allows_public: bool,
    ) -> Result<(), Error> {
        let scope = Scope::Organization(organization.to_owned());
        let path = format!("{}/actions/runner-groups/{group}", scope.api_path());
        let what = format!("change runner group `{name}` of `{organization}`");
        let body = json!({ "name": name, "visibility": "selected", "allows_public_repositories": allows_public });
        self.done(&scope, &change(Method::PATCH, path, &body, what, Repeat::Safe)).await
    }

    /// Sends a change whose answer says nothing more than that it was done.
    async fn done(&self, scope: &Scope, request: &Request) -> Result<(), Error> {
        let answer = self.ask(&Acting::runners(scope), request).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refusal(&answer, &request.what, Line::now())) }
    }

    /// The next use looks at GitHub again.
    pub(super) fn forget_groups(&self, scope: &Scope) {
        let organization = scope.account().to_lowercase();
        self.inner.groups.forget(|key, _| *key == organization);
    }
}

fn change(method: Method, path: String, body: &Value, what: String, repeat: Repeat) -> Request {
    Request { method, path, body: Some(body.to_string().into()), what, repeat, endpoint: Endpoint::Groups, etag: None }
}

/// The one of that name, or the default one.
fn find(groups: &[Group], name: Option<&str>) -> Option<u64> {
    let is_it = |group: &&Group| name.map_or(group.default, |name| group.name.eq_ignore_ascii_case(name));
    groups.iter().find(is_it).map(|group| group.id)
}
