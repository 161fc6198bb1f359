//! Sets keys of `runners_config.yaml`, and takes keys out by making comments of them. Everything else stays byte for byte.
//!
//! A key that is there gets another value in its place; one that is not is put under its section's own line, and a section
//! that is not there at the file's end. The new text is read again, and refused if anything but those keys changed.

use crate::config::node::{self, Node, Value};

/// What is to become of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// It has this value, written as YAML on one line.
    Is(String),
    /// It is a comment from now on, if it is there.
    Gone,
}

/// Why the text is left as it is; what to write by hand is the caller's to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key_path}` cannot be set here (line {line}): {why}")]
pub struct NotHere {
    /// `github.auth.app.client_id`.
    pub key_path: String,
    /// Where, from 1; 0 where there is no place.
    pub line: usize,
    /// What is in the way.
    pub why: &'static str,
}

/// The text with the keys as wished.
///
/// # Errors
/// A section is written in one line (`{…}`), or the text is no YAML.
pub fn set_keys(text: &str, wishes: &[(&[&str], Wish)]) -> Result<String, NotHere> {
    let before = read(text, wishes.first().map_or(&[][..], |(path, _)| path))?;
    let mut new = text.to_owned();
    for (path, wish) in wishes {
        new = set(&new, path, wish)?;
    }
    let after = read(&new, wishes.first().map_or(&[][..], |(path, _)| path))?;
    let paths: Vec<&[&str]> = wishes.iter().map(|(path, _)| *path).collect();
    let as_wished = wishes.iter().all(|(path, wish)| match (wish, find(&after, path)) {
        (Wish::Gone, None) => true,
        (Wish::Is(value), Some(node)) => {
            let Value::Scalar { text, .. } = &node.value else { return false };
            text == value.trim_matches(['"', '\''])
        }
        (Wish::Gone, Some(_)) | (Wish::Is(_), None) => false,
    });
    if !as_wished || !same_but(&before, &after, &paths, &mut Vec::new()) {
        let path = wishes.first().map_or(&[][..], |(path, _)| path);
        return Err(not_here(path, 0, "the file is written in a way that hides it"));
    }
    Ok(new)
}

/// The value of a key as it is written, variables not filled in. None where it is not there, or is a section or a list.
///
/// # Errors
/// The text is no YAML.
pub fn value(text: &str, path: &[&str]) -> Result<Option<String>, NotHere> {
    let root = read(text, path)?;
    Ok(find(&root, path).and_then(|node| match &node.value {
        Value::Scalar { text, .. } => Some(text.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }))
}

/// Whether the key is there, with whatever value.
///
/// # Errors
/// The text is no YAML.
pub fn has(text: &str, path: &[&str]) -> Result<bool, NotHere> {
    Ok(find(&read(text, path)?, path).is_some())
}

fn not_here(path: &[&str], line: usize, why: &'static str) -> NotHere {
    NotHere { key_path: path.join("."), line, why }
}

fn read(text: &str, path: &[&str]) -> Result<Node, NotHere> {
    node::parse(text).map_err(|error| not_here(path, error.place.line, "the file is not valid YAML"))
}

fn entry<'a>(node: &'a Node, name: &str) -> Option<(&'a Node, &'a Node)> {
    let Value::Map(entries) = &node.value else { return None };
    let found = entries.iter().find(|(key, _)| matches!(&key.value, Value::Scalar { text, .. } if text == name));
    found.map(|(key, value)| (key, value))
}

fn find<'a>(root: &'a Node, path: &[&str]) -> Option<&'a Node> {
    path.iter().try_fold(root, |node, name| entry(node, name).map(|(_, value)| value))
}

fn set(text: &str, path: &[&str], wish: &Wish) -> Result<String, NotHere> {
    let root = read(text, path)?;
    let mut parent = &root;
    let mut parent_key: Option<&Node> = None;
    for (depth, name) in path.iter().enumerate() {
        let Some((key, value)) = entry(parent, name) else {
            return match wish {
                Wish::Gone => Ok(text.to_owned()),
                Wish::Is(value) => insert(text, path, depth, parent, parent_key, value),
            };
        };
        if depth + 1 == path.len() {
            return match wish {
                Wish::Is(wanted) => replace(text, path, value, wanted),
                Wish::Gone => comment_out(text, path, key, value),
            };
        }
        (parent, parent_key) = (value, Some(key));
    }
    Ok(text.to_owned())
}

fn replace(text: &str, path: &[&str], value: &Node, wanted: &str) -> Result<String, NotHere> {
    let Value::Scalar { .. } = &value.value else {
        return Err(not_here(path, value.place.line, "there is a section or a list where a value belongs"));
    };
    let (start, end) = (value.place.start, value.place.end);
    match text.get(start..end) {
        Some(written) if !written.contains('\n') => Ok(format!("{}{wanted}{}", &text[..start], &text[end..])),
        Some(_) | None => Err(not_here(path, value.place.line, "its value is written over several lines")),
    }
}

/// Puts the rest of the path under the parent's line, with the indentation that its other keys have.
fn insert(
    text: &str,
    path: &[&str],
    depth: usize,
    parent: &Node,
    parent_key: Option<&Node>,
    value: &str,
) -> Result<String, NotHere> {
    let rest = &path[depth..];
    let Some(key) = parent_key else {
        // Behind everything; a file that ends in the middle of a line gets its end first.
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{end}\n{}", lines(rest, 0, value)));
    };
    let lines_before = |line: usize| text.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
    let outer = key.place.column - 1;
    let indent = match &parent.value {
        Value::Map(entries) => match entries.first() {
            Some((first, _)) if first.place.line > key.place.line => first.place.column - 1,
            _ => return Err(not_here(path, key.place.line, "its section is written in one line")),
        },
        Value::Null => outer + 2,
        Value::Scalar { .. } | Value::List(_) => {
            return Err(not_here(path, key.place.line, "there is a value where a section belongs"));
        }
    };
    let at = lines_before(key.place.line);
    let head = &text[..at];
    let end = if head.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{head}{end}{}{}", lines(rest, indent, value), &text[at..]))
}

fn lines(rest: &[&str], indent: usize, value: &str) -> String {
    let mut out = String::new();
    for (depth, name) in rest.iter().enumerate() {
        out += &" ".repeat(indent + depth * 2);
        out += name;
        out += ":";
        if depth + 1 == rest.len() {
            out += " ";
            out += value;
        }
        out.push('\n');
    }
    out
}

/// The lines of the key become comments.
fn comment_out(text: &str, path: &[&str], key: &Node, value: &Node) -> Result<String, NotHere> {
    let first = key.place.line;
    let last = last_line(value).max(first);
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    let line = all.get(first - 1).copied().unwrap_or_default();
    if line[..key.place.column.saturating_sub(1).min(line.len())].trim() != "" {
        return Err(not_here(path, first, "its section is written in one line"));
    }
    let commented = |(number, line): (usize, &&str)| {
        let is_one = (first..=last).contains(&(number + 1)) && !line.trim().is_empty();
        let indent = line.len() - line.trim_start().len();
        if is_one { format!("{}# {}", &line[..indent], &line[indent..]) } else { (*line).to_owned() }
    };
    Ok(all.iter().enumerate().map(commented).collect())
}

fn last_line(node: &Node) -> usize {
    match &node.value {
        Value::Null => 0,
        Value::Scalar { .. } => node.place.line,
        Value::List(items) => items.iter().map(last_line).max().unwrap_or(node.place.line),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| last_line(key).max(last_line(value))).max().unwrap_or(node.place.line)
        }
    }
}

/// Whether two trees are the same but for these keys, and for sections that are there only because of them.
fn same_but<'a>(old: &'a Node, new: &'a Node, paths: &[&[&str]], here: &mut Vec<&'a str>) -> bool {
    let leads_to = |here: &[&str]| paths.iter().any(|path| path.starts_with(here));
    if paths.contains(&here.as_slice()) {
        return true;
    }
    match (&old.value, &new.value) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar { kind, text }, Value::Scalar { kind: new_kind, text: new_text }) => {
            kind == new_kind && text == new_text
        }
        (Value::List(old), Value::List(new)) => {
            // No wish leads into a list.
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same_but(old, new, &[], &mut Vec::new()))
        }
        (Value::Null, Value::Map(_)) | (Value::Map(_), Value::Null) => leads_to(here),
        (Value::Map(olds), Value::Map(news)) => {
            let names = |entries: &'a [(Node, Node)]| {
                entries.iter().filter_map(|(key, _)| match &key.value {
                    Value::Scalar { text, .. } => Some(text.as_str()),
                    Value::Null | Value::List(_) | Value::Map(_) => None,
                })
            };
            let all: std::collections::BTreeSet<&str> = names(olds).chain(names(news)).collect();
            all.into_iter().all(|name| {
                here.push(name);
                let same = match (entry(old, name), entry(new, name)) {
                    (Some((_, old)), Some((_, new))) => same_but(old, new, paths, here),
                    (Some(_), None) | (None, Some(_)) => leads_to(here),
                    (None, None) => true,
                };
                here.pop();
                same
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(value: &str) -> Wish {
        Wish::Is(value.to_owned())
    }

    const APP: &[&str] = &["github", "auth", "app", "client_id"];
    const TOKEN: &[&str] = &["github", "auth", "token"];
    const SECRETS: &[&str] = &["intake", "secrets_file"];

    #[test]
    fn a_value_that_is_there_is_replaced_and_its_comment_stays() {
        let text = "github:\n  auth:\n    app:\n      client_id: Iv1old   # ours\n      # more\nlog: {level: info}\n";
        let new = set_keys(text, &[(APP, is("Iv23new"))]).unwrap();
        assert_eq!(new, text.replace("Iv1old", "Iv23new"));
    }

    #[test]
    fn a_key_comes_under_its_section_with_the_indentation_of_its_neighbours() {
        let text = "# top\ngithub:\n    # who we are\n    auth:\n        token: ${GITHUB_TOKEN}   # mine\n\nrunners:\n- id: a\n";
        let new = set_keys(text, &[(TOKEN, Wish::Gone), (APP, is("Iv23"))]).unwrap();
        assert_eq!(
            new,
            "# top\ngithub:\n    # who we are\n    auth:\n      app:\n        client_id: Iv23\n        # token: ${GITHUB_TOKEN}   # mine\n\nrunners:\n- id: a\n"
        );
    }

    #[test]
    fn a_section_that_is_not_there_comes_at_the_end() {
        let new = set_keys("version: 1", &[(APP, is("Iv23")), (SECRETS, is("./secrets/webhook-secret"))]).unwrap();
        assert_eq!(
            new,
            "version: 1\n\ngithub:\n  auth:\n    app:\n      client_id: Iv23\n\nintake:\n  secrets_file: ./secrets/webhook-secret\n"
        );
    }

    #[test]
    fn a_list_becomes_a_comment_as_a_whole() {
        let text = "intake:\n  secrets:\n    - ${A}\n    # - old\n    - ${B}\n  path: /hook\n";
        let new = set_keys(text, &[(&["intake", "secrets"], Wish::Gone)]).unwrap();
        assert_eq!(new, "intake:\n  # secrets:\n    # - ${A}\n    # # - old\n    # - ${B}\n  path: /hook\n");
    }

    #[test]
    fn what_cannot_be_changed_in_place_is_refused() {
        for text in
            ["github: {auth: {token: x}}\n", "{\"github\": {\"auth\": {}}}", "github: yes\n", "github: [1]\n", "a: [\n"]
        {
            let refused = set_keys(text, &[(APP, is("Iv23"))]).unwrap_err();
            assert_eq!(refused.key_path, "github.auth.app.client_id", "{text}");
        }
        assert!(set_keys("intake: {secrets: [a]}\n", &[(&["intake", "secrets"], Wish::Gone)]).is_err());
    }

    #[test]
    fn a_value_is_read_as_it_is_written() {
        let text = "github:\n  auth: {app: {client_id: \"${APP}\"}}\nintake:\n  secrets: [a]\n";
        assert_eq!(value(text, APP).unwrap().as_deref(), Some("${APP}"));
        assert_eq!(value(text, TOKEN).unwrap(), None);
        assert_eq!(value(text, &["intake", "secrets"]).unwrap(), None);
        assert!(has(text, &["intake", "secrets"]).unwrap() && !has(text, TOKEN).unwrap());
        assert!(value("a: [", APP).is_err());
    }

    #[test]
    fn what_is_gone_already_is_fine() {
        assert_eq!(set_keys("version: 1\n", &[(TOKEN, Wish::Gone)]).unwrap(), "version: 1\n");
    }
}
