//! YAML as a tree that remembers where everything stood and how it was written.
//!
//! The YAML library has no tree of its own, and its typed reading stops at the first mistake. With this tree every
//! mistake of a file can be told at once, and `techno_version: 3.10` stays `3.10`.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Location, RenderOptions, SnippetMode, Spanned, UserMessageFormatter};
use std::fmt;

/// Containers in containers. The deepest valid file has six; each level costs stack.
const MAX_DEPTH: usize = 24;
/// Values in one file, aliases expanded. Far above any real file, far below what would be felt.
const MAX_VALUES: usize = 50_000;

/// Where something stands in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1; 0 where there is no place.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// First byte.
    pub(super) start: usize,
    /// Behind the last byte.
    pub(super) end: usize,
}

/// A value and its place. No `Debug`: it may hold a secret.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What YAML knows.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Scalar { kind: Kind, text: String },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// How YAML took a scalar. The text is kept as it was written either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Number,
    Text,
}

/// A text that is no YAML.
pub(super) struct SyntaxError {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Node {
    /// What it is, for "expected a list, found …".
    pub(super) fn is_a(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { kind: Kind::Bool, .. } => "true or false",
            Value::Scalar { kind: Kind::Number, .. } => "a number",
            Value::Scalar { kind: Kind::Text, .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a section",
        }
    }

    /// Numbers and booleans come without their spelling; it is taken from the text.
    fn respell(&mut self, source: &str) {
        match &mut self.value {
            Value::Scalar { kind: Kind::Bool | Kind::Number, text } => {
                let written = source.get(self.place.start..self.place.end).unwrap_or_default();
                // Behind a tag (`!!int 3`) stands the value itself.
                if let Some(word) = written.split_whitespace().next_back() {
                    word.trim_matches(['"', '\'']).clone_into(text);
                }
            }
            Value::Null | Value::Scalar { .. } => {}
            Value::List(items) => items.iter_mut().for_each(|item| item.respell(source)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    key.respell(source);
                    value.respell(source);
                }
            }
        }
    }
}

/// Reads one document.
pub(super) fn parse(source: &str) -> Result<Node, SyntaxError> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_VALUES, max_events: MAX_VALUES * 4 },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_VALUES },
        // All of them reach the tree, so that each is told with its place.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `on`, `yes` and the like stay texts: a label may be called so.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    match serde_yaml::from_str_with_options::<Node>(source, options) {
        Ok(mut node) => {
            node.respell(source);
            Ok(node)
        }
        Err(error) => {
            let location = error.location().unwrap_or(Location::UNKNOWN);
            let place = Place::of(&location);
            let mut style = RenderOptions::new(&UserMessageFormatter);
            style.snippets = SnippetMode::Off;
            let mut message = error.render_with_options(style);
            // The place is told apart from the message.
            if let Some(tail) = message.rfind(" at line ") {
                message.truncate(tail);
            }
            Err(SyntaxError { place, message })
        }
    }
}

impl Place {
    fn of(location: &Location) -> Self {
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let start = location.span().byte_offset().map_or(0, number);
        let length = location.span().byte_len().map_or(0, number);
        Self {
            line: number(location.line()),
            column: number(location.column()),
            start,
            end: start.saturating_add(length),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: Place::of(&spanned.defined), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar { kind: Kind::Bool, text: value.to_string() })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar { kind: Kind::Number, text: value.to_string() })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar { kind: Kind::Number, text: value.to_string() })
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Scalar { kind: Kind::Number, text: value.to_string() })
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Scalar { kind: Kind::Number, text: value.to_string() })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar { kind: Kind::Number, text: value.to_string() })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar { kind: Kind::Text, text: value.to_owned() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kind text @line:column`, a list in brackets, a map in braces.
    fn tell(node: &Node) -> String {
        let place = format!("@{}:{}", node.place.line, node.place.column);
        match &node.value {
            Value::Null => format!("null{place}"),
            Value::Scalar { kind, text } => format!("{kind:?} {text}{place}"),
            Value::List(items) => format!("[{}]", items.iter().map(tell).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{}: {}", tell(key), tell(value))).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    fn told(source: &str) -> String {
        match parse(source) {
            Ok(node) => tell(&node),
            Err(error) => format!("{}:{} {}", error.place.line, error.place.column, error.message),
        }
    }

    #[test]
    fn scalars_keep_their_spelling_and_their_place() {
        assert_eq!(
            told("a: 3.10\nb: [x, true, 0755]\nc: on\nd: !!int 3\n"),
            "{Text a@1:1: Number 3.10@1:4, Text b@2:1: [Text x@2:5, Bool true@2:8, Text 0755@2:14], \
             Text c@3:1: Text on@3:4, Text d@4:1: Number 3@4:10}"
        );
    }

    #[test]
    fn an_alias_points_to_where_its_value_is_written() {
        assert_eq!(
            told("a: &x {k: 1}\nb:\n  <<: *x\n  k: 2\n"),
            "{Text a@1:1: {Text k@1:8: Number 1@1:11}, Text b@2:1: {Text k@4:3: Number 2@4:6}}"
        );
    }

    #[test]
    fn a_repeated_key_stays_in_the_tree() {
        assert_eq!(told("a: 1\na: 2\n"), "{Text a@1:1: Number 1@1:4, Text a@2:1: Number 2@2:4}");
    }

    #[test]
    fn bombs_end_with_a_message() {
        let nested = format!("a: {}", "[".repeat(100) + &"]".repeat(100));
        assert!(told(&nested).contains("depth") || told(&nested).contains("budget"), "{}", told(&nested));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let inner = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb = format!("{bomb}a{level}: &a{level} [{inner}]\n");
        }
        assert!(parse(&bomb).is_err());
    }

    #[test]
    fn the_place_is_not_repeated_in_the_message() {
        assert_eq!(told("a: ["), "1:4 unclosed bracket '['");
    }
}
