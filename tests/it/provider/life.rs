//! One container: made, started, handed its credential, ended, removed.

use crate::support::docker::{TestFleet, at, docker};
use runnerfleet::model::{ContainerId, ContainerStatus, HostId, InstanceId, JobId, JobKey, RegistrationId};
use runnerfleet::provider::docker::{Docker, NO_CREDENTIAL};
use runnerfleet::provider::{Provider, ProviderError, StartCommand};
use secrecy::SecretString;
use std::time::{Duration, Instant};

/// Bash waits for ever on a pipe that nobody writes to.
const IDLE: &str = "exec 3<> <(:); read -u 3";

#[tokio::test]
async fn a_container_tells_whose_it_is_and_how_it_ended() {
    let fleet = TestFleet::start("life").await;
    let mut spec = fleet.spec("1", "echo ready; exit 7");
    spec.created_for = Some(JobKey { id: JobId(7), attempt: 2 });
    spec.registration = Some(RegistrationId(42));
    let id = fleet.docker.create(&spec).await.unwrap();

    let made = fleet.container(&id).await.unwrap();
    assert_eq!(made.status, ContainerStatus::Created);
    assert_eq!((&made.runner, &made.pool, &made.scope), (&spec.runner, &spec.pool, &spec.scope));
    assert_eq!((&made.host, &made.image), (&spec.host, &spec.image));
    assert_eq!((made.created_for, made.registration), (spec.created_for, spec.registration));
    let evidence = fleet.docker.evidence(&id).await.unwrap().unwrap();
    assert_eq!((evidence.exit_code, evidence.last_output.as_str()), (None, ""));

    fleet.docker.start(&id, &SecretString::from("x")).await.unwrap();
    let ended = fleet.ended(&id).await;
    assert_eq!(ended.status, ContainerStatus::Exited { exit_code: 7, oom_killed: false });
    let evidence = fleet.docker.evidence(&id).await.unwrap().unwrap();
    assert_eq!((evidence.exit_code, evidence.oom_killed), (Some(7), false));
    assert_eq!(evidence.last_output, "ready");

    fleet.docker.remove(&id).await.unwrap();
    assert_eq!(fleet.docker.list().await.unwrap(), []);
    assert_eq!(fleet.docker.evidence(&id).await.unwrap(), None);
    fleet.docker.remove(&id).await.unwrap();
}

#[tokio::test]
async fn the_credential_is_nowhere_but_with_the_agent() {
    let fleet = TestFleet::start("secret").await;
    let secret = "eyJKSVQiOiJub3doZXJlIn0=+/very-secret";
    let lines = r#"case $ACTIONS_RUNNER_INPUT_JITCONFIG in *cret) echo it is here ;; esac
        unset ACTIONS_RUNNER_INPUT_JITCONFIG; exec /usr/local/bin/runnerfleet -c "$IDLE""#;
    let id = fleet.docker.create(&fleet.spec("1", &format!("IDLE='{IDLE}'; {lines}"))).await.unwrap();
    fleet.docker.start(&id, &SecretString::from(secret)).await.unwrap();
    fleet.says(&id, "it is here").await;

    for (what, arguments) in [
        ("inspect", vec!["inspect", id.as_str()]),
        ("top", vec!["top", id.as_str(), "-eo", "pid,args"]),
        ("logs", vec!["logs", id.as_str()]),
        ("diff", vec!["diff", id.as_str()]),
        (
            "environment of process 1",
            vec!["exec", id.as_str(), "/bin/sh", "-c", "while read -r l; do echo \"$l\"; done </proc/1/environ"],
        ),
        (
            "arguments of process 1",
            vec!["exec", id.as_str(), "/bin/sh", "-c", "while read -r l; do echo \"$l\"; done </proc/1/cmdline"],
        ),
        ("history", vec!["history", "--no-trunc", &fleet.image]),
    ] {
        let output = docker(&arguments);
        assert!(!output.contains("very-secret"), "{what}: {output}");
    }
    // Nothing was written into the container's layer.
    let layer = docker(&["inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", id.as_str()]);
    assert!(!holds(std::path::Path::new(layer.trim()), "very-secret"));
    // A second hand-over would stay in the pipe, in reach of the job.
    let again = fleet.docker.start(&id, &SecretString::from(secret)).await.unwrap_err();
    assert!(again.to_string().contains("started before"), "{again}");
}

fn holds(folder: &std::path::Path, words: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            holds(&path, words)
        } else {
            std::fs::read(&path).is_ok_and(|bytes| bytes.windows(words.len()).any(|part| part == words.as_bytes()))
        }
    })
}

#[tokio::test]
async fn a_long_credential_arrives_whole() {
    let fleet = TestFleet::start("long").await;
    let spec = fleet.spec("1", r#"echo "${#ACTIONS_RUNNER_INPUT_JITCONFIG}""#);
    let id = fleet.docker.create(&spec).await.unwrap();
    fleet.docker.start(&id, &SecretString::from("x".repeat(100_000))).await.unwrap();
    fleet.ended(&id).await;
    assert_eq!(fleet.docker.evidence(&id).await.unwrap().unwrap().last_output, "100000");
}

#[tokio::test]
async fn a_token_registers_and_is_gone_when_the_agent_starts() {
    let fleet = TestFleet::start("token").await;
    let mut spec = fleet.spec("1", "");
    spec.start = StartCommand::Register {
        command: ["/home/runner/run.sh"].map(str::to_owned).to_vec(),
        url: "https://github.com/acme".to_owned(),
        labels: vec!["self-hosted".to_owned(), "$(echo owned)".to_owned()],
        group: None,
        work_dir: "_work".to_owned(),
    };
    let (code, output) = fleet.run(&spec).await;
    assert_eq!(code, 0);
    let name = &spec.runner;
    assert_eq!(
        output,
        format!(
            "config --unattended --ephemeral --disableupdate --no-default-labels --url https://github.com/acme --name {name} \
             --labels self-hosted,$(echo owned) --work _work\nrun"
        )
    );
}

#[tokio::test]
async fn a_manager_that_died_between_start_and_hand_over_leaves_no_agent() {
    let fleet = TestFleet::start("eof").await;
    let id = fleet.docker.create(&fleet.spec("1", "echo ran")).await.unwrap();
    // Attached and gone again without a word: what the kernel does for a process that was killed.
    let mut gone = std::process::Command::new("docker")
        .args(["start", "-a", "-i", id.as_str()])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    gone.wait().unwrap();
    let ended = fleet.ended(&id).await;
    assert_eq!(ended.status, ContainerStatus::Exited { exit_code: NO_CREDENTIAL, oom_killed: false });
    let evidence = fleet.docker.evidence(&id).await.unwrap().unwrap();
    assert!(evidence.last_output.contains("no credential arrived"), "{evidence:?}");
}

#[tokio::test]
async fn limits_hold_inside() {
    let fleet = TestFleet::start("limits").await;
    let mut spec = fleet.spec(
        "1",
        r#"show() { for f in "$@"; do if [ -r "$f" ]; then read -r v < "$f"; echo "$v"; fi; done; }
        show /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max
        show /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max
        show /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max
        while read -r key value; do case $key in CapEff:|NoNewPrivs:) echo "$key $value" ;; esac; done < /proc/self/status
        while read -r _ _ _ _ place options _; do case $place in /dev/shm) echo "$options" ;; esac; done < /proc/self/mountinfo
        while read -r line; do case $line in *" /dev/shm "*) echo "${line##* }" ;; esac; done < /proc/self/mountinfo
        "#,
    );
    spec.resources.cpus = Some(0.5);
    spec.resources.pids = 77;
    spec.resources.shm_size = Some(2 << 20);
    let (code, output) = fleet.run(&spec).await;
    assert_eq!(code, 0, "{output}");
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(&lines[..2], [(64u64 << 20).to_string(), "77".to_owned()], "{output}");
    assert!(lines[2].starts_with("50000"), "{output}");
    assert!(lines.contains(&"CapEff: 0000000000000000") && lines.contains(&"NoNewPrivs: 1"), "{output}");
    assert!(output.contains("size=2048k"), "{output}");
}

#[tokio::test]
async fn a_pool_gets_what_it_asks_for_and_no_more() {
    let fleet = TestFleet::start("given").await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note"), "from the host\n").unwrap();
    let mut spec = fleet.spec(
        "1",
        r#"read -r note < /given/note; echo "$note $GREETING"
        while read -r key value; do case $key in CapEff:|NoNewPrivs:|Uid:) echo "$key $value" ;; esac; done < /proc/self/status"#,
    );
    spec.env.insert("GREETING".to_owned(), "it's $HOME".to_owned());
    spec.user = Some("0".to_owned());
    spec.security.cap_add = vec!["NET_BIND_SERVICE".to_owned()];
    spec.security.no_new_privileges = false;
    spec.security.mounts = vec![format!("{}:/given:ro", folder.path().display())];
    let (_, output) = fleet.run(&spec).await;
    assert!(output.starts_with("from the host it's $HOME\n"), "{output}");
    // NET_BIND_SERVICE, as asked for, and what `sudo` needs where new privileges are allowed.
    assert!(output.contains("CapEff: 00000000200004fb") && output.contains("NoNewPrivs: 0"), "{output}");
    assert!(output.contains("Uid: 0"), "{output}");
}

#[tokio::test]
async fn a_container_that_is_killed_for_memory_says_so() {
    let fleet = TestFleet::start("oom").await;
    let mut spec = fleet.spec("1", "echo starting; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
    spec.resources.memory = 32 << 20;
    let id = fleet.launch(&spec).await;
    let ended = fleet.ended(&id).await;
    assert_eq!(ended.status, ContainerStatus::Exited { exit_code: 137, oom_killed: true });
    let evidence = fleet.docker.evidence(&id).await.unwrap().unwrap();
    assert_eq!((evidence.exit_code, evidence.oom_killed), (Some(137), true));
    assert!(evidence.last_output.starts_with("starting"));
}

#[tokio::test]
async fn evidence_is_the_end_of_the_output_without_secrets() {
    let fleet = TestFleet::start("evidence").await;
    let spec = fleet.spec(
        "1",
        r#"i=0; while [ $i -lt 60 ]; do echo "line $i"; i=$((i+1)); done
        echo "token ghs_0123456789abcdef and done"; printf '\033[31mred\377\n'; exit 3"#,
    );
    let (code, output) = fleet.run(&spec).await;
    assert_eq!(code, 3);
    assert!(
        output.contains("token [cut] and done") && !output.contains("line 9\n") && output.contains("line 59"),
        "{output}"
    );
    assert!(output.contains("red\u{fffd}") && !output.contains('\u{1b}'), "{output}");

    // Lines without end are bounded, too.
    let spec = fleet.spec("2", "x=0123456789ABCDE-; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do x=$x$x; done; printf '%s ' \"$x\"; echo end");
    let (_, output) = fleet.run(&spec).await;
    assert_eq!(output, " end");
}

#[tokio::test]
async fn faults_of_the_pool_have_their_names() {
    let fleet = TestFleet::start("faults").await;
    let mut missing = fleet.spec("1", "");
    missing.image = "runnerfleet/not-there:1".to_owned();
    let error = fleet.docker.create(&missing).await.unwrap_err();
    assert!(matches!(&error, ProviderError::ImageMissing { image, .. } if *image == missing.image), "{error:?}");
    assert!(error.to_string().contains("docker pull runnerfleet/not-there:1"), "{error}");

    // Nothing listens on port 1: the registry's silence is the image's fault, not the engine's.
    missing.image = "127.0.0.1:1/not-there".to_owned();
    missing.pull = true;
    let error = fleet.docker.create(&missing).await.unwrap_err();
    assert!(matches!(error, ProviderError::ImageMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("asked without credentials"), "{error}");

    let spec = fleet.spec("2", "");
    fleet.docker.create(&spec).await.unwrap();
    let error = fleet.docker.create(&spec).await.unwrap_err();
    assert!(matches!(&error, ProviderError::NameTaken(name) if *name == spec.runner), "{error:?}");

    let mut bad = fleet.spec("3", "");
    bad.start = StartCommand::Jit { command: vec!["/no/such/program".to_owned()] };
    let (code, output) = fleet.run(&bad).await;
    assert!(code == 127 && output.contains("/no/such/program"), "{code} {output}");

    let mut bad = fleet.spec("4", "");
    bad.user = Some("nobody-knows".to_owned());
    let id = fleet.docker.create(&bad).await.unwrap();
    let error = fleet.docker.start(&id, &SecretString::from("x")).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused(_)) && error.to_string().contains("nobody-knows"), "{error:?}");
    let evidence = fleet.docker.evidence(&id).await.unwrap().unwrap();
    assert!(evidence.last_output.contains("nobody-knows"), "{evidence:?}");

    let gone = fleet.docker.start(&ContainerId::new("0".repeat(64)), &SecretString::from("x")).await.unwrap_err();
    assert!(gone.to_string().contains("is gone"), "{gone}");
    let two_lines = fleet.docker.start(&id, &SecretString::from("x\ny")).await.unwrap_err();
    assert!(two_lines.to_string().contains("one line"), "{two_lines}");
}

/// Removes a container that is no fleet's.
struct Stranger(String);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rm", "-f", &self.0]).output();
    }
}

#[tokio::test]
async fn strangers_are_not_touched() {
    let fleet = TestFleet::start("mine").await;
    let other = TestFleet::start("theirs").await;
    let name = format!("{}-stranger", fleet.instance);
    let stranger = docker(&["create", "--name", &name, &fleet.image, "/bin/sh"]).trim().to_owned();
    let _guard = Stranger(stranger.clone());
    let theirs = other.docker.create(&other.spec("1", "")).await.unwrap();

    for id in [&ContainerId::new(&stranger), &theirs, &ContainerId::new(&name)] {
        for refused in [
            fleet.docker.remove(id).await.unwrap_err(),
            fleet.docker.start(id, &SecretString::from("x")).await.unwrap_err(),
            fleet.docker.evidence(id).await.unwrap_err(),
        ] {
            assert!(refused.to_string().contains("does not belong to fleet"), "{refused}");
        }
    }
    assert_eq!(docker(&["inspect", "-f", "{{.State.Status}}", &stranger]).trim(), "created");
    assert_eq!(fleet.docker.list().await.unwrap(), []);
    assert_eq!(other.docker.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_container_with_broken_labels_is_left_alone() {
    let fleet = TestFleet::start("broken").await;
    let label = format!("runnerfleet.instance={}", fleet.instance);
    docker(&["create", "--label", &label, &fleet.image, "/bin/sh"]);
    let good = fleet.docker.create(&fleet.spec("1", "")).await.unwrap();
    let listed: Vec<_> = fleet.docker.list().await.unwrap().into_iter().map(|container| container.id).collect();
    assert_eq!(listed, [good]);
}

#[tokio::test]
async fn anonymous_volumes_go_with_their_container() {
    let fleet = TestFleet::start("volume").await;
    let mut spec = fleet.spec("1", "");
    let tag = format!("runnerfleet/test-volume:{}", std::process::id());
    let _image = ImageWithVolume::make(&fleet.image, &tag);
    spec.image = tag.clone();
    let id = fleet.launch(&spec).await;
    fleet.ended(&id).await;
    let volume = docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", id.as_str()]).trim().to_owned();
    assert!(docker(&["volume", "ls", "-q"]).contains(&volume) && volume.len() == 64, "{volume}");
    fleet.docker.remove(&id).await.unwrap();
    assert!(!docker(&["volume", "ls", "-q"]).contains(&volume));
}

/// An image that declares a volume.
struct ImageWithVolume(String);

impl ImageWithVolume {
    fn make(from: &str, tag: &str) -> Self {
        let container = docker(&["create", from, "/bin/sh"]).trim().to_owned();
        let _guard = Stranger(container.clone());
        docker(&["commit", "-c", "VOLUME /data", &container, tag]);
        Self(tag.to_owned())
    }
}

impl Drop for ImageWithVolume {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

#[tokio::test]
async fn a_running_container_is_killed_and_two_removals_are_one() {
    let fleet = TestFleet::start("kill").await;
    let id = fleet.launch(&fleet.spec("1", &format!("trap : TERM; exec /usr/local/bin/runnerfleet -c '{IDLE}'"))).await;
    assert_eq!(fleet.container(&id).await.unwrap().status, ContainerStatus::Running);
    let (first, second, third) =
        tokio::join!(fleet.docker.remove(&id), fleet.docker.remove(&id), fleet.docker.remove(&id));
    for outcome in [first, second, third] {
        outcome.unwrap();
    }
    assert_eq!(fleet.container(&id).await, None);
}

#[tokio::test]
async fn a_worker_is_seen() {
    let fleet = TestFleet::start("worker").await;
    let wait = "echo 'while :; do read -t 3600 x <> /tmp/pipe; done' > /tmp/Runner.Worker; : > /tmp/pipe;";
    let idle =
        fleet.launch(&fleet.spec("idle", &format!("{wait} echo up; read x <> /dev/full; while :; do :; done"))).await;
    let busy = fleet
        .launch(
            &fleet.spec("busy", "echo 'echo up; while :; do :; done' > /tmp/Runner.Worker; /bin/sh /tmp/Runner.Worker"),
        )
        .await;
    fleet.says(&busy, "up").await;
    fleet.says(&idle, "up").await;
    assert!(fleet.docker.runs_a_job(&busy).await.unwrap());
    assert!(!fleet.docker.runs_a_job(&idle).await.unwrap());
    // The same while they stand still, which they do however often they are told to.
    for _ in 0..2 {
        fleet.docker.pause(&busy).await.unwrap();
        fleet.docker.pause(&idle).await.unwrap();
    }
    assert!(fleet.docker.runs_a_job(&busy).await.unwrap());
    assert!(!fleet.docker.runs_a_job(&idle).await.unwrap());
    assert_eq!(docker(&["inspect", "-f", "{{.State.Paused}}", busy.as_str()]).trim(), "true");
    fleet.docker.unpause(&busy).await.unwrap();
    fleet.docker.unpause(&busy).await.unwrap();
    assert_eq!(docker(&["inspect", "-f", "{{.State.Paused}}", busy.as_str()]).trim(), "false");
    fleet.docker.remove(&idle).await.unwrap();
    assert_eq!(fleet.docker.look(&idle).await.unwrap(), None);
    fleet.docker.pause(&idle).await.unwrap();
    docker(&["kill", busy.as_str()]);
    fleet.ended(&busy).await;
    assert!(!fleet.docker.runs_a_job(&busy).await.unwrap());
    fleet.docker.remove(&busy).await.unwrap();
    assert!(!fleet.docker.runs_a_job(&busy).await.unwrap());
}

#[tokio::test]
async fn the_engine_tells_what_it_has() {
    let fleet = TestFleet::start("capacity").await;
    let capacity = fleet.docker.capacity().await.unwrap();
    assert!(capacity.cpus > 0 && capacity.memory > 1 << 28 && capacity.disk_free.is_some_and(|free| free > 0));
    let version = docker(&["version", "-f", "Docker Engine {{.Server.Version}}, API {{.Server.APIVersion}}"]);
    assert_eq!(fleet.docker.ping().await.unwrap(), version.trim());
}

#[tokio::test]
async fn an_engine_that_is_away_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let url = format!("unix://{}", path.display());
    let connect =
        |url: &str| Docker::connect(&at(Some(url.to_owned())), &InstanceId::new("away"), &HostId::new("h")).unwrap();
    let before = Instant::now();
    let none = connect(&url).list().await.unwrap_err();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let dead = connect(&url).list().await.unwrap_err();
    let tcp = connect("tcp://127.0.0.1:1").ping().await.unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(2));
    for (error, word) in [(none, "no socket"), (dead, "refused"), (tcp, "refused")] {
        assert!(matches!(error, ProviderError::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    }
}
