use super::images::of_the_program;
use crate::support::app::{HOOK_SECRET, PATIENCE};
use crate::support::docker::docker;
use crate::support::program::Program;
use runnerfleet::simulation::github::{Conclusion, JobSpec};
use secrecy::{ExposeSecret, SecretString};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

/// Of the image.
const USER: u32 = 10001;

/// A container with its volume, gone with the test.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.0]).output();
        let _ = Command::new("docker").args(["volume", "rm", "--force", &self.0]).output();
    }
}

/// What it printed, both ways.
fn log(container: &Container) -> String {
    docker(&["logs", &container.0])
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_without_rights_and_as_nobody_it_serves_a_job() {
    let program = Program::set_up().await;
    let image = of_the_program("serving");
    let mut config = program.config();
    config["github"]["auth"]["app"]["private_key"] = "file:/etc/runnerfleet/app-key.pem".into();
    config["intake"]["secrets"] = serde_json::json!(["file:/etc/runnerfleet/webhook-secret"]);
    config["queue"]["embedded"]["path"] = "/var/lib/runnerfleet/runnerfleet.redb".into();
    config["http"]["admin"]["socket"] = "/run/runnerfleet/admin.sock".into();
    program.write_config(&config);
    for (name, secret) in [("app-key.pem", program.key.expose_secret()), ("webhook-secret", HOOK_SECRET)] {
        std::fs::write(program.path(name), secret).unwrap();
        std::fs::set_permissions(program.path(name), Permissions::from_mode(0o400)).unwrap();
        chown(program.path(name), Some(USER), Some(USER)).unwrap();
    }
    std::fs::set_permissions(program.folder.path(), Permissions::from_mode(0o755)).unwrap();

    let container = Container(format!("runnerfleet-test-{}", std::process::id()));
    let group = std::fs::metadata("/var/run/docker.sock").unwrap().gid().to_string();
    let configuration = format!("{}:/etc/runnerfleet:ro", program.folder.path().display());
    let memory = format!("{}:/var/lib/runnerfleet", container.0);
    docker(
        &[
            ["run", "--detach", "--name", &container.0, "--read-only", "--user", "10001:10001", "--cap-drop", "ALL"]
                .as_slice(),
            // The simulated GitHub is on the loopback.
            &["--security-opt", "no-new-privileges", "--network", "host", "--group-add", &group],
            &["--tmpfs", "/run/runnerfleet:mode=0700,uid=10001,gid=10001,size=1m"],
            &["--volume", "/var/run/docker.sock:/var/run/docker.sock", "--volume", &configuration, "--volume", &memory],
            &["--health-interval", "1s", &image.0],
        ]
        .concat(),
    );
    let address = program
        .until("it listens", || {
            let log = log(&container);
            let rest = log.split_once("listening on http://")?.1;
            rest.contains('\n').then(|| rest.split('/').next().unwrap_or_default().to_owned())
        })
        .await;
    program.github.set_webhook(format!("http://{address}/webhook"), Some(SecretString::from(HOOK_SECRET)));
    let ready = format!("http://{address}/readyz");
    program
        .until("all parts are there", || {
            Command::new("curl").args(["--fail", "--silent", &ready]).output().unwrap().status.success().then_some(())
        })
        .await;
    let health = ["inspect", "--format", "{{.State.Health.Status}}", &container.0];
    program.until("it is found well", || (docker(&health).trim() == "healthy").then_some(())).await;

    let job = program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]));
    let over = program.github.wait_for_job(job, PATIENCE).await;
    let over = over.unwrap_or_else(|error| panic!("{error}\n{}", log(&container)));
    assert_eq!(over.conclusion, Some(Conclusion::Success));
    let verbs = |arguments: &[&str]| docker(&[&["exec", &container.0, "runnerfleet"], arguments].concat());
    program.until("its runner is gone", || (verbs(&["list", "--output", "json"]).trim() == "[]").then_some(())).await;
    assert!(program.containers().await.is_empty() && program.registered().is_empty());

    // Nobody, alone, without a child that nobody waited for, and it wrote nowhere but into its volume.
    let inside = docker(&["top", &container.0, "-eo", "pid,uid,stat,comm"]);
    let processes: Vec<Vec<_>> = inside.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert!(processes.iter().all(|process| process[1] == "10001" && !process[2].starts_with('Z')), "{inside}");
    let diff = docker(&["diff", &container.0]);
    let mounted = ["/run/runnerfleet", "/var/run", "/var/run/docker.sock", "/etc/runnerfleet"];
    assert!(diff.lines().filter_map(|line| line.strip_prefix("A ")).all(|path| mounted.contains(&path)), "{diff}");

    docker(&["stop", "--time", "100", &container.0]);
    let state = docker(&["inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", &container.0]);
    assert_eq!(state.trim(), "0 false", "{}", log(&container));
    assert!(log(&container).contains("stopped"), "{}", log(&container));
}
