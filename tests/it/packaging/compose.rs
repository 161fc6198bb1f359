use super::images::{Image, of_redis, of_the_program};
use super::text;
use crate::support::app::{HOOK_SECRET, PATIENCE};
use crate::support::docker::{TestFleet, docker};
use crate::support::payload::{Payload, sign};
use runnerfleet::simulation::keys;
use secrecy::ExposeSecret;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Output};
use std::time::Instant;

/// Of the image.
const USER: u32 = 10001;

/// The Compose file in a folder, as a user has it after the steps of docs/install.md. Taken down when dropped.
struct Project {
    folder: tempfile::TempDir,
    fleet: TestFleet,
    images: [Image; 2],
    port: u16,
}

impl Project {
    fn set_up() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fleet = TestFleet::unprepared("compose");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("compose.yaml"), text("packaging/compose/compose.yaml")).unwrap();
        for name in ["config", "secrets"] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::set_permissions(path(name), Permissions::from_mode(0o755)).unwrap();
        }
        // The example, for a fleet of this test's own and a GitHub that nobody reaches.
        let config = text("packaging/compose/config/runners_config.yaml");
        let config = config.replace("github:\n", "github:\n  api_url: http://127.0.0.1:9\n");
        let config = format!("{config}\nsecurity: {{ instance: {} }}\n", fleet.instance);
        std::fs::write(path("config/runners_config.yaml"), config).unwrap();
        let key = keys::generate().expect("a key");
        for (name, secret) in [("app-key.pem", key.private_pem.expose_secret()), ("webhook-secret", HOOK_SECRET)] {
            let file = path("secrets").join(name);
            std::fs::write(&file, secret).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
            chown(&file, Some(USER), Some(USER)).unwrap();
        }
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, fleet, images: [of_the_program("compose"), of_redis("redis")], port }
    }

    fn compose(&self, arguments: &[&str]) -> Output {
        let group = std::fs::metadata("/var/run/docker.sock").unwrap().gid();
        let mut command = Command::new("docker-compose");
        command
            .args(["--project-name", self.fleet.instance.as_str(), "--file", "compose.yaml", "--no-ansi"])
            .args(arguments);
        command.current_dir(self.folder.path()).env("DOCKER_GID", group.to_string());
        command.env("RUNNERFLEET_IMAGE", &self.images[0].0).env("REDIS_IMAGE", &self.images[1].0);
        command.env("RUNNERFLEET_PORT", self.port.to_string());
        command.output().expect("docker-compose is needed by this test")
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.compose(arguments);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "docker-compose {arguments:?}: {err}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&self.compose(&["logs", "--no-color"]).stdout).into_owned()
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "not seen: {what}\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }

    /// What a running container of a service says to a question of `docker inspect`.
    fn inspect(&self, service: &str, format: &str) -> String {
        let id = self.done(&["ps", "-q", service]);
        docker(&["inspect", "--format", format, id.trim()]).trim().to_owned()
    }

    fn deliver(&self, job: u64) -> String {
        let body =
            Payload::job(job).labels(&["self-hosted", "linux", "x64"]).repository("your-organization/web").bytes();
        let file = self.folder.path().join("delivery.json");
        std::fs::write(&file, &body).unwrap();
        let said = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "30", "--write-out", " %{http_code}"])
            .args(["--header", "content-type: application/json", "--header", "x-github-event: workflow_job"])
            .args(["--header", &format!("x-github-delivery: 00000000-0000-4000-8000-{job:012}")])
            .args(["--header", &format!("x-hub-signature-256: {}", sign(HOOK_SECRET, &body))])
            .args(["--data-binary", &format!("@{}", file.display())])
            .arg(format!("http://127.0.0.1:{}/webhook", self.port))
            .output()
            .unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    fn knows(&self, job: u64) -> bool {
        let said = self.compose(&["exec", "-T", "runnerfleet", "runnerfleet", "jobs", "--output", "json"]);
        let rows: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
        rows.as_array().is_some_and(|rows| rows.iter().any(|row| row["job"] == format!("{job}/1")))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "20"]);
    }
}

#[test]
fn it_comes_up_takes_a_delivery_and_still_has_it_after_all_was_down() {
    let project = Project::set_up();
    project.done(&["config", "--quiet"]);
    project.done(&["up", "--detach", "--no-build"]);
    // `docker compose up --wait` waits for the same.
    project.until("it is found well", || project.inspect("runnerfleet", "{{.State.Health.Status}}") == "healthy");
    for service in ["runnerfleet", "redis"] {
        let rights = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}";
        assert_eq!(project.inspect(service, rights), "true [ALL] [no-new-privileges:true]", "{service}");
    }
    let ports = project.inspect("redis", "{{json .NetworkSettings.Ports}}");
    assert!(!ports.contains("HostPort"), "Redis is on no port of the host: {ports}");
    for (setting, value) in [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")] {
        let said = project.done(&["exec", "-T", "redis", "redis-cli", "config", "get", setting]);
        assert_eq!(said.lines().nth(1), Some(value), "{said}");
    }

    let answer = project.deliver(7);
    assert!(answer.ends_with(" 202"), "{answer}\n{}", project.log());
    project.until("its job is known", || project.knows(7));
    project.done(&["down"]);
    project.done(&["up", "--detach", "--no-build"]);
    project.until("its job is still known", || project.knows(7));
}

#[test]
fn without_the_sockets_group_it_says_how_to_find_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yaml"), text("packaging/compose/compose.yaml")).unwrap();
    let mut command = Command::new("docker-compose");
    command.args(["--file", "compose.yaml", "config", "--quiet"]).current_dir(folder.path()).env_remove("DOCKER_GID");
    let said = command.output().expect("docker-compose is needed by this test");
    let err = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && err.contains("stat -c %g /var/run/docker.sock"), "{err}");
}
