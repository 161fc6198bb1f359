//! What a person sees of lost deliveries.

use crate::support::app::PATIENCE;
use crate::support::program::Program;
use runnerfleet::simulation::github::JobSpec;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn plan_readyz_and_the_log_say_what_was_made_good() {
    let mut program = Program::set_up().await;
    let mut config = program.config();
    config["github"]["poll"]["deliveries"] = "1s".into();
    // No runner is made for it: nobody has to wait for one.
    config["limits"]["disk_free_min"] = "8000t".into();
    program.write_config(&config);
    program.github.set_webhook("http://127.0.0.1:9/webhook", None);
    program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]));
    program.github.webhooks_settled(PATIENCE).await.unwrap();
    program.github.backdate(Duration::from_secs(60));
    program.serve().await;
    program
        .until("it is made good", || program.log().contains("made good: a delivery that never arrived").then_some(()))
        .await;
    let plan = program.ok(&["plan"]).await;
    assert!(plan.contains("GitHub's log of deliveries: read "), "{plan}");
    assert!(plan.contains("deliveries made good: 1, the last "), "{plan}");
    assert!(plan.contains("GitHub's lists of queued jobs: read "), "{plan}");
    let plan = program.json(&["plan"]).await;
    assert_eq!(plan["missed"]["log"]["made_good"], 1, "{plan}");
    let text = program.log();
    let address = text.split_once("listening on http://").unwrap().1.split('/').next().unwrap().to_owned();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}/readyz")).send().await.unwrap();
    let parts: serde_json::Value = answer.json().await.unwrap();
    let detail = parts["parts"]["deliveries"]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.starts_with("GitHub's log of deliveries was read ") && detail.ends_with(", 1 made good"), "{parts}");
    assert_eq!(program.stop().await, Some(0));
}
