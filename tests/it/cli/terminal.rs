//! What is different at a terminal: pages that are drawn again, questions. `script` (of util-linux) gives one.

use crate::support::program::{PROGRAM, Process, Program, run};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// A verb at a terminal of its own.
struct Terminal {
    script: Child,
    pid: PathBuf,
    page: PathBuf,
}

impl Terminal {
    fn open(program: &Program, verb: &str) -> Self {
        let (pid, page) = (program.path("terminal.pid"), program.path("terminal.txt"));
        for left in [&pid, &page] {
            // Of the terminal before.
            let _ = std::fs::remove_file(left);
        }
        let line = format!("echo $$ > {}; exec '{PROGRAM}' {verb}", pid.display());
        let like = program.command(&[]);
        let mut command = Command::new("script");
        command.args(["-qefc", &line]).arg(&page).current_dir(program.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        for (key, value) in like.as_std().get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.env("TERM", "xterm");
        Self { script: command.spawn().expect("`script` (bsdutils) is needed by these tests"), pid, page }
    }

    fn shows(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.page).unwrap_or_default()).into_owned()
    }

    async fn types(&mut self, text: &str) {
        let stdin = self.script.stdin.as_mut().expect("it is piped");
        stdin.write_all(text.as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }

    fn interrupt(&self) {
        let pid: i32 = std::fs::read_to_string(&self.pid).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).expect("it is ours");
    }

    async fn ended(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(crate::support::app::PATIENCE, self.script.wait()).await;
        ended.expect("it ends").expect("it is ours").code()
    }
}

fn log(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn watching() {
    let mut program = Program::set_up().await;
    program.serve().await;
    program.looked().await;
    let idle = program.idle("arm").await;

    // In a file, page after page.
    for (verb, words) in [
        (vec!["list", "--watch=100ms"], "started"),
        (vec!["status", &idle, "--watch=100ms"], "History:"),
        (vec!["list", "--watch=100ms", "-o", "json"], "\"started\""),
    ] {
        let path = program.path("watch.txt");
        let file = std::fs::File::create(&path).unwrap();
        let mut watch = Process::spawn(program.command(&verb).stdout(file).stderr(Stdio::null()));
        program.until("three pages", || (log(&path).matches(words).count() >= 3).then_some(())).await;
        assert!(!watch.is_over());
        watch.signal(Signal::INT);
        assert_eq!(watch.ended().await, Some(0), "{verb:?}");
        assert!(!log(&path).contains('\u{1b}'), "nothing is drawn in a file: {}", log(&path));
    }

    // At a terminal, each in the place of the one before.
    for verb in ["list --watch=100ms".to_owned(), format!("status {idle} --watch=100ms")] {
        let terminal = Terminal::open(&program, &verb);
        program.until("three pages", || (terminal.shows().matches("\u{1b}[H").count() >= 3).then_some(())).await;
        terminal.interrupt();
        let shown = terminal.shows();
        assert_eq!(terminal.ended().await, Some(0), "{verb}: {shown}");
        assert!(shown.contains(&idle) && shown.contains("\u{1b}[K"), "{shown:?}");
    }

    // Nobody reads on.
    let line = format!("set -o pipefail; '{PROGRAM}' list --watch=100ms | head -3");
    let mut command = Command::new("bash");
    command.args(["-c", &line]).current_dir(program.folder.path());
    for (key, value) in program.command(&[]).as_std().get_envs() {
        if let Some(value) = value {
            command.env(key, value);
        }
    }
    let piped = run(&mut command).await;
    assert_eq!((piped.code, piped.err.as_str()), (Some(0), ""), "{piped:?}");

    // One that goes while it is watched.
    let path = program.path("gone.txt");
    let file = std::fs::File::create(&path).unwrap();
    let mut watch = Process::spawn(program.command(&["list", "--watch=100ms"]).stdout(file).stderr(Stdio::null()));
    program.until("a page", || log(&path).contains(&idle).then_some(())).await;
    assert_eq!(program.run(&["remove", &idle, "--yes"]).await.code, Some(0));
    program.until("an empty page", || log(&path).contains("no runners").then_some(())).await;
    watch.signal(Signal::INT);
    assert_eq!(watch.ended().await, Some(0));
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_alone_ends_as_well() {
    let program = Program::set_up().await;
    let path = program.path("watch.txt");
    let file = std::fs::File::create(&path).unwrap();
    let mut watch = Process::spawn(program.command(&["list", "-w"]).stdout(file).stderr(Stdio::null()));
    program.until("a page", || log(&path).contains("no runners").then_some(())).await;
    watch.signal(Signal::INT);
    assert_eq!(watch.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_and_answered() {
    let mut program = Program::set_up().await;
    program.serve().await;
    let idle = program.idle("arm").await;
    let question = format!("Remove {idle}? [y/N]");

    let mut terminal = Terminal::open(&program, "remove --all");
    program.until("the question", || terminal.shows().contains(&question).then_some(())).await;
    terminal.types("n\n").await;
    let page = terminal.page.clone();
    assert_eq!(terminal.ended().await, Some(1));
    assert!(log(&page).contains("nothing was done"), "{}", log(&page));
    assert_eq!(program.containers().await, [idle.as_str()]);

    let mut terminal = Terminal::open(&program, &format!("remove {idle}"));
    program.until("the question", || terminal.shows().contains(&question).then_some(())).await;
    terminal.types("yes\n").await;
    let page = terminal.page.clone();
    assert_eq!(terminal.ended().await, Some(0), "{}", log(&page));
    assert!(log(&page).contains("1 removed"), "{}", log(&page));
    assert!(program.containers().await.is_empty());

    // Ctrl-C at a question is a no.
    let idle = program.idle("arm").await;
    let terminal = Terminal::open(&program, "remove --all");
    program.until("the question", || terminal.shows().contains("[y/N]").then_some(())).await;
    terminal.interrupt();
    assert_ne!(terminal.ended().await, Some(0));
    assert_eq!(program.containers().await, [idle.as_str()]);
    assert_eq!(program.run(&["remove", "--all", "-y", "-q"]).await.code, Some(0));
    assert_eq!(program.stop().await, Some(0));
}
