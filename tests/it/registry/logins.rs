//! Anonymous, name and password, token; and whose fault it is where the door stays shut.

use super::{Writer, client, image, nobody, put};
use crate::support::registry::Registry;
use crate::support::token_server::{REFRESH_TOKEN, TokenServer};
use axum::http::StatusCode;
use runnerfleet::registry::{Client, RegistryError};
use std::os::unix::fs::PermissionsExt;

/// A user whose `config.json` is this.
fn user(config: &str) -> (tempfile::TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let client = client(folder.path());
    (folder, client)
}

fn auth(registry: &Registry, user: &str, password: &str) -> String {
    serde_json::json!({ "auths": { &registry.address: { "username": user, "password": password } } }).to_string()
}

#[tokio::test]
async fn a_registry_with_passwords() {
    let registry = Registry::closed();
    let digest = put(&registry, "acme/base", &["1"], "", Writer::Alice).await;
    let reference = image(&registry.image("acme/base:1"));

    let (_folder, alice) = user(&registry.login());
    assert_eq!(alice.digest(&reference).await.unwrap(), digest);
    assert_eq!(alice.tags(&reference).await.unwrap(), ["1"]);

    let denied = nobody().digest(&reference).await.unwrap_err();
    assert!(matches!(&denied, RegistryError::Denied { anonymous: true, .. }), "{denied:?}");
    let text = denied.to_string();
    let address = &registry.address;
    assert!(text.contains(&format!("`docker login {address}` gives credentials")), "{text}");

    let (folder, wrong) = user(&auth(&registry, "alice", "hunter2"));
    let denied = wrong.tags(&reference).await.unwrap_err();
    let text = denied.to_string();
    let from = format!("to `alice` (from {}/config.json)", folder.path().display());
    assert!(text.contains(&from) && text.contains("authentication required"), "{text}");
    assert!(!text.contains("hunter2") && !format!("{denied:?} {wrong:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_registry_with_tokens() {
    let tokens = TokenServer::start().await;
    let registry = tokens.registry();
    for name in ["acme/base", "public/base"] {
        let writer = Writer::Token(tokens.write_token(name).await);
        put(&registry, name, &["1", "2"], "", writer).await;
    }
    let asked = || std::mem::take(&mut *tokens.asked.lock().unwrap());
    let private = image(&registry.image("acme/base:1"));
    let public = image(&registry.image("public/base:1"));
    asked();

    // One token for all that is asked of a repository.
    let (_folder, alice) = user(&registry.login());
    alice.digest(&private).await.unwrap();
    assert_eq!(alice.tags(&private).await.unwrap().len(), 2);
    alice.digest(&public).await.unwrap();
    assert_eq!(asked(), ["GET alice acme/base", "GET alice public/base"]);

    let nobody = nobody();
    nobody.digest(&public).await.unwrap();
    let denied = nobody.digest(&private).await.unwrap_err();
    assert!(matches!(&denied, RegistryError::Denied { anonymous: true, .. }), "{denied:?}");
    assert_eq!(asked(), ["GET - public/base", "GET - acme/base"]);

    let (_folder, wrong) = user(&auth(&registry, "alice", "hunter2"));
    let denied = wrong.digest(&private).await.unwrap_err();
    assert!(
        matches!(&denied, RegistryError::Denied { who, answer, .. } if who.contains("alice") && answer == "wrong name or password"),
        "{denied:?}"
    );

    // A refresh token, from a helper; the helper's own word for it.
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-test");
    let answer = serde_json::json!({ "ServerURL": "x", "Username": "<token>", "Secret": REFRESH_TOKEN });
    std::fs::write(&helper, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"credsStore": "test"}"#).unwrap();
    let home = folder.path().display().to_string();
    let logins = runnerfleet::registry::DockerLogins::of_docker(&|_| Some(home.clone()));
    Client::new(logins).unwrap().digest(&private).await.unwrap();
    assert_eq!(asked(), ["POST alice acme/base"]);

    // A helper that is not there: everybody's images are read all the same, and for others it is told.
    let (_folder, broken) = user(r#"{"credsStore": "gone-for-good"}"#);
    broken.digest(&public).await.unwrap();
    let error = broken.digest(&private).await.unwrap_err();
    assert!(
        error.to_string().contains("asks who we are: the credential helper `docker-credential-gone-for-good`"),
        "{error}"
    );

    // The token server's trouble is nobody's wrong password.
    *tokens.failing.lock().unwrap() = Some(StatusCode::BAD_GATEWAY);
    let (_folder, alice) = user(&registry.login());
    let error = alice.digest(&private).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Unavailable { why, .. } if why.contains("502")), "{error:?}");
    *tokens.failing.lock().unwrap() = Some(StatusCode::TOO_MANY_REQUESTS);
    let error = alice.digest(&private).await.unwrap_err();
    assert!(matches!(&error, RegistryError::RateLimited { until: None, .. }), "{error:?}");
}
