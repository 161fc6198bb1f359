//! The local socket of `serve`: how the verbs beside it see and change what it holds. Only the owner of the process can open
//! it (0600), and it is never on the network.

pub mod client;

use crate::clock;
use crate::credentials::Live;
use crate::missed::report::Missed;
use crate::model::{PoolName, RunnerName};
use crate::overview::{Overview, overview};
use crate::persistent::{Keeper, Order, Progress};
use crate::reconcile::execute::Executor;
use crate::reconcile::memory::Memory;
use crate::removal::{self, RemoveOutcome, remove_one};
use crate::scheduler::{self, State as ScheduleState};
use crate::webhook::Readiness;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

/// News of an order that nobody has read yet; beyond that only outcomes wait.
const UNREAD: usize = 1024;

/// What the socket's routes need.
#[derive(Clone)]
pub struct Desk {
    /// What is known.
    pub memory: Arc<Memory>,
    /// Removes runners.
    pub executor: Arc<Executor>,
    /// Looks after persistent runners; has the configuration.
    pub keeper: Keeper,
    /// Secrets and keys; none where the configuration came from no file.
    pub live: Option<Arc<Live>>,
    /// Asks the parts, as `/readyz` does.
    pub readiness: Arc<dyn Readiness>,
    /// What was made good of lost deliveries.
    pub missed: Missed,
}

/// `GET /v1/health`: part -> what it said, or why it is not there.
pub type Parts = BTreeMap<String, Result<String, String>>;

/// `POST /v1/remove`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveRequest {
    /// Which runner.
    pub runner: RunnerName,
    /// Even when it runs a job.
    pub force: bool,
}

/// The routes.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/v1/overview", get(show))
        .route("/v1/alive", get(async || StatusCode::NO_CONTENT))
        .route("/v1/health", get(health))
        .route("/v1/remove", post(remove))
        .route("/v1/persistent", post(carry_out))
        .route("/v1/difference", get(difference))
        .route("/v1/reload", post(reload))
        .route("/v1/scheduler", get(show_scheduler).post(ask_scheduler))
        .with_state(desk)
}

/// Reads the configuration again for its secrets and keys.
async fn reload(State(desk): State<Desk>) -> Response {
    let Some(live) = desk.live else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "its configuration came from no file").into_response();
    };
    match tokio::task::spawn_blocking(move || live.reload()).await {
        Ok(reloaded) => Json(reloaded).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// What is written down of the scheduler's runs.
async fn show_scheduler(State(desk): State<Desk>) -> Result<Json<ScheduleState>, (StatusCode, String)> {
    let state = scheduler::read(desk.executor.store.as_ref()).await;
    state.map(Json).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

/// Asks for a run now.
async fn ask_scheduler(State(desk): State<Desk>) -> Result<StatusCode, (StatusCode, String)> {
    let asked = scheduler::ask(desk.executor.store.as_ref(), clock::now()).await;
    asked.map(|()| StatusCode::ACCEPTED).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

async fn health(State(desk): State<Desk>) -> Json<Parts> {
    let parts = desk.readiness.check().await;
    Json(parts.into_iter().map(|(part, said)| (part.to_owned(), said)).collect())
}

async fn show(State(desk): State<Desk>) -> Json<Overview> {
    let images = desk.keeper.images().await;
    let seen = overview(&desk.memory.world(), &desk.keeper.config(), &images);
    Json(Overview { missed: desk.missed.report(), ..seen })
}

async fn remove(State(desk): State<Desk>, Json(request): Json<RemoveRequest>) -> Json<RemoveOutcome> {
    Json(remove_one(&desk.memory, &desk.executor, &desk.keeper, &request.runner, request.force).await)
}

/// News come line by line, each a [`Progress`]. The order is carried out whether or not anybody listens to its end.
async fn carry_out(State(desk): State<Desk>, Json(order): Json<Order>) -> Response {
    let prepared = match desk.keeper.prepare(&order).await {
        Ok(prepared) => prepared,
        Err(refused) => return (StatusCode::UNPROCESSABLE_ENTITY, refused.to_string()).into_response(),
    };
    let (progress, news) = mpsc::channel(UNREAD);
    let tasks = desk.keeper.tasks().clone();
    tasks.spawn(async move {
        removal::carry_out(&desk.memory, &desk.executor, &desk.keeper, prepared, order, progress).await;
    });
    let lines = stream::unfold(news, |mut news| async move {
        let told: Progress = news.recv().await?;
        // Plain fields always serialize; were one not to, the line would be missing and nothing else.
        let mut line = serde_json::to_vec(&told).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), news))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// `?pools=a,b`; all where none is given.
#[derive(Debug, Default, Deserialize)]
struct Pools {
    #[serde(default)]
    pools: String,
}

async fn difference(State(desk): State<Desk>, Query(asked): Query<Pools>) -> Response {
    let pools: Vec<PoolName> = asked.pools.split(',').filter(|name| !name.is_empty()).map(PoolName::new).collect();
    match desk.keeper.difference(&pools).await {
        Ok(changes) => Json(changes).into_response(),
        Err(refused) => (StatusCode::UNPROCESSABLE_ENTITY, refused.to_string()).into_response(),
    }
}

/// The socket's file. It goes with the `serve` that made it.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that is left behind does no harm: the next `serve` replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Opens the socket. What a killed process left behind is replaced; a socket that somebody answers on is not.
///
/// # Errors
/// The folder cannot be written, or another `serve` listens there.
pub async fn listen(path: &Path) -> std::io::Result<(UnixListener, SocketFile)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if path.exists() {
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AddrInUse,
                "another `runnerfleet serve` listens there",
            ));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, file))
}
