//! What a file that is in order means.

use super::{KEY, MINIMAL, env, good, minimal_and, told};
use runnerfleet::config::{self, Backend, GitHubAuth, Network, RegistrationKind, Resources, Security};
use secrecy::ExposeSecret;
use std::path::{Path, PathBuf};
use std::time::Duration;

const fn minutes(number: u64) -> Duration {
    Duration::from_secs(number * 60)
}

/// The label that GitHub's agent gives itself on this machine.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" }
}

#[test]
fn the_least_file_has_all_defaults() {
    let loaded = good(MINIMAL);
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.folder, Path::new("/etc/fleet"));
    assert_eq!((config.instance.as_str(), config.host.as_str()), ("default", "host-1"));
    assert!(!config.allow_public_repositories);

    let [pool] = config.pools.as_slice() else { panic!("{:?}", config.pools) };
    assert_eq!((pool.name.as_str(), pool.name_prefix.as_str()), ("small", "small"));
    let mut labels = vec!["linux", "self-hosted", "small", architecture()];
    labels.sort_unstable();
    assert_eq!(pool.labels.to_vec(), labels);
    assert_eq!((pool.scope.to_string().as_str(), pool.scope_url.as_str()), ("acme", "https://github.com/acme"));
    assert_eq!((pool.runner_group.as_deref(), pool.registration), (None, RegistrationKind::Jit));
    assert_eq!((pool.image.as_str(), pool.pull), ("ghcr.io/actions/actions-runner:2.336.0", true));
    assert_eq!((pool.min_idle, pool.max, pool.priority), (0, 10, 0));
    assert_eq!((pool.idle_timeout, pool.max_lifetime, pool.job_max_age), (minutes(5), minutes(360), minutes(1440)));
    assert_eq!((pool.provision_timeout, pool.online_timeout), (minutes(15), minutes(3)));
    assert_eq!(pool.resources, Resources { memory: 4 << 30, cpus: None, pids: 4096, shm_size: None });
    assert!(pool.env.is_empty());
    assert_eq!(pool.command, ["/home/runner/run.sh"]);
    assert_eq!((pool.user.as_deref(), pool.work_dir.as_str()), (None, "_work"));
    assert_eq!(pool.network, Network::Isolated);
    let nothing = Security { privileged: false, no_new_privileges: true, cap_add: Vec::new(), mounts: Vec::new() };
    assert_eq!(pool.security, nothing);

    assert!(matches!(&config.github.auth, GitHubAuth::Token(token) if token.expose_secret() == "ghp_hunter2"));
    assert_eq!(config.github.api_url, "https://api.github.com");
    assert_eq!((config.github.max_concurrent, config.github.poll_runners), (8, minutes(1)));
    assert_eq!((config.intake.path.as_str(), config.intake.max_body), ("/webhook", 25 << 20));
    assert_eq!(config.intake.dedupe_ttl, minutes(72 * 60));
    assert_eq!(config.intake.secrets.len(), 1);
    assert_eq!(config.intake.secrets[0].expose_secret(), "hook-hunter2");
    let Backend::Embedded { path } = &config.store.backend else { panic!("{:?}", config.store) };
    assert_eq!(path, Path::new("/etc/fleet/data/runnerfleet.redb"));
    assert_eq!((config.store.visibility_timeout, config.store.retention), (minutes(1), minutes(1440)));
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.admin_socket, Path::new("/etc/fleet/data/runnerfleet.sock"));
    assert_eq!((config.docker.url.as_deref(), config.docker.max_runners), (None, 50));
    assert_eq!((config.docker.reserve_memory, config.docker.concurrent_starts), (1 << 30, None));
    assert_eq!((config.limits.max_runners, config.limits.disk_free_min), (100, 2 << 30));
    assert_eq!((config.log.level.as_str(), config.log.json), ("info", false));
}

#[test]
fn every_key_can_be_set() {
    let text = "\
version: 1
runners_defaults:
  org_url: https://ghes.acme.org/acme
  base_image: alpine
  runner_group: CI
  registration: token
  default_labels: false
  pull_policy: never
  env: {A: 1, B: two}
  scaling: {max: 3, idle_timeout: 0s}
runners:
  - id: a
    name_prefix: alpha
    labels: [GPU, 3.10, on]
    nb: 0
    mode: ephemeral
    image: localhost:5000/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    techno: php
    techno_version: 8.30
    scaling: {min_idle: 2, max_age: 1h30m, job_max_age: 2d}
    matching: {priority: -3}
    resources: {memory: 512m, cpus: 1.5, pids: 100, shm_size: 1g}
    timeouts: {provision: 1m, online: 500ms}
    docker: {network: build-net}
    work: {dir: /w}
    command: [sh, -c, 'run ${PORT}']
    user: runner
    env: {B: 3, C: \"\"}
    security: {no_new_privileges: false, cap_add: [cap_net_admin], mounts: ['/srv:/srv:ro']}
  - id: b
    labels: []
    default_labels: true
    org_url: https://ghes.acme.org/acme/web.git
    registration: jit
    docker: {network: dedicated}
  - {id: c, labels: [c], docker: {network: none}}
github:
  auth: {app: {app_id: 12345, private_key: '${APP_KEY}', installation_id: 77}}
  api_url: auto
  rate_limit: {max_concurrent: 2}
  poll: {runners: 5s}
intake: {path: /in, secrets: ['${WEBHOOK_SECRET}', '${WEBHOOK_SECRET}2'], max_body: 1m, dedupe_ttl: 1h}
queue:
  backend: redis
  redis: {sentinels: ['redis://s1:26379', 'redis://s2:26379'], sentinel_master: main, prefix: 'rf:'}
  visibility_timeout: 5s
  retention: {done: 1h}
http: {listen: '0.0.0.0:${PORT}', admin: {socket: /run/rf.sock}}
hosts: [{name: h1, docker: 'unix:///run/d.sock', max_runners: 5, reserve: {memory: 2g}, concurrent_starts: 3}]
limits: {max_runners: 7, disk_free_min: 1.5g}
security: {instance: prod-1, allow_public_repositories: '${YES}'}
log: {level: 'info,runnerfleet=debug', format: json}
";
    let loaded = good(text);
    let warnings: Vec<_> = loaded.warnings.iter().map(|warning| warning.key_path.as_str()).collect();
    assert_eq!(warnings, ["runners[0].scaling.min_idle", "security.allow_public_repositories"]);
    let config = loaded.config;
    let [a, b, c] = config.pools.as_slice() else { panic!("{:?}", config.pools) };
    assert_eq!((a.name.as_str(), a.name_prefix.as_str()), ("a", "alpha"));
    assert_eq!(a.labels.to_vec(), ["3.10", "gpu", "on"]);
    assert_eq!((a.runner_group.as_deref(), a.registration), (Some("CI"), RegistrationKind::Token));
    assert_eq!((a.pull, a.min_idle, a.max, a.priority), (false, 2, 3, -3));
    assert!(a.image.starts_with("localhost:5000/x@sha256:"));
    assert_eq!((a.idle_timeout, a.max_lifetime, a.job_max_age), (Duration::ZERO, minutes(90), minutes(2880)));
    assert_eq!((a.provision_timeout, a.online_timeout), (minutes(1), Duration::from_millis(500)));
    assert_eq!(a.resources, Resources { memory: 512 << 20, cpus: Some(1.5), pids: 100, shm_size: Some(1 << 30) });
    assert_eq!(a.network, Network::Named("build-net".into()));
    assert_eq!((a.work_dir.as_str(), a.user.as_deref()), ("/w", Some("runner")));
    assert_eq!(a.command, ["sh", "-c", "run 8081"]);
    let env: Vec<_> = a.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=1", "B=3", "C="]);
    assert_eq!(a.security.cap_add, ["NET_ADMIN"]);
    assert_eq!(a.security.mounts, ["/srv:/srv:ro"]);
    assert!(!a.security.no_new_privileges);
    // The group of `runners_defaults` is for organizations; a repository has none.
    assert_eq!((b.scope.to_string().as_str(), b.runner_group.as_deref()), ("acme/web", None));
    assert_eq!((b.scope_url.as_str(), b.registration), ("https://ghes.acme.org/acme/web", RegistrationKind::Jit));
    assert_eq!((b.labels.len(), b.image.as_str(), &b.network), (3, "alpine", &Network::Dedicated));
    assert_eq!((c.labels.to_vec(), &c.network), (vec!["c".to_owned()], &Network::None));

    assert_eq!(config.github.api_url, "https://ghes.acme.org/api/v3");
    let GitHubAuth::App { issuer, private_key, installation } = &config.github.auth else { panic!() };
    assert_eq!((issuer.as_str(), private_key.expose_secret(), *installation), ("12345", KEY, Some(77)));
    assert_eq!((config.github.max_concurrent, config.github.poll_runners), (2, Duration::from_secs(5)));
    let secrets: Vec<_> = config.intake.secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["hook-hunter2", "hook-hunter22"]);
    let Backend::Redis(redis) = &config.store.backend else { panic!() };
    assert_eq!((redis.urls.len(), redis.sentinel_master.as_deref()), (2, Some("main")));
    assert_eq!(redis.prefix, "rf:");
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8081");
    assert_eq!(config.http.admin_socket, Path::new("/run/rf.sock"));
    assert_eq!((config.host.as_str(), config.docker.url.as_deref()), ("h1", Some("unix:///run/d.sock")));
    assert_eq!((config.docker.max_runners, config.docker.concurrent_starts), (5, Some(3)));
    assert_eq!((config.limits.max_runners, config.limits.disk_free_min), (7, 3 << 29));
    assert!(config.allow_public_repositories && config.log.json);
}

#[test]
fn the_annotated_example_works_and_agrees_with_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("runners_config.yaml")).unwrap();
    std::fs::write(folder.path().join("runners_config.yaml"), &text).unwrap();
    std::os::unix::fs::symlink(root.join("dockerfiles"), folder.path().join("dockerfiles")).unwrap();
    let key = folder.path().join("app.pem");
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let vars = |name: &str| match name {
        "GITHUB_APP_KEY_FILE" => Some(key.display().to_string()),
        "WEBHOOK_SECRET" => Some("s3cret".into()),
        _ => None,
    };
    let loaded =
        config::load(&folder.path().join("runners_config.yaml"), &vars).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    let summary = config::summary(&loaded.config);
    let lines: Vec<&str> = summary.lines().collect();
    let arch = architecture();
    assert_eq!(
        lines[..3],
        [
            format!(
                "small   linux,self-hosted,small,{arch} at acme, 1 idle, at most 10, ghcr.io/actions/actions-runner:2.336.0"
            ),
            format!(
                "build   build,linux,self-hosted,{arch},xl at acme, 0 idle, at most 2, ghcr.io/acme/build-runner:2026.11"
            ),
            format!(
                "node22  linux,node,node22,self-hosted,{arch} at acme, 2 kept, runnerfleet/default/node22:current from dockerfiles/node/Dockerfile"
            ),
        ]
    );
    let kept: Vec<_> = loaded.config.persistent_pools().map(|(pool, count)| (pool.name.as_str(), count)).collect();
    assert_eq!(kept, [("node22", 2), ("node24", 1), ("php82", 1), ("php83", 1), ("php84", 1)]);
    let Backend::Embedded { path } = &loaded.config.store.backend else { panic!() };
    assert_eq!(*path, folder.path().join("data/runnerfleet.redb"));
    super::fuzz::assert_fits_schema(&text);
}

/// What the example shows as a comment is what holds, or at least possible.
#[test]
fn the_comments_of_the_example_are_valid_keys() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("runners_config.yaml")).unwrap();
    let body = text.find("version: 1").unwrap();
    let mut shown = 0;
    let uncommented: Vec<String> = text[body..]
        .lines()
        .map(|line| match line.split_once("# ") {
            // `# key: value` and `# - item`, behind blanks only; prose has no key of one word.
            Some((blanks, code)) if blanks.trim().is_empty() => {
                let key = code.trim_start_matches(['#', ' ', '-']).split(':').next().unwrap_or_default();
                let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                if !(is_key && code.contains(':')) || key == "file" || key == "token" || key == "backend" {
                    return String::new();
                }
                shown += 1;
                format!(
                    "{blanks}{}",
                    code.strip_prefix("  # ").map_or_else(|| code.to_owned(), |code| format!("  {code}"))
                )
            }
            _ => line.to_owned(),
        })
        .collect();
    assert!(shown > 25, "{shown}");
    let text = uncommented.join("\n");
    let vars = |name: &str| match name {
        "REDIS_URL" => Some("redis://r:6379/0".to_owned()),
        "SLACK_WEBHOOK" => Some("https://hooks.slack.com/services/T/B/x".to_owned()),
        "GITHUB_APP_KEY_FILE" => Some("Cargo.toml".to_owned()),
        "SLACK_WEBHOOK_URL" | "DISCORD_WEBHOOK_URL" | "TEAMS_WEBHOOK_URL" | "OPS_WEBHOOK_URL" => {
            Some("https://hooks.acme.org/x".to_owned())
        }
        "OPS_WEBHOOK_SECRET" => Some("s3cret".to_owned()),
        _ => env(name),
    };
    let unknown = match config::parse(&text, "example", root, &vars, "h") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(told).collect(),
    };
    // The key file is no key, both ways to reach Redis are shown, and there is no certificate here.
    assert_eq!(unknown.len(), 3, "{unknown:#?}\n{text}");
    let expected = ["github.auth.app", "both `url` and", "http.tls.cert"];
    assert!(unknown.iter().all(|problem| expected.iter().any(|part| problem.contains(part))), "{unknown:#?}");
}

#[test]
fn a_variable_cannot_bring_in_keys_or_lists() {
    let text =
        minimal_and("log: {level: info}\n").replace("[small]", "['${PORT}']") + "security:\n  instance: ${YES}\n";
    let config = good(&text).config;
    assert_eq!(config.instance.as_str(), "true");
    assert!(config.pools[0].labels.to_vec().contains(&"8081".to_owned()));
    let env = MINIMAL.replace("    labels", "    env: {A: '${TRICK}'}\n    labels");
    assert_eq!(good(&env).config.pools[0].env["A"], "x\nadmin: true");
}

#[test]
fn anchors_and_merges_work() {
    let text = MINIMAL.replace("    labels: [small]\n", "    labels: [small]\n    scaling: &s {max: 3, min_idle: 1}\n")
        + "# \n";
    let text = text
        .replace("intake:", "  - id: other\n    labels: [other]\n    scaling:\n      <<: *s\n      max: 4\nintake:");
    let pools = good(&text).config.pools;
    assert_eq!((pools[1].max, pools[1].min_idle), (4, 1));
}

#[test]
fn the_api_follows_from_the_pools_unless_it_is_given() {
    let api =
        |org: &str, more: &str| good(&(MINIMAL.replace("https://github.com/acme", org) + more)).config.github.api_url;
    assert_eq!(api("https://acme.ghe.com/o", ""), "https://api.acme.ghe.com");
    assert_eq!(api("http://127.0.0.1:4000/o", ""), "http://127.0.0.1:4000/api/v3");
    assert_eq!(api("https://github.com/o/r", "github: {api_url: 'http://127.0.0.1:4000/'}\n"), "http://127.0.0.1:4000");
}

#[test]
fn what_is_given_away_is_said() {
    let text = MINIMAL.replace(
        "    labels: [small]\n",
        "    labels: [small, Small]\n    techno: php\n    docker: {network: host}\n    security:\n      privileged: true\n      \
         cap_add: [SYS_ADMIN]\n      mounts: ['/var/run/docker.sock:/s']\n",
    ) + "security: {allow_public_repositories: true}\nqueue: {redis: {url: 'redis://h'}}\n\
         hosts: [{docker: 'tcp://h:2375'}]\ngithub: {api_url: 'http://ghes.acme.org'}\n";
    let warned: Vec<_> = good(&text).warnings.iter().map(|warning| warning.key_path.clone()).collect();
    assert_eq!(
        warned,
        [
            "runners[0].labels[1]",
            "runners[0].techno",
            "runners[0].docker.network",
            "runners[0].security.privileged",
            "runners[0].security.cap_add[0]",
            "runners[0].security.mounts[0]",
            "security.allow_public_repositories",
            "queue.redis",
            "hosts[0].docker",
            "github.api_url",
        ]
    );
}

#[test]
fn pools_that_do_nothing_or_never_fit_are_warned_of() {
    let warned = |text: &str| good(text).warnings.iter().map(told).collect::<Vec<_>>();
    let none = "version: 1\nrunners: []\nintake: {secrets: ['${WEBHOOK_SECRET}']}\n";
    assert_eq!(warned(none), ["2:10 runners: there is no pool: no job will be served"]);
    let two = MINIMAL.replace(
        "    labels: [small]\n",
        "    labels: [small]\n    scaling: {min_idle: 6}\n  - {id: b, labels: [b], scaling: {min_idle: 6}}\n",
    );
    let expected = "9:46 runners[1].scaling.min_idle: the pools' `min_idle` and `nb` add up to more than `hosts[0].max_runners` (11); some of them will never be there";
    assert_eq!(warned(&(two.clone() + "hosts: [{max_runners: 11}]\n")), [expected]);
    assert_eq!(warned(&(two.clone() + "hosts: [{max_runners: 12}]\n")), [""; 0]);
    assert_eq!(warned(&(two + "limits: {max_runners: 11}\n")), [expected.replace("hosts[0].max", "limits.max")]);
}

#[test]
fn a_socket_beside_the_store_and_a_relative_folder() {
    let text = minimal_and("queue: {embedded: {path: /var/lib/rf/store.redb}}\n");
    assert_eq!(good(&text).config.http.admin_socket, PathBuf::from("/var/lib/rf/runnerfleet.sock"));
}
