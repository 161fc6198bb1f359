//! Sections of the file: one declaration gives the struct, the reading, the defaults and the schema of a section, so
//! that none of them can know a key that the others don't.

use super::later;
use super::leaf::{listed, nearest};
use super::node::{Node, Value};
use super::reading::{Placed, Reading, Spot};
use super::schema::joined;
use serde_json::{Map, Value as Json};

/// Something that can stand behind a key.
pub(super) trait Decode: Sized {
    /// `None` after a problem was told.
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self>;

    /// JSON Schema.
    fn schema() -> Json;

    /// This value where `fallback` is the more general one (`runners_defaults`).
    fn over(self, _fallback: Self) -> Self {
        self
    }
}

/// A key's value, or why there is none.
#[derive(Debug, Clone, Default)]
pub(super) enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// It is there and wrong, which was told. Nothing more is said about it.
    Bad,
    /// It is there.
    Good(Placed<T>),
}

impl<T> Field<T> {
    pub(super) fn good(&self) -> Option<&T> {
        self.placed().map(|placed| &placed.value)
    }

    pub(super) fn placed(&self) -> Option<&Placed<T>> {
        match self {
            Self::Good(placed) => Some(placed),
            Self::Absent | Self::Bad => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// What a struct of `section!` may hold: a [`Field`], or another section.
pub(super) trait Slot: Sized {
    /// Takes it out of the section's entries.
    fn take(entries: &mut Entries<'_>, key: &Key, reading: &mut Reading<'_>) -> Self;

    /// Nothing, in a section that is not there (`bad`: that is there and is no section).
    fn blank(spot: &Spot, key: &Key, bad: bool) -> Self;

    /// This one where it is given, else the other.
    fn over(self, fallback: Self) -> Self;

    /// What holds where the file says nothing.
    fn built_in(key: &Key) -> Self;

    fn schema() -> Json;
}

/// A key as its section declares it.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) alias: Option<&'static str>,
    pub(super) about: &'static [&'static str],
    pub(super) required: bool,
    /// As one would write it in the file.
    pub(super) default: Option<&'static str>,
}

/// A struct of `section!`.
pub(super) trait Section: Sized {
    fn read(entries: &mut Entries<'_>, reading: &mut Reading<'_>) -> Self;
    fn blank_at(spot: &Spot, bad: bool) -> Self;
    /// The schema's `properties`, and which of them are required.
    fn properties(properties: &mut Map<String, Json>, required: &mut Vec<Json>);
    /// All keys, second names included.
    fn names(names: &mut Vec<&'static str>);
    /// Keys that come with a later version.
    fn later() -> &'static [&'static str];
    fn about() -> String;
}

/// The entries of one section, each taken once.
pub(super) struct Entries<'n> {
    spot: Spot,
    left: Vec<(String, &'n Node, &'n Node)>,
}

impl<T: Decode> Slot for Field<T> {
    fn take(entries: &mut Entries<'_>, key: &Key, reading: &mut Reading<'_>) -> Self {
        match entries.take(key, reading) {
            Some((node, spot)) => match T::decode(node, &spot, reading) {
                Some(value) => Self::Good(Placed { value, spot }),
                None => Self::Bad,
            },
            None if key.required => {
                reading.problem(&entries.spot.missing(key.name), "is missing", key.as_hint());
                Self::Bad
            }
            None => Self::Absent,
        }
    }

    fn blank(_: &Spot, _: &Key, bad: bool) -> Self {
        if bad { Self::Bad } else { Self::Absent }
    }

    fn over(self, fallback: Self) -> Self {
        match (self, fallback) {
            (Self::Absent, fallback) => fallback,
            (Self::Good(mine), Self::Good(general)) => {
                Self::Good(Placed { value: mine.value.over(general.value), spot: mine.spot })
            }
            (mine, _) => mine,
        }
    }

    fn built_in(key: &Key) -> Self {
        let Some(default) = key.default else { return Self::Absent };
        let env = |_: &str| None;
        let mut reading = Reading::new("", default, std::path::Path::new(""), &env);
        let node = super::node::parse(default).ok();
        match node.and_then(|node| T::decode(&node, &Spot::default(), &mut reading)) {
            Some(value) => Self::Good(Placed { value, spot: Spot::default() }),
            None => Self::Bad,
        }
    }

    fn schema() -> Json {
        T::schema()
    }
}

impl<'n> Entries<'n> {
    /// The entries of the section at this node.
    pub(super) fn open(node: &'n Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let entries: &[(Node, Node)] = match &node.value {
            Value::Map(entries) => entries,
            // `queue:` with all of its lines commented out.
            Value::Null => &[],
            Value::Scalar { .. } | Value::List(_) => {
                reading.wrong_shape(node, spot, "a section with keys");
                return None;
            }
        };
        let mut left = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match &key.value {
                Value::Scalar { text, .. } => left.push((text.clone(), key, value)),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    reading.hide(key);
                    reading.hide(value);
                    reading.problem(&Spot { place: key.place, ..spot.clone() }, "a key has to be a text", "");
                }
            }
        }
        Some(Self { spot: spot.clone(), left })
    }

    /// What nobody has taken yet: name, key, value.
    pub(super) fn take_all(self) -> Vec<(String, &'n Node, &'n Node)> {
        self.left
    }

    pub(super) fn spot(&self) -> &Spot {
        &self.spot
    }

    /// The value of this key. Of a key that is given twice the first counts; the others are told.
    pub(super) fn take(&mut self, key: &Key, reading: &mut Reading<'_>) -> Option<(&'n Node, Spot)> {
        let mut found: Option<(&'n Node, Spot, String)> = None;
        let mut index = 0;
        while let Some((name, key_node, value)) = self.left.get(index) {
            if name != key.name && Some(name.as_str()) != key.alias {
                index += 1;
                continue;
            }
            if name != key.name && reading.is_legacy() {
                reading.old_name(key_node, &self.spot.key(name, key_node.place), name, key.name);
            }
            match &found {
                None => found = Some((value, self.spot.key(name, value.place), name.clone())),
                Some((_, first, first_name)) => {
                    reading.hide(value);
                    let line = first.place.line;
                    let message = if first_name == name {
                        format!("is given twice, first in line {line}")
                    } else {
                        format!("means the same as `{first_name}` in line {line}")
                    };
                    reading.problem(&self.spot.key(name, key_node.place), message, "keep one of them");
                }
            }
            self.left.remove(index);
        }
        found.map(|(node, spot, _)| (node, spot))
    }

    /// Tells of every entry that no key of this section has taken.
    pub(super) fn close<S: Section>(self, reading: &mut Reading<'_>) {
        let mut known = Vec::new();
        S::names(&mut known);
        known.sort_unstable();
        for (name, key, value) in &self.left {
            reading.hide(value);
            if reading.is_legacy() {
                reading.fix_by_silencing(&self.spot, key);
            }
            // Guessing what was meant is the dearest step of all.
            if reading.is_full() {
                continue;
            }
            let shown = super::reading::shown_name(name);
            let spot = self.spot.key(&shown, key.place);
            if shown != *name {
                // `{token:abc}` is a key of nine letters for YAML.
                reading.hide(key);
                let hint = if name.contains(':') { "a blank is missing behind `:`" } else { "" };
                reading.problem(&spot, "unknown key", hint);
                continue;
            }
            if reading.is_legacy() {
                let hint = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if S::later().contains(&name.as_str()) => later::nearly(name),
                    None => String::new(),
                };
                reading.warning(&spot, "unknown key: it is ignored", hint);
                continue;
            }
            if S::later().contains(&name.as_str()) {
                let (message, hint) = later::told(name);
                reading.problem(&spot, message, hint);
                continue;
            }
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                // What comes here later is nearer than what stands elsewhere.
                None => nearest(name, S::later().iter().copied())
                    .map(later::nearly)
                    .or_else(|| later::elsewhere(name, &self.spot.path))
                    .unwrap_or_else(|| format!("known here: {}", listed_keys(&known))),
            };
            reading.problem(&spot, "unknown key", hint);
        }
    }
}

fn listed_keys(known: &[&str]) -> String {
    if known.is_empty() { "no key at all".into() } else { listed(known).replace(" or ", " and ") }
}

/// A section that is not given, as deep as it goes.
pub(super) fn take_section<S: Section>(entries: &mut Entries<'_>, key: &Key, reading: &mut Reading<'_>) -> S {
    match entries.take(key, reading) {
        Some((node, spot)) => decode_section(node, &spot, reading),
        None => S::blank_at(&entries.spot.missing(key.name), false),
    }
}

/// The section at this node; all of its keys count as told where it is none.
pub(super) fn decode_section<S: Section>(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> S {
    match Entries::open(node, spot, reading) {
        Some(mut entries) => {
            let section = S::read(&mut entries, reading);
            entries.close::<S>(reading);
            section
        }
        None => S::blank_at(spot, true),
    }
}

/// Declares a section. `key: Field<T>` is a value, `key: OtherSection` a section in it, `key | alias` a key with a
/// second name, `key (required)` one that has to be there, `= "5m"` its default as one would write it; `..name: Type`
/// takes in all keys of another section; `later` names keys that come with a later version.
macro_rules! section {
    ($(#[doc = $about:literal])*
     $name:ident {
        $($(#[doc = $doc:literal])* $key:ident $(| $alias:ident)? $(($required:ident))? : $type:ty $(= $default:literal)?,)*
        $(.. $flat:ident : $flat_type:ty,)?
     }
     $(later { $($later:ident),* $(,)? })?) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        #[allow(clippy::struct_field_names, reason = "the names are the file's keys")]
        pub(super) struct $name {
            /// Where the section stands, or would stand.
            pub(super) at: $crate::config::reading::Spot,
            /// Whether the file has it.
            pub(super) given: bool,
            $($(#[doc = $doc])* pub(super) $key: $type,)*
            $(pub(super) $flat: $flat_type,)?
        }

        impl $name {
            $(
                const fn $key() -> $crate::config::section::Key {
                    $crate::config::section::Key {
                        name: stringify!($key),
                        alias: section!(@optional $(stringify!($alias))?),
                        about: &[$($doc),*],
                        required: section!(@flag $($required)?),
                        default: section!(@optional $($default)?),
                    }
                }
            )*
        }

        impl $crate::config::section::Section for $name {
            fn read(
                entries: &mut $crate::config::section::Entries<'_>,
                reading: &mut $crate::config::reading::Reading<'_>,
            ) -> Self {
                Self {
                    at: entries.spot().clone(),
                    given: true,
                    $($key: $crate::config::section::Slot::take(entries, &Self::$key(), reading),)*
                    $($flat: <$flat_type as $crate::config::section::Section>::read(entries, reading),)?
                }
            }

            fn blank_at(spot: &$crate::config::reading::Spot, bad: bool) -> Self {
                Self {
                    at: spot.clone(),
                    given: bad,
                    $($key: $crate::config::section::Slot::blank(spot, &Self::$key(), bad),)*
                    $($flat: <$flat_type as $crate::config::section::Section>::blank_at(spot, bad),)?
                }
            }

            fn properties(
                properties: &mut serde_json::Map<String, serde_json::Value>,
                required: &mut Vec<serde_json::Value>,
            ) {
                $($crate::config::schema::add_property(
                    properties,
                    required,
                    &Self::$key(),
                    <$type as $crate::config::section::Slot>::schema(),
                );)*
                $(<$flat_type as $crate::config::section::Section>::properties(properties, required);)?
            }

            fn names(names: &mut Vec<&'static str>) {
                $(
                    names.push(stringify!($key));
                    $(names.push(stringify!($alias));)?
                )*
                $(<$flat_type as $crate::config::section::Section>::names(names);)?
            }

            fn later() -> &'static [&'static str] {
                &[$($(stringify!($later)),*)?]
            }

            fn about() -> String {
                $crate::config::schema::joined(&[$($about),*])
            }
        }

        impl $crate::config::section::Slot for $name {
            fn take(
                entries: &mut $crate::config::section::Entries<'_>,
                key: &$crate::config::section::Key,
                reading: &mut $crate::config::reading::Reading<'_>,
            ) -> Self {
                $crate::config::section::take_section(entries, key, reading)
            }

            fn blank(
                spot: &$crate::config::reading::Spot,
                key: &$crate::config::section::Key,
                bad: bool,
            ) -> Self {
                $crate::config::section::Section::blank_at(&spot.missing(key.name), bad)
            }

            fn over(self, fallback: Self) -> Self {
                Self {
                    $($key: $crate::config::section::Slot::over(self.$key, fallback.$key),)*
                    $($flat: $crate::config::section::Slot::over(self.$flat, fallback.$flat),)?
                    at: if fallback.given && !self.given { fallback.at } else { self.at },
                    given: self.given || fallback.given,
                }
            }

            fn built_in(_: &$crate::config::section::Key) -> Self {
                Self {
                    at: $crate::config::reading::Spot::default(),
                    given: false,
                    $($key: $crate::config::section::Slot::built_in(&Self::$key()),)*
                    $($flat: <$flat_type as $crate::config::section::Slot>::built_in(
                        &$crate::config::section::Key::NONE,
                    ),)?
                }
            }

            fn schema() -> serde_json::Value {
                $crate::config::schema::section_schema::<Self>()
            }
        }

        impl $crate::config::section::Decode for $name {
            fn decode(
                node: &$crate::config::node::Node,
                spot: &$crate::config::reading::Spot,
                reading: &mut $crate::config::reading::Reading<'_>,
            ) -> Option<Self> {
                Some($crate::config::section::decode_section(node, spot, reading))
            }

            fn schema() -> serde_json::Value {
                $crate::config::schema::section_schema::<Self>()
            }
        }
    };
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
    (@flag) => { false };
    (@flag required) => { true };
}
pub(super) use section;

impl Key {
    /// For sections that stand behind no key of their own.
    pub(super) const NONE: Self = Self { name: "", alias: None, about: &[], required: false, default: None };

    /// Its description as the tail of a message.
    fn as_hint(&self) -> String {
        let about = joined(self.about);
        let mut letters = about.trim_end_matches('.').chars();
        letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
    }
}
