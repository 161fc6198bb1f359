//! Lists of patterns, read as GitHub reads the filters in a workflow: in order, and the last one that fits decides.

use std::fmt;

/// `acme/*`, `!acme/secret-*`, `acme/secret-santa`. Case does not count, as in GitHub's names.
///
/// What no pattern fits is out, unless the list begins with an exclusion: then all the rest is in. An empty list takes
/// everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// In lower case, without the `!`.
    glob: String,
    excludes: bool,
}

impl Patterns {
    /// From their texts.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let pattern = |text: &str| {
            let glob = text.strip_prefix('!');
            Pattern { excludes: glob.is_some(), glob: glob.unwrap_or(text).to_lowercase() }
        };
        Self(texts.into_iter().map(pattern).collect())
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the name is in.
    pub fn take(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let begins = self.0.first().is_none_or(|first| first.excludes);
        let last = self.0.iter().rev().find(|pattern| fits(pattern.glob.as_bytes(), name.as_bytes()));
        last.map_or(begins, |pattern| !pattern.excludes)
    }

    /// Whether a repository of the account could be in.
    pub fn may_take_of(&self, account: &str) -> bool {
        let account = account.to_lowercase();
        let owner = |glob: &str| glob.split('/').next().unwrap_or_default().to_owned();
        let names_it = |it: &Pattern| !it.excludes && fits(owner(&it.glob).as_bytes(), account.as_bytes());
        self.0.first().is_none_or(|first| first.excludes) || self.0.iter().any(names_it)
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, pattern) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let mark = if pattern.excludes { "!" } else { "" };
            write!(f, "{comma}{mark}{}", pattern.glob)?;
        }
        Ok(())
    }
}

/// `*` stands for any characters but `/`, `?` for one.
fn fits(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Where the last `*` stands, and up to where it reaches.
    let mut star: Option<(usize, usize)> = None;
    while next < name.len() {
        match (glob.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, next));
                at += 1;
            }
            (Some(b'?'), _) if name[next] != b'/' => (at, next) = (at + 1, next + 1),
            (Some(byte), _) if *byte == name[next] => (at, next) = (at + 1, next + 1),
            (_, Some((place, reached))) if name[reached] != b'/' => {
                star = Some((place, reached + 1));
                (at, next) = (place + 1, reached + 1);
            }
            _ => return false,
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_part_of_the_name() {
        for (glob, name, want) in [
            ("acme/*", "acme/web", true),
            ("acme/*", "acme/web/x", false),
            ("acme/*", "acmeweb", false),
            ("*/web", "acme/web", true),
            ("*", "acme/web", false),
            ("*/*", "acme/web", true),
            ("acme/web-*-api", "acme/web-eu-west-api", true),
            ("acme/web-*-api", "acme/web-api", false),
            ("acme/w?b", "acme/web", true),
            ("acme/w?b", "acme/wb", false),
            ("acme/web", "acme/web2", false),
            ("acme/**", "acme/web", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(glob.as_bytes(), name.as_bytes()), want, "{glob} {name}");
        }
    }

    #[test]
    fn the_last_one_that_fits_decides() {
        let all = Patterns::new([]);
        assert!(all.take("acme/web") && all.is_empty());
        let most = Patterns::new(["acme/*", "!acme/secret-*", "acme/secret-santa"]);
        for (name, want) in
            [("Acme/Web", true), ("acme/secret-plans", false), ("acme/SECRET-Santa", true), ("other/web", false)]
        {
            assert_eq!(most.take(name), want, "{name}");
        }
        let all_but = Patterns::new(["!acme/secret-*"]);
        assert!(all_but.take("acme/web") && all_but.take("other/web") && !all_but.take("acme/secret-plans"));
        assert_eq!(most.to_string(), "acme/*, !acme/secret-*, acme/secret-santa");
    }

    #[test]
    fn an_account_that_no_pattern_names_has_nothing_in() {
        let acme = Patterns::new(["acme/*", "!acme/x"]);
        assert!(acme.may_take_of("ACME") && !acme.may_take_of("other"));
        assert!(Patterns::new(["!acme/x"]).may_take_of("other"));
        assert!(Patterns::new(["*/web"]).may_take_of("other"));
    }
}
