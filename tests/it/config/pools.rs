//! Pools that are kept, and pools whose image is made here.

use super::{MINIMAL, env, problems, told};
use runnerfleet::config::{self, Loaded, Mode, Pool, RegistrationKind};
use std::fs;
use std::path::Path;

/// The minimal file with these lines in its pool, read in a folder with `Dockerfile` and `node/Dockerfile`.
fn load(lines: &[&str]) -> (Loaded, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("node")).unwrap();
    for name in ["Dockerfile", "node/Dockerfile"] {
        fs::write(folder.path().join(name), "FROM scratch\n").unwrap();
    }
    let text = in_pool(lines);
    let loaded = config::parse(&text, "c.yaml", folder.path(), &env, "h");
    (loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}")), folder)
}

fn in_pool(lines: &[&str]) -> String {
    let lines: String = lines.iter().flat_map(|line| ["    ", line, "\n"]).collect();
    MINIMAL.replace("    labels: [small]\n", &format!("    labels: [small]\n{lines}"))
}

fn pool(lines: &[&str]) -> Pool {
    let (loaded, _folder) = load(lines);
    assert_eq!(loaded.warnings, []);
    loaded.config.pools[0].clone()
}

#[test]
fn a_number_makes_a_pool_persistent() {
    let kept = pool(&["nb: 3"]);
    assert_eq!((kept.mode, kept.min_idle, kept.max), (Mode::Persistent { count: 3 }, 0, 3));
    assert_eq!(kept.registration, RegistrationKind::Token, "what GitHub makes just in time ends after one job");
    assert_eq!(pool(&["nb: 3", "mode: persistent"]).mode, Mode::Persistent { count: 3 });
    assert_eq!(pool(&["nb: 0", "mode: persistent"]).mode, Mode::Persistent { count: 0 });
    for lines in [&["nb: 0"][..], &["mode: ephemeral"], &["nb: 0", "mode: ephemeral", "scaling: {max: 3}"]] {
        assert_eq!(pool(lines).mode, Mode::Ephemeral, "{lines:?}");
    }
}

#[test]
fn the_mode_of_all_pools_gives_way_to_a_number() {
    let defaults =
        |mode: &str, lines: &[&str]| in_pool(lines).replace("runners:\n", &format!("  mode: {mode}\nrunners:\n"));
    let mode = |text: &str| super::good(text).config.pools[0].mode;
    assert_eq!(mode(&defaults("ephemeral", &["nb: 2"])), Mode::Persistent { count: 2 });
    assert_eq!(mode(&defaults("persistent", &["nb: 0"])), Mode::Persistent { count: 0 });
    assert_eq!(mode(&defaults("persistent", &["mode: ephemeral"])), Mode::Ephemeral);
    let missing: Vec<_> = problems(&defaults("persistent", &[])).iter().map(told).collect();
    assert_eq!(missing, ["7:5 runners[0].nb: is missing; `mode: persistent` keeps `nb` runners"]);
}

#[test]
fn numbers_and_bounds_do_not_mix() {
    let only = |lines: &[&str]| problems(&in_pool(lines)).iter().map(told).collect::<Vec<_>>();
    assert_eq!(
        only(&["nb: 2", "scaling: {max: 3}"]),
        [
            "9:14 runners[0].scaling: the pool keeps `nb` runners, no more and no less; leave `scaling` out; or leave `nb` out for runners that live for one job"
        ]
    );
    // Bounds of all pools are for the others.
    let text = in_pool(&["nb: 2"]).replace("runners:\n", "  scaling: {min_idle: 5, max: 9}\nrunners:\n");
    let loaded = super::good(&text);
    assert_eq!((loaded.config.pools[0].min_idle, loaded.config.pools[0].max), (0, 2));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn keys_without_effect_are_told() {
    let warned = |lines: &[&str]| {
        let (loaded, _folder) = load(lines);
        loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key_path, warning.message)).collect::<Vec<_>>()
    };
    assert_eq!(
        warned(&["nb: 1", "registration: jit", "matching: {priority: 3}"]),
        [
            "runners[0].registration: has no effect: persistent runners register with a token",
            "runners[0].matching.priority: has no effect: GitHub itself chooses among the runners that are kept",
        ]
    );
    assert_eq!(
        warned(&["timeouts: {drain: 1h, stop_grace: 1m}", "rollout: {max_unavailable: 2}"]),
        [
            "runners[0].timeouts.drain: has no effect on runners that live for one job",
            "runners[0].timeouts.stop_grace: has no effect on runners that live for one job",
            "runners[0].rollout.max_unavailable: has no effect on runners that live for one job",
        ]
    );
    assert_eq!(
        warned(&["image: a", "base_image: b", "build_args: {A: b}"]),
        [
            "runners[0].base_image: has no effect: the pool runs `a`",
            "runners[0].build_args: has no effect: the pool's image is not made here"
        ]
    );
    assert_eq!(
        warned(&["build_image: node", "pull_policy: never"]),
        ["runners[0].pull_policy: has no effect: the pool's image is made here"]
    );
}

#[test]
fn an_image_that_is_made_here() {
    let (loaded, folder) = load(&[
        "build_image: ./node",
        "base_image: ghcr.io/acme/base:1.2.3",
        "language: node",
        "language_version: 22.10",
        "build_args: {EXTRA: 1, _x: \"\"}",
    ]);
    assert_eq!(loaded.warnings, []);
    let pool = &loaded.config.pools[0];
    assert_eq!((pool.image.as_str(), pool.pull), ("runnerfleet/default/small:current", false));
    assert_eq!(pool.base_image.as_deref(), Some("ghcr.io/acme/base:1.2.3"), "its own, not that of all pools");
    let build = pool.build.as_ref().unwrap();
    assert_eq!(
        (&build.dockerfile, &build.context),
        (&folder.path().join("node/Dockerfile"), &folder.path().join("node"))
    );
    assert_eq!((build.techno.as_deref(), build.techno_version.as_deref()), (Some("node"), Some("22.10")));
    let args: Vec<_> = build.args.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(args, ["EXTRA=1", "_x="]);
    // A file is itself; its folder is the context.
    let (loaded, folder) = load(&["build_image: Dockerfile"]);
    let build = loaded.config.pools[0].build.clone().unwrap();
    assert_eq!((build.dockerfile, build.context), (folder.path().join("Dockerfile"), folder.path().to_path_buf()));
    // A ready image builds on nothing of ours.
    let (loaded, _folder) = load(&["image: x"]);
    assert_eq!((loaded.config.pools[0].base_image.as_deref(), &loaded.config.pools[0].build), (None, &None));
}

#[test]
fn a_dockerfile_that_is_not_there_is_warned_of() {
    let (loaded, folder) = load(&["build_image: ghcr.io/acme/x:1"]);
    let path = folder.path().join("ghcr.io/acme/x:1");
    assert_eq!(
        loaded.warnings.iter().map(told).collect::<Vec<_>>(),
        [format!(
            "8:18 runners[0].build_image: there is no Dockerfile at {}: the image cannot be built; `build_image` is a Dockerfile or its folder; a ready image stands under `image`",
            path.display()
        )]
    );
    fs::create_dir_all(&path).unwrap();
    let again =
        config::parse(&in_pool(&["build_image: ghcr.io/acme/x:1"]), "c.yaml", folder.path(), &env, "h").unwrap();
    assert!(again.warnings[0].message.contains("x:1/Dockerfile"), "{}", again.warnings[0]);
}

#[test]
fn names_of_runners_and_images_have_room() {
    let long = "a-prefix-that-is-longer-than-thirty-characters";
    let id = MINIMAL.replace("id: small", &format!("id: {long}"));
    assert_eq!(super::good(&id.replace("[small]", "[small]\n    nb: 10")).config.pools[0].name_prefix, long);
    assert!(problems(&id)[0].message.contains("is too long to start"), "{}", problems(&id)[0]);
    let prefix = format!("name_prefix: {}", "a".repeat(62));
    assert_eq!(pool(&["nb: 9", &prefix]).name_prefix.len(), 62);
    assert_eq!(
        told(&problems(&in_pool(&["nb: 10", &prefix]))[0]),
        format!(
            "9:18 runners[0].name_prefix: `{}` is too long; 61 characters are the most, so that `-10` fits behind it",
            "a".repeat(62)
        )
    );
    let two = in_pool(&["build_image: ."])
        .replace("id: small", "id: web_1x")
        .replace("intake:", "  - {id: web.1x, labels: [b], build_image: .}\nintake:");
    assert_eq!(
        problems(&two).iter().map(told).collect::<Vec<_>>(),
        [
            "9:10 runners[1].id: its image would have the name of that of `web_1x` (line 6): `runnerfleet/default/web-1x:current`; let the ids differ in a letter or digit"
        ]
    );
}

#[test]
fn runners_that_are_kept_count_for_the_room() {
    let text = in_pool(&["nb: 6"]).replace("intake:", "  - {id: b, labels: [b], scaling: {min_idle: 6}}\nintake:");
    let warned = |limit: u32| {
        let loaded = super::good(&format!("{text}hosts: [{{max_runners: {limit}}}]\n"));
        loaded.warnings.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(warned(12), [""; 0]);
    assert_eq!(
        warned(11),
        [
            "9:46 runners[1].scaling.min_idle: the pools' `min_idle` and `nb` add up to more than `hosts[0].max_runners` (11); some of them will never be there"
        ]
    );
}

#[test]
fn a_secret_for_deliveries_is_wanted_only_where_runners_are_made_for_jobs() {
    let without = in_pool(&["nb: 2"]);
    let without = without.split("intake:").next().unwrap();
    assert!(super::good(without).config.intake.secrets.is_empty());
    let mixed = format!("{without}  - {{id: b, labels: [b]}}\n");
    assert!(problems(&mixed)[0].key_path == "intake.secrets", "{}", problems(&mixed)[0]);
    // A list without a secret is a mistake in any case.
    assert_eq!(problems(&format!("{without}intake: {{secrets: []}}\n"))[0].key_path, "intake.secrets");
    assert_eq!(super::good(&in_pool(&["nb: 2"])).config.intake.secrets.len(), 1);
}

#[test]
fn the_summary_tells_the_two_kinds_apart() {
    let (loaded, _folder) = load(&["nb: 2", "build_image: node"]);
    let summary = config::summary(&loaded.config);
    assert!(summary.ends_with(" at acme, 2 kept, runnerfleet/default/small:current from node/Dockerfile"), "{summary}");
    assert_eq!(loaded.config.file, Path::new(&loaded.config.folder).join("c.yaml"));
}
