//! Who may import whom, and where foreign crates live. A workspace of many crates would let the compiler say it; one crate
//! needs a table.
//!
//! The sources are read line by line: `crate::` and `super::` paths, and paths that begin with a foreign crate's name.
//! That is enough because rustfmt sets the form, and because `use crate::{…}` is refused: each line names its module.
//! Tests inside `src/` are held to the same rules.

use std::path::Path;

/// A part of `src/`, and the parts it may know besides itself. The longest name that fits a path counts: what may know
/// `reconcile::memory` need not know `reconcile`.
const LAYERS: &[(&str, &str)] = &[
    // Nouns and decisions: pure.
    ("model", ""),
    ("config", "model notify::event notify::template"),
    // What can be told, and in which words: the configuration holds templates against it.
    ("notify::event", "model"),
    ("notify::template", "notify::event"),
    ("plan", "config model"),
    // What an App must be allowed to.
    ("permissions", "model"),
    // The one place that reads the clock.
    ("clock", ""),
    // Adapters: each knows the model and one foreign library, and none of the others.
    ("queue", "durable model"),
    ("store", "durable model"),
    ("provider", "config model"),
    ("github", "clock config model"),
    ("registry", "clock config provider"),
    // What queue and store stand on. Its writer hands to both what they asked of it, and knows their types for that.
    ("durable", "config model queue store"),
    // The shell.
    ("inbound", "clock config github model"),
    ("webhook", "clock config inbound model plan queue"),
    ("ingest", "clock config model plan queue reconcile::memory store"),
    // The other way in: what was sent and never arrived goes through the receiver's judgement into the queue.
    ("missed", "clock config github missed::report model queue reconcile::memory store webhook"),
    ("missed::report", ""),
    ("notify", "clock config model notify::event notify::template"),
    ("scheduler", "clock config model notify notify::event store"),
    (
        "reconcile",
        "clock config github ingest model notify notify::event permissions plan provider queue reconcile::memory store",
    ),
    // All that is known now: filled by whoever heard something, asks nobody. Of `reconcile` it knows how an action ended.
    ("reconcile::memory", "clock model plan provider reconcile store"),
    ("readiness", "clock config github missed::report model provider store webhook"),
    ("overview", "config missed::report model persistent plan"),
    ("removal", "model persistent plan reconcile reconcile::memory"),
    // Secrets that change while `serve` runs.
    ("credentials", "config github webhook"),
    (
        "admin",
        "clock credentials missed::report model overview persistent reconcile reconcile::memory removal scheduler webhook",
    ),
    // systemd's two small protocols.
    ("service", ""),
    // A world to try things in. It never looks into the part that it stands in for: what it knows of GitHub and of
    // agents is written down a second time, so that a mistake in one of them shows.
    ("simulation", "clock model provider"),
    // Joins the world to try things in with the program itself, in one thread.
    (
        "trial",
        "clock config durable github ingest missed missed::report model notify plan provider queue reconcile reconcile::memory simulation store webhook",
    ),
    // The images of the pools: what goes into them, building, and what is not needed any more.
    ("images", "config model notify notify::event provider"),
    // Runners that are kept: what is ordered, what to do next, and the hands.
    ("persistent", "clock config github model notify notify::event plan provider reconcile::memory store"),
    // A runner of the former tool, out of service.
    ("adoption", "github model provider"),
    // Base images: what is newer, and the way there and back.
    ("update", "config images model notify notify::event persistent provider registry"),
    // The scheduler's hands: the same steps as a person's.
    ("maintenance", "config images model notify persistent provider registry scheduler update"),
    // What can be wrong: from what was seen to what is said of it (pure), and the looks themselves, which change nothing.
    ("doctor", "config durable github images missed::report model overview permissions plan provider"),
    ("doctor::look", "admin clock config doctor durable github model provider"),
    // The way to an App.
    ("setup", "config github inbound model permissions webhook"),
    // Joins all of them.
    (
        "app",
        "admin config credentials durable github inbound ingest maintenance missed missed::report notify persistent provider queue readiness reconcile reconcile::memory registry scheduler store update webhook",
    ),
    (
        "cli",
        "admin adoption app clock config credentials doctor doctor::look durable github images missed::report model notify notify::event overview persistent plan provider reconcile registry removal scheduler service setup simulation store trial update",
    ),
    // The readings of what lies in stores, for the fuzz targets.
    ("untrusted", "durable model queue store"),
    ("lib", ""),
    ("main", "cli"),
];

/// A crate that stays at home, and the files or folders that are its home. Elsewhere nobody should have to learn its
/// types.
const HOMES: &[(&str, &str)] = &[
    ("anyhow", "app.rs cli"),
    ("aws_lc_rs", "setup/chance.rs setup/key.rs simulation/keys.rs"),
    ("axum", "admin app.rs inbound setup/desk.rs setup/receiver.rs simulation/github webhook"),
    ("bollard", "provider/docker"),
    ("clap", "cli simulation/agent"),
    ("clap_complete", "cli"),
    ("comfy_table", "cli"),
    ("hmac", "notify/form simulation webhook"),
    ("hyper", "inbound"),
    ("hyper_util", "inbound"),
    ("indicatif", "cli"),
    ("ipnet", "config github inbound"),
    ("jsonwebtoken", "github simulation/github"),
    ("listenfd", "service.rs"),
    ("octocrab", "github"),
    ("redb", "durable/embedded queue/embedded.rs store/embedded.rs"),
    ("redis", "durable/redis queue/redis store/redis"),
    ("reqwest", "admin/client.rs doctor/look/receiver.rs notify/send.rs registry simulation"),
    (
        "rustls",
        "cli config/certificate.rs github inbound/tls.rs simulation/agent/connection.rs simulation/github/server.rs",
    ),
    ("serde_yaml", "cli/output.rs config"),
    ("strsim", "cli/select.rs config"),
    ("globset", "images/ignore.rs"),
    ("prost", "provider/docker/build"),
    ("tar", "images/context.rs provider/docker/probe.rs simulation/image"),
    ("tokio_rustls", "inbound/tls.rs"),
    ("tracing_subscriber", "cli config"),
];

#[test]
fn every_part_imports_only_what_the_table_allows() {
    let wrong: Vec<String> = sources().iter().flat_map(|(file, text)| violations(file, text)).collect();
    assert!(wrong.is_empty(), "imports across a wall (the tables stand in {}):\n{}", file!(), wrong.join("\n"));
}

#[test]
fn the_tables_name_only_what_is_there() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (part, allowed) in LAYERS {
        let path = source.join(part.replace("::", "/"));
        assert!(path.is_dir() || path.with_extension("rs").is_file(), "`{part}` has a row and is not in src/");
        let rowless: Vec<_> = allowed.split(' ').filter(|name| LAYERS.iter().all(|(part, _)| part != name)).collect();
        assert!(allowed.is_empty() || rowless.is_empty(), "`{part}` may know {rowless:?}, which have no row");
    }
    let manifest = include_str!("../../Cargo.toml");
    for (name, homes) in HOMES {
        let depends = |line: &str| line.split_once(" =").is_some_and(|(key, _)| key.replace('-', "_") == *name);
        assert!(manifest.lines().any(depends), "`{name}` has a home and is no dependency");
        for home in homes.split(' ') {
            assert!(source.join(home).exists(), "`{name}` is at home in src/{home}, which is not there");
        }
    }
}

#[test]
fn a_violation_names_file_line_and_rule() {
    assert_eq!(
        told("plan/demand.rs", "use crate::model::Job;\n\nuse crate::store::Store;\n"),
        "src/plan/demand.rs:3: `plan` knows `crate::store::Store`; it may know config model"
    );
    assert_eq!(
        told("model/mod.rs", "fn f(at: &crate::config::Pool) {}\n"),
        "src/model/mod.rs:1: `model` knows `crate::config::Pool`; it may know nothing but itself"
    );
    assert_eq!(
        told("store/mod.rs", "use redis::Client;\n"),
        "src/store/mod.rs:1: `redis` is away from home, which is durable/redis queue/redis store/redis"
    );
    assert_eq!(
        told("queue/mod.rs", "use crate::{model, store};\n"),
        "src/queue/mod.rs:1: name the module in one line with `crate::`, or this test cannot see it"
    );
    assert_eq!(told("new/part.rs", ""), "src/new/part.rs:1: no row of the table says what `new` may know");
}

#[test]
fn a_part_of_a_part_has_rules_of_its_own() {
    assert_eq!(told("ingest.rs", "use crate::reconcile::memory::Memory;\n"), "");
    assert!(told("ingest.rs", "use crate::reconcile::execute::Executor;\n").contains("`ingest` knows"));
    assert!(told("reconcile/memory.rs", "use crate::github::Client;\n").contains("`reconcile::memory` knows"));
}

#[test]
fn a_path_that_climbs_is_followed() {
    let near = "use super::body::Body;\nuse super::super::ProviderError;\nuse self::body::Body;\n";
    assert_eq!(told("provider/docker/network.rs", near), "");
    assert!(
        told("provider/docker/network.rs", "use super::super::super::store::Store;").contains("`crate::store::Store`")
    );
    assert!(told("plan/mod.rs", "use super::github::Client;").contains("`crate::github::Client`"));
    assert!(told("plan/mod.rs", "use super::*;").contains("one line"));
    // One step leads out of an inline module, not out of the file.
    assert_eq!(told("ingest.rs", "mod tests {\n    use super::*;\n}\n"), "");
    assert!(
        told("ingest.rs", "mod tests {\n    use super::super::github::Client;\n}\n")
            .contains("`crate::github::Client`")
    );
}

#[test]
fn what_only_looks_like_a_crate_is_none() {
    assert_eq!(told("model/mod.rs", "//! See [`crate::store`] and `redis::Client`.\n"), "");
    assert_eq!(
        told("app.rs", "use crate::durable::redis::RedisDb;\nlet db = durable::redis::connect(redis_url);\n"),
        ""
    );
    assert!(told("app.rs", "let client = ::redis::Client::open(url);").contains("`redis` is away"));
    assert!(told("model/job.rs", "#[derive(clap::Args)]").contains("`clap` is away"));
}

fn told(file: &str, text: &str) -> String {
    violations(file, text).join("\n")
}

/// What is wrong in one file, in the order of its lines.
fn violations(file: &str, text: &str) -> Vec<String> {
    let here = module(file);
    let Some((part, allowed)) = row(&here) else {
        return vec![format!("src/{file}:1: no row of the table says what `{}` may know", here[0])];
    };
    let mut found = Vec::new();
    let mut inline = false;
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or_default();
        let declares_a_module = code.strip_prefix("pub ").unwrap_or(code).starts_with("mod ");
        inline = (inline || (declares_a_module && code.ends_with('{'))) && code != "}";
        let mut tell = |what: String| found.push(format!("src/{file}:{number}: {what}"));
        for path in paths(code) {
            if let Some(target) = within_the_crate(&path, &here, inline) {
                let known = row(&target).map(|(known, _)| *known);
                if target.is_empty() {
                    tell("name the module in one line with `crate::`, or this test cannot see it".to_owned());
                } else if known != Some(part) && !known.is_some_and(|known| allowed.split(' ').any(|it| it == known)) {
                    let allowed = if allowed.is_empty() { "nothing but itself" } else { allowed };
                    tell(format!("`{part}` knows `crate::{}`; it may know {allowed}", target.join("::")));
                }
            } else if let Some((name, homes)) = HOMES.iter().find(|(name, _)| path[0] == *name)
                && !homes.split(' ').any(|home| Path::new(file).starts_with(home))
            {
                tell(format!("`{name}` is away from home, which is {homes}"));
            }
        }
    }
    found
}

/// The row with the longest name that fits.
fn row(path: &[&str]) -> Option<&'static (&'static str, &'static str)> {
    let fits = |part: &str| part.split("::").enumerate().all(|(at, name)| path.get(at) == Some(&name));
    LAYERS.iter().filter(|(part, _)| fits(part)).max_by_key(|(part, _)| part.len())
}

/// `provider/docker/mod.rs` -> `provider`, `docker`.
fn module(file: &str) -> Vec<&str> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    path.strip_suffix("/mod").unwrap_or(path).split('/').collect()
}

/// Where a path leads from here, counted from the crate's root; none where it leads into another crate or begins with a
/// name of the file's own.
fn within_the_crate<'a>(path: &[&'a str], here: &[&'a str], inline: bool) -> Option<Vec<&'a str>> {
    let climbs = path.iter().take_while(|name| **name == "super").count();
    match path[0] {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([here, &path[1..]].concat()),
        "super" => {
            Some([&here[..here.len() - (climbs - usize::from(inline)).min(here.len())], &path[climbs..]].concat())
        }
        _ => None,
    }
}

/// The paths in a line: names with `::` between or after them.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c| !in_path(c))
        .filter(|token| token.contains("::"))
        .map(|token| token.split("::").filter(|name| !name.is_empty()).collect::<Vec<_>>())
        .filter(|path| !path.is_empty())
        .collect()
}

/// Every file below `src/`, by its path there, with its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((file, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(found.len() > 50, "only {} files below {}", found.len(), root.display());
    found.sort();
    found
}
