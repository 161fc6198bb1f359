//! Help, wrong use, and an output that nobody reads to its end.

use crate::support::program::{PROGRAM, Said, run};
use tokio::process::Command;

async fn said(arguments: &[&str]) -> Said {
    run(Command::new(PROGRAM).args(arguments).env_remove("RUNNERFLEET_CONFIG").current_dir("/")).await
}

#[tokio::test]
async fn wrong_use_is_exit_code_2_and_says_what_would_be_right() {
    for (arguments, words) in [
        (&["list", "--state", "busy"][..], "created, started, running, stopped, removed, error"),
        (&["list", "--output", "xml"], "table, wide, json, yaml"),
        (&["jobs", "--state", "lost"], "unmatched"),
        (&["remove"], "--pool <POOL>"),
        (&["remove", "a-runner", "--all"], "cannot be used with"),
        (&["stop", "--pool", "a", "--all"], "cannot be used with"),
        (&["start"], "--all"),
        (&["stop", "--all", "--timeout", "soon"], "`30s`"),
        (&["stop", "--all", "--timeout", "5s", "--force"], "cannot be used with"),
        (&["logs", "web-1", "--since", "yesterday"], "`10m`"),
        (&["logs"], "<NAME>"),
        (&["list", "--watch=1ms"], "100ms at least"),
        (&["list", "--kind", "eternal"], "ephemeral, persistent"),
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
