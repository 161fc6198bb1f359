use super::*;
use crate::config::parse;
use crate::model::{ContainerId, ContainerStatus, PoolName, Scope};
use std::path::Path;

/// A file with one persistent pool, and some lines for it.
fn config(lines: &str) -> Config {
    let text = format!(
        "version: 1\ngithub: {{auth: {{token: abc}}}}\nrunners_defaults: {{base_image: \"agent:1\", org_url: \"https://github.com/acme\"}}\n\
         runners:\n  - {{id: web, name_prefix: web, labels: [linux], nb: 2{lines}}}\n"
    );
    match parse(&text, "test.yaml", Path::new("/nowhere"), &|_| None, "here") {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

fn container(spec: &ContainerSpec, image: &str) -> Container {
    Container {
        id: ContainerId::new("c"),
        runner: spec.runner.clone(),
        pool: PoolName::new("web"),
        scope: Scope::Organization("acme".to_owned()),
        host: HostId::new("here"),
        created_for: None,
        registration: None,
        image: spec.image.clone(),
        image_id: Some(ImageId::new(image)),
        kept: spec.kept.clone(),
        created_at: jiff::Timestamp::UNIX_EPOCH,
        status: ContainerStatus::Running,
    }
}

#[test]
fn names_are_those_that_the_file_describes_and_no_others() {
    let config = config("");
    let names: Vec<_> = described(&config).map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["web-1", "web-2"]);
    for (name, index) in [
        ("web-1", Some(1)),
        ("web-2", Some(2)),
        ("web-3", None),
        ("web-0", None),
        ("web-01", None),
        ("web-+1", None),
        ("web", None),
        ("web-", None),
        ("acme-web-1", None),
        ("web-api-1", None),
        ("web-1-1", None),
    ] {
        let found = description(&config, &RunnerName::new(name)).map(|described| described.index);
        assert_eq!(found, index, "{name}");
    }
}

#[test]
fn a_container_is_outdated_by_its_settings_or_its_image() {
    let before = config("");
    let one = description(&before, &RunnerName::new("web-1")).unwrap();
    let made = container(&one.container(&HostId::new("here")), "sha256:a");
    let image = |id: &str| ImageId::new(id);
    assert_eq!(one.outdated(&made, Some(&image("sha256:a"))), None);
    assert_eq!(one.outdated(&made, None), None, "an image that is not there says nothing");
    assert!(one.outdated(&made, Some(&image("sha256:b"))).unwrap().contains("image"));
    for (lines, changes) in [
        (", resources: {memory: 3g}", true),
        (", env: {COLOUR: green}", true),
        (", timeouts: {drain: 1h, online: 1m}", false),
        (", priority: 3", false),
    ] {
        let after = config(lines);
        let one = description(&after, &RunnerName::new("web-1")).unwrap();
        assert_eq!(one.outdated(&made, Some(&image("sha256:a"))).is_some(), changes, "{lines}");
    }
}

#[test]
fn the_digest_is_the_same_tomorrow() {
    let config = config("");
    let digest = digest(&config.pools[0]);
    assert_eq!(digest.len(), DIGITS);
    assert!(digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    // Two lists of words that read the same without their lengths.
    let mut one = config.pools[0].clone();
    one.command = vec!["a b".to_owned()];
    let mut two = config.pools[0].clone();
    two.command = vec!["a".to_owned(), "b".to_owned()];
    assert_ne!(super::digest(&one), super::digest(&two));
}
