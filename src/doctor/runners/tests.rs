use super::super::finding::Verdict::{self, Broken, NotLooked, Ok, Unknown, Warning};
use super::*;
use crate::github::Error;
use crate::model::{ContainerId, HostId, LabelSet, PoolName, RegistrationId};
use std::path::Path;

const NOW: &str = "2026-11-22T12:00:00Z";

fn config(pool: &str) -> Config {
    let text = format!(
        "version: 1\nrunners_defaults: {{ org_url: https://github.com/acme }}\n\
         runners: [{{ id: linux, labels: [linux], {pool} }}]\ngithub: {{ auth: {{ token: '${{TOKEN}}' }} }}\n\
         intake: {{ secrets: ['${{SECRET}}'] }}\n"
    );
    let env = |name: &str| Some(format!("value-of-{name}"));
    crate::config::parse(&text, "fleet.yaml", Path::new("/etc/fleet"), &env, "here").unwrap().config
}

fn plain() -> Config {
    config("base_image: 'runner:2.336.0'")
}

fn acme() -> Scope {
    Scope::Organization("acme".to_owned())
}

fn ours(config: &Config) -> RunnerName {
    naming::for_spare(&config.pools[0], 1, &config.instance)
}

fn registration(name: &RunnerName, status: RegistrationStatus) -> Registration {
    Registration {
        id: RegistrationId(7),
        name: name.clone(),
        status,
        busy: false,
        labels: LabelSet::default(),
        version: None,
    }
}

fn container(name: &RunnerName) -> Container {
    Container {
        id: ContainerId::new("c0ffee"),
        runner: name.clone(),
        pool: PoolName::new("linux"),
        scope: acme(),
        host: HostId::new("here"),
        created_for: None,
        registration: None,
        image: "runner:2.336.0".to_owned(),
        image_id: None,
        kept: None,
        created_at: "2026-11-22T08:00:00Z".parse().unwrap(),
        status: ContainerStatus::Running,
    }
}

fn overview(unknown: &[(&str, &str)]) -> Overview {
    Overview {
        at: NOW.parse().unwrap(),
        host: "here".to_owned(),
        unknown: unknown.iter().map(|(part, why)| ((*part).to_owned(), (*why).to_owned())).collect(),
        runners: Vec::new(),
        jobs: Vec::new(),
        actions: Vec::new(),
        missed: crate::missed::report::Report::default(),
    }
}

fn facts(list: Vec<Registration>, containers: Vec<Container>) -> RunnersFacts {
    RunnersFacts {
        serve: Serve::Runs(Box::new(overview(&[]))),
        registrations: [(acme(), Seen::Known(list))].into(),
        containers: Seen::Known(containers),
        newest_agents: [(acme(), Seen::Known(Some("2.336.0".to_owned())))].into(),
    }
}

fn one(config: &Config, facts: &RunnersFacts, id: &str) -> Finding {
    let all = findings(config, facts, NOW.parse().unwrap());
    assert!(all.iter().all(|it| matches!(it.verdict, Ok | NotLooked) || it.remedy.is_some()), "{all:?}");
    all.into_iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}"))
}

fn verdict(config: &Config, facts: &RunnersFacts, id: &str) -> Verdict {
    one(config, facts, id).verdict
}

fn away<T>() -> Asked<T> {
    Seen::Failed(Error::Unavailable { what: "list".to_owned(), message: "refused".to_owned() })
}

#[test]
fn all_is_green() {
    let config = plain();
    let name = ours(&config);
    let facts = facts(vec![registration(&name, RegistrationStatus::Online)], vec![container(&name)]);
    let all = findings(&config, &facts, NOW.parse().unwrap());
    assert!(all.iter().all(|finding| finding.verdict == Ok) && all.len() == 4, "{all:?}");
}

#[test]
fn serve_in_each_colour() {
    let of = |serve: Serve| verdict(&plain(), &RunnersFacts { serve, ..facts(vec![], vec![]) }, "runners.serve");
    assert_eq!(of(Serve::Runs(Box::new(overview(&[])))), Ok);
    assert_eq!(of(Serve::Runs(Box::new(overview(&[("docker", "no socket")])))), Warning);
    assert_eq!(of(Serve::NotThere), Warning);
    assert_eq!(of(Serve::Silent("another version".to_owned())), Warning);
    assert_eq!(of(Serve::NotLooked("x".to_owned())), NotLooked);
}

#[test]
fn the_agents_version_in_each_colour() {
    let mut github = plain();
    assert_eq!(github.github.api_url, "https://api.github.com");
    let of = |config: &Config, image: &str| {
        let mut config = config.clone();
        config.pools[0].base_image = Some(image.to_owned());
        one(&config, &facts(vec![], vec![]), "runners.agent_version")
    };
    assert_eq!(of(&github, "runner:2.336.0").verdict, Ok);
    assert_eq!(of(&github, "runner:2.340.0").verdict, Ok);
    let old = of(&github, "runner:2.330.0");
    assert_eq!(old.verdict, Warning);
    assert!(old.says.contains("cannot be told from here"), "{old:?}");
    let refused = of(&github, "runner:2.328.0");
    assert_eq!(refused.verdict, Broken);
    assert!(refused.remedy.unwrap().contains("check-base-image-update --apply"));
    assert_eq!(of(&github, "runner:latest").verdict, Unknown);
    github.github.api_url = "https://github.acme.example/api/v3".to_owned();
    assert_eq!(of(&github, "runner:2.328.0").verdict, Warning, "a server of an enterprise has no floor");
    github.github.api_url = "https://api.acme.ghe.com".to_owned();
    assert_eq!(of(&github, "runner:2.328.0").verdict, Broken);
    let unread = RunnersFacts { newest_agents: [(acme(), away())].into(), ..facts(vec![], vec![]) };
    assert_eq!(verdict(&plain(), &unread, "runners.agent_version"), Unknown);
}

#[test]
fn what_really_runs_counts_more_than_a_tag() {
    let config = plain();
    let name = ours(&config);
    let running =
        Registration { version: Some("2.300.0".to_owned()), ..registration(&name, RegistrationStatus::Online) };
    let found = one(&config, &facts(vec![running], vec![container(&name)]), "runners.agent_version");
    assert_eq!(found.verdict, Broken);
    assert!(found.says.contains("2.300.0 (by GitHub's list of its runners)"), "{found:?}");
}

#[test]
fn runners_without_a_container_in_each_colour() {
    let config = plain();
    let name = ours(&config);
    let of = |facts: RunnersFacts| one(&config, &facts, "runners.without_container");
    let ghost = of(facts(vec![registration(&name, RegistrationStatus::Offline)], vec![]));
    assert_eq!(ghost.verdict, Warning);
    assert!(ghost.says.contains(name.as_str()) && ghost.remedy.unwrap().contains("runnerfleet remove"));
    let elsewhere = of(facts(vec![registration(&name, RegistrationStatus::Online)], vec![]));
    assert!(elsewhere.verdict == Ok && elsewhere.says.contains("1 more run on other engines"), "{elsewhere:?}");
    let foreign = RunnerName::new("somebody-1");
    assert_eq!(of(facts(vec![registration(&foreign, RegistrationStatus::Offline)], vec![])).verdict, Ok);
    assert_eq!(of(RunnersFacts { registrations: [(acme(), away())].into(), ..facts(vec![], vec![]) }).verdict, Unknown);
    let blind = RunnersFacts { containers: Seen::Failed("no socket".to_owned()), ..facts(vec![], vec![]) };
    assert_eq!(of(blind).verdict, NotLooked);
}

#[test]
fn a_kept_runner_is_known_by_its_number() {
    let config = config("base_image: 'runner:2.336.0', nb: 2, name_prefix: web");
    let of = |name: &str| of_pool(&config, &RunnerName::new(name)).is_some();
    assert_eq!([of("web-1"), of("web-2"), of("web-3"), of("web-x"), of("webs-1")], [true, true, false, false, false]);
}

#[test]
fn containers_without_a_registration_in_each_colour() {
    let config = plain();
    let name = ours(&config);
    let of = |facts: RunnersFacts| one(&config, &facts, "runners.without_registration");
    let orphan = of(facts(vec![], vec![container(&name)]));
    assert_eq!(orphan.verdict, Warning);
    assert!(orphan.says.contains(name.as_str()));
    let young = Container { created_at: NOW.parse().unwrap(), ..container(&name) };
    assert_eq!(of(facts(vec![], vec![young])).verdict, Ok);
    let ended = ContainerStatus::Exited { exit_code: 0, oom_killed: false };
    assert_eq!(of(facts(vec![], vec![Container { status: ended, ..container(&name) }])).verdict, Ok);
    let unread = RunnersFacts { registrations: [(acme(), away())].into(), ..facts(vec![], vec![container(&name)]) };
    assert_eq!(of(unread).verdict, Unknown);
}
