//! Texts with placeholders, and the cards made of them. Pure; read when the configuration is.

use super::event::Kind;
use std::collections::BTreeMap;

/// A text with `{placeholders}`; `{{` and `}}` stand for the braces themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A value. In code (between backticks) nothing is marked up, so nothing is to be escaped.
    Value {
        name: String,
        in_code: bool,
    },
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// `{` without `}`.
    #[error("`{{` has no `}}`")]
    Unclosed,
    /// What stands between them is no name.
    #[error("`{{…}}` holds no name")]
    NotAName,
}

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// A brace is open, or holds something else than a name.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut code = Code::default();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal += before;
            if let Some(after) = from.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = from.strip_prefix('}') {
                // Alone it can mean nothing else.
                literal.push('}');
                rest = after;
            } else {
                let (name, after) = from[1..].split_once('}').ok_or(TemplateFault::Unclosed)?;
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    return Err(TemplateFault::NotAName);
                }
                code.read(&literal);
                parts.extend(some_text(&mut literal));
                parts.push(Part::Value { name: name.to_owned(), in_code: code.is_open() });
                rest = after;
            }
        }
        literal += rest;
        parts.extend(some_text(&mut literal));
        Ok(Self { parts })
    }

    /// This one, and the other in a line below.
    #[must_use]
    pub fn followed_by(mut self, other: &Self) -> Self {
        self.parts.push(Part::Text("\n".to_owned()));
        self.parts.extend(other.parts.iter().cloned());
        self
    }

    /// The names of its placeholders.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value { name, .. } => Some(name.as_str()),
        })
    }

    /// The text, each placeholder replaced by what `value` gives for its name and whether it stands in code.
    pub fn fill(&self, value: impl Fn(&str, bool) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Value { name, in_code } => value(name, *in_code),
            })
            .collect()
    }
}

fn some_text(literal: &mut String) -> Option<Part> {
    let text = std::mem::take(literal);
    (!text.is_empty()).then_some(Part::Text(text))
}

/// Whether backticks are open at some place of a text.
#[derive(Debug, Default)]
struct Code {
    fence: bool,
    inline: bool,
}

impl Code {
    fn read(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find('`') {
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("```") {
                self.fence = !self.fence;
                rest = after;
            } else {
                self.inline = !self.inline && !self.fence;
                rest = &rest[1..];
            }
        }
    }

    fn is_open(&self) -> bool {
        self.fence || self.inline
    }
}

/// How an event is told: all that a user may say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// The heading.
    pub title: Option<Template>,
    /// The text.
    pub text: Option<Template>,
    /// Red, green and blue.
    pub color: Option<u32>,
    /// Slack: whether it is a coloured block; else it is plain text.
    pub use_attachment: bool,
    /// Short facts below the text.
    pub fields: Option<Vec<CardField>>,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardField {
    /// Its name.
    pub name: Template,
    /// Its value.
    pub value: Template,
    /// Whether it may stand beside another.
    pub short: bool,
}

impl Card {
    /// All its texts.
    pub fn texts(&self) -> impl Iterator<Item = &Template> {
        let fields = self.fields.iter().flatten().flat_map(|field| [&field.name, &field.value]);
        self.title.iter().chain(&self.text).chain(fields)
    }
}

/// The user's cards of one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cards {
    /// Of single kinds.
    pub own: BTreeMap<Kind, Card>,
    /// Of all others.
    pub default: Option<Card>,
}

impl Cards {
    /// The one that is used for an event of this kind; none: the built-in one.
    pub fn of(&self, kind: Kind) -> Option<&Card> {
        self.own.get(&kind).or(self.default.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, TemplateFault> {
        let template = Template::parse(text)?;
        Ok(template.fill(|name, in_code| if in_code { format!("<{name}>") } else { name.to_uppercase() }))
    }

    #[test]
    fn placeholders_are_filled_and_braces_escaped() {
        assert_eq!(filled("Runner *{runner_name}* is up").unwrap(), "Runner *RUNNER_NAME* is up");
        assert_eq!(filled("{a}{b}").unwrap(), "AB");
        assert_eq!(filled("{{a}} {a} }} } é").unwrap(), "{a} A } } é");
        assert_eq!(filled("").unwrap(), "");
        assert_eq!(filled("{{{a}}}").unwrap(), "{A}");
    }

    #[test]
    fn values_in_code_are_known_as_such() {
        assert_eq!(filled("```{a}``` {b} `{c}` {d}").unwrap(), "```<a>``` B `<c>` D");
        assert_eq!(filled("```x `{a}` {b}``` {c}").unwrap(), "```x `<a>` <b>``` C");
    }

    #[test]
    fn what_is_no_template_is_told() {
        assert_eq!(filled("{a"), Err(TemplateFault::Unclosed));
        for text in ["{}", "{a.b}", "{a!r}", "{a:>10}", "{ a }", "{x.__class__}", "{é}"] {
            assert_eq!(filled(text), Err(TemplateFault::NotAName), "{text}");
        }
    }
}
