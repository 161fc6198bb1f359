//! On which accounts the App is installed, and which repositories it was given there.

use super::app::granted;
use super::auth::{Acting, Purpose};
use super::error::Error;
use super::line::{Endpoint, Request};
use super::pages::Listing;
use super::{Client, pages};
use crate::model::{RepoName, Scope};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// Has runners and runner groups of its own.
    Organization,
    /// A person: only its repositories have runners.
    User,
    /// An enterprise.
    Enterprise,
}

/// Which repositories of an account the App was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All, those to come included.
    All,
    /// Some, which [`Client::repositories`] lists.
    Selected,
}

/// The App on an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// GitHub's id of it.
    pub id: u64,
    /// The account's login, as GitHub spells it.
    pub account: String,
    /// What the account is.
    pub kind: AccountKind,
    /// Since when it is suspended.
    pub suspended_at: Option<Timestamp>,
    /// What the owner granted. After the App asks for more, the owner must accept it before it is here.
    pub permissions: BTreeMap<String, String>,
    /// The events that come from there.
    pub events: Vec<String>,
    /// Which repositories.
    pub selection: Selection,
    /// Its settings page.
    pub html_url: String,
    /// The App's number.
    pub app_id: u64,
}

/// A repository that the App was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// GitHub's id of it.
    pub id: u64,
    /// `owner/name`.
    pub full_name: RepoName,
    /// Not public.
    pub private: bool,
    /// Made as a copy of another one.
    pub fork: bool,
    /// Read-only: it runs nothing.
    pub archived: bool,
    /// When somebody last pushed to it.
    pub pushed_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct InstallationAnswer {
    id: u64,
    account: Option<AccountAnswer>,
    target_type: Option<String>,
    suspended_at: Option<Timestamp>,
    #[serde(default)]
    permissions: BTreeMap<String, Option<String>>,
    #[serde(default)]
    events: Vec<String>,
    repository_selection: Option<String>,
    html_url: Option<String>,
    #[serde(default)]
    app_id: u64,
}

#[derive(Deserialize)]
struct AccountAnswer {
    login: Option<String>,
    /// Enterprises have no login.
    slug: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RepositoryAnswer {
    id: u64,
    full_name: RepoName,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    fork: bool,
    #[serde(default)]
    archived: bool,
    pushed_at: Option<Timestamp>,
}

impl InstallationAnswer {
    /// None without an account: nothing can be said of it.
    fn into_installation(self) -> Option<Installation> {
        let account = self.account?;
        let kind = match self.target_type.or(account.kind).as_deref() {
            Some("User") => AccountKind::User,
            Some("Enterprise") => AccountKind::Enterprise,
            _ => AccountKind::Organization,
        };
        Some(Installation {
            id: self.id,
            account: account.login.or(account.slug)?,
            kind,
            suspended_at: self.suspended_at,
            permissions: granted(self.permissions),
            events: self.events,
            selection: if self.repository_selection.as_deref() == Some("selected") {
                Selection::Selected
            } else {
                Selection::All
            },
            html_url: self.html_url.unwrap_or_default(),
            app_id: self.app_id,
        })
    }
}

impl Client {
    /// All accounts on which the App is installed, suspended ones included.
    pub async fn installations(&self) -> Result<Vec<Installation>, Error> {
        let what = "list the App's installations".to_owned();
        let mut listing = Listing::new(|installation: &InstallationAnswer| installation.id);
        while let Some(number) = listing.next_page() {
            let path = format!("app/installations?{}", pages::query(number));
            let page: Vec<InstallationAnswer> =
                self.read_as_the_app(&Request::get(Endpoint::Installation, path, what.clone())).await?;
            listing.take(page.into(), &what)?;
        }
        Ok(listing.into_entries().into_iter().filter_map(InstallationAnswer::into_installation).collect())
    }

    /// The repositories of the account that the App was given.
    pub async fn repositories(&self, account: &str) -> Result<Vec<RepositoryFacts>, Error> {
        let what = format!("list the repositories of `{account}` that the App was given");
        // A person's installation cannot be looked up as an organization's is.
        let installations = self.installations().await?;
        let installation = installations.iter().find(|it| it.account.eq_ignore_ascii_case(account));
        let Some(installation) = installation else {
            return Err(Error::NotFound { what, message: "the App is not installed there".to_owned() });
        };
        let scope = Scope::Organization(account.to_owned());
        let acting = Acting { scope, purpose: Purpose::Metadata, hint: Some(installation.id) };
        let mut listing = Listing::new(|repository: &RepositoryAnswer| repository.id);
        while let Some(number) = listing.next_page() {
            let path = format!("installation/repositories?{}", pages::query(number));
            let request = Request::get(Endpoint::Repositories, path, what.clone());
            listing.take(self.read(&acting, &request).await?, &what)?;
        }
        let known = |it: RepositoryAnswer| RepositoryFacts {
            id: it.id,
            full_name: it.full_name,
            private: it.private,
            fork: it.fork,
            archived: it.archived,
            pushed_at: it.pushed_at,
        };
        Ok(listing.into_entries().into_iter().map(known).collect())
    }
}
