//! Pages of the log, lists of runs and jobs, and what is left of the limits.

use super::server::{Reply, Server};
use super::{app, client};
use runnerfleet::github::{Listed, Page, RunRow};
use runnerfleet::model::{JobAction, RepoName};
use serde_json::json;

fn web() -> RepoName {
    RepoName::new("acme/web")
}

#[tokio::test]
async fn a_page_of_the_log_tells_where_the_next_one_begins() {
    let server = Server::start().await;
    let client = app(&server);
    let delivery = json!({
        "id": 12_345_678_901_234_567_u64, "guid": "g", "delivered_at": "2026-11-29T01:02:03Z", "redelivery": false,
        "duration": 0.2, "status": "OK", "status_code": 202, "event": "workflow_job", "action": "queued",
        "installation_id": 77, "repository_id": 9,
    });
    let first = Reply::json(200, &json!([delivery]))
        .header("link", "<https://elsewhere.example/app/hook/deliveries?per_page=100&cursor=v1_1%2B2>; rel=\"next\"")
        .header("x-ratelimit-limit", "5000")
        .header("x-ratelimit-remaining", "4321")
        .header("x-ratelimit-reset", "4000000000");
    server.on("GET /app/hook/deliveries", [first, Reply::json(200, &json!([]))]);
    assert_eq!(client.left_for_the_app(), None, "nobody told yet");
    let page = client.delivery_page(None).await.unwrap();
    assert_eq!((page.deliveries.len(), page.next.as_deref()), (1, Some("v1_1+2")));
    assert_eq!(client.left_for_the_app().map(|left| (left.limit, left.remaining)), Some((5000, 4321)));
    let last = client.delivery_page(page.next.as_deref()).await.unwrap();
    assert_eq!((last.deliveries.len(), last.next), (0, None));
    let asked: Vec<_> = server.asked("GET /app/hook/deliveries").into_iter().map(|it| it.query).collect();
    assert_eq!(asked, ["per_page=100", "per_page=100&cursor=v1_1%2B2"]);
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let server = Server::start().await;
    let client = client(&server);
    let runs = json!({ "total_count": 1, "workflow_runs": [{ "id": 7, "repository": { "private": false } }] });
    server.on(
        "GET /repos/acme/web/actions/runs",
        [Reply::json(200, &runs).header("etag", "W/\"one\""), Reply::text(304, "")],
    );
    let Listed::Page(Page { items, more, etag }) = client.open_runs(&web(), "queued", None).await.unwrap() else {
        panic!("there was no answer before")
    };
    assert_eq!((items, more), (vec![RunRow { id: 7, private: Some(false) }], false));
    assert_eq!(client.open_runs(&web(), "queued", etag).await.unwrap(), Listed::Same);
    let asked = server.asked("GET /repos/acme/web/actions/runs");
    let known: Vec<_> = asked.iter().map(|it| it.headers.get("if-none-match").cloned()).collect();
    assert_eq!(known, [None, Some("W/\"one\"".to_owned())]);
    assert!(client.left_for("acme").is_none());
}

#[tokio::test]
async fn the_jobs_of_a_run_come_as_events() {
    let server = Server::start().await;
    let client = client(&server);
    let job = |id: u64, status: &str| json!({ "id": id, "run_id": 7, "run_attempt": 2, "status": status, "labels": ["linux"] });
    let jobs = json!({ "total_count": 2, "jobs": [job(1, "queued"), job(2, "waiting")] });
    let next = "<https://x/y?page=2>; rel=\"next\"";
    server.on("GET /repos/acme/web/actions/runs/7/jobs", [Reply::json(200, &jobs).header("link", next)]);
    let Listed::Page(page) = client.jobs_of_run(&web(), 7, 1, None).await.unwrap() else { panic!("a page") };
    assert!(page.more);
    let actions: Vec<_> = page.items.iter().map(|event| event.action.clone()).collect();
    assert_eq!(actions, [JobAction::Queued, JobAction::Waiting]);
    assert_eq!((page.items[0].job.key.attempt, page.items[0].job.repository.as_str()), (2, "acme/web"));
}

#[tokio::test]
async fn the_apps_number_is_remembered_with_its_credentials() {
    let server = Server::start().await;
    let client = app(&server);
    assert_eq!(client.app_number(), None);
    server.on("GET /app", [Reply::json(200, &json!({ "id": 5, "slug": "a", "permissions": {}, "events": [] }))]);
    client.app().await.unwrap();
    assert_eq!(client.app_number(), Some(5));
    client.renew_credentials(&super::as_app(None)).unwrap();
    assert_eq!(client.app_number(), None, "it may be another App now");
}
