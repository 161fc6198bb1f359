//! Slack's incoming webhooks: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use super::text::{cut, in_code};
use super::{Fact, Filled};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Slack cuts a message at 40,000 characters itself; nobody reads so many.
const TEXT: usize = 3_000;
const SHORT: usize = 256;
const VALUE: usize = 1_024;
const FIELDS: usize = 25;

/// `&`, `<` and `>` are all that Slack asks to be escaped; without them no mention (`<!channel>`) and no link can be made.
pub(super) fn escape(value: &str, is_code: bool) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if is_code { in_code(&value) } else { value }
}

pub(super) fn body(filled: &Filled, at: Timestamp, username: &str, channel: Option<&str>) -> Value {
    let title = cut(&filled.title, SHORT);
    let text = cut(&filled.text, TEXT);
    let fields = filled.fields.iter().take(FIELDS);
    let mut body = if filled.attachment {
        let fields: Vec<_> = fields
            .map(|Fact { name, value, short }| json!({ "title": cut(name, SHORT), "value": cut(value, VALUE), "short": short }))
            .collect();
        json!({
            "text": title,
            "attachments": [{
                "color": format!("#{:06x}", filled.color),
                "fallback": cut(&format!("{title}: {text}"), TEXT),
                "text": text,
                "fields": fields,
                "footer": filled.footer,
                "ts": at.as_second(),
                "mrkdwn_in": ["text", "fields"],
            }],
        })
    } else {
        let mut lines = vec![format!("*{title}*"), text];
        lines.extend(fields.map(|Fact { name, value, .. }| format!("*{}*: {}", cut(name, SHORT), cut(value, VALUE))));
        lines.retain(|line| !line.is_empty());
        json!({ "text": lines.join("\n") })
    };
    body["username"] = json!(cut(username, 80));
    if let Some(channel) = channel {
        body["channel"] = json!(channel);
    }
    body
}
