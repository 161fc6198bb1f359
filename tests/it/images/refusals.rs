//! Builds that fail say at which step and why, and never change what a pool runs.

use super::Bench;
use crate::support::docker::docker;
use runnerfleet::images::{Kind, Options};
use runnerfleet::model::{ContainerStatus, RunnerName};
use runnerfleet::provider::docker::build::Builder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_is_named_with_what_it_printed() {
    let bench = Bench::set_up("fails", &["web", "other"]).await;
    let web = bench.pool("web").name.clone();
    let good = bench.done(&Options::default()).await;
    let text =
        "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nRUN i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; done; exit 3\n";
    bench.write(&web, "Dockerfile", text);
    for builder in [Builder::BuildKit, Builder::Classic] {
        let options = Options { builder: Some(builder), ..Options::default() };
        let (ensured, _) = bench.ensure(&options).await;
        let why = ensured[0].result.as_ref().unwrap_err().to_string();
        println!("{why}\n");
        let mut lines = why.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("step ") && first.contains(" RUN i=0;"), "{why}");
        assert!(first.contains("exit code: 3") || first.contains("non-zero code: 3"), "{why}");
        let output: Vec<_> = lines.skip(1).map(str::trim).collect();
        assert_eq!((output.len(), output[0], output[19]), (20, "line 11", "line 30"), "{why}");
        assert!(ensured[1].result.is_ok(), "one pool keeps no other from its image");
        assert_eq!(bench.current("web"), good.image);
    }
    bench.write(&web, "Dockerfile", "FROM a b c\n");
    let why = bench.refused(&Options::default()).await;
    assert!(why.contains("FROM requires either one or three arguments") || why.contains("registry"), "{why}");
    bench.write(&web, "Dockerfile", "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCONJURE\n");
    let why = bench.refused(&Options::default()).await;
    assert!(why.to_lowercase().contains("unknown instruction: conjure"), "{why}");
    bench.write(&web, "Dockerfile", "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCOPY nowhere /\n");
    let why = bench.refused(&Options::default()).await;
    assert!(why.contains("COPY nowhere /") && why.contains("not found"), "{why}");
    std::fs::remove_file(bench.folder.path().join("web/Dockerfile")).unwrap();
    let why = bench.refused(&Options::default()).await;
    assert!(why.contains("cannot read the Dockerfile") && why.contains("web/Dockerfile"), "{why}");
    assert_eq!(bench.current("web"), good.image);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_in_which_no_runner_could_work_is_refused() {
    let mut bench = Bench::set_up("unfit", &["web"]).await;
    let web = bench.pool("web").name.clone();
    let images = || {
        let label = format!("label=runnerfleet.image.instance={}", bench.fleet.instance);
        docker(&["images", "-q", "--filter", &label])
    };
    for (line, words) in [
        (
            "USER root",
            "it runs as root (USER root), and GitHub's agent refuses that: end the Dockerfile with `USER runner`",
        ),
        ("USER 0:1001", "it runs as root (USER 0:1001)"),
        ("USER root\nRUN echo 'toor:x:0:0::/:/bin/sh' >> /etc/passwd\nUSER toor", "it runs as root (USER toor)"),
    ] {
        bench.write(&web, "Dockerfile", &format!("ARG BASE_IMAGE\nFROM $BASE_IMAGE\n{line}\n"));
        let why = bench.refused(&Options::default()).await;
        assert!(why.contains(words), "{why}");
        assert_eq!((bench.current("web"), images().as_str()), (None, ""), "nothing is left of it");
    }
    bench.config.pools[0].user = Some("root".to_owned());
    assert_eq!(bench.done(&Options::default()).await.kind, Kind::Built, "the pool says so");

    bench.config.pools[0].user = None;
    bench.write(&web, "Dockerfile", super::GOOD);
    for (command, words) in [
        ("/opt/agent/run.sh", "/opt/agent/run.sh is not in it: build on the official image"),
        ("/home/runner/greeting", "/home/runner/greeting cannot be run: make it executable"),
        ("conjure", "conjure (in /usr/local/bin/conjure, /usr/bin/conjure, /bin/conjure) is not in it"),
        ("./nothing.sh", "/home/runner/nothing.sh is not in it"),
    ] {
        bench.config.pools[0].command = vec![command.to_owned()];
        let why = bench.refused(&Options::default()).await;
        assert!(why.contains(words), "{command}: {why}");
    }
    for command in ["./run.sh", "sh", "/bin/sh"] {
        bench.config.pools[0].command = vec![command.to_owned()];
        bench.done(&Options::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_of_a_built_image_runs_and_a_stranger_of_it_is_none() {
    let bench = Bench::set_up("runs", &["web"]).await;
    bench.done(&Options::default()).await;
    let mut spec = bench.fleet.spec("1", "read line < /home/runner/greeting; echo \"$line\"");
    spec.image = bench.pool("web").image.clone();
    let (code, output) = bench.fleet.run(&spec).await;
    assert_eq!((code, output.as_str()), (0, bench.greeting("web").as_str()));
    let mine = RunnerName::new(format!("{}-by-hand", bench.fleet.instance));
    docker(&["create", "--name", mine.as_str(), &spec.image, "true"]);
    let seen = runnerfleet::provider::Provider::list(&bench.docker).await.unwrap();
    docker(&["rm", mine.as_str()]);
    assert!(seen.iter().all(|container| container.runner != mine), "{seen:?}");
    assert!(!seen.iter().any(|container| container.status == ContainerStatus::Created), "{seen:?}");
}
