//! What is wrong with a file is told in one go, each with its place.

use super::{MINIMAL, minimal_and, problems, told};
use runnerfleet::config::{Problems, parse};
use std::path::Path;

/// One line below `runners:`, at the pool `small`.
fn in_pool(line: &str) -> String {
    MINIMAL.replace("    labels: [small]\n", &format!("    labels: [small]\n    {line}\n"))
}

#[track_caller]
fn only(text: &str, expected: &str) {
    let all: Vec<_> = problems(text).iter().map(told).collect();
    assert_eq!(all, [expected], "\n{text}");
}

#[test]
fn the_whole_picture_as_a_person_sees_it() {
    let text = "\
version: 1
runners_defaults:
  org_url: https://github.com/acme
runners:
  - id: web
    labels: [web]
    image: alpine
    idle_timout: 5m            # a slip
    scaling:
      min_idle: 20
      max: 10
  - id: web
    labels: web
    resources: {memory: 512, cpus: 500m}
intake:
  secrets: [\"${UNSET}\"]
";
    let problems = parse(text, "runners_config.yaml", Path::new("/x"), &|_| None, "h").unwrap_err();
    let expected = "\
runners_config.yaml:1:1: github.auth: nothing says who the program is at GitHub, and the variable `GITHUB_TOKEN` is not set; give `github.auth.app` (recommended) or `github.auth.token`
  1 | version: 1
    | ^
runners_config.yaml:8:5: runners[0].idle_timout: unknown key; did you mean `idle_timeout`? it belongs to `runners[].scaling`
  8 |     idle_timout: …
    |     ^^^^^^^^^^^
runners_config.yaml:10:17: runners[0].scaling.min_idle: `min_idle` (20) is more than `max` (10); a pool never has more than `max` runners
  10 |       min_idle: 20
     |                 ^^
runners_config.yaml:12:5: runners[1].image: is missing; give the pool an `image`, or all pools one with `runners_defaults.base_image`
  12 |   - id: web
     |     ^
runners_config.yaml:12:9: runners[1].id: `web` is the id of another pool already (line 5)
  12 |   - id: web
     |         ^^^
runners_config.yaml:13:13: runners[1].labels: expected a list (`[a, b]`, or a line with `- ` for each), found a text
  13 |     labels: …
     |             ^
runners_config.yaml:14:25: runners[1].resources.memory: `512` is not a size; say the unit: `512m`, `512g`, or `512b` for bytes
  14 |     resources: {memory: 512, cpus: 500m}
     |                         ^^^
runners_config.yaml:14:36: runners[1].resources.cpus: `500m` is no number of processors; write a number such as `2` or `1.5`
  14 |     resources: {memory: 512, cpus: 500m}
     |                                    ^^^^
runners_config.yaml:16:13: intake.secrets[0]: the variable `UNSET` is not set; set it, or give a default: `${UNSET:-default}`
  16 |   secrets: [\"${UNSET}\"]
     |             ^^^^^^^^^^
9 problems in runners_config.yaml";
    assert_eq!(problems.to_string(), expected);
    let json = serde_json::to_value(&problems).unwrap();
    assert_eq!(
        json[1],
        serde_json::json!({
            "file": "runners_config.yaml",
            "line": 8,
            "column": 5,
            "key_path": "runners[0].idle_timout",
            "message": "unknown key",
            "hint": "did you mean `idle_timeout`? it belongs to `runners[].scaling`",
        })
    );
}

#[test]
fn keys_that_do_not_belong() {
    only(&in_pool("lables: [x]"), "8:5 runners[0].lables: unknown key; did you mean `labels`?");
    only(&in_pool("namePrefix: x"), "8:5 runners[0].namePrefix: unknown key; did you mean `name_prefix`?");
    only(&in_pool("name-prefix: x"), "8:5 runners[0].name-prefix: unknown key; did you mean `name_prefix`?");
    only(&in_pool("max: 3"), "8:5 runners[0].max: unknown key; it belongs to `runners[].scaling`");
    only(
        &in_pool("5: x"),
        "8:5 runners[0].5: unknown key; known here: `base_image`, `build_args`, `build_image`, `command`, `create_runner_group`, `default_labels`, `docker`, `env`, `id`, `image`, `labels`, `language`, `language_version`, `matching`, `mode`, `name`, `name_prefix`, `nb`, `org_url`, `pull_policy`, `registration`, `resources`, `rollout`, `runner_group`, `scaling`, `security`, `techno`, `techno_version`, `timeouts`, `user` and `work`",
    );
    only(&minimal_and("runner: []\n"), "10:1 runner: unknown key; did you mean `runners`?");
    only(&minimal_and("secrets: [x]\n"), "10:1 secrets: unknown key; it belongs to `intake`");
    only(
        &minimal_and("http: {sockt: x}\n"),
        "10:8 http.sockt: unknown key; did you mean `socket`? it belongs to `http.admin`",
    );
    only(&minimal_and("log: {level:info}\n"), "10:7 log.level…: unknown key; a blank is missing behind `:`");
    only(&minimal_and("? [a]\n: 1\n"), "10:3 : a key has to be a text");
    only(&in_pool("id: again"), "8:5 runners[0].id: is given twice, first in line 6; keep one of them");
    only(
        &in_pool("scaling: {max_lifetime: 1h, max_age: 2h}"),
        "8:33 runners[0].scaling.max_age: means the same as `max_lifetime` in line 8; keep one of them",
    );
    only(&in_pool("env: {A: 1, A: 2}"), "8:17 runners[0].env.A: is given twice; keep one of them");
}

#[test]
fn keys_of_later_versions_are_told_as_such() {
    for (text, expected) in [
        (minimal_and("telemetry:\n"), "10:1 telemetry: not in this version yet; leave it out"),
        (
            minimal_and("webhooks: {secret: x}\n"),
            "10:12 webhooks.secret: does not belong here; `webhooks` is for outgoing notifications; GitHub's deliveries are set up under `intake`",
        ),
        (
            minimal_and("scheduler: {cron: '* * * * *'}\n"),
            "10:13 scheduler.cron: not in this version yet; leave it out",
        ),
        (
            in_pool("build_image: ./D\n    image: a"),
            "9:12 runners[0].image: the pool has a `build_image`, too; keep one of them",
        ),
        (in_pool("mode: persistent"), "6:5 runners[0].nb: is missing; `mode: persistent` keeps `nb` runners"),
        (
            in_pool("nb: 2\n    mode: ephemeral"),
            "8:9 runners[0].nb: ephemeral runners have no fixed number; leave `nb` out and set `scaling.min_idle` and `scaling.max`; or write `mode: persistent`",
        ),
        (
            in_pool("pull_policy: always"),
            "8:18 runners[0].pull_policy: `always` is not in this version yet; it knows `if-not-present` or `never`",
        ),
        (
            in_pool("scaling: {schedul: []}"),
            "8:15 runners[0].scaling.schedul: unknown key; `schedule` is not in this version yet",
        ),
        (
            minimal_and("hosts: [{name: a}, {name: b}]\n"),
            "10:20 hosts[1]: more than one host for one copy of the program is not in this version yet; run a copy of the program on each host, all with one Redis",
        ),
    ] {
        only(&text, expected);
    }
}

#[test]
fn what_is_missing() {
    only(
        "version: 1\nintake: {secrets: ['${WEBHOOK_SECRET}']}\n",
        "1:1 runners: is missing; the pools: which labels they serve, with which image, and how many runners at most",
    );
    only(
        &MINIMAL.replace("id: small\n    ", ""),
        "6:5 runners[0].id: is missing; a name for the pool, unique in the file",
    );
    only(&in_pool("user:"), "8:9 runners[0].user: has no value; give it a text, or leave the key out");
    only(
        &MINIMAL.replace("  org_url: https://github.com/acme\n", ""),
        "5:5 runners[0].org_url: is missing; give the pool an `org_url`, or all pools one with `runners_defaults.org_url`",
    );
    let hint = "without a secret anybody could send deliveries; write the webhook's secret as `secrets: [\"${WEBHOOK_SECRET}\"]` or `secrets: [\"file:/path\"]`";
    let no_intake = MINIMAL.split("intake").next().unwrap();
    only(no_intake, &format!("1:1 intake.secrets: {hint}"));
    only(&format!("{no_intake}intake: {{secrets: []}}\n"), &format!("8:19 intake.secrets: {hint}"));
    only(
        &minimal_and("github: {auth: {app: {client_id: a}}}\n"),
        "10:22 github.auth.app.private_key: is missing; write `private_key: ${NAME}`, or `private_key_file` with the path of the `.pem` file",
    );
    only(
        &minimal_and("github: {auth: {app: {private_key: '${APP_KEY}'}}}\n"),
        "10:22 github.auth.app.client_id: is missing; the App's settings page shows it",
    );
    only(
        &minimal_and("queue: {backend: redis}\n"),
        "10:8 queue.redis.url: is missing; write `url: redis://host:6379/0`, or `sentinels` and `sentinel_master`",
    );
    only(
        &minimal_and("queue: {backend: redis, redis: {sentinels: ['redis://a']}}\n"),
        "10:32 queue.redis.sentinel_master: is missing; it is the name behind `sentinel monitor` in the sentinels' configuration",
    );
}

#[test]
fn values_that_cannot_be() {
    for (line, expected) in [
        ("labels: 5", "8:5 runners[0].labels: is given twice, first in line 7; keep one of them"),
        ("scaling: 5", "8:14 runners[0].scaling: expected a section with keys, found a number"),
        ("scaling: {max: 0}", "8:20 runners[0].scaling.max: `0` is too small; 1 is the least"),
        ("scaling: {max: -1}", "8:20 runners[0].scaling.max: `-1` is too small; 1 is the least"),
        ("scaling: {max: 1.5}", "8:20 runners[0].scaling.max: `1.5` is not a whole number"),
        ("scaling: {max: '3'}", "8:20 runners[0].scaling.max: expected a number, found a text; leave the quotes out"),
        (
            "scaling: {max: 99999999999999999999}",
            "8:20 runners[0].scaling.max: `99999999999999999999` is too large; 100000 is the most",
        ),
        (
            "default_labels: 'true'",
            "8:21 runners[0].default_labels: expected `true` or `false`, found a text; leave the quotes out",
        ),
        ("default_labels: yes", "8:21 runners[0].default_labels: `yes` is neither `true` nor `false`"),
        ("registration: Jit", "8:19 runners[0].registration: `Jit` is not known; did you mean `jit`?"),
        ("timeouts: {online: 0s}", "8:24 runners[0].timeouts.online: no time at all is too short"),
        (
            "resources: {memory: 1m}",
            "8:25 runners[0].resources.memory: is too little memory for a container; 6m are Docker's least; the agent alone wants 256m",
        ),
        (
            "name_prefix: a/b",
            "8:18 runners[0].name_prefix: `a/b` is not a possible name; letters, digits, `_`, `.` and `-` are possible, a letter or digit first",
        ),
        (
            "name_prefix: abcdefghijklmnopqrstuvwxyz-12345",
            "8:18 runners[0].name_prefix: `abcdefghijklmnopqrstuvwxyz-12345` is too long; 30 characters are the most",
        ),
        ("command: []", "8:14 runners[0].command: is empty; leave it out for `/home/runner/run.sh`"),
        ("env: {'A=B': x}", "8:18 runners[0].env.A…: is not a variable that a process can have"),
        (
            "env: {ACTIONS_RUNNER_INPUT_JITCONFIG: x}",
            "8:43 runners[0].env.ACTIONS_RUNNER_INPUT_JITCONFIG: would change the agent's own settings; `ACTIONS_RUNNER_INPUT_…` is the program's to set",
        ),
        (
            "org_url: https://github.com/enterprises/x",
            "8:14 runners[0].org_url: `https://github.com/enterprises/x` is an enterprise; runners of a whole enterprise are not in this version yet; give each organization a pool of its own",
        ),
        (
            "user: '${UNSET} ${1}'",
            "8:11 runners[0].user: the variable `UNSET` is not set; set it, or give a default: `${UNSET:-default}`",
        ),
    ] {
        let all: Vec<_> = problems(&in_pool(line)).iter().map(told).collect();
        assert_eq!(all.first().map(String::as_str), Some(expected), "{line}");
    }
    only(
        &MINIMAL
            .replace("https://github.com/acme\n", "https://github.com/acme/web\n")
            .replace("    labels", "    runner_group: x\n    labels"),
        "7:19 runners[0].runner_group: a repository has no runner groups; leave it out, or register the pool at the organization",
    );
    only(
        &minimal_and("log: {level: inof}\n"),
        "10:14 log.level: `inof` is not a level of the log; did you mean `info`?",
    );
    only(
        &MINIMAL.replace("version: 1", "version: 2"),
        "1:10 version: `2` is not a version of this file that the program knows; write `version: 1`",
    );
    only(
        &MINIMAL.replace("[small]", "[]\n    default_labels: false"),
        "7:13 runners[0].labels: a pool without a label serves no job; give it one, or leave `default_labels` on",
    );
    let labels: Vec<_> = (0..98).map(|number| format!("l{number}")).collect();
    only(
        &MINIMAL.replace("small]", &labels.join(", ")).replace("l97", "l97]"),
        "7:13 runners[0].labels: 101 labels are too many for GitHub; 100 are the most, those of `default_labels` included",
    );
    let deep = format!("/{}", "x".repeat(120));
    only(
        &minimal_and(&format!("http: {{admin: {{socket: {deep}}}}}\n")),
        "10:24 http.admin.socket: the socket's path has 121 bytes; 107 are possible; set `http.admin.socket` to a shorter path",
    );
}

#[test]
fn pools_that_disturb_each_other() {
    let with = |pool: &str| MINIMAL.replace("intake:", &format!("  - {pool}\nintake:"));
    only(
        &with("{id: SMALL, name_prefix: x, labels: [a]}"),
        "8:10 runners[1].id: `SMALL` is the id of another pool already (line 6)",
    );
    only(
        &with("{id: b, name_prefix: small, labels: [a]}"),
        "8:26 runners[1].name_prefix: runners of another pool (line 6) have the prefix `small` already; give this pool a `name_prefix` of its own",
    );
    only(
        &with("{id: small-1, labels: [a]}"),
        "8:10 runners[1].id: the prefixes `small` (line 6) and `small-1` cannot be told apart in a runner's name; runners are numbered behind the prefix; choose one that does not end in `-` and a number",
    );
    super::good(&with("{id: small-api, labels: [a]}"));
    only(
        &with("{id: b, labels: [a], org_url: 'https://ghes.acme.org/o'}"),
        "8:35 runners[1].org_url: is another GitHub than https://github.com (line 3); run a second copy of the program for it, with a file of its own",
    );
    only(
        &MINIMAL.replace("https:", "http:"),
        "3:12 runners_defaults.org_url: tokens would travel there without TLS; use `https://`",
    );
}

#[test]
fn ways_that_exclude_each_other() {
    for (more, expected) in [
        (
            "github: {auth: {app: {client_id: a, private_key: '${APP_KEY}'}, token: '${GITHUB_TOKEN}'}}\n",
            "10:16 github.auth: has both `app` and a token; keep one of them",
        ),
        (
            "github: {auth: {app: {client_id: a, app_id: 1, private_key: '${APP_KEY}'}}}\n",
            "10:45 github.auth.app.app_id: the App has a `client_id` already; keep the `client_id`",
        ),
        (
            "queue: {backend: redis, redis: {url: 'redis://a', sentinels: ['redis://b']}}\n",
            "10:32 queue.redis: has both `url` and `sentinels`; keep one of them",
        ),
        (
            "queue: {backend: redis, redis: {url: 'redis://a', sentinel_master: m}}\n",
            "10:68 queue.redis.sentinel_master: means nothing without `sentinels`; give the sentinels' addresses under `sentinels`, not under `url`",
        ),
    ] {
        only(&minimal_and(more), expected);
    }
}

#[test]
fn one_mistake_is_told_once() {
    // A section of the wrong kind is not followed by what is then missing in it.
    only(&minimal_and("github: 5\n"), "10:9 github: expected a section with keys, found a number");
    only(&minimal_and("queue: [redis]\n"), "10:8 queue: expected a section with keys, found a list");
    only(
        &format!("{}intake: no\n", MINIMAL.split("intake").next().unwrap()),
        "8:9 intake: expected a section with keys, found a text",
    );
    // Two keys that are missing in one section stand at one place, and are still two.
    assert_eq!(problems(&minimal_and("github: {auth: {app: {}}}\n")).len(), 2);
    // A mistake in `runners_defaults` is met again in each pool.
    let two = MINIMAL.replace("intake:", "  - {id: b, labels: [b]}\nintake:");
    let text = two.replace("runners:\n", "  timeouts: {online: 0s}\n  scaling: {min_idle: 11}\nrunners:\n");
    assert_eq!(problems(&text).len(), 2);
}

#[test]
fn a_text_that_is_no_yaml() {
    for (text, expected) in [
        ("version: 1\nrunners: [\n", "2:10 : is not valid YAML: unclosed bracket '['"),
        ("version: 1\n runners: []\n", "2:9 : is not valid YAML: mapping values are not allowed in this context"),
        (
            "a: [${X}]\n",
            "1:6 : is not valid YAML: while parsing a flow sequence, expected ',' or ']'; inside `[ ]` and `{ }` a value with `${…}` needs quotes",
        ),
        ("a: *b\n", "1:4 : is not valid YAML: reference to unknown value"),
        ("", "0:0 : the file is empty; `runnerfleet init` writes one"),
        ("# nothing\n---\n", "0:0 : the file is empty; `runnerfleet init` writes one"),
        ("- a\n- b\n", "1:1 : expected a section with keys, found a list"),
        ("hunter2", "1:1 : expected a section with keys, found a text"),
    ] {
        only(text, expected);
    }
    assert_eq!(problems("a: 1\n---\nb: 2\n")[0].line, 3);
}

#[test]
fn a_flood_of_problems_is_bounded() {
    let keys: Vec<_> = (0..3_000).map(|number| format!("k{number}: x")).collect();
    let text = format!("{{version: 1, {}}}", keys.join(", "));
    let problems: Problems = super::parse(&text).unwrap_err();
    assert_eq!(problems.count(), 501);
    assert!(problems.to_string().lines().all(|line| line.chars().count() < 400));
    let former = text.replacen("version: 1", "runners: []", 1);
    assert_eq!(super::good(&former).warnings.len(), 501);
}
