//! `.env` in the working directory: variables for those that the environment does not have.
//!
//! It is read for the configuration's `${NAME}` and for `GITHUB_TOKEN`, and goes no further: nothing is put into the
//! process's own environment, which every program that it starts would inherit.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Larger ones are no files of variables.
const LARGEST_FILE: u64 = 256 << 10;

/// The variables of the file, and what is wrong with it; neither where there is none.
pub(super) fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> (BTreeMap<String, String>, Vec<String>) {
    let name = path.display();
    let text = match std::fs::metadata(path) {
        // A folder of that name (a virtual environment of Python's) is none of ours.
        Ok(metadata) if !metadata.is_file() => return Default::default(),
        Ok(metadata) if metadata.len() > LARGEST_FILE => {
            return (BTreeMap::new(), vec![format!("{name} is too large and is left out")]);
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => {
            let (variables, lines) = parse(&text, env);
            let told = |line| format!("{name}:{line}: is not `NAME=value`; the line is left out");
            (variables, lines.into_iter().map(told).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Default::default(),
        Err(error) => (BTreeMap::new(), vec![format!("{name} cannot be read ({}) and is left out", error.kind())]),
    }
}

/// The variables, and the numbers of the lines that are none.
fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> (BTreeMap<String, String>, Vec<usize>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut variables, mut wrong) = (BTreeMap::new(), Vec::new());
    let mut rest = text;
    while !rest.is_empty() {
        let line_number = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let line = rest.split('\n').next().unwrap_or_default();
        let behind = rest.get(line.len() + 1..).unwrap_or_default();
        let words = line.trim();
        if words.is_empty() || words.starts_with('#') {
            rest = behind;
            continue;
        }
        let start = line.len() - line.trim_start().len();
        let assignment = rest[start..].strip_prefix("export ").unwrap_or(&rest[start..]);
        let parsed = assignment.split_once('=').filter(|(name, _)| is_name(name.trim())).and_then(|(name, value)| {
            let value = value.trim_start_matches([' ', '\t']);
            let (value, left) = match value.chars().next() {
                Some('\'') => quoted(value, '\'').map(|(inner, left)| (inner.to_owned(), left))?,
                Some('"') => {
                    quoted(value, '"').map(|(inner, left)| (filled(&unescaped(inner), &variables, env), left))?
                }
                _ => {
                    let end = value.find('\n').unwrap_or(value.len());
                    (filled(bare(&value[..end]), &variables, env), &value[end..])
                }
            };
            // Behind a quote only a comment may follow.
            let tail = left.split('\n').next().unwrap_or_default().trim();
            let next = left.find('\n').map_or("", |newline| &left[newline + 1..]);
            (tail.is_empty() || tail.starts_with('#')).then(|| (name.trim().to_owned(), value, next))
        });
        if let Some((name, value, next)) = parsed {
            variables.insert(name, value);
            rest = next;
        } else {
            wrong.push(line_number);
            rest = behind;
        }
    }
    (variables, wrong)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Up to a comment: a `#` behind a blank.
fn bare(text: &str) -> &str {
    let comment = text.char_indices().find(|(at, c)| *c == '#' && (*at == 0 || text[..*at].ends_with([' ', '\t'])));
    comment.map_or(text, |(at, _)| &text[..at]).trim()
}

/// What stands between the quotes, and what follows them; over several lines if need be.
fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(quote)?;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if c == quote => return Some((&inner[..at], &inner[at + 1..])),
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let escaped = if c == '\\' { characters.next() } else { None };
        match escaped {
            None => plain.push(c),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some(other @ ('\\' | '"' | '\'' | '$')) => plain.push(other),
            Some(other) => plain.extend(['\\', other]),
        }
    }
    plain
}

/// With `${NAME}` and `${NAME:-default}` filled in, from the environment first.
fn filled(text: &str, known: &BTreeMap<String, String>, env: &dyn Fn(&str) -> Option<String>) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once("${") {
        let Some((inside, behind)) = inside.split_once('}') else { break };
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        let value = env(name).or_else(|| known.get(name).cloned());
        done += before;
        done += &value.filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned());
        rest = behind;
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<String>, Vec<usize>) {
        let env = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        let (variables, wrong) = parse(text, &env);
        (variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect(), wrong)
    }

    #[test]
    fn what_people_write_into_such_files() {
        let text = "\u{feff}# ours\r\nexport GITHUB_TOKEN=ghp_1\r\nA = two words  # why\nB=\"x # \\\"y\\\" \\n\" # c\nC='${HOME}\\n'\n\
                    D=${HOME}/${NONE:-d}/${A}\nE=\nF=a#b\nKEY=\"-----BEGIN\nabc\n-----END\"\nG=1";
        let (variables, wrong) = parsed(text);
        assert_eq!(
            variables,
            [
                "A=two words",
                "B=x # \"y\" \n",
                "C=${HOME}\\n",
                "D=/home/me/d/two words",
                "E=",
                "F=a#b",
                "G=1",
                "GITHUB_TOKEN=ghp_1",
                "KEY=-----BEGIN\nabc\n-----END",
            ]
        );
        assert_eq!(wrong, [0; 0]);
    }

    #[test]
    fn what_is_no_assignment_is_told_by_its_line_and_left_out() {
        let (variables, wrong) = parsed("A=1\nwhat is this\n2B=1\nC='open\nD=\"x\" y\nE=5\n");
        assert_eq!((variables, wrong), (vec!["A=1".to_owned(), "E=5".to_owned()], vec![2, 3, 4, 5]));
    }

    #[test]
    fn files_that_are_none_disturb_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let env = |_: &str| None;
        assert_eq!(read(&folder.path().join(".env"), &env), Default::default());
        assert_eq!(read(folder.path(), &env), Default::default());
        std::fs::write(folder.path().join("bytes"), [0xff]).unwrap();
        let (variables, told) = read(&folder.path().join("bytes"), &env);
        assert!(variables.is_empty() && told[0].ends_with("and is left out"), "{told:?}");
    }
}
