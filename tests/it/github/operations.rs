use super::*;
use runnerfleet::github::Deleted;
use runnerfleet::model::{JobAction, JobId, RegistrationId, RegistrationStatus, RepoName};
use secrecy::ExposeSecret;

const GROUPS: &str = "GET /orgs/acme/actions/runner-groups";

fn groups(names: &[(u64, &str)]) -> Reply {
    let groups: Vec<Value> = names.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect();
    Reply::json(200, &json!({ "total_count": names.len(), "runner_groups": groups }))
}

#[tokio::test]
async fn a_jit_runner_is_registered_with_all_that_it_needs() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_JIT, [jit_made(23)]);
    server.on("POST /repos/acme/web/actions/runners/generate-jitconfig", [jit_made(24)]);
    let made = jit(&client, &acme(), None).await.unwrap();
    assert_eq!(made.id, RegistrationId(23));
    assert_eq!(made.config.expose_secret(), "c2VjcmV0");
    assert!(!format!("{made:?}").contains("c2VjcmV0"));
    // A repository has no groups, whatever the pool names.
    assert_eq!(jit(&client, &web(), Some("gpu")).await.unwrap().id, RegistrationId(24));
    let asked = &server.asked(ORG_JIT)[0];
    assert_eq!(
        asked.body,
        json!({ "name": "linux-7", "runner_group_id": 1, "labels": ["linux", "self-hosted"], "work_folder": "_work" })
    );
    assert_eq!(asked.headers["authorization"], "Bearer ghp_personal");
}

#[tokio::test]
async fn a_group_is_found_by_name_and_remembered() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_JIT, [jit_made(23)]);
    server.on(GROUPS, [groups(&[(1, "Default"), (9, "GPU machines")])]);
    for _ in 0..3 {
        jit(&client, &acme(), Some("gpu machines")).await.unwrap();
    }
    assert!(server.asked(ORG_JIT).iter().all(|asked| asked.body["runner_group_id"] == 9));
    assert_eq!(server.asked(GROUPS).len(), 1);

    let error = jit(&client, &acme(), Some("tpu")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot find runner group `tpu` of `acme`: there is none of that name; there are: `Default`, `GPU machines`"
    );

    // Deleted and made again under another id: the 404 makes us look.
    server.on(ORG_JIT, [Reply::message(404, "Not Found"), jit_made(24)]);
    server.on(GROUPS, [groups(&[(12, "GPU machines")])]);
    assert!(matches!(jit(&client, &acme(), Some("GPU machines")).await, Err(Error::NotFound { .. })));
    jit(&client, &acme(), Some("GPU machines")).await.unwrap();
    assert_eq!(server.asked(ORG_JIT).last().unwrap().body["runner_group_id"], 12);
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_as_such() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_JIT, [Reply::message(409, "Already exists - A runner with the name linux-7 already exists.")]);
    let error = jit(&client, &acme(), None).await.unwrap_err();
    assert_eq!(error, Error::NameTaken { name: RunnerName::new("linux-7") });
    assert!(!error.is_transient());
}

#[tokio::test]
async fn all_pages_of_a_long_list_are_read() {
    let server = Server::start().await;
    let client = app(&server);
    let all: Vec<Value> = (1..=250).map(|id| listed(id, &format!("r{id}"))).collect();
    server.on(ORG_RUNNERS, [list(250, &all[..100]), list(250, &all[100..200]), list(250, &all[200..])]);
    let runners = client.runners(&acme()).await.unwrap();
    assert_eq!(runners.len(), 250);
    assert_eq!(runners[0].status, RegistrationStatus::Online);
    assert_eq!(runners[0].labels.to_vec(), ["linux"]);
    let asked = server.asked(ORG_RUNNERS);
    let queries: Vec<&str> = asked.iter().map(|asked| asked.query.as_str()).collect();
    assert_eq!(queries, ["per_page=100&page=1", "per_page=100&page=2", "per_page=100&page=3"]);
    assert!(asked.iter().all(|asked| asked.headers["authorization"] == "Bearer ghs_first"));
}

#[tokio::test]
async fn a_runner_is_found_by_name_also_where_the_server_ignores_the_name() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_RUNNERS, [list(1, &[listed(7, "linux-7")])]);
    let found = client.runner_named(&acme(), &RunnerName::new("Linux-7")).await.unwrap();
    assert_eq!(found.unwrap().id, RegistrationId(7));
    assert_eq!(server.asked(ORG_RUNNERS)[0].query, "name=Linux-7&per_page=100&page=1");

    server.on(ORG_RUNNERS, [list(0, &[])]);
    assert_eq!(client.runner_named(&acme(), &RunnerName::new("linux-7")).await.unwrap(), None);

    let all: Vec<Value> = (1..=120).map(|id| listed(id, &format!("r{id}"))).collect();
    let pages = || [list(120, &all[..100]), list(120, &all[..100]), list(120, &all[100..])];
    server.on(ORG_RUNNERS, pages());
    let found = client.runner_named(&acme(), &RunnerName::new("r117")).await.unwrap();
    assert_eq!(found.unwrap().id, RegistrationId(117));
    server.on(ORG_RUNNERS, pages());
    assert_eq!(client.runner_named(&acme(), &RunnerName::new("linux-7")).await.unwrap(), None);
}

#[tokio::test]
async fn the_end_of_a_registration_has_three_outcomes() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(
        "DELETE /orgs/acme/actions/runners/7",
        [
            Reply::message(422, "Bad request - Runner \"linux-7\" is still running a job"),
            Reply::text(204, ""),
            Reply::message(404, "Not Found"),
        ],
    );
    let busy = client.delete_runner(&acme(), RegistrationId(7)).await.unwrap_err();
    assert!(matches!(&busy, Error::Busy { message } if message.contains("still running a job")), "{busy:?}");
    assert!(busy.is_transient());
    assert_eq!(client.delete_runner(&acme(), RegistrationId(7)).await.unwrap(), Deleted::Deleted);
    assert_eq!(client.delete_runner(&acme(), RegistrationId(7)).await.unwrap(), Deleted::WasGone);
}

#[tokio::test]
async fn a_job_is_told_as_an_event() {
    let server = Server::start().await;
    let client = client(&server);
    let route = "GET /repos/acme/web/actions/jobs/3";
    let repository = RepoName::new("acme/web");
    let job = |status: &str, conclusion: Value, runner: Value| {
        let job = json!({
            "id": 3, "run_id": 2, "run_attempt": 4, "status": status, "conclusion": conclusion, "name": "build",
            "workflow_name": "CI", "labels": ["Linux"], "runner_name": runner, "created_at": "2026-11-22T10:00:00Z",
            "html_url": "https://github.com/acme/web/actions/runs/2/job/3",
        });
        Reply::json(200, &job)
    };
    let runner = Some(RunnerName::new("linux-7"));
    for (reply, expected) in [
        (job("queued", Value::Null, Value::Null), JobAction::Queued),
        (job("waiting", Value::Null, json!("")), JobAction::Waiting),
        (job("pending", Value::Null, Value::Null), JobAction::Waiting),
        (job("requested", Value::Null, Value::Null), JobAction::Waiting),
        (job("levitating", Value::Null, Value::Null), JobAction::Waiting),
        (job("in_progress", Value::Null, json!("linux-7")), JobAction::InProgress { runner: runner.clone() }),
        (
            job("completed", json!("success"), json!("linux-7")),
            JobAction::Completed { conclusion: "success".to_owned(), runner },
        ),
        (
            job("completed", json!("cancelled"), json!("")),
            JobAction::Completed { conclusion: "cancelled".to_owned(), runner: None },
        ),
    ] {
        server.on(route, [reply]);
        let event = client.job(&repository, Some(8), JobId(3)).await.unwrap().unwrap();
        assert_eq!(event.action, expected);
        assert_eq!(event.job.key.attempt, 4);
        assert_eq!(event.job.labels.to_vec(), ["linux"]);
        assert_eq!((event.job.repository, event.job.installation), (repository.clone(), Some(8)));
    }
    server.on(route, [Reply::message(404, "Not Found")]);
    assert_eq!(client.job(&repository, None, JobId(3)).await.unwrap(), None);
    let before = server.count();
    for strange in ["../x", "acme", "acme/web/x", "acme/w?b"] {
        let refused = client.job(&RepoName::new(strange), None, JobId(3)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{strange}");
    }
    assert_eq!(server.count(), before);
}

#[tokio::test]
async fn the_networks_of_hooks_are_asked_for_without_a_token() {
    let server = Server::start().await;
    let meta = |hooks: Value| Reply::json(200, &json!({ "verifiable_password_authentication": false, "hooks": hooks }));
    let hooks = json!(["192.30.252.0/22", "2606:50c0::/32", "192.0.2.7/32"]);
    for client in [client(&server), app(&server)] {
        server.on("GET /meta", [meta(hooks.clone())]);
        let networks: Vec<_> = client.hook_networks().await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(json!(networks), hooks);
        for none in [meta(json!([])), meta(Value::Null), meta(json!(["example.org"]))] {
            server.on("GET /meta", [none]);
            let error = client.hook_networks().await.unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        }
    }
    assert!(server.asked("GET /meta").iter().all(|asked| !asked.headers.contains_key("authorization")));
    server
        .on("GET /meta", [Reply::message(403, "no").header("x-ratelimit-remaining", "0").header("retry-after", "60")]);
    assert!(matches!(client(&server).hook_networks().await, Err(Error::RateLimited { .. })));
}
