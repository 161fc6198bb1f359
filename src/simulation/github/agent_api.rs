//! The agents' side of the server, under `/_agent/`: see [`crate::simulation::protocol`].

use super::model::{AcquireRefused, NewRunner, News, RegisterRefused, SessionFault, SessionRefused};
use super::{Shared, jit, lock};
use crate::simulation::protocol::{Complete, Conflict, OpenSession, Register, Registered, SessionOpened};
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

pub(super) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/_agent/registrations", post(register))
        .route("/_agent/sessions", post(open))
        .route("/_agent/sessions/{session}", delete(close))
        .route("/_agent/sessions/{session}/message", get(message))
        .route("/_agent/sessions/{session}/jobs/{job}/acquire", post(acquire))
        .route("/_agent/sessions/{session}/jobs/{job}/complete", post(complete))
        .route_layer(from_fn_with_state(Arc::clone(shared), refuse_in_an_outage))
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "message": why }))).into_response()
}

async fn refuse_in_an_outage(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.outage.is_total() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    }
    next.run(request).await
}

/// What `config.sh` asks.
async fn register(State(shared): State<Arc<Shared>>, Json(wish): Json<Register>) -> Response {
    match registered(&shared, &wish) {
        Ok(files) => (StatusCode::CREATED, Json(files)).into_response(),
        Err((status, why)) => refuse(status, why),
    }
}

/// The two files of the agent, or why it gets none.
pub(super) fn registered(shared: &Shared, wish: &Register) -> Result<Registered, (StatusCode, &'static str)> {
    shared.change(|model, now| {
        let Some(scope) = model.registration_scope(&wish.token, now).cloned() else {
            return Err((StatusCode::UNAUTHORIZED, "the registration token is wrong or has lapsed"));
        };
        if model.scope_of_url(&wish.url).as_ref() != Some(&scope) {
            return Err((StatusCode::NOT_FOUND, "the registration token is for another scope"));
        }
        let Some(group_id) = model.group_id(&scope, wish.group.as_deref()) else {
            return Err((StatusCode::NOT_FOUND, "runner group"));
        };
        let new = NewRunner {
            name: wish.name.clone(),
            scope: scope.clone(),
            group_id,
            labels: wish.labels.clone(),
            ephemeral: wish.ephemeral,
            work_folder: wish.work_folder.clone(),
        };
        let mut made = model.register(new.clone(), now);
        if let (Err(RegisterRefused::NameTaken(other)), true) = (&made, wish.replace)
            && model.delete_runner(&scope, *other).is_ok()
        {
            made = model.register(new, now);
        }
        match made {
            Ok(runner) => Ok(jit::files(model, &runner)),
            Err(RegisterRefused::NameTaken(_)) => Err((StatusCode::CONFLICT, "the name is taken")),
            Err(RegisterRefused::NoSuchGroup) => Err((StatusCode::NOT_FOUND, "runner group")),
        }
    })
}

async fn open(State(shared): State<Arc<Shared>>, headers: HeaderMap, Json(wish): Json<OpenSession>) -> Response {
    let fault = shared.change(|model, _| model.take_session_fault());
    let die = match fault {
        None => None,
        Some(SessionFault::Die(code)) => Some(code),
        Some(SessionFault::Deprecated) => return refuse(StatusCode::FORBIDDEN, "the agent is too old"),
        Some(SessionFault::NeverOnline) => {
            // Until this GitHub ends or the agent gives up.
            shared.stop.cancelled().await;
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
        }
    };
    let credential = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let (opened, timings) = shared.change(|model, now| {
        (model.open_session(wish.agent_id, credential, &wish.version, now), model.timings.clone())
    });
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match opened {
        Ok(session) => {
            let opened = SessionOpened { session, poll_ms: millis(timings.poll), die };
            (StatusCode::CREATED, Json(opened)).into_response()
        }
        Err(SessionRefused::Unknown) => refuse(StatusCode::UNAUTHORIZED, "the registration is not there"),
        Err(SessionRefused::Conflict) => {
            let conflict =
                Conflict { retry_ms: millis(timings.conflict_retry), give_up_ms: millis(timings.conflict_give_up) };
            (StatusCode::CONFLICT, Json(conflict)).into_response()
        }
    }
}

async fn close(State(shared): State<Arc<Shared>>, Path(session): Path<String>) -> StatusCode {
    shared.change(|model, now| model.close_session(&session, now));
    StatusCode::NO_CONTENT
}

/// A poll that is held. Its end is noted however it ends: also when the agent's connection breaks.
struct Poll<'a> {
    shared: &'a Shared,
    session: &'a str,
}

impl<'a> Poll<'a> {
    fn begin(shared: &'a Shared, session: &'a str) -> Option<Self> {
        shared.change(|model, now| model.poll(session, true, now)).then_some(Self { shared, session })
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.shared.change(|model, now| model.poll(self.session, false, now));
    }
}

async fn message(State(shared): State<Arc<Shared>>, Path(session): Path<String>) -> Response {
    let gone = || refuse(StatusCode::NOT_FOUND, "the session is not there");
    let mut version = shared.version.watch();
    let Some(_poll) = Poll::begin(&shared, &session) else { return gone() };
    let end = Instant::now() + lock(&shared.model).timings.poll;
    loop {
        version.mark();
        let news = lock(&shared.model).message(&session);
        match news {
            News::Gone => return gone(),
            News::Message(message) => return Json(message).into_response(),
            News::Nothing => {}
        }
        tokio::select! {
            () = version.changed() => {}
            () = sleep_until(end) => return StatusCode::NO_CONTENT.into_response(),
            () = shared.stop.cancelled() => return refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
        if shared.outage.is_total() {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
        }
    }
}

async fn acquire(State(shared): State<Arc<Shared>>, Path((session, job)): Path<(String, u64)>) -> Response {
    match shared.change(|model, now| model.acquire(&session, job, now)) {
        Ok(acquired) => Json(acquired).into_response(),
        Err(AcquireRefused::NoSession) => refuse(StatusCode::UNAUTHORIZED, "the session is not there"),
        Err(AcquireRefused::NotYours) => refuse(StatusCode::NOT_FOUND, "job message not found"),
    }
}

async fn complete(
    State(shared): State<Arc<Shared>>,
    Path((session, job)): Path<(String, u64)>,
    Json(end): Json<Complete>,
) -> Response {
    if shared.change(|model, now| model.complete(&session, job, &end.conclusion, now)) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        refuse(StatusCode::NOT_FOUND, "the job is not this agent's")
    }
}
