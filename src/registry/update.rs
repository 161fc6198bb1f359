//! Which of an image's tags is a newer version of the one that is used. Pure.
//!
//! A tag is read as `prefix version suffix`: `v` `1.2.3`, `2.331.0` `-ubuntu`, `jdk-` `17.0.2` `-slim`. Another tag is the
//! same kind of thing only where prefix, suffix and the form of the version are the same, so that `22-slim` never becomes
//! `24-alpine`, and `1.2` never `1.3.0`.

use crate::config::UpdatePolicy;
use std::cmp::Ordering;

/// The newest tag that the policy allows and that is newer than `current`. Never an older one; a pre-release only where
/// `current` is one.
pub fn newest<'t>(current: &str, tags: &'t [String], policy: UpdatePolicy) -> Option<&'t str> {
    newer(current, tags, policy).into_iter().next()
}

/// All such tags, the newest first.
pub fn newer<'t>(current: &str, tags: &'t [String], policy: UpdatePolicy) -> Vec<&'t str> {
    let Some(current) = Version::read(current) else { return Vec::new() };
    let mut found: Vec<(Version<'t>, &'t str)> = tags
        .iter()
        .filter_map(|tag| Some((Version::read(tag)?, tag.as_str())))
        .filter(|(version, _)| version.is_like(&current) && version.is_within(&current, policy))
        .filter(|(version, _)| version.precedence(&current) == Ordering::Greater)
        .collect();
    // Where two are the same version in two spellings, the order is that of the texts, whatever the registry's was.
    found.sort_by(|(a, a_tag), (b, b_tag)| b.precedence(a).then_with(|| b_tag.cmp(a_tag)));
    found.into_iter().map(|(_, tag)| tag).collect()
}

/// The version in a tag, as it is written: `2.331.0` of `v2.331.0-ubuntu`. None where the tag has none.
pub fn version_in(tag: &str) -> Option<&str> {
    let (start, end) = version_span(tag)?;
    tag.get(start..end)
}

/// A tag that has a version.
struct Version<'t> {
    prefix: &'t str,
    numbers: Vec<u64>,
    /// What stands between the numbers.
    separators: Vec<u8>,
    pre_release: Option<PreRelease>,
    suffix: &'t str,
}

/// `rc.1`: its word, and its numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PreRelease {
    /// alpha < beta < rc, as the alphabet has it.
    word: String,
    numbers: Vec<u64>,
}

/// Words that make a version a step on the way to itself. (`a`, `b` and `m` are told apart from other suffixes by the
/// number right behind them.)
const PRE_RELEASES: [&str; 17] = [
    "alpha",
    "beta",
    "canary",
    "dev",
    "devel",
    "ea",
    "edge",
    "experimental",
    "milestone",
    "nightly",
    "next",
    "pre",
    "preview",
    "prerelease",
    "rc",
    "snapshot",
    "unstable",
];
const SHORT_PRE_RELEASES: [&str; 4] = ["a", "b", "c", "m"];

impl<'t> Version<'t> {
    fn read(tag: &'t str) -> Option<Self> {
        let (start, end) = version_span(tag)?;
        let (prefix, version, rest) = (&tag[..start], &tag[start..end], &tag[end..]);
        let numbers = version.split(['.', '_']).map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let separators = version.bytes().filter(|byte| !byte.is_ascii_digit()).collect();
        let (pre_release, suffix) = pre_release(rest);
        Some(Self { prefix, numbers, separators, pre_release, suffix })
    }

    /// The same image in another version.
    fn is_like(&self, current: &Self) -> bool {
        self.prefix == current.prefix
            && self.suffix == current.suffix
            && self.separators == current.separators
            && (self.pre_release.is_none() || current.pre_release.is_some())
    }

    fn is_within(&self, current: &Self, policy: UpdatePolicy) -> bool {
        let kept = match policy {
            UpdatePolicy::Digest => return false,
            UpdatePolicy::Major => 0,
            UpdatePolicy::Minor => 1,
            UpdatePolicy::Patch => 2,
        };
        self.numbers.iter().zip(&current.numbers).take(kept).all(|(a, b)| a == b)
    }

    /// As versions are ordered: a pre-release is before its release.
    fn precedence(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (&self.pre_release, &other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => a.cmp(b),
        })
    }
}

/// Where the version stands: numbers with `.` or `_` between them. At the start, behind a `v` where there is one; else
/// the run with the most numbers, since a tag such as `amd64-1.2.3` has others too.
fn version_span(tag: &str) -> Option<(usize, usize)> {
    let bytes = tag.as_bytes();
    let runs = runs(bytes);
    let first = runs.first()?;
    if first.0 == 0 || (first.0 == 1 && matches!(bytes[0], b'v' | b'V')) {
        return Some(*first);
    }
    let numbers = |(start, end): &(usize, usize)| bytes[*start..*end].iter().filter(|b| !b.is_ascii_digit()).count();
    // Of several with as many, the first.
    runs.iter().rev().max_by_key(|run| numbers(run)).copied()
}

/// Every `1`, `1.2`, `1.2_3` in a text.
fn runs(bytes: &[u8]) -> Vec<(usize, usize)> {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !digit(at) {
            at += 1;
            continue;
        }
        let start = at;
        while digit(at) || (matches!(bytes.get(at), Some(b'.' | b'_')) && digit(at + 1)) {
            at += 1;
        }
        runs.push((start, at));
    }
    runs
}

/// The pre-release at the start of what stands behind a version, and what is behind that.
fn pre_release(rest: &str) -> (Option<PreRelease>, &str) {
    let body = rest.strip_prefix(['-', '.', '_']).unwrap_or(rest);
    let word_end = body.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(body.len());
    let word = body[..word_end].to_ascii_lowercase();
    let numbered = body[word_end..].starts_with(|c: char| c.is_ascii_digit());
    let known = PRE_RELEASES.contains(&word.as_str()) || (SHORT_PRE_RELEASES.contains(&word.as_str()) && numbered);
    if !known {
        return (None, rest);
    }
    let bytes = body.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = word_end;
    // `rc1`, `rc.1`, `rc-1`, `rc.1.2`.
    while digit(end) || (matches!(bytes.get(end), Some(b'.' | b'-' | b'_')) && digit(end + 1)) {
        end += 1;
    }
    let numbers = body[word_end..end].split(['.', '-', '_']).filter_map(|number| number.parse().ok()).collect();
    (Some(PreRelease { word, numbers }), &body[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use UpdatePolicy::{Digest, Major, Minor, Patch};
    use proptest::prelude::*;

    fn pick<'t>(current: &str, tags: &'t [String], policy: UpdatePolicy) -> &'t str {
        newest(current, tags, policy).unwrap_or("-")
    }

    fn list(tags: &str) -> Vec<String> {
        tags.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn each_policy_goes_as_far_as_it_may() {
        let tags = list("2.330.0 2.331.0 2.331.4 2.336.1 2.9.9 3.0.0 3.0.0-rc.1 latest 2.340 v2.350.0 2.340.0-ubuntu");
        assert_eq!(pick("2.331.0", &tags, Patch), "2.331.4");
        assert_eq!(pick("2.331.0", &tags, Minor), "2.336.1");
        assert_eq!(pick("2.331.0", &tags, Major), "3.0.0");
        assert_eq!(pick("2.331.0", &tags, Digest), "-");
        // Numbers, not texts: 2.9.9 is older than 2.331.0; and a pinned newer one is never taken back.
        assert_eq!(pick("2.336.1", &tags, Minor), "-");
        assert_eq!(pick("2.400.0", &tags, Minor), "-");
        // What has no version has no newer one.
        for current in ["latest", "", "main", "sha-abc"] {
            assert_eq!(pick(current, &tags, Major), "-", "{current}");
        }
    }

    #[test]
    fn the_form_of_the_tag_is_kept() {
        let tags = list(
            "22.04 24.04 22.10 22.04-slim 24.04-slim 22.10-slim v1.2.3 v1.3.0 1.4.0 node-20 node-22 node-22-slim \
             jdk-17.0.2 jdk-17.0.9 20.1.0-alpine3.20 20.2.0-alpine3.20 20.3.0-alpine3.21 amd64-1.2.3 amd64-1.2.4 \
             arm64-1.9.0 17.0.2_8-jdk 17.0.9_9-jdk 17.0.9-jdk",
        );
        for (current, policy, expected) in [
            ("22.04", Minor, "22.10"),
            ("22.04", Major, "24.04"),
            ("22.04-slim", Minor, "22.10-slim"),
            ("22.04", Patch, "-"),
            ("v1.2.3", Minor, "v1.3.0"),
            ("node-20", Minor, "-"),
            ("node-20", Major, "node-22"),
            ("jdk-17.0.2", Patch, "jdk-17.0.9"),
            ("20.1.0-alpine3.20", Minor, "20.2.0-alpine3.20"),
            ("amd64-1.2.3", Minor, "amd64-1.2.4"),
            ("17.0.2_8-jdk", Patch, "17.0.9_9-jdk"),
        ] {
            assert_eq!(pick(current, &tags, policy), expected, "{current}");
        }
    }

    #[test]
    fn a_pre_release_only_behind_a_pre_release() {
        let tags =
            list("1.2.3-rc.1 1.2.3-rc.2 1.2.3-rc.10 1.3.0-beta 3.13.0a1 3.13.0b2 3.14.0rc1 2.0.0-slim 2.0.0-rc1-slim");
        assert_eq!(pick("1.2.2", &tags, Major), "-");
        assert_eq!(pick("1.2.3-rc.1", &tags, Patch), "1.2.3-rc.10");
        assert_eq!(pick("1.2.3-rc.1", &tags, Minor), "1.3.0-beta");
        assert_eq!(pick("3.13.0a1", &tags, Patch), "3.13.0b2");
        let tags = list("1.2.3 1.2.3-rc.10");
        assert_eq!(pick("1.2.3-rc.10", &tags, Patch), "1.2.3");
        assert_eq!(pick("1.2.3", &tags, Patch), "-");
        assert_eq!(pick("2.0.0-rc1-slim", &list("2.0.0 2.0.0-slim"), Patch), "2.0.0-slim");
    }

    #[test]
    fn the_version_of_a_tag() {
        for (tag, version) in [("v2.331.0-ubuntu", Some("2.331.0")), ("latest", None), ("jdk-17.0.2", Some("17.0.2"))] {
            assert_eq!(version_in(tag), version);
        }
        // Longer than a number can be.
        assert_eq!(pick("1.0", &list("1.99999999999999999999999999"), Major), "-");
    }

    fn tag() -> impl Strategy<Value = String> {
        let words = prop_oneof![Just(""), Just("v"), Just("jdk-"), Just("b-")];
        let tails = prop_oneof![Just(""), Just("-slim"), Just("-rc.1"), Just("-rc.2"), Just("-alpha"), Just("-x-beta")];
        (words, proptest::collection::vec(0..30_u64, 1..4), tails).prop_map(|(prefix, numbers, tail)| {
            let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
            format!("{prefix}{}{tail}", numbers.join("."))
        })
    }

    fn policy() -> impl Strategy<Value = UpdatePolicy> {
        prop_oneof![Just(Patch), Just(Minor), Just(Major), Just(Digest)]
    }

    proptest! {
        #[test]
        fn the_newest_is_newer_and_alike_and_nothing_is_newer_than_it(
            current in tag(), tags in proptest::collection::vec(tag(), 0..30), policy in policy(),
        ) {
            let (old, found) = (Version::read(&current).unwrap(), newest(&current, &tags, policy));
            if let Some(found) = found {
                let new = Version::read(found).unwrap();
                prop_assert!(tags.iter().any(|tag| tag == found));
                prop_assert!(new.numbers > old.numbers || (new.numbers == old.numbers && old.pre_release.is_some()));
                prop_assert_eq!((new.prefix, new.suffix), (old.prefix, old.suffix));
                prop_assert_eq!(new.numbers.len(), old.numbers.len());
                prop_assert!(new.pre_release.is_none() || old.pre_release.is_some());
                // Taken, it is up to date; in any order of the list it is the same one.
                prop_assert_eq!(newest(found, &tags, policy), None);
                let turned: Vec<String> = tags.iter().rev().cloned().collect();
                prop_assert_eq!(newest(&current, &turned, policy), Some(found));
            }
            // A wider policy never finds less.
            let reach = [Digest, Patch, Minor, Major].map(|policy| newer(&current, &tags, policy).len());
            prop_assert!(reach.is_sorted());
        }

        #[test]
        fn no_tag_makes_it_panic(current in "\\PC{0,20}", tags in proptest::collection::vec("[a-z0-9._é-]{0,12}", 0..10)) {
            let _ = newer(&current, &tags, Major);
            let _ = version_in(&current);
        }
    }
}
