//! `runnerfleet demo`, as a person runs it: it ends well, and leaves nothing however it ends.

use crate::support::docker::docker;
use crate::support::program::{PROGRAM, Process, Said, run};
use rustix::process::Signal;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// A demo in a temporary folder of its own, so that what it leaves there is seen.
struct Demo {
    folder: tempfile::TempDir,
}

impl Demo {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("demo").args(arguments).current_dir("/").env("TMPDIR", self.folder.path());
        command.env_remove("RUST_LOG");
        command
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments)).await
    }

    /// No folder, and no container or network of this process's instance.
    fn left_nothing(&self, pid: u32) {
        let files: Vec<_> = std::fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(files.is_empty(), "{files:?}");
        let filter = format!("label=runnerfleet.instance=demo-{pid}");
        assert_eq!(docker(&["ps", "-aq", "--filter", &filter]), "", "containers are left");
        assert_eq!(docker(&["network", "ls", "-q", "--filter", &filter]), "", "networks are left");
    }
}

#[tokio::test]
async fn every_job_is_served_and_nothing_is_left() {
    let demo = Demo::new();
    let mut command = demo.command(&["--jobs", "6", "--pools", "2", "--job-seconds", "0.3"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = child.spawn().unwrap();
    let pid = child.id().unwrap();
    let output = tokio::time::timeout(Duration::from_secs(100), child.wait_with_output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    println!("{err}\n{out}");
    assert_eq!(output.status.code(), Some(0));
    for number in 1..=6 {
        let job = format!("build {number}");
        let line = out.lines().find(|line| line.contains(&job)).unwrap_or_else(|| panic!("{job}"));
        assert!(line.contains("linux-") || line.contains("gpu-"), "{line}");
    }
    assert!(out.contains("P50") && out.contains("P99"), "{out}");
    assert!(out.contains("every job was served once"), "{out}");
    demo.left_nothing(pid);
}

#[tokio::test]
async fn without_docker_it_says_what_is_needed() {
    let demo = Demo::new();
    let mut command = demo.command(&["--jobs", "2"]);
    let said = run(command.env("DOCKER_HOST", "unix:///nowhere/docker.sock")).await;
    println!("{}", said.err);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.err.contains("needs a Docker engine") && said.err.contains("/nowhere/docker.sock"), "{}", said.err);
    assert_eq!(std::fs::read_dir(demo.folder.path()).unwrap().count(), 0);
    let said = demo.run(&["--pools", "21"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[tokio::test]
async fn interrupted_in_the_middle_it_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM] {
        let demo = Demo::new();
        let log = demo.folder.path().join("said");
        let file = std::fs::File::create(&log).unwrap();
        let mut command = demo.command(&["--jobs", "40", "--concurrency", "3", "--job-seconds", "60"]);
        let mut child = Process::spawn(command.stdout(file.try_clone().unwrap()).stderr(file));
        let pid = child.id();
        wait_for(&log, " running, 0 served").await;
        child.signal(signal);
        let began = std::time::Instant::now();
        assert_eq!(child.ended().await, Some(1));
        let said = std::fs::read_to_string(&log).unwrap();
        println!("{said}");
        assert!(began.elapsed() < Duration::from_secs(15), "a person waits for it: {:?}", began.elapsed());
        std::fs::remove_file(&log).unwrap();
        demo.left_nothing(pid);
    }
}

/// Until a job runs.
async fn wait_for(log: &Path, words: &str) {
    let wait = async {
        loop {
            let said = std::fs::read_to_string(log).unwrap();
            let runs = said.lines().any(|line| line.contains(words) && !line.contains(" 0 running"));
            if runs {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("a job runs");
}
