//! The REST API: a table of routes, and what happens to each request on its way to one.

mod app;
mod hooks;
mod runners;
mod runs;

use super::answer::{Answer, Refusal};
use super::auth::{Caller, authenticate};
use super::budget::{Exceeded, Resource, Standing};
use super::faults::Fault;
use super::recorder::Exchange;
use super::{Shared, lock, model};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// GitHub's own requests are far smaller.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// What a route demands of its caller.
#[derive(Debug, Clone, Copy)]
enum Needs {
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

type Handler = fn(&Call<'_>) -> Result<Answer, Refusal>;

/// One operation, with its path as GitHub's description writes it.
struct Route {
    method: &'static str,
    template: &'static str,
    needs: Needs,
    resource: Resource,
    handler: Handler,
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
    route("GET", "/orgs/{org}/actions/runner-groups", ORG_READ, runners::groups),
    route("POST", "/orgs/{org}/actions/runner-groups", ORG_WRITE, runners::create_group),
    route("GET", "/orgs/{org}/actions/runner-groups/{runner_group_id}", ORG_READ, runners::group),
    route("DELETE", "/orgs/{org}/actions/runner-groups/{runner_group_id}", ORG_WRITE, runners::delete_group),
    route(
        "GET",
        "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories",
        ORG_READ,
        runners::group_repositories,
    ),
    route("GET", "/orgs/{org}/actions/runner-groups/{runner_group_id}/runners", ORG_READ, runners::group_runners),
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

/// A request on its way.
pub(super) struct Call<'a> {
    shared: &'a Arc<Shared>,
    caller: &'a Caller,
    path: BTreeMap<&'static str, String>,
    /// The path as it was asked, for links.
    asked: String,
    query: BTreeMap<String, String>,
    /// The body; `Null` where there was none.
    body: Value,
    now: Timestamp,
}

impl Call<'_> {
    fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// A number in the path; what is none names nothing.
    fn number(&self, name: &str) -> Result<u64, Refusal> {
        self.part(name).parse().map_err(|_| Refusal::not_found())
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    fn per_page(&self) -> usize {
        self.query("per_page").and_then(|text| text.parse().ok()).unwrap_or(30).clamp(1, 100)
    }

    fn read<T>(&self, look: impl FnOnce(&model::Model) -> T) -> T {
        look(&lock(&self.shared.model))
    }

    /// One page of a list, with the `Link` header that GitHub gives.
    fn page(&self, items: Vec<Value>) -> (Vec<Value>, Option<(String, String)>) {
        let per_page = self.per_page();
        let page = self.query("page").and_then(|text| text.parse::<usize>().ok()).unwrap_or(1).max(1);
        let last = items.len().div_ceil(per_page).max(1);
        let mut links = Vec::new();
        if page > 1 {
            links.push(self.link(page - 1, "prev"));
        }
        if page < last {
            links.push(self.link(page + 1, "next"));
            links.push(self.link(last, "last"));
        }
        if page > 1 {
            links.push(self.link(1, "first"));
        }
        let header = (!links.is_empty()).then(|| ("link".to_owned(), links.join(", ")));
        (items.into_iter().skip((page - 1) * per_page).take(per_page).collect(), header)
    }

    fn link(&self, page: usize, rel: &str) -> String {
        self.link_with("page", &page.to_string(), rel)
    }

    fn link_with(&self, name: &str, value: &str, rel: &str) -> String {
        let mut query: Vec<String> = self
            .query
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        query.push(format!("{name}={value}"));
        format!("<{}{}?{}>; rel=\"{rel}\"", self.shared.urls.api, self.asked, query.join("&"))
    }
}

/// Every request of the API comes here.
pub(super) async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let method = parts.method.as_str().to_owned();
    let Some(path) = parts.uri.path().strip_prefix(&shared.base_path).map(str::to_owned) else {
        return respond(Refusal::not_found().into());
    };
    let query = parts.uri.query().unwrap_or("").to_owned();
    if shared.outage.is_on() {
        return respond(Refusal::new(503, "Service unavailable").header("connection", "close").into());
    }
    let Ok(body) = axum::body::to_bytes(Body::new(body), LARGEST_BODY).await else {
        return respond(Refusal::new(413, "Payload too large").into());
    };
    let found = find(&method, &path);
    let template = found.as_ref().map_or(path.as_str(), |(route, _)| route.template).to_owned();
    let fault = shared.faults.take(&method, &template, &path);
    let number = shared.recorder.begin(Exchange {
        at: shared.now(),
        method: method.clone(),
        template: template.clone(),
        path: path.clone(),
        query: query.clone(),
        request: serde_json::from_slice(&body).ok(),
        status: 0,
        headers: Vec::new(),
        response: None,
        faulty: fault.is_some(),
    });
    // Who waits for a certain request hears of it, also of one that is about to hang.
    shared.touch();
    if let Some(fault) = &fault
        && shared.pause(fault.delay).await.is_err()
    {
        return respond(Refusal::new(503, "Service unavailable").into());
    }
    let runs = fault.as_ref().is_none_or(|fault| fault.takes_effect || (fault.status.is_none() && !fault.cut));
    let answer = if runs { handle(&shared, found, path, &query, &parts.headers, &body) } else { Answer::no_content() };
    let answer = match &fault {
        Some(fault) => spoil(answer, fault),
        None => answer,
    };
    let cut = fault.is_some_and(|fault| fault.cut);
    shared.recorder.end(number, |exchange| {
        exchange.status = if cut { 0 } else { answer.status };
        exchange.headers.clone_from(&answer.headers);
        exchange.response.clone_from(&answer.body);
    });
    shared.touch();
    let mut response = respond(answer);
    if cut {
        // A body that breaks before its first byte makes the server drop the connection, with nothing sent yet.
        *response.status_mut() = StatusCode::OK;
        *response.body_mut() = Body::from_stream(futures_util::stream::once(async {
            Err::<Bytes, _>(std::io::Error::other("cut by a fault"))
        }));
    }
    response
}

/// The route and the values in its path.
fn find(method: &str, path: &str) -> Option<(&'static Route, BTreeMap<&'static str, String>)> {
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

/// Who asks, whether they may, whether they still may; then the route itself.
fn handle(
    shared: &Arc<Shared>,
    found: Option<(&'static Route, BTreeMap<&'static str, String>)>,
    asked: String,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let now = shared.now();
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let caller = match authenticate(authorization, &lock(&shared.model), shared.personal_token.as_ref(), now) {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into(),
    };
    let Some((route, path)) = found else { return Refusal::not_found().into() };
    let who = caller.budget();
    let taken = if route.template == "/rate_limit" {
        // Asking for the limits is free.
        Ok(lock(&shared.budgets).look(&who, route.resource, now))
    } else {
        lock(&shared.budgets).take(&who, route.resource, route.template, route.method != "GET", now)
    };
    let standing = match taken {
        Ok(standing) => standing,
        Err((exceeded, standing)) => {
            let status = lock(&shared.budgets).limits.exceeded_status;
            return limited(too_many(exceeded, &who, status).into(), route.resource, standing);
        }
    };
    let body = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
    let answer = body.map_err(|_| Refusal::new(400, "Problems parsing JSON")).and_then(|body| {
        let query = pairs(query);
        let call = Call { shared, caller: &caller, path, asked, query, body, now };
        allow(&call, route)?;
        (route.handler)(&call)
    });
    let answer = answer.unwrap_or_else(Answer::from);
    if route.method == "GET" && answer.status == 200 {
        return conditional(shared, answer, headers, &who, route.resource, standing);
    }
    limited(answer, route.resource, standing)
}

/// Whether the caller may use this route.
fn allow(call: &Call<'_>, route: &Route) -> Result<(), Refusal> {
    match (route.needs, call.caller) {
        (Needs::Nobody, _) | (Needs::App, Caller::App) => Ok(()),
        (_, Caller::Nobody) => Err(Refusal::new(401, "Requires authentication")),
        (Needs::App, Caller::Installation { .. } | Caller::Person) => {
            Err(Refusal::new(401, "A JSON web token could not be decoded"))
        }
        (Needs::Token, Caller::Installation { .. } | Caller::Person) => Ok(()),
        (Needs::Token, Caller::App) => Err(Refusal::new(403, "Resource not accessible by integration")),
        (Needs::Organization(permission, level), caller) => {
            let org = call.part("org");
            let is_organization = call.read(|model| {
                model.owner(org).is_some_and(|owner| owner.kind == super::options::AccountKind::Organization)
            });
            if !is_organization {
                return Err(Refusal::not_found());
            }
            match caller {
                Caller::Installation { account, permissions, .. } if account.eq_ignore_ascii_case(org) => {
                    granted(permissions, permission, level)
                }
                Caller::Person => Ok(()),
                Caller::App | Caller::Nobody | Caller::Installation { .. } => Err(lacking(permission, level)),
            }
        }
        (Needs::Repository(permission, level), caller) => {
            let (id, given) = call
                .read(|model| {
                    model.repo(call.part("owner"), call.part("repo")).map(|repo| (repo.id, model.has_app(repo)))
                })
                .ok_or_else(Refusal::not_found)?;
            match caller {
                Caller::Installation { account, permissions, repositories, .. } => {
                    let narrowed_away = repositories.as_ref().is_some_and(|ids| !ids.contains(&id));
                    if !account.eq_ignore_ascii_case(call.part("owner")) || !given || narrowed_away {
                        return Err(Refusal::not_found());
                    }
                    granted(permissions, permission, level)
                }
                Caller::Person => Ok(()),
                Caller::App | Caller::Nobody => Err(lacking(permission, level)),
            }
        }
    }
}

fn granted(permissions: &BTreeMap<String, String>, permission: &str, level: &str) -> Result<(), Refusal> {
    let has = permissions.get(permission).map_or(0, |has| model::rank(has));
    if has >= model::rank(level) { Ok(()) } else { Err(lacking(permission, level)) }
}

/// GitHub names what is missing in a header.
fn lacking(permission: &str, level: &str) -> Refusal {
    Refusal::new(403, "Resource not accessible by integration")
        .header("x-accepted-github-permissions", format!("{permission}={level}"))
}

fn too_many(exceeded: Exceeded, who: &str, status: u16) -> Refusal {
    match exceeded {
        Exceeded::Primary => Refusal::new(status, format!("API rate limit exceeded for {who}.")),
        Exceeded::Secondary { retry_after } => Refusal::new(
            403,
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
        )
        .header("retry-after", retry_after.as_secs()),
    }
}

/// The headers with which GitHub tells what is left.
fn limited(answer: Answer, resource: Resource, standing: Standing) -> Answer {
    answer
        .with_header(Some(("x-ratelimit-limit".into(), standing.limit.to_string())))
        .with_header(Some(("x-ratelimit-remaining".into(), standing.remaining().to_string())))
        .with_header(Some(("x-ratelimit-used".into(), standing.used.to_string())))
        .with_header(Some(("x-ratelimit-reset".into(), standing.reset.as_second().to_string())))
        .with_header(Some(("x-ratelimit-resource".into(), resource.word().into())))
}

/// An `ETag`, and 304 where the caller has the answer already: that one is free.
fn conditional(
    shared: &Shared,
    mut answer: Answer,
    headers: &HeaderMap,
    who: &str,
    resource: Resource,
    standing: Standing,
) -> Answer {
    let mut hash = Sha256::new();
    hash.update(who.as_bytes());
    hash.update(answer.body.as_ref().map(ToString::to_string).unwrap_or_default());
    let etag = format!("W/\"{}\"", hex::encode(hash.finalize()));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut standing = standing;
    if known == Some(etag.as_str()) {
        let mut budgets = lock(&shared.budgets);
        budgets.give_back(who, resource);
        standing = budgets.look(who, resource, shared.now());
        answer.status = 304;
        answer.body = None;
    }
    limited(answer.with_header(Some(("etag".into(), etag))), resource, standing)
}

/// What a fault makes of an answer.
fn spoil(answer: Answer, fault: &Fault) -> Answer {
    let Some(status) = fault.status else {
        return Answer { headers: answer.headers.into_iter().chain(fault.headers.clone()).collect(), ..answer };
    };
    let mut spoilt: Answer = Refusal::new(
        status,
        StatusCode::from_u16(status).map_or("Fault", |it| it.canonical_reason().unwrap_or("Fault")),
    )
    .into();
    if let Some(body) = &fault.body {
        spoilt.body = Some(serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.clone())));
    }
    spoilt.headers.clone_from(&fault.headers);
    spoilt
}

fn respond(answer: Answer) -> Response {
    let text = answer.body.as_ref().map(|body| match body {
        // Only a fault's body is a bare text: not every error that a proxy sends is JSON.
        Value::String(text) => (text.clone(), "text/html"),
        json => (json.to_string(), "application/json; charset=utf-8"),
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    headers.insert("x-github-media-type", HeaderValue::from_static("github.v3; format=json"));
    headers.insert("x-github-api-version-selected", HeaderValue::from_static("2022-11-28"));
    if let Some((text, kind)) = text {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        *response.body_mut() = Body::from(text);
    }
    response
}

/// A query as pairs.
fn pairs(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Undoes percent-encoding; what is not valid stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let raw = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        let code = raw.get(at + 1..at + 3).and_then(|it| std::str::from_utf8(it).ok());
        match (byte, code.and_then(|it| u8::from_str_radix(it, 16).ok())) {
            (b'%', Some(value)) => {
                bytes.push(value);
                at += 3;
            }
            (b'+', _) => {
                bytes.push(b' ');
                at += 1;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

    #[test]
    fn queries_are_decoded() {
        let query = pairs("name=a%2Db+c&per_page=5&flag&bad=%zz");
        assert_eq!(query["name"], "a-b c");
        assert_eq!(query["per_page"], "5");
        assert_eq!(query["flag"], "");
        assert_eq!(query["bad"], "%zz");
    }
}
