//! News in the form that each recipient takes. Pure.

mod discord;
mod generic;
mod slack;
mod teams;
mod text;

use super::event::{Event, Kind, shown};
use super::template::{Card, Template};
use super::{News, Notice};
use crate::config::{Form, Recipient};
use secrecy::SecretString;
use serde_json::Value;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The body: JSON.
    pub body: Vec<u8>,
    /// Headers beside `Content-Type`.
    pub headers: Vec<(String, SecretString)>,
}

/// A card with all its values, in the marks of one recipient.
struct Filled {
    title: String,
    text: String,
    color: u32,
    fields: Vec<Fact>,
    attachment: bool,
    footer: String,
}

struct Fact {
    name: String,
    value: String,
    short: bool,
}

/// How a value is written so that none of it is taken for a mark: the value, and whether it stands in code.
type Escape = fn(&str, bool) -> String;

/// What is only of interest to templates of one's own.
const NOT_SHOWN: &[&str] = &["runner_type", "techno", "techno_version", "base_image", "labels"];

/// The message for this recipient.
pub(super) fn payload(recipient: &Recipient, notice: &Notice) -> Payload {
    let card = recipient.cards.of(notice.news.kind());
    match &recipient.form {
        Form::Slack { username, channel } => {
            plain(&slack::body(&fill(card, notice, slack::escape), notice.at, username, channel.as_deref()))
        }
        Form::Discord { username, avatar_url } => {
            // A footer knows no marks there.
            let filled = Filled { footer: footer(notice), ..fill(card, notice, discord::escape) };
            plain(&discord::body(&filled, notice.at, username, avatar_url.as_deref()))
        }
        Form::Teams { message_card: false } => Payload {
            body: teams::bounded(fill(card, notice, teams::escape), teams::adaptive_card),
            headers: Vec::new(),
        },
        Form::Teams { message_card: true } => Payload {
            body: teams::bounded(fill(card, notice, teams::escape_html), teams::message_card),
            headers: Vec::new(),
        },
        Form::Generic { secret, headers } => generic::payload(notice, secret.as_ref(), headers),
    }
}

fn plain(body: &Value) -> Payload {
    Payload { body: body.to_string().into_bytes(), headers: Vec::new() }
}

/// Fills a card; the built-in one where there is none, or where it is silent.
fn fill(card: Option<&Card>, notice: &Notice, escape: Escape) -> Filled {
    let kind = notice.news.kind();
    let color = card.and_then(|card| card.color).unwrap_or(kind.level().color());
    let footer = escape(&footer(notice), false);
    let attachment = card.is_none_or(|card| card.use_attachment);
    let event = match &notice.news {
        News::One(event) => event,
        News::Many { kind, count, first } => {
            return Filled {
                title: format!("{}: {count} times", kind.title()),
                text: digest_text(*count, first, escape),
                color,
                fields: Vec::new(),
                attachment,
                footer,
            };
        }
    };
    let values = Values::of(notice, event);
    let filled = |template: &Template| template.fill(|name, in_code| escape(&values.shown(name), in_code));
    let title = card.and_then(|card| card.title.as_ref()).map_or_else(|| kind.title().to_owned(), filled);
    let text = match card.and_then(|card| card.text.as_ref()) {
        Some(text) => filled(text),
        None => filled(&sentence(kind)),
    };
    let fields = match card {
        Some(card) => card.fields.iter().flatten().map(|field| Fact {
            name: filled(&field.name),
            value: filled(&field.value),
            short: field.short,
        }),
        None => return Filled { title, text, color, fields: values.facts(escape), attachment, footer },
    };
    Filled { title, text, color, fields: fields.collect(), attachment, footer }
}

/// Who says it.
fn footer(notice: &Notice) -> String {
    format!("runnerfleet • {} • {}", notice.instance, notice.host)
}

fn digest_text(count: usize, first: &[Event], escape: Escape) -> String {
    let mut lines: Vec<_> = first.iter().map(|event| format!("• {}", escape(&message(event), false))).collect();
    if count > first.len() {
        lines.push(format!("… and {} more", count - first.len()));
    }
    lines.join("\n")
}

/// An event's own sentence, as a template.
fn sentence(kind: Kind) -> Template {
    // A test reads all of them.
    Template::parse(kind.text()).unwrap_or_default()
}

/// An event in one line, without any marks.
pub(super) fn message(event: &Event) -> String {
    let data = event.data();
    sentence(event.kind()).fill(|name, _| {
        let value = data.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        shown(name, value.unwrap_or(&Value::Null))
    })
}

/// What placeholders stand for.
struct Values {
    kind: Kind,
    known: Vec<(&'static str, Value)>,
}

impl Values {
    fn of(notice: &Notice, event: &Event) -> Self {
        let kind = event.kind();
        let mut known = event.data();
        known.push(("event_type", Value::from(kind.name())));
        known.push(("title", Value::from(kind.title())));
        known.push(("message", Value::from(message(event))));
        known.push(("timestamp", Value::from(format!("{:.0}", notice.at))));
        known.push(("instance", Value::from(notice.instance.as_str())));
        known.push(("host", Value::from(notice.host.as_str())));
        Self { kind, known }
    }

    fn shown(&self, name: &str) -> String {
        let field = self.kind.field(name);
        let value = field.and_then(|field| self.known.iter().find(|(known, _)| *known == field));
        value.map_or_else(|| "-".to_owned(), |(name, value)| shown(name, value))
    }

    /// What is known and not in the sentence already.
    fn facts(&self, escape: Escape) -> Vec<Fact> {
        let sentence = sentence(self.kind);
        let said: Vec<&str> = sentence.names().collect();
        self.kind
            .fields()
            .iter()
            .filter(|name| !said.contains(name) && !NOT_SHOWN.contains(name))
            .filter_map(|name| {
                let (_, value) = self.known.iter().find(|(known, value)| known == name && !value.is_null())?;
                let value = escape(&shown(name, value), false);
                Some(Fact { name: heading(name), short: value.len() < 40, value })
            })
            .collect()
    }
}

/// `error_message` -> `Error message`.
fn heading(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
