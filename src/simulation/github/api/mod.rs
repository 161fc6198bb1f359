//! The REST API: a table of routes, and what happens to each request on its way to one.

#![expect(clippy::unnecessary_wraps, reason = "every route has the type that the table wants")]

mod app;
mod call;
mod groups;
mod hooks;
mod http;
mod routes;
mod runners;
mod runs;

pub(super) use self::http::pairs;
use self::http::{http_date, respond};
use super::answer::{Answer, Refusal};
use super::auth::{Caller, authenticate};
use super::budget::{Exceeded, Resource, Standing};
use super::faults::Fault;
use super::recorder::Exchange;
use super::{Shared, clock, lock, model};
use ::http::{HeaderMap, StatusCode, header};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use call::Call;
use routes::{Needs, Route, find};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// GitHub's own requests are far smaller.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

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
        at: clock(),
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
    if let Some(date) = http_date(shared.its_time()) {
        response.headers_mut().insert(header::DATE, date);
    }
    if cut {
        // A body that breaks before its first byte makes the server drop the connection, with nothing sent yet.
        *response.status_mut() = StatusCode::OK;
        *response.body_mut() = Body::from_stream(futures_util::stream::once(async {
            Err::<Bytes, _>(std::io::Error::other("cut by a fault"))
        }));
    }
    response
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
    let now = clock();
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let caller =
        match authenticate(authorization, &lock(&shared.model), shared.personal_token.as_ref(), shared.its_time()) {
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
        (Needs::Nobody, _)
        | (Needs::App, Caller::App)
        | (Needs::Token, Caller::Installation { .. } | Caller::Person) => Ok(()),
        (_, Caller::Nobody) => Err(Refusal::new(401, "Requires authentication")),
        (Needs::App, Caller::Installation { .. } | Caller::Person) => {
            Err(Refusal::new(401, "A JSON web token could not be decoded"))
        }
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
        .header("retry-after", retry_after.as_secs().to_string()),
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
        standing = budgets.look(who, resource, clock());
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
