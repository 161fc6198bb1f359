//! No text makes the reading panic, and what it takes fits the schema.

use super::{MINIMAL, env};
use proptest::prelude::*;
use runnerfleet::config::{parse, schema};
use serde_json::Value;
use std::path::Path;
use std::sync::LazyLock;

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| jsonschema::validator_for(&schema()).unwrap());
static EXAMPLE: LazyLock<String> = LazyLock::new(|| {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("runners_config.yaml")).unwrap();
    let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.is_empty()).collect();
    code.join("\n")
        .replace("private_key_file: ${GITHUB_APP_KEY_FILE:-./secrets/github-app.pem}", "private_key: ${APP_KEY}")
});

/// As an editor with the schema would read it.
fn as_json(text: &str) -> Option<Value> {
    let options = serde_yaml::options! { strict_booleans: true };
    serde_yaml::from_str_with_options(text, options).ok()
}

pub(super) fn assert_fits_schema(text: &str) {
    // The schema is of today's form.
    if as_json(text).is_some_and(|json| json.is_object() && json.get("version").is_none()) {
        return;
    }
    let errors: Vec<_> = match as_json(text) {
        Some(json) => VALIDATOR.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect(),
        None => return,
    };
    assert_eq!(errors, Vec::<String>::new(), "\n{text}");
}

fn read(text: &str) -> bool {
    match parse(text, "c.yaml", Path::new("/etc/fleet"), &env, "h") {
        Ok(loaded) => {
            let _ = format!("{loaded:?}");
            true
        }
        Err(problems) => {
            assert!(problems.count() > 0);
            for problem in &problems {
                // YAML ends a line at a lone carriage return as well.
                let lines = text.split(['\n', '\r']).count();
                assert!(problem.line <= lines, "{problem}\n{text}");
            }
            let _ = (problems.to_string(), serde_json::to_string(&problems).unwrap());
            false
        }
    }
}

#[test]
fn the_schema_is_one_and_says_what_the_reading_says() {
    jsonschema::meta::validate(&schema()).unwrap();
    assert_fits_schema(MINIMAL);
    assert_fits_schema(&EXAMPLE);
    assert!(read(&EXAMPLE));
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let scaling = &schema["properties"]["runners"]["items"]["properties"]["scaling"]["properties"];
    assert_eq!(scaling["max"]["default"], 10);
    assert_eq!(scaling["idle_timeout"]["default"], "5m");
    assert_eq!(scaling["max_age"]["description"], "The same as `max_lifetime`.");
    assert_eq!(schema["properties"]["queue"]["properties"]["redis"]["properties"]["prefix"]["default"], "runnerfleet:");
    // Mistakes that the reading refuses, and an editor should mark.
    for mistake in [
        "nonsense: 1",
        "runners: 5",
        "runners: [{labels: [a]}]",
        "runners: [{id: a, labels: [a], build_image: x, image: y}]",
        "runners: [{id: a, labels: [a], mode: persistent}]",
        "runners: [{id: a, labels: [a], mode: ephemeral, nb: 1}]",
        "runners: [{id: a, labels: [a], nb: 1, scaling: {max: 3}}]",
        "runners: [{id: a, labels: [a], nb: -1}]",
        "runners: [{id: a, labels: ['a,b']}]",
        "runners: [{id: a, labels: [a], scaling: {max: 0}}]",
        "runners: [{id: a, labels: [a], scaling: {max: '3'}}]",
        "runners: [{id: a, labels: [a], scaling: {idle_timeout: 5}}]",
        "runners: [{id: a, labels: [a], resources: {memory: 4}}]",
        "queue: {backend: file}",
        "log: {format: xml}",
        "version: 2",
        "webhooks: {slak: {}}",
        "webhooks: {slack: {events: [runner_exploded]}}",
        "scheduler: {time_window: '7-23'}",
        "scheduler: {actions: [explode]}",
    ] {
        let key = mistake.split(':').next().unwrap();
        let text = match key {
            "version" => MINIMAL.replace("version: 1", mistake),
            "runners" => format!(
                "version: 1\nrunners_defaults: {{org_url: 'https://github.com/a', base_image: b}}\n{mistake}\nintake: {{secrets: [x]}}\n"
            ),
            _ => format!("{MINIMAL}{mistake}\n"),
        };
        assert!(!read(&text), "{text}");
        assert!(!VALIDATOR.is_valid(&as_json(&text).unwrap()), "{text}");
    }
}

#[test]
fn every_key_is_described() {
    fn check(schema: &Value, path: &str) -> usize {
        let mut count = 0;
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 5), "{path}");
            count += 1 + check(schema, &path);
        }
        if schema.get("items").is_some() {
            count += check(&schema["items"], path);
        }
        if schema.get("properties").is_some() {
            assert_eq!(schema["additionalProperties"], false, "{path}");
        }
        count
    }
    assert!(check(&schema(), "") > 100);
}

/// Values that stand in for another one.
const VALUES: [&str; 24] = [
    "5",
    "-1",
    "0",
    "1.5",
    "true",
    "yes",
    "~",
    "''",
    "[]",
    "{}",
    "[a, b]",
    "{a: b}",
    "x",
    "5m",
    "512m",
    "${PORT}",
    "${NONE}",
    "\"${YES}\"",
    "file:/nowhere",
    "https://github.com/o/r",
    "*a",
    "&a x",
    "!!str 3",
    "\u{1f600}",
];

/// The example with some of its lines cut, doubled, moved, or given another value.
fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0..6u8, 0..VALUES.len(), any::<prop::sample::Index>());
    prop::collection::vec(change, 1..5).prop_map(|changes| {
        let mut lines: Vec<String> = EXAMPLE.lines().map(str::to_owned).collect();
        for (at, kind, value, other) in changes {
            let at = at.index(lines.len());
            match kind {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => {
                    let line = lines.remove(at);
                    lines.insert(other.index(lines.len()), line);
                }
                3 => lines[at] = format!(" {}", lines[at]),
                4 => {
                    let cut = other.index(lines[at].chars().count() + 1);
                    lines[at] = lines[at].chars().take(cut).collect();
                }
                _ => {
                    if let Some((key, _)) = lines[at].clone().split_once(": ") {
                        lines[at] = format!("{key}: {}", VALUES[value]);
                    }
                }
            }
        }
        lines.join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn text_that_looks_like_yaml_never_panics(text in "[-a-c:{}\\[\\]&*!|>'\"#$%@?,\t\r\n 0-9~é\u{feff}]{0,80}") {
        read(&text);
    }

    #[test]
    fn a_mutated_example_never_panics_and_what_is_taken_fits_the_schema(text in mutated()) {
        if read(&text) {
            assert_fits_schema(&text);
        }
    }
}
