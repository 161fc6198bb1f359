//! Secrets come from variables and files, and never come out again.

use super::{KEY, MINIMAL, good, minimal_and, parse, problems, told};
use runnerfleet::config::{self, GitHubAuth, Loaded, Problems};
use secrecy::ExposeSecret;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn put(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn in_folder(folder: &Path, text: &str) -> Result<Loaded, Problems> {
    config::parse(text, "c.yaml", folder, &super::env, "h")
}

#[test]
fn files_are_read_from_the_configurations_folder() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("hook"), "first\n", 0o600);
    put(&folder.path().join("hooks"), "second\r\n\nthird \n", 0o600);
    put(&folder.path().join("app.pem"), KEY, 0o600);
    let text = MINIMAL.replace("[\"${WEBHOOK_SECRET}\"]", "[file:hook]\n  secrets_file: ./hooks")
        + "github: {auth: {app: {client_id: Iv1.a, private_key_file: app.pem}}}\n";
    let loaded = in_folder(folder.path(), &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    let secrets: Vec<_> = loaded.config.intake.secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["first", "second", "third"]);
    let GitHubAuth::App { private_key, .. } = &loaded.config.github.auth else { panic!() };
    assert_eq!(private_key.expose_secret(), KEY.trim_end());
}

#[test]
fn a_file_that_cannot_be_used_is_told_and_an_open_one_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("open.txt"), "tok", 0o644);
    put(&folder.path().join("empty.txt"), "\n", 0o600);
    put(&folder.path().join("large.txt"), &"x".repeat(70_000), 0o600);
    fs::write(folder.path().join("binary.bin"), [0xff, 0xfe]).unwrap();
    fs::create_dir(folder.path().join("dir.d")).unwrap();
    let with =
        |file: &str| in_folder(folder.path(), &minimal_and(&format!("github: {{auth: {{token_file: {file}}}}}\n")));

    let loaded = with("./open.txt").unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(
        loaded.warnings.iter().map(told).collect::<Vec<_>>(),
        [
            "10:29 github.auth.token_file: the file `./open.txt` can be read by every user of this machine; `chmod o-r` takes that away"
        ]
    );
    for (file, expected) in [
        ("./gone.txt", "the file `./gone.txt` is not there"),
        ("./empty.txt", "the file `./empty.txt` is empty"),
        ("./large.txt", "the file `./large.txt` is larger than 64 KiB"),
        ("./binary.bin", "the file `./binary.bin` is not UTF-8"),
        ("./dir.d", "the file `./dir.d` is no regular file"),
        ("~/x", "the file `~/x` is no path"),
        ("ghp_hunter2", "the file is not there"),
    ] {
        let problems = with(file).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(), [expected]);
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
    }
}

#[test]
fn a_secret_in_the_file_itself_is_warned_of_and_not_shown() {
    let text =
        minimal_and("github: {auth: {token: ghp_inline}}\nqueue: {backend: redis, redis: {url: 'redis://:pw@h'}}\n");
    let Loaded { config, warnings, .. } = good(&text);
    let shown = warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(warnings.len(), 2, "{shown}");
    assert!(warnings.iter().all(|warning| warning.message.contains("stands in the file itself")), "{shown}");
    assert!(!shown.contains("ghp_inline") && !shown.contains("pw"), "{shown}");
    assert!(!format!("{config:?}{warnings:?}").contains("ghp_inline"));
    assert!(!format!("{config:?}").contains("hunter2"));
    // A default is text of the file as well.
    assert_eq!(good(&minimal_and("github: {auth: {token: '${NONE:-ghp_inline}'}}\n")).warnings.len(), 1);
    // A password from a variable is fine.
    assert_eq!(good(&minimal_and("queue: {backend: redis, redis: {url: 'redis://:${PORT}@h'}}\n")).warnings, []);
}

#[test]
fn a_private_key_has_to_be_one() {
    let with =
        |key: &str| minimal_and(&format!("github:\n  auth:\n    app:\n      client_id: a\n      private_key: {key}\n"));
    let one_line = KEY.trim_end().replace('\n', "\\n");
    let GitHubAuth::App { private_key, .. } = good(&with(&format!("'{one_line}'"))).config.github.auth else {
        panic!()
    };
    assert_eq!(private_key.expose_secret(), KEY.trim_end());
    for (key, expected) in [
        ("hunter2", "is not a private key (PEM)"),
        ("'-----BEGIN CERTIFICATE-----hunter2'", "is a PEM of another kind than an RSA private key"),
        ("'-----BEGIN RSA PRIVATE KEY-----hunter2'", "is cut off: the line `-----END …` is missing"),
        (
            "'-----BEGIN ENCRYPTED PRIVATE KEY-----hunter2'",
            "is an encrypted key; the program has no way to ask for its password",
        ),
        ("''", "the secret is empty"),
        ("${EMPTY}", "the value of `${EMPTY}` is empty"),
    ] {
        let problems = parse(&with(key)).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(), [expected]);
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
    }
    let token = problems(&minimal_and("github: {auth: {token: \"a\\nb\"}}\n"));
    assert!(token[0].message.starts_with("is not a token"));
}

/// Each place where a secret could stand, or could stand by mistake.
#[test]
fn no_secret_comes_out_whatever_is_wrong() {
    let mistakes = [
        "github: {auth: {tokn: hunter2}}",
        "github: {auth: {token: [hunter2]}}",
        "github: {auth: {token: {hunter2: hunter2}}}",
        "github: {auth: hunter2}",
        "github: [hunter2, {a: hunter2}]",
        "github: {auth: {token: ghp_hunter2, app: 5}}",
        "github: {auth: {token: hunter2}, auth: {token: hunter2}}",
        "github: {auth: {token_file: ghp_hunter2}}",
        "github: {auth: {app: {client_id: a, private_key: hunter2}}}",
        "github: {auth: {app: {client_id: a, private_key_file: \"-----BEGIN PRIVATE KEY-----hunter2\"}}}",
        "github: {auth: {token: '${hunter2 x}'}}",
        "github: {auth: {token: 'abc${UNSET}hunter2'}}",
        "github: {api_url: 'https://me:hunter2@h.org'}",
        "github: {auth: {token: hunter2}, polls: {}}",
        "github: {auth: {token: ''}, polls: {}} # hunter2",
        "github: {auth: {token:hunter2}}",
        "github: {auth: {token=hunter2}}",
        "intake: {secrets: {hunter2}}",
        "webhooks: {secret: hunter2}",
        "webhooks: {slack: {webhook_url: hunter2}}",
        "webhooks: {slack: {webhook_url: 'http://hooks.slack.com/hunter2'}}",
        "webhooks: {slack: {webhook_url: {hunter2: x}}}",
        "webhooks: {slack: {weebhook_url: 'https://hooks.slack.com/hunter2', enabled: false}}",
        "webhooks: {slack: {webhook_url: 'https://h/x', templates: {default: {title: '${GITHUB_TOKEN} {${WEBHOOK_SECRET}}'}}}}",
        "webhooks: {generic: [{url: 'https://me:hunter2@h/x', secret: [hunter2]}]}",
        "webhooks: {generic: [{url: 'ftp://hunter2@h', headers: {Authorization: 'Bearer hunter2', Host: hunter2}}]}",
        "webhooks: {generic: [{url: 'https://h/x', headers: {'A b': 'hunter2'}}]}",
        "queue: {backend: redis, redis: {url: 'http://:hunter2@h'}}",
        "queue: {backend: redis, redis: {url: 'redis://:hunter2@h', sentinels: ['redis://:hunter2@h']}}",
        "queue: {redis: {url: 'redis://:hunter2@h', prefix: '*'}}",
        "hosts: [{docker: 'tcp://me:hunter2@h'}]",
        "secret: hunter2",
        "secret: hunter2: x",
        "intake2: {secrets: [hunter2, \"]}",
        "token: 'hunter2",
        "token: |\nhunter2\n  hunter2: [",
        "http: {listen: '${WEBHOOK_SECRET}'}",
        "log: {level: '${WEBHOOK_SECRET}', format: '${GITHUB_TOKEN}'}",
        "security: {instance: '${WEBHOOK_SECRET} x'}",
        "limits: {max_runners: '${GITHUB_TOKEN}', disk_free_min: '${GITHUB_TOKEN}'}",
        "http: {listen: 5, admin: {socket: '~/${GITHUB_TOKEN}'}}",
    ];
    for mistake in mistakes {
        let Err(problems) = parse(&minimal_and(&format!("{mistake}\n"))) else {
            panic!("nothing was found wrong with {mistake}");
        };
        let json = serde_json::to_string(&problems).unwrap();
        for text in [problems.to_string(), format!("{problems:?}"), json] {
            assert!(!text.contains("hunter2"), "{mistake}\n{text}");
        }
    }
    let in_pool = [
        "env: {A: hunter2, A: hunter2}",
        "env: {'A=': hunter2}",
        "env: [A=hunter2]",
        "env: {A=hunter2}",
        "env: {A:hunter2}",
        "org_url: 'https://hunter2@github.com/acme'",
        "labels: ['${WEBHOOK_SECRET},x']",
        "image: '${WEBHOOK_SECRET} x'",
        "scaling: {idle_timeout: '${GITHUB_TOKEN}'}",
        "registration: '${GITHUB_TOKEN}'",
        "security: {mounts: ['${GITHUB_TOKEN}'], cap_add: ['${GITHUB_TOKEN}']}",
    ];
    for line in in_pool {
        let text = MINIMAL.replace("    labels: [small]", &format!("    user:\n    {line}"));
        let problems = parse(&text).unwrap_err();
        assert!(!format!("{problems}{problems:?}").contains("hunter2"), "{line}\n{problems}");
    }
}

#[test]
fn a_file_can_be_read_before_its_secrets_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = |_: &str| None;
    let outline = |text: &str| config::outline(text, "c.yaml", folder.path(), &nothing);
    let text = format!(
        "{}github:\n  auth:\n    app:\n      client_id: Iv1.a\n      private_key_file: secrets/app.pem\n",
        MINIMAL.replace("secrets: [\"${WEBHOOK_SECRET}\"]", "secrets_file: secrets/hook")
    );
    let config = outline(&text).unwrap().config;
    let GitHubAuth::App { issuer, private_key, .. } = &config.github.auth else { panic!("an App") };
    assert_eq!(issuer, "Iv1.a");
    assert!(config::is_stand_in(private_key) && config.intake.secrets.iter().all(config::is_stand_in));
    // Without anything of an App, and with a variable that is not set.
    let config = outline(MINIMAL).unwrap().config;
    assert!(matches!(&config.github.auth, GitHubAuth::Token(token) if config::is_stand_in(token)));
    assert!(config.intake.secrets.iter().all(config::is_stand_in));
    outline(&MINIMAL.replace("intake:\n  secrets: [\"${WEBHOOK_SECRET}\"]\n", "")).unwrap();
    // All else is held to what it always is.
    let wrong = outline(&MINIMAL.replace("id: small", "id: a/b")).unwrap_err();
    assert_eq!(wrong.iter().map(|problem| problem.key_path.as_str()).collect::<Vec<_>>(), ["runners[0].id"]);
    // What is there is read.
    put(&folder.path().join("hook"), "a-secret-of-theirs\n", 0o600);
    let there = outline(&text.replace("secrets/hook", "hook")).unwrap().config;
    assert_eq!(there.intake.secrets[0].expose_secret(), "a-secret-of-theirs");
}
