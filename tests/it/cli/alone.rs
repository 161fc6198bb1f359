//! The verbs when no `serve` runs.

use crate::support::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn with_the_store_that_it_left() {
    let mut program = Program::set_up().await;
    program.serve().await;
    let (_, busy) = program.busy("linux").await;
    let idle = program.idle("arm").await;
    assert_eq!(program.stop().await, Some(0));
    assert!(!program.path("fleet.sock").exists(), "it takes its socket away");

    let list = program.run(&["list"]).await;
    println!("{}{}", list.out, list.err);
    assert_eq!((list.code, list.err.as_str()), (Some(0), ""));
    assert!(list.out.contains(&busy) && list.out.contains("endless") && list.out.contains(&idle), "{}", list.out);
    assert!(program.ok(&["jobs"]).await.contains("endless"));

    let kept = program.run(&["remove", &busy, "--yes"]).await;
    assert_eq!(kept.code, Some(1), "{kept:?}");
    assert!(program.containers().await.contains(&busy));
    let removed = program.run(&["remove", "--pool", "arm", "--yes"]).await;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert_eq!(program.containers().await, [busy.as_str()]);
    assert_eq!(program.registered(), [busy.as_str()]);
    let nothing = program.run(&["remove", "--pool", "arm"]).await;
    assert_eq!((nothing.code, nothing.out.trim()), (Some(0), "no runners to remove"));
    let forced = program.run(&["remove", "--all", "--force", "--yes"]).await;
    println!("{}{}", forced.out, forced.err);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(forced.out.contains("ended") && forced.out.contains("its container is gone"), "{}", forced.out);
    assert!(program.containers().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_store_lost() {
    let mut program = Program::set_up().await;
    program.serve().await;
    let idle = program.idle("arm").await;
    let ghost = program.idle("linux").await;
    program.kill().await;
    std::fs::remove_file(program.path("fleet.redb")).unwrap();
    // The one has a container and a registration, the other a registration alone.
    crate::support::docker::docker(&["rm", "-f", &ghost]);

    let list = program.run(&["list", "-o", "wide"]).await;
    println!("{}{}", list.out, list.err);
    assert_eq!(list.code, Some(0), "{list:?}");
    let line = |name: &str| list.out.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{list:?}"));
    assert!(line(&idle).contains("started") && line(&idle).contains("the store does not know it"), "{}", list.out);
    assert!(line(&ghost).contains("error") && line(&ghost).contains("no container"), "{}", list.out);
    assert!(!program.path("fleet.redb").exists(), "looking makes nothing");

    for name in [&idle, &ghost] {
        let removed = program.run(&["remove", name, "--yes"]).await;
        assert_eq!(removed.code, Some(0), "{removed:?}");
    }
    assert!(program.registered().is_empty() && program.containers().await.is_empty());
    let gone = program.run(&["remove", &idle]).await;
    assert_eq!(gone.code, Some(0), "it is what was asked for: {gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_docker_and_github_away() {
    let program = Program::set_up().await;
    program.github.set_down(true);
    let mut config = program.config();
    config["hosts"][0]["docker"] = "unix:///nowhere/docker.sock".into();
    program.write_config(&config);
    for verb in ["list", "jobs"] {
        let said = program.run(&[verb]).await;
        println!("{}{}", said.out, said.err);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.err.contains("docker") && said.err.contains("/nowhere/docker.sock"), "{}", said.err);
        assert!(said.err.contains("github acme") && said.err.contains("not available"), "{}", said.err);
    }
    let plan = program.json(&["plan"]).await;
    assert!(plan["unknown"]["docker"].as_str().unwrap().contains("/nowhere/docker.sock"), "{plan}");
    let removed = program.run(&["remove", "linux-1-1-1-abcd"]).await;
    println!("{}{}", removed.out, removed.err);
    assert_eq!(removed.code, Some(1), "{removed:?}");
    assert!(
        removed.out.contains("docker, github acme could not be looked at"),
        "not seen is not gone: {}",
        removed.out
    );
    let all = program.run(&["remove", "--all"]).await;
    assert_eq!(all.code, Some(1), "{all:?}");
}
