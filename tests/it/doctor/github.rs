//! What GitHub says of us.

use super::{hub, hub_with, look, set};
use jiff::SignedDuration;
use runnerfleet::simulation::github::{Limits, Outage};
use runnerfleet::simulation::keys;

#[tokio::test(flavor = "multi_thread")]
async fn all_is_green_and_nothing_is_changed() {
    let hub = hub().await;
    let told = look(&hub).await;
    for id in [
        "github.api",
        "github.clock",
        "github.credentials",
        "github.rate_limit",
        "github.installations",
        "github.repositories",
        "github.permissions",
        "github.events",
        "github.public_repositories",
    ] {
        told.holds(id, "ok");
    }
    assert!(told.says("github.credentials").contains("runnerfleet-demo"));
    assert!(told.says("github.repositories").contains("3 repositories of `acme` (all"), "{:#?}", told.rows);
    // An App's tokens are the one thing that is made, and they are gone within the hour.
    for exchange in hub.github.exchanges() {
        let asks = exchange.method == "GET" || exchange.template.ends_with("/access_tokens");
        assert!(asks, "{} {}", exchange.method, exchange.path);
    }
    assert!(!hub.path("data").exists(), "nor on disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_app_is_red_and_what_depends_on_it_is_not_looked_at() {
    let hub = hub().await;
    hub.write_key(&keys::generate().unwrap().private_pem);
    let told = look(&hub).await;
    told.holds("github.api", "ok");
    told.holds("github.clock", "ok");
    told.holds("github.credentials", "broken");
    assert!(told.remedy("github.credentials").contains("make a new private key"));
    for id in ["github.installations", "github.permissions", "webhook.url", "webhook.deliveries"] {
        told.holds(id, "not_looked");
        assert!(told.says(id).contains("because GitHub does not know us"), "{}", told.says(id));
    }
    set(&hub, "/github/auth/app/client_id", serde_json::json!("Iv23liSomebodyElse"));
    look(&hub).await.holds("github.credentials", "broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_is_not_as_it_should_be_is_red() {
    let hub = hub().await;
    hub.github.set_permissions("acme", [("metadata", "read"), ("actions", "read")]);
    let told = look(&hub).await;
    told.holds("github.permissions", "broken");
    assert!(told.says("github.permissions").contains("organization_self_hosted_runners: write"));
    assert!(told.says("github.permissions").contains("without it no runner of the organization can be registered"));
    assert!(told.remedy("github.permissions").contains("an owner of `acme` has to accept it"));

    hub.github.set_repositories("acme", Some(&[]));
    look(&hub).await.holds("github.repositories", "warning");
    hub.github.set_suspended("acme", true);
    let told = look(&hub).await;
    told.holds("github.installations", "broken");
    assert!(told.says("github.installations").contains("suspended on `acme`"));
    told.holds("github.repositories", "not_looked");
    hub.github.uninstall("acme");
    let told = look(&hub).await;
    told.holds("github.installations", "broken");
    assert!(
        told.remedy("github.installations").contains("/installations/new"),
        "{}",
        told.remedy("github.installations")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_of_pools_and_public_ones() {
    let hub = hub().await;
    set(&hub, "/runners_defaults/org_url", serde_json::json!("https://github.com/acme/web"));
    look(&hub).await.holds("github.repositories", "ok");
    hub.github.set_repositories("acme", Some(&["api"]));
    look(&hub).await.holds("github.repositories", "broken");
    set(&hub, "/security", serde_json::json!({ "allow_public_repositories": true }));
    look(&hub).await.holds("github.public_repositories", "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_deaf_is_red() {
    let hub = hub_with(|options| options.app.events.clear()).await;
    let told = look(&hub).await;
    told.holds("github.events", "broken");
    assert!(told.remedy("github.events").contains("Workflow job"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_used_up_is_red() {
    let hub = hub().await;
    hub.github.set_limits(Limits { core: 0, ..Limits::default() });
    let told = look(&hub).await;
    told.holds("github.rate_limit", "broken");
    told.holds("github.credentials", "unknown");
    assert!(
        told.says("github.installations").contains("rate limit is reached"),
        "{}",
        told.says("github.installations")
    );
    told.holds("github.api", "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_named_before_the_key_is_doubted() {
    let ahead = hub_with(|options| options.clock_ahead = SignedDuration::from_secs(-300)).await;
    let told = look(&ahead).await;
    told.holds("github.clock", "broken");
    assert!(told.says("github.clock").contains(" seconds ahead of GitHub's"), "{}", told.says("github.clock"));
    assert!(told.remedy("github.clock").contains("timedatectl"));
    told.holds("github.credentials", "broken");
    let late = hub_with(|options| options.clock_ahead = SignedDuration::from_secs(40)).await;
    let told = look(&late).await;
    told.holds("github.clock", "warning");
    told.holds("github.credentials", "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_github_that_is_away_is_red_once() {
    let hub = hub().await;
    hub.github.set_outage(Outage::Everything);
    let told = look(&hub).await;
    told.holds("github.api", "broken");
    let broken = told.with("broken");
    assert_eq!(
        broken.iter().filter(|id| id.starts_with("github.") || id.starts_with("webhook.")).count(),
        1,
        "{broken:?}"
    );
    assert!(told.says("runners.agent_version").contains("runner:1"), "what can be said is said");
    told.holds("webhook.url", "not_looked");
}
