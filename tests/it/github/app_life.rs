use super::*;
use runnerfleet::github::{AccountKind, HookChange, Selection, convert_manifest};
use runnerfleet::model::RepoName;
use secrecy::ExposeSecret;

const APP: &str = "GET /app";
const DELIVERIES: &str = "GET /app/hook/deliveries";
const HOOK: &str = "GET /app/hook/config";
const INSTALLATIONS: &str = "GET /app/installations";

fn the_app() -> Value {
    json!({
        "id": 5, "slug": "runnerfleet-acme", "name": "runnerfleet acme", "client_id": "Iv23liTest",
        "owner": { "login": "acme" }, "html_url": "https://github.com/apps/runnerfleet-acme",
        "permissions": { "actions": "read", "metadata": "read" }, "events": ["workflow_job"], "installations_count": 2,
    })
}

#[tokio::test]
async fn the_app_is_told_with_the_distance_of_the_clocks() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(APP, [Reply::json(200, &the_app()).header("date", "Sun, 22 Nov 2026 10:00:00 GMT")]);
    let (facts, ahead) = client.app().await.unwrap();
    assert_eq!((facts.id, facts.slug.as_str(), facts.owner.as_deref()), (5, "runnerfleet-acme", Some("acme")));
    assert_eq!(facts.permissions["actions"], "read");
    assert_eq!(facts.events, ["workflow_job"]);
    let date: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    let true_distance = Timestamp::now().duration_since(date);
    let told = ahead.unwrap();
    assert!((true_distance - told).abs() < SignedDuration::from_secs(60), "{told}");
    assert!(server.asked(APP)[0].headers["authorization"].starts_with("Bearer eyJ"));
}

#[tokio::test]
async fn what_only_an_app_can_is_told_to_the_owner_of_a_token() {
    let server = Server::start().await;
    let error = client(&server).deliveries(None, 10).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the log of the App's deliveries: only a GitHub App can, and the configuration has a personal token (github.auth)"
    );
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn an_app_is_made_from_its_manifests_code_and_prints_no_secret() {
    let server = Server::start().await;
    let route = "POST /app-manifests/c0de/conversions";
    let mut made = the_app();
    made["pem"] = json!(*KEY);
    made["webhook_secret"] = json!("hook-secret");
    made["client_secret"] = json!("client-secret");
    server.on(route, [Reply::json(201, &made), Reply::message(404, "Not Found")]);
    let app = convert_manifest(&server.url, "c0de").await.unwrap();
    assert_eq!(app.facts.id, 5);
    assert_eq!(app.webhook_secret.as_ref().unwrap().expose_secret(), "hook-secret");
    let printed = format!("{app:?}");
    assert!(!printed.contains("hook-secret") && !printed.contains("PRIVATE"), "{printed}");
    assert!(!server.asked(route)[0].headers.contains_key("authorization"));

    let error = convert_manifest(&server.url, "c0de").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot make the App from its manifest: the code is wrong, was used before, or is older than an hour"
    );
    // A lost answer may have used the code up.
    let lost = "POST /app-manifests/lost/conversions";
    server.on(lost, [Reply::text(502, "")]);
    assert!(matches!(convert_manifest(&server.url, "lost").await, Err(Error::Unavailable { .. })));
    assert_eq!(server.asked(lost).len(), 1);
}

#[tokio::test]
async fn the_hook_is_read_and_changed() {
    let server = Server::start().await;
    let client = app(&server);
    let url = "https://ci.example.com/webhook";
    let shown = json!({ "url": url, "content_type": "json", "secret": "********", "insecure_ssl": "0" });
    server
        .on(HOOK, [Reply::json(200, &shown), Reply::json(200, &json!({ "insecure_ssl": 1, "content_type": "form" }))]);
    let hook = client.hook().await.unwrap();
    assert_eq!((hook.url.as_deref(), hook.has_secret, hook.insecure_ssl), (Some(url), true, false));
    let bare = client.hook().await.unwrap();
    assert_eq!((bare.url, bare.has_secret, bare.insecure_ssl), (None, false, true));

    let route = "PATCH /app/hook/config";
    server.on(route, [Reply::json(200, &shown)]);
    let change = HookChange { url: Some(url.to_owned()), secret: Some(SecretString::from("n3w")), json: true };
    client.set_hook(&change).await.unwrap();
    assert_eq!(server.asked(route)[0].body, json!({ "url": url, "secret": "n3w", "content_type": "json" }));
    client.set_hook(&HookChange { url: Some(url.to_owned()), ..HookChange::default() }).await.unwrap();
    assert_eq!(server.asked(route)[1].body, json!({ "url": url }));
}

fn delivery(id: u64, minute: u64, status: &str, code: i64) -> Value {
    json!({
        "id": id, "guid": format!("guid-{id}"), "delivered_at": format!("2026-11-22T10:{minute:02}:00Z"),
        "redelivery": false, "duration": 0.03, "status": status, "status_code": code, "event": "workflow_job",
        "action": "queued", "installation_id": 77, "repository_id": 9,
    })
}

#[tokio::test]
async fn the_log_of_deliveries_is_read_as_far_as_needed() {
    let server = Server::start().await;
    let client = app(&server);
    let page = |list: &[Value], cursor: Option<&str>| {
        let reply = Reply::json(200, &json!(list));
        match cursor {
            None => reply,
            Some(cursor) => reply.header(
                "link",
                // Another host: the cursor alone is taken.
                format!(
                    "<https://elsewhere.example.com/app/hook/deliveries?per_page=100&cursor={cursor}>; rel=\"next\""
                ),
            ),
        }
    };
    let (newest, middle, old) = (
        delivery(72_057_594_037_927_939, 50, "OK", 202),
        delivery(2, 40, "failed to connect to host", 0),
        delivery(1, 30, "Invalid HTTP Response: 503", 503),
    );
    let pages =
        || [page(&[newest.clone()], Some("v1_2")), page(&[middle.clone()], Some("v1%5F1")), page(&[old.clone()], None)];
    server.on(DELIVERIES, pages());
    let all = client.deliveries(None, 1000).await.unwrap();
    assert_eq!(
        all.iter().map(|it| (it.id, it.ok())).collect::<Vec<_>>(),
        [(72_057_594_037_927_939, true), (2, false), (1, false)]
    );
    let queries: Vec<String> = server.asked(DELIVERIES).into_iter().map(|asked| asked.query).collect();
    assert_eq!(queries, ["per_page=100", "per_page=100&cursor=v1_2", "per_page=100&cursor=v1_1"]);

    server.on(DELIVERIES, pages());
    let since = Some("2026-11-22T10:35:00Z".parse().unwrap());
    assert_eq!(client.deliveries(since, 1000).await.unwrap().len(), 2);
    server.on(DELIVERIES, pages());
    assert_eq!(client.deliveries(None, 1).await.unwrap().len(), 1);
    assert_eq!(server.asked(DELIVERIES).len(), 7);
}

#[tokio::test]
async fn one_delivery_is_shown_with_what_was_sent_and_sent_again() {
    let server = Server::start().await;
    let client = app(&server);
    let mut detail = delivery(2, 40, "failed to connect to host", 0);
    detail["request"] = json!({
        "headers": { "X-GitHub-Event": "workflow_job", "X-GitHub-Hook-ID": 480 }, "payload": { "action": "queued" },
    });
    detail["response"] = json!({ "headers": {}, "payload": "" });
    server.on("GET /app/hook/deliveries/2", [Reply::json(200, &detail)]);
    let shown = client.delivery(2).await.unwrap();
    assert_eq!(shown.headers["X-GitHub-Hook-ID"], "480");
    assert_eq!(shown.payload["action"], "queued");

    let again = "POST /app/hook/deliveries/2/attempts";
    server.on(again, [Reply::json(202, &json!({})), Reply::message(404, "Not Found")]);
    client.redeliver(2).await.unwrap();
    assert!(matches!(client.redeliver(2).await, Err(Error::NotFound { .. })));
}

fn installed(id: u64, login: &str, kind: &str, suspended: &Value) -> Value {
    json!({
        "id": id, "account": { "login": login, "type": kind }, "target_type": kind, "suspended_at": suspended,
        "permissions": { "metadata": "read" }, "events": [], "repository_selection": "selected", "app_id": 5,
        "html_url": format!("https://github.com/organizations/{login}/settings/installations/{id}"),
    })
}

#[tokio::test]
async fn installations_and_their_repositories_are_listed() {
    let server = Server::start().await;
    let client = app(&server);
    let list = [
        installed(77, "acme", "Organization", &Value::Null),
        installed(78, "octo", "User", &json!("2026-11-22T10:00:00Z")),
    ];
    server.on(INSTALLATIONS, [Reply::json(200, &json!(list))]);
    let installations = client.installations().await.unwrap();
    assert_eq!(installations[0].kind, AccountKind::Organization);
    assert_eq!(installations[0].selection, Selection::Selected);
    assert_eq!((installations[1].kind, installations[1].suspended_at.is_some()), (AccountKind::User, true));

    let repository = json!({ "id": 9, "full_name": "octo/tool", "private": false, "fork": true, "archived": false });
    server.on("POST /app/installations/78/access_tokens", [minted("ghs_octo", 60)]);
    server.on(
        "GET /installation/repositories",
        [Reply::json(200, &json!({ "total_count": 1, "repositories": [repository] }))],
    );
    let repositories = client.repositories("Octo").await.unwrap();
    assert_eq!((repositories[0].id, repositories[0].private, repositories[0].fork), (9, false, true));
    let minted = &server.asked("POST /app/installations/78/access_tokens")[0];
    assert_eq!(minted.body, json!({ "permissions": { "metadata": "read" } }));
    let error = client.repositories("nobody").await.unwrap_err();
    assert!(error.to_string().contains("the App is not installed there"), "{error}");
}

#[tokio::test]
async fn a_run_tells_whose_code_it_runs() {
    let server = Server::start().await;
    let client = app(&server);
    let route = "GET /repos/acme/web/actions/runs/2";
    let run = json!({
        "id": 2, "event": "pull_request", "repository": { "full_name": "acme/web", "private": true },
        "head_repository": { "full_name": "mallory/web", "fork": true },
    });
    server.on(route, [Reply::json(200, &run), Reply::message(404, "Not Found")]);
    let repository = RepoName::new("acme/web");
    let told = client.run(&repository, 2, Some(77)).await.unwrap().unwrap();
    assert_eq!((told.event.as_str(), told.head_fork, told.private), ("pull_request", true, Some(true)));
    assert_eq!(told.head_repository, Some(RepoName::new("mallory/web")));
    assert_eq!(client.run(&repository, 2, None).await.unwrap(), None);
    assert!(matches!(client.run(&RepoName::new("../x"), 2, None).await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn limits_and_the_newest_agent_are_told() {
    let server = Server::start().await;
    let client = app(&server);
    let rates =
        json!({ "resources": { "core": { "limit": 5000, "used": 1, "remaining": 4999, "reset": 1_800_000_000 } } });
    server.on("GET /rate_limit", [Reply::json(200, &rates)]);
    for account in [None, Some("acme")] {
        let told = client.rates(account).await.unwrap();
        assert_eq!((told[0].resource.as_str(), told[0].limit, told[0].remaining), ("core", 5000, 4999));
    }
    let download = |architecture: &str| {
        json!({
            "os": "linux", "architecture": architecture, "download_url": "https://example.com/x",
            "filename": format!("actions-runner-linux-{architecture}-2.336.0.tar.gz"),
        })
    };
    server.on(
        "GET /orgs/acme/actions/runners/downloads",
        [Reply::json(200, &json!([download("arm64"), download("x64")]))],
    );
    assert_eq!(client.agent_version(&acme()).await.unwrap().as_deref(), Some("2.336.0"));
}

#[tokio::test]
async fn renewed_credentials_are_used_from_then_on_and_bad_ones_change_nothing() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_RUNNERS, [list(0, &[])]);
    client.runners(&acme()).await.unwrap();
    client.renew_credentials(&GitHubAuth::Token(SecretString::from("ghp_newer"))).unwrap();
    client.runners(&acme()).await.unwrap();
    let bad = GitHubAuth::App { issuer: "x".to_owned(), private_key: SecretString::from("no key"), installation: None };
    assert!(client.renew_credentials(&bad).is_err());
    client.runners(&acme()).await.unwrap();
    let bearers: Vec<String> =
        server.asked(ORG_RUNNERS).into_iter().map(|asked| asked.headers["authorization"].clone()).collect();
    assert_eq!(bearers, ["Bearer ghp_personal", "Bearer ghp_newer", "Bearer ghp_newer"]);
}
