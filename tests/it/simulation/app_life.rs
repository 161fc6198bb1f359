use super::webhooks::{Receiver, SECRET, fields};
use super::{PATIENCE, start};
use reqwest::redirect::Policy;
use runnerfleet::github::{Client, Error, convert_manifest};
use runnerfleet::simulation::github::{Handle, JobSpec, Options, Timings};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

fn browser() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap()
}

fn manifest(hook: &str) -> Value {
    json!({
        "name": "Acme runners", "url": "https://example.com", "redirect_url": "http://127.0.0.1:9/callback",
        "hook_attributes": { "url": hook, "active": true }, "default_events": ["workflow_job"],
        "default_permissions": { "actions": "read", "organization_self_hosted_runners": "write" },
    })
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

async fn post(url: &str, fields: &[(&str, &str)]) -> (u16, String, String) {
    let answer = browser().post(url).body(form(fields)).send().await.unwrap();
    let location = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), location, answer.text().await.unwrap())
}

/// From the manifest to the code, as a person clicks.
async fn made(github: &Handle, manifest: &Value, name: &str) -> String {
    let web = github.web_url();
    let text = manifest.to_string();
    let asked = format!("{web}/organizations/acme/settings/apps/new?state=abc%2F1");
    let (status, _, page) = post(&asked, &[("manifest", &text)]).await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("Create GitHub App for acme"), "{page}");
    let fields = [("name", name), ("account", "acme"), ("state", "abc/1"), ("manifest", &text)];
    let (status, location, page) = post(&format!("{web}/_pages/apps"), &fields).await;
    assert_eq!(status, 302, "{page}");
    let (address, query) = location.split_once('?').unwrap();
    assert_eq!(address, "http://127.0.0.1:9/callback");
    let (code, state) = query.split_once('&').unwrap();
    assert_eq!(state, "state=abc%2F1");
    code.strip_prefix("code=").unwrap().to_owned()
}

async fn client(github: &Handle, code: &str) -> Client {
    let app = convert_manifest(github.api_url(), code).await.unwrap();
    Client::new(&runnerfleet::config::GitHub {
        auth: runnerfleet::config::GitHubAuth::App {
            issuer: app.facts.client_id.clone().unwrap(),
            private_key: app.private_key,
            installation: None,
        },
        api_url: github.api_url().to_owned(),
        max_concurrent: 8,
        poll_runners: Duration::from_secs(60),
        poll_deliveries: None,
        poll_jobs: None,
    })
    .unwrap()
}

#[tokio::test]
async fn an_app_comes_from_its_manifest_and_its_hook_greets() {
    let receiver = Receiver::start().await;
    let github = start(Options::acme_without_app()).await;
    assert!(github.app().is_none());
    let code = made(&github, &manifest(&receiver.url), "Acme runners").await;
    github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!(receiver.bodies()[0]["hook"]["config"]["url"], receiver.url);

    let client = client(&github, &code).await;
    let (facts, _) = client.app().await.unwrap();
    assert_eq!((facts.slug.as_str(), facts.owner.as_deref()), ("acme-runners", Some("acme")));
    assert_eq!(facts.permissions.keys().collect::<Vec<_>>(), ["actions", "organization_self_hosted_runners"]);
    assert_eq!(facts.installations, Some(0));
    assert_eq!(client.hook().await.unwrap().url.as_deref(), Some(receiver.url.as_str()));
    // Good once.
    assert!(matches!(convert_manifest(github.api_url(), &code).await, Err(Error::NotFound { .. })));
    // The greeting can be had again, under its GUID.
    let ping = client.deliveries(None, 10).await.unwrap().remove(0);
    assert_eq!((ping.event.as_str(), ping.ok()), ("ping", true));
    client.redeliver(ping.id).await.unwrap();
    github.webhooks_settled(PATIENCE).await.unwrap();
    let log = client.deliveries(None, 10).await.unwrap();
    assert_eq!((log.len(), log[0].redelivery, &log[0].guid), (2, true, &ping.guid));
}

#[tokio::test]
async fn a_code_lapses() {
    let timings = Timings { manifest_code: Duration::ZERO, ..Timings::default() };
    let github = start(Options { timings, ..Options::acme_without_app() }).await;
    let code = made(&github, &manifest("https://ci.example.com/webhook"), "Acme runners").await;
    // By the clock of the simulation its time is over once any has passed.
    let error = convert_manifest(github.api_url(), &code).await.unwrap_err();
    assert!(error.to_string().contains("older than an hour"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_made_is_told_on_the_page() {
    let github = start(Options::acme_without_app()).await;
    let page_of = async |manifest: &Value| {
        let url = format!("{}/organizations/acme/settings/apps/new?state=s", github.web_url());
        post(&url, &[("manifest", &manifest.to_string())]).await
    };
    let good = manifest("https://ci.example.com/webhook");
    for (field, value, words) in [
        ("url", Value::Null, "wasn't supplied"),
        ("default_permissions", json!({ "actions": "much" }), "permission &quot;actions&quot; is invalid"),
        ("default_permissions", json!({}), "unsupported: workflow_job"),
        ("hook_attributes", json!({ "active": true }), "Hook url cannot be blank"),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        let (status, _, page) = page_of(&bad).await;
        assert_eq!(status, 422, "{page}");
        assert!(page.contains(words), "{words}: {page}");
    }
    github.take_name("Acme runners");
    let text = good.to_string();
    let fields = [("name", "Acme Runners"), ("account", "acme"), ("state", "s"), ("manifest", &text)];
    let (status, _, page) = post(&format!("{}/_pages/apps", github.web_url()), &fields).await;
    assert_eq!(status, 200);
    assert!(page.contains("Name is already taken") && page.contains("id=\"name\""), "{page}");
    let nobody = format!("{}/organizations/octo/settings/apps/new?state=s", github.web_url());
    assert_eq!(post(&nobody, &[("manifest", &text)]).await.0, 404, "a person is no organization");
}

#[tokio::test]
async fn an_installation_is_told_as_github_tells_it() {
    let receiver = Receiver::start().await;
    let github = start(Options::acme_without_app()).await;
    let code = made(&github, &manifest(&receiver.url), "Acme runners").await;
    let client = client(&github, &code).await;
    let page = format!("{}/apps/acme-runners/installations/new", github.web_url());
    assert!(browser().get(&page).send().await.unwrap().text().await.unwrap().contains("id=\"install\""));
    github.set_owners_refuse(true);
    let refused = post(&page, &[("account", "acme"), ("which", "all")]).await;
    assert_eq!((refused.0, refused.2.contains("has to approve")), (403, true));
    github.set_owners_refuse(false);
    github.set_grants(Some(&["metadata", "actions"]));
    let (status, _, told) =
        post(&page, &[("account", "acme"), ("which", "selected"), ("repositories", "web, api")]).await;
    assert_eq!((status, told.contains("id=\"installed\"")), (200, true));

    let installation = client.installations().await.unwrap().remove(0);
    assert_eq!(installation.permissions.keys().collect::<Vec<_>>(), ["actions", "metadata"]);
    let names = async || -> Vec<String> {
        client.repositories("acme").await.unwrap().iter().map(|it| it.full_name.to_string()).collect()
    };
    assert_eq!(names().await, ["acme/web", "acme/api"]);
    github.set_repositories("acme", Some(&["web", "site"]));
    assert_eq!(names().await, ["acme/web", "acme/site"]);
    github.set_permissions("acme", [("metadata", "read"), ("actions", "read")]);
    github.set_suspended("acme", true);
    assert!(client.installations().await.unwrap()[0].suspended_at.is_some());
    assert!(client.repositories("acme").await.is_err());
    github.set_suspended("acme", false);
    assert_eq!(names().await.len(), 2);
    assert!(github.uninstall("acme"));
    assert!(client.installations().await.unwrap().is_empty());
    assert!(!github.uninstall("acme"));
    // Nobody hears of a job there any more.
    github.queue_job(JobSpec::new("acme/web", ["linux"]));
    github.webhooks_settled(PATIENCE).await.unwrap();

    let bodies = receiver.bodies();
    let told: Vec<&str> = bodies.iter().filter_map(|body| body["action"].as_str()).collect();
    let expected = ["created", "added", "removed", "new_permissions_accepted", "suspend", "unsuspend", "deleted"];
    let (mut sorted, mut wanted) = (told.clone(), expected.to_vec());
    sorted.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(sorted, wanted);
    // Each has what the captured ones have, but for fields that GitHub has dropped since.
    for (file, action) in [
        ("installation.created.2", "created"),
        ("installation.deleted.1", "deleted"),
        ("installation.unsuspend.1", "unsuspend"),
        ("installation_repositories.added.1", "added"),
        ("installation_repositories.removed.1", "removed"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/webhooks/{file}.json"));
        let captured: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let body = bodies.iter().find(|body| body["action"] == action).unwrap();
        let (mut theirs, mut ours) = (BTreeSet::new(), BTreeSet::new());
        fields(&captured, "", &mut theirs);
        fields(body, "", &mut ours);
        let lacking: Vec<_> =
            theirs.difference(&ours).filter(|it| !it.contains(".permissions") && !it.contains("requester.")).collect();
        assert!(lacking.is_empty(), "{file} has {lacking:?}, ours has not");
    }
}

#[tokio::test]
async fn a_changed_hook_is_used_from_then_on_also_for_what_is_sent_again() {
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    let github = start(Options::acme_without_app()).await;
    let code = made(&github, &manifest(&old.url), "Acme runners").await;
    let client = client(&github, &code).await;
    github.webhooks_settled(PATIENCE).await.unwrap();
    let change = runnerfleet::github::HookChange {
        url: Some(new.url.clone()),
        secret: Some(SecretString::from(SECRET)),
        json: true,
    };
    let hook = client.set_hook(&change).await.unwrap();
    assert_eq!((hook.url.as_deref(), hook.has_secret), (Some(new.url.as_str()), true));
    let ping = client.deliveries(None, 1).await.unwrap().remove(0);
    client.redeliver(ping.id).await.unwrap();
    github.webhooks_settled(PATIENCE).await.unwrap();
    assert_eq!((old.bodies().len(), new.bodies().len()), (1, 1));
    let sent = client.delivery(client.deliveries(None, 1).await.unwrap()[0].id).await.unwrap();
    let body = new.raw(0);
    assert_eq!(sent.headers["X-Hub-Signature-256"], runnerfleet::simulation::sign(SECRET, &body));
}

#[tokio::test]
async fn a_run_tells_of_the_fork_that_it_comes_from() {
    let github = start(super::options()).await;
    let api = super::Api::person(&github);
    let job = github.queue_job(JobSpec::new("acme/site", ["linux"]).from_fork("mallory/site"));
    let run = github.job(job).unwrap().run_id;
    let (status, body) = api.ask("GET", &format!("/repos/acme/site/actions/runs/{run}"), None).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&body["event"], &body["head_repository"]["full_name"]),
        (&json!("pull_request"), &json!("mallory/site"))
    );
    assert_eq!(body["head_repository"]["fork"], true);
    assert_eq!(body["repository"]["full_name"], "acme/site");
}
