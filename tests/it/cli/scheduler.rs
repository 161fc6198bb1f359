//! `scheduler status` and `scheduler run-now`, as a person runs them.

use crate::support::program::Program;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn status_is_the_same_beside_serve_and_without_it() {
    let mut program = Program::set_up().await;
    let without = program.run(&["scheduler", "status"]).await;
    assert_eq!(without.code, Some(0), "{without:?}");
    assert!(without.err.contains("no `scheduler`"), "{}", without.err);
    assert!(!program.path("fleet.redb").exists(), "looking makes nothing");

    let mut config = program.config();
    config["scheduler"] = json!({
        "enabled": false, "check_interval": "6h", "time_window": "07:00-23:00", "days": ["mon", "wed"],
        "actions": ["check", "notify"], "tz": "Europe/Paris",
    });
    program.write_config(&config);
    let table = program.ok(&["scheduler", "status"]).await;
    for line in [
        "enabled   no",
        "every     6h 0m",
        "window    07:00-23:00 Europe/Paris",
        "days      mon, wed",
        "actions   check, notify",
        "last run  -",
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
    program.serve().await;
    let status = program.json(&["scheduler", "status"]).await;
    assert_eq!((&status["every_seconds"], &status["state"]["last"]), (&json!(21_600), &json!(null)));
    let refused = program.run(&["scheduler", "run-now"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("`scheduler.enabled`"), "{}", refused.err);
    let second = program.run(&["scheduler"]).await;
    assert!(second.code == Some(1) && second.err.contains("a `serve` runs here"), "{second:?}");
    assert_eq!(program.ok(&["scheduler", "run-now", "--dry-run"]).await, "would do: check, notify\n");
    program.stop().await;
    let status = program.json(&["scheduler", "status"]).await;
    assert_eq!(status["actions"], json!(["check", "notify"]));
}
