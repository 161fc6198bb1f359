//! Routes about the App's hook: its configuration, and the log of deliveries.

use super::call::Call;
use crate::simulation::github::answer::{Answer, Refusal};
use crate::simulation::github::options::WebhookTarget;
use crate::simulation::github::payload;
use crate::simulation::github::webhooks::Delivery;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

pub(super) fn config(call: &Call<'_>) -> Result<Answer, Refusal> {
    let target = call.shared.courier.target();
    let mut shown = json!({ "content_type": "json", "insecure_ssl": "0" });
    if let Some(target) = target {
        shown["url"] = json!(target.url);
        if target.secret.is_some() {
            // GitHub never gives the secret back.
            shown["secret"] = json!("********");
        }
    }
    Ok(Answer::ok(shown))
}

pub(super) fn set_config(call: &Call<'_>) -> Result<Answer, Refusal> {
    let text = |name: &str| call.body.get(name).and_then(Value::as_str);
    let old = call.shared.courier.target();
    let url = text("url").map(str::to_owned).or_else(|| old.as_ref().map(|target| target.url.clone()));
    let secret = match text("secret") {
        Some(secret) => Some(SecretString::from(secret)),
        None => old.and_then(|target| target.secret),
    };
    call.shared.courier.set_target(url.map(|url| WebhookTarget { url, secret }));
    config(call)
}

/// The log, newest first; the cursor is in the `Link` header.
pub(super) fn deliveries(call: &Call<'_>) -> Result<Answer, Refusal> {
    let before = match call.query("cursor") {
        None => u64::MAX,
        Some(cursor) => cursor
            .strip_prefix("v1_")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Refusal::new(422, "Invalid cursor"))?,
    };
    let wanted = call.query("status");
    let mut log = call.shared.courier.log();
    log.retain(|it| {
        it.id < before
            && match wanted {
                // As GitHub documents it: a delivery that never connected is in neither list.
                Some("failure") => (400..600).contains(&it.status_code),
                Some("success") => (200..400).contains(&it.status_code),
                _ => true,
            }
    });
    log.sort_by_key(|it| std::cmp::Reverse(it.id));
    let more = log.len() > call.per_page();
    log.truncate(call.per_page());
    let link = log
        .last()
        .filter(|_| more)
        .map(|last| ("link".to_owned(), call.link_with("cursor", &format!("v1_{}", last.id), "next")));
    Ok(Answer::ok(log.iter().map(|it| Value::Object(item(it))).collect()).with_header(link))
}

/// What the list shows of a delivery.
fn item(it: &Delivery) -> Map<String, Value> {
    let shown = json!({
        "id": it.id,
        "guid": it.guid,
        "delivered_at": it.delivered_at.to_string(),
        "redelivery": it.redelivery,
        "duration": it.duration.as_secs_f64(),
        "status": it.status,
        "status_code": it.status_code,
        "event": it.event,
        "action": it.action,
        "installation_id": it.installation_id,
        "repository_id": it.repository_id,
        "throttled_at": null,
    });
    match shown {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub(super) fn delivery(call: &Call<'_>) -> Result<Answer, Refusal> {
    let it = one(call)?;
    let headers = |pairs: &[(String, String)]| -> Map<String, Value> {
        pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
    };
    let mut shown = item(&it);
    shown.insert("url".into(), json!(it.url));
    let payload: Value = serde_json::from_slice(&it.payload).unwrap_or(Value::Null);
    shown.insert("request".into(), json!({ "headers": headers(&it.request_headers), "payload": payload }));
    shown.insert("response".into(), json!({ "headers": headers(&it.response_headers), "payload": it.response_body }));
    Ok(Answer::ok(Value::Object(shown)))
}

/// Sends it again: the same GUID and payload under a new id.
pub(super) fn redeliver(call: &Call<'_>) -> Result<Answer, Refusal> {
    let it = one(call)?;
    call.shared.redeliver(&it);
    Ok(Answer::accepted())
}

fn one(call: &Call<'_>) -> Result<Delivery, Refusal> {
    let id = call.number("delivery_id")?;
    call.shared.courier.log().into_iter().find(|it| it.id == id).ok_or_else(|| {
        // The description has no 404 here.
        Refusal::new(422, format!("No delivery {id} at {}", payload::moment(call.now)))
    })
}
