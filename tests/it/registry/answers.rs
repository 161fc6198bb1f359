//! Tags, digests, and what each kind of failure is called.

use super::{Writer, client, image, nobody, put};
use crate::support::registry::Registry;
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use runnerfleet::registry::{Platform, RegistryError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A registry by script: its address, and the paths that it was asked for.
async fn scripted(
    script: impl Fn(&str) -> Response + Clone + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    let router = Router::new().fallback(move |uri: Uri| {
        log.lock().unwrap().push(uri.to_string());
        let answer = script(&uri.to_string());
        async move { answer }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

#[tokio::test]
async fn tags_and_digests_of_a_real_registry() {
    let registry = Registry::open();
    let old = put(&registry, "acme/base", &["1.0.0", "1.1.0", "latest"], "old", Writer::Anybody).await;
    let new = put(&registry, "acme/base", &["1.2.0", "latest"], "new", Writer::Anybody).await;
    assert_ne!(old, new);
    let client = nobody();
    let mut tags = client.tags(&image(&registry.image("acme/base:1.0.0"))).await.unwrap();
    tags.sort();
    assert_eq!(tags, ["1.0.0", "1.1.0", "1.2.0", "latest"]);
    let digest = async |name: &str| client.digest(&image(&registry.image(name))).await;
    assert_eq!(digest("acme/base:1.1.0").await.unwrap(), old);
    assert_eq!(digest("acme/base").await.unwrap(), new, "no tag is `latest`");
    assert_eq!(digest(&format!("acme/base@{old}")).await.unwrap(), old);
    assert_eq!(client.manifest(&image(&registry.image("acme/base:1.2.0"))).await.unwrap().digest, new);

    let missing = digest("acme/base:9").await.unwrap_err();
    assert_eq!(missing, RegistryError::NotFound { registry: registry.address.clone(), what: "acme/base:9".to_owned() });
    let missing = client.tags(&image(&registry.image("acme/nothing"))).await.unwrap_err();
    assert!(matches!(&missing, RegistryError::NotFound { what, .. } if what == "acme/nothing"), "{missing}");
    assert!(missing.to_string().ends_with("has no `acme/nothing`; look for a slip in `base_image`"), "{missing}");
}

#[tokio::test]
async fn a_registry_that_is_away() {
    let registry = Registry::open();
    put(&registry, "a", &["1"], "", Writer::Anybody).await;
    let reference = image(&registry.image("a:1"));
    let client = nobody();
    client.digest(&reference).await.unwrap();
    drop(registry);
    let error = client.digest(&reference).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Unavailable { why, .. } if why == "connection refused"), "{error:?}");
}

#[tokio::test]
async fn a_list_over_several_pages() {
    let page = |tags: &[&str], next: Option<&'static str>| {
        let body = serde_json::json!({ "name": "a", "tags": tags });
        match next {
            Some(next) => ([("link", format!("<{next}>; rel=\"next\""))], axum::Json(body)).into_response(),
            None => axum::Json(body).into_response(),
        }
    };
    let (address, asked) = scripted(move |path| match path {
        "/v2/a/tags/list?n=2" => page(&["1", "2"], Some("/v2/a/tags/list?last=2&n=2")),
        "/v2/a/tags/list?last=2&n=2" => page(&["3", "4"], Some("?token=x%2Fy")),
        "/v2/a/tags/list?token=x%2Fy" => page(&["5"], None),
        "/v2/null/tags/list?n=2" => axum::Json(serde_json::json!({ "tags": null })).into_response(),
        "/v2/away/tags/list?n=2" => page(&["1"], Some("http://127.0.0.1:1/v2/away/tags/list")),
        "/v2/circle/tags/list?n=2" => page(&["1"], Some("/v2/circle/tags/list?n=2")),
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    let client = nobody().with_page_size(2);
    let tags = async |name: &str| client.tags(&image(&format!("{address}/{name}"))).await;
    assert_eq!(tags("a").await.unwrap(), ["1", "2", "3", "4", "5"]);
    assert_eq!(asked.lock().unwrap().len(), 3);
    assert!(tags("null").await.unwrap().is_empty());
    // Our credentials stay where they belong, and no list goes on for ever.
    let away = tags("away").await.unwrap_err().to_string();
    assert!(away.contains("its next page is elsewhere, at 127.0.0.1"), "{away}");
    let circle = tags("circle").await.unwrap_err().to_string();
    assert!(circle.contains("goes on after 500 pages"), "{circle}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_a_limit_is_kept() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let (address, asked) = scripted(move |path| match path.split('/').nth(2).unwrap_or_default() {
        "limited" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "120")]).into_response(),
        "shaky" if count.fetch_add(1, Ordering::SeqCst) == 0 => StatusCode::BAD_GATEWAY.into_response(),
        "shaky" => axum::Json(serde_json::json!({ "tags": ["1"] })).into_response(),
        "broken" => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        "page" => "<html>hello</html>".into_response(),
        "endless" => "x".repeat(9 << 20).into_response(),
        _ => StatusCode::IM_A_TEAPOT.into_response(),
    })
    .await;
    let client = nobody();
    let tags = async |name: &str| client.tags(&image(&format!("{address}/{name}"))).await;
    assert_eq!(tags("shaky").await.unwrap(), ["1"]);
    assert_eq!(tries.load(Ordering::SeqCst), 2);

    let before = jiff::Timestamp::now();
    let limited = tags("limited").await.unwrap_err();
    let RegistryError::RateLimited { until: Some(until), .. } = &limited else { panic!("{limited:?}") };
    let wait = until.duration_since(before).as_secs();
    assert!((119..240).contains(&wait), "{wait}");
    assert!(limited.to_string().contains("answers no more questions for now; try again after 20"), "{limited}");
    assert_eq!(asked.lock().unwrap().iter().filter(|path| path.contains("limited")).count(), 1, "once");

    let broken = tags("broken").await.unwrap_err();
    assert!(matches!(&broken, RegistryError::Unavailable { why, .. } if why.contains("503")), "{broken:?}");
    for (name, expected) in
        [("page", "its list of tags is not one"), ("endless", "more than"), ("other", "it answers 418")]
    {
        let error = tags(name).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Invalid { why, .. } if why.contains(expected)), "{error:?}");
    }
}

#[tokio::test]
async fn an_index_says_for_which_machines_it_is() {
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            { "digest": "sha256:00", "platform": { "os": "linux", "architecture": "arm64", "variant": "v8" } },
            { "digest": "sha256:01", "platform": { "os": "unknown", "architecture": "unknown" } },
        ],
    });
    // No digest in a header, which is allowed: it is that of the bytes.
    let (address, _) = scripted(move |_| axum::Json(index.clone()).into_response()).await;
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path());
    let reference = image(&format!("{address}/a:1"));
    let manifest = client.manifest(&reference).await.unwrap();
    assert_eq!(manifest.platforms, [Platform { os: "linux".into(), architecture: "arm64".into() }]);
    assert_eq!(client.digest(&reference).await.unwrap(), manifest.digest);
}
