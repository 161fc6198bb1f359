use super::{shipped, text};
use crate::support::docker::docker;
use crate::support::program::PROGRAM;
use std::path::Path;
use std::process::Command;

/// An image that goes with the test.
pub(super) struct Image(pub(super) String);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["image", "rm", "--force", &self.0]).output();
    }
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// `folder` becomes a build's context; the engine's old builder needs nothing beside it.
fn build(folder: &Path, name: &str) -> Image {
    let image = Image(format!("runnerfleet-test/{name}:{}", std::process::id()));
    done(Command::new("docker").env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", &image.0]).arg(folder));
    image
}

/// What the Dockerfile's last stage makes of this machine's program. The stage before it needs a compiler's image and the
/// network; its own steps, `collect` and the folder, are done here.
pub(super) fn of_the_program(name: &str) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("runnerfleet");
    // A debug build has 100 MB for debuggers.
    done(Command::new("strip").arg("-o").arg(&program).arg(PROGRAM));
    done(Command::new(shipped("packaging/image/collect")).arg(folder.path().join("image")).arg(&program));
    std::fs::remove_file(&program).unwrap();
    done(Command::new("install").args(["-d", "-m", "0700"]).arg(folder.path().join("data/runnerfleet")));
    let dockerfile = text("dockerfiles/runnerfleet.Dockerfile");
    let (before, last) = dockerfile.split_once("\nFROM scratch\n").expect("its last stage is FROM scratch");
    for step in ["packaging/image/collect /image target/release/runnerfleet", "install -d -m 0700 /data/runnerfleet"] {
        assert!(before.contains(step), "this test does another step than `{step}`");
    }
    let last = last.replace("COPY --from=build --chown=10001:10001 /data/", "COPY --chown=10001:10001 data/");
    let last = last.replace("COPY --from=build /image/", "COPY image/");
    assert!(!last.contains("--from"), "{last}");
    std::fs::write(folder.path().join("Dockerfile"), format!("FROM scratch\n{last}")).unwrap();
    build(folder.path(), name)
}

/// This machine's Redis, with the user and the folder that the official image has.
pub(super) fn of_redis(name: &str) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let program = |name: &str| {
        let found = done(Command::new("sh").args(["-c", &format!("readlink -f \"$(command -v {name})\"")]));
        // By its own name: one binary is behind several.
        let copy = folder.path().join(name);
        std::fs::copy(found.trim(), &copy).unwrap();
        copy
    };
    done(Command::new(shipped("packaging/image/collect")).arg(&image).args(["redis-server", "redis-cli"].map(program)));
    let passwd = std::fs::read_to_string(image.join("etc/passwd")).unwrap();
    std::fs::write(image.join("etc/passwd"), passwd + "redis:x:999:999::/data:/nowhere\n").unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let dockerfile =
        "FROM scratch\nCOPY image/ /\nCOPY --chown=999:999 data/ /data/\nENV PATH=/usr/local/bin\nVOLUME /data\n";
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    build(folder.path(), name)
}

#[test]
fn the_dockerfile_holds_to_the_rules_of_the_house() {
    let lint = shipped("dockerfiles/lint.awk");
    let said = done(Command::new("awk").arg("-f").arg(lint).arg(shipped("dockerfiles/runnerfleet.Dockerfile")));
    assert_eq!(said, "");
    let version = format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"));
    assert!(text("dockerfiles/runnerfleet.Dockerfile").contains(&version), "the label has the version of Cargo.toml");
    assert!(text("packaging/compose/compose.yaml").contains(&format!(":-runnerfleet:{}}}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn it_holds_the_program_and_nothing_else() {
    let image = of_the_program("bare");
    let size = docker(&["image", "inspect", "--format", "{{.Size}}", &image.0]);
    println!("{} MB with a stripped debug build", size.trim().parse::<u64>().unwrap() / 1_000_000);
    let config = docker(&["image", "inspect", "--format", "{{json .Config}}", &image.0]);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        (config["User"].as_str(), config["StopSignal"].as_str()),
        (Some("10001:10001"), Some("SIGTERM")),
        "{config}"
    );
    for label in ["title", "description", "licenses", "version", "revision", "source"] {
        assert!(config["Labels"][format!("org.opencontainers.image.{label}")].is_string(), "{label}: {config}");
    }
    let container = docker(&["create", &image.0]);
    let list = done(Command::new("sh").args(["-c", &format!("docker export {} | tar -t", container.trim())]));
    docker(&["rm", "--force", "--volumes", container.trim()]);
    let programs: Vec<_> = list.lines().filter(|file| file.contains("bin/") && !file.ends_with('/')).collect();
    assert_eq!(programs, ["usr/local/bin/runnerfleet"], "no shell, no package manager");
}
