//! `adopt`: containers as the former tool made them are taken over; others, however near their names, are left alone.

use crate::support::docker::docker;
use crate::support::program::Program;
use runnerfleet::config;
use runnerfleet::github::Client;
use runnerfleet::model::Scope;
use runnerfleet::simulation::github::{JobSpec, Stage};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// Containers that no fleet looks after; gone with the test.
#[derive(Default)]
struct Strangers(Vec<String>);

impl Drop for Strangers {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("docker").args(["rm", "--force", "--volumes", name]).output();
        }
    }
}

impl Strangers {
    /// A container as the former tool makes one: registered by itself, started again for ever, with its token in sight.
    fn add(&mut self, program: &Program, name: &str, env: &[(&str, &str)], command: &str) -> String {
        let config = program.config();
        let image = config["runners_defaults"]["base_image"].as_str().unwrap().to_owned();
        let network = program.fleet.network();
        let mut arguments =
            vec!["run", "--detach", "--interactive", "--restart", "always", "--name", name, "--network", &network];
        let env: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for pair in &env {
            arguments.extend(["--env", pair]);
        }
        arguments.extend(["--workdir", "/home/runner", "--entrypoint", "/bin/sh", &image, "-c", command]);
        self.0.push(name.to_owned());
        docker(&arguments).trim().to_owned()
    }
}

fn id_of(name: &str) -> String {
    docker(&["inspect", "--format", "{{.Id}} {{.State.Running}}", name]).trim().to_owned()
}

fn label(name: &str) -> String {
    docker(&["inspect", "--format", "{{index .Config.Labels \"runnerfleet.instance\"}}", name]).trim().to_owned()
}

async fn program(url: &mut String) -> Program {
    let program = Program::set_up().await;
    let mut config = program.config();
    *url = format!("{}/acme", program.github.agent_url());
    config["runners_defaults"]["org_url"] = url.as_str().into();
    config["runners"] = json!([{
        "id": "web", "name_prefix": format!("{}-web", program.fleet.instance), "labels": ["web"], "nb": 2,
        "resources": { "memory": "128m", "pids": 256 }, "timeouts": { "stop_grace": "3s" },
    }]);
    program.write_config(&config);
    program
}

async fn token(program: &Program) -> String {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = program.key.expose_secret().to_owned();
    let env = |name: &str| match name {
        "APP_KEY" => Some(key.clone()),
        "HOOK_SECRET" => Some("unused".to_owned()),
        _ => None,
    };
    let config = config::load(&program.path("runners_config.yaml"), &env).unwrap().config;
    let client = Client::new(&config.github).unwrap();
    client.registration_token(&Scope::Organization("acme".into())).await.unwrap().expose_secret().to_owned()
}

fn lines(out: &str) -> Vec<(String, String)> {
    let rows: Value = serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(|row| (text(row, "name"), text(row, "outcome"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_of_the_former_tool_are_taken_over_and_nothing_else_is_touched() {
    let mut url = String::new();
    let program = program(&mut url).await;
    let prefix = format!("{}-web", program.fleet.instance);
    let name = |number: u32| format!("{prefix}-{number}");
    let token = token(&program).await;
    let mut strangers = Strangers::default();

    // Two of the former tool: one at work, one stopped and more than `nb`.
    let former = format!(
        "if [ ! -f .runner ]; then ./config.sh --url {url} --token {token} --name {} --labels web --unattended; fi && ./run.sh",
        name(1)
    );
    let (first, third) = (name(1), name(3));
    let signs =
        |name: &str| [("RUNNER_NAME".to_owned(), name.to_owned()), ("RUNNER_REPO".to_owned(), format!("{url}/"))];
    let first_signs = signs(&first);
    let env: Vec<(&str, &str)> = first_signs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let old = strangers.add(&program, &first, &[&env[..], &[("RUNNER_TOKEN", &token)]].concat(), &former);
    let third_signs = signs(&third);
    let env: Vec<(&str, &str)> = third_signs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    strangers.add(&program, &third, &env, "read wait");
    docker(&["stop", "--time", "1", &third]);

    // Near misses, all of them running.
    let second = name(2);
    let near = [
        (prefix.clone(), prefix.clone(), url.clone()),
        (format!("acme-{first}"), first.clone(), url.clone()),
        (format!("{prefix}-api-7"), format!("{prefix}-api-7"), url.clone()),
        (format!("{prefix}-01"), format!("{prefix}-01"), url.clone()),
        // The right name, and another organization's runner.
        (second.clone(), second.clone(), url.replace("/acme", "/other")),
    ];
    for (name, runner, repo) in &near {
        strangers.add(&program, name, &[("RUNNER_NAME", runner), ("RUNNER_REPO", repo)], "read wait");
    }
    let before: Vec<String> = near.iter().map(|(name, ..)| id_of(name)).collect();

    let online = || program.github.runners(&Scope::Organization("acme".into())).iter().any(|it| it.name == first);
    program.until("the old one is registered", || online().then_some(())).await;

    // Only said.
    let dry = program.ok(&["adopt", "--all", "--dry-run", "--output", "json"]).await;
    let mut said = lines(&dry);
    said.sort();
    let expected = [(&first, "would be adopted"), (&second, "left alone"), (&third, "would be removed")];
    assert_eq!(said, expected.map(|(name, outcome)| (name.clone(), outcome.to_owned())));
    // Nobody can be asked.
    let refused = program.run(&["adopt", "--all"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("--yes") && refused.err.contains(&first), "{}", refused.err);
    assert!(id_of(&first).starts_with(&old));
    // Names that no pool has, and one that is somebody else's.
    let wrong = program.run(&["adopt", &format!("{prefix}-api-7"), "--yes"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let stranger = program.run(&["adopt", &second, "--yes"]).await;
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    assert!(stranger.out.contains("its `RUNNER_REPO` says something else"), "{}", stranger.out);
    // A job that is not over in time keeps its runner.
    let job = program.github.queue_job(JobSpec::new("acme/web", ["web"]).lasting(Duration::from_secs(12)));
    program.until("it runs", || matches!(program.github.job(job)?.stage, Stage::InProgress { .. }).then_some(())).await;
    let busy = program.run(&["adopt", &first, "--yes", "--timeout", "1s"]).await;
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(busy.out.contains("still runs a job"), "{}", busy.out);
    assert!(id_of(&first).starts_with(&old));

    // Taken over, after its job.
    let done = program.run(&["adopt", "--all", "--yes", "--output", "json"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let mut said = lines(&done.out);
    said.sort();
    let expected = [(&first, "adopted"), (&second, "left alone"), (&third, "removed")];
    assert_eq!(said, expected.map(|(name, outcome)| (name.clone(), outcome.to_owned())));
    let over = program.github.job(job).unwrap();
    assert!(matches!(over.stage, Stage::Completed), "its job was not cut off: {over:?}");
    assert_eq!(label(&first), program.fleet.instance.as_str());
    assert!(!id_of(&first).starts_with(&old), "a new container");
    assert!(Command::new("docker").args(["inspect", &third]).output().unwrap().stdout.starts_with(b"[]"), "it is gone");
    let registered: Vec<String> =
        program.github.runners(&Scope::Organization("acme".into())).iter().map(|it| it.name.clone()).collect();
    assert_eq!(registered, [first.clone()]);
    let rows = program.json(&["list"]).await;
    assert!(
        rows.as_array().unwrap().iter().any(|row| row["name"] == first.as_str() && row["state"] == "started"),
        "{rows}"
    );

    // Nobody else was touched.
    let after: Vec<String> = near.iter().map(|(name, ..)| id_of(name)).collect();
    assert_eq!(before, after);
    assert!(after.iter().all(|container| container.ends_with(" true")), "{after:?}");
    let again = program.ok(&["adopt", "--pool", "web", "--output", "json"]).await;
    assert_eq!(lines(&again), [(second, "left alone".to_owned())]);
    drop(strangers);
}
