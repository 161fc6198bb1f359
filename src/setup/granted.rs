//! What stands between the App and its work at the accounts of the pools. Pure.

use super::manifest::{accounts, settings_page};
use crate::github::{AccountKind, AppFacts, Installation};
use crate::model::Scope;
use crate::permissions::{Missing, missing, missing_events, needed};
use std::fmt;

/// One thing that is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// Not installed there (yet).
    NotInstalled {
        /// The account.
        account: String,
    },
    /// Suspended by an owner of the account, or by the App's.
    Suspended {
        /// The account.
        account: String,
        /// Its settings page.
        page: String,
    },
    /// The App itself does not ask for it.
    NotAskedFor {
        /// What.
        missing: Missing,
        /// The App's page of permissions.
        page: String,
    },
    /// The App asks for it, and the account's owner has not granted it.
    NotGranted {
        /// The account.
        account: String,
        /// What.
        missing: Missing,
        /// Where it is granted.
        page: String,
    },
    /// The App's hook does not get the event.
    NoEvent {
        /// Which one.
        event: &'static str,
        /// The App's page of permissions and events.
        page: String,
    },
    /// A person's account has no runners of its own.
    OfAPerson {
        /// The account.
        account: String,
    },
}

impl Lack {
    /// Whether waiting may mend it: a person may be about to press the button.
    pub fn may_come(&self) -> bool {
        matches!(self, Self::NotInstalled { .. })
    }
}

/// All that is in the way, the account's first.
pub fn lacks(
    app: &AppFacts,
    installations: &[Installation],
    scopes: &[Scope],
    web_url: &str,
    with_events: bool,
) -> Vec<Lack> {
    let page = format!("{}/permissions", app_page(app, installations, web_url));
    let mut found = Vec::new();
    let not_asked = missing(&needed(scopes), &app.permissions);
    for missing in &not_asked {
        // GitHub gives it to every App, listed or not.
        if missing.needed.permission != "metadata" {
            found.push(Lack::NotAskedFor { missing: missing.clone(), page: page.clone() });
        }
    }
    if with_events {
        found.extend(missing_events(&app.events).into_iter().map(|event| Lack::NoEvent { event, page: page.clone() }));
    }
    for account in accounts(scopes) {
        let of_it: Vec<Scope> =
            scopes.iter().filter(|scope| scope.account().eq_ignore_ascii_case(&account)).cloned().collect();
        let Some(there) = installations.iter().find(|it| it.account.eq_ignore_ascii_case(&account)) else {
            found.push(Lack::NotInstalled { account });
            continue;
        };
        if there.suspended_at.is_some() {
            found.push(Lack::Suspended { account: account.clone(), page: there.html_url.clone() });
        }
        if there.kind == AccountKind::User && of_it.iter().any(|scope| matches!(scope, Scope::Organization(_))) {
            found.push(Lack::OfAPerson { account: account.clone() });
            continue;
        }
        for missing in missing(&needed(&of_it), &there.permissions) {
            // What the App does not even ask for is told once.
            if !not_asked.iter().any(|known| known.needed == missing.needed) || missing.needed.permission == "metadata"
            {
                found.push(Lack::NotGranted { account: account.clone(), missing, page: there.html_url.clone() });
            }
        }
    }
    found
}

/// The App's settings page: of an organization, or of a person. The owner's kind is known only from an installation on it.
pub fn app_page(app: &AppFacts, installations: &[Installation], web_url: &str) -> String {
    let owner = app.owner.as_deref();
    let is_person = installations
        .iter()
        .any(|it| it.kind == AccountKind::User && owner.is_some_and(|owner| owner.eq_ignore_ascii_case(&it.account)));
    settings_page(web_url, owner.filter(|_| !is_person), &app.slug)
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { account } => write!(f, "the App is not installed on `{account}`"),
            Self::Suspended { account, page } => write!(
                f,
                "the installation on `{account}` is suspended: no job of it is heard of; an owner lets it go on at {page}"
            ),
            Self::NotAskedFor { missing, page } => {
                write!(
                    f,
                    "{missing}. The App does not ask for it: add it at {page}, then accept it where it is installed"
                )
            }
            Self::NotGranted { account, missing, page } => {
                write!(f, "{missing}. The App asks for it, and `{account}` has not accepted: an owner does at {page}")
            }
            Self::NoEvent { event, page } => {
                write!(f, "the App does not get the event `{event}`, so no job is heard of: subscribe to it at {page}")
            }
            Self::OfAPerson { account } => write!(
                f,
                "`{account}` is a person's account, which has runners in its repositories only: write `{account}/REPOSITORY` \
                 as org_url"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::Selection;
    use std::collections::BTreeMap;

    const WEB: &str = "https://github.com";

    fn granted(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
    }

    fn all() -> BTreeMap<String, String> {
        granted(&[("actions", "read"), ("metadata", "read"), ("organization_self_hosted_runners", "write")])
    }

    fn app() -> AppFacts {
        AppFacts {
            id: 5,
            slug: "rf".to_owned(),
            name: "rf".to_owned(),
            client_id: None,
            owner: Some("acme".to_owned()),
            html_url: String::new(),
            permissions: all(),
            events: vec!["workflow_job".to_owned()],
            installations: None,
        }
    }

    fn on(account: &str) -> Installation {
        Installation {
            id: 1,
            account: account.to_owned(),
            kind: AccountKind::Organization,
            suspended_at: None,
            permissions: all(),
            events: Vec::new(),
            selection: Selection::All,
            html_url: "https://github.com/organizations/acme/settings/installations/1".to_owned(),
            app_id: 5,
        }
    }

    fn told(app: &AppFacts, there: &[Installation], scopes: &[&str]) -> Vec<String> {
        let scopes: Vec<Scope> = scopes.iter().map(|scope| Scope::try_from((*scope).to_owned()).unwrap()).collect();
        lacks(app, there, &scopes, WEB, true).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_as_needed_is_not_told() {
        assert!(told(&app(), &[on("Acme")], &["acme"]).is_empty());
        assert_eq!(told(&app(), &[on("acme")], &["acme", "other"]), ["the App is not installed on `other`"]);
    }

    #[test]
    fn each_lack_says_what_fails_and_where_to_mend_it() {
        let mut poor = app();
        poor.permissions.remove("organization_self_hosted_runners");
        poor.events.clear();
        let mut there = on("acme");
        there.permissions.remove("organization_self_hosted_runners");
        there.permissions.insert("actions".to_owned(), "none".to_owned());
        there.suspended_at = Some(jiff::Timestamp::UNIX_EPOCH);
        let told = told(&poor, &[there], &["acme"]);
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told[0].contains("The App does not ask for it: add it at https://github.com/organizations/acme/settings/apps/rf/permissions"), "{told:#?}");
        assert!(told[1].contains("`workflow_job`, so no job is heard of"), "{told:#?}");
        assert!(told[2].contains("is suspended"), "{told:#?}");
        assert!(
            told[3].contains("without it no job is heard of. The App asks for it, and `acme` has not accepted"),
            "{told:#?}"
        );
    }

    #[test]
    fn a_person_has_runners_in_repositories_only() {
        let person = Installation { kind: AccountKind::User, ..on("octo") };
        let of = |owner: &str| AppFacts { owner: Some(owner.to_owned()), ..app() };
        assert!(told(&of("octo"), std::slice::from_ref(&person), &["octo"])[0].contains("write `octo/REPOSITORY`"));
        assert_eq!(app_page(&of("octo"), &[person], WEB), "https://github.com/settings/apps/rf");
    }
}
