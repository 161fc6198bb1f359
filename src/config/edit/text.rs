//! The text with other images in it.

use super::{ChangedValue, EditError, ImageChange};
use crate::config::interpolate::interpolate;
use crate::config::node::{self, Kind, Node, Place, Value};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// The new text, and what is new in it.
pub(super) struct ChangedText {
    pub(super) text: String,
    pub(super) values: Vec<ChangedValue>,
}

/// Why a text is left as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Broken { line: usize, why: String },
    NotThere { image: String },
    Variable { key_path: String, line: usize, written: String, to: String },
    Hidden { key_path: String, line: usize, from: String, to: String },
    Shared { key_path: String },
}

/// A value that is one of the images.
struct Hit<'a> {
    key_path: String,
    place: Place,
    written: String,
    change: &'a ImageChange,
}

/// Every `base_image` and `image` that is one of the images becomes the other one.
pub(super) fn change_images(
    text: &str,
    changes: &[ImageChange],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<ChangedText, Refusal> {
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let old = tree(body)?;
    let hits = hits(&old, changes, env);
    for change in changes {
        if !hits.iter().any(|hit| hit.change == change) {
            return Err(Refusal::NotThere { image: change.from.clone() });
        }
    }
    // By where it starts: an alias leads to the one place where the value stands.
    let mut splices: BTreeMap<usize, (usize, &str)> = BTreeMap::new();
    for hit in &hits {
        let Hit { key_path, place, written, change } = hit;
        if written.contains("${") {
            let (written, to) = (written.clone(), change.to.clone());
            return Err(Refusal::Variable { key_path: key_path.clone(), line: place.line, written, to });
        }
        let Some(range) = literal(body, *place, &change.from) else {
            let (from, to) = (change.from.clone(), change.to.clone());
            return Err(Refusal::Hidden { key_path: key_path.clone(), line: place.line, from, to });
        };
        splices.insert(range.start, (range.end, &change.to));
    }
    let mut new = mark.to_owned();
    let mut at = 0;
    for (start, (end, to)) in &splices {
        new += &body[at..*start];
        new += to;
        at = *end;
    }
    new += &body[at..];
    // Whatever was thought of places above: this is what counts.
    let wanted: BTreeMap<&str, &str> = hits.iter().map(|hit| (hit.key_path.as_str(), hit.change.to.as_str())).collect();
    if let Some(key_path) = difference(&old, &tree(&new[mark.len()..])?, String::new(), &wanted) {
        return Err(Refusal::Shared { key_path });
    }
    let values = hits.into_iter().map(|hit| ChangedValue { key_path: hit.key_path, line: hit.place.line }).collect();
    Ok(ChangedText { text: new, values })
}

fn tree(text: &str) -> Result<Node, Refusal> {
    node::parse(text).map_err(|error| Refusal::Broken { line: error.place.line, why: error.message })
}

/// The values that are one of the images, in `runners_defaults` and in each pool.
fn hits<'a>(root: &Node, changes: &'a [ImageChange], env: &dyn Fn(&str) -> Option<String>) -> Vec<Hit<'a>> {
    let mut sections = Vec::new();
    for (name, value) in entries(root) {
        match (name, &value.value) {
            ("runners_defaults", _) => sections.push((name.to_owned(), value)),
            ("runners", Value::List(pools)) => {
                sections.extend(pools.iter().enumerate().map(|(index, pool)| (format!("runners[{index}]"), pool)));
            }
            _ => {}
        }
    }
    let mut hits = Vec::new();
    for (section, node) in sections {
        for (name, value) in entries(node).filter(|(name, _)| matches!(*name, "base_image" | "image")) {
            let Value::Scalar { text, .. } = &value.value else { continue };
            let Ok(filled) = interpolate(text, env) else { continue };
            if let Some(change) = changes.iter().find(|change| change.from == filled.text) {
                let key_path = format!("{section}.{name}");
                hits.push(Hit { key_path, place: value.place, written: text.clone(), change });
            }
        }
    }
    hits
}

fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
    };
    entries.iter().filter_map(|(key, value)| match &key.value {
        Value::Scalar { text, .. } => Some((text.as_str(), value)),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    })
}

/// Where the value stands letter by letter within its place, which may have quotes, a tag or an anchor as well.
fn literal(text: &str, place: Place, value: &str) -> Option<Range<usize>> {
    let within = text.get(place.start..place.end)?;
    let mut found = within.match_indices(value);
    let (at, _) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    Some(place.start + at..place.start + at + value.len())
}

/// The first value that is not as wanted: new where it is in `wanted`, as it was elsewhere.
fn difference(old: &Node, new: &Node, path: String, wanted: &BTreeMap<&str, &str>) -> Option<String> {
    let same = match (&old.value, &new.value) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar { kind, text }, Value::Scalar { kind: new_kind, text: new_text }) => match wanted.get(&*path) {
            Some(to) => *new_kind == Kind::Text && new_text == to,
            None => kind == new_kind && text == new_text,
        },
        (Value::List(old), Value::List(new)) if old.len() == new.len() => {
            return (0..)
                .zip(old.iter().zip(new))
                .find_map(|(index, (old, new))| difference(old, new, format!("{path}[{index}]"), wanted));
        }
        (Value::Map(old), Value::Map(new)) if old.len() == new.len() => {
            return old.iter().zip(new).find_map(|((old_key, old), (new_key, new))| {
                let name = match &old_key.value {
                    Value::Scalar { text, .. } => text.as_str(),
                    Value::Null | Value::List(_) | Value::Map(_) => "?",
                };
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                // No key is an image, so none is in `wanted`.
                difference(old_key, new_key, format!("{path} (the key)"), wanted)
                    .or_else(|| difference(old, new, path, wanted))
            });
        }
        _ => false,
    };
    (!same).then_some(path)
}

/// The names in `${…}`, as a message names them.
fn variables(written: &str) -> String {
    let names: Vec<String> = written
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split(['}', ':']).next())
        .map(|name| format!("`{name}`"))
        .collect();
    match names.as_slice() {
        [name] => format!("the variable {name}"),
        names => format!("the variables {}", names.join(" and ")),
    }
}

impl Refusal {
    /// The same, of this file.
    pub(super) fn of(self, file: &Path) -> EditError {
        let file = file.to_path_buf();
        match self {
            Self::Broken { line, why } => EditError::Broken { file, line, why },
            Self::NotThere { image } => EditError::NotThere { file, image },
            Self::Variable { key_path, line, written, to } => EditError::Variable {
                file: file.into(),
                key_path: key_path.into(),
                line,
                variables: variables(&written).into(),
                written: written.into(),
                to: to.into(),
            },
            Self::Hidden { key_path, line, from, to } => EditError::Hidden {
                file: file.into(),
                key_path: key_path.into(),
                line,
                from: from.into(),
                to: to.into(),
            },
            Self::Shared { key_path } => EditError::Shared { file, key_path },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: &str = "ghcr.io/actions/actions-runner:2.331.0";
    const NEW: &str = "ghcr.io/actions/actions-runner:2.340.12";

    fn env(name: &str) -> Option<String> {
        (name == "VERSION").then(|| "2.331.0".to_owned())
    }

    fn changed(text: &str) -> Result<ChangedText, Refusal> {
        change_images(text, &[ImageChange { from: OLD.into(), to: NEW.into() }], &env)
    }

    /// `@` stands for the image that is changed, `#OLD#` for the same text where it stays.
    fn check(template: &str, keys: &[&str]) {
        let fill = |image: &str| template.replace('@', image).replace("#OLD#", OLD);
        let ChangedText { text, values } =
            changed(&fill(OLD)).unwrap_or_else(|refusal| panic!("{refusal:?} of\n{template}"));
        assert_eq!(text, fill(NEW));
        assert_eq!(values.iter().map(|value| value.key_path.as_str()).collect::<Vec<_>>(), keys, "{template}");
    }

    #[test]
    fn nothing_but_the_value_changes() {
        check(
            "# base_image: #OLD#\nrunners_defaults:\n    base_image:   \"@\"   # was #OLD#\n    env: {IMAGE: '#OLD#'}\n",
            &["runners_defaults.base_image"],
        );
        check(
            "runners:\n- {id: a, base_image: @, labels: [a]}\n-   id: b\n    image: '@'\n- {image: alpine:3}\n",
            &["runners[0].base_image", "runners[1].image"],
        );
        // The old tool broke the indentation here, and missed the flow style.
        check("runners_defaults: {base_image: @}", &["runners_defaults.base_image"]);
        check("{\"runners_defaults\": {\"base_image\": \"@\"}}", &["runners_defaults.base_image"]);
        check("\u{feff}é: 'ü…'\r\nrunners_defaults:\r\n  base_image: @\r\n", &["runners_defaults.base_image"]);
        check("runners_defaults:\n  ? base_image\n  : !!str @\n", &["runners_defaults.base_image"]);
        check("runners_defaults:\n  base_image: >-\n    @\n", &["runners_defaults.base_image"]);
    }

    #[test]
    fn an_alias_follows_its_anchor() {
        check(
            "runners_defaults:\n  base_image: &base @ # the one\nrunners:\n  - {id: a, image: *base}\n",
            &["runners_defaults.base_image", "runners[0].image"],
        );
        let shared = format!("x: &base {OLD}\nrunners_defaults:\n  base_image: *base\n");
        assert_eq!(changed(&shared).err(), Some(Refusal::Shared { key_path: "x".into() }));
    }

    #[test]
    fn several_images_at_once() {
        let change = |from: &str, to: &str| ImageChange { from: from.into(), to: to.into() };
        let text = "runners: [{image: a:1}, {image: b:1}, {image: a:1}, {image: a:10}]";
        let done = change_images(text, &[change("a:1", "a:2"), change("b:1", "b:1.5")], &env).ok().unwrap();
        assert_eq!(done.text, "runners: [{image: a:2}, {image: b:1.5}, {image: a:2}, {image: a:10}]");
    }

    #[test]
    fn what_cannot_be_changed_is_told_with_its_place() {
        let variable = "a: 1\nrunners_defaults:\n  base_image: ghcr.io/actions/actions-runner:${VERSION}\n";
        let Err(refusal) = changed(variable) else { panic!("it was changed") };
        assert_eq!(
            refusal.of(Path::new("c.yaml")).to_string(),
            "runners_defaults.base_image in c.yaml (line 3) is `ghcr.io/actions/actions-runner:${VERSION}`: its value comes \
             from the variable `VERSION`, not from the file; change it where it is set, so that \
             `ghcr.io/actions/actions-runner:2.340.12` comes out, or write the image into the file"
        );
        let hidden = "runners_defaults:\n  base_image: \"ghcr.io/actions/actions-runner:2.331\\x2e0\"\n";
        assert!(matches!(changed(hidden), Err(Refusal::Hidden { line: 2, .. })));
        let other = "runners_defaults:\n  base_image: alpine:3\nnotes: {base_image: 'x'}\n";
        assert_eq!(changed(other).err(), Some(Refusal::NotThere { image: OLD.into() }));
        assert!(matches!(changed("runners_defaults: ["), Err(Refusal::Broken { .. })));
        // A text that YAML would take for something else.
        let number = ImageChange { from: OLD.into(), to: "12".into() };
        let text = format!("runners_defaults:\n  base_image: {OLD}\n");
        assert!(matches!(change_images(&text, &[number], &env), Err(Refusal::Shared { .. })));
    }

    /// One `base_image` or other line, written in some way; `@` and `#OLD#` as above.
    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("@"),
            Just("'@'"),
            Just("\"@\""),
            Just("&a1 @"),
            Just("!!str @"),
            Just("alpine:3"),
            Just("#OLD#-slim"),
        ]
        .prop_map(str::to_owned)
    }

    fn comment() -> impl Strategy<Value = String> {
        prop_oneof![Just(""), Just(" # base_image: #OLD#"), Just("   # ü \"' {[")].prop_map(str::to_owned)
    }

    fn pool() -> impl Strategy<Value = String> {
        let block = (value(), comment(), any::<bool>(), 1..4_usize, comment()).prop_map(
            |(value, comment, image_first, indent, other)| {
                let pad = " ".repeat(indent + 1);
                let image = format!("base_image: {value}{comment}");
                let labels = format!("labels: ['x, y', \"#OLD#\"]{other}");
                let (first, second) = if image_first { (image, labels) } else { (labels, image) };
                format!("-{}{first}\n{pad}# between\n{pad}{second}\n", " ".repeat(indent))
            },
        );
        let flow = (value(), comment()).prop_map(|(value, comment)| {
            let value = value.replace("&a1 ", "");
            format!("- {{labels: [ä], image: {value}}}{comment}\n")
        });
        prop_oneof![block, flow]
    }

    proptest! {
        #[test]
        fn any_file_keeps_every_other_byte(
            mark in any::<bool>(),
            crlf in any::<bool>(),
            tail in comment(),
            default in value(),
            default_comment in comment(),
            pools in proptest::collection::vec(pool(), 0..5),
        ) {
            // One anchor a file.
            let mut anchored = false;
            let mut once = |text: String| {
                let kept = !text.contains("&a1 ") || !std::mem::replace(&mut anchored, true);
                if kept { text } else { text.replace("&a1 ", "") }
            };
            let mut template = format!("x: 'é'{tail}\nrunners_defaults:\n  base_image: {}{default_comment}\n", once(default));
            if !pools.is_empty() {
                template += "runners:\n";
                for pool in pools {
                    template += &once(pool);
                }
            }
            if crlf {
                template = template.replace('\n', "\r\n");
            }
            if mark {
                template.insert(0, '\u{feff}');
            }
            let fill = |image: &str| template.replace('@', image).replace("#OLD#", OLD);
            match changed(&fill(OLD)) {
                Ok(done) => prop_assert_eq!(done.text, fill(NEW)),
                Err(Refusal::NotThere { .. }) => prop_assert!(!template.contains('@')),
                Err(refusal) => prop_assert!(false, "{refusal:?}"),
            }
        }
    }
}
