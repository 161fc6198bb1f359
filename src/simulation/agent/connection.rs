//! The agent's requests, and what their answers mean.

use crate::simulation::protocol::{
    Acquired, Complete, Conflict, CredentialsFile, Message, OpenSession, Register, Registered, RunnerFile,
    SessionOpened,
};
use reqwest::{Client, Response, StatusCode};
use std::time::Duration;

/// How long the server may take for an answer that it need not wait for.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// The server is away, or answers what it should not: try again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Away {
    #[error("{0}")]
    Connection(#[from] reqwest::Error),
    #[error("the server answered {0}")]
    Answer(StatusCode),
}

/// What became of a wish for a session.
pub(super) enum Opened {
    Session(SessionOpened),
    /// The registration is gone.
    Deleted,
    /// The agent is too old.
    Deprecated,
    Conflict(Conflict),
}

/// A poll's end.
pub(super) enum News {
    Message(Message),
    Nothing,
    /// The registration is gone.
    Gone,
}

/// What became of a wish for a job.
pub(super) enum Taken {
    Job(Acquired),
    NotOurs,
    Gone,
}

/// What became of a registration.
pub(super) enum Configured {
    Done(Box<Registered>),
    /// The token is no good.
    Refused,
    /// No such group, or another scope.
    NotFound(String),
    NameTaken,
}

/// A server, and the secret for it.
pub(super) struct Connection {
    client: Client,
    base: String,
    secret: String,
    agent: u64,
}

pub(super) fn client() -> reqwest::Result<Client> {
    // The agent's verb begins before the program's others are told apart; a test may begin here.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Its server speaks plain HTTP, and its image has no certificates: looking for some would fail.
    let no_roots = std::iter::empty();
    Client::builder().no_proxy().tls_certs_only(no_roots).connect_timeout(CONNECT).timeout(ANSWER).build()
}

impl Connection {
    pub(super) fn new(runner: &RunnerFile, credentials: &CredentialsFile) -> reqwest::Result<Self> {
        let base = if runner.use_v2_flow { &runner.server_url_v2 } else { &runner.server_url };
        Ok(Self {
            client: client()?,
            base: format!("{}/_agent", base.trim_end_matches('/')),
            secret: credentials.data.secret.clone(),
            agent: runner.agent_id,
        })
    }

    pub(super) async fn open(&self, version: &str) -> Result<Opened, Away> {
        let wish = OpenSession { agent_id: self.agent, version: version.to_owned() };
        // An agent that is never answered is never online: it waits as long as its container lives.
        let answer = self
            .client
            .post(format!("{}/sessions", self.base))
            .bearer_auth(&self.secret)
            .json(&wish)
            .timeout(Duration::from_secs(24 * 60 * 60))
            .send()
            .await?;
        match answer.status() {
            StatusCode::CREATED => Ok(Opened::Session(answer.json().await?)),
            StatusCode::UNAUTHORIZED => Ok(Opened::Deleted),
            StatusCode::FORBIDDEN => Ok(Opened::Deprecated),
            StatusCode::CONFLICT => Ok(Opened::Conflict(answer.json().await?)),
            other => Err(Away::Answer(other)),
        }
    }

    pub(super) async fn poll(&self, session: &SessionOpened) -> Result<News, Away> {
        let limit = Duration::from_millis(session.poll_ms).saturating_add(ANSWER);
        let url = format!("{}/sessions/{}/message", self.base, session.session);
        let answer = self.client.get(url).timeout(limit).send().await?;
        match answer.status() {
            StatusCode::OK => Ok(News::Message(answer.json().await?)),
            StatusCode::NO_CONTENT => Ok(News::Nothing),
            StatusCode::NOT_FOUND => Ok(News::Gone),
            other => Err(Away::Answer(other)),
        }
    }

    pub(super) async fn acquire(&self, session: &SessionOpened, job: u64) -> Result<Taken, Away> {
        let answer = self.client.post(self.job_url(session, job, "acquire")).send().await?;
        match answer.status() {
            StatusCode::OK => Ok(Taken::Job(answer.json().await?)),
            StatusCode::NOT_FOUND => Ok(Taken::NotOurs),
            StatusCode::UNAUTHORIZED => Ok(Taken::Gone),
            other => Err(Away::Answer(other)),
        }
    }

    /// A refusal is final as well: then the job is not ours to complete.
    pub(super) async fn complete(&self, session: &SessionOpened, job: u64, conclusion: &str) -> Result<(), Away> {
        let end = Complete { conclusion: conclusion.to_owned() };
        let answer = self.client.post(self.job_url(session, job, "complete")).json(&end).send().await?;
        match answer.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            other => Err(Away::Answer(other)),
        }
    }

    pub(super) async fn close(&self, session: &SessionOpened) -> Result<(), Away> {
        let url = format!("{}/sessions/{}", self.base, session.session);
        self.client.delete(url).timeout(CONNECT).send().await?;
        Ok(())
    }

    fn job_url(&self, session: &SessionOpened, job: u64, what: &str) -> String {
        format!("{}/sessions/{}/jobs/{job}/{what}", self.base, session.session)
    }
}

/// What `config.sh` asks of a server.
pub(super) async fn register(base: &str, wish: &Register) -> Result<Configured, Away> {
    let answer = client()?.post(format!("{base}/_agent/registrations")).json(wish).send().await?;
    match answer.status() {
        StatusCode::CREATED => Ok(Configured::Done(Box::new(answer.json().await?))),
        StatusCode::UNAUTHORIZED => Ok(Configured::Refused),
        StatusCode::NOT_FOUND => Ok(Configured::NotFound(reason(answer).await)),
        StatusCode::CONFLICT => Ok(Configured::NameTaken),
        other => Err(Away::Answer(other)),
    }
}

async fn reason(answer: Response) -> String {
    let body: serde_json::Value = answer.json().await.unwrap_or_default();
    body["message"].as_str().unwrap_or("not found").to_owned()
}
