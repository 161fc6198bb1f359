//! GitHub's API: whether it knows us, and what it lets the App do.

use super::catalogue::{
    API, CLOCK, CREDENTIALS, Check, EVENTS, INSTALLATIONS, PERMISSIONS, PUBLIC, RATE, REPOSITORIES,
};
use super::finding::{Finding, Seen};
use super::words::{count, some};
use crate::config::{Config, GitHubAuth};
use crate::github::{AccountKind, AppFacts, Error, Installation, Rate, RepositoryFacts, Selection};
use crate::model::Scope;
use crate::permissions::{missing, missing_events, needed};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What was asked of GitHub.
pub type Asked<T> = Seen<T, Error>;

/// A clock that is wrong by more than this should be set: a minute is all there is.
const SKEW_WARNS: SignedDuration = SignedDuration::from_secs(20);

/// The JWTs are dated back by this much; a clock that is further ahead makes GitHub refuse them.
const SKEW_AHEAD_MOST: SignedDuration = SignedDuration::from_secs(60);

/// They live for nine minutes; on a clock that is further behind they have lapsed when they are made.
const SKEW_BEHIND_MOST: SignedDuration = SignedDuration::from_secs(9 * 60);

/// Less than this part of a limit is little.
const LITTLE_PERCENT: u64 = 10;

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct GitHubFacts {
    /// By how much this machine's clock is ahead of GitHub's, where GitHub tells the time.
    pub clock: Asked<Option<SignedDuration>>,
    /// Who GitHub says that we are.
    pub identity: Asked<Identity>,
    /// Where the App is installed.
    pub installations: Asked<Vec<Installation>>,
    /// What it was given, by account in lower case.
    pub repositories: BTreeMap<String, Asked<Vec<RepositoryFacts>>>,
    /// What is left of the limits; of the App (or the token) itself where there is no account.
    pub rates: Vec<(Option<String>, Asked<Vec<Rate>>)>,
}

/// Who we are at GitHub.
#[derive(Debug, Clone, PartialEq)]
pub enum Identity {
    /// A GitHub App.
    App(AppFacts),
    /// The owner of a personal token, in words.
    Token(String),
}

/// All checks of this area.
const ALL: [Check; 9] = [API, CLOCK, CREDENTIALS, RATE, INSTALLATIONS, REPOSITORIES, PERMISSIONS, EVENTS, PUBLIC];

/// Nobody looked.
pub fn not_looked(because: &str) -> Vec<Finding> {
    ALL.iter().map(|check| check.not_looked(because)).collect()
}

/// The accounts of the pools, in lower case.
pub fn accounts(config: &Config) -> BTreeSet<String> {
    config.pools.iter().map(|pool| pool.scope.account().to_lowercase()).collect()
}

/// What there is to say.
pub fn findings(config: &Config, facts: &GitHubFacts, now: Timestamp) -> Vec<Finding> {
    let mut findings = vec![api(config, facts), clock(facts), credentials(config, facts)];
    findings.extend(facts.rates.iter().map(|(account, rates)| rate(config, account.as_deref(), rates, now)));
    let app = match &facts.identity {
        Seen::Known(Identity::Token(_)) => {
            let because = "a personal token is used: what its owner may, it may";
            let rest = [INSTALLATIONS, REPOSITORIES, PERMISSIONS, EVENTS].map(|check| check.not_looked(because));
            findings.extend(rest);
            findings.push(public(config, facts));
            return findings;
        }
        Seen::Known(Identity::App(app)) => Some(app),
        Seen::Failed(_) | Seen::NotLooked(_) => None,
    };
    match &facts.installations {
        Seen::Known(installations) => {
            for account in accounts(config) {
                findings.push(installed(config, &account, installations, app));
            }
            let there: Vec<&Installation> =
                accounts(config).iter().filter_map(|account| of(installations, account)).collect();
            if there.is_empty() {
                let because = "the App is installed on no account of a pool";
                findings.extend([REPOSITORIES, PERMISSIONS].map(|check| check.not_looked(because)));
            }
            findings.extend(there.iter().map(|it| repositories(config, it, facts)));
            findings.extend(there.iter().map(|it| permissions(config, it, app)));
            findings.extend(events(config, &there, app));
        }
        Seen::Failed(error) => {
            let says = format!("the App's installations cannot be listed: {error}");
            findings.push(INSTALLATIONS.unknown(says, "run this again once GitHub answers"));
            let because = "the installations are not known";
            findings.extend([REPOSITORIES, PERMISSIONS, EVENTS].map(|check| check.not_looked(because)));
        }
        Seen::NotLooked(because) => {
            findings.extend([INSTALLATIONS, REPOSITORIES, PERMISSIONS, EVENTS].map(|check| check.not_looked(because)));
        }
    }
    findings.push(public(config, facts));
    findings
}

fn of<'a>(installations: &'a [Installation], account: &str) -> Option<&'a Installation> {
    installations.iter().find(|installation| installation.account.eq_ignore_ascii_case(account))
}

fn api(config: &Config, facts: &GitHubFacts) -> Finding {
    let url = &config.github.api_url;
    match (&facts.clock, &facts.identity) {
        (Seen::Failed(error @ (Error::Unavailable { .. } | Error::Invalid { .. })), identity) if identity.known().is_none() => {
            API.broken(
                format!("{url}: {error}"),
                "see whether this machine reaches that address (`curl -I`), whether `github.api_url` is right, and, of an \
                 enterprise's own server, whether its certificate is known here",
            )
        }
        (Seen::NotLooked(because), _) => API.not_looked(because),
        (Seen::Known(_) | Seen::Failed(_), _) => API.ok(format!("GitHub answers at {url}")),
    }
}

fn clock(facts: &GitHubFacts) -> Finding {
    let ahead = match &facts.clock {
        Seen::Known(Some(ahead)) => *ahead,
        Seen::Known(None) => {
            return CLOCK
                .unknown("GitHub's answer has no time in it", "see whether a proxy takes the `Date` header away");
        }
        Seen::Failed(error @ Error::RateLimited { .. }) => {
            return CLOCK.unknown(format!("GitHub does not tell the time now: {error}"), "run this again later");
        }
        Seen::Failed(_) => return CLOCK.not_looked("GitHub does not answer"),
        Seen::NotLooked(because) => return CLOCK.not_looked(because),
    };
    let by = ahead.unsigned_abs().as_secs();
    let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
    let says = format!(
        "this machine's clock is {} {direction} GitHub's",
        count(usize::try_from(by).unwrap_or(usize::MAX), "second", "seconds")
    );
    let remedy = "set the clock, and keep it right: `timedatectl set-ntp true`";
    if ahead > SKEW_AHEAD_MOST || ahead < -SKEW_BEHIND_MOST {
        CLOCK.broken(format!("{says}: GitHub takes our credentials for ones of another time, and refuses them"), remedy)
    } else if ahead.abs() > SKEW_WARNS {
        CLOCK.warning(says, remedy)
    } else {
        CLOCK.ok("this machine's clock goes as GitHub's does")
    }
}

fn credentials(config: &Config, facts: &GitHubFacts) -> Finding {
    match &facts.identity {
        Seen::Known(Identity::App(app)) => {
            let owner = app.owner.as_ref().map(|owner| format!(" of `{owner}`")).unwrap_or_default();
            CREDENTIALS.ok(format!("key and id belong to the GitHub App `{}` (App id {}){owner}", app.slug, app.id))
        }
        Seen::Known(Identity::Token(who)) => CREDENTIALS.ok(format!("GitHub knows {who}")),
        Seen::Failed(error @ Error::Credentials(_)) => {
            let remedy = match &config.github.auth {
                GitHubAuth::App { .. } => {
                    "compare `github.auth.app.client_id` with the App's page (Settings, Developer settings, GitHub Apps), and \
                     make a new private key there if this one is not listed; a wrong clock has the same effect"
                }
                GitHubAuth::Token(_) => "make a new token, and put it where `github.auth.token` points",
            };
            CREDENTIALS.broken(error.to_string(), remedy)
        }
        Seen::Failed(Error::Unavailable { .. }) => CREDENTIALS.not_looked("GitHub does not answer"),
        Seen::Failed(error) => CREDENTIALS.unknown(error.to_string(), "run this again later"),
        Seen::NotLooked(because) => CREDENTIALS.not_looked(because),
    }
}

fn rate(config: &Config, account: Option<&str>, rates: &Asked<Vec<Rate>>, now: Timestamp) -> Finding {
    let whose = match (account, &config.github.auth) {
        (Some(account), _) => format!("the App on `{account}`"),
        (None, GitHubAuth::App { .. }) => "the App itself".to_owned(),
        (None, GitHubAuth::Token(_)) => "the token's owner".to_owned(),
    };
    let wait = "wait; if it happens again, look for another program with the same App, and raise `github.poll.runners`";
    let finding = match rates {
        Seen::NotLooked(because) => RATE.not_looked(because),
        Seen::Failed(error @ Error::RateLimited { .. }) => RATE.broken(format!("{whose}: {error}"), wait),
        // GitHub Enterprise Server says this where limits are off.
        Seen::Failed(Error::NotFound { .. }) => RATE.ok(format!("{whose}: this server has no limits")),
        Seen::Failed(error) => RATE.unknown(format!("{whose}: {error}"), "run this again later"),
        Seen::Known(rates) => {
            let ours = ["core", "actions_runner_registration"];
            let left: Vec<&Rate> =
                ours.iter().filter_map(|name| rates.iter().find(|rate| rate.resource == *name)).collect();
            let words = |rate: &Rate| format!("{} of {} ({})", rate.remaining, rate.limit, rate.resource);
            let used_up = left.iter().find(|rate| rate.remaining == 0 && rate.reset > now);
            let little = left.iter().find(|rate| rate.remaining * 100 < rate.limit * LITTLE_PERCENT);
            if let Some(rate) = used_up {
                RATE.broken(format!("{whose} has nothing left until {:.0} ({})", rate.reset, rate.resource), wait)
            } else if let Some(rate) = little {
                RATE.warning(format!("{whose} has only {} left until {:.0}", words(rate), rate.reset), wait)
            } else {
                let shown: Vec<String> = left.into_iter().map(words).collect();
                RATE.ok(format!("{whose} has {} left in this hour", shown.join(", ")))
            }
        }
    };
    match account {
        Some(account) => finding.about(account),
        None => finding,
    }
}

fn installed(config: &Config, account: &str, installations: &[Installation], app: Option<&AppFacts>) -> Finding {
    let pools: Vec<&str> = (config.pools.iter())
        .filter(|pool| pool.scope.account().eq_ignore_ascii_case(account))
        .map(|pool| pool.name.as_str())
        .collect();
    let pools = some(&pools);
    let finding = match of(installations, account) {
        None => {
            let page = app.map(|app| format!("{}/installations/new", app.html_url));
            INSTALLATIONS.broken(
                format!("the App is not installed on `{account}`: no runner of pool {pools} can be made"),
                format!(
                    "install it there: {}",
                    page.unwrap_or_else(|| "from the App's page, \"Install App\"".to_owned())
                ),
            )
        }
        Some(it) if it.suspended_at.is_some() => INSTALLATIONS.broken(
            format!("the App is suspended on `{account}`: GitHub refuses every call for pool {pools}"),
            format!("an owner of `{account}` can let it go on: {}", it.html_url),
        ),
        Some(it) => match &config.github.auth {
            GitHubAuth::App { installation: Some(id), .. } if *id != it.id => INSTALLATIONS.broken(
                format!("the App's installation on `{account}` is {}, and the configuration names {id}", it.id),
                "leave `installation_id` out: it is looked up for each account",
            ),
            _ if it.kind == AccountKind::User && has_organization(config, account) => INSTALLATIONS.broken(
                format!("`{account}` is a person: only repositories of theirs have runners"),
                format!("name a repository: `org_url: …/{account}/REPOSITORY`"),
            ),
            _ => INSTALLATIONS.ok(format!("the App is installed on `{account}` (installation {})", it.id)),
        },
    };
    finding.about(account)
}

fn has_organization(config: &Config, account: &str) -> bool {
    config
        .pools
        .iter()
        .any(|pool| matches!(&pool.scope, Scope::Organization(login) if login.eq_ignore_ascii_case(account)))
}

fn repositories(config: &Config, it: &Installation, facts: &GitHubFacts) -> Finding {
    let account = &it.account;
    let add = format!("add them to the installation: {}", it.html_url);
    let given = match facts.repositories.get(&account.to_lowercase()) {
        Some(Seen::Known(given)) => given,
        Some(Seen::Failed(error)) => {
            let says = format!("the repositories of `{account}` cannot be listed: {error}");
            return REPOSITORIES.unknown(says, "run this again once GitHub answers").about(account);
        }
        Some(Seen::NotLooked(because)) => return REPOSITORIES.not_looked(because).about(account),
        None => return REPOSITORIES.not_looked("nobody asked for them").about(account),
    };
    let names: Vec<&str> = given.iter().map(|repository| repository.full_name.as_str()).collect();
    let wanted = config.pools.iter().filter_map(|pool| match &pool.scope {
        Scope::Repository { owner, .. } if owner.eq_ignore_ascii_case(account) => Some(pool.scope.to_string()),
        Scope::Repository { .. } | Scope::Organization(_) => None,
    });
    let without: Vec<String> =
        wanted.filter(|name| names.iter().all(|given| !given.eq_ignore_ascii_case(name))).collect();
    let finding = if !without.is_empty() {
        let says = format!("the App was not given {} of `{account}`: no runner can register there", some(&without));
        REPOSITORIES.broken(says, add)
    } else if given.is_empty() {
        REPOSITORIES.warning(format!("the App was given no repository of `{account}`: no job comes from there"), add)
    } else {
        let all = if it.selection == Selection::All { "all, those to come included" } else { "selected ones" };
        let many = count(given.len(), "repository", "repositories");
        REPOSITORIES.ok(format!("the App was given {many} of `{account}` ({all}): {}", some(&names)))
    };
    finding.about(account)
}

fn permissions(config: &Config, it: &Installation, app: Option<&AppFacts>) -> Finding {
    let account = &it.account;
    let scopes =
        config.pools.iter().map(|pool| &pool.scope).filter(|scope| scope.account().eq_ignore_ascii_case(account));
    let needed = needed(scopes);
    let lacks = missing(&needed, &it.permissions);
    if lacks.is_empty() {
        let granted: Vec<String> = needed.iter().map(|it| format!("{}: {}", it.permission, it.level)).collect();
        return PERMISSIONS.ok(format!("`{account}` granted what is needed: {}", some(&granted))).about(account);
    }
    let words: Vec<String> = lacks.iter().map(ToString::to_string).collect();
    let unasked: Vec<&str> = app
        .map(|app| missing(&needed, &app.permissions))
        .unwrap_or_default()
        .iter()
        .map(|missing| missing.needed.title)
        .collect();
    let accept = format!("an owner of `{account}` has to accept it: {}", it.html_url);
    let remedy = if unasked.is_empty() {
        accept
    } else {
        format!(
            "let the App ask for it (its settings, \"Permissions & events\": {}); then {accept}",
            unasked.join(", ")
        )
    };
    PERMISSIONS.broken(format!("on `{account}` {}", words.join("; ")), remedy).about(account)
}

fn events(config: &Config, there: &[&Installation], app: Option<&AppFacts>) -> Vec<Finding> {
    if config.ephemeral_pools().next().is_none() {
        return vec![EVENTS.ok("no pool is made for jobs, so no events are needed")];
    }
    let Some(app) = app else { return vec![EVENTS.not_looked("GitHub did not tell of the App")] };
    let breaks = "no job is heard of";
    let lacks = missing_events(&app.events);
    if !lacks.is_empty() {
        let says = format!("the App does not subscribe to {}: {breaks}", some(&lacks));
        return vec![EVENTS.broken(
            says,
            "tick \"Workflow job\" in the App's settings, \"Permissions & events\", \"Subscribe to events\"",
        )];
    }
    let behind: Vec<Finding> = (there.iter())
        .filter(|it| !missing_events(&it.events).is_empty())
        .map(|it| {
            let says =
                format!("`{}` does not send {}: {breaks} from there", it.account, some(&missing_events(&it.events)));
            let remedy =
                format!("an owner of `{}` has to accept what the App asks for now: {}", it.account, it.html_url);
            EVENTS.broken(says, remedy).about(&it.account)
        })
        .collect();
    if behind.is_empty() { vec![EVENTS.ok("the App subscribed to what is needed: `workflow_job`")] } else { behind }
}

fn public(config: &Config, facts: &GitHubFacts) -> Finding {
    let public: Vec<&str> = (facts.repositories.values())
        .filter_map(Seen::known)
        .flatten()
        .filter(|repository| !repository.private)
        .map(|repository| repository.full_name.as_str())
        .collect();
    if config.allow_public_repositories {
        let which = if public.is_empty() { String::new() } else { format!(" ({})", some(&public)) };
        return PUBLIC.warning(
            format!("jobs of public repositories are run{which}: the pull request of a fork runs anybody's code here"),
            "take `security.allow_public_repositories` away unless you must have it; let GitHub ask for an approval of each \
             outside contributor's run",
        );
    }
    PUBLIC.ok(match public.as_slice() {
        [] => "jobs of public repositories are refused".to_owned(),
        some_are => format!("jobs of public repositories are refused ({})", some(some_are)),
    })
}

#[cfg(test)]
mod tests;
