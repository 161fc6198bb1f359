//! Discord's webhooks: <https://discord.com/developers/docs/resources/webhook#execute-webhook>, with its limits on embeds.

use super::text::{cut, in_code, units};
use super::{Fact, Filled};
use jiff::Timestamp;
use serde_json::{Value, json};

const TITLE: usize = 256;
const DESCRIPTION: usize = 4_096;
const NAME: usize = 256;
const VALUE: usize = 1_024;
const FOOTER: usize = 2_048;
const FIELDS: usize = 25;
/// All texts of a message's embeds together.
const ALL: usize = 6_000;

/// A backslash takes a mark's meaning away; in code there are no marks.
pub(super) fn escape(value: &str, is_code: bool) -> String {
    if is_code {
        return in_code(value);
    }
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '[' | ']' | '(' | ')' | '#' | '<' | '@') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

pub(super) fn body(filled: &Filled, at: Timestamp, username: &str, avatar_url: Option<&str>) -> Value {
    let mut left = ALL;
    let mut fit = |text: &str, most: usize| {
        let text = cut(text, most.min(left));
        left = left.saturating_sub(units(&text));
        text
    };
    let title = fit(&filled.title, TITLE);
    let footer = fit(&filled.footer, FOOTER);
    let description = fit(&filled.text, DESCRIPTION);
    let mut fields = Vec::new();
    for Fact { name, value, short } in filled.fields.iter().take(FIELDS) {
        if left < NAME {
            break;
        }
        // Discord refuses empty ones.
        let (name, value) = (or_dash(name), or_dash(value));
        let name = cut(name, NAME.min(left / 2));
        left -= units(&name);
        let value = cut(value, VALUE.min(left));
        left -= units(&value);
        fields.push(json!({ "name": name, "value": value, "inline": short }));
    }
    let mut embed = json!({ "color": filled.color, "timestamp": format!("{at:.0}"), "footer": { "text": footer } });
    if !title.is_empty() {
        embed["title"] = json!(title);
    }
    if !description.is_empty() {
        embed["description"] = json!(description);
    }
    if !fields.is_empty() {
        embed["fields"] = json!(fields);
    }
    // Whatever a text says, nobody is rung.
    let mut body = json!({
        "username": cut(username, 80),
        "embeds": [embed],
        "allowed_mentions": { "parse": [] },
    });
    if let Some(avatar) = avatar_url {
        body["avatar_url"] = json!(avatar);
    }
    body
}

fn or_dash(text: &str) -> &str {
    if text.trim().is_empty() { "-" } else { text }
}
