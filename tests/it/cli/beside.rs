//! The verbs beside a `serve` that runs.

use crate::support::program::Program;
use runnerfleet::simulation::github::{JobSpec, Stage};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_shown() {
    let mut program = Program::set_up().await;
    program.serve().await;
    program.looked().await;
    let empty = program.run(&["list"]).await;
    assert_eq!((empty.code, empty.out.as_str(), empty.err.trim()), (Some(0), "", "no runners"));
    assert_eq!(program.json(&["list"]).await, serde_json::json!([]));
    assert_eq!(program.ok(&["plan"]).await.lines().next(), Some("nothing to do"));

    let (job, busy) = program.busy("linux").await;
    let idle = program.idle("arm").await;
    let lost = program.github.queue_job(JobSpec::new("acme/api", ["linux", "gpu"]).named("train"));
    program.github.webhooks_settled(crate::support::app::PATIENCE).await.unwrap();
    program.rows(&["jobs", "--state", "unmatched"], |rows| rows.len() == 1).await;

    let list = program.ok(&["list"]).await;
    println!("{list}");
    assert!(list.starts_with("NAME "), "{list}");
    let line = |name: &str| list.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {list}"));
    assert!(line(&busy).contains("running") && line(&busy).contains("acme/web") && line(&busy).contains("endless"));
    assert!(line(&idle).contains("started"));
    let wide = program.ok(&["list", "-o", "wide"]).await;
    println!("{wide}");
    assert!(wide.contains("CAUSE") && wide.contains("online") && wide.contains("busy"), "{wide}");
    let yaml = program.ok(&["list", "-o", "yaml"]).await;
    let rows: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2, "{yaml}");

    // Filters.
    let names = |rows: serde_json::Value| -> Vec<String> {
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(program.json(&["list", "--pool", "arm"]).await), [idle.as_str()]);
    assert_eq!(names(program.json(&["list", "--state", "running"]).await), [busy.as_str()]);
    assert_eq!(names(program.json(&["list", "--repository", "ACME/web"]).await), [busy.as_str()]);
    assert!(names(program.json(&["list", "--repository", "acme/none"]).await).is_empty());
    let unknown = program.run(&["list", "--pool", "amiga"]).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.err.contains("no pool `amiga`") && unknown.err.contains("linux, arm"), "{}", unknown.err);

    let jobs = program.ok(&["jobs"]).await;
    println!("{jobs}");
    let line = |text: &str| jobs.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {jobs}"));
    assert!(line("train").contains("unmatched") && line("train").contains("`linux` lacks gpu"));
    assert!(line(&job.to_string()).contains("in_progress"));
    println!("{}", program.ok(&["jobs", "-o", "wide"]).await);
    let plan = program.ok(&["plan"]).await;
    println!("{plan}");
    assert!(plan.contains(&format!("job {lost} (acme/api) waits: no pool has all its labels")), "{plan}");
    let plan = program.json(&["plan"]).await;
    assert_eq!(plan["waiting"].as_array().unwrap().len(), 1, "{plan}");

    // A pipe that is closed early, with more rows than it holds.
    let line = format!("'{}' list -o yaml | head -1", crate::support::program::PROGRAM);
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -o pipefail; {line}")]).current_dir(program.folder.path());
    command.env("HOOK_SECRET", "x").env("APP_KEY", secrecy::ExposeSecret::expose_secret(&program.key));
    let piped = crate::support::program::run(&mut command).await;
    assert_eq!((piped.code, piped.err.as_str()), (Some(0), ""), "{piped:?}");
    program.github.cancel(lost);
    program.github.cancel(job);
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_are_removed() {
    let mut program = Program::set_up().await;
    program.serve().await;
    let (job, busy) = program.busy("linux").await;
    let idle = program.idle("arm").await;

    let dry = program.run(&["remove", "--all", "--dry-run"]).await;
    println!("{}", dry.out);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    let line = |text: &str, name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line(&dry.out, &idle).contains("would be removed"), "{}", dry.out);
    assert!(line(&dry.out, &busy).contains("would be kept"), "{}", dry.out);
    assert_eq!(program.containers().await.len(), 2, "nothing was done");

    let unknown = program.run(&["remove", "nobody-1-1"]).await;
    println!("{}{}", unknown.out, unknown.err);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.err.contains("there is no runner `nobody-1-1`"), "{unknown:?}");
    let unknown = program.run(&["remove", "--pool", "amiga"]).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.err.contains("no pool `amiga`"), "{unknown:?}");
    assert_eq!(program.ok(&["remove", "--pool", "arm", "--dry-run", "-o", "json"]).await.matches(&idle).count(), 1);

    let refused = program.run(&["remove", &busy]).await;
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    assert!(refused.err.contains("--yes") && refused.err.contains("Jobs run on"), "{refused:?}");
    let kept = program.run(&["remove", &busy, "--yes"]).await;
    println!("{}", kept.out);
    assert_eq!(kept.code, Some(1), "{kept:?}");
    assert!(kept.out.contains("kept") && kept.out.contains("--force"), "{kept:?}");
    assert!(matches!(program.github.job(job).unwrap().stage, Stage::InProgress { .. }), "its job goes on");

    let removed = program.run(&["remove", &idle, "--yes"]).await;
    println!("{}", removed.out);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert!(removed.out.contains("removed"), "{removed:?}");
    assert_eq!(program.registered(), [busy.as_str()]);
    assert_eq!(program.containers().await, [busy.as_str()]);
    let again = program.run(&["remove", &idle]).await;
    assert_eq!(again.code, Some(0), "it is what was asked for: {again:?}");
    assert!(again.out.contains("unchanged"), "{again:?}");

    let forced = program.run(&["remove", &busy, "--force", "--yes"]).await;
    println!("{}{}", forced.out, forced.err);
    assert_eq!(forced.code, Some(0), "what was asked for is done: {forced:?}");
    assert!(program.containers().await.is_empty());
    assert!(program.ok(&["list", "--all"]).await.contains(&idle), "it is remembered");
    assert_eq!(program.stop().await, Some(0));
}
