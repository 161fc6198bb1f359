//! Where the App may do something: GitHub's list of its installations, read at the start, when an event tells of a change, and
//! every minute. Events only ring the bell: they may be lost, late, or of another App.

use super::memory::Memory;
use crate::clock;
use crate::config::{Config, GitHubAuth};
use crate::github::{Client, Error, Installation, Selection};
use crate::model::{Access, Accounts, Scope};
use crate::permissions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The list is one request of the App's own budget of 5000 an hour, and one more for each account that chose repositories.
const RHYTHM: Duration = Duration::from_secs(60);

/// However often the bell rings.
const AT_MOST: Duration = Duration::from_secs(1);

/// Keeps the accounts of all pools current until `stop`. With a personal token there is nothing to look at.
pub async fn follow(client: Client, memory: Arc<Memory>, config: Arc<Config>, stop: CancellationToken) {
    if matches!(config.github.auth, GitHubAuth::Token(_)) {
        return;
    }
    let bell = memory.installations_bell();
    let mut told = Told::default();
    let work = async {
        loop {
            look(&client, &memory, &config, &mut told).await;
            tokio::time::sleep(AT_MOST).await;
            tokio::select! {
                biased;
                () = tokio::time::sleep(RHYTHM) => {}
                () = bell.notified() => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// What was said already.
#[derive(Debug, Default)]
struct Told {
    away: bool,
    lacking: BTreeMap<String, Vec<String>>,
    granted: BTreeMap<String, BTreeMap<String, String>>,
}

async fn look(client: &Client, memory: &Memory, config: &Config, told: &mut Told) {
    match read(client, config).await {
        Ok((accounts, installations)) => {
            if std::mem::take(&mut told.away) {
                info!("the App's installations can be read again");
            }
            let before = memory.set_accounts(accounts.clone());
            for change in changes(before.known(), &accounts) {
                // What an account lost is no good any more, and what it got is asked for anew.
                client.forget_account(&change.account);
                memory.groups_bell().notify_one();
                if change.is_loss { warn!("{change}") } else { info!("{change}") }
            }
            for account in newly_granted(&accounts, &installations, &mut told.granted) {
                info!("the grants of `{account}` to the App changed: what failed for the lack of one is tried again");
                client.forget_account(&account);
                memory.set_granted(&account);
            }
            tell_missing(config, &installations, told);
        }
        // What was known stays: that GitHub did not answer says nothing about the accounts.
        Err(error) => {
            if !std::mem::replace(&mut told.away, true) {
                warn!("the App's installations cannot be read: {error}");
            }
        }
    }
}

/// Asks GitHub: what the App may do at the account of each pool.
async fn read(client: &Client, config: &Config) -> Result<(Accounts, Vec<Installation>), Error> {
    let installations = client.installations().await?;
    let mut accounts = Accounts::default();
    for account in accounts_of(config) {
        let found = installations.iter().find(|installation| installation.account.to_lowercase() == account);
        let access = match found {
            None => Access::NotInstalled { since: clock::now() },
            Some(installation) if installation.suspended_at.is_some() => Access::Suspended,
            Some(installation) if installation.selection == Selection::Selected => {
                let repositories = client.repositories(&account).await?;
                let names = repositories.iter().map(|repository| repository.full_name.as_str().to_lowercase());
                Access::Installed { repositories: Some(names.collect()) }
            }
            Some(_) => Access::Installed { repositories: None },
        };
        accounts.0.insert(account, access);
    }
    Ok((accounts, installations))
}

/// Logins in lower case.
fn accounts_of(config: &Config) -> BTreeSet<String> {
    config.pools.iter().map(|pool| pool.scope.account().to_lowercase()).collect()
}

/// A change of an account, in a person's words.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    account: String,
    what: String,
    is_loss: bool,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

/// What is to be told. At the first look only what is not as it should be.
fn changes(before: Option<&Accounts>, now: &Accounts) -> Vec<Change> {
    let mut changes = Vec::new();
    for (account, access) in &now.0 {
        let known = before.and_then(|before| before.of(account));
        let same = match (known, access) {
            (Some(Access::NotInstalled { .. }), Access::NotInstalled { .. }) | (None, Access::Installed { .. }) => true,
            (Some(known), access) => known == access,
            (None, _) => false,
        };
        if same {
            continue;
        }
        let aside = "its idle runners go, and its queued jobs are put aside";
        let (what, is_loss) = match (known, access) {
            (_, Access::Suspended) => (format!("the App is suspended on `{account}`: {aside}"), true),
            (_, Access::NotInstalled { .. }) => (format!("the App is not installed on `{account}`: {aside}"), true),
            (Some(Access::Installed { repositories: Some(old) }), Access::Installed { repositories: Some(new) }) => {
                let list = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>().join(", ");
                let added = list(new.difference(old).collect());
                let removed = list(old.difference(new).collect());
                let mut words = Vec::new();
                if !added.is_empty() {
                    words.push(format!("was given {added}"));
                }
                if !removed.is_empty() {
                    words.push(format!("was taken off {removed}"));
                }
                (format!("on `{account}` the App {}", words.join(", and ")), false)
            }
            (Some(Access::Installed { .. }), Access::Installed { repositories: None }) => {
                (format!("on `{account}` the App was given all repositories"), false)
            }
            (Some(Access::Installed { .. }), Access::Installed { repositories: Some(names) }) => {
                (format!("on `{account}` the App was left {} repositories of all", names.len()), false)
            }
            (_, Access::Installed { .. }) => {
                (format!("the App is installed on `{account}` again: its jobs are served"), false)
            }
        };
        changes.push(Change { account: account.clone(), what, is_loss });
    }
    changes
}

/// The accounts that grant something else than at the last look (`new_permissions_accepted`).
fn newly_granted(
    accounts: &Accounts,
    installations: &[Installation],
    before: &mut BTreeMap<String, BTreeMap<String, String>>,
) -> Vec<String> {
    let mut changed = Vec::new();
    for installation in installations {
        let account = installation.account.to_lowercase();
        if accounts.of(&account).is_none() {
            continue;
        }
        let now = installation.permissions.clone();
        if before.insert(account.clone(), now.clone()).is_some_and(|before| before != now) {
            changed.push(account);
        }
    }
    changed
}

/// Names what an installation lacks, once for each change of it.
fn tell_missing(config: &Config, installations: &[Installation], told: &mut Told) {
    for account in accounts_of(config) {
        let Some(installation) = installations.iter().find(|it| it.account.to_lowercase() == account) else { continue };
        let scopes: Vec<&Scope> =
            config.pools.iter().map(|pool| &pool.scope).filter(|it| it.account().to_lowercase() == account).collect();
        let needed = permissions::needed(scopes);
        let missing = permissions::missing(&needed, &installation.permissions);
        let words: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let before = told.lacking.insert(account.clone(), words.clone()).unwrap_or_default();
        if words == before {
            continue;
        }
        for word in &words {
            warn!("on `{account}` {word}. Grant it at {}", installation.html_url);
        }
        if words.is_empty() {
            info!("on `{account}` the App has all permissions that it needs");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn accounts(access: Access) -> Accounts {
        Accounts(BTreeMap::from([("acme".to_owned(), access)]))
    }

    fn some(names: &[&str]) -> Access {
        Access::Installed { repositories: Some(names.iter().map(|name| (*name).to_owned()).collect()) }
    }

    fn told(before: Option<&Accounts>, now: &Accounts) -> Vec<String> {
        changes(before, now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_change_is_told_once_and_in_words() {
        let gone = || Access::NotInstalled { since: Timestamp::UNIX_EPOCH };
        let all = accounts(Access::Installed { repositories: None });
        assert!(told(None, &all).is_empty());
        assert!(told(Some(&all), &all).is_empty());
        let away = accounts(gone());
        let aside = "its idle runners go, and its queued jobs are put aside";
        assert_eq!(told(None, &away), [format!("the App is not installed on `acme`: {aside}")]);
        assert!(told(Some(&away), &accounts(Access::NotInstalled { since: Timestamp::MAX })).is_empty());
        let suspended = accounts(Access::Suspended);
        assert_eq!(told(Some(&all), &suspended), [format!("the App is suspended on `acme`: {aside}")]);
        assert_eq!(told(Some(&suspended), &all), ["the App is installed on `acme` again: its jobs are served"]);
        let (two, other) = (accounts(some(&["acme/api", "acme/web"])), accounts(some(&["acme/new", "acme/web"])));
        assert_eq!(told(Some(&two), &other), ["on `acme` the App was given acme/new, and was taken off acme/api"]);
        assert_eq!(told(Some(&all), &two), ["on `acme` the App was left 2 repositories of all"]);
        assert_eq!(told(Some(&two), &all), ["on `acme` the App was given all repositories"]);
        assert!(changes(Some(&all), &suspended)[0].is_loss);
        assert!(!changes(Some(&suspended), &all)[0].is_loss);
    }
}
