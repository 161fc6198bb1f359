//! What the stand-in agent and the simulated GitHub say to each other, under `/_agent/`. It is ours: the real agent's
//! protocol is not public. Its shape follows the real one's: register, open a session, wait for a message, acquire the
//! job, complete it, close the session.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The agent's version that the stand-in gives itself.
pub const AGENT_VERSION: &str = "2.336.0";

/// `.runner`, as far as the stand-in reads it. The field names are the real file's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunnerFile {
    /// GitHub's id of the registration.
    pub agent_id: u64,
    /// The runner's name.
    pub agent_name: String,
    /// The runner group.
    pub pool_id: u64,
    /// The group's name.
    pub pool_name: String,
    /// Where jobs come from.
    pub server_url: String,
    /// Whose runner it is: `https://github.com/acme`.
    pub git_hub_url: String,
    /// `_work`.
    pub work_folder: String,
    /// One job only.
    pub ephemeral: bool,
    /// The real agent speaks to the "V2" server when this is set; so do we.
    #[serde(rename = "UseV2Flow")]
    pub use_v2_flow: bool,
    /// That server.
    #[serde(rename = "ServerUrlV2")]
    pub server_url_v2: String,
}

/// `.credentials`. The real one names an RSA key in a third file; ours carries an opaque secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct CredentialsFile {
    /// `OAuth`.
    pub scheme: String,
    /// The secret and where it is valid.
    pub data: CredentialsData,
}

/// The inside of `.credentials`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsData {
    /// A GUID.
    pub client_id: String,
    /// Where the real agent fetches its tokens.
    pub authorization_url: String,
    /// What opens a session.
    pub secret: String,
}

/// A JIT config that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    /// Not base64.
    #[error("it is not base64")]
    Base64(#[from] base64::DecodeError),
    /// Not the expected JSON.
    #[error("it is not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file is missing.
    #[error("it has no `{0}`")]
    Missing(&'static str),
}

/// Builds the `encoded_jit_config`: base64 of a JSON object from file name to base64 of the file. `filler` stands for
/// the real one's RSA parameters, so that size and shape are the real ones' (about 4 kB).
pub fn encode_jit(runner: &RunnerFile, credentials: &CredentialsFile, filler: &str) -> String {
    let file = |text: String| STANDARD.encode(text);
    let files = BTreeMap::from([
        (".runner", file(serde_json::to_string(runner).expect("plain fields always serialize"))),
        (".credentials", file(serde_json::to_string(credentials).expect("plain fields always serialize"))),
        (".credentials_rsaparams", file(filler.to_owned())),
    ]);
    STANDARD.encode(serde_json::to_string(&files).expect("a map of strings always serializes"))
}

/// Reads an `encoded_jit_config`.
pub fn decode_jit(encoded: &str) -> Result<(RunnerFile, CredentialsFile), JitError> {
    let files: BTreeMap<String, String> = serde_json::from_slice(&STANDARD.decode(encoded.trim())?)?;
    let file = |name: &'static str| -> Result<Vec<u8>, JitError> {
        Ok(STANDARD.decode(files.get(name).ok_or(JitError::Missing(name))?)?)
    };
    Ok((serde_json::from_slice(&file(".runner")?)?, serde_json::from_slice(&file(".credentials")?)?))
}

/// `POST /_agent/registrations`: what `config.sh` asks. Answered by 201 [`Registered`], 401 (token), 404 (group, scope)
/// or 409 (name).
#[derive(Clone, Serialize, Deserialize)]
pub struct Register {
    /// `https://github.com/acme` or `https://github.com/acme/web`.
    pub url: String,
    /// The registration token.
    pub token: String,
    /// The runner's name.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// The group's name; the default one where none.
    pub group: Option<String>,
    /// One job only.
    pub ephemeral: bool,
    /// Take the place of a runner of the same name.
    pub replace: bool,
    /// The folder for jobs.
    pub work_folder: String,
}

/// The two files of a registered agent.
#[derive(Clone, Serialize, Deserialize)]
pub struct Registered {
    /// `.runner`.
    pub runner: RunnerFile,
    /// `.credentials`.
    pub credentials: CredentialsFile,
}

/// `POST /_agent/sessions`, with the credential as bearer. Answered by 201 [`SessionOpened`], 401 (the registration is
/// gone), 403 (agent too old) or 409 (another session; [`Conflict`]).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenSession {
    /// From `.runner`.
    pub agent_id: u64,
    /// The agent's version.
    pub version: String,
}

/// An open session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionOpened {
    /// Its id.
    pub session: String,
    /// For how long the server holds a poll, at most.
    pub poll_ms: u64,
    /// The agent is asked to end at once with this exit code: a broken image, as a test wants it.
    pub die: Option<u8>,
}

/// Another session is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conflict {
    /// When to try again.
    pub retry_ms: u64,
    /// When to give up.
    pub give_up_ms: u64,
}

/// `GET /_agent/sessions/{session}/message`: 200 with a message, 204 when there was none for a while, 404 when the
/// session or the registration is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "message")]
pub enum Message {
    /// A job is assigned; to be acquired within a minute.
    Job {
        /// GitHub's id of it.
        id: u64,
    },
    /// The running job was cancelled.
    Cancel {
        /// Which.
        id: u64,
    },
}

/// `POST /_agent/sessions/{session}/jobs/{job}/acquire`: 200 with this, 404 when it is not this agent's job any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Acquired {
    /// GitHub's id of the job.
    pub id: u64,
    /// Its name: a user's text.
    pub name: String,
    /// How long it takes.
    pub duration_ms: u64,
    /// How it ends, if nothing comes between.
    pub conclusion: String,
    /// How many lines the job prints.
    pub output_lines: u32,
    /// What else happens.
    pub ending: Ending,
}

/// What becomes of the agent during a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ending")]
pub enum Ending {
    /// The job runs for its time and ends as it should.
    #[default]
    Normal,
    /// After the job's time the whole agent ends with this exit code, and reports nothing.
    AgentDies {
        /// The exit code.
        code: u8,
    },
    /// The job's process takes memory until it is killed; the agent lives and reports a failure.
    JobOutOfMemory,
    /// The agent's own process takes memory until it is killed; nothing is reported.
    AgentOutOfMemory,
    /// The job never ends by itself.
    Hangs,
}

/// `POST /_agent/sessions/{session}/jobs/{job}/complete`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Complete {
    /// `success`, `failure`, `cancelled`, …
    pub conclusion: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jit_config_has_the_real_ones_shape() {
        let runner = RunnerFile {
            agent_id: 23,
            agent_name: "linux-7".into(),
            pool_id: 1,
            pool_name: "Default".into(),
            server_url: "http://127.0.0.1:1/".into(),
            git_hub_url: "http://127.0.0.1:1/acme".into(),
            work_folder: "_work".into(),
            ephemeral: true,
            use_v2_flow: true,
            server_url_v2: "http://127.0.0.1:1/".into(),
        };
        let credentials = CredentialsFile {
            scheme: "OAuth".into(),
            data: CredentialsData { client_id: "c".into(), authorization_url: "u".into(), secret: "s".into() },
        };
        let encoded = encode_jit(&runner, &credentials, &"x".repeat(1700));
        assert!((3000..6000).contains(&encoded.len()), "{} bytes", encoded.len());
        let (read, secret) = decode_jit(&encoded).unwrap();
        assert_eq!(read, runner);
        assert_eq!(secret.data.secret, "s");
        let outer: BTreeMap<String, String> = serde_json::from_slice(&STANDARD.decode(&encoded).unwrap()).unwrap();
        let inner: serde_json::Value = serde_json::from_slice(&STANDARD.decode(&outer[".runner"]).unwrap()).unwrap();
        for key in ["AgentId", "AgentName", "ServerUrlV2", "UseV2Flow", "GitHubUrl", "WorkFolder", "Ephemeral"] {
            assert!(inner.get(key).is_some(), "no {key} in {inner}");
        }
        assert!(matches!(decode_jit("%%%"), Err(JitError::Base64(_))));
    }
}
