//! Keys that stand elsewhere, and keys that are planned: told as such, not as "unknown".

use super::leaf::{listed, nearest};
use serde_json::Value as Json;
use std::sync::LazyLock;

/// Keys of `intake`. `webhooks` has them as `later`, since there they are looked for by those who mean GitHub's.
const INCOMING: &[&str] = &["secret", "secrets", "secrets_file", "secret_file", "path", "max_body", "dedupe_ttl"];

const NOT_INCOMING: &str = "`webhooks` is for outgoing notifications; GitHub's deliveries are set up under `intake`";

/// What is said of a key that comes with a later version.
pub(super) fn told(name: &str) -> (String, String) {
    if INCOMING.contains(&name) {
        return ("does not belong here".to_owned(), NOT_INCOMING.to_owned());
    }
    let hint = match name {
        "enabled" => "comment the entry out",
        "schedule" => "`scaling.min_idle` holds at all times",
        "concurrent_starts" => "set `hosts[0].concurrent_starts`",
        _ => "leave it out",
    };
    ("not in this version yet".to_owned(), hint.to_owned())
}

/// What is said of a key that is nearly one of a later version.
pub(super) fn nearly(name: &str) -> String {
    if INCOMING.contains(&name) {
        return NOT_INCOMING.to_owned();
    }
    format!("`{name}` is not in this version yet")
}

/// Where a key of this name (or nearly this name) is known, other than in the section at `here`.
pub(super) fn elsewhere(name: &str, here: &str) -> Option<String> {
    static ALL: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let mut all = Vec::new();
        collect(&super::schema::schema(), "", &mut all);
        all
    });
    let here = without_indexes(here);
    let all: Vec<_> = ALL.iter().filter(|(section, _)| *section != here).collect();
    let exact = all.iter().find(|(_, key)| key == name).map(|(_, key)| key.as_str());
    let key = exact.or_else(|| nearest(name, all.iter().map(|(_, key)| key.as_str())))?.to_owned();
    let mut sections: Vec<&str> =
        all.iter().filter(|(_, known)| *known == key).map(|(section, _)| &**section).collect();
    // Of `runners[].scaling` and `runners_defaults.scaling` the one that is meant is the one inside.
    if sections.iter().any(|section| section.starts_with(&here)) && !here.is_empty() {
        sections.retain(|section| section.starts_with(&here));
    }
    let sections: Vec<_> =
        sections.iter().map(|section| if section.is_empty() { "the top of the file" } else { section }).collect();
    let belongs = format!("belongs to {}", listed(&sections).replace("`the top of the file`", "the top of the file"));
    Some(if key == name { format!("it {belongs}") } else { format!("did you mean `{key}`? it {belongs}") })
}

/// Every key with its section: (`runners[].scaling`, `max`).
fn collect(schema: &Json, path: &str, all: &mut Vec<(String, String)>) {
    if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
        for (key, schema) in properties {
            all.push((path.to_owned(), key.clone()));
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(schema, &path, all);
        }
    }
    if let Some(items) = schema.get("items") {
        collect(items, &format!("{path}[]"), all);
    }
}

/// `runners[3].scaling` -> `runners[].scaling`.
fn without_indexes(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for character in path.chars() {
        if !(character.is_ascii_digit() && text.ends_with('[')) {
            text.push(character);
        }
    }
    text
}
