use super::{Api, PATIENCE, Running, collect, online, options, start};
use clap::Parser;
use runnerfleet::model::Scope;
use runnerfleet::simulation::agent::{Agent, AgentCommand, Ended, Interrupt, Worker, main_blocking};
use runnerfleet::simulation::github::{Conclusion, Handle, JobSpec, SessionFault};
use runnerfleet::simulation::protocol::Ending;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn acme() -> Scope {
    Scope::Organization("acme".into())
}

#[tokio::test]
async fn a_jit_runner_takes_one_job_and_is_gone() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let agent = Running::start(&api.registered("orgs/acme", "one-job", &["linux"]).await);
    online(&github, "one-job").await;
    assert_eq!(api.get("/orgs/acme/actions/runners").await["runners"][0]["status"], "online");
    let first = github.queue_job(JobSpec::new("acme/web", ["linux"]).named("build"));
    let second = github.queue_job(JobSpec::new("acme/web", ["linux"]));
    let done = github.wait_for_job(first, PATIENCE).await.unwrap();
    assert_eq!(done.conclusion, Some(Conclusion::Success));
    assert!(done.queued_at <= done.assigned_at && done.assigned_at <= done.started_at);
    assert!(done.started_at < done.completed_at);
    let (ended, lines) = agent.ended().await;
    assert_eq!((ended, ended.exit_code()), (Ended::Listener(0), 0));
    assert_eq!(github.runners(&acme()).len(), 0, "its registration ended with the job");
    assert_eq!(github.job(second).unwrap().stage.status(), "queued");

    let shape: Vec<String> =
        lines.iter().map(|line| line.trim().split_once("Z: ").map_or(line.trim(), |it| it.1).to_owned()).collect();
    assert_eq!(
        shape[..5],
        [
            "√ Connected to GitHub",
            "Current runner version: '2.336.0'",
            "Listening for Jobs",
            "Running job: build",
            "Job build completed with result: Succeeded",
        ]
    );
    let stamp = lines[2].split("Z: ").next().unwrap();
    jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", stamp).unwrap();
}

#[tokio::test]
async fn a_deleted_registration_ends_the_agent() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let jit = api.registered("orgs/acme", "deleted", &["x"]).await;
    let agent = Running::start(&jit);
    online(&github, "deleted").await;
    assert!(github.delete_runner("deleted"));
    let (ended, lines) = agent.ended().await;
    assert_eq!(ended.exit_code(), 0);
    assert!(lines.iter().any(|line| line.starts_with("The runner no longer exists on the server.")), "{lines:#?}");

    let (ended, lines) = Running::start(&jit).ended().await;
    assert_eq!((ended, ended.exit_code()), (Ended::Listener(1), 0), "hidden by run.sh");
    assert!(lines[0].starts_with("Failed to create a session. The runner registration has been deleted"), "{lines:#?}");
    let (ended, _) = Running::start("no jit config").ended().await;
    assert_eq!(ended, Ended::Listener(1));
}

#[tokio::test]
async fn one_runner_has_one_session() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let jit = api.registered("orgs/acme", "twice", &["x"]).await;
    let first = Running::start(&jit);
    online(&github, "twice").await;
    let (ended, lines) = Running::start(&jit).ended().await;
    assert_eq!(ended, Ended::Listener(5));
    assert_eq!(lines[0], "A session for this runner already exists.");
    assert!(lines.iter().any(|line| line.starts_with("Stop retry on SessionConflictException")), "{lines:#?}");
    first.stop.send_replace(Some(Interrupt::Int));
    let (ended, lines) = first.ended().await;
    assert_eq!((ended, ended.exit_code()), (Ended::Stopped(Interrupt::Int), 130));
    assert!(lines.contains(&"Exiting...".to_owned()));
    // Only its session ended: the registration stays, and another agent may come.
    assert_eq!(github.runners(&acme()).len(), 1);
    let again = Running::start(&jit);
    online(&github, "twice").await;
    again.task.abort();
}

#[tokio::test]
async fn agents_can_be_made_to_fail_before_they_listen() {
    let github = start(options()).await;
    let api = Api::person(&github);
    github.next_sessions(1, SessionFault::Die(42));
    let jit = api.registered("orgs/acme", "breaks", &["x"]).await;
    assert_eq!(Running::start(&jit).ended().await.0.exit_code(), 42);

    github.next_sessions(1, SessionFault::Deprecated);
    let (ended, lines) = Running::start(&api.registered("orgs/acme", "old", &["x"]).await).ended().await;
    assert_eq!(ended.exit_code(), 0);
    assert!(lines[0].contains("is deprecated and cannot receive messages"), "{lines:#?}");

    // One of the two is never answered, whichever comes first; the other does the work.
    github.next_sessions(1, SessionFault::NeverOnline);
    let one = Running::start(&api.registered("orgs/acme", "one", &["x"]).await);
    let two = Running::start(&api.registered("orgs/acme", "two", &["x"]).await);
    let job = github.queue_job(JobSpec::new("acme/web", ["x"]));
    let done = github.wait_for_job(job, PATIENCE).await.unwrap();
    let (works, silent) = if done.runner.unwrap().name == "one" { (one, two) } else { (two, one) };
    assert_eq!(works.ended().await.0, Ended::Listener(0));
    assert_eq!(silent.lines.lock().unwrap().len(), 0);
    silent.task.abort();
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let jit = api.registered("orgs/acme", "patient", &["x"]).await;
    github.set_down(true);
    let agent = Running::start(&jit);
    let told = |text: &str| agent.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count();
    let began = Instant::now();
    while told("Runner connect error:") == 0 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    github.set_down(false);
    online(&github, "patient").await;
    let job = github.queue_job(JobSpec::new("acme/web", ["x"]));
    github.wait_for_job(job, PATIENCE).await.unwrap();
    assert_eq!((told("Runner connect error:"), told("Runner reconnected.")), (1, 1));
    agent.ended().await;
}

/// The verb as the program has it; here the test program takes its place.
#[derive(Parser)]
struct Verb {
    #[command(subcommand)]
    command: AgentCommand,
}

/// Not a test: what the processes below run. Started by itself it does nothing.
#[test]
fn stand_in_process() {
    if let Ok(arguments) = std::env::var("STAND_IN_PROCESS") {
        let verb = Verb::parse_from(std::iter::once("stand-in-agent").chain(arguments.split(' ')));
        std::process::exit(main_blocking(verb.command).into());
    }
}

/// The same for the worker, which is told by its arguments alone.
#[test]
fn stand_in_worker() {
    let by_name = std::env::args_os().next().is_some_and(|name| name == runnerfleet::simulation::agent::WORKER_NAME);
    if by_name {
        std::process::exit(main_blocking(AgentCommand::Worker).into());
    }
}

/// An agent in a process of its own; killed when the test ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(arguments: &str, folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "simulation::agent::stand_in_process", "--nocapture"])
            .current_dir(folder)
            .env("STAND_IN_PROCESS", arguments)
            .env("STAND_IN_WORKER", "--exact simulation::agent::stand_in_worker --nocapture")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Exit code and output.
    async fn ended(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut output = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        (status.code(), output)
    }

    /// The command lines of its children.
    fn children(&self) -> Vec<(Pid, String)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
            else {
                continue;
            };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)).unwrap_or_default();
            if parent == self.pid().as_raw_nonzero().to_string() {
                let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
                found.push((pid, line));
            }
        }
        found
    }
}

async fn running(github: &Handle, job: runnerfleet::model::JobKey) {
    let taken = |model: &runnerfleet::simulation::github::Model| {
        model.job(job).is_some_and(|job| job.stage.status() == "in_progress")
    };
    github.wait_until("running job", PATIENCE, taken).await.unwrap();
}

#[tokio::test]
async fn a_job_runs_in_a_process_called_runner_worker_without_the_jit_config() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let jit = api.registered("orgs/acme", "process", &["x"]).await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Process::start("run", folder.path(), &[("ACTIONS_RUNNER_INPUT_JITCONFIG", &jit)]);
    let job = github.queue_job(JobSpec::new("acme/web", ["x"]).lasting(Duration::from_secs(2)).printing(3));
    running(&github, job).await;
    let began = Instant::now();
    let (pid, line) = loop {
        if let Some(child) = agent.children().into_iter().find(|(_, line)| line.contains("Runner.Worker")) {
            break child;
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", agent.children());
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(line.starts_with("/home/runner/bin/Runner.Worker\0"), "{line:?}");
    assert!(!line.contains(&jit));
    let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("JITCONFIG"));
    assert!(folder.path().join(".runner").exists());
    let done = github.wait_for_job(job, PATIENCE).await.unwrap();
    assert_eq!(done.conclusion, Some(Conclusion::Success));
    let (code, output) = agent.ended().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("line 3 of 3"), "{output}");
    assert!(!folder.path().join(".runner").exists(), "an ephemeral runner leaves no files");
}

#[tokio::test]
async fn a_killed_worker_is_a_failed_job_and_the_agent_lives() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let jit = api.registered("orgs/acme", "victim", &["x"]).await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Process::start("run", folder.path(), &[("ACTIONS_RUNNER_INPUT_JITCONFIG", &jit)]);
    let job = github.queue_job(JobSpec::new("acme/web", ["x"]).ending(Ending::Hangs));
    running(&github, job).await;
    let began = Instant::now();
    let worker = loop {
        if let Some((pid, _)) = agent.children().into_iter().find(|(_, line)| line.contains("Runner.Worker")) {
            break pid;
        }
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    kill_process(worker, Signal::KILL).unwrap();
    assert_eq!(github.wait_for_job(job, PATIENCE).await.unwrap().conclusion, Some(Conclusion::Failure));
    let (code, output) = agent.ended().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("completed with result: Failed"), "{output}");
}

#[tokio::test]
async fn signals_end_it_as_they_end_the_real_one() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let folder = tempfile::tempdir().unwrap();
    for (name, signal, code) in [("idle-term", Signal::TERM, 143), ("idle-int", Signal::INT, 130)] {
        let jit = api.registered("orgs/acme", name, &["idle"]).await;
        let environment = [("ACTIONS_RUNNER_INPUT_JITCONFIG", jit.as_str()), ("RUNNER_MANUALLY_TRAP_SIG", "1")];
        let agent = Process::start("run", folder.path(), &environment);
        online(&github, name).await;
        kill_process(agent.pid(), signal).unwrap();
        let (ended, output) = agent.ended().await;
        assert_eq!(ended, Some(code), "{output}");
        assert!(output.contains("Exiting..."), "{output}");
        assert!(github.delete_runner(name), "the registration stays");
    }

    // With a job: the job is cancelled, not waited for.
    let jit = api.registered("orgs/acme", "working", &["x"]).await;
    let environment = [("ACTIONS_RUNNER_INPUT_JITCONFIG", jit.as_str()), ("RUNNER_MANUALLY_TRAP_SIG", "1")];
    let agent = Process::start("run", folder.path(), &environment);
    let job = github.queue_job(JobSpec::new("acme/web", ["x"]).ending(Ending::Hangs));
    running(&github, job).await;
    kill_process(agent.pid(), Signal::TERM).unwrap();
    assert_eq!(github.wait_for_job(job, PATIENCE).await.unwrap().conclusion, Some(Conclusion::Failure));
    let (ended, output) = agent.ended().await;
    assert_eq!(ended, Some(143), "{output}");

    // Without the variable nothing catches the signal.
    let jit = api.registered("orgs/acme", "untrapped", &["idle"]).await;
    let agent = Process::start("run", folder.path(), &[("ACTIONS_RUNNER_INPUT_JITCONFIG", &jit)]);
    online(&github, "untrapped").await;
    kill_process(agent.pid(), Signal::TERM).unwrap();
    assert_eq!(agent.ended().await.0, None, "killed by it");
}

#[tokio::test]
async fn a_token_registers_agents_until_it_lapses() {
    let mut options = options();
    options.timings.registration_token = Duration::from_secs(6);
    let github = start(options).await;
    let api = Api::person(&github);
    let minted = api.ask("POST", "/orgs/acme/actions/runners/registration-token", None).await.1;
    let token = minted["token"].as_str().unwrap().to_owned();
    let url = format!("{}/acme", github.web_url());
    let folder = tempfile::tempdir().unwrap();
    let configure = async |extra: &str, folder: &Path, token: &str| {
        let arguments = format!(
            "config --unattended --ephemeral --disableupdate --url {url} --work _work --labels gpu,big {extra}"
        );
        Process::start(&arguments, folder, &[("ACTIONS_RUNNER_INPUT_TOKEN", token)]).ended().await
    };
    let (code, output) = configure("--name own", folder.path(), &token).await;
    assert_eq!(code, Some(0), "{output}");
    let listed = api.get("/orgs/acme/actions/runners").await["runners"][0].clone();
    let labels: Vec<&str> =
        listed["labels"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert!(["gpu", "big", "self-hosted", "linux"].iter().all(|label| labels.contains(label)), "{labels:?}");

    let (code, output) = configure("--name own", folder.path(), &token).await;
    assert_eq!(code, Some(1));
    assert!(output.contains("it is already configured"), "{output}");
    let other = tempfile::tempdir().unwrap();
    let (code, output) = configure("--name own", other.path(), &token).await;
    assert_eq!((code, output.contains("A runner exists with the same name own")), (Some(1), true), "{output}");
    let (code, output) = configure("--name more --runnergroup nothing", other.path(), &token).await;
    assert_eq!((code, output.contains("Could not find any self-hosted runner group")), (Some(1), true), "{output}");
    let (code, output) = configure("--name own --replace --no-default-labels", other.path(), &token).await;
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(github.runners(&acme()).len(), 1, "the same token twice, one name");
    let (code, output) = configure("--name wrong", folder.path(), "AWRONG").await;
    assert_eq!(code, Some(1), "{output}");

    // The first registration was replaced; the second one works.
    let (_, output) = Process::start("run", folder.path(), &[]).ended().await;
    assert!(output.contains("The runner registration has been deleted"), "{output}");
    let agent = Process::start("run", other.path(), &[]);
    let job = github.queue_job(JobSpec::new("acme/web", ["gpu"]));
    assert_eq!(github.wait_for_job(job, PATIENCE).await.unwrap().conclusion, Some(Conclusion::Success));
    assert_eq!(agent.ended().await.0, Some(0));

    let end: jiff::Timestamp = minted["expires_at"].as_str().unwrap().parse().unwrap();
    let left = Duration::try_from(jiff::Timestamp::now().duration_until(end)).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_secs(1)).await;
    let third = tempfile::tempdir().unwrap();
    let (code, output) = configure("--name late", third.path(), &token).await;
    assert_eq!(code, Some(1), "{output}");
}

#[tokio::test]
async fn a_persistent_runner_takes_job_after_job() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let minted = api.ask("POST", "/repos/acme/web/actions/runners/registration-token", None).await.1;
    let folder = tempfile::tempdir().unwrap();
    let arguments = format!(
        "config --unattended --url {}/acme/web --name kept --labels x --token {}",
        github.web_url(),
        minted["token"].as_str().unwrap()
    );
    let (code, output) = Process::start(&arguments, folder.path(), &[]).ended().await;
    assert_eq!(code, Some(0), "{output}");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let mut agent = Agent::new(None, Worker::InProcess);
    agent.root = Some(folder.path().to_owned());
    agent.output = collect(&lines);
    agent.stop = stopped;
    let task = tokio::spawn(agent.run());
    for _ in 0..2 {
        let job = github.queue_job(JobSpec::new("acme/web", ["x"]));
        let done = github.wait_for_job(job, PATIENCE).await.unwrap();
        assert_eq!(done.runner.unwrap().name, "kept");
    }
    stop.send_replace(Some(Interrupt::Term));
    assert_eq!(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().exit_code(), 143);
    let scope = Scope::Repository { owner: "acme".into(), name: "web".into() };
    assert_eq!(github.runners(&scope).len(), 1);
}
