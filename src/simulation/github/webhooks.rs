//! Deliveries: signed, sent concurrently, each tried once, all of them in a log that the API shows. GitHub never tries
//! again by itself, and promises no order.

use super::faults::{WebhookFault, WebhookFaults};
use super::model::Announcement;
use super::model::earlier;
use super::options::{App, WebhookTarget};
use super::seed::Seed;
use super::{clock, lock};
use crate::simulation::changes::Changes;
use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The log forgets the oldest beyond this; a payload has about 9 KB.
const LOG: usize = 3000;
/// So many are under way at once.
const AT_ONCE: usize = 32;
/// What a receiver's answer may add to the log.
const ANSWER_KEPT: usize = 2000;

/// One delivery, as the log has it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// GitHub's id of this attempt; more than 53 bits.
    pub id: u64,
    /// `X-GitHub-Delivery`: the same on a redelivery.
    pub guid: String,
    /// `workflow_job`, …
    pub event: String,
    /// `queued`, …
    pub action: Option<String>,
    /// When it was sent.
    pub delivered_at: Timestamp,
    /// Whether it was sent before.
    pub redelivery: bool,
    /// How long the receiver took.
    pub duration: Duration,
    /// `OK`, or what went wrong.
    pub status: String,
    /// The receiver's answer; 0 where there was none.
    pub status_code: u16,
    /// Through which installation.
    pub installation_id: Option<u64>,
    /// Of which repository.
    pub repository_id: Option<u64>,
    /// Where it went.
    pub url: String,
    /// As sent.
    pub request_headers: Vec<(String, String)>,
    /// As sent.
    pub payload: Bytes,
    /// As answered.
    pub response_headers: Vec<(String, String)>,
    /// As answered; cut where it is long.
    pub response_body: String,
}

impl Delivery {
    /// Whether the receiver took it.
    pub fn ok(&self) -> bool {
        self.status == "OK"
    }
}

/// What is to be sent.
#[derive(Debug, Clone)]
struct Parcel {
    guid: String,
    event: String,
    action: Option<String>,
    installation: Option<u64>,
    repository: Option<u64>,
    payload: Bytes,
    redelivery: bool,
}

/// Takes deliveries without a connection between: a receiver in the same process.
#[async_trait]
pub trait Recipient: Send + Sync {
    /// One delivery; the receiver's status and words.
    ///
    /// # Errors
    /// Nobody answered.
    async fn take(&self, headers: &[(String, String)], payload: Bytes) -> Result<(u16, String), NobodyThere>;
}

/// Nobody answered a delivery.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("failed to connect to host")]
pub struct NobodyThere;

/// How deliveries get there.
pub(super) enum Road {
    Wire(reqwest::Client),
    Within(Arc<dyn Recipient>, Duration),
}

impl Road {
    /// Over HTTP.
    pub(super) fn wire(timeout: Duration) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("GitHub-Hookshot/5f1c2d3")
            .build()?;
        Ok(Self::Wire(client))
    }
}

/// How an attempt ended.
struct Outcome {
    status: String,
    status_code: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Outcome {
    fn answered(status_code: u16, headers: Vec<(String, String)>, body: String) -> Self {
        let status = match status_code {
            200..300 => "OK".into(),
            _ => format!("Invalid HTTP Response: {status_code}"),
        };
        Self { status, status_code, headers, body }
    }

    fn failed(status: &str) -> Self {
        Self { status: status.into(), status_code: 0, headers: Vec::new(), body: String::new() }
    }
}

/// Sends deliveries and keeps the log.
pub(super) struct Courier {
    pub(super) faults: WebhookFaults,
    /// The hook's id.
    pub(super) hook: u64,
    /// The App's number.
    app: AtomicU64,
    target: Mutex<Option<WebhookTarget>>,
    log: Mutex<VecDeque<Delivery>>,
    ids: Mutex<(Seed, u64)>,
    held: Mutex<Option<Vec<Parcel>>>,
    under_way: AtomicUsize,
    slots: Semaphore,
    road: Road,
    /// Tells those who wait that something happened.
    version: Arc<Changes>,
    runtime: tokio::runtime::Handle,
    stop: CancellationToken,
}

impl Courier {
    pub(super) fn new(
        app: &App,
        target: Option<WebhookTarget>,
        road: Road,
        seed: u64,
        version: Arc<Changes>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            faults: WebhookFaults::default(),
            hook: 480_000_000 + seed % 1000,
            app: AtomicU64::new(app.id),
            target: Mutex::new(target),
            log: Mutex::new(VecDeque::new()),
            // Real ids need more than the 53 bits of a JavaScript number.
            ids: Mutex::new((Seed::new(seed ^ 0x00C0_FFEE), 72_057_594_037_927_936 + (seed % 1000) * 1_000_000_000)),
            held: Mutex::new(None),
            under_way: AtomicUsize::new(0),
            slots: Semaphore::new(AT_ONCE),
            road,
            version,
            runtime: tokio::runtime::Handle::current(),
            stop,
        }
    }

    pub(super) fn set_app(&self, id: u64) {
        self.app.store(id, Ordering::SeqCst);
    }

    pub(super) fn target(&self) -> Option<WebhookTarget> {
        lock(&self.target).clone()
    }

    pub(super) fn set_target(&self, target: Option<WebhookTarget>) {
        *lock(&self.target) = target;
    }

    pub(super) fn log(&self) -> Vec<Delivery> {
        lock(&self.log).iter().cloned().collect()
    }

    /// All that is in the log happened so much earlier.
    pub(super) fn backdate(&self, by: Duration) {
        for delivery in lock(&self.log).iter_mut() {
            delivery.delivered_at = earlier(delivery.delivered_at, by);
        }
    }

    /// How many are on their way (held ones included).
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst) + lock(&self.held).as_ref().map_or(0, Vec::len)
    }

    /// Keeps deliveries back from now on.
    pub(super) fn hold(&self) {
        lock(&self.held).get_or_insert_default();
    }

    /// Sends what was kept back, one after the other in the order of `arrange`, and keeps nothing back any more.
    pub(super) fn release(self: &Arc<Self>, reversed: bool) {
        let Some(mut parcels) = lock(&self.held).take() else { return };
        if reversed {
            parcels.reverse();
        }
        self.under_way.fetch_add(parcels.len(), Ordering::SeqCst);
        let courier = Arc::clone(self);
        self.runtime.spawn(async move {
            for parcel in parcels {
                courier.deliver(parcel, Duration::ZERO).await;
            }
        });
    }

    /// Something happened that hooks hear of.
    pub(super) fn announce(self: &Arc<Self>, announcement: Announcement) {
        if self.target().is_none() {
            return;
        }
        let guid = lock(&self.ids).0.guid();
        self.send(&Parcel {
            guid,
            event: announcement.event.to_owned(),
            action: announcement.action,
            installation: announcement.installation,
            repository: announcement.repository,
            payload: Bytes::from(announcement.payload.to_string()),
            redelivery: false,
        });
    }

    /// Sends an old delivery again.
    pub(super) fn again(self: &Arc<Self>, delivery: &Delivery) {
        self.send(&Parcel {
            guid: delivery.guid.clone(),
            event: delivery.event.clone(),
            action: delivery.action.clone(),
            installation: delivery.installation_id,
            repository: delivery.repository_id,
            payload: delivery.payload.clone(),
            redelivery: true,
        });
    }

    fn send(self: &Arc<Self>, parcel: &Parcel) {
        let mut times = 1;
        let mut delay = Duration::ZERO;
        match self.faults.take(parcel.action.as_deref()) {
            None => {}
            Some(WebhookFault::NeverSent) => return,
            Some(WebhookFault::Lost) => {
                return self.note(parcel, clock(), Duration::ZERO, &[], Outcome::failed("failed to connect to host"));
            }
            Some(WebhookFault::Late(by)) => delay = by,
            Some(WebhookFault::Repeated(more)) => times += more,
        }
        for _ in 0..times {
            if let Some(held) = lock(&self.held).as_mut() {
                held.push(parcel.clone());
                continue;
            }
            self.under_way.fetch_add(1, Ordering::SeqCst);
            let (courier, parcel) = (Arc::clone(self), parcel.clone());
            self.runtime.spawn(async move { courier.deliver(parcel, delay).await });
        }
    }

    /// One attempt. Whoever calls it has counted it as under way.
    async fn deliver(&self, parcel: Parcel, delay: Duration) {
        let attempt = async {
            tokio::time::sleep(delay).await;
            let Ok(_slot) = self.slots.acquire().await else { return };
            let Some(target) = self.target() else { return };
            let headers = self.headers(&parcel, &target);
            let (at, began) = (clock(), Instant::now());
            let outcome = self.post(&target.url, &headers, parcel.payload.clone()).await;
            self.note(&parcel, at, began.elapsed(), &headers, outcome);
        };
        tokio::select! {
            biased;
            () = attempt => {}
            () = self.stop.cancelled() => {}
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.version.touch();
    }

    fn headers(&self, parcel: &Parcel, target: &WebhookTarget) -> Vec<(String, String)> {
        let mut headers = vec![
            ("Accept", "*/*".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "GitHub-Hookshot/5f1c2d3".to_owned()),
            ("X-GitHub-Delivery", parcel.guid.clone()),
            ("X-GitHub-Event", parcel.event.clone()),
            ("X-GitHub-Hook-ID", self.hook.to_string()),
            ("X-GitHub-Hook-Installation-Target-ID", self.app.load(Ordering::SeqCst).to_string()),
            ("X-GitHub-Hook-Installation-Target-Type", "integration".to_owned()),
        ];
        if let Some(secret) = &target.secret {
            headers.push(("X-Hub-Signature-256", super::super::sign(secret.expose_secret(), &parcel.payload)));
        }
        headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    async fn post(&self, url: &str, headers: &[(String, String)], payload: Bytes) -> Outcome {
        let client = match &self.road {
            Road::Wire(client) => client,
            Road::Within(recipient, timeout) => {
                return match tokio::time::timeout(*timeout, recipient.take(headers, payload)).await {
                    Ok(Ok((status, body))) => Outcome::answered(status, Vec::new(), body),
                    Ok(Err(nobody)) => Outcome::failed(&nobody.to_string()),
                    Err(_) => Outcome::failed("timed out"),
                };
            }
        };
        let mut request = client.post(url).body(payload);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_timeout() => return Outcome::failed("timed out"),
            Err(_) => return Outcome::failed("failed to connect to host"),
        };
        let status = response.status();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let body = response.text().await.unwrap_or_default().chars().take(ANSWER_KEPT).collect();
        Outcome::answered(status.as_u16(), headers, body)
    }

    fn note(&self, parcel: &Parcel, at: Timestamp, duration: Duration, headers: &[(String, String)], outcome: Outcome) {
        let target = self.target();
        let mut headers = headers.to_vec();
        if let Some(target) = target.as_ref().filter(|_| headers.is_empty()) {
            headers = self.headers(parcel, target);
        }
        let mut log = lock(&self.log);
        // Under the log's lock, so that ids grow along the log.
        let id = {
            let mut ids = lock(&self.ids);
            ids.1 += 1 + ids.0.below(50) as u64;
            ids.1
        };
        log.push_back(Delivery {
            id,
            guid: parcel.guid.clone(),
            event: parcel.event.clone(),
            action: parcel.action.clone(),
            delivered_at: at,
            redelivery: parcel.redelivery,
            duration,
            status: outcome.status,
            status_code: outcome.status_code,
            installation_id: parcel.installation,
            repository_id: parcel.repository,
            url: target.map(|target| target.url).unwrap_or_default(),
            request_headers: headers,
            payload: parcel.payload.clone(),
            response_headers: outcome.headers,
            response_body: outcome.body,
        });
        while log.len() > LOG {
            log.pop_front();
        }
        drop(log);
        self.version.touch();
    }
}
