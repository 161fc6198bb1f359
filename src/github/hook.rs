//! The App's hook: where it delivers, and the log of what it delivered.

use super::Client;
use super::error::{Error, refusal};
use super::limits::Left;
use super::line::{Endpoint, Line, Payer, Repeat, Request};
use http::Method;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// GitHub's largest page.
const PER_PAGE: usize = 100;

/// 50 000 deliveries: what a busy organization gets in the three days that GitHub's log goes back.
const PAGES_MAX: usize = 500;

/// Where the hook delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    /// The receiver's address.
    pub url: Option<String>,
    /// `json` or `form`.
    pub content_type: Option<String>,
    /// Whether GitHub takes any certificate.
    pub insecure_ssl: bool,
    /// Whether deliveries are signed. The secret itself GitHub never shows.
    pub has_secret: bool,
}

/// What is to change of it; what is not named stays.
#[derive(Debug, Clone, Default)]
pub struct HookChange {
    /// The receiver's address.
    pub url: Option<String>,
    /// The secret that deliveries are signed with from now on, those that are sent again included.
    pub secret: Option<SecretString>,
    /// Sets the content type to `application/json`.
    pub json: bool,
}

/// One attempt of a delivery, as GitHub's log shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// GitHub's id of the attempt; more than 53 bits, so a text wherever JSON is written.
    pub id: u64,
    /// `X-GitHub-Delivery`: the same for each attempt.
    pub guid: String,
    /// When it was sent.
    pub delivered_at: Timestamp,
    /// Whether somebody asked for it again.
    pub redelivery: bool,
    /// How long the receiver took, in seconds.
    pub duration: f64,
    /// `OK`, or GitHub's words.
    pub status: String,
    /// The receiver's answer; 0 where no connection came about.
    pub status_code: u16,
    /// `workflow_job`, `ping`, …
    pub event: String,
    /// `queued`, …
    pub action: Option<String>,
    /// Through which installation.
    pub installation_id: Option<u64>,
    /// Of which repository.
    pub repository_id: Option<u64>,
}

/// A page of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryPage {
    /// At most a hundred attempts, newest first.
    pub deliveries: Vec<Delivery>,
    /// Where the next, older page begins; none where this is the last.
    pub next: Option<String>,
}

/// What was sent.
#[derive(Debug, Clone)]
pub struct DeliveryRequest {
    /// The attempt.
    pub delivery: Delivery,
    /// Headers as sent.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub payload: Value,
}

impl DeliveryRequest {
    /// A header as sent, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Delivery {
    /// Whether the receiver took it. GitHub's own script judges by this word: a delivery that never connected has no code.
    pub fn ok(&self) -> bool {
        self.status == "OK"
    }
}

#[derive(Deserialize)]
struct HookAnswer {
    url: Option<String>,
    content_type: Option<String>,
    secret: Option<String>,
    /// A number or a text of one.
    insecure_ssl: Option<Value>,
}

#[derive(Deserialize)]
struct DeliveryAnswer {
    id: u64,
    guid: String,
    delivered_at: Timestamp,
    #[serde(default)]
    redelivery: bool,
    #[serde(default)]
    duration: f64,
    status: String,
    #[serde(default)]
    status_code: i64,
    event: String,
    action: Option<String>,
    installation_id: Option<u64>,
    repository_id: Option<u64>,
}

#[derive(Deserialize)]
struct DetailAnswer {
    #[serde(flatten)]
    delivery: DeliveryAnswer,
    request: RequestAnswer,
}

#[derive(Deserialize)]
struct RequestAnswer {
    headers: Option<BTreeMap<String, Value>>,
    payload: Option<Value>,
}

impl From<HookAnswer> for HookConfig {
    fn from(answer: HookAnswer) -> Self {
        let insecure = answer.insecure_ssl.is_some_and(|it| it == json!("1") || it == json!(1));
        Self {
            url: answer.url.filter(|url| !url.is_empty()),
            content_type: answer.content_type,
            insecure_ssl: insecure,
            has_secret: answer.secret.is_some_and(|secret| !secret.is_empty()),
        }
    }
}

impl From<DeliveryAnswer> for Delivery {
    fn from(answer: DeliveryAnswer) -> Self {
        Self {
            id: answer.id,
            guid: answer.guid,
            delivered_at: answer.delivered_at,
            redelivery: answer.redelivery,
            duration: answer.duration,
            status: answer.status,
            status_code: u16::try_from(answer.status_code).unwrap_or_default(),
            event: answer.event,
            action: answer.action,
            installation_id: answer.installation_id,
            repository_id: answer.repository_id,
        }
    }
}

impl Client {
    /// Where the App's hook delivers.
    pub async fn hook(&self) -> Result<HookConfig, Error> {
        let request = Request::get(Endpoint::Hook, "app/hook/config".to_owned(), "read the App's webhook".to_owned());
        self.read_as_the_app::<HookAnswer>(&request).await.map(HookConfig::from)
    }

    /// Changes where or how it delivers.
    pub async fn set_hook(&self, change: &HookChange) -> Result<HookConfig, Error> {
        let mut body = Map::new();
        if let Some(url) = &change.url {
            body.insert("url".to_owned(), json!(url));
        }
        if let Some(secret) = &change.secret {
            body.insert("secret".to_owned(), json!(secret.expose_secret()));
        }
        if change.json {
            body.insert("content_type".to_owned(), json!("json"));
        }
        let request = Request {
            method: Method::PATCH,
            path: "app/hook/config".to_owned(),
            body: Some(Value::Object(body).to_string().into()),
            etag: None,
            what: "change the App's webhook".to_owned(),
            // The same change twice is the same change.
            repeat: Repeat::Safe,
            endpoint: Endpoint::Hook,
        };
        self.read_as_the_app::<HookAnswer>(&request).await.map(HookConfig::from)
    }

    /// The log of the App's deliveries, newest first: those since the moment, and not more than `most`. One request for each
    /// hundred.
    pub async fn deliveries(&self, since: Option<Timestamp>, most: usize) -> Result<Vec<Delivery>, Error> {
        let (mut all, mut cursor): (Vec<Delivery>, Option<String>) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let per_page = most.saturating_sub(all.len()).clamp(1, PER_PAGE);
            let page = self.page_of_deliveries(cursor.as_deref(), per_page).await?;
            let before = all.len();
            let mut reached = page.deliveries.is_empty();
            for delivery in page.deliveries {
                if since.is_some_and(|since| delivery.delivered_at < since) {
                    reached = true;
                    break;
                }
                all.push(delivery);
            }
            cursor = page.next;
            if reached || cursor.is_none() || all.len() >= most || all.len() == before {
                break;
            }
        }
        all.truncate(most);
        Ok(all)
    }

    /// One page of that log: the newest, or the one at which a cursor points.
    pub async fn delivery_page(&self, cursor: Option<&str>) -> Result<DeliveryPage, Error> {
        self.page_of_deliveries(cursor, PER_PAGE).await
    }

    async fn page_of_deliveries(&self, cursor: Option<&str>, per_page: usize) -> Result<DeliveryPage, Error> {
        let what = "read the log of the App's deliveries";
        let mut path = format!("app/hook/deliveries?per_page={per_page}");
        if let Some(cursor) = cursor {
            path.push_str("&cursor=");
            path.push_str(&super::pages::escaped(cursor));
        }
        let answer = self.ask_as_the_app(&Request::get(Endpoint::Hook, path, what.to_owned())).await?;
        let page: Vec<DeliveryAnswer> = super::app::read(&answer, what)?;
        Ok(DeliveryPage {
            deliveries: page.into_iter().map(Delivery::from).collect(),
            next: answer.header("link").and_then(next_cursor),
        })
    }

    /// What is left of the App's own budget, from which its log is read; none where GitHub has not told.
    pub fn left_for_the_app(&self) -> Option<Left> {
        self.inner.line.left(&Payer::App, Endpoint::Hook)
    }

    /// One attempt with what was sent.
    pub async fn delivery(&self, id: u64) -> Result<DeliveryRequest, Error> {
        let request = Request::get(Endpoint::Hook, format!("app/hook/deliveries/{id}"), format!("read delivery {id}"));
        let detail: DetailAnswer = self.read_as_the_app(&request).await?;
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(DeliveryRequest {
            delivery: detail.delivery.into(),
            headers: detail.request.headers.unwrap_or_default().into_iter().map(|(k, v)| (k, text(v))).collect(),
            payload: detail.request.payload.unwrap_or(Value::Null),
        })
    }

    /// Asks GitHub to send it again. The same GUID comes under a new id.
    pub async fn redeliver(&self, id: u64) -> Result<(), Error> {
        let what = format!("have delivery {id} sent again");
        let request = Request {
            method: Method::POST,
            path: format!("app/hook/deliveries/{id}/attempts"),
            body: None,
            etag: None,
            what: what.clone(),
            // Once more would be another delivery; the receiver knows it again all the same.
            repeat: Repeat::OnceMore,
            endpoint: Endpoint::Hook,
        };
        let answer = self.ask_as_the_app(&request).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refusal(&answer, &what, Line::now())) }
    }
}

/// The cursor in the `next` link. Only the cursor is taken: the links of some servers point elsewhere.
fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let address = next.split('<').nth(1)?.split('>').next()?;
    let query = address.split_once('?')?.1;
    let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor="))?;
    unescaped(cursor)
}

/// `%2F` and the like, read back.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|it| u8::try_from(it).ok());
            bytes.push(digit(rest.next())? * 16 + digit(rest.next())?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_taken_out_of_the_link() {
        let link = "<https://api.github.com/app/hook/deliveries?per_page=100&cursor=v1_12%2B9>; rel=\"next\"";
        assert_eq!(next_cursor(link).as_deref(), Some("v1_12+9"));
        let other = "<https://api.github.com/app/hook/deliveries?cursor=v1_1>; rel=\"first\"";
        assert_eq!(next_cursor(other), None);
        assert_eq!(next_cursor("<https://x/?cursor=%2>; rel=\"next\""), None);
        assert_eq!(next_cursor("rel=\"next\""), None);
    }
}
