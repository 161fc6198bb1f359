use super::*;
use crate::support::openapi::check_request;
use runnerfleet::github::NewGroup;
use runnerfleet::model::{Group, RepoName, Visibility};

const GROUPS: &str = "GET /orgs/acme/actions/runner-groups";
const MAKE: &str = "POST /orgs/acme/actions/runner-groups";
const MEMBERS: &str = "GET /orgs/acme/actions/runner-groups/9/repositories";
const SET_MEMBERS: &str = "PUT /orgs/acme/actions/runner-groups/9/repositories";
const CHANGE: &str = "PATCH /orgs/acme/actions/runner-groups/9";

fn group(id: u64, name: &str, visibility: &str) -> Value {
    json!({ "id": id, "name": name, "visibility": visibility, "default": id == 1, "allows_public_repositories": id == 7 })
}

fn groups(groups: &[Value]) -> Reply {
    Reply::json(200, &json!({ "total_count": groups.len(), "runner_groups": groups }))
}

fn members(names: &[(u64, &str)]) -> Reply {
    let list: Vec<Value> = names.iter().map(|(id, name)| json!({ "id": id, "full_name": name })).collect();
    Reply::json(200, &json!({ "total_count": names.len(), "repositories": list }))
}

#[tokio::test]
async fn only_the_lists_of_groups_in_use_are_read() {
    let server = Server::start().await;
    let client = client(&server);
    let all = [
        group(1, "Default", "all"),
        group(7, "open", "private"),
        group(8, "other", "selected"),
        group(9, "GPU", "selected"),
    ];
    server.on(GROUPS, [groups(&all)]);
    server.on(MEMBERS, [members(&[(5, "acme/Web"), (6, "acme/api")])]);
    let seen = client.runner_groups("acme", |name, _| name == "GPU").await.unwrap();
    let brief: Vec<_> = seen.iter().map(|it| (it.id, it.is_default, it.allows_public, it.visibility.clone())).collect();
    let names = ["acme/web", "acme/api"].map(str::to_owned).into();
    assert_eq!(
        brief,
        [
            (1, true, false, Visibility::All),
            (7, false, true, Visibility::Private),
            (8, false, false, Visibility::Selected(None)),
            (9, false, false, Visibility::Selected(Some(names))),
        ]
    );
    let gpu: &Group = &seen[3];
    assert_eq!(gpu.hidden_from(&RepoName::new("acme/WEB"), Some(true)), None);
    // What was seen serves the next runner: GitHub is not asked for the list again.
    server.on(ORG_JIT, [jit_made(23)]);
    jit(&client, &acme(), Some("gpu")).await.unwrap();
    assert_eq!(server.asked(GROUPS).len(), 1);
    assert_eq!(server.asked(ORG_JIT)[0].body["runner_group_id"], 9);
}

/// Number 1 is the default group of most organizations, and not of all.
#[tokio::test]
async fn a_default_group_with_another_number_is_found_when_it_is_needed() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_JIT, [Reply::message(404, "Runner group 1 not found"), jit_made(23)]);
    let default = json!({ "id": 4, "name": "Default", "visibility": "all", "default": true });
    server.on(GROUPS, [groups(&[group(9, "GPU", "all"), default])]);
    jit(&client, &acme(), None).await.unwrap();
    jit(&client, &acme(), None).await.unwrap();
    let asked: Vec<_> = server.asked(ORG_JIT).iter().map(|asked| asked.body["runner_group_id"].clone()).collect();
    assert_eq!(asked, [1, 4, 4]);
    assert_eq!(server.asked(GROUPS).len(), 1);
}

#[tokio::test]
async fn a_group_is_made_and_changed_as_github_describes_it() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(MAKE, [Reply::json(201, &group(9, "builders", "selected")), Reply::message(409, "Already exists")]);
    server.on(SET_MEMBERS, [Reply::text(204, "")]);
    server.on(CHANGE, [Reply::json(200, &group(9, "builders", "selected")), Reply::message(403, "Forbidden")]);
    let new = NewGroup { name: "builders", repositories: &[5, 6], allows_public: false };
    assert_eq!(client.create_group("acme", &new).await.unwrap(), 9);
    client.set_group_repositories("acme", 9, &[5]).await.unwrap();
    client.set_group_bounds("acme", (9, "builders"), true).await.unwrap();
    for (route, body) in [
        (
            MAKE,
            json!({
                "name": "builders", "visibility": "selected", "selected_repository_ids": [5, 6],
                "allows_public_repositories": false,
            }),
        ),
        (SET_MEMBERS, json!({ "selected_repository_ids": [5] })),
        (CHANGE, json!({ "name": "builders", "visibility": "selected", "allows_public_repositories": true })),
    ] {
        let asked = &server.asked(route)[0];
        assert_eq!(asked.body, body);
        let (method, path) = route.split_once(' ').unwrap();
        check_request(method, path, "", Some(&asked.body)).unwrap();
    }
    // A second one of that name, and a permission that is missing.
    let error = client.create_group("acme", &new).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot make runner group `builders` of `acme`: GitHub refuses the request: Already exists"
    );
    assert_eq!(server.asked(MAKE).len(), 2, "a group is never asked for twice by itself");
    let error = client.set_group_bounds("acme", (9, "builders"), true).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
}
