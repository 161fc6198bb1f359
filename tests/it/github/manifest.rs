use super::*;
use runnerfleet::model::{JobId, RegistrationId, RepoName};
use runnerfleet::webhook::payload::{self, Parsed};
use std::collections::{BTreeMap, BTreeSet};

/// What GitHub makes an organization's App from.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    url: String,
    description: String,
    public: bool,
    hook_attributes: Hook,
    default_events: BTreeSet<String>,
    default_permissions: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    url: String,
    active: bool,
}

fn manifest() -> Manifest {
    serde_json::from_str(include_str!("../../../app-manifest.json")).unwrap()
}

#[test]
fn the_apps_hook_is_on_and_the_app_is_its_owners_alone() {
    let manifest = manifest();
    assert!(manifest.hook_attributes.active);
    assert!(!manifest.public);
    assert!(manifest.hook_attributes.url.ends_with("/webhook"), "{}", manifest.hook_attributes.url);
    assert!(manifest.url.starts_with("https://"));
    // GitHub's bound for the name of an App.
    assert!((1..=34).contains(&manifest.name.len()));
    assert!(!manifest.description.is_empty());
}

#[tokio::test]
async fn it_grants_what_tokens_are_asked_for_and_no_more() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(ORG_RUNNERS, [list(0, &[])]).on(ORG_JIT, [jit_made(23)]).on(ORG_TOKEN, [minted("AAAB1", 60)]);
    server.on("DELETE /orgs/acme/actions/runners/23", [Reply::text(204, "")]);
    client.runners(&acme()).await.unwrap();
    jit(&client, &acme(), None).await.unwrap();
    client.registration_token(&acme()).await.unwrap();
    client.delete_runner(&acme(), RegistrationId(23)).await.unwrap();
    client.job(&RepoName::new("acme/web"), Some(77), JobId(3)).await.unwrap();

    let mut asked = BTreeMap::new();
    for mint in server.asked(MINT) {
        let permissions: BTreeMap<String, String> = serde_json::from_value(mint.body["permissions"].clone()).unwrap();
        asked.extend(permissions);
    }
    // GitHub gives no App fewer than this one.
    asked.insert("metadata".to_owned(), "read".to_owned());
    assert_eq!(manifest().default_permissions, asked);
}

#[test]
fn it_subscribes_to_the_events_that_the_receiver_takes() {
    let mut taken = BTreeSet::new();
    for entry in
        std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/webhooks")).unwrap()
    {
        let path = entry.unwrap().path();
        let event = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
        if let Parsed::Job(_) = payload::parse(&event, &std::fs::read(&path).unwrap()).unwrap() {
            taken.insert(event);
        }
    }
    assert_eq!(manifest().default_events, taken);
}
