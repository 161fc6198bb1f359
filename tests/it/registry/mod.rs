//! The client of registries, against real ones: open, with passwords, with tokens; and what a real one does not do on
//! demand (limits, pages, failures) by script.

/// What is asked and answered.
mod answers;
/// Who we are.
mod logins;

use crate::support::registry::{PASSWORD, Registry, USER};
use crate::support::token_server::http;
use runnerfleet::registry::{Client, DockerLogins, Reference};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Of a user with this folder of Docker's.
fn client(folder: &Path) -> Client {
    // The program does so at its start.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = folder.display().to_string();
    Client::new(DockerLogins::of_docker(&|name| match name {
        "DOCKER_CONFIG" => Some(folder.clone()),
        "PATH" => std::env::var("PATH").ok(),
        _ => None,
    }))
    .unwrap()
}

/// Of a user who never logged in.
fn nobody() -> Client {
    client(Path::new("/nonexistent"))
}

fn image(text: &str) -> Reference {
    text.parse().unwrap()
}

/// How a test writes to a registry.
enum Writer {
    Anybody,
    Alice,
    Token(String),
}

/// Puts an image without layers there, under each of these tags; the digest of its manifest. `content` makes it unlike
/// others.
async fn put(registry: &Registry, repository: &str, tags: &[&str], content: &str, writer: Writer) -> String {
    let http = http();
    let base = format!("http://{}/v2/{repository}", registry.address);
    let with = |request: reqwest::RequestBuilder| match &writer {
        Writer::Anybody => request,
        Writer::Alice => request.basic_auth(USER, Some(PASSWORD)),
        Writer::Token(token) => request.bearer_auth(token),
    };
    let sha = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "x": content }).to_string();
    let begun = with(http.post(format!("{base}/blobs/uploads/"))).send().await.unwrap();
    assert_eq!(begun.status(), 202);
    let mut upload: reqwest::Url = begun.headers()["location"].to_str().unwrap().parse().unwrap();
    upload.query_pairs_mut().append_pair("digest", &sha(config.as_bytes()));
    let done = with(http.put(upload)).body(config.clone()).send().await.unwrap();
    assert_eq!(done.status(), 201);
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": kind, "layers": [],
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json", "size": config.len(),
            "digest": sha(config.as_bytes()),
        },
    })
    .to_string();
    for tag in tags {
        let request = with(http.put(format!("{base}/manifests/{tag}"))).header("content-type", kind);
        let done = request.body(manifest.clone()).send().await.unwrap();
        assert_eq!(done.status(), 201, "{}", done.text().await.unwrap());
    }
    sha(manifest.as_bytes())
}
