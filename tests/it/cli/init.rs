//! `init`: from an empty folder to a file that the other verbs take.

use crate::support::program::{PROGRAM, Said, run};
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

async fn said(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env_remove("RUNNERFLEET_CONFIG").stdin(Stdio::null());
    run(command.env("GITHUB_TOKEN", "ghp_hunter2").env("WEBHOOK_SECRET", "s3cret")).await
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn without_a_terminal_it_names_the_flags_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let refused = said(folder.path(), &["init"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    for flag in ["--org", "--mode", "--defaults"] {
        assert!(refused.err.contains(flag), "{}", refused.err);
    }
    for (arguments, why) in [
        (&["--org", "acme", "--mode", "persistent", "--language", "cobol"][..], "there is no Dockerfile for `cobol`"),
        (&["--org", "a b", "--defaults"], "runners_defaults.org_url: "),
        (&["--org", "enterprises/x", "--defaults"], "is an enterprise"),
        (&["--defaults", "--pool", "a/b"], "runners[0].id: `a/b` is not a possible name"),
        (&["--defaults", "--auth", "app"], "--client-id"),
        (&["--defaults", "--count", "0"], "--count"),
    ] {
        let refused = said(folder.path(), &[&["init"], arguments].concat()).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
        assert!(refused.err.contains(why), "{}", refused.err);
    }
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn the_defaults_are_a_file_that_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let done = said(folder.path(), &["init", "--defaults", "--org", "acme"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(files(folder.path()), ["runners_config.yaml"]);
    let next: Vec<&str> = done.out.lines().filter_map(|line| line.trim().strip_prefix("runnerfleet ")).collect();
    let verbs: Vec<&str> = next.iter().map(|line| line.split("  ").next().unwrap().trim()).collect();
    assert_eq!(verbs, ["config check", "deploy", "list"], "{}", done.out);
    assert!(!done.out.contains("put your organization"), "{}", done.out);
    let check = said(folder.path(), &["config", "check"]).await;
    assert_eq!((check.code, check.err.as_str()), (Some(0), ""), "{check:?}");
    assert!(check.out.contains("2 kept") && check.out.contains("at acme"), "{}", check.out);
    let text = std::fs::read_to_string(folder.path().join("runners_config.yaml")).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 125), "{text}");
    assert!(text.matches('#').count() > 15, "it is explained");

    // A second time nothing is lost.
    let again = said(folder.path(), &["init", "--defaults", "--org", "other"]).await;
    assert_eq!((again.code, again.out.as_str()), (Some(2), ""), "{again:?}");
    assert!(again.err.contains("--force"), "{}", again.err);
    let forced = said(folder.path(), &["init", "--defaults", "--org", "other", "--force"]).await;
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("runners_config.yaml.bak")).unwrap(), text);
}

#[tokio::test]
async fn languages_bring_their_dockerfiles() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("ci/dockerfiles/go")).unwrap();
    std::fs::write(folder.path().join("ci/dockerfiles/go/Dockerfile"), "FROM mine\n").unwrap();
    let arguments = [
        "init",
        "-c",
        "ci/fleet.yaml",
        "--org",
        "acme/web",
        "--mode",
        "ephemeral",
        "--count",
        "5",
        "--language",
        "node",
    ];
    let more = ["--language", "php=8.3", "--language", "php=8.4", "--language", "go"];
    let done = said(folder.path(), &[&arguments[..], &more].concat()).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(
        files(folder.path()),
        [
            "ci/dockerfiles/go/Dockerfile",
            "ci/dockerfiles/node/Dockerfile",
            "ci/dockerfiles/php/Dockerfile",
            "ci/fleet.yaml"
        ]
    );
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
    assert_eq!(read("ci/dockerfiles/go/Dockerfile"), "FROM mine\n", "what is there is kept");
    assert_eq!(read("ci/dockerfiles/node/Dockerfile"), include_str!("../../../dockerfiles/node/Dockerfile"));
    assert!(done.out.contains("runnerfleet --config ci/fleet.yaml serve"), "{}", done.out);
    let check = said(folder.path(), &["config", "check", "--config", "ci/fleet.yaml"]).await;
    assert_eq!((check.code, check.err.as_str()), (Some(0), ""), "{check:?}");
    for pool in ["node", "php83", "php84", "go"] {
        assert!(check.out.lines().any(|line| line.starts_with(pool) && line.contains("at most 5")), "{}", check.out);
    }
    assert!(read("ci/fleet.yaml").contains("language: php\n    language_version: 8.3\n"), "{}", read("ci/fleet.yaml"));
}

#[tokio::test]
async fn one_language_with_a_short_version_and_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["init", "--defaults", "--org", "acme", "--language", "node", "--language-version", "22"];
    let done =
        said(folder.path(), &[&arguments[..], &["--pool", "web", "--auth", "app", "--client-id", "Iv1.a"]].concat())
            .await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let text = std::fs::read_to_string(folder.path().join("runners_config.yaml")).unwrap();
    assert!(text.contains("- id: web\n") && text.contains("labels: [node, web]"), "{text}");
    let version = text.split("language_version: ").nth(1).unwrap().lines().next().unwrap();
    assert!(version.starts_with("22.") && version.split('.').count() == 3, "{version}");
    assert!(text.contains("client_id: Iv1.a"), "{text}");
    // The key is the one thing that is missing.
    let check = said(folder.path(), &["config", "check"]).await;
    assert_eq!((check.code, check.err.contains("1 problem in")), (Some(2), true), "{check:?}");
    assert!(check.err.contains("private_key_file"), "{}", check.err);
}

/// `script` gives the program a terminal of its own.
#[tokio::test]
async fn at_a_terminal_it_asks() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{PROGRAM} init"), "/dev/null"]).current_dir(folder.path());
    command.env_remove("RUNNERFLEET_CONFIG").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("`script` (of bsdutils) is there");
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"acme\np\npython\n3\n\n").await.unwrap();
    let done =
        tokio::time::timeout(std::time::Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    drop(input);
    let shown = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{shown}");
    assert!(shown.contains("Languages that jobs need") && shown.contains("runnerfleet deploy"), "{shown}");
    assert_eq!(files(folder.path()), ["dockerfiles/python/Dockerfile", "runners_config.yaml"]);
    let check = said(folder.path(), &["config", "check"]).await;
    assert_eq!((check.code, check.out.contains("3 kept")), (Some(0), true), "{check:?}");
}
