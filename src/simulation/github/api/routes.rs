//! The table of routes.

use super::call::Call;
use super::http::decode;
use super::{app, groups, hooks, runners, runs};
use crate::simulation::github::answer::{Answer, Refusal};
use crate::simulation::github::budget::Resource;
use std::collections::BTreeMap;

/// What a route demands of its caller.
#[derive(Debug, Clone, Copy)]
pub(super) enum Needs {
    /// Nothing.
    Nobody,
    /// The App's JWT.
    App,
    /// An installation's token, or a personal one.
    Token,
    /// A permission on the organization of the path.
    Organization(&'static str, &'static str),
    /// A permission on the repository of the path.
    Repository(&'static str, &'static str),
}

pub(super) type Handler = fn(&Call<'_>) -> Result<Answer, Refusal>;

/// One operation, with its path as GitHub's description writes it.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) template: &'static str,
    pub(super) needs: Needs,
    pub(super) resource: Resource,
    pub(super) handler: Handler,
}

const fn route(method: &'static str, template: &'static str, needs: Needs, handler: Handler) -> Route {
    Route { method, template, needs, resource: Resource::Core, handler }
}

const fn counted(resource: Resource, route: Route) -> Route {
    Route { resource, ..route }
}

const ORG_READ: Needs = Needs::Organization("organization_self_hosted_runners", "read");
const ORG_WRITE: Needs = Needs::Organization("organization_self_hosted_runners", "write");
const REPO_READ: Needs = Needs::Repository("administration", "read");
const REPO_WRITE: Needs = Needs::Repository("administration", "write");
const ACTIONS: Needs = Needs::Repository("actions", "read");
const METADATA: Needs = Needs::Repository("metadata", "read");

use Resource::{Manifest, Registration};

/// All routes. They are the operations of `tests/fixtures/github-openapi-subset.json`, and a user's installation.
static ROUTES: &[Route] = &[
    route("GET", "/meta", Needs::Nobody, app::meta),
    route("GET", "/rate_limit", Needs::Nobody, app::rate_limit),
    route("GET", "/app", Needs::App, app::app),
    route("GET", "/app/installations", Needs::App, app::installations),
    route("GET", "/app/installations/{installation_id}", Needs::App, app::installation),
    route("POST", "/app/installations/{installation_id}/access_tokens", Needs::App, app::access_token),
    route("GET", "/orgs/{org}/installation", Needs::App, app::account_installation),
    route("GET", "/users/{username}/installation", Needs::App, app::account_installation),
    route("GET", "/repos/{owner}/{repo}/installation", Needs::App, app::repository_installation),
    route("GET", "/installation/repositories", Needs::Token, app::repositories),
    route("DELETE", "/installation/token", Needs::Token, app::revoke),
    counted(Manifest, route("POST", "/app-manifests/{code}/conversions", Needs::Nobody, app::convert_manifest)),
    route("GET", "/app/hook/config", Needs::App, hooks::config),
    route("PATCH", "/app/hook/config", Needs::App, hooks::set_config),
    route("GET", "/app/hook/deliveries", Needs::App, hooks::deliveries),
    route("GET", "/app/hook/deliveries/{delivery_id}", Needs::App, hooks::delivery),
    route("POST", "/app/hook/deliveries/{delivery_id}/attempts", Needs::App, hooks::redeliver),
    route("GET", "/orgs/{org}/actions/runners", ORG_READ, runners::list),
    route("GET", "/orgs/{org}/actions/runners/downloads", ORG_READ, runners::downloads),
    counted(
        Registration,
        route("POST", "/orgs/{org}/actions/runners/registration-token", ORG_WRITE, runners::registration_token),
    ),
    counted(Registration, route("POST", "/orgs/{org}/actions/runners/remove-token", ORG_WRITE, runners::remove_token)),
    counted(
        Registration,
        route("POST", "/orgs/{org}/actions/runners/generate-jitconfig", ORG_WRITE, runners::jit_config),
    ),
    route("GET", "/orgs/{org}/actions/runners/{runner_id}", ORG_READ, runners::get),
    route("DELETE", "/orgs/{org}/actions/runners/{runner_id}", ORG_WRITE, runners::delete),
    route("GET", "/orgs/{org}/actions/runners/{runner_id}/labels", ORG_READ, runners::labels),
    route("GET", "/orgs/{org}/actions/runner-groups", ORG_READ, groups::list),
    route("POST", "/orgs/{org}/actions/runner-groups", ORG_WRITE, groups::create),
    route("GET", "/orgs/{org}/actions/runner-groups/{runner_group_id}", ORG_READ, groups::get),
    route("DELETE", "/orgs/{org}/actions/runner-groups/{runner_group_id}", ORG_WRITE, groups::delete),
    route("PATCH", "/orgs/{org}/actions/runner-groups/{runner_group_id}", ORG_WRITE, groups::change),
    route("GET", "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories", ORG_READ, groups::repositories),
    route(
        "PUT",
        "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories",
        ORG_WRITE,
        groups::set_repositories,
    ),
    route("GET", "/orgs/{org}/actions/runner-groups/{runner_group_id}/runners", ORG_READ, groups::runners),
    route("GET", "/repos/{owner}/{repo}/actions/runners", REPO_READ, runners::list),
    route("GET", "/repos/{owner}/{repo}/actions/runners/downloads", REPO_READ, runners::downloads),
    counted(
        Registration,
        route(
            "POST",
            "/repos/{owner}/{repo}/actions/runners/registration-token",
            REPO_WRITE,
            runners::registration_token,
        ),
    ),
    counted(
        Registration,
        route("POST", "/repos/{owner}/{repo}/actions/runners/remove-token", REPO_WRITE, runners::remove_token),
    ),
    counted(
        Registration,
        route("POST", "/repos/{owner}/{repo}/actions/runners/generate-jitconfig", REPO_WRITE, runners::jit_config),
    ),
    route("GET", "/repos/{owner}/{repo}/actions/runners/{runner_id}", REPO_READ, runners::get),
    route("DELETE", "/repos/{owner}/{repo}/actions/runners/{runner_id}", REPO_WRITE, runners::delete),
    route("GET", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels", REPO_READ, runners::labels),
    route("GET", "/repos/{owner}/{repo}/actions/runs", ACTIONS, runs::list),
    route("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}", ACTIONS, runs::get),
    route("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs", ACTIONS, runs::jobs),
    route(
        "GET",
        "/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs",
        ACTIONS,
        runs::jobs_of_attempt,
    ),
    route("GET", "/repos/{owner}/{repo}/actions/jobs/{job_id}", ACTIONS, runs::job),
    route("GET", "/repos/{owner}/{repo}", METADATA, runs::repository),
];

/// The route and the values in its path.
pub(super) fn find(method: &str, path: &str) -> Option<(&'static Route, BTreeMap<&'static str, String>)> {
    ROUTES.iter().filter(|route| route.method == method).find_map(|route| {
        let mut values = BTreeMap::new();
        let (mut wanted, mut given) = (route.template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some((route, values)),
                (Some(wanted), Some(given)) => match wanted.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
                    Some(name) if !given.is_empty() => drop(values.insert(name, decode(given))),
                    None if wanted == given => {}
                    Some(_) | None => return None,
                },
                _ => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_path_wins_over_the_variable_one() {
        let (route, values) = find("GET", "/orgs/acme/actions/runners/downloads").unwrap();
        assert_eq!(route.template, "/orgs/{org}/actions/runners/downloads");
        assert_eq!(values["org"], "acme");
        let (route, values) = find("DELETE", "/repos/acme/web/actions/runners/23").unwrap();
        assert_eq!(route.template, "/repos/{owner}/{repo}/actions/runners/{runner_id}");
        assert_eq!(values["runner_id"], "23");
        assert!(find("PUT", "/app").is_none());
        assert!(find("GET", "/repos//web").is_none());
    }
}
