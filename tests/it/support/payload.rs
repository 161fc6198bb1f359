//! `workflow_job` deliveries made from the one that GitHub publishes as an example, at the sizes that GitHub sends.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const EXAMPLE: &str = include_str!("../../fixtures/webhooks/workflow_job.queued.1.json");

/// One payload in the making. It starts as the queued job of a private repository `acme/web` for `linux` runners.
#[derive(Debug, Clone)]
pub struct Payload(Value);

impl Payload {
    /// A queued job of this id, which no runner has yet.
    pub fn job(id: u64) -> Self {
        let example = serde_json::from_str(EXAMPLE).expect("the example is JSON");
        Self(example)
            .job_field("id", json!(id))
            .job_field("run_id", json!(id / 10 + 1))
            .job_field("url", json!(format!("https://api.github.com/repos/acme/web/actions/jobs/{id}")))
            .job_field("html_url", json!(format!("https://github.com/acme/web/actions/runs/{}/job/{id}", id / 10 + 1)))
            .repository("acme/web")
            .private(true)
            .labels(&["linux"])
            .runner(None)
            .grown(id)
    }

    /// `action`, and the status that goes with it.
    pub fn action(self, action: &str) -> Self {
        self.field("action", json!(action)).status(action)
    }

    /// `status` alone.
    pub fn status(self, status: &str) -> Self {
        self.job_field("status", json!(status))
    }

    /// The job runs on this runner.
    pub fn in_progress(self, runner: &str) -> Self {
        self.action("in_progress").runner(Some(runner))
    }

    /// The job is over.
    pub fn completed(self, conclusion: &str) -> Self {
        self.action("completed").job_field("conclusion", json!(conclusion))
    }

    /// `run_attempt`.
    pub fn attempt(self, attempt: u32) -> Self {
        self.job_field("run_attempt", json!(attempt))
    }

    /// `runs-on`.
    pub fn labels(self, labels: &[&str]) -> Self {
        self.job_field("labels", json!(labels))
    }

    /// The runner that has the job; without one GitHub writes nulls.
    pub fn runner(self, name: Option<&str>) -> Self {
        let id = name.map(str::len);
        self.job_field("runner_name", json!(name)).job_field("runner_id", json!(id))
    }

    /// `owner/name` of the repository.
    pub fn repository(mut self, full_name: &str) -> Self {
        let (owner, name) = full_name.split_once('/').expect("a repository is `owner/name`");
        self.0["repository"]["full_name"] = json!(full_name);
        self.0["repository"]["name"] = json!(name);
        self.0["repository"]["owner"]["login"] = json!(owner);
        self
    }

    /// Whether the repository is private.
    pub fn private(mut self, private: bool) -> Self {
        self.0["repository"]["private"] = json!(private);
        self
    }

    /// A field of the payload itself.
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }

    /// A field of `workflow_job`.
    pub fn job_field(mut self, name: &str, value: Value) -> Self {
        self.0["workflow_job"][name] = value;
        self
    }

    /// Without this field of the payload, and of `workflow_job`.
    pub fn without(mut self, name: &str) -> Self {
        for object in ["", "/workflow_job"] {
            if let Some(Value::Object(fields)) = self.0.pointer_mut(object) {
                fields.remove(name);
            }
        }
        self
    }

    /// The payload as a value, for changes of any other kind.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// What GitHub would send.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// Steps, as many as it takes for a body between 8 and 15 KB; which size it is depends on the id alone.
    fn grown(self, id: u64) -> Self {
        let wanted =
            8 * 1024 + usize::try_from(id.wrapping_mul(2_654_435_761) % (6 * 1024)).expect("it is below 6 KiB");
        let step = |number: usize| {
            json!({
                "name": format!("Run step {number} of the build"), "status": "queued", "conclusion": null,
                "number": number, "started_at": null, "completed_at": null,
            })
        };
        let missing = wanted.saturating_sub(self.bytes().len());
        let count = missing / step(10).to_string().len() + 1;
        self.job_field("steps", (1..=count).map(step).collect())
    }
}

/// `X-Hub-Signature-256` of a body.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
