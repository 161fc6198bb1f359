//! Files of the former tool: they load as they are, and `config migrate` writes them as one would today.

use super::{env, told};
use proptest::prelude::*;
use runnerfleet::config::migrate::migrate;
use runnerfleet::config::{self, Config, Loaded, Mode, Problems, RegistrationKind};
use std::fs;
use std::path::Path;

const REFERENCE: &str = include_str!("../../data/legacy_runners_config.yaml");

/// A folder with the Dockerfiles that the files here name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("config")).unwrap();
    for name in ["sample", "python"] {
        fs::write(folder.path().join(format!("config/Dockerfile.{name}")), "FROM scratch\n").unwrap();
    }
    folder
}

fn parse(text: &str, folder: &Path) -> Result<Loaded, Problems> {
    config::parse(text, "c.yaml", folder, &env, "h")
}

#[track_caller]
fn good(text: &str, folder: &Path) -> Loaded {
    parse(text, folder).unwrap_or_else(|problems| panic!("{problems}\n---\n{text}"))
}

#[track_caller]
fn migrated(text: &str, folder: &Path) -> String {
    match migrate(text, "c.yaml", folder, &env, "h") {
        Ok(Some(new)) => new,
        Ok(None) => panic!("has today's form already:\n{text}"),
        Err(problems) => panic!("{problems}\n---\n{text}"),
    }
}

/// What the file means; secrets are not in it.
fn meaning(config: &Config) -> String {
    format!("{config:#?}")
}

fn all(list: &[runnerfleet::config::Problem]) -> Vec<String> {
    list.iter().map(told).collect()
}

#[test]
fn the_reference_file_loads_unchanged_with_exactly_these_notes() {
    let folder = folder();
    let Loaded { config, warnings, notes, .. } = good(REFERENCE, folder.path());
    assert_eq!(
        all(&notes),
        [
            "4:1 version: is missing: the file is read as one of the former tool; `runnerfleet config migrate` writes it in today's form",
            "17:5 runners[0].techno: `techno` is called `language` today (3 times in this file)",
            "18:5 runners[0].techno_version: `techno_version` is called `language_version` today (3 times in this file)",
            "32:9 runners[2].nb: `0` needs `mode: persistent` today; it removes all runners of the pool",
            "107:9 webhooks.discord.templates.default.description: `description` is called `text` today (2 times in this file)",
            "126:9 webhooks.teams.templates.default.themeColor: `themeColor` is called `color` today (2 times in this file)",
            "132:13 webhooks.teams.templates.runner_error.sections[0].activityTitle: `activityTitle` is called `activity_title` today",
        ]
    );
    let secret = |key: &str| {
        format!(
            "{key}.webhook_url: a secret stands in the file itself, for everybody who can read it; take it from a variable (`${{NAME}}`) or from a file (`file:/path`)"
        )
    };
    assert_eq!(
        all(&warnings),
        [
            "39:19 scheduler.check_interval: is raised to one minute; registries and GitHub count each look; `6h` is plenty".to_owned(),
            secret("52:18 webhooks.slack"),
            secret("99:18 webhooks.discord"),
            secret("120:18 webhooks.teams"),
        ]
    );

    assert!(config.intake.secrets.is_empty(), "nothing is received");
    let pools: Vec<_> = config.persistent_pools().collect();
    let counts: Vec<_> = pools.iter().map(|(pool, count)| (pool.name.as_str(), *count)).collect();
    assert_eq!(counts, [("sample", 2), ("python", 1), ("old", 0)]);
    let (sample, python) = (pools[0].0, pools[1].0);
    assert_eq!(sample.name_prefix, "my-runner-sample");
    for label in ["my-runner-set-sample", "sample", "self-hosted", "linux"] {
        assert!(sample.labels.to_vec().contains(&label.to_owned()), "{}", sample.labels);
    }
    assert_eq!(sample.scope_url, "https://github.com/it-room");
    assert_eq!(sample.base_image.as_deref(), Some("ghcr.io/actions/actions-runner:2.328.0"));
    assert_eq!(sample.image, "runnerfleet/default/sample:current");
    assert_eq!((sample.registration, sample.pull), (RegistrationKind::Token, false));
    let build = python.build.as_ref().unwrap();
    assert_eq!(build.dockerfile, folder.path().join("config/Dockerfile.python"));
    assert_eq!(build.context, folder.path().join("config"));
    assert_eq!((build.techno.as_deref(), build.techno_version.as_deref()), (Some("python"), Some("3.10")));
}

#[test]
fn the_reference_file_migrates_to_a_file_that_means_the_same() {
    let folder = folder();
    let before = good(REFERENCE, folder.path());
    let text = migrated(REFERENCE, folder.path());
    let after = good(&text, folder.path());
    assert_eq!(meaning(&after.config), meaning(&before.config));
    let words = |loaded: &Loaded| loaded.warnings.iter().map(|warning| warning.message.clone()).collect::<Vec<_>>();
    assert_eq!((all(&after.notes), words(&after)), (Vec::new(), words(&before)));
    assert_eq!(migrate(&text, "c.yaml", folder.path(), &env, "h").unwrap(), None, "once is enough");
    super::fuzz::assert_fits_schema(&text);

    // Nothing else is touched.
    let expected = REFERENCE
        .replacen("runners_defaults:", "version: 1\n\nrunners_defaults:", 1)
        .replace("    techno: ", "    language: ")
        .replace("    techno_version: ", "    language_version: ")
        .replace("    nb: 0\n", "    nb: 0\n    mode: persistent\n")
        .replace("        description: ", "        text: ")
        .replace("themeColor: ", "color: ")
        .replace("activityTitle: ", "activity_title: ");
    assert_eq!(text, expected);
}

/// Defaults of the former tool, and these pools.
fn with(pools: &str) -> String {
    format!("runners_defaults: {{base_image: 'a:1.2.3', org_url: 'https://github.com/acme'}}\nrunners:\n{pools}")
}

#[test]
fn the_short_form_of_the_old_readme_loads() {
    let folder = folder();
    let text = with("  - name: web\n    image: ghcr.io/acme/web:1\n    labels: [web, linux]\n");
    let Loaded { config, warnings, notes, .. } = good(&text, folder.path());
    assert_eq!(
        all(&notes),
        [
            "1:1 version: is missing: the file is read as one of the former tool; `runnerfleet config migrate` writes it in today's form",
            "3:5 runners[0].nb: is missing: one runner is kept; say how many there are",
            "3:5 runners[0].name: `name` is called `id` today",
        ]
    );
    assert_eq!(all(&warnings), [""; 0]);
    let pool = &config.pools[0];
    assert_eq!(
        (pool.name.as_str(), pool.name_prefix.as_str(), pool.mode),
        ("web", "web", Mode::Persistent { count: 1 })
    );
    assert_eq!((pool.image.as_str(), pool.pull), ("ghcr.io/acme/web:1", true));
    let text = migrated(&text, folder.path());
    assert!(text.contains("  - id: web\n    nb: 1\n    image: "), "{text}");
    let braces = with("  - {name: web, image: 'a:1', labels: [web]}\n");
    assert!(migrated(&braces, folder.path()).contains("- {id: web, nb: 1, image: 'a:1', labels: [web]}"));
}

#[test]
fn what_the_former_tool_took_or_ignored_is_taken_or_ignored() {
    let folder = folder();
    let text = with(
        "  - id: a\n    name_prefix: a-runner-with-a-name-that-is-longer-than-others\n    labels: []\n    nb: \"2\"\n    \
         default_labels: yes\n    base_image: b:1\n    restart: always   # never did anything\n    deploy:\n      \
         who: me\n\n      # why not\n      how:\n      - x\n    # about b\n  - {id: b, name_prefix: b, labels: [b], nb: 1.0}\n",
    );
    let Loaded { config, warnings, notes, .. } = good(&text, folder.path());
    assert_eq!(
        all(&warnings),
        [
            "3:5 runners[0]: the pool runs `base_image`; the former tool took the image `PREFIX:latest`; give the pool an `image` or a `build_image` if that is not enough for its jobs",
            "8:17 runners[0].base_image: is used now: the former tool ignored it in a pool",
            "9:5 runners[0].restart: unknown key: it is ignored",
            "10:5 runners[0].deploy: unknown key: it is ignored",
            "17:5 runners[1]: the pool runs `base_image`; the former tool took the image `PREFIX:latest`; give the pool an `image` or a `build_image` if that is not enough for its jobs",
        ]
    );
    let spelled: Vec<_> = all(&notes).into_iter().skip(1).collect();
    assert_eq!(
        spelled,
        [
            "6:9 runners[0].nb: is written `2` today",
            "7:21 runners[0].default_labels: is written `true` today",
            "17:46 runners[1].nb: is written `1` today",
        ]
    );
    let counts: Vec<_> = config.persistent_pools().map(|(_, count)| count).collect();
    assert_eq!(counts, [2, 1]);
    let new = migrated(&text, folder.path());
    let body = "\
    nb: 2
    default_labels: true
    base_image: b:1
    # restart: always   # never did anything
    # deploy:
    #   who: me

    #   # why not
    #   how:
    #   - x
    # about b
  - {id: b, name_prefix: b, labels: [b], nb: 1}
";
    assert!(new.ends_with(body), "{new}");
}

#[test]
fn what_only_a_person_can_change_is_said() {
    let folder = folder();
    let text = with("  - {id: b, name_prefix: b, labels: [b], nb: 1, colour: red}\n");
    assert_eq!(parse(&text, folder.path()).unwrap().warnings.len(), 2);
    let problems = migrate(&text, "c.yaml", folder.path(), &env, "h").unwrap_err();
    assert_eq!(
        problems.iter().map(told).collect::<Vec<_>>(),
        ["3:49 : an unknown key within `{ }` has to be taken out by hand"]
    );
    // What is wrong as it is has to be put right first.
    let problems = migrate(&with("  - {id: b, labels: b, nb: 1}\n"), "c.yaml", folder.path(), &env, "h").unwrap_err();
    assert!(problems.to_string().contains("expected a list"), "{problems}");
}

#[test]
fn a_pool_without_a_number_is_not_guessed() {
    let folder = folder();
    let problems = parse(&with("  - {id: b, labels: [b]}\n"), folder.path()).unwrap_err();
    assert_eq!(
        problems.iter().map(told).collect::<Vec<_>>(),
        [
            "3:5 runners[0].nb: is missing; say how many runners are kept; or write `version: 1` at the top of the file for runners that live for one job"
        ]
    );
}

#[test]
fn a_file_that_was_begun_anew_without_its_version_can_have_todays_keys() {
    let folder = folder();
    let text = with("  - {id: b, labels: [b], scaling: {max: 3}}\n") + "intake: {secrets: ['${WEBHOOK_SECRET}']}\n";
    let Loaded { config, notes, .. } = good(&text, folder.path());
    assert_eq!((config.pools[0].mode, config.pools[0].max), (Mode::Ephemeral, 3));
    assert_eq!(notes.len(), 1, "{:?}", all(&notes));
}

#[test]
fn windows_line_ends_a_byte_order_mark_and_a_document_mark_stay() {
    let folder = folder();
    let text = format!("\u{feff}---\r\n{}", REFERENCE.replace('\n', "\r\n"));
    let new = migrated(&text, folder.path());
    assert!(new.starts_with("\u{feff}---\r\n# Runners of"), "{new}");
    assert!(new.contains("\r\n\r\nversion: 1\r\n\r\nrunners_defaults:"), "{new}");
    assert!(new.contains("    nb: 0\r\n    mode: persistent\r\n"), "{new}");
    assert_eq!(new.matches('\n').count(), new.matches("\r\n").count());
    let braces = "{runners_defaults: {base_image: 'a:1', org_url: 'https://github.com/a'}, runners: [{id: a, labels: [a], nb: 0}]}";
    assert!(migrated(braces, folder.path()).starts_with("{version: 1, runners_defaults:"));
    assert!(migrated(braces, folder.path()).contains("nb: 0, mode: persistent}"));
}

#[test]
fn an_anchor_is_changed_once() {
    let folder = folder();
    let text = "\
x: &php
  techno: php
  techno_version: \"8.3\"
runners_defaults: {base_image: 'a:1', org_url: 'https://github.com/a'}
runners:
  - {id: a, labels: [a], nb: 1, build_image: config/Dockerfile.sample, <<: *php}
  - {id: b, labels: [b], nb: 1, build_image: config/Dockerfile.sample, <<: *php}
";
    let before = good(text, folder.path());
    // The anchor's own key would be turned into a comment, and its aliases lose what they mean.
    let problems = migrate(text, "c.yaml", folder.path(), &env, "h").unwrap_err();
    assert!(problems.count() == 1, "{problems}");
    // Where it is a key of its own everything works.
    let inside = text.replace("x: &php\n  techno: php\n  techno_version: \"8.3\"\n", "").replacen(
        "<<: *php}",
        "<<: &php {techno: php, techno_version: '8.3'}}",
        1,
    );
    let after = good(&migrated(&inside, folder.path()), folder.path());
    assert_eq!(meaning(&after.config), meaning(&before.config));
}

/// A pool as somebody may have written it for the former tool.
fn pool() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just("0"), Just("1"), Just("3"), Just("\"2\""), Just("2.0")];
    let version = prop_oneof![Just("3.10"), Just("8"), Just("'22'"), Just("\"1.80\"")];
    (number, version, any::<[bool; 7]>()).prop_map(
        |(number, version, [built, braces, comment, odd, base, list, quoted])| {
            let (techno, techno_version) =
                if quoted { ("\"techno\"", "'techno_version'") } else { ("techno", "techno_version") };
            let mut keys = vec!["id: ID".to_owned(), "name_prefix: ID".to_owned()];
            keys.push(if list && !braces {
                "labels:\n    - a\n    - b".to_owned()
            } else {
                "labels: [a, 3.10]".to_owned()
            });
            keys.push(format!("nb: {number}"));
            if built {
                keys.push("build_image: ./config/Dockerfile.sample".to_owned());
                keys.push(format!("{techno}: python"));
                keys.push(format!("{techno_version}: {version}"));
            }
            if base {
                keys.push("base_image: other:1.2.3".to_owned());
            }
            if braces {
                return format!("  - {{{}}}\n", keys.join(", "));
            }
            if odd {
                keys.insert(2, "restart:\n      policy: always\n      names:\n      - x   # kept".to_owned());
            }
            let mut text = String::new();
            for (at, key) in keys.iter().enumerate() {
                let mark = if at == 0 { "  - " } else { "    " };
                let comment = if comment && !key.contains('\n') { format!("   # about {at}") } else { String::new() };
                text += &[mark, key, &comment, "\n"].concat();
            }
            text
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_migrated_means_the_same_and_keeps_its_comments(pools in prop::collection::vec(pool(), 1..5), windows: bool) {
        let folder = folder();
        let pools: Vec<_> = pools.iter().enumerate().map(|(at, pool)| pool.replace("ID", &format!("p{at}x"))).collect();
        let mut text = with(&pools.concat()) + "# the end\n";
        if windows {
            text = text.replace('\n', "\r\n");
        }
        let before = good(&text, folder.path());
        let new = migrated(&text, folder.path());
        let after = good(&new, folder.path());
        prop_assert_eq!(meaning(&after.config), meaning(&before.config));
        prop_assert!(after.notes.is_empty(), "{:?}", after.notes);
        prop_assert_eq!(migrate(&new, "c.yaml", folder.path(), &env, "h").unwrap(), None);
        super::fuzz::assert_fits_schema(&new);
        let comments = |text: &str| text.matches("# about ").count() + text.matches("# kept").count() + text.matches("# the end").count();
        prop_assert_eq!(comments(&new), comments(&text));
        let words = |text: &str| text.split_whitespace().filter(|word| *word != "#").map(str::to_owned).collect::<Vec<_>>();
        let (old, new) = (words(&text), words(&new));
        prop_assert!(new.len() >= old.len(), "something is gone");
    }
}
