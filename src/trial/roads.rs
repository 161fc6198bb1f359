//! The two roads to GitHub and back: requests that can fail on the way there or on the way back, and deliveries to whichever
//! process lives.

use super::life::{Life, State};
use super::stage::Stage;
use crate::clock;
use crate::github::Carrier;
use crate::model::JobId;
use crate::simulation::github::{NobodyThere, Recipient};
use crate::webhook;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::{Arc, OnceLock, Weak};

/// Requests of one process.
pub(super) struct ToGitHub {
    pub(super) life: Arc<Life>,
}

#[async_trait]
impl Carrier for ToGitHub {
    async fn carry(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String> {
        let (life, stage) = (&self.life, self.life.stage());
        let weather = stage.weather();
        let what = format!("{} {}", request.method(), request.uri().path());
        let bearer = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let payer = if bearer.is_some_and(|bearer| bearer.starts_with("Bearer eyJ")) { "app" } else { "installation" };
        stage.judge.asked(&stage, life, payer, &what);
        tokio::time::sleep(life.dice().millis(10, 250)).await;
        if life.dice().happens(weather.github_limits) {
            life.gate().await;
            let wait = life.dice().between(60, 180);
            stage.note(&format!("{} {what}: too many, wait {wait} s", life.name));
            stage.judge.limited(&stage, life, payer, wait);
            let body = r#"{"message":"You have exceeded a secondary rate limit."}"#;
            return answer(403, body, Some(wait));
        }
        if life.dice().happens(weather.github.refused / 2) {
            life.gate().await;
            stage.note(&format!("{} {what}: 502", life.name));
            return answer(502, "<html>bad gateway</html>", None);
        }
        let github = stage.github();
        let act = clock::under(stage.clock(), async {
            let response = github.answer(request).await?;
            stage.note(&format!("  {}", response.status().as_u16()));
            Ok(response)
        });
        life.call(&what, weather.github, None, |why| why, act).await
    }
}

fn answer(status: u16, body: &'static str, retry_after: Option<u64>) -> Result<http::Response<Bytes>, String> {
    let mut response = http::Response::builder().status(status);
    if let Some(seconds) = retry_after {
        response = response.header(http::header::RETRY_AFTER, seconds);
    }
    response.body(Bytes::from_static(body.as_bytes())).map_err(|error| error.to_string())
}

/// Deliveries to the program, wherever it lives.
#[derive(Default)]
pub(super) struct FromGitHub {
    pub(super) stage: OnceLock<Weak<Stage>>,
}

#[async_trait]
impl Recipient for FromGitHub {
    async fn take(&self, headers: &[(String, String)], payload: Bytes) -> Result<(u16, String), NobodyThere> {
        let stage = self.stage.get().and_then(Weak::upgrade).ok_or(NobodyThere)?;
        tokio::time::sleep(stage.dice.millis(5, 200)).await;
        let there: Vec<_> = stage
            .machines
            .iter()
            .filter_map(|machine| Some((machine.clone(), machine.running()?)))
            .filter(|(_, running)| running.life.state() != State::Dead && !running.life.stop.is_cancelled())
            .collect();
        let Some((machine, running)) = stage.dice.one_of(&there) else { return Err(NobodyThere) };
        let text = |name: &str| headers.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value.as_str());
        let (guid, event) = (text("X-GitHub-Delivery").to_owned(), text("X-GitHub-Event").to_owned());
        let job = queued_job(&payload);
        running.life.gate().await;
        let deliver = webhook::deliver(&running.receiver, fields(headers), payload);
        let (status, body) = clock::under(machine.clock(&stage), deliver).await;
        running.life.gate().await;
        stage.note(&format!("{} answers {} to {event} {guid}", running.life.name, status.as_u16()));
        if let (true, Some(job)) = (status.is_success(), job) {
            stage.judge.acknowledged(job);
        }
        if stage.dice.happens(stage.weather().answer_lost) {
            return Err(NobodyThere);
        }
        Ok((status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
    }
}

/// The job that a delivery says is queued.
fn queued_job(payload: &[u8]) -> Option<JobId> {
    let payload: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let job = payload.get("workflow_job")?;
    let queued = payload.get("action")? == "queued" && job.get("status")? == "queued";
    queued.then(|| job.get("id")?.as_u64().map(JobId)).flatten()
}

pub(super) fn fields(headers: &[(String, String)]) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value.as_str()).ok()?))
    };
    headers.iter().filter_map(pair).collect()
}
