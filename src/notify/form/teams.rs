//! Microsoft Teams: an Adaptive Card in the message that Workflows take
//! (<https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>), and the card of
//! the retired connectors for what still takes it.

use super::text::{cut, in_code};
use super::{Fact, Filled};
use serde_json::{Value, json};

/// Teams refuses messages over 28 KB.
const LARGEST: usize = 27_000;
const TITLE: usize = 256;
const TEXT: usize = 8_000;
const NAME: usize = 128;
const VALUE: usize = 1_024;
const FIELDS: usize = 25;

/// Adaptive Cards know a part of Markdown.
pub(super) fn escape(value: &str, is_code: bool) -> String {
    if is_code {
        return in_code(value);
    }
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | '*' | '_' | '[' | ']' | '`' | '~' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The old cards know some HTML, too.
pub(super) fn escape_html(value: &str, is_code: bool) -> String {
    escape(value, is_code).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The message, its texts cut until Teams takes it.
pub(super) fn bounded(filled: Filled, form: fn(&Filled) -> Value) -> Vec<u8> {
    let mut filled = Filled { title: cut(&filled.title, TITLE), text: cut(&filled.text, TEXT), ..filled };
    filled.fields.truncate(FIELDS);
    for fact in &mut filled.fields {
        *fact = Fact { name: cut(&fact.name, NAME), value: cut(&fact.value, VALUE), short: fact.short };
    }
    let mut most = VALUE;
    loop {
        let body = form(&filled).to_string().into_bytes();
        if body.len() <= LARGEST || most < 16 {
            return body;
        }
        most /= 2;
        filled.text = cut(&filled.text, most * TEXT / VALUE);
        for fact in &mut filled.fields {
            fact.value = cut(&fact.value, most);
        }
    }
}

pub(super) fn adaptive_card(filled: &Filled) -> Value {
    let mut body = vec![json!({
        "type": "TextBlock", "text": filled.title, "size": "Medium", "weight": "Bolder", "wrap": true,
        "color": named(filled.color),
    })];
    if !filled.text.is_empty() {
        // A single line break is none in Markdown.
        let text = filled.text.replace('\n', "\n\n");
        body.push(json!({ "type": "TextBlock", "text": text, "wrap": true }));
    }
    if !filled.fields.is_empty() {
        let facts: Vec<_> =
            filled.fields.iter().map(|fact| json!({ "title": fact.name, "value": fact.value })).collect();
        body.push(json!({ "type": "FactSet", "facts": facts }));
    }
    body.push(json!({
        "type": "TextBlock", "text": filled.footer, "size": "Small", "isSubtle": true, "wrap": true,
    }));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": body,
            },
        }],
    })
}

pub(super) fn message_card(filled: &Filled) -> Value {
    let facts: Vec<_> = filled.fields.iter().map(|fact| json!({ "name": fact.name, "value": fact.value })).collect();
    json!({
        "@type": "MessageCard",
        "@context": "https://schema.org/extensions",
        "summary": filled.title,
        "themeColor": format!("{:06X}", filled.color),
        "title": filled.title,
        "text": filled.text,
        "sections": [{ "facts": facts, "text": filled.footer, "markdown": true }],
    })
}

/// Adaptive Cards have names for a few colours only: the nearest one.
fn named(color: u32) -> &'static str {
    let [_, red, green, blue] = color.to_be_bytes().map(u32::from);
    match (red, green, blue) {
        (red, green, blue) if red.abs_diff(green) < 24 && green.abs_diff(blue) < 24 => "Default",
        (red, green, blue) if red > 180 && green > 120 && blue < green => "Warning",
        (red, green, blue) if red > green && red > blue => "Attention",
        (_, green, blue) if green >= blue => "Good",
        _ => "Accent",
    }
}
