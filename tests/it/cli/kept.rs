//! The verbs for persistent runners, beside a `serve` and alone, on real Docker.

use super::golden::{golden, own, timeless};
use crate::support::app::PATIENCE;
use crate::support::docker::docker;
use crate::support::program::{Process, Program, Said};
use runnerfleet::model::JobKey;
use runnerfleet::simulation::github::{JobSpec, Stage};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

/// Pools `web` (two runners) and `api` (one) beside the ephemeral `linux`.
async fn program() -> Program {
    let program = Program::set_up().await;
    let mut config = program.config();
    // Agents that register themselves ask there; their containers can reach it.
    config["runners_defaults"]["org_url"] = format!("{}/acme", program.github.agent_url()).into();
    config["runners"] = json!([pool(&program, "web", 2), pool(&program, "api", 1), config["runners"][0]]);
    program.write_config(&config);
    program
}

/// Container names belong to the whole engine: the prefix has the fleet's name.
fn pool(program: &Program, name: &str, count: u32) -> Value {
    json!({
        "id": name, "name_prefix": full(program, name), "labels": [name], "nb": count,
        "resources": { "memory": "128m", "pids": 256 }, "timeouts": { "stop_grace": "5s" },
    })
}

fn full(program: &Program, name: &str) -> String {
    format!("{}{name}", own(program))
}

/// The runners' names without the fleet's.
async fn containers(program: &Program) -> Vec<String> {
    let before = own(program);
    let mut names: Vec<String> = program.containers().await;
    names.sort();
    names.into_iter().map(|name| name.replace(&before, "")).collect()
}

fn registered(program: &Program) -> Vec<String> {
    let before = own(program);
    let mut names = program.registered();
    names.sort();
    names.into_iter().map(|name| name.replace(&before, "")).collect()
}

/// Until GitHub's list, which `serve` reads now and then, tells of the runners what is so.
async fn settled(program: &Program) {
    let is_so = |row: &Value| match row["state"].as_str().unwrap() {
        "stopped" => row["github"] == "offline",
        "running" => row["github"] == "busy",
        // Described, and never deployed.
        "created" => row["github"] == "absent",
        _ => row["github"] == "online",
    };
    program.rows(&["list"], |rows| rows.iter().all(is_so)).await;
}

/// A verb whose names are those of the tests; held against golden files as a table and as JSON.
async fn told(program: &Program, file: &str, code: i32, arguments: &[&str]) -> Said {
    let said = said(program, arguments).await;
    assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
    let kind = if arguments.contains(&"json") { "json" } else { "txt" };
    let mut text = timeless(program, &said.out);
    if !said.err.is_empty() && kind == "txt" {
        // Progress of several comes in any order.
        let mut lines: Vec<String> = timeless(program, &said.err).lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        lines.retain(|line| !is_passing(line));
        text = format!("{}\n--- standard error, sorted\n{}", text.trim_end(), lines.join("\n"));
    }
    golden(&format!("{file}.{kind}"), &text);
    said
}

/// Whether a run may come by this step or not, as time will have it.
fn is_passing(line: &str) -> bool {
    [
        "writing it down",
        "trying again",
        "waiting for another action",
        "waiting for its turn",
        "waiting until",
        "making sure",
    ]
    .iter()
    .any(|words| line.contains(words))
}

async fn said(program: &Program, arguments: &[&str]) -> Said {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| match argument.strip_prefix('@') {
            Some(name) => full(program, name),
            None => (*argument).to_owned(),
        })
        .collect();
    program.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// A job that runs on one of `web`'s runners until somebody ends it.
async fn busy(program: &Program) -> (JobKey, String) {
    let spec = JobSpec::new("acme/web", ["web"]).named("endless").lasting(Duration::from_secs(3600));
    let job = program.github.queue_job(spec);
    let name = program
        .until("the job runs", || match program.github.job(job)?.stage {
            Stage::InProgress { .. } => program.github.job(job)?.runner.map(|runner| runner.name),
            _ => None,
        })
        .await;
    (job, name.replace(&own(program), ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_beside_serve() {
    let mut program = program().await;
    program.serve().await;
    program.looked().await;
    // `serve` holds what is wanted; what is in the file alone is nobody's wish yet.
    life(&program).await;
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_alone() {
    let program = program().await;
    life(&program).await;
}

/// From the first deploy to the last removal. What is printed is the same beside `serve` and alone.
async fn life(program: &Program) {
    // Looking changes nothing.
    told(program, "list-none", 0, &["list"]).await;
    told(program, "deploy-diff", 0, &["deploy", "--diff"]).await;
    told(program, "deploy-diff", 0, &["deploy", "--diff", "-o", "json"]).await;
    assert!(said(program, &["deploy", "--dry-run", "--quiet"]).await.out.is_empty());
    told(program, "start-dry", 0, &["start", "--all", "--dry-run"]).await;
    assert!(containers(program).await.is_empty() && registered(program).is_empty());

    // Made, and nothing more to do.
    told(program, "deploy", 0, &["deploy"]).await;
    assert_eq!(containers(program).await, ["api-1", "web-1", "web-2"]);
    assert_eq!(registered(program), ["api-1", "web-1", "web-2"]);
    told(program, "deploy-again", 0, &["deploy"]).await;
    told(program, "deploy-again", 0, &["deploy", "--output", "json"]).await;
    let quiet = said(program, &["deploy", "-q"]).await;
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (Some(0), "", ""));

    // Seen.
    settled(program).await;
    told(program, "list", 0, &["list"]).await;
    told(program, "list-wide", 0, &["list", "-o", "wide"]).await;
    told(program, "list", 0, &["list", "--pool", "web", "-o", "json"]).await;
    assert_eq!(said(program, &["list", "--kind", "ephemeral"]).await.err.trim(), "no runners");
    assert_eq!(said(program, &["list", "-q", "--pool", "api"]).await.out.trim(), full(program, "api-1"));
    let yaml = said(program, &["list", "--kind", "persistent", "-o", "yaml"]).await.out;
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap().as_array().unwrap().len(), 3);
    told(program, "status", 0, &["status", "@web-1"]).await;
    told(program, "status", 0, &["status", "@web-1", "-o", "json"]).await;
    assert_eq!(said(program, &["status", "@web-1", "-q"]).await.out, "started\n");
    let logs = said(program, &["logs", "@web-1"]).await;
    assert_eq!((logs.code, logs.err.as_str()), (Some(0), ""), "{logs:?}");
    assert_eq!(logs.out, docker(&["logs", &full(program, "web-1")]));
    let tail = said(program, &["logs", "@web-1", "--tail", "1"]).await;
    assert_eq!(tail.out.lines().collect::<Vec<_>>(), [logs.out.lines().last().unwrap()]);
    assert_eq!(said(program, &["logs", "@web-1", "--since", "2099-01-01T00:00:00Z"]).await.out, "");

    // Down and up.
    told(program, "stop-dry", 0, &["stop", "--all", "--dry-run"]).await;
    told(program, "stop", 0, &["stop", "@web-1"]).await;
    told(program, "stop-again", 0, &["stop", "@web-1", "-o", "json"]).await;
    settled(program).await;
    told(program, "list-stopped", 0, &["list", "--state", "stopped"]).await;
    assert_eq!(registered(program), ["api-1", "web-1", "web-2"], "a stopped one keeps its registration");
    told(program, "deploy-diff-stopped", 0, &["deploy", "web", "--diff"]).await;
    told(program, "start", 0, &["start", "--all"]).await;
    told(program, "restart", 0, &["restart", "--pool", "web", "-o", "json"]).await;

    // Other settings.
    let mut config = program.config();
    config["runners"][0]["labels"] = json!(["web", "new"]);
    program.write_config(&config);
    told(program, "deploy-diff-changed", 0, &["deploy", "--diff"]).await;
    let before = docker(&["inspect", "--format", "{{.Id}}", &full(program, "web-1")]);
    told(program, "deploy-refused", 2, &["deploy"]).await;
    assert_eq!(docker(&["inspect", "--format", "{{.Id}}", &full(program, "web-1")]), before, "nothing was done");
    told(program, "deploy-changed", 0, &["deploy", "web", "--yes"]).await;
    assert_ne!(docker(&["inspect", "--format", "{{.Id}}", &full(program, "web-1")]), before);
    config["runners"][0]["nb"] = 1.into();
    program.write_config(&config);
    told(program, "deploy-surplus", 0, &["deploy", "-y", "-o", "json"]).await;
    assert_eq!(containers(program).await, ["api-1", "web-1"]);

    // Gone.
    told(program, "remove-refused", 2, &["remove", "--all"]).await;
    told(program, "remove-dry", 0, &["remove", "--all", "--dry-run"]).await;
    assert_eq!(containers(program).await, ["api-1", "web-1"]);
    told(program, "remove", 0, &["remove", "@web-1", "--yes"]).await;
    told(program, "remove", 0, &["remove", "--all", "-y", "-o", "json"]).await;
    assert!(containers(program).await.is_empty() && registered(program).is_empty(), "{}", program.github.state());
    told(program, "remove-again", 0, &["remove", "--all"]).await;
    told(program, "remove-gone", 0, &["remove", "@web-1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_wrong_use() {
    let program = program().await;
    assert_eq!(said(&program, &["deploy", "api", "-q"]).await.code, Some(0));
    let wrong: &[(&str, &[&str])] = &[
        ("start-unknown", &["start", "@wbe-1"]),
        ("stop-pool-as-name", &["stop", "web"]),
        ("stop-unknown-pool", &["stop", "--pool", "wep"]),
        ("deploy-unknown-pool", &["deploy", "api", "amiga"]),
        ("status-unknown", &["status", "@api-2"]),
        ("status-not-there", &["status", "@web-1"]),
        ("logs-unknown", &["logs", "nobody"]),
        ("logs-not-there", &["logs", "@web-1"]),
        ("list-unknown-pool", &["list", "--pool", "app"]),
        ("stop-ephemeral-pool", &["stop", "--pool", "linux"]),
        ("remove-unknown", &["remove", "@api-1", "@aip-1", "--yes"]),
    ];
    for (file, arguments) in wrong {
        told(&program, &format!("wrong/{file}"), 2, arguments).await;
    }
    assert_eq!(containers(&program).await, ["api-1"], "nothing was done");
    told(&program, "stop-not-there", 0, &["stop", "@web-1"]).await;
    told(&program, "restart-not-there", 1, &["restart", "@web-1"]).await;
    told(&program, "deploy-ephemeral", 0, &["deploy", "linux"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_holds_nobody_up() {
    let program = program().await;
    let mut config = program.config();
    config["runners"][0]["image"] = "runnerfleet/no-such-image:1".into();
    program.write_config(&config);
    told(&program, "deploy-one-fails", 1, &["deploy"]).await;
    assert_eq!(containers(&program).await, ["api-1"]);
    told(&program, "start-fails", 1, &["start", "--pool", "web", "-o", "json"]).await;
    told(&program, "start-fails-quiet", 1, &["start", "--pool", "web", "--quiet"]).await;
    // Of a pool that is built here the image is made first; where that fails its runners stay as they are.
    std::fs::write(program.path("Dockerfile"), "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN exit 7\n").unwrap();
    config["runners"][0].as_object_mut().unwrap().remove("image");
    config["runners"][0]["build_image"] = "Dockerfile".into();
    program.write_config(&config);
    let unbuilt = said(&program, &["deploy", "-y"]).await;
    assert_eq!(unbuilt.code, Some(1), "{unbuilt:?}");
    assert!(unbuilt.err.contains("pool `web`") && unbuilt.err.contains("exit 7"), "{unbuilt:?}");
    assert_eq!(containers(&program).await, ["api-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_waited_for_and_ctrl_c_says_what_goes_on() {
    let mut program = program().await;
    program.serve().await;
    program.looked().await;
    assert_eq!(said(&program, &["deploy", "web", "-q"]).await.code, Some(0));
    let (job, name) = busy(&program).await;
    program.rows(&["list", "--state", "running"], |rows| rows.len() == 1).await;
    settled(&program).await;
    let rows = program.json(&["list", "--state", "running"]).await;
    let of = |key: &str| rows[0][key].as_str().unwrap_or_default().to_owned();
    assert_eq!((of("github"), of("job_name"), of("repository")), ("busy".into(), "endless".into(), "acme/web".into()));
    let at_name = format!("@{name}");
    let kept = said(&program, &["stop", &at_name, "--timeout", "1s"]).await;
    println!("{}{}", kept.out, kept.err);
    assert_eq!(kept.code, Some(1), "{kept:?}");
    assert!(kept.out.contains("deferred") && kept.out.contains("--force"), "{kept:?}");
    assert!(matches!(program.github.job(job).unwrap().stage, Stage::InProgress { .. }), "its job goes on");
    let refused = said(&program, &["restart", &at_name, "--force"]).await;
    assert_eq!(refused.code, Some(2), "a job ends only when somebody says so: {refused:?}");
    assert!(refused.err.contains("--yes"), "{refused:?}");

    // Beside `serve` Ctrl-C ends the verb alone.
    let log = program.path("stop.log");
    let full = full(&program, &name);
    let mut command = program.command(&["stop", &full]);
    let mut stop = Process::spawn(command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()));
    let said_so_far = || std::fs::read_to_string(&log).unwrap_or_default();
    program.until("it waits", || said_so_far().contains("job").then_some(())).await;
    stop.signal(Signal::INT);
    assert_eq!(stop.ended().await, Some(130));
    println!("{}", said_so_far());
    assert!(said_so_far().contains("`serve` goes on with"), "{}", said_so_far());
    assert!(program.github.cancel(job));
    program.rows(&["list", "--state", "stopped"], |rows| rows.len() == 1).await;
    assert_eq!(said(&program, &["remove", "--all", "--yes"]).await.code, Some(0));
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_alone_says_what_was_left() {
    let program = program().await;
    assert_eq!(said(&program, &["deploy", "web", "-q"]).await.code, Some(0));
    let (job, name) = busy(&program).await;
    let log = program.path("remove.log");
    let full = full(&program, &name);
    let mut command = program.command(&["remove", &full, "--yes"]);
    let mut remove = Process::spawn(command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()));
    let said_so_far = || std::fs::read_to_string(&log).unwrap_or_default();
    program.until("it waits", || said_so_far().contains("job").then_some(())).await;
    remove.signal(Signal::INT);
    assert_eq!(remove.ended().await, Some(130));
    println!("{}", said_so_far());
    assert!(said_so_far().contains(&format!("left as they are: {full}")), "{}", said_so_far());
    assert!(matches!(program.github.job(job).unwrap().stage, Stage::InProgress { .. }), "its job goes on");
    let forced = said(&program, &["remove", "--all", "--force", "--yes"]).await;
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(containers(&program).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn github_away_leaves_a_removal_for_later() {
    let program = program().await;
    assert_eq!(said(&program, &["deploy", "api", "-q"]).await.code, Some(0));
    assert_eq!(said(&program, &["stop", "@api-1", "-q"]).await.code, Some(0));
    program.github.set_down(true);
    let left = said(&program, &["remove", "@api-1"]).await;
    println!("{}{}", left.out, left.err);
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.out.contains("deferred"), "{left:?}");
    program.github.set_down(false);
    assert_eq!(said(&program, &["remove", "@api-1"]).await.code, Some(0));
    assert!(containers(&program).await.is_empty() && registered(&program).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_are_told_apart() {
    // The embedded store has one owner: the second verb is told so, and nothing is done behind the first one's back.
    let program = program().await;
    assert_eq!(said(&program, &["deploy", "web", "-q"]).await.code, Some(0));
    let (job, name) = busy(&program).await;
    let full = full(&program, &name);
    let log = program.path("first.log");
    let mut command = program.command(&["stop", &full]);
    let mut first = Process::spawn(command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()));
    let said_so_far = || std::fs::read_to_string(&log).unwrap_or_default();
    program.until("it waits", || said_so_far().contains("job").then_some(())).await;
    let second = said(&program, &["remove", "--all", "--yes"]).await;
    println!("{}{}", second.out, second.err);
    assert_eq!((second.code, second.out.as_str()), (Some(1), ""), "{second:?}");
    assert!(second.err.contains("another"), "{second:?}");
    let list = said(&program, &["list"]).await;
    assert!(list.code == Some(0) && list.err.contains("shown from Docker and GitHub alone"), "{list:?}");
    assert!(program.github.cancel(job));
    assert_eq!(tokio::time::timeout(PATIENCE, first.ended()).await.unwrap(), Some(0), "{}", said_so_far());
    assert_eq!(said(&program, &["remove", "--all", "--yes", "-q"]).await.code, Some(0));
}
