//! JSON for a program: `{event_type, timestamp, data}`, signed.

use super::{Payload, message};
use crate::notify::event::Event;
use crate::notify::{News, Notice};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::Sha256;

pub(super) fn payload(notice: &Notice, secret: Option<&SecretString>, more: &[(String, SecretString)]) -> Payload {
    let kind = notice.news.kind();
    let mut data = match &notice.news {
        News::One(event) => data_of(event),
        News::Many { count, first, .. } => {
            let first: Vec<_> = first.iter().map(|event| Value::Object(data_of(event))).collect();
            let mut data = Map::new();
            data.insert("message".to_owned(), json!(format!("{}: {count} times", kind.title())));
            data.insert("count".to_owned(), json!(count));
            data.insert("events".to_owned(), Value::Array(first));
            data
        }
    };
    data.insert("instance".to_owned(), json!(notice.instance));
    data.insert("host".to_owned(), json!(notice.host));
    let body = json!({ "event_type": kind.name(), "timestamp": format!("{:.3}", notice.at), "data": data });
    let body = body.to_string().into_bytes();
    let mut headers = vec![
        ("X-Runnerfleet-Event".to_owned(), SecretString::from(kind.name())),
        ("X-Runnerfleet-Delivery".to_owned(), SecretString::from(notice.id.as_str())),
    ];
    if let Some(signature) = secret.and_then(|secret| signature(secret, &body)) {
        headers.push(("X-Runnerfleet-Signature-256".to_owned(), SecretString::from(signature)));
    }
    headers.extend(more.iter().cloned());
    Payload { body, headers }
}

/// What is known of an event; what is not known this time is left out.
fn data_of(event: &Event) -> Map<String, Value> {
    let known = event.data().into_iter().filter(|(_, value)| !value.is_null());
    let mut data: Map<String, Value> = known.map(|(name, value)| (name.to_owned(), value)).collect();
    data.insert("message".to_owned(), json!(message(event)));
    data
}

/// HMAC-SHA-256 over the raw body, as GitHub signs its own deliveries.
fn signature(secret: &SecretString, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(body);
    Some(format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
}
