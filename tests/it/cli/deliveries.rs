//! GitHub's log of deliveries, and having them sent again.

use crate::support::hub::Hub;
use runnerfleet::simulation::github::JobSpec;
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Two jobs whose deliveries failed: nobody listens there; one of them is sent again, to no avail.
async fn failed() -> Hub {
    let hub = Hub::start().await;
    hub.github.set_webhook("http://127.0.0.1:9/webhook", None);
    for name in ["one", "two"] {
        hub.github.queue_job(JobSpec::new("acme/web", ["linux"]).named(name));
        hub.github.webhooks_settled(PATIENCE).await.unwrap();
    }
    let again = hub.github.deliveries()[0].guid.clone();
    assert!(hub.github.redeliver(&again));
    hub.github.webhooks_settled(PATIENCE).await.unwrap();
    hub
}

async fn json(hub: &Hub, arguments: &[&str]) -> Value {
    let said = hub.run(&[arguments, &["--output", "json"]].concat()).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_shown_and_filtered() {
    let hub = failed().await;
    hub.github.ping();
    hub.github.webhooks_settled(PATIENCE).await.unwrap();
    let table = hub.run(&["deliveries"]).await;
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.out.starts_with("ID ") && table.out.contains("workflow_job.queued"), "{table:?}");
    assert!(table.out.contains("failed to connect to host"), "{table:?}");
    assert!(table.err.contains("4 of 4 failed; `runnerfleet redeliver --failed`"), "{table:?}");
    let rows = json(&hub, &["deliveries", "--failed", "--since", "1h"]).await;
    assert_eq!(rows.as_array().unwrap().len(), 4);
    // More than 53 bits: a number would lose its last digits.
    assert!(rows[0]["id"].as_str().unwrap().parse::<u64>().unwrap() > 1 << 53);
    assert_eq!((&rows[0]["event"], &rows[1]["redelivery"]), (&Value::from("ping"), &Value::from(true)));
    assert_eq!(json(&hub, &["deliveries", "--event", "ping"]).await.as_array().unwrap().len(), 1);
    assert_eq!(json(&hub, &["deliveries", "--limit", "2"]).await.as_array().unwrap().len(), 2);
    let old = hub.run(&["deliveries", "--since", "9d"]).await;
    assert!(old.err.contains("three days"), "{old:?}");
    let none = hub.run(&["deliveries", "--event", "push"]).await;
    assert_eq!((none.code, none.err.trim()), (Some(0), "no deliveries"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_that_failed_is_asked_for_once() {
    let hub = failed().await;
    let before = hub.github.deliveries().len();
    let dry = json(&hub, &["redeliver", "--failed", "--since", "1h", "--dry-run"]).await;
    assert_eq!(dry.as_array().unwrap().len(), 2);
    assert_eq!(dry[0]["outcome"], "would be asked for");
    assert_eq!(hub.github.deliveries().len(), before);

    // Now somebody listens.
    let receiver = crate::support::hub::Listener::start().await;
    hub.github.set_webhook(receiver.url.clone(), None);
    let asked = json(&hub, &["redeliver", "--failed", "--since", "1h"]).await;
    assert!(asked.as_array().unwrap().iter().all(|row| row["outcome"] == "asked for"), "{asked}");
    hub.github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!(hub.github.deliveries().iter().filter(|it| it.ok()).count(), 2);
    let nothing = hub.run(&["redeliver", "--failed"]).await;
    assert_eq!((nothing.code, nothing.err.trim()), (Some(0), "no delivery failed: nothing to ask for"));

    let id = hub.github.deliveries()[0].id.to_string();
    let said = hub.run(&["redeliver", &id, "7"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("asked for") && said.out.contains("refused"), "{said:?}");
    assert!(
        said.out.contains("cannot have delivery 7 sent again: GitHub refuses the request: No delivery 7"),
        "{said:?}"
    );
    let wrong = hub.run(&["redeliver"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_token_has_no_log() {
    let hub = Hub::start().await;
    let mut config = hub.config();
    config["github"]["auth"] = serde_json::json!({ "token": "${HOOK_SECRET}" });
    hub.write_config(&config);
    let said = hub.run(&["deliveries"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("only a GitHub App can"), "{said:?}");
}
