//! Values that are one word in the file: how each is read, and how the schema describes it.

use super::node::{Kind, Node};
use super::reading::{Reading, Spot};
use super::section::Decode;
use serde_json::{Value as Json, json};

/// A value that is one scalar.
pub(super) trait Leaf: Sized {
    /// How YAML has to take it. A text in quotes is no number, even where it looks like one.
    const KIND: Kind = Kind::Text;

    /// Reads it, its variables filled in.
    fn parse(text: &str) -> Result<Self, Wrong>;

    /// JSON Schema.
    fn schema() -> Json;

    /// Whether `text` is shown in messages and excerpts.
    fn may_be_shown(text: &str) -> bool {
        // `https://user:password@host` was never meant to be here, but happens.
        !(text.contains("://") && text.contains('@'))
    }
}

/// Why a text is not such a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Follows the value: "is not a time". Never repeats the value.
    says: String,
    /// What would be right. Never repeats the value; may be empty.
    hint: String,
    /// A better hint that repeats the value or a part of it. Told only where the value stands in the file.
    guess: Option<String>,
}

impl Wrong {
    pub(super) fn new(says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { says: says.into(), hint: hint.into(), guess: None }
    }

    pub(super) fn guess(self, guess: impl Into<String>) -> Self {
        Self { guess: Some(guess.into()), ..self }
    }

    /// What follows the value.
    pub(super) fn says(&self) -> &str {
        &self.says
    }

    /// What would be right; `open` where the value may be repeated.
    pub(super) fn hint(self, open: bool) -> String {
        self.guess.filter(|_| open).unwrap_or(self.hint)
    }
}

impl<T: Leaf> Decode for T {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let what = match T::KIND {
            Kind::Bool => "`true` or `false`",
            Kind::Number => "a number",
            Kind::Text => "a text",
        };
        let scalar = reading.scalar(node, spot, what)?;
        let can_be_shown = T::may_be_shown(&scalar.written);
        if !can_be_shown {
            reading.hide(node);
        }
        let shown = if can_be_shown { scalar.shown() } else { "the value".to_owned() };
        if reading.is_legacy()
            && let Some(text) = super::legacy::spelling_today(T::KIND, &scalar)
            && let Ok(value) = T::parse(&text)
        {
            reading.old_spelling(node, spot, &text);
            return Some(value);
        }
        match T::parse(&scalar.text) {
            Ok(_) if T::KIND != Kind::Text && scalar.kind != T::KIND && !scalar.has_variables => {
                reading.problem(spot, format!("expected {what}, found a text"), "leave the quotes out");
                None
            }
            Ok(value) => Some(value),
            Err(wrong) => {
                let message = format!("{shown} {}", wrong.says);
                reading.problem(spot, message, wrong.hint(can_be_shown && !scalar.has_variables));
                None
            }
        }
    }

    fn schema() -> Json {
        <T as Leaf>::schema()
    }
}

/// The schema of a value that is no text, or a variable that holds one.
pub(super) fn variable_or(schema: &Json) -> Json {
    json!({ "anyOf": [schema, { "type": "string", "pattern": r"\$\{" }] })
}

/// The schema of a text: YAML takes `3.10` for a number, we keep its spelling.
pub(super) fn text_schema() -> Json {
    json!({ "type": ["string", "number", "boolean"] })
}

impl Leaf for bool {
    const KIND: Kind = Kind::Bool;

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(Wrong::new("is neither `true` nor `false`", "")),
        }
    }

    fn schema() -> Json {
        variable_or(&json!({ "type": "boolean" }))
    }
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Whole<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Whole<MIN, MAX> {
    /// The number, where the type's bounds fit.
    pub(super) fn get<N: TryFrom<i64>>(self) -> Option<N> {
        N::try_from(self.0).ok()
    }
}

impl<const MIN: i64, const MAX: i64> Leaf for Whole<MIN, MAX> {
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Wrong::new("is not a whole number", ""));
        }
        match text.parse::<i64>() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Ok(number) if number < MIN => Err(Wrong::new("is too small", format!("{MIN} is the least"))),
            _ => Err(Wrong::new("is too large", format!("{MAX} is the most"))),
        }
    }

    fn schema() -> Json {
        variable_or(&json!({ "type": "integer", "minimum": MIN, "maximum": MAX }))
    }
}

/// Any text that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl Leaf for Text {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.trim().is_empty() { Err(Wrong::new("is empty", "")) } else { Ok(Self(text.to_owned())) }
    }

    fn schema() -> Json {
        text_schema()
    }
}

/// Any text, empty as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AnyText(pub(super) String);

impl Leaf for AnyText {
    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        text_schema()
    }

    fn may_be_shown(_: &str) -> bool {
        // Environment values: not meant for secrets, and used for them all the same.
        false
    }
}

/// The one word of `words` that `text` was meant to be, if one is near.
pub(super) fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.to_lowercase().replace('-', "_");
    let text = fold(text);
    let mut best: Option<(usize, &str)> = None;
    for word in words {
        let most = 1.max(word.len() / 4);
        // Most words are told apart by their length alone, which is cheap.
        if text.len().abs_diff(word.len()) > most {
            continue;
        }
        let distance = strsim::osa_distance(&text, &fold(word));
        if distance <= most && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, word));
        }
    }
    best.map(|(_, word)| word)
}

/// A value that is one of a few words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }
     $(later { $($later:literal),+ })?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl crate::config::leaf::Leaf for $name {
            fn parse(text: &str) -> Result<Self, crate::config::leaf::Wrong> {
                let words: &[&str] = &[$($word),+];
                let later: &[&str] = &[$($($later),+)?];
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ if later.contains(&text) => Err(crate::config::leaf::Wrong::new(
                        "is not in this version yet",
                        format!("it knows {}", crate::config::leaf::listed(words)),
                    )),
                    _ => {
                        let wrong = crate::config::leaf::Wrong::new(
                            "is not known",
                            format!("it is {}", crate::config::leaf::listed(words)),
                        );
                        Err(match crate::config::leaf::nearest(text, words.iter().copied()) {
                            Some(word) => wrong.guess(format!("did you mean `{word}`?")),
                            None => wrong,
                        })
                    }
                }
            }

            fn schema() -> serde_json::Value {
                crate::config::leaf::variable_or(&serde_json::json!({ "enum": [$($word),+] }))
            }
        }
    };
}
pub(super) use choice;

/// `` `a`, `b` or `c` ``.
pub(super) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

/// For tests of leaves: these texts are taken, those are not.
#[cfg(test)]
pub(super) fn takes<T: Leaf>(good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(T::parse(text).is_ok(), "`{text}` was refused");
    }
    for text in bad {
        assert!(T::parse(text).is_err(), "`{text}` was taken");
    }
}
