//! A token server for a registry that wants tokens: what stands behind `WWW-Authenticate: Bearer` at public registries.
//! [`USER`] with [`PASSWORD`], or with [`REFRESH_TOKEN`], may read everything; others may read `public/…`.

use super::registry::{PASSWORD, Registry, USER};
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Stands for a password, as some registries hand it out.
pub const REFRESH_TOKEN: &str = "refresh-of-alice";

/// For a test's own requests to this machine.
pub fn http() -> reqwest::Client {
    // The program does so at its start.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// See the file's head. It ends with the test's runtime.
pub struct TokenServer {
    /// What it was asked: `GET alice public/a`, `POST - acme/a`.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// What it answers instead, while it is set.
    pub failing: Arc<Mutex<Option<StatusCode>>>,
    address: String,
    _folder: tempfile::TempDir,
    certificate: PathBuf,
}

struct Keys {
    key: EncodingKey,
    certificate: String,
    asked: Arc<Mutex<Vec<String>>>,
    failing: Arc<Mutex<Option<StatusCode>>>,
}

impl TokenServer {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
        openssl(
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tokens", "-days", "2", "-keyout"],
            &[&key, Path::new("-out"), &certificate],
        );
        let der = folder.path().join("certificate.der");
        openssl(&["x509", "-outform", "DER", "-in"], &[&certificate, Path::new("-out"), &der]);
        let (asked, failing) = (Arc::default(), Arc::default());
        let keys = Keys {
            key: EncodingKey::from_rsa_pem(&std::fs::read(&key).unwrap()).unwrap(),
            certificate: STANDARD.encode(std::fs::read(&der).unwrap()),
            asked: Arc::clone(&asked),
            failing: Arc::clone(&failing),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = axum::Router::new().route("/token", axum::routing::any(answer)).with_state(Arc::new(keys));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { asked, failing, address, _folder: folder, certificate }
    }

    /// A registry that wants its tokens.
    pub fn registry(&self) -> Registry {
        Registry::start(|_| {
            format!(
                "auth: {{token: {{realm: \"http://{}/token\", service: test-registry, issuer: test-issuer, rootcertbundle: {}}}}}\n",
                self.address,
                self.certificate.display()
            )
        })
    }

    /// A token that may write, for a test that fills the registry.
    pub async fn write_token(&self, repository: &str) -> String {
        let url =
            format!("http://{}/token?service=test-registry&scope=repository:{repository}:pull,push", self.address);
        let request = http().get(url).basic_auth(USER, Some(PASSWORD));
        let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        self.asked.lock().unwrap().clear();
        answer["token"].as_str().unwrap().to_owned()
    }
}

async fn answer(
    State(keys): State<Arc<Keys>>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    if let Some(status) = *keys.failing.lock().unwrap() {
        return status.into_response();
    }
    let form = String::from_utf8(body.to_vec()).unwrap();
    let text = if method == Method::POST { form } else { query.unwrap_or_default() };
    let url: reqwest::Url = format!("http://localhost/?{text}").parse().unwrap();
    let parameters: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let basic = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let pair = basic.map(|pair| String::from_utf8(STANDARD.decode(pair).unwrap()).unwrap());
    let user = match (&pair, parameters.get("refresh_token")) {
        (Some(pair), _) if *pair == format!("{USER}:{PASSWORD}") => USER,
        (None, Some(token)) if token == REFRESH_TOKEN => USER,
        (None, None) => "-",
        _ => {
            return (StatusCode::UNAUTHORIZED, r#"{"errors": [{"message": "wrong name or password"}]}"#)
                .into_response();
        }
    };
    let scope = parameters.get("scope").cloned().unwrap_or_default();
    let [kind, repository, actions] = scope.split(':').collect::<Vec<_>>().try_into().unwrap();
    keys.asked.lock().unwrap().push(format!("{method} {user} {repository}"));
    let open = repository.starts_with("public/");
    let actions: Vec<&str> = actions.split(',').filter(|it| user == USER || (open && *it == "pull")).collect();
    let access = if actions.is_empty() {
        vec![]
    } else {
        vec![serde_json::json!({ "type": kind, "name": repository, "actions": actions })]
    };
    let now = jiff::Timestamp::now().as_second();
    let claims = serde_json::json!({
        "iss": "test-issuer", "sub": user, "aud": parameters["service"], "exp": now + 300, "nbf": now - 5, "iat": now,
        "jti": "1", "access": access,
    });
    let header = Header { x5c: Some(vec![keys.certificate.clone()]), ..Header::new(Algorithm::RS256) };
    let token = jsonwebtoken::encode(&header, &claims, &keys.key).unwrap();
    // A refresh is answered under the other name.
    let name = if method == Method::POST { "access_token" } else { "token" };
    axum::Json(serde_json::json!({ name: token, "expires_in": 300 })).into_response()
}

fn openssl(arguments: &[&str], paths: &[&Path]) {
    let output = Command::new("openssl").args(arguments).args(paths).output().expect("openssl is installed");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}
