//! `.dockerignore`, with Docker's rules: the last line that fits decides; `!` takes back; what is below an excluded folder is
//! excluded; `*` stays within one name, `**` does not.

use globset::{GlobBuilder, GlobMatcher};

/// The lines of one.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: GlobMatcher,
    takes_back: bool,
}

impl Ignore {
    /// Reads the text.
    ///
    /// # Errors
    /// The line that is no pattern, and why.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut rules = Vec::new();
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (takes_back, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let pattern = cleaned(pattern);
            if pattern.is_empty() {
                continue;
            }
            let glob = GlobBuilder::new(&for_globset(&pattern)).literal_separator(true).backslash_escape(true).build();
            let glob = glob.map_err(|error| (number, error.kind().to_string()))?;
            rules.push(Rule { pattern: glob.compile_matcher(), takes_back });
        }
        Ok(Self { rules })
    }

    /// Whether this path (relative, with `/`) is left out.
    pub fn excludes(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let with_parents: Vec<_> = ends.map(|end| &path[..end]).collect();
        let mut excluded = false;
        for rule in &self.rules {
            if rule.takes_back == excluded && with_parents.iter().any(|path| rule.pattern.is_match(path)) {
                excluded = !rule.takes_back;
            }
        }
        excluded
    }

    /// Whether something below an excluded folder may be taken back.
    pub fn takes_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.takes_back)
    }
}

/// `./a//b/../c/` -> `a/c`.
fn cleaned(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Docker has no `{a,b}`; and there `**` may stand beside other signs.
fn for_globset(pattern: &str) -> String {
    let parts = pattern.split('/').map(|part| {
        if part == "**" {
            return part.to_owned();
        }
        let (before, part) = match part.strip_prefix("**") {
            Some(rest) => ("**/*", rest),
            None => ("", part),
        };
        let mut out = before.to_owned();
        let mut escaped = false;
        for c in part.chars() {
            if !escaped && (matches!(c, '{' | '}') || (c == '*' && out.ends_with('*'))) {
                if c == '*' {
                    continue;
                }
                out.push('\\');
            }
            out.push(c);
            escaped = !escaped && c == '\\';
        }
        out
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = Ignore::parse(text).unwrap();
        paths.iter().copied().filter(|path| !ignore.excludes(path)).collect()
    }

    #[test]
    fn docker_s_rules() {
        for (text, paths, expected) in [
            ("", &["a"][..], &["a"][..]),
            ("# *\n\n  \n#b", &["a", "#b"], &["a", "#b"]),
            ("*.md\n!README.md\n", &["a.md", "README.md", "x/b.md"], &["README.md", "x/b.md"]),
            ("!README.md\n*.md\n", &["README.md"], &[]),
            ("**/*.log", &["a.log", "x/y/b.log", "x/log"], &["x/log"]),
            ("node_modules", &["node_modules", "node_modules/a/b", "x/node_modules"], &["x/node_modules"]),
            ("node_modules/\n!node_modules/keep", &["node_modules/a", "node_modules/keep"], &["node_modules/keep"]),
            ("/a\n./b/../c", &["a", "c/d", "b"], &["b"]),
            ("*/temp*", &["temp", "x/temporary", "x/y/temp"], &["temp", "x/y/temp"]),
            ("temp?", &["temp", "tempa", "tempab"], &["temp", "tempab"]),
            ("**", &["a", "b/c"], &[]),
            ("**\n!b/c\n", &["a", "b/c", "b/d"], &["b/c"]),
            ("a/**", &["a", "a/b"], &["a"]),
            ("a/**/b", &["a/b", "a/x/y/b", "a/c"], &["a/c"]),
            ("**.txt", &["a.txt", "x/b.txt"], &[]),
            ("{a,b}", &["a", "{a,b}"], &["a"]),
            ("[ab]", &["a", "c"], &["c"]),
            (" # no comment", &["# no comment", "x"], &["x"]),
            ("\\!a", &["!a", "b"], &["b"]),
        ] {
            assert_eq!(sent(text, paths), expected, "{text:?}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_told_with_its_line() {
        let (line, why) = Ignore::parse("a\n[b\n").unwrap_err();
        assert_eq!(line, 2);
        assert!(why.contains("unclosed"), "{why}");
    }
}
