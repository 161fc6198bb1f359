use super::{Api, PATIENCE, PERSON, Running, good_jwt, jwt, keys, online, options, start};
use crate::support::openapi::{check_request, check_response, operations};
use runnerfleet::simulation::github::{
    App, Conclusion, Fault, GroupSpec, Handle, JobSpec, Limits, Options, Outage, Timings,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The usual GitHub, with an App whose key is known here.
fn with_app() -> Options {
    Options { app: App::with_public_key(keys().1), ..options() }
}

/// An installation token of `acme`, narrowed as the body says.
async fn token(github: &Handle, body: Option<Value>) -> Value {
    let app = Api::new(github, Some(&good_jwt()));
    let (status, answer) = app.ask("POST", "/app/installations/1001/access_tokens", body).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

/// Every operation is asked, well and badly; every answer has to follow GitHub's description.
#[tokio::test]
async fn every_answer_follows_githubs_description() {
    let mut options = with_app();
    options.groups.push(GroupSpec {
        organization: "acme".into(),
        name: "big".into(),
        repositories: Some(vec!["web".into()]),
        allows_public: false,
    });
    options.accounts[0].installation.as_mut().unwrap().repositories =
        Some(vec!["web".into(), "api".into(), "site".into()]);
    let github = start(options).await;
    github.set_webhook("http://127.0.0.1:9/", Some("secret".into()));
    let app = Api::new(&github, Some(&good_jwt()));
    let nobody = Api::new(&github, None);
    let person = Api::person(&github);

    // Jobs in every state.
    let done = github.queue_job(JobSpec::new("acme/web", ["linux"]).named("done").concluding(Conclusion::Failure));
    let foreign = runnerfleet::model::Scope::Organization("acme".into());
    github.add_foreign_runner(&foreign, "theirs", ["linux"], false).unwrap();
    assert!(github.steal(done, "theirs"));
    let done = github.wait_for_job(done, PATIENCE).await.unwrap();
    let run = done.run_id;
    github.queue_job(JobSpec::new("acme/web", ["nowhere"]).named("queued").in_run(run));
    github.waiting_job(JobSpec::new("acme/web", ["linux"]).named("waiting"));
    let hanging = github.queue_job(JobSpec::new("acme/web", ["linux"]).lasting(PATIENCE).in_run(run));
    assert!(github.steal(hanging, "theirs"));

    app.get("/app").await;
    app.get("/app/installations?per_page=1").await;
    app.get("/app/installations/1001").await;
    app.get("/orgs/acme/installation").await;
    app.get("/users/octo/installation").await;
    app.get("/repos/acme/web/installation").await;
    app.get("/app/hook/config").await;
    let changed = json!({ "url": "http://127.0.0.1:9/hook", "secret": "other", "content_type": "json" });
    assert_eq!(app.ask("PATCH", "/app/hook/config", Some(changed)).await.1["url"], "http://127.0.0.1:9/hook");
    github.webhooks_settled(PATIENCE).await.unwrap();
    let deliveries = app.get("/app/hook/deliveries?per_page=3").await;
    let id = deliveries[0]["id"].as_u64().unwrap();
    assert!(id > 1 << 53, "real ids need more than 53 bits: {id}");
    app.get(&format!("/app/hook/deliveries/{id}")).await;
    assert_eq!(app.ask("POST", &format!("/app/hook/deliveries/{id}/attempts"), None).await.0, 202);
    assert_eq!(app.ask("GET", "/app/hook/deliveries/5", None).await.0, 422);
    let code = github.offer_manifest("a private key");
    let converted = nobody.ask("POST", &format!("/app-manifests/{code}/conversions"), None).await;
    assert_eq!((converted.0, &converted.1["pem"]), (201, &json!("a private key")));
    assert_eq!(nobody.ask("POST", &format!("/app-manifests/{code}/conversions"), None).await.0, 404);
    nobody.get("/meta").await;
    nobody.get("/rate_limit").await;
    assert_eq!(app.ask("GET", "/app/installations/1", None).await.0, 404);
    assert_eq!(app.ask("GET", "/orgs/other/installation", None).await.0, 404);
    assert_eq!(app.ask("POST", "/app/installations/1/access_tokens", None).await.0, 404);

    let narrowed = token(&github, Some(json!({ "repositories": ["web"], "permissions": { "actions": "read" } }))).await;
    assert_eq!(narrowed["repositories"][0]["full_name"], "acme/web");
    let whole = token(&github, None).await;
    let fleet = Api::new(&github, whole["token"].as_str());
    assert_eq!(fleet.get("/installation/repositories?per_page=2").await["total_count"], 3);
    fleet.get("/repos/acme/web").await;

    for scope in ["orgs/acme", "repos/acme/web"] {
        let jit = fleet.jit(scope, "made-by-jit", &["Linux", "GPU"]).await;
        assert_eq!(jit.0, 201, "{jit:?}");
        let id = jit.1["runner"]["id"].as_u64().unwrap();
        let runners = format!("/{scope}/actions/runners");
        assert_eq!(fleet.get(&format!("{runners}?name=made-by-jit&per_page=1")).await["total_count"], 1);
        fleet.get(&format!("{runners}/downloads")).await;
        let labels = fleet.get(&format!("{runners}/{id}/labels")).await;
        assert_eq!(labels["labels"][0]["name"], "gpu", "stored in lower case: {labels}");
        assert_eq!(fleet.get(&format!("{runners}/{id}")).await["status"], "offline");
        assert_eq!(fleet.ask("POST", &format!("{runners}/registration-token"), None).await.0, 201);
        assert_eq!(fleet.ask("POST", &format!("{runners}/remove-token"), None).await.0, 201);
        assert_eq!(fleet.ask("DELETE", &format!("{runners}/{id}"), None).await.0, 204);
        assert_eq!(fleet.ask("DELETE", &format!("{runners}/{id}"), None).await.0, 404);
    }
    let theirs = fleet.get("/orgs/acme/actions/runners?name=theirs").await["runners"][0]["id"].as_u64().unwrap();
    let busy = fleet.ask("DELETE", &format!("/orgs/acme/actions/runners/{theirs}"), None).await;
    assert_eq!(busy.0, 422, "{busy:?}");

    let groups = "/orgs/acme/actions/runner-groups";
    assert_eq!(fleet.get(&format!("{groups}?visible_to_repository=api")).await["total_count"], 1);
    assert_eq!(fleet.get(groups).await["total_count"], 2);
    let made = fleet.ask("POST", groups, Some(json!({ "name": "new", "visibility": "private" }))).await;
    assert_eq!(made.0, 201, "{made:?}");
    assert_eq!(fleet.ask("POST", groups, Some(json!({ "name": "new" }))).await.0, 409);
    let group = made.1["id"].as_u64().unwrap();
    fleet.get(&format!("{groups}/{group}")).await;
    assert_eq!(fleet.get(&format!("{groups}/{group}/repositories")).await["total_count"], 2, "private ones only");
    fleet.get(&format!("{groups}/{group}/runners")).await;
    let ids = async |name: &str| fleet.get(&format!("/repos/acme/{name}")).await["id"].clone();
    let (web, site) = (ids("web").await, ids("site").await);
    let members = format!("{groups}/{group}/repositories");
    let set = async |list: Value| fleet.ask("PUT", &members, Some(json!({ "selected_repository_ids": list }))).await.0;
    assert_eq!(set(json!([web])).await, 409, "it is for private ones, and not for selected ones");
    let change = async |body: Value| fleet.ask("PATCH", &format!("{groups}/{group}"), Some(body)).await;
    assert_eq!(change(json!({ "visibility": "selected" })).await.0, 422, "a name is required");
    let changed = change(json!({ "name": "newer", "visibility": "selected" })).await;
    assert_eq!((changed.0, &changed.1["name"], &changed.1["visibility"]), (200, &json!("newer"), &json!("selected")));
    assert_eq!(set(json!([1])).await, 422, "no repository of theirs");
    assert_eq!(set(json!([web, site])).await, 204);
    assert_eq!(fleet.get(&members).await["total_count"], 1, "the public one may not use it");
    assert_eq!(change(json!({ "name": "new", "allows_public_repositories": true })).await.0, 200);
    assert_eq!(fleet.get(&members).await["total_count"], 2);
    assert_eq!(fleet.ask("DELETE", &format!("{groups}/{group}"), None).await.0, 204);
    assert_eq!(fleet.ask("GET", &format!("{groups}/{group}"), None).await.0, 404);

    let repo = "/repos/acme/web/actions";
    assert_eq!(fleet.get(&format!("{repo}/runs?status=in_progress&per_page=100")).await["total_count"], 1);
    assert_eq!(fleet.get(&format!("{repo}/runs?status=waiting")).await["total_count"], 1);
    assert_eq!(fleet.get(&format!("{repo}/runs?status=success")).await["total_count"], 0);
    fleet.get(&format!("{repo}/runs/{run}")).await;
    assert_eq!(fleet.get(&format!("{repo}/runs/{run}/jobs?filter=latest")).await["total_count"], 3);
    assert_eq!(fleet.get(&format!("{repo}/runs/{run}/attempts/1/jobs")).await["total_count"], 3);
    assert_eq!(fleet.ask("GET", &format!("{repo}/runs/{run}/attempts/2/jobs"), None).await.0, 404);
    let job = fleet.get(&format!("{repo}/jobs/{}", done.key.id)).await;
    assert_eq!((&job["conclusion"], &job["runner_name"]), (&json!("failure"), &json!("theirs")));
    assert_eq!(fleet.ask("GET", &format!("{repo}/jobs/1"), None).await.0, 404);
    assert_eq!(fleet.ask("GET", "/nothing/here", None).await.0, 404);
    assert_eq!(nobody.ask("GET", "/app", None).await.0, 401);
    assert_eq!(person.ask("GET", "/orgs/nobody/actions/runners", None).await.0, 404);
    assert_eq!(fleet.ask("DELETE", "/installation/token", None).await.0, 204);
    assert_eq!(fleet.ask("GET", "/installation/repositories", None).await.0, 401);

    let mut answered = BTreeSet::new();
    for exchange in github.exchanges() {
        let (method, path) = (&exchange.method, &exchange.path);
        if path == "/nothing/here" {
            continue;
        }
        check_response(method, path, exchange.status, exchange.response.as_ref()).unwrap();
        if exchange.status < 300 {
            check_request(method, path, &exchange.query, exchange.request.as_ref()).unwrap();
            answered.insert((method.clone(), exchange.template.clone()));
        }
    }
    let missing: Vec<_> = operations().into_iter().filter(|operation| !answered.contains(operation)).collect();
    assert_eq!(missing, [], "operations without a good answer");
}

#[tokio::test]
async fn a_jwt_has_to_keep_githubs_rules() {
    let github = start(with_app()).await;
    let now = jiff::Timestamp::now().as_second();
    let client = "Iv23liSimulated00042";
    let status = async |token: String| Api::new(&github, Some(&token)).ask("GET", "/app", None).await;
    for issuer in [json!(client), json!("4242"), json!(4242)] {
        let (code, body) = status(jwt(&json!({ "iss": issuer, "iat": now - 60, "exp": now + 540 }))).await;
        assert_eq!(code, 200, "{body}");
    }
    for (why, claims) in [
        ("another issuer", json!({ "iss": "someone", "iat": now - 60, "exp": now + 540 })),
        ("no issuer", json!({ "iat": now - 60, "exp": now + 540 })),
        ("expired", json!({ "iss": client, "iat": now - 700, "exp": now - 100 })),
        ("too long", json!({ "iss": client, "iat": now, "exp": now + 700 })),
        ("from the future", json!({ "iss": client, "iat": now + 120, "exp": now + 540 })),
        ("without a beginning", json!({ "iss": client, "exp": now + 540 })),
        ("without an end", json!({ "iss": client, "iat": now })),
    ] {
        let (code, body) = status(jwt(&claims)).await;
        assert_eq!(code, 401, "{why}: {body}");
    }
    let mut forged = good_jwt();
    let last = if forged.ends_with('A') { 'B' } else { 'A' };
    forged.truncate(forged.len() - 10);
    forged.extend(std::iter::repeat_n(last, 10));
    assert_eq!(status(forged).await.0, 401);
    let unsigned = "eyJhbGciOiJub25lIn0.eyJpc3MiOiI0MjQyIn0.".to_owned();
    assert_eq!(status(unsigned).await.0, 401);
    // A JWT is no token, and a token no JWT.
    let app = Api::new(&github, Some(&good_jwt()));
    assert_eq!(app.ask("GET", "/orgs/acme/actions/runners", None).await.0, 403);
    assert_eq!(Api::person(&github).ask("GET", "/app", None).await.0, 401);
}

#[tokio::test]
async fn a_token_does_what_it_was_given_and_lapses() {
    let mut options = with_app();
    options.timings.installation_token = Duration::from_secs(2);
    let github = start(options).await;

    let answer = token(&github, Some(json!({ "permissions": { "actions": "read" } }))).await;
    let text = answer["token"].as_str().unwrap();
    assert!(text.starts_with("ghs_4242_") && text.len() > 450 && text.contains('.'), "{} bytes", text.len());
    let narrowed = Api::new(&github, Some(text));
    let refused = narrowed.send("POST", "/orgs/acme/actions/runners/registration-token", None).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.headers()["x-accepted-github-permissions"], "organization_self_hosted_runners=write");
    narrowed.get("/repos/acme/web/actions/runs").await;

    let one = token(&github, Some(json!({ "repositories": ["web"] }))).await;
    let one = Api::new(&github, one["token"].as_str());
    one.get("/repos/acme/web/actions/runs").await;
    assert_eq!(one.ask("GET", "/repos/acme/api/actions/runs", None).await.0, 404);
    assert_eq!(one.ask("GET", "/repos/octo/tool", None).await.0, 404, "another account's");
    assert_eq!(one.ask("GET", "/orgs/other/actions/runners", None).await.0, 403);
    assert_eq!(one.get("/installation/repositories").await["total_count"], 1);

    let app = Api::new(&github, Some(&good_jwt()));
    for (wish, status) in [
        (json!({ "permissions": { "contents": "write" } }), 422),
        (json!({ "permissions": { "actions": "write" } }), 422),
        (json!({ "permissions": { "actions": "banana" } }), 422),
        (json!({ "repositories": ["nothing"] }), 422),
        (json!({ "repository_ids": ["one"] }), 422),
    ] {
        assert_eq!(
            app.ask("POST", "/app/installations/1001/access_tokens", Some(wish.clone())).await.0,
            status,
            "{wish}"
        );
    }
    github.set_suspended("acme", true);
    assert_eq!(app.ask("POST", "/app/installations/1001/access_tokens", None).await.0, 403);
    github.set_suspended("acme", false);

    let fresh = token(&github, None).await;
    let fresh = Api::new(&github, fresh["token"].as_str());
    fresh.get("/repos/acme/web").await;
    github.revoke_tokens();
    assert_eq!(fresh.ask("GET", "/repos/acme/web", None).await.0, 401);

    let short = token(&github, None).await;
    let end: jiff::Timestamp = short["expires_at"].as_str().unwrap().parse().unwrap();
    let short = Api::new(&github, short["token"].as_str());
    // Bounded by the token's own life.
    while short.ask("GET", "/repos/acme/web", None).await.0 == 200 {
        assert!(jiff::Timestamp::now() < end + Duration::from_secs(2), "it lives on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_jit_config_is_refused_as_github_refuses_it() {
    let github = start(options()).await;
    let api = Api::person(&github);
    api.registered("orgs/acme", "runner-1", &["linux"]).await;
    let (status, body) = api.jit("orgs/acme", "Runner-1", &["linux"]).await;
    assert_eq!(status, 409);
    assert!(body["message"].as_str().unwrap().starts_with("Already exists - A runner with the name"), "{body}");
    // Names are apart between scopes.
    api.registered("repos/acme/web", "runner-1", &["linux"]).await;

    let path = "/orgs/acme/actions/runners/generate-jitconfig";
    let labels: Vec<String> = (0..101).map(|number| format!("label-{number}")).collect();
    for (body, status) in [
        (json!({ "name": "a", "labels": ["x"] }), 422),
        (json!({ "runner_group_id": 1, "labels": ["x"] }), 422),
        (json!({ "name": "a", "runner_group_id": 1 }), 422),
        (json!({ "name": "a", "runner_group_id": 1, "labels": [] }), 422),
        (json!({ "name": "a", "runner_group_id": 1, "labels": labels }), 422),
        (json!({ "name": "a", "runner_group_id": "one", "labels": ["x"] }), 422),
        (json!({ "name": "a", "runner_group_id": 77, "labels": ["x"] }), 404),
        // The default group of another organization.
        (json!({ "name": "a", "runner_group_id": 2, "labels": ["x"] }), 404),
    ] {
        let (code, answer) = api.ask("POST", path, Some(body.clone())).await;
        assert_eq!(code, status, "{body}: {answer}");
        check_response("POST", path, code, Some(&answer)).unwrap();
    }
    let broken = api.request("POST", path).body("{").send().await.unwrap();
    assert_eq!(broken.status(), 400);
}

#[tokio::test]
async fn limits_are_told_and_kept_for_each_resource() {
    let mut options = options();
    options.limits = Limits { core: 3, registration: 1, window: Duration::from_secs(2), ..Limits::default() };
    let github = start(options).await;
    let api = Api::person(&github);
    let first = api.send("GET", "/orgs/acme/actions/runners", None).await;
    assert_eq!(first.headers()["x-ratelimit-limit"], "3");
    assert_eq!(first.headers()["x-ratelimit-remaining"], "2");
    assert_eq!(first.headers()["x-ratelimit-used"], "1");
    assert_eq!(first.headers()["x-ratelimit-resource"], "core");
    let reset: i64 = first.headers()["x-ratelimit-reset"].to_str().unwrap().parse().unwrap();
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();

    // What has not changed is free.
    for _ in 0..5 {
        let again =
            api.request("GET", "/orgs/acme/actions/runners").header("if-none-match", &etag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        assert_eq!(again.headers()["x-ratelimit-remaining"], "2");
    }
    let jit = api.send("POST", "/orgs/acme/actions/runners/registration-token", None).await;
    assert_eq!(jit.headers()["x-ratelimit-resource"], "actions_runner_registration");
    let refused = api.send("POST", "/orgs/acme/actions/runners/registration-token", None).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.headers()["x-ratelimit-remaining"], "0");
    let left = api.get("/rate_limit").await;
    assert_eq!(left["resources"]["actions_runner_registration"]["remaining"], 0);
    assert_eq!(left["resources"]["core"]["remaining"], 2);

    // The other resource is untouched; and all is well after the reset.
    api.get("/orgs/acme/actions/runners").await;
    while api.ask("POST", "/orgs/acme/actions/runners/registration-token", None).await.0 == 403 {
        assert!(jiff::Timestamp::now().as_second() <= reset + 2, "the window does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    github.set_limits(Limits { secondary_points: Some(4), exceeded_status: 429, ..Limits::default() });
    let secondary = api.send("POST", "/orgs/acme/actions/runners/remove-token", None).await;
    assert_eq!((secondary.status().as_u16(), &secondary.headers()["retry-after"]), (403, &"60".parse().unwrap()));
    github.set_limits(Limits { core: 0, exceeded_status: 429, ..Limits::default() });
    assert_eq!(api.ask("GET", "/repos/acme/web", None).await.0, 429);
}

#[tokio::test]
async fn faults_happen_where_and_as_often_as_asked() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let jit = "POST /orgs/{org}/actions/runners/generate-jitconfig";
    github.faults().next(jit, Fault::status(502), 1);
    assert_eq!(api.jit("orgs/acme", "a", &["x"]).await.0, 502);
    assert_eq!(api.jit("orgs/acme", "a", &["x"]).await.0, 201);

    // The answer is lost, but the runner is there: the next try meets it.
    github.faults().next(jit, Fault::answer_lost(), 1);
    assert_eq!(api.jit("orgs/acme", "b", &["x"]).await.0, 502);
    assert_eq!(api.jit("orgs/acme", "b", &["x"]).await.0, 409);

    github.faults().next("GET /orgs", Fault::status(403).header("retry-after", "7").body("<html>no</html>"), 1);
    let spoilt = api.send("GET", "/orgs/acme/actions/runners", None).await;
    assert_eq!((spoilt.status().as_u16(), &spoilt.headers()["retry-after"]), (403, &"7".parse().unwrap()));
    assert_eq!(spoilt.text().await.unwrap(), "<html>no</html>");

    github.faults().next("* /orgs/acme", Fault::connection_cut(), 1);
    api.request("GET", "/orgs/acme/actions/runners").send().await.unwrap_err();

    github.faults().next("GET /orgs", Fault::late(Duration::from_secs(60)), 1);
    let hanging = api.request("GET", "/orgs/acme/actions/runners").timeout(Duration::from_millis(200)).send().await;
    assert!(hanging.unwrap_err().is_timeout());
    assert_eq!(github.requests("GET /orgs/{org}/actions/runners").len(), 3);
    github.wait_for_requests("POST /orgs", 4, PATIENCE).await.unwrap();
    assert!(github.exchanges().iter().filter(|exchange| exchange.faulty).count() == 5);
    api.get("/orgs/acme/actions/runners").await;
}

#[tokio::test]
async fn an_outage_comes_and_goes() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let jit = api.registered("orgs/acme", "steady", &["linux"]).await;
    let agent = Running::start(&jit);
    online(&github, "steady").await;
    github.set_outage(Outage::Api);
    assert_eq!(api.ask("GET", "/meta", None).await.0, 503);
    github.set_down(true);
    // A connection that is open gets a 503, a new one is closed.
    let fresh = Api::person(&github);
    fresh.request("GET", "/meta").send().await.unwrap_err();
    github.set_down(false);
    fresh.get("/meta").await;
    let job = github.queue_job(JobSpec::new("acme/web", ["linux"]));
    github.wait_for_job(job, PATIENCE).await.unwrap();
    let (_, lines) = agent.ended().await;
    let told = lines.iter().filter(|line| line.contains("Runner connect error:")).count();
    assert!(told <= 1, "an outage is told once: {lines:#?}");
}

#[tokio::test]
async fn lists_have_pages_and_links() {
    let github = start(options()).await;
    let api = Api::person(&github);
    for number in 0..5 {
        api.registered("orgs/acme", &format!("r{number}"), &["x"]).await;
    }
    let first = api.send("GET", "/orgs/acme/actions/runners?per_page=2", None).await;
    let link = first.headers()["link"].to_str().unwrap().to_owned();
    let next = format!("<{}/orgs/acme/actions/runners?per_page=2&page=2>; rel=\"next\"", github.api_url());
    assert!(link.contains(&next) && link.contains("rel=\"last\""), "{link}");
    let names = |body: &Value| -> Vec<String> {
        body["runners"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let body: Value = first.json().await.unwrap();
    assert_eq!((names(&body), &body["total_count"]), (vec!["r0".to_owned(), "r1".to_owned()], &json!(5)));
    let last = api.send("GET", "/orgs/acme/actions/runners?per_page=2&page=3", None).await;
    assert!(!last.headers()["link"].to_str().unwrap().contains("rel=\"next\""));
    assert_eq!(names(&last.json().await.unwrap()), ["r4"]);
}

#[tokio::test]
async fn it_can_look_like_enterprise_server() {
    let github = start(Options { base_path: "/api/v3".into(), ..options() }).await;
    assert!(github.api_url().ends_with("/api/v3"));
    let api = Api::new(&github, Some(PERSON));
    let jit = api.registered("orgs/acme", "on-premises", &["linux"]).await;
    let bare = api.client.get(format!("{}/meta", github.web_url())).send().await.unwrap();
    assert_eq!(bare.status(), 404);
    let agent = Running::start(&jit);
    let job = github.queue_job(JobSpec::new("acme/web", ["linux"]));
    assert_eq!(github.wait_for_job(job, PATIENCE).await.unwrap().conclusion, Some(Conclusion::Success));
    agent.ended().await;
}

#[tokio::test]
async fn busy_comes_late() {
    let mut options = options();
    options.timings = Timings { busy_lag: Duration::from_secs(2), ..Timings::fast() };
    let github = start(options).await;
    let api = Api::person(&github);
    let scope = runnerfleet::model::Scope::Organization("acme".into());
    let id = github.add_foreign_runner(&scope, "lagging", ["linux"], false).unwrap();
    let job = github.queue_job(JobSpec::new("acme/web", ["linux"]).lasting(Duration::from_secs(4)));
    assert!(github.steal(job, "lagging"));
    let path = format!("/orgs/acme/actions/runners/{id}");
    assert_eq!(api.get(&path).await["busy"], false, "the lie in one direction");
    assert_eq!(api.ask("DELETE", &path, None).await.0, 422, "a deletion knows better");
    let until = async |busy: bool| {
        while api.get(&path).await["busy"] != busy {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until(true)).await.unwrap();
    github.wait_for_job(job, PATIENCE).await.unwrap();
    assert_eq!(api.get(&path).await["busy"], true, "the lie in the other");
    tokio::time::timeout(PATIENCE, until(false)).await.unwrap();
}
