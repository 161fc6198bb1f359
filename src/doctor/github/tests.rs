use super::super::finding::Verdict::{self, Broken, NotLooked, Ok, Unknown, Warning};
use super::*;
use crate::model::RepoName;
use std::path::Path;

const NOW: &str = "2026-11-22T12:00:00Z";

fn config_with(org_url: &str, more: &str) -> Config {
    let text = format!(
        "version: 1\nrunners_defaults: {{ org_url: '{org_url}', base_image: 'runner:1' }}\n\
         runners: [{{ id: linux, labels: [linux] }}]\ngithub: {{ auth: {{ token: '${{TOKEN}}' }} }}\n\
         intake: {{ secrets: ['${{SECRET}}'] }}\n{more}"
    );
    let env = |name: &str| Some(format!("value-of-{name}"));
    let mut config = crate::config::parse(&text, "fleet.yaml", Path::new("/etc/fleet"), &env, "here").unwrap().config;
    config.github.auth = app_auth(None);
    config
}

fn app_auth(installation: Option<u64>) -> GitHubAuth {
    GitHubAuth::App { issuer: "Iv23".to_owned(), private_key: "pem".into(), installation }
}

fn config() -> Config {
    config_with("https://github.com/acme", "")
}

fn granted() -> BTreeMap<String, String> {
    [
        ("actions", "read"),
        ("metadata", "read"),
        ("organization_self_hosted_runners", "write"),
        ("administration", "write"),
    ]
    .map(|(name, level)| (name.to_owned(), level.to_owned()))
    .into()
}

fn app() -> AppFacts {
    AppFacts {
        id: 42,
        slug: "fleet".to_owned(),
        name: "fleet".to_owned(),
        client_id: None,
        owner: Some("acme".to_owned()),
        html_url: "https://github.com/apps/fleet".to_owned(),
        permissions: granted(),
        events: vec!["workflow_job".to_owned()],
        installations: Some(1),
    }
}

fn installation() -> Installation {
    Installation {
        id: 7,
        account: "Acme".to_owned(),
        kind: AccountKind::Organization,
        suspended_at: None,
        permissions: granted(),
        events: vec!["workflow_job".to_owned()],
        selection: Selection::All,
        html_url: "https://github.com/organizations/acme/settings/installations/7".to_owned(),
        app_id: 42,
    }
}

fn repository(name: &str, private: bool) -> RepositoryFacts {
    RepositoryFacts { id: 1, full_name: RepoName::new(name), private, fork: false, archived: false, pushed_at: None }
}

fn full() -> Vec<Rate> {
    [("core", 4900), ("actions_runner_registration", 9000)].map(|(name, left)| budget(name, left)).into()
}

fn budget(resource: &str, remaining: u64) -> Rate {
    let reset = "2026-11-22T12:30:00Z".parse().unwrap();
    Rate { resource: resource.to_owned(), limit: 10_000.min(remaining.max(5000) * 2), remaining, reset }
}

fn facts() -> GitHubFacts {
    GitHubFacts {
        clock: Seen::Known(Some(SignedDuration::ZERO)),
        identity: Seen::Known(Identity::App(app())),
        installations: Seen::Known(vec![installation()]),
        repositories: BTreeMap::from([("acme".to_owned(), Seen::Known(vec![repository("acme/web", true)]))]),
        rates: vec![(None, Seen::Known(full())), (Some("acme".to_owned()), Seen::Known(full()))],
    }
}

fn all(config: &Config, facts: &GitHubFacts) -> Vec<Finding> {
    let found = findings(config, facts, NOW.parse().unwrap());
    assert!(found.iter().all(|it| matches!(it.verdict, Ok | NotLooked) || it.remedy.is_some()), "{found:?}");
    found
}

fn one(config: &Config, facts: &GitHubFacts, id: &str) -> Finding {
    all(config, facts).into_iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}"))
}

fn verdict(facts: &GitHubFacts, id: &str) -> Verdict {
    one(&config(), facts, id).verdict
}

fn unavailable() -> Error {
    Error::Unavailable { what: "read the App".to_owned(), message: "connection refused".to_owned() }
}

fn limited() -> Error {
    Error::RateLimited { until: "2026-11-22T12:30:00Z".parse().unwrap(), what: "read the App".to_owned() }
}

#[test]
fn all_is_green() {
    let found = all(&config(), &facts());
    assert!(found.iter().all(|finding| finding.verdict == Ok), "{found:?}");
    let ids: BTreeSet<&str> = found.iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ALL.iter().map(|check| check.id).collect());
}

#[test]
fn a_github_that_is_away_is_red_once() {
    let away = GitHubFacts {
        clock: Seen::Failed(unavailable()),
        identity: Seen::NotLooked("GitHub does not answer".to_owned()),
        installations: Seen::NotLooked("GitHub does not answer".to_owned()),
        repositories: BTreeMap::new(),
        rates: vec![(None, Seen::NotLooked("GitHub does not answer".to_owned()))],
    };
    let found = all(&config(), &away);
    assert_eq!(found.iter().filter(|finding| finding.verdict == Broken).count(), 1, "{found:?}");
    assert_eq!((found[0].id, found[0].verdict), ("github.api", Broken));
    assert!(found[0].says.contains("connection refused"));
    assert!(found[1].says.contains("because GitHub does not answer"));
}

#[test]
fn the_clock_in_each_colour() {
    let of = |secs: i64| {
        verdict(&GitHubFacts { clock: Seen::Known(Some(SignedDuration::from_secs(secs))), ..facts() }, "github.clock")
    };
    assert_eq!([of(0), of(-5), of(30), of(-100), of(61), of(-541)], [Ok, Ok, Warning, Warning, Broken, Broken]);
    assert_eq!(verdict(&GitHubFacts { clock: Seen::Known(None), ..facts() }, "github.clock"), Unknown);
    assert_eq!(verdict(&GitHubFacts { clock: Seen::Failed(limited()), ..facts() }, "github.clock"), Unknown);
}

#[test]
fn credentials_in_each_colour() {
    let of =
        |error: Error| one(&config(), &GitHubFacts { identity: Seen::Failed(error), ..facts() }, "github.credentials");
    let refused = of(Error::Credentials("GitHub does not accept our credentials".to_owned()));
    assert_eq!(refused.verdict, Broken);
    assert!(refused.remedy.unwrap().contains("client_id"));
    assert_eq!(of(limited()).verdict, Unknown);
    assert_eq!(of(unavailable()).verdict, NotLooked);
    let token = GitHubFacts { identity: Seen::Known(Identity::Token("the owner of a token".to_owned())), ..facts() };
    let found = all(&config(), &token);
    assert_eq!(found.iter().find(|it| it.id == "github.credentials").unwrap().verdict, Ok);
    assert_eq!(found.iter().find(|it| it.id == "github.installations").unwrap().verdict, NotLooked);
}

#[test]
fn the_rate_limit_in_each_colour() {
    let of =
        |rates: Asked<Vec<Rate>>| verdict(&GitHubFacts { rates: vec![(None, rates)], ..facts() }, "github.rate_limit");
    assert_eq!(of(Seen::Known(full())), Ok);
    assert_eq!(of(Seen::Known(vec![budget("core", 400)])), Warning);
    assert_eq!(of(Seen::Known(vec![budget("actions_runner_registration", 0)])), Broken);
    assert_eq!(of(Seen::Failed(limited())), Broken);
    assert_eq!(of(Seen::Failed(unavailable())), Unknown);
    let without = Error::NotFound { what: "read".to_owned(), message: "Rate limiting is not enabled.".to_owned() };
    assert_eq!(of(Seen::Failed(without)), Ok);
}

#[test]
fn installations_in_each_colour() {
    let of = |it: Vec<Installation>| {
        one(&config(), &GitHubFacts { installations: Seen::Known(it), ..facts() }, "github.installations")
    };
    assert_eq!(of(vec![installation()]).verdict, Ok);
    let nowhere = of(Vec::new());
    assert_eq!((nowhere.verdict, nowhere.about.as_deref()), (Broken, Some("acme")));
    assert!(nowhere.remedy.unwrap().contains("https://github.com/apps/fleet/installations/new"));
    let suspended = Installation { suspended_at: Some(NOW.parse().unwrap()), ..installation() };
    let found = of(vec![suspended]);
    assert_eq!(found.verdict, Broken);
    assert!(found.says.contains("suspended on `acme`") && found.remedy.unwrap().contains("/installations/7"));
    assert_eq!(of(vec![Installation { kind: AccountKind::User, ..installation() }]).verdict, Broken);
    let mut named = config();
    named.github.auth = app_auth(Some(8));
    assert_eq!(one(&named, &facts(), "github.installations").verdict, Broken);
    let failed = GitHubFacts { installations: Seen::Failed(unavailable()), ..facts() };
    assert_eq!(verdict(&failed, "github.installations"), Unknown);
    assert_eq!(verdict(&failed, "github.permissions"), NotLooked);
}

#[test]
fn repositories_in_each_colour() {
    let given =
        |list: Asked<Vec<RepositoryFacts>>| GitHubFacts { repositories: [("acme".to_owned(), list)].into(), ..facts() };
    assert_eq!(verdict(&given(Seen::Known(vec![repository("acme/web", true)])), "github.repositories"), Ok);
    assert_eq!(verdict(&given(Seen::Known(Vec::new())), "github.repositories"), Warning);
    assert_eq!(verdict(&given(Seen::Failed(unavailable())), "github.repositories"), Unknown);
    let of_web = config_with("https://github.com/acme/web", "");
    let api = given(Seen::Known(vec![repository("acme/api", true)]));
    assert_eq!(one(&of_web, &api, "github.repositories").verdict, Broken);
    assert_eq!(one(&of_web, &facts(), "github.repositories").verdict, Ok);
}

#[test]
fn permissions_that_are_missing_are_red_with_what_fails_without_them() {
    let mut less = granted();
    less.remove("organization_self_hosted_runners");
    let installation = Installation { permissions: less.clone(), ..installation() };
    let facts = GitHubFacts { installations: Seen::Known(vec![installation]), ..facts() };
    let found = one(&config(), &facts, "github.permissions");
    assert_eq!(found.verdict, Broken);
    assert!(found.says.contains("without it no runner of the organization can be registered"), "{found:?}");
    assert!(found.remedy.unwrap().starts_with("an owner of `Acme` has to accept it"));
    let unasked = AppFacts { permissions: less, ..app() };
    let found =
        one(&config(), &GitHubFacts { identity: Seen::Known(Identity::App(unasked)), ..facts }, "github.permissions");
    assert!(found.remedy.unwrap().starts_with("let the App ask for it"));
}

#[test]
fn events_in_each_colour() {
    let deaf =
        GitHubFacts { identity: Seen::Known(Identity::App(AppFacts { events: Vec::new(), ..app() })), ..facts() };
    let found = one(&config(), &deaf, "github.events");
    assert_eq!(found.verdict, Broken);
    assert!(found.says.contains("no job is heard of"));
    let behind = Installation { events: Vec::new(), ..installation() };
    let found = one(&config(), &GitHubFacts { installations: Seen::Known(vec![behind]), ..facts() }, "github.events");
    assert_eq!((found.verdict, found.about.as_deref()), (Broken, Some("Acme")));
}

#[test]
fn public_repositories_that_are_allowed_are_yellow() {
    let open = config_with("https://github.com/acme", "security: { allow_public_repositories: true }\n");
    let site = Seen::Known(vec![repository("acme/site", false)]);
    let facts = GitHubFacts { repositories: [("acme".to_owned(), site)].into(), ..facts() };
    let found = one(&open, &facts, "github.public_repositories");
    assert_eq!(found.verdict, Warning);
    assert!(found.says.contains("acme/site"));
    assert_eq!(one(&config(), &facts, "github.public_repositories").verdict, Ok);
}
