//! The shapes of GitHub's JSON: of webhook payloads and of API answers. Full size, all URL fields included: a receiver
//! has to cope with what is really sent.

use super::model::{Group, Job, Owner, Repo, Run, RunnerStamp, Urls, steps};
use super::options::{AccountKind, App, Installation};
use crate::model::Scope;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A moment as GitHub writes it: whole seconds, UTC.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A `node_id`: opaque to everyone, here as there.
fn node_id(kind: &str, id: u64) -> String {
    STANDARD.encode(format!("0{}:{kind}{id}", kind.len()))
}

/// What never changes about this GitHub.
fn epoch() -> &'static str {
    "2024-02-01T09:30:00Z"
}

/// A user or an organization as `simple-user`.
pub(super) fn account(urls: &Urls, login: &str, id: u64, kind: AccountKind) -> Value {
    let (api, web) = (format!("{}/users/{login}", urls.api), format!("{}/{login}", urls.web));
    let word = match kind {
        AccountKind::Organization => "Organization",
        AccountKind::User => "User",
    };
    json!({
        "login": login,
        "id": id,
        "node_id": node_id(word, id),
        "avatar_url": format!("{}/avatars/u/{id}?v=4", urls.web),
        "gravatar_id": "",
        "url": api,
        "html_url": web,
        "followers_url": format!("{api}/followers"),
        "following_url": format!("{api}/following{{/other_user}}"),
        "gists_url": format!("{api}/gists{{/gist_id}}"),
        "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{api}/subscriptions"),
        "organizations_url": format!("{api}/orgs"),
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events{{/privacy}}"),
        "received_events_url": format!("{api}/received_events"),
        "type": word,
        "user_view_type": "public",
        "site_admin": false,
    })
}

/// The person behind every event of this GitHub.
pub(super) fn sender(urls: &Urls) -> Value {
    account(urls, "mona", 583_231, AccountKind::User)
}

/// An organization as events carry it.
fn organization(urls: &Urls, owner: &Owner) -> Value {
    let api = format!("{}/orgs/{}", urls.api, owner.login);
    json!({
        "login": owner.login,
        "id": owner.id,
        "node_id": node_id("Organization", owner.id),
        "url": api,
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events"),
        "hooks_url": format!("{api}/hooks"),
        "issues_url": format!("{api}/issues"),
        "members_url": format!("{api}/members{{/member}}"),
        "public_members_url": format!("{api}/public_members{{/member}}"),
        "avatar_url": format!("{}/avatars/u/{}?v=4", urls.web, owner.id),
        "description": null,
    })
}

/// A repository as installation events carry it.
pub(super) fn short_repository(repo: &Repo) -> Value {
    json!({
        "id": repo.id,
        "node_id": node_id("Repository", repo.id),
        "name": repo.name,
        "full_name": repo.full_name(),
        "private": repo.private,
    })
}

/// The URL fields of a repository: name, and what follows the repository's own URL.
const REPOSITORY_URLS: [(&str, &str); 37] = [
    ("forks_url", "/forks"),
    ("keys_url", "/keys{/key_id}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("teams_url", "/teams"),
    ("hooks_url", "/hooks"),
    ("issue_events_url", "/issues/events{/number}"),
    ("events_url", "/events"),
    ("assignees_url", "/assignees{/user}"),
    ("branches_url", "/branches{/branch}"),
    ("tags_url", "/tags"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("trees_url", "/git/trees{/sha}"),
    ("statuses_url", "/statuses/{sha}"),
    ("languages_url", "/languages"),
    ("stargazers_url", "/stargazers"),
    ("contributors_url", "/contributors"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("commits_url", "/commits{/sha}"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("comments_url", "/comments{/number}"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("contents_url", "/contents/{+path}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("merges_url", "/merges"),
    ("archive_url", "/{archive_format}{/ref}"),
    ("downloads_url", "/downloads"),
    ("issues_url", "/issues{/number}"),
    ("pulls_url", "/pulls{/number}"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("labels_url", "/labels{/name}"),
    ("releases_url", "/releases{/id}"),
    ("deployments_url", "/deployments"),
    ("url", ""),
];

/// A repository, with everything that the full shape demands; the smaller shapes allow more than they ask for.
pub(super) fn repository(urls: &Urls, repo: &Repo, owner: &Owner) -> Value {
    let full_name = repo.full_name();
    let (api, web) = (format!("{}/repos/{full_name}", urls.api), format!("{}/{full_name}", urls.web));
    let mut fields = Map::new();
    for (name, path) in REPOSITORY_URLS {
        fields.insert(name.to_owned(), json!(format!("{api}{path}")));
    }
    let rest = json!({
        "id": repo.id,
        "node_id": node_id("Repository", repo.id),
        "name": repo.name,
        "full_name": full_name,
        "private": repo.private,
        "visibility": if repo.private { "private" } else { "public" },
        "owner": account(urls, &owner.login, owner.id, owner.kind),
        "html_url": web,
        "description": "A repository of the simulated GitHub",
        "fork": repo.fork,
        "created_at": epoch(),
        "updated_at": epoch(),
        "pushed_at": repo.pushed_at.map_or_else(|| epoch().to_owned(), moment),
        "git_url": format!("{}.git", web.replacen("http", "git", 1)),
        "ssh_url": format!("git@localhost:{full_name}.git"),
        "clone_url": format!("{web}.git"),
        "svn_url": web,
    });
    // The second half; one literal of this size is too deep for the macro.
    let more = json!({
        "homepage": null,
        "size": 12,
        "stargazers_count": 0,
        "watchers_count": 0,
        "language": "Rust",
        "has_issues": true,
        "has_projects": true,
        "has_downloads": true,
        "has_wiki": true,
        "has_pages": false,
        "has_discussions": false,
        "forks_count": 0,
        "network_count": 0,
        "subscribers_count": 1,
        "mirror_url": null,
        "archived": false,
        "disabled": false,
        "open_issues_count": 0,
        "license": null,
        "allow_forking": true,
        "is_template": false,
        "web_commit_signoff_required": false,
        "topics": [],
        "forks": 0,
        "open_issues": 0,
        "watchers": 0,
        "default_branch": "main",
        "custom_properties": {},
    });
    for half in [rest, more] {
        if let Value::Object(half) = half {
            fields.extend(half);
        }
    }
    Value::Object(fields)
}

/// A commit id that follows from the run.
fn sha(run: u64) -> String {
    format!("{:040x}", u128::from(run).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

/// A job as the API and the events show it.
pub(super) fn job(urls: &Urls, job: &Job) -> Value {
    let api = format!("{}/repos/{}", urls.api, job.spec.repository);
    let web = format!("{}/{}", urls.web, job.spec.repository);
    let id = job.key.id;
    let stamp = |value: fn(&RunnerStamp) -> Value| job.runner.as_ref().map_or(Value::Null, value);
    json!({
        "id": id.0,
        "run_id": job.run_id,
        "workflow_name": job.spec.workflow,
        "head_branch": "main",
        "run_url": format!("{api}/actions/runs/{}", job.run_id),
        "run_attempt": job.key.attempt,
        "node_id": node_id("CheckRun", id.0),
        "head_sha": sha(job.run_id),
        "url": format!("{api}/actions/jobs/{id}"),
        "html_url": format!("{web}/actions/runs/{}/job/{id}", job.run_id),
        "status": job.stage.status(),
        "conclusion": job.conclusion.map(super::model::Conclusion::as_str),
        "created_at": moment(job.created_at),
        // Before a job begins GitHub gives the moment of its creation here.
        "started_at": moment(job.started_at.unwrap_or(job.created_at)),
        "completed_at": job.completed_at.map(moment),
        "name": job.spec.name,
        "steps": steps(job),
        "check_run_url": format!("{api}/check-runs/{id}"),
        "labels": job.spec.labels,
        "runner_id": stamp(|it| json!(it.id)),
        "runner_name": stamp(|it| json!(it.name)),
        "runner_group_id": stamp(|it| json!(it.group_id)),
        "runner_group_name": stamp(|it| json!(it.group_name)),
    })
}

/// The deployment that a job with an environment carries.
fn deployment(urls: &Urls, it: &Job) -> Value {
    let api = format!("{}/repos/{}", urls.api, it.spec.repository);
    let id = it.key.id.0 / 7;
    json!({
        "url": format!("{api}/deployments/{id}"),
        "id": id,
        "node_id": node_id("Deployment", id),
        "task": "deploy",
        "original_environment": it.spec.environment,
        "environment": it.spec.environment,
        "description": null,
        "created_at": moment(it.created_at),
        "updated_at": moment(it.created_at),
        "statuses_url": format!("{api}/deployments/{id}/statuses"),
        "repository_url": api,
        "creator": sender(urls),
        "sha": sha(it.run_id),
        "ref": "main",
        "payload": {},
        "transient_environment": false,
        "production_environment": false,
        "performed_via_github_app": null,
    })
}

/// A `workflow_job` event.
pub(super) fn workflow_job_event(
    urls: &Urls,
    action: &str,
    it: &Job,
    repo: &Repo,
    owner: &Owner,
    installation: u64,
) -> Value {
    let mut event = json!({
        "action": action,
        "workflow_job": job(urls, it),
        "repository": repository(urls, repo, owner),
        "sender": sender(urls),
        "installation": { "id": installation, "node_id": node_id("IntegrationInstallation", installation) },
    });
    if owner.kind == AccountKind::Organization {
        event["organization"] = organization(urls, owner);
    }
    if it.spec.environment.is_some() {
        event["deployment"] = deployment(urls, it);
    }
    event
}

/// A `ping` event of an App's hook.
pub(super) fn ping_event(urls: &Urls, app: &App, hook: u64, target: &str) -> Value {
    json!({
        "zen": "Approachable is better than simple.",
        "hook_id": hook,
        "hook": {
            "type": "App",
            "id": hook,
            "name": "web",
            "active": true,
            "events": ["workflow_job"],
            "config": { "content_type": "json", "insecure_ssl": "0", "secret": "********", "url": target },
            "updated_at": epoch(),
            "created_at": epoch(),
            "app_id": app.id,
            "deliveries_url": format!("{}/app/hook/deliveries", urls.api),
        },
    })
}

/// A workflow run.
pub(super) fn run(
    urls: &Urls,
    it: &Run,
    status: (&str, Option<super::model::Conclusion>),
    repo: &Repo,
    owner: &Owner,
) -> Value {
    let repository_url = format!("{}/repos/{}", urls.api, it.repository);
    let api = format!("{repository_url}/actions/runs/{}", it.id);
    let repository = repository(urls, repo, owner);
    json!({
        "id": it.id,
        "name": it.workflow,
        "node_id": node_id("WorkflowRun", it.id),
        "check_suite_id": it.id + 1,
        "check_suite_node_id": node_id("CheckSuite", it.id + 1),
        "head_branch": "main",
        "head_sha": sha(it.id),
        "path": ".github/workflows/ci.yml",
        "run_number": it.number,
        "run_attempt": it.attempt,
        "referenced_workflows": [],
        "event": it.event,
        "display_title": "Improve the tests",
        "status": status.0,
        "conclusion": status.1.map(super::model::Conclusion::as_str),
        "workflow_id": 159_038,
        "url": api,
        "html_url": format!("{}/{}/actions/runs/{}", urls.web, it.repository, it.id),
        "pull_requests": [],
        "created_at": moment(it.created_at),
        "updated_at": moment(it.created_at),
        "actor": sender(urls),
        "triggering_actor": sender(urls),
        "run_started_at": moment(it.created_at),
        "jobs_url": format!("{api}/jobs"),
        "logs_url": format!("{api}/logs"),
        "check_suite_url": format!("{repository_url}/check-suites/{}", it.id + 1),
        "artifacts_url": format!("{api}/artifacts"),
        "cancel_url": format!("{api}/cancel"),
        "rerun_url": format!("{api}/rerun"),
        "previous_attempt_url": (it.attempt > 1).then(|| format!("{api}/attempts/{}", it.attempt - 1)),
        "workflow_url": format!("{repository_url}/actions/workflows/159038"),
        "head_commit": {
            "id": sha(it.id),
            "tree_id": sha(it.id + 1),
            "message": "Improve the tests",
            "timestamp": moment(it.created_at),
            "author": { "name": "Mona", "email": "mona@example.com" },
            "committer": { "name": "GitHub", "email": "noreply@example.com" },
        },
        "head_repository": head_repository(&repository, it.head_repository.as_deref()),
        "repository": repository,
    })
}

/// Where a run's commit comes from: the repository itself, or a fork of it.
fn head_repository(repository: &Value, fork: Option<&str>) -> Value {
    let mut head = repository.clone();
    if let Some((owner, name)) = fork.and_then(|fork| fork.split_once('/')) {
        head["id"] = json!(repository["id"].as_u64().unwrap_or_default() + 1_000_000);
        head["name"] = json!(name);
        head["full_name"] = json!(format!("{owner}/{name}"));
        head["owner"]["login"] = json!(owner);
        head["fork"] = json!(true);
    }
    head
}

/// A runner.
pub(super) fn runner(it: &super::model::Runner, online: bool, busy: bool) -> Value {
    let read_only = ["self-hosted", "linux", "x64", "arm64"];
    let labels: Vec<Value> = (1u64..)
        .zip(it.labels.iter())
        .map(|(id, name)| {
            let kind = if read_only.contains(&name) { "read-only" } else { "custom" };
            json!({ "id": id, "name": name, "type": kind })
        })
        .collect();
    json!({
        "id": it.id,
        "runner_group_id": it.group_id,
        "name": it.name,
        "os": if it.version.is_some() || it.foreign { "Linux" } else { "unknown" },
        "status": if online { "online" } else { "offline" },
        "busy": busy,
        "labels": labels,
        "ephemeral": it.ephemeral,
        "version": it.version,
    })
}

/// A runner group.
pub(super) fn group(urls: &Urls, it: &Group) -> Value {
    let api = format!("{}/orgs/{}/actions/runner-groups/{}", urls.api, it.organization, it.id);
    let mut shown = json!({
        "id": it.id,
        "name": it.name,
        "visibility": it.visibility.word(),
        "default": it.default,
        "runners_url": format!("{api}/runners"),
        "hosted_runners_url": format!("{api}/hosted-runners"),
        "inherited": false,
        "allows_public_repositories": it.allows_public,
        "restricted_to_workflows": false,
        "selected_workflows": [],
        "workflow_restrictions_read_only": false,
    });
    if it.visibility.word() == "selected" {
        shown["selected_repositories_url"] = json!(format!("{api}/repositories"));
    }
    shown
}

/// An installation.
pub(super) fn installation(urls: &Urls, app: &App, owner: &Owner, it: &Installation) -> Value {
    let (target, page) = match owner.kind {
        AccountKind::Organization => {
            ("Organization", format!("{}/organizations/{}/settings/installations/{}", urls.web, owner.login, it.id))
        }
        AccountKind::User => ("User", format!("{}/settings/installations/{}", urls.web, it.id)),
    };
    json!({
        "id": it.id,
        "client_id": app.client_id,
        "account": account(urls, &owner.login, owner.id, owner.kind),
        "repository_selection": if it.repositories.is_some() { "selected" } else { "all" },
        "access_tokens_url": format!("{}/app/installations/{}/access_tokens", urls.api, it.id),
        "repositories_url": format!("{}/installation/repositories", urls.api),
        "html_url": page,
        "app_id": app.id,
        "app_slug": app.slug,
        "target_id": owner.id,
        "target_type": target,
        "permissions": it.permissions,
        "events": app.events,
        "created_at": epoch(),
        "updated_at": epoch(),
        "single_file_name": null,
        "has_multiple_single_files": false,
        "single_file_paths": [],
        "suspended_by": if it.suspended { sender(urls) } else { Value::Null },
        "suspended_at": it.suspended.then(epoch),
    })
}

/// The App itself.
pub(super) fn app(urls: &Urls, it: &App, owner: &Owner, installations: usize) -> Value {
    json!({
        "id": it.id,
        "slug": it.slug,
        "node_id": node_id("Integration", it.id),
        "client_id": it.client_id,
        "owner": account(urls, &owner.login, owner.id, owner.kind),
        "name": it.name,
        "description": "Runners for queued jobs",
        "external_url": urls.web,
        "html_url": format!("{}/apps/{}", urls.web, it.slug),
        "created_at": epoch(),
        "updated_at": epoch(),
        "permissions": it.permissions,
        "events": it.events,
        "installations_count": installations,
    })
}

/// The web page of a scope.
pub(super) fn scope_url(urls: &Urls, scope: &Scope) -> String {
    format!("{}/{scope}", urls.web)
}
