//! The same GitHub within one process: requests, deliveries and agents are calls, and nothing listens. A run from a seed is made
//! of this.

use super::handle::{Handle, SimulatedGitHub};
use super::model::News;
use super::webhooks::{Recipient, Road};
use super::{Options, Shared, agent_api, api, faults, server};
use crate::model::JobId;
use crate::simulation::protocol::{AGENT_VERSION, Acquired, Message, Register, decode_jit};
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use std::sync::Arc;

/// What an agent that waits is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Its session, or its registration, is gone.
    Gone,
    /// A job was given to it; to be fetched within a minute.
    Job(JobId),
    /// Its job was cancelled.
    Cancelled,
}

impl SimulatedGitHub {
    /// One whose deliveries `recipient` takes, without a connection. Must be called inside a Tokio runtime.
    pub fn within(options: Options, recipient: Arc<dyn Recipient>) -> Handle {
        let road = Road::Within(recipient, options.timings.webhook);
        let (shared, tasks) = server::start_within(options, road);
        Handle::new(shared, tasks)
    }
}

/// A session that polls; the end of the poll is noted however it ends.
pub struct Polling {
    shared: Arc<Shared>,
    session: String,
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.shared.change(|model, now| model.poll(&self.session, false, now));
    }
}

impl Handle {
    /// Answers a request of the REST API.
    ///
    /// # Errors
    /// The connection was cut, by a fault.
    pub async fn answer(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String> {
        let response = api::serve(State(Arc::clone(&self.shared)), request.map(Body::from)).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| error.to_string())?;
        Ok(http::Response::from_parts(parts, body))
    }

    /// What happens to deliveries from now on.
    pub fn choose_webhook_faults(&self, chooser: Option<faults::Chooser>) {
        self.shared.courier.faults.choose_by(chooser);
    }

    /// Who an agent is, by the JIT config that it was handed.
    pub fn agent_of(&self, jit_config: &str) -> Option<(u64, String)> {
        let (runner, credentials) = decode_jit(jit_config).ok()?;
        Some((runner.agent_id, credentials.data.secret))
    }

    /// An agent registers itself, as `config.sh` does; who it is then. None where it is refused.
    pub fn register_agent(&self, wish: &Register) -> Option<(u64, String)> {
        let files = agent_api::registered(&self.shared, wish).ok()?;
        Some((files.runner.agent_id, files.credentials.data.secret))
    }

    /// An agent opens its session; none where its registration is gone, or it has another session.
    pub fn open_session(&self, agent: u64, secret: &str) -> Option<String> {
        self.shared.change(|model, now| model.open_session(agent, secret, AGENT_VERSION, now)).ok()
    }

    /// Begins a poll, which lasts until what is given back is dropped. None where the session is gone.
    pub fn begin_poll(&self, session: &str) -> Option<Polling> {
        let polling = Polling { shared: Arc::clone(&self.shared), session: session.to_owned() };
        self.shared.change(|model, now| model.poll(session, true, now)).then_some(polling)
    }

    /// Waits until there is something to tell the session.
    pub async fn news(&self, session: &str) -> Poll {
        let mut version = self.shared.version.watch();
        loop {
            version.mark();
            match super::lock(&self.shared.model).message(session) {
                News::Gone => return Poll::Gone,
                News::Message(Message::Job { id }) => return Poll::Job(JobId(id)),
                News::Message(Message::Cancel { .. }) => return Poll::Cancelled,
                News::Nothing => {}
            }
            version.changed().await;
        }
    }

    /// Fetches a job that was given to the session; none where it is not its job any more.
    pub fn acquire(&self, session: &str, job: JobId) -> Option<Acquired> {
        self.shared.change(|model, now| model.acquire(session, job.0, now)).ok()
    }

    /// Reports the end of a job. False where it is not the session's.
    pub fn complete(&self, session: &str, job: JobId, conclusion: &str) -> bool {
        self.shared.change(|model, now| model.complete(session, job.0, conclusion, now))
    }

    /// The agent goes.
    pub fn close_session(&self, session: &str) {
        self.shared.change(|model, now| model.close_session(session, now));
    }

    /// Sends an old delivery again.
    pub fn deliver_again(&self, delivery: &super::Delivery) {
        self.shared.redeliver(delivery);
    }

    /// Looks at the state.
    pub fn look<T>(&self, look: impl FnOnce(&super::Model) -> T) -> T {
        look(&super::lock(&self.shared.model))
    }

    /// Until something changes.
    pub async fn changed(&self) {
        let mut version = self.shared.version.watch();
        version.mark();
        version.changed().await;
    }
}
