//! Build arguments.

use super::dockerfile::Dockerfile;
use super::names::runner_version;
use crate::config::Build;
use std::collections::BTreeMap;

/// Every Dockerfile takes these without declaring them.
const PREDEFINED: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// What a build is given: ours, over them the pool's `build_args`, over them those of the command line. Of ours only those
/// that the Dockerfile declares: one that it does not know changes nothing, and must not make a new image.
pub fn build_args(
    build: &Build,
    base: &str,
    more: &BTreeMap<String, String>,
    dockerfile: &Dockerfile,
) -> BTreeMap<String, String> {
    let mut args = BTreeMap::from([("BASE_IMAGE".to_owned(), base.to_owned())]);
    if let Some(version) = runner_version(base) {
        args.insert("RUNNER_VERSION".to_owned(), version.to_owned());
    }
    if let Some(techno) = &build.techno {
        args.insert("TECHNO".to_owned(), techno.clone());
    }
    if let Some(version) = &build.techno_version {
        args.insert("TECHNO_VERSION".to_owned(), version.clone());
        if let Some(techno) = &build.techno {
            args.insert(format!("{}_VERSION", variable(techno)), version.clone());
        }
    }
    args.retain(|name, _| dockerfile.declares(name));
    args.extend(build.args.clone());
    args.extend(more.clone());
    args
}

/// Those of the command line that would do nothing: a slip of the pen.
pub fn undeclared<'a>(more: &'a BTreeMap<String, String>, dockerfile: &Dockerfile) -> Vec<&'a str> {
    let known = |name: &str| dockerfile.declares(name) || PREDEFINED.contains(&name.to_lowercase().as_str());
    more.keys().map(String::as_str).filter(|name| !known(name)).collect()
}

/// `node.js` -> `NODE_JS`.
fn variable(techno: &str) -> String {
    techno.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ones_win_and_unknown_ones_of_ours_are_left_out() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let build = Build {
            dockerfile: "/x/Dockerfile".into(),
            context: "/x".into(),
            techno: Some("node.js".to_owned()),
            techno_version: Some("22".to_owned()),
            args: map(&[("NODE_JS_VERSION", "22.1"), ("PNPM", "9"), ("A", "pool")]),
        };
        let text = "ARG BASE_IMAGE\nARG RUNNER_VERSION\nFROM $BASE_IMAGE\nARG TECHNO\nARG NODE_JS_VERSION A=1\n";
        let dockerfile = Dockerfile::parse(text).unwrap();
        let more = map(&[("A", "line"), ("HTTPS_PROXY", "p"), ("B", "2")]);
        assert_eq!(
            build_args(&build, "a/b:2.336.0", &more, &dockerfile),
            map(&[
                ("BASE_IMAGE", "a/b:2.336.0"),
                ("RUNNER_VERSION", "2.336.0"),
                ("TECHNO", "node.js"),
                ("NODE_JS_VERSION", "22.1"),
                ("PNPM", "9"),
                ("A", "line"),
                ("B", "2"),
                ("HTTPS_PROXY", "p"),
            ])
        );
        assert_eq!(undeclared(&more, &dockerfile), ["B"]);
    }
}
