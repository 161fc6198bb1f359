//! The local socket of `serve`: how the verbs beside it see and change what it holds. Only the owner of the process can open
//! it (0600), and it is never on the network.

pub mod client;

use crate::clock;
use crate::config::Config;
use crate::model::RunnerName;
use crate::overview::{Overview, overview};
use crate::reconcile::execute::Executor;
use crate::reconcile::memory::Memory;
use crate::removal::{RemoveOutcome, remove_one};
use crate::scheduler::{self, State as ScheduleState};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixListener;

/// What the socket's routes need.
#[derive(Clone)]
pub struct Desk {
    /// Pools and bounds.
    pub config: Arc<Config>,
    /// What is known.
    pub memory: Arc<Memory>,
    /// Removes runners.
    pub executor: Arc<Executor>,
}

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
        .route("/v1/remove", post(remove))
        .route("/v1/scheduler", get(show_scheduler).post(ask_scheduler))
        .with_state(desk)
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

async fn show(State(desk): State<Desk>) -> Json<Overview> {
    Json(overview(&desk.memory.world(), &desk.config))
}

async fn remove(State(desk): State<Desk>, Json(request): Json<RemoveRequest>) -> Json<RemoveOutcome> {
    Json(remove_one(&desk.memory, &desk.executor, &request.runner, request.force).await)
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
