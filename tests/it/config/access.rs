//! Whose jobs a pool takes, and its runner group.

use super::{MINIMAL, env, good, problems, told};
use runnerfleet::config::{Admission, Pool};
use runnerfleet::model::Patterns;
use std::path::Path;

/// One line or more below `runners:`, at the pool `small`; the program is an App.
fn in_pool(lines: &[&str]) -> String {
    let lines: String = lines.iter().flat_map(|line| ["    ", line, "\n"]).collect();
    let text = MINIMAL.replace("    labels: [small]\n", &format!("    labels: [small]\n{lines}"));
    format!("{text}github: {{auth: {{app: {{client_id: Iv23liX, private_key: '${{APP_KEY}}'}}}}}}\n")
}

fn pool(lines: &[&str]) -> Pool {
    let loaded = good(&in_pool(lines));
    assert_eq!(loaded.warnings, [], "{lines:?}");
    loaded.config.pools[0].clone()
}

#[track_caller]
fn wrong(lines: &[&str], expected: &str) {
    let all: Vec<_> = problems(&in_pool(lines)).iter().map(told).collect();
    assert_eq!(all, [expected], "{lines:?}");
}

fn warned(lines: &[&str]) -> Vec<String> {
    let parsed = runnerfleet::config::parse(&in_pool(lines), "c.yaml", Path::new("/etc/fleet"), &env, "host-1");
    parsed.unwrap_or_else(|problems| panic!("{problems}")).warnings.iter().map(told).collect()
}

#[test]
fn without_a_word_nothing_is_decided_here() {
    assert_eq!(pool(&[]).admission, Admission::default());
    assert!(!pool(&[]).create_runner_group);
}

#[test]
fn the_rules_of_a_pool_are_read() {
    let rules = pool(&[
        "matching:",
        "  repositories: [acme/*, '!acme/secret-*']",
        "  public_repositories: refuse",
        "  forks: allow",
        "  events: [push, '!pull_request_target']",
    ])
    .admission;
    assert_eq!(rules.repositories, Patterns::new(["acme/*", "!acme/secret-*"]));
    assert_eq!((rules.public, rules.forks), (Some(false), Some(true)));
    assert_eq!(rules.events, Some(Patterns::new(["push", "!pull_request_target"])));
    // All pools get what `runners_defaults` says, one by one.
    let text = in_pool(&["matching: {forks: refuse}"])
        .replace("runners:\n", "  matching: {repositories: ['!acme/x'], forks: allow}\nrunners:\n");
    let rules = good(&text).config.pools[0].admission.clone();
    assert_eq!((rules.repositories.to_string().as_str(), rules.forks), ("!acme/x", Some(false)));
}

#[test]
fn what_is_no_repository_or_event_is_told() {
    for (lines, expected) in [
        (
            &["matching: {repositories: [web]}"][..],
            "8:31 runners[0].matching.repositories[0]: `web` names no account; write `ORGANIZATION/web`",
        ),
        (
            &["matching: {repositories: ['https://github.com/acme/web']}"],
            "8:31 runners[0].matching.repositories[0]: `https://github.com/acme/web` is an address; leave `https://github.com/` out",
        ),
        (
            &["matching: {repositories: [acme/web/x]}"],
            "8:31 runners[0].matching.repositories[0]: `acme/web/x` is no repository; write `OWNER/NAME`, as in `acme/web`, `acme/web-*` or `!acme/secret`",
        ),
        (
            &["matching: {repositories: []}"],
            "8:30 runners[0].matching.repositories: is empty; leave it out to take all",
        ),
        (
            &["matching: {repositories: [other/*]}"],
            "8:30 runners[0].matching.repositories: takes no repository of acme, where the pool is; `org_url` says where its runners are; a pattern begins with that account, or with `*/`",
        ),
        (
            &["org_url: https://github.com/acme/web", "matching: {repositories: [acme/*, '!acme/web']}"],
            "9:30 runners[0].matching.repositories: takes no repository of acme/web, where the pool is; `org_url` says where its runners are; a pattern begins with that account, or with `*/`",
        ),
        (
            &["matching: {events: ['!pull_request_targt']}"],
            "8:25 runners[0].matching.events[0]: `!pull_request_targt` is no event that begins a workflow; did you mean `!pull_request_target`?",
        ),
        (
            &["matching: {forks: deny}"],
            "8:23 runners[0].matching.forks: `deny` is not known; it is `refuse` or `allow`",
        ),
        (
            &["matching: {public_repositories: true}"],
            "8:37 runners[0].matching.public_repositories: `true` is not known; it is `refuse` or `allow`",
        ),
    ] {
        wrong(lines, expected);
    }
}

#[test]
fn a_group_that_is_to_be_made_has_a_name_and_an_organization() {
    let made = pool(&["runner_group: builders", "create_runner_group: true"]);
    assert_eq!((made.runner_group.as_deref(), made.create_runner_group), (Some("builders"), true));
    wrong(
        &["create_runner_group: true"],
        "8:26 runners[0].create_runner_group: there is no group to make; name it: `runner_group: NAME`",
    );
    wrong(
        &["org_url: https://github.com/acme/web", "create_runner_group: true"],
        "9:26 runners[0].create_runner_group: a repository has no runner groups; leave it out, or register the pool at the organization",
    );
    // In `runners_defaults` it is meant for the pools of organizations.
    let text = in_pool(&["org_url: https://github.com/acme/web"])
        .replace("runners:\n", "  runner_group: builders\n  create_runner_group: true\nrunners:\n");
    let repository = good(&text).config.pools[0].clone();
    assert_eq!((repository.runner_group, repository.create_runner_group), (None, false));
    // Which repositories there are is told to an App alone.
    let with_token = in_pool(&["runner_group: builders", "create_runner_group: true"]);
    let with_token = with_token.split("github:").next().unwrap();
    let all: Vec<_> = problems(with_token).iter().map(told).collect();
    assert_eq!(
        all,
        [
            "9:26 runners[0].create_runner_group: needs an App: a personal token cannot tell which repositories are meant; use a GitHub App (github.auth.app), or make the group yourself"
        ]
    );
}

#[test]
fn what_is_given_away_is_said_aloud() {
    assert_eq!(warned(&["matching: {public_repositories: allow}"]), [""; 0]);
    let all = warned(&["matching: {public_repositories: allow, forks: allow, events: ['*']}"]);
    assert_eq!(
        all,
        [
            "8:51 runners[0].matching.forks: in the public repositories that the pool takes, a pull request runs anybody's code on this machine",
            "8:66 runners[0].matching.events: in public repositories strangers can cause `pull_request_target`, `workflow_run`, `issue_comment`, with the repository's secrets",
        ]
    );
}

#[test]
fn an_idle_runner_keeps_no_fork_out() {
    let message = "an idle runner takes any job that GitHub gives it, also a fork's that the pool refuses; set `min_idle: 0` where forks are to be kept out";
    for rules in ["{forks: refuse}", "{public_repositories: allow}"] {
        let all = warned(&["scaling: {min_idle: 1}", &format!("matching: {rules}")]);
        assert_eq!(all, [format!("8:25 runners[0].scaling.min_idle: {message}")], "{rules}");
    }
    assert_eq!(warned(&["scaling: {min_idle: 1}", "matching: {public_repositories: refuse}"]), [""; 0]);
}

#[test]
fn rules_that_a_kept_runner_cannot_keep_are_told() {
    let message = "has no effect: GitHub itself gives jobs to the runners that are kept; a runner group keeps jobs away from them: `runner_group`, `create_runner_group`";
    let all = warned(&["nb: 1", "matching: {repositories: [acme/web], forks: refuse}"]);
    assert_eq!(
        all,
        [
            format!("9:30 runners[0].matching.repositories: {message}"),
            format!("9:49 runners[0].matching.forks: {message}"),
        ]
    );
    let grouped =
        ["nb: 1", "runner_group: builders", "create_runner_group: true", "matching: {repositories: [acme/web]}"];
    assert_eq!(warned(&grouped), [""; 0]);
}
