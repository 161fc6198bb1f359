//! `--help` of every verb: kept as a golden file, with an example in each.

use super::golden::{folder, golden};
use crate::support::program::{PROGRAM, run};
use std::collections::BTreeSet;
use tokio::process::Command;

async fn help(verb: &str) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(verb.split_whitespace()).arg("--help").env_remove("RUNNERFLEET_CONFIG").current_dir("/");
    let said = run(&mut command).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{verb}: {said:?}");
    said.out
}

/// The verbs that a help text lists.
fn verbs(help: &str) -> Vec<&str> {
    let commands = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    // A description that is too long for its line goes on in the next, further to the right.
    let lines = commands.lines().take_while(|line| line.starts_with(' ')).filter(|line| !line.starts_with("   "));
    lines.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").collect()
}

#[tokio::test]
async fn of_every_verb() {
    let mut open = vec![String::new()];
    let mut seen = BTreeSet::new();
    while let Some(verb) = open.pop() {
        let text = help(&verb).await;
        open.extend(verbs(&text).into_iter().map(|inner| format!("{verb} {inner}").trim().to_owned()));
        let name = if verb.is_empty() { "runnerfleet".to_owned() } else { verb.replace(' ', "-") };
        golden(&format!("help/{name}.txt"), &text);
        assert!(text.contains("Example"), "{verb} has no example: {text}");
        assert!(text.contains(&format!("runnerfleet {verb}")), "{verb}: {text}");
        assert!(!text.contains("stand-in-agent") && !text.contains("-runners"), "hidden ones are hidden: {text}");
        let widest = text.lines().map(str::len).max().unwrap_or_default();
        assert!(widest <= 110, "{verb}: {widest} columns");
        seen.insert(format!("{name}.txt"));
    }
    assert!(seen.len() > 12, "{seen:?}");
    let files = std::fs::read_dir(folder().join("help")).unwrap();
    let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, seen, "a file for each verb, and no other");
}

#[tokio::test]
async fn of_the_spellings_of_the_tool_that_is_replaced() {
    for (old, new) in [
        ("list-runners", "list"),
        ("start-runners", "start --all"),
        ("stop-runners", "stop --all"),
        ("remove-runners", "remove --all"),
    ] {
        let text = help(old).await;
        assert!(text.contains(&format!("runnerfleet {new}")), "{old}: {text}");
    }
}

#[tokio::test]
async fn a_shell_in_a_runner_is_dockers() {
    assert!(help("logs").await.contains("docker exec -it NAME bash"));
}
