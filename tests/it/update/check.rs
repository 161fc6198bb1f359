//! `check-base-image-update`, as it is typed: a real registry, the real engine.

use crate::support::docker::docker;
use crate::support::program::{PROGRAM, Said, run};
use crate::support::registry::Registry;
use crate::support::token_server::http;
use std::io::Write;
use std::process::{Command, Stdio};

/// An image of the engine that is unlike others; it goes with its guard.
pub struct Tiny(pub String);

impl Tiny {
    pub fn new(content: &str) -> Self {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let name = format!("runnerfleet/test-tiny:{content}-{}-{now}", std::process::id());
        let mut import = Command::new("docker")
            .args(["import", "--change", &format!("LABEL content={now}"), "-", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The end of an archive is all that an empty one has.
        import.stdin.take().unwrap().write_all(&[0; 1024]).unwrap();
        assert!(import.wait().unwrap().success());
        Self(name)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

/// A configuration in a folder, and the verb beside it.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// With these lines in place of the pools and what follows.
    fn new(rest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "version: 1\nrunners_defaults: {{org_url: 'https://github.com/acme'}}\nintake: {{secrets: [x]}}\n\
             github: {{auth: {{token: '${{GITHUB_TOKEN}}'}}}}\n{rest}"
        );
        std::fs::write(folder.path().join("runners_config.yaml"), text).unwrap();
        Self { folder }
    }

    async fn check(&self, arguments: &[&str]) -> Said {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.arg("check-base-image-update").args(arguments).current_dir(self.folder.path());
        command
            .env("DOCKER_CONFIG", self.folder.path())
            .env("GITHUB_TOKEN", "ghp_none")
            .env_remove("RUNNERFLEET_CONFIG");
        let said = run(&mut command).await;
        println!("{}{}", said.out, said.err);
        said
    }

    async fn rows(&self) -> (Option<i32>, serde_json::Value) {
        let said = self.check(&["-o", "json"]).await;
        (said.code, serde_json::from_str(&said.out).unwrap())
    }
}

fn pull(reference: &str) {
    docker(&["pull", reference]);
}

/// Moves a tag within the registry, behind the engine's back; the digest of what it is now.
async fn move_tag(registry: &Registry, repository: &str, from: &str, to: &str) -> String {
    let manifests = format!("http://{}/v2/{repository}/manifests", registry.address);
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = http().get(format!("{manifests}/{from}")).header("accept", kind).send().await.unwrap();
    let digest = manifest.headers()["docker-content-digest"].to_str().unwrap().to_owned();
    let body = manifest.bytes().await.unwrap();
    let put = http().put(format!("{manifests}/{to}")).header("content-type", kind).body(body);
    assert_eq!(put.send().await.unwrap().status(), 201);
    digest
}

#[tokio::test]
async fn newer_tags_and_other_images_behind_the_same() {
    let registry = Registry::open();
    let (old, new) = (Tiny::new("old"), Tiny::new("new"));
    for tag in ["1.0.0", "1.0.1-slim", "2.0.0"] {
        registry.push(&old.0, &format!("acme/base:{tag}"));
    }
    registry.push(&old.0, "acme/float:latest");
    let (base, float) = (registry.image("acme/base:1.0.0"), registry.image("acme/float"));
    pull(&base);
    pull(&float);
    let fixture = Fixture::new(&format!(
        "runners:\n- {{id: node, labels: [a], base_image: '{base}'}}\n- {{id: php, labels: [b], base_image: '{base}'}}\n\
         - {{id: own, labels: [c], image: '{base}'}}\n- {{id: float, labels: [d], base_image: '{float}'}}\n"
    ));
    let quiet = fixture.check(&[]).await;
    assert_eq!(quiet.code, Some(0), "{quiet:?}");
    assert_eq!(quiet.out.matches("up to date").count(), 2, "{quiet:?}");

    registry.push(&new.0, "acme/base:1.1.0");
    registry.push(&new.0, "acme/float:next");
    let moved = move_tag(&registry, "acme/float", "next", "latest").await;
    let (code, rows) = fixture.rows().await;
    assert_eq!(code, Some(10));
    assert_eq!(
        rows,
        serde_json::json!([
            {
                "reference": base, "pools": ["node", "php", "own"], "newer_tag": "1.1.0", "newer_digest": null,
                "error": null, "note": null, "newest": registry.image("acme/base:1.1.0"),
            },
            {
                "reference": float, "pools": ["float"], "newer_tag": null, "newer_digest": moved,
                "error": null, "note": null, "newest": float,
            },
        ])
    );
    let table = fixture.check(&[]).await;
    assert_eq!(table.code, Some(10));
    let line = |start: &str| table.out.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line(&base).contains("-> 1.1.0") && line(&base).ends_with("node, php, own"), "{table:?}");
    assert!(line(&float).contains(&format!("-> another image behind the tag ({})", &moved[..19])), "{table:?}");
    // What is here is what is asked about: pulled, it is up to date.
    pull(&float);
    let after = fixture.check(&[]).await;
    assert!(after.out.lines().any(|line| line.starts_with(&float) && line.contains("up to date")), "{after:?}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_beside_the_others() {
    let registry = Registry::open();
    let closed = Registry::closed();
    let image = Tiny::new("one");
    registry.push(&image.0, "base:1.0.0");
    registry.push(&image.0, "base:1.0.5");
    closed.push(&image.0, "base:1.0.0");
    let pinned = registry.push(&image.0, "pinned:1");
    let fixture = Fixture::new(&format!(
        "versions: {{policy: patch}}\nrunners:\n\
         - {{id: a, labels: [a], base_image: '{open}'}}\n\
         - {{id: b, labels: [b], base_image: '{closed}'}}\n\
         - {{id: c, labels: [c], base_image: '127.0.0.1:1/gone:1.0.0'}}\n\
         - {{id: d, labels: [d], base_image: 'here:1.0.0', pull_policy: never}}\n\
         - {{id: e, labels: [e], base_image: '{digest}'}}\n\
         - {{id: f, labels: [f], base_image: '{missing}'}}\n",
        open = registry.image("base:1.0.0"),
        closed = closed.image("base:1.0.0"),
        digest = registry.image(&format!("pinned@{pinned}")),
        missing = registry.image("nothing:1.0.0"),
    ));
    let said = fixture.check(&[]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let row = |pool: &str| said.out.lines().find(|line| line.ends_with(&format!(" {pool}"))).unwrap().to_owned();
    assert!(row("a").contains("-> 1.0.5"), "{said:?}");
    for pool in ["b", "c", "f"] {
        assert!(row(pool).contains("not known"), "{pool}: {said:?}");
    }
    assert!(row("d").contains(" - ") && row("e").contains(" - "), "{said:?}");
    for expected in [
        "denies `base` to us, who gave no credentials".to_owned(),
        "127.0.0.1:1 cannot be reached: connection refused".to_owned(),
        format!("{} has no `nothing`", registry.address),
        "note: here:1.0.0: not looked for: its pools have `pull_policy: never`".to_owned(),
        "it is pinned by its digest alone".to_owned(),
    ] {
        assert!(said.err.contains(&expected), "{expected}: {}", said.err);
    }
    let quiet = fixture.check(&["--quiet"]).await;
    assert!(quiet.err.contains("error: ") && !quiet.err.contains("note: "), "{quiet:?}");

    // With Docker's own login it is known.
    std::fs::write(fixture.folder.path().join("config.json"), closed.login()).unwrap();
    let said = fixture.check(&[]).await;
    assert!(said.out.lines().any(|line| line.ends_with(" b") && line.contains("up to date")), "{said:?}");
}

#[tokio::test]
async fn a_pinned_image_moves_in_the_file_and_a_local_one_is_nobodys() {
    let registry = Registry::open();
    let (old, new) = (Tiny::new("old"), Tiny::new("new"));
    let before = registry.push(&old.0, "base:1.0.0");
    let after = registry.push(&new.0, "base:1.0.0");
    assert_ne!(before, after);
    let pinned = registry.image(&format!("base:1.0.0@{before}"));
    let local = registry.image("made-here:1.0.0");
    docker(&["tag", &new.0, &local]);
    let fixture = Fixture::new(&format!(
        "runners:\n- {{id: a, labels: [a], base_image: '{pinned}'}}\n- {{id: b, labels: [b], base_image: '{local}'}}\n"
    ));
    let (code, rows) = fixture.rows().await;
    assert_eq!(code, Some(10), "{rows}");
    assert_eq!(rows[0]["newest"], registry.image(&format!("base:1.0.0@{after}")));
    docker(&["rmi", &local]);
}
