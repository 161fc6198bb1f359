//! A Dockerfile, as far as it must be known before it is built: which images it starts from, which arguments it takes.

use std::collections::{BTreeMap, BTreeSet};

/// See the file's head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// `ARG`s before the first `FROM`, in their order.
    global: Vec<(String, Option<String>)>,
    /// Every `ARG`.
    declared: BTreeSet<String>,
    /// What stands behind each `FROM`, and `COPY --from=` where that is no stage.
    from: Vec<String>,
    /// The names of its stages.
    stages: BTreeSet<String>,
}

impl Dockerfile {
    /// Reads one. What the builder would refuse is the builder's to tell.
    ///
    /// # Errors
    /// There is no `FROM`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for instruction in instructions(text) {
            let (word, rest) = instruction.split_once(char::is_whitespace).unwrap_or((&instruction, ""));
            match word.to_ascii_uppercase().as_str() {
                "ARG" => read.arg(rest),
                "FROM" => read.from(rest),
                "COPY" | "ADD" => {
                    let from = rest.split_whitespace().find_map(|word| word.strip_prefix("--from="));
                    // A number is a stage.
                    if let Some(from) = from.filter(|from| from.parse::<u32>().is_err()) {
                        read.from.push(from.to_owned());
                    }
                }
                _ => {}
            }
        }
        if read.from.is_empty() { Err("it has no FROM".to_owned()) } else { Ok(read) }
    }

    fn arg(&mut self, rest: &str) {
        for word in words(rest) {
            let (name, default) =
                word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            let default = default.map(|text| unquoted(text).to_owned());
            if self.from.is_empty() {
                self.global.push((name.to_owned(), default));
            }
            self.declared.insert(name.to_owned());
        }
    }

    fn from(&mut self, rest: &str) {
        let mut words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
        if let Some(image) = words.next() {
            self.from.push(unquoted(image).to_owned());
        }
        if let (Some(word), Some(name)) = (words.next(), words.next())
            && word.eq_ignore_ascii_case("as")
        {
            self.stages.insert(name.to_lowercase());
        }
    }

    /// Whether it takes this argument.
    pub fn declares(&self, name: &str) -> bool {
        self.declared.contains(name)
    }

    /// The images that it starts from, with these arguments. One that depends on something else is left out.
    pub fn images(&self, args: &BTreeMap<String, String>) -> BTreeSet<String> {
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        for (name, default) in &self.global {
            let value = args.get(name).cloned().or_else(|| default.as_ref().and_then(|text| expand(text, &known)));
            if let Some(value) = value {
                known.insert(name, value);
            }
        }
        self.from
            .iter()
            .filter_map(|image| expand(image, &known))
            .filter(|image| !image.is_empty() && image != "scratch" && !self.stages.contains(&image.to_lowercase()))
            .collect()
    }
}

/// Logical lines: without comments, continued lines put together.
fn instructions(text: &str) -> Vec<String> {
    let mut escape = '\\';
    for line in text.lines().map(str::trim).take_while(|line| line.starts_with('#')) {
        if let Some((name, value)) = line[1..].split_once('=')
            && name.trim().eq_ignore_ascii_case("escape")
        {
            escape = value.trim().chars().next().unwrap_or(escape);
        }
    }
    let mut all = Vec::new();
    let mut open = String::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(start) = line.strip_suffix(escape) {
            open.push_str(start);
            open.push(' ');
        } else {
            open.push_str(line);
            all.push(std::mem::take(&mut open));
        }
    }
    if !open.is_empty() {
        all.push(open);
    }
    all
}

/// Words, where blanks inside quotes part nothing.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match quote {
            None if c.is_whitespace() => words.push(String::new()),
            _ => {
                if quote == Some(c) {
                    quote = None;
                } else if quote.is_none() && matches!(c, '"' | '\'') {
                    quote = Some(c);
                }
                words.last_mut().into_iter().for_each(|word| word.push(c));
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn unquoted(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:+other}`; none where a name is not known.
fn expand(text: &str, known: &BTreeMap<&str, String>) -> Option<String> {
    let Some((before, rest)) = text.split_once('$') else { return Some(text.to_owned()) };
    let (value, after) = if let Some(rest) = rest.strip_prefix('{') {
        let (inside, after) = rest.split_once('}')?;
        let name_end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
        let (name, operation) = inside.split_at(name_end);
        let value = known.get(name).filter(|value| !value.is_empty());
        let value = match (operation, value) {
            ("", _) => known.get(name).cloned()?,
            (operation, value) if operation.starts_with(":-") || operation.starts_with('-') => match value {
                Some(value) => value.clone(),
                None => expand(operation.trim_start_matches(':').get(1..)?, known)?,
            },
            (operation, value) if operation.starts_with(":+") || operation.starts_with('+') => match value {
                Some(_) => expand(operation.trim_start_matches(':').get(1..)?, known)?,
                None => String::new(),
            },
            _ => return None,
        };
        (value, after)
    } else {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        (known.get(&rest[..end]).cloned()?, &rest[end..])
    };
    Some(format!("{before}{value}{}", expand(after, known)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str, args: &[(&str, &str)]) -> Vec<String> {
        let args = args.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Dockerfile::parse(text).unwrap().images(&args).into_iter().collect()
    }

    #[test]
    fn the_images_that_it_starts_from() {
        let text = "# syntax=docker/dockerfile:1\n# a comment\nARG BASE_IMAGE=ghcr.io/a/b:1 \\\n  OTHER=\"x\"\nARG TAG=${OTHER}-2\n\
                    FROM --platform=linux/amd64 golang:${TAG} AS build\nRUN make \\\n# inside\n  FROM=no\n\
                    FROM ${BASE_IMAGE}\nCOPY --from=build /a /a\nCOPY --from=0 /a /a\nCOPY --chown=1 --from=tools:3 /t /t\n\
                    from Build\n";
        assert_eq!(images(text, &[]), ["ghcr.io/a/b:1", "golang:x-2", "tools:3"]);
        assert_eq!(images(text, &[("BASE_IMAGE", "mine:2"), ("TAG", "9")]), ["golang:9", "mine:2", "tools:3"]);
        let parsed = Dockerfile::parse(text).unwrap();
        assert!(parsed.declares("TAG") && parsed.declares("OTHER") && !parsed.declares("FROM"));
    }

    #[test]
    fn variables_with_defaults() {
        let from = |image: &str| images(&format!("ARG A=1\nARG EMPTY=\nARG UNSET\nFROM {image}\nFROM last"), &[]);
        assert_eq!(from("x:${A}"), ["last", "x:1"]);
        assert_eq!(from("x:${EMPTY:-2}"), ["last", "x:2"]);
        assert_eq!(from("x${A:+:3}"), ["last", "x:3"]);
        assert_eq!(from("x:$A-slim"), ["last", "x:1-slim"]);
        assert_eq!(from("x:$UNSET"), ["last"], "the builder says what is wrong");
        assert_eq!(from("scratch"), ["last"]);
    }

    #[test]
    fn another_escape_and_no_from() {
        assert_eq!(images("# escape=`\nFROM `\n  a:1\n", &[]), ["a:1"]);
        assert_eq!(Dockerfile::parse("RUN x\n").unwrap_err(), "it has no FROM");
    }
}
