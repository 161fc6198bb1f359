//! `runnerfleet simulate`, as a person types it.

use crate::support::program::{PROGRAM, run};
use tokio::process::Command;

fn simulate(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("simulate").args(arguments).env_remove("RUNNERFLEET_CONFIG").current_dir("/");
    command
}

#[tokio::test]
async fn it_sums_up_and_two_threads_make_no_difference() {
    let mut sums = Vec::new();
    for threads in ["1", "2"] {
        let said = run(&mut simulate(&["--seeds", "4", "--threads", threads, "--output", "json"])).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        let summary: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(summary["runs"], 4);
        assert_eq!(summary["failed"].as_array().map(Vec::len), Some(0));
        assert!(summary["jobs"].as_u64() > Some(4), "{summary}");
        sums.push(summary["hash"].clone());
    }
    assert_eq!(sums[0], sums[1]);
}

#[tokio::test]
async fn a_run_that_fails_is_printed_with_the_command_that_plays_it_again() {
    // Without a look into GitHub's log, some run loses a job.
    let said = run(&mut simulate(&["--seeds", "60", "--no-recovery"])).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let replay =
        said.out.lines().find_map(|line| line.trim().strip_prefix("runnerfleet simulate ")).unwrap().to_owned();
    assert!(replay.starts_with("--seed "), "{replay}");
    assert!(said.err.contains(&replay), "{said:?}");
    let again = run(&mut simulate(&replay.split(' ').collect::<Vec<_>>())).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(
        again.out.contains("VIOLATION [no job is lost]") || again.out.contains("[no job is lost]"),
        "{}",
        again.err
    );
}

#[tokio::test]
async fn what_makes_no_sense_together_is_wrong_use() {
    for arguments in [&["--seed", "1", "--seeds", "2"][..], &["--trace"], &["--seeds", "many"], &["--threads", "0"]] {
        let said = run(&mut simulate(arguments)).await;
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
    }
}
