//! The way of deliveries.

use super::{hub, hub_with, look, set};
use crate::support::app::HOOK_SECRET;
use crate::support::hub::Listener;
use secrecy::SecretString;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn secret() -> SecretString {
    SecretString::from(HOOK_SECRET)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hook_is_held_against_the_file() {
    let hub = hub().await;
    look(&hub).await.holds("webhook.url", "broken");
    let receiver = Listener::start().await;
    hub.github.set_webhook(receiver.url.clone(), None);
    let told = look(&hub).await;
    told.holds("webhook.url", "unknown");
    told.holds("webhook.secret", "broken");
    told.holds("webhook.form", "ok");
    assert!(told.remedy("webhook.secret").contains("intake.secrets"));

    hub.github.set_webhook(receiver.url.clone(), Some(secret()));
    let public_url = receiver.url.strip_suffix("/webhook").unwrap();
    set(&hub, "/http/public_url", serde_json::json!(public_url));
    let told = look(&hub).await;
    told.holds("webhook.url", "ok");
    told.holds("webhook.secret", "ok");
    // Nothing was delivered yet: it is asked from here, where somebody else answers.
    told.holds("webhook.deliveries", "unknown");
    told.holds("webhook.reachable", "warning");
    assert!(told.says("webhook.reachable").contains("404"), "{}", told.says("webhook.reachable"));

    set(&hub, "/intake/path", serde_json::json!("/hooks"));
    let told = look(&hub).await;
    told.holds("webhook.url", "broken");
    assert!(told.says("webhook.url").contains(&receiver.url) && told.says("webhook.url").contains("/hooks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_fail_are_red_and_old_failures_yellow() {
    let hub = hub().await;
    set(&hub, "/http/public_url", serde_json::json!("http://127.0.0.1:9"));
    hub.github.set_webhook("http://127.0.0.1:9/webhook", Some(secret()));
    look(&hub).await.holds("webhook.reachable", "warning");
    hub.github.ping();
    hub.github.webhooks_settled(PATIENCE).await.unwrap();
    let told = look(&hub).await;
    told.holds("webhook.deliveries", "broken");
    told.holds("webhook.reachable", "broken");
    assert!(
        told.says("webhook.deliveries").contains("1 of the last 1 delivery failed"),
        "{}",
        told.says("webhook.deliveries")
    );
    assert!(told.remedy("webhook.deliveries").contains("redeliver --failed"));

    let receiver = Listener::start().await;
    hub.github.set_webhook(receiver.url.clone(), Some(secret()));
    hub.github.ping();
    hub.github.webhooks_settled(PATIENCE).await.unwrap();
    let told = look(&hub).await;
    told.holds("webhook.deliveries", "warning");
    told.holds("webhook.reachable", "ok");
    assert!(told.says("webhook.reachable").contains("by its own log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_come_through_are_green() {
    let hub = hub().await;
    let receiver = Listener::start().await;
    hub.github.set_webhook(receiver.url.clone(), Some(secret()));
    hub.github.ping();
    hub.github.webhooks_settled(PATIENCE).await.unwrap();
    let told = look(&hub).await;
    told.holds("webhook.deliveries", "ok");
    told.holds("webhook.reachable", "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_token_has_no_hook_to_look_at() {
    let hub = hub_with(|options| options.personal_token = Some(SecretString::from(HOOK_SECRET))).await;
    set(&hub, "/github/auth", serde_json::json!({ "token": "${HOOK_SECRET}" }));
    let told = look(&hub).await;
    told.holds("github.credentials", "ok");
    told.holds("github.permissions", "not_looked");
    told.holds("webhook.url", "not_looked");
    told.holds("webhook.reachable", "unknown");
}
