use crate::support::hub::Hub;
use crate::support::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn tells_of_each_part_and_ends_by_it() {
    let mut program = Program::set_up().await;
    let nobody = program.run(&["health"]).await;
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.err.contains("no `runnerfleet serve` answers") && nobody.err.contains("fleet.sock"), "{nobody:?}");
    program.serve().await;
    let well = program.json(&["health"]).await;
    let parts: Vec<_> =
        well.as_array().unwrap().iter().map(|row| (row["part"].as_str().unwrap(), &row["ok"])).collect();
    let yes = serde_json::json!(true);
    assert_eq!(parts, [("deliveries", &yes), ("docker", &yes), ("github", &yes), ("store", &yes)], "{well}");
    assert_eq!(program.ok(&["health", "--quiet"]).await, "");
    assert_eq!(program.ok(&["health", "--alive"]).await.trim(), "`serve` answers");
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_away_is_no_reason_to_be_dead() {
    let hub = Hub::start().await;
    let mut config = hub.config();
    config["hosts"] = serde_json::json!([{ "name": "here", "docker": "unix:///nowhere/docker.sock" }]);
    hub.write_config(&config);
    let mut serve = hub.command(&["serve"]).kill_on_drop(true).spawn().unwrap();
    let alive = async {
        while hub.run(&["health", "--alive", "--quiet"]).await.code != Some(0) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::support::app::PATIENCE, alive).await.expect("it lives");
    let ill = hub.run(&["health"]).await;
    assert_eq!(ill.code, Some(1), "{ill:?}");
    let line = ill.out.lines().find(|line| line.contains("docker")).unwrap_or_else(|| panic!("{ill:?}"));
    assert!(line.contains("no") && line.contains("/nowhere/docker.sock"), "{line}");
    assert!(ill.out.lines().any(|line| line.contains("store") && line.contains("yes")), "{ill:?}");
    serve.kill().await.unwrap();
}
