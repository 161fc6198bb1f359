//! The names of pools, and of their runners: none is known twice, and none can belong to two pools.

use super::super::Mode;
use super::super::reading::{Placed, Reading, Spot};
use super::super::section::Field;
use super::super::shape::Runner;
use super::Built;

/// GitHub's bound for a runner's name.
const LONGEST_NAME: usize = 64;
/// `{prefix}-{job}-{attempt}-{try}-{tag}` has to fit into it.
const LONGEST_PREFIX: usize = 30;

/// Ids and prefixes are each known once, and no runner's name can belong to two pools.
pub(super) fn check_names(runners: &[Placed<Runner>], reading: &mut Reading<'_>) {
    let mut ids: Vec<(&str, &Spot)> = Vec::new();
    let mut prefixes: Vec<(&str, &Spot)> = Vec::new();
    for Placed { value: runner, .. } in runners {
        if let Field::Good(id) = &runner.id {
            if let Some((_, first)) = ids.iter().find(|(known, _)| known.eq_ignore_ascii_case(&id.value.0)) {
                let line = first.place.line;
                reading.problem(
                    &id.spot,
                    format!("`{}` is the id of another pool already (line {line})", id.value.0),
                    "",
                );
                continue;
            }
            ids.push((&id.value.0, &id.spot));
        }
        let (prefix, spot) = match (&runner.name_prefix, &runner.id) {
            (Field::Good(prefix), _) => (prefix.value.0.as_str(), &prefix.spot),
            (Field::Absent, Field::Good(id)) => (id.value.0.as_str(), &id.spot),
            (Field::Absent | Field::Bad, _) => continue,
        };
        for (other, first) in &prefixes {
            let line = first.place.line;
            if other.eq_ignore_ascii_case(prefix) {
                let message = format!("runners of another pool (line {line}) have the prefix `{prefix}` already");
                reading.problem(spot, message, "give this pool a `name_prefix` of its own");
            } else if is_numbered(prefix, other) || is_numbered(other, prefix) {
                let message = format!(
                    "the prefixes `{other}` (line {line}) and `{prefix}` cannot be told apart in a runner's name"
                );
                reading.problem(
                    spot,
                    message,
                    "runners are numbered behind the prefix; choose one that does not end in `-` and a number",
                );
            }
        }
        prefixes.push((prefix, spot));
    }
}

/// Whether `longer` is `prefix-NUMBER…`.
fn is_numbered(longer: &str, prefix: &str) -> bool {
    let rest = match (longer.get(..prefix.len()), longer.get(prefix.len()..)) {
        (Some(start), Some(rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        _ => return false,
    };
    let number = rest.strip_prefix('-').map(|rest| rest.split('-').next().unwrap_or_default());
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The prefix of the pool's runners, short enough for the longest of their names.
pub(super) fn name_prefix(runner: &Runner, mode: Mode, reading: &mut Reading<'_>) -> Option<String> {
    let (most, why) = match mode {
        Mode::Ephemeral => (LONGEST_PREFIX, String::new()),
        Mode::Persistent { count } => {
            (LONGEST_NAME - 1 - count.to_string().len(), format!(", so that `-{count}` fits behind it"))
        }
    };
    match (&runner.name_prefix, &runner.id) {
        (Field::Good(prefix), _) => {
            let text = &prefix.value.0;
            if text.len() > most {
                let message = format!("`{text}` is too long");
                reading.problem(&prefix.spot, message, format!("{most} characters are the most{why}"));
            }
            Some(text.clone())
        }
        (Field::Absent, Field::Good(id)) => {
            if id.value.0.len() > most {
                let hint = format!("add a `name_prefix` of at most {most} characters");
                reading.problem(&id.spot, "is too long to start the names of runners", hint);
            }
            Some(id.value.0.clone())
        }
        (Field::Absent | Field::Bad, _) => None,
    }
}

/// Ids that differ only in their marks give images one name.
pub(super) fn check_images(built: &[Built], reading: &mut Reading<'_>) {
    let mut known: Vec<(&str, &Built)> = Vec::new();
    for pool in built.iter().filter(|built| built.pool.build.is_some()) {
        let image = pool.pool.image.as_str();
        match known.iter().find(|(other, _)| *other == image) {
            Some((_, first)) => {
                let (id, line) = (&first.pool.name, first.id.place.line);
                let message = format!("its image would have the name of that of `{id}` (line {line}): `{image}`");
                reading.problem(&pool.id, message, "let the ids differ in a letter or digit");
            }
            None => known.push((image, pool)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_behind_the_prefix_is_ambiguous() {
        assert!(is_numbered("web-1", "web"));
        assert!(is_numbered("Web-12-x", "web"));
        for (longer, prefix) in
            [("web-api", "web"), ("web1", "web"), ("web-1a", "web"), ("web", "web"), ("we", "web"), ("web-", "web")]
        {
            assert!(!is_numbered(longer, prefix), "{longer} {prefix}");
        }
    }
}
