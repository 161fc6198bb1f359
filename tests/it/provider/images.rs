//! Images: pulled, and made from this machine's files.

use crate::support::docker::{TestFleet, docker, image, until};
use crate::support::registry;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use runnerfleet::provider::docker::registry_of;
use runnerfleet::provider::{Credentials, Login, Provider, ProviderError, RegistryCredentials};
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A registry with one image of one file, on loopback (where the engine asks for no TLS).
struct Registry {
    address: String,
    server: tokio::task::JoinHandle<()>,
}

type Blobs = Arc<HashMap<String, (String, Vec<u8>)>>;

impl Registry {
    async fn start(tag: &str) -> Self {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        header.set_mode(0o644);
        archive.append_data(&mut header, "hello", &b"hello\n"[..]).unwrap();
        let layer = archive.into_inner().unwrap();
        let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        // A file of its own for each test, so that no other image shares the id.
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
            "config": {"Labels": {"for": tag}},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(), "digest": digest(&config),
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                "size": layer.len(), "digest": digest(&layer),
            }],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let octets = "application/octet-stream".to_owned();
        let blobs: Blobs = Arc::new(HashMap::from([
            (format!("manifests/{tag}"), (kind.to_owned(), manifest.clone())),
            (format!("manifests/{}", digest(&manifest)), (kind.to_owned(), manifest)),
            (format!("blobs/{}", digest(&config)), (octets.clone(), config)),
            (format!("blobs/{}", digest(&layer)), (octets, layer)),
        ]));
        let app = Router::new()
            .route("/v2/", axum::routing::get(|| async { "{}" }))
            .route("/v2/acme/agent/{*what}", axum::routing::get(answer))
            .with_state(blobs);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, server }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
        for tag in ["", ":latest"] {
            let image = format!("{}/acme/agent{tag}", self.address);
            let _ = std::process::Command::new("docker").args(["rmi", "-f", &image]).output();
        }
    }
}

async fn answer(State(blobs): State<Blobs>, Path(what): Path<String>) -> Response {
    match blobs.get(&what) {
        Some((kind, bytes)) => {
            let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
            let headers = [(header::CONTENT_TYPE, kind.clone()), ("docker-content-digest".parse().unwrap(), digest)];
            (headers, bytes.clone()).into_response()
        }
        None => (StatusCode::NOT_FOUND, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
            .into_response(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_image_is_pulled_where_the_pool_may() {
    let fleet = TestFleet::start("pull").await;
    let registry = Registry::start("latest").await;
    let mut spec = fleet.spec("1", "");
    spec.image = format!("{}/acme/agent", registry.address);
    let refused = fleet.docker.create(&spec).await.unwrap_err();
    assert!(matches!(refused, ProviderError::ImageMissing { .. }), "{refused:?}");
    spec.pull = true;
    let id = fleet.docker.create(&spec).await.unwrap();
    assert_eq!(docker(&["inspect", "-f", "{{.Config.Image}}", id.as_str()]).trim(), spec.image);
    fleet.docker.remove(&id).await.unwrap();

    spec.image = format!("{}/acme/agent:none", registry.address);
    let refused = fleet.docker.create(&spec).await.unwrap_err();
    assert!(matches!(&refused, ProviderError::ImageMissing { why, .. } if why.contains("manifest")), "{refused:?}");
}

/// Knows one account.
#[derive(Debug)]
struct Known(Option<&'static str>);

#[async_trait::async_trait]
impl Credentials for Known {
    async fn for_image(&self, reference: &str) -> Option<RegistryCredentials> {
        let login = Login::Password { user: registry::USER.to_owned(), password: SecretString::from(self.0?) };
        let server = registry_of(reference).to_owned();
        Some(RegistryCredentials { server, login, found_in: "a test".to_owned() })
    }

    fn looked_in(&self) -> String {
        "a test".to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_asks_is_told_who_we_are() {
    let fleet = TestFleet::start("login").await;
    let registry = registry::Registry::closed();
    registry.push(&fleet.image, "acme/agent:1");
    let image = registry.image("acme/agent:1");
    let pull = async |known| {
        let docker = fleet.docker.clone().with_credentials(Arc::new(Known(known)));
        let mut news = Vec::new();
        let pulled = docker.pull_image(&image, &mut |told| news.push(told)).await;
        pulled.map(|()| news).map_err(|error| error.to_string())
    };
    let refused = pull(None).await.unwrap_err();
    let address = &registry.address;
    assert!(refused.contains(&format!("registry {address} said: ")), "{refused}");
    assert!(refused.contains("asked without credentials: a test has none for it"), "{refused}");
    assert!(refused.contains(&format!("`docker login {address}` on this host stores them")), "{refused}");
    let refused = pull(Some("wrong")).await.unwrap_err();
    assert!(refused.contains("asked as `alice` (from a test)") && refused.contains("renews them"), "{refused}");
    assert!(!fleet.docker.has_image(&image).await.unwrap());

    let news = pull(Some(registry::PASSWORD)).await.unwrap();
    assert!(!news.is_empty() && fleet.docker.has_image(&image).await.unwrap());

    // The same on the way to a container.
    docker(&["rmi", &image]);
    let mut spec = fleet.spec("1", "");
    (spec.image, spec.pull) = (image.clone(), true);
    fleet.docker.create(&spec).await.unwrap_err();
    let docker = fleet.docker.clone().with_credentials(Arc::new(Known(Some(registry::PASSWORD))));
    let id = docker.create(&spec).await.unwrap();
    docker.remove(&id).await.unwrap();
}

#[tokio::test]
async fn the_image_is_made_once() {
    let fleet = TestFleet::start("image").await;
    let before = docker(&["inspect", "-f", "{{.Id}} {{.Config.User}} {{.Config.WorkingDir}}", &fleet.image]);
    let started = Instant::now();
    let (one, two) = tokio::join!(image(&fleet.docker), image(&fleet.docker));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!((&one, &two), (&fleet.image, &fleet.image));
    assert_eq!(docker(&["inspect", "-f", "{{.Id}} {{.Config.User}} {{.Config.WorkingDir}}", &one]), before);
    assert!(before.contains("runner /home/runner"), "{before}");

    let (_, output) = fleet
        .run(&fleet.spec("1", r#"echo "$PWD $HOME $RUNNER_MANUALLY_TRAP_SIG"; : > here; : > /tmp/there; ./run.sh; runnerfleet -c 'echo $UID'"#))
        .await;
    assert_eq!(output, "/home/runner /home/runner 1\nrun\n1001");
}

#[tokio::test]
async fn an_outdated_image_goes_when_the_next_is_made() {
    let fleet = TestFleet::start("outdated").await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let make = async |run_sh: &str| {
        std::fs::copy("/bin/sh", &program).unwrap();
        let repository = "runnerfleet/test-outdated";
        runnerfleet::simulation::image::ensure(&fleet.docker, &program, repository, run_sh, "").await.unwrap()
    };
    let first = make("#!/bin/sh\necho one\n").await;
    let second = make("#!/bin/sh\necho two\n").await;
    assert_ne!(first, second);
    assert!(!fleet.docker.has_image(&first).await.unwrap() && fleet.docker.has_image(&second).await.unwrap());
    runnerfleet::simulation::image::remove(&fleet.docker, &second).await.unwrap();
    until("the image's end", async || (!fleet.docker.has_image(&second).await.unwrap()).then_some(())).await;
}
