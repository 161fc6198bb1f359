//! GitHub. Who we are comes first: as long as GitHub does not know us, nothing else is asked.

use super::super::Seen;
use super::super::github::{Asked, GitHubFacts, Identity, accounts};
use super::GITHUB;
use crate::clock;
use crate::config::{Config, GitHubAuth};
use crate::github::{Client, Delivery, Error, HookConfig, Installation};
use crate::model::{Registration, Scope};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

/// So many deliveries are looked at: three pages.
const DELIVERIES_MOST: usize = 300;

/// And none older than this: what failed before was seen before.
const DELIVERIES_BACK: SignedDuration = SignedDuration::from_hours(24);

/// One question, with a bound.
async fn ask<T>(what: &str, question: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(GITHUB, question)
        .await
        .unwrap_or_else(|_| Err(Error::Unavailable { what: what.to_owned(), message: super::too_slow(GITHUB) }))
}

/// What the API says.
pub(super) async fn look(config: &Config, client: Result<&Client, &Error>) -> GitHubFacts {
    let client = match client {
        Ok(client) => client,
        Err(error) => return without_a_client(error),
    };
    let is_app = matches!(config.github.auth, GitHubAuth::App { .. });
    // Before anything else: what is asked for later is counted.
    let (clock, own_rate) = tokio::join!(
        ask("ask GitHub for the time", client.clock_ahead()),
        ask("read what is left of the rate limit", client.rates(None)),
    );
    if let Err(error @ (Error::Unavailable { .. } | Error::Invalid { .. })) = &clock {
        return nobody_answers(error);
    }
    let (identity, ahead) = if is_app {
        match ask("read the App", client.app()).await {
            Ok((app, ahead)) => (Ok(Identity::App(app)), ahead),
            Err(error) => (Err(error), None),
        }
    } else {
        (ask("check the token", client.check()).await.map(Identity::Token), None)
    };
    // Without credentials GitHub allows few questions; the answer to the App has the time as well.
    let clock = clock.or_else(|error| if ahead.is_some() { Ok(ahead) } else { Err(error) });
    let mut facts = GitHubFacts {
        clock: clock.into(),
        identity: identity.into(),
        installations: Seen::NotLooked(unknown_to_github()),
        repositories: BTreeMap::new(),
        rates: vec![(None, own_rate.into())],
    };
    let known = is_known(&facts);
    if let Err(because) = known {
        facts.installations = Seen::NotLooked(because.clone());
        if matches!(facts.rates.first(), Some((None, Seen::Failed(Error::Credentials(_))))) {
            facts.rates = vec![(None, Seen::NotLooked(because))];
        }
        return facts;
    }
    if !is_app {
        return facts;
    }
    facts.installations = ask("list the installations", client.installations()).await.into();
    let installed = facts.installations.known().cloned().unwrap_or_default();
    for account in accounts(config) {
        let (repositories, rates) = Box::pin(of_account(client, &account, &installed)).await;
        if let Some(rates) = rates {
            facts.rates.push((Some(account.clone()), rates));
        }
        facts.repositories.insert(account, repositories);
    }
    facts
}

async fn of_account(
    client: &Client,
    account: &str,
    installed: &[Installation],
) -> (Asked<Vec<crate::github::RepositoryFacts>>, Option<Asked<Vec<crate::github::Rate>>>) {
    match installed.iter().find(|it| it.account.eq_ignore_ascii_case(account)) {
        None => (Seen::NotLooked("the App is not installed there".to_owned()), None),
        Some(it) if it.suspended_at.is_some() => (Seen::NotLooked("the App is suspended there".to_owned()), None),
        Some(_) => {
            let (repositories, rates) = tokio::join!(
                ask("list the repositories", client.repositories(account)),
                ask("read what is left of the rate limit", client.rates(Some(account))),
            );
            (repositories.into(), Some(rates.into()))
        }
    }
}

/// Whether GitHub knows us; if not, why nothing else is asked.
pub(super) fn is_known(facts: &GitHubFacts) -> Result<(), String> {
    match &facts.identity {
        Seen::Known(_) => Ok(()),
        Seen::Failed(Error::Unavailable { .. }) => Err("GitHub does not answer".to_owned()),
        Seen::Failed(Error::RateLimited { .. }) => Err("GitHub's rate limit is reached".to_owned()),
        Seen::Failed(_) => Err(unknown_to_github()),
        Seen::NotLooked(because) => Err(because.clone()),
    }
}

fn unknown_to_github() -> String {
    "GitHub does not know us".to_owned()
}

fn nobody_answers(error: &Error) -> GitHubFacts {
    let because = || "GitHub does not answer".to_owned();
    GitHubFacts {
        clock: Seen::Failed(error.clone()),
        identity: Seen::NotLooked(because()),
        installations: Seen::NotLooked(because()),
        repositories: BTreeMap::new(),
        rates: vec![(None, Seen::NotLooked(because()))],
    }
}

/// The key cannot be used: GitHub need not be asked.
fn without_a_client(error: &Error) -> GitHubFacts {
    let because = || "the key or the address cannot be used".to_owned();
    GitHubFacts {
        clock: Seen::NotLooked(because()),
        identity: Seen::Failed(Error::Credentials(error.to_string())),
        installations: Seen::NotLooked(because()),
        repositories: BTreeMap::new(),
        rates: vec![(None, Seen::NotLooked(because()))],
    }
}

/// The hook and its log. What a personal token is used for has no hook of an App.
pub(super) async fn hook(
    config: &Config,
    client: Option<&Client>,
    known: &Result<(), String>,
) -> (Asked<HookConfig>, Asked<Vec<Delivery>>) {
    let client = match (client, known) {
        (Some(_), Ok(())) if matches!(config.github.auth, GitHubAuth::Token(_)) => {
            let because =
                "only an App can read its hook; that of an organization or repository is on its settings page";
            return (Seen::NotLooked(because.to_owned()), Seen::NotLooked(because.to_owned()));
        }
        (Some(client), Ok(())) => client,
        (_, known) => {
            let because = known.clone().err().unwrap_or_else(unknown_to_github);
            return (Seen::NotLooked(because.clone()), Seen::NotLooked(because));
        }
    };
    let since = clock::now().checked_sub(DELIVERIES_BACK).ok();
    let (hook, log) = tokio::join!(
        ask("read the App's hook", client.hook()),
        ask("read the log of deliveries", client.deliveries(since, DELIVERIES_MOST)),
    );
    (hook.into(), log.into())
}

/// By scope: GitHub's list of runners, and the agent that it gives out.
type Runners = (BTreeMap<Scope, Asked<Vec<Registration>>>, BTreeMap<Scope, Asked<Option<String>>>);

/// Of the scopes of all pools.
pub(super) async fn runners(config: &Config, client: Option<&Client>, known: &Result<(), String>) -> Runners {
    let scopes: BTreeSet<Scope> = config.pools.iter().map(|pool| pool.scope.clone()).collect();
    let (mut lists, mut agents) = (BTreeMap::new(), BTreeMap::new());
    for scope in scopes {
        let (list, agent) = match (client, known) {
            (Some(client), Ok(())) => {
                let (list, agent) = tokio::join!(
                    ask("list the runners", client.runners(&scope)),
                    ask("read which agent is the newest", client.agent_version(&scope)),
                );
                (list.into(), agent.into())
            }
            (_, known) => {
                let because = known.clone().err().unwrap_or_else(unknown_to_github);
                (Seen::NotLooked(because.clone()), Seen::NotLooked(because))
            }
        };
        lists.insert(scope.clone(), list);
        agents.insert(scope, agent);
    }
    (lists, agents)
}
