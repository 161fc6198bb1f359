//! Help, wrong use, and an output that nobody reads to its end.

use crate::support::program::{PROGRAM, Said, run};
use tokio::process::Command;

async fn said(arguments: &[&str]) -> Said {
    run(Command::new(PROGRAM).args(arguments).env_remove("RUNNERFLEET_CONFIG").current_dir("/")).await
}

#[tokio::test]
async fn every_verb_has_an_example_in_its_help() {
    let verbs = [
        "",
        "serve",
        "list",
        "jobs",
        "plan",
        "remove",
        "build",
        "images",
        "images prune",
        "config",
        "config check",
        "config schema",
        "demo",
    ];
    for verb in verbs.into_iter().chain(["completions"]) {
        let mut arguments: Vec<&str> = verb.split_whitespace().collect();
        arguments.push("--help");
        let help = said(&arguments).await;
        assert_eq!(help.code, Some(0), "{verb}: {help:?}");
        assert!(help.out.contains(&format!("runnerfleet {verb}")), "{verb}: {}", help.out);
        assert!(help.out.contains("Example"), "{verb} has no example: {}", help.out);
        assert!(!help.out.contains("stand-in-agent"), "{verb}: {}", help.out);
        let widest = help.out.lines().map(str::len).max().unwrap_or_default();
        assert!(widest <= 110, "{verb}: {widest} columns");
    }
}

#[tokio::test]
async fn wrong_use_is_exit_code_2_and_says_what_would_be_right() {
    for (arguments, words) in [
        (&["list", "--state", "busy"][..], "created, started, running, stopped, removed, error"),
        (&["list", "--output", "xml"], "table, wide, json, yaml"),
        (&["jobs", "--state", "lost"], "unmatched"),
        (&["remove"], "--pool <POOL>"),
        (&["remove", "a-runner", "--all"], "cannot be used with"),
        (&["demo", "--jobs", "0"], "1..=1000"),
        (&["demo", "--job-seconds", "soon"], "0 to 600"),
        (&["conjure"], "unrecognized subcommand"),
        (&["serve", "--fast"], "--fast"),
        (&[], "Usage: runnerfleet"),
    ] {
        let refused = said(arguments).await;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(words), "{arguments:?}: {}", refused.err);
        assert_eq!(refused.out, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn nobody_reads_to_the_end() {
    for verb in ["config schema", "completions bash", "--help", "completions zsh"] {
        let line = format!("set -o pipefail; '{PROGRAM}' {verb} | head -1");
        let piped = run(Command::new("bash").args(["-c", &line])).await;
        assert_eq!((piped.code, piped.err.as_str()), (Some(0), ""), "{verb}: {piped:?}");
        assert_eq!(piped.out.lines().count(), 1, "{verb}");
        let line = format!("'{PROGRAM}' {verb} >&-");
        let closed = run(Command::new("bash").args(["-c", &line])).await;
        assert!(!closed.err.contains("panicked"), "{verb}: {}", closed.err);
    }
}

#[tokio::test]
async fn completions_name_the_verbs() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = said(&["completions", shell]).await;
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        assert!(said.out.contains("remove") && said.out.contains("dry-run"), "{shell}");
    }
}
