//! The engine and what runs on it, beside a real `serve` and without one.

use super::Told;
use crate::support::docker::docker;
use crate::support::program::Program;
use runnerfleet::config::file;
use runnerfleet::doctor::CHECKS;
use runnerfleet::github::{Client, JitRequest};
use runnerfleet::model::RunnerName;
use runnerfleet::plan::naming;
use secrecy::ExposeSecret;

async fn look(program: &Program, arguments: &[&str]) -> Told {
    Told::read(program.run(&[&["doctor", "--output", "json"], arguments].concat()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_serve_nothing_is_broken() {
    let mut program = Program::set_up().await;
    program.serve().await;
    program.looked().await;
    let idle = program.idle("linux").await;
    let told = look(&program, &[]).await;
    assert_eq!((told.said.code, told.with("broken")), (Some(0), Vec::new()), "{:#?}", told.rows);
    for id in [
        "docker.engine",
        "docker.disk",
        "docker.room",
        "docker.images",
        "docker.metadata",
        "store.available",
        "webhook.deliveries",
        "webhook.reachable",
        "runners.serve",
        "runners.without_container",
        "runners.without_registration",
    ] {
        told.holds(id, "ok");
    }
    assert!(told.says("store.available").contains("held by the `serve` that runs here"), "{:?}", told.rows);
    assert!(told.says("docker.engine").contains("API "), "{:?}", told.rows);
    // Each check has its line, whatever the store is.
    for check in CHECKS.iter().filter(|check| check.id != "store.eviction") {
        told.line(check.id);
    }
    // Not all can be known here, so the strict are not content.
    let strict = look(&program, &["--strict"]).await;
    assert_eq!(strict.said.code, Some(3), "{:?}", strict.with("unknown"));

    // The runner's container is taken away behind everybody's back, and nobody is there to notice.
    program.kill().await;
    docker(&["rm", "-f", &idle]);
    let told = look(&program, &[]).await;
    told.holds("runners.serve", "warning");
    assert!(told.remedy("runners.serve").contains("systemctl start runnerfleet"));
    told.holds("store.available", "ok");
    assert_eq!(told.said.code, Some(0), "a unit may ask before `serve` begins");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_rooms_and_ghosts_turn() {
    let program = Program::set_up().await;
    let env = |name: &str| match name {
        "APP_KEY" => Some(program.key.expose_secret().to_owned()),
        _ => Some("value".to_owned()),
    };
    let config = file::load(&program.path("runners_config.yaml"), &env).unwrap().config;
    let pool = &config.pools[0];
    // Registered, and no agent ever comes: what a crash at the wrong moment leaves.
    let client = Client::new(&config.github).unwrap();
    let ghost = naming::for_spare(pool, 1, &config.instance);
    let foreign = RunnerName::new("somebody-elses");
    for name in [&ghost, &foreign] {
        let ask = JitRequest { name, labels: &pool.labels, group: None, work_dir: "_work" };
        client.jit_config(&pool.scope, &ask).await.unwrap();
    }
    let told = look(&program, &[]).await;
    told.holds("runners.without_container", "warning");
    let says = told.says("runners.without_container");
    assert!(says.contains(ghost.as_str()) && !says.contains("somebody-elses"), "{says}");
    assert!(told.remedy("runners.without_container").contains(&format!("runnerfleet remove {ghost}")));

    let mut changed = program.config();
    changed["runners_defaults"]["base_image"] = serde_json::json!("runnerfleet/never-there:2.300.0");
    changed["hosts"][0]["reserve"]["memory"] = serde_json::json!("4000g");
    changed["limits"]["disk_free_min"] = serde_json::json!("4000000g");
    program.write_config(&changed);
    let told = look(&program, &[]).await;
    for id in ["docker.images", "docker.room", "docker.disk"] {
        told.holds(id, "broken");
    }
    assert_eq!(told.line("docker.images")["about"], "linux");
    assert!(told.remedy("docker.images").contains("docker pull runnerfleet/never-there:2.300.0"));
    told.holds("runners.agent_version", "warning");
    assert!(told.remedy("runners.agent_version").contains("check-base-image-update --apply"));
    assert_eq!(told.said.code, Some(1));
    changed["runners_defaults"]["pull_policy"] = serde_json::json!("if-not-present");
    program.write_config(&changed);
    look(&program, &[]).await.holds("docker.images", "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_github_does_not_know_is_yellow() {
    let mut program = Program::set_up().await;
    program.serve().await;
    let (_, busy) = program.busy("linux").await;
    program.kill().await;
    let mut config = program.config();
    config["runners"][0]["timeouts"] = serde_json::json!({ "online": "1s" });
    program.write_config(&config);
    look(&program, &[]).await.holds("runners.without_registration", "ok");
    let fault = runnerfleet::simulation::github::Fault::status(200).body(r#"{"total_count": 0, "runners": []}"#);
    program.github.faults().next("GET /orgs/{org}/actions/runners", fault, 1000);
    // At first it has only just begun.
    let deadline = std::time::Instant::now() + crate::support::app::PATIENCE;
    let mut told = look(&program, &[]).await;
    while told.says("runners.without_registration").contains("just begun") && std::time::Instant::now() < deadline {
        told = look(&program, &[]).await;
    }
    told.holds("runners.without_registration", "warning");
    assert!(told.says("runners.without_registration").contains(&busy), "{:?}", told.rows);
    assert!(told.remedy("runners.without_registration").contains(&format!("runnerfleet remove {busy}")));
}
