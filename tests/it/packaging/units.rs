use super::{shipped, text};
use crate::support::program::PROGRAM;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `systemd-analyze security` may say at most, times ten. docs/install.md names the number that it says now.
const MOST_EXPOSURE: &str = "30";

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; it is in the package systemd"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The units in a folder, starting the program of this build.
fn units(folder: &Path, change: impl Fn(String) -> String) -> Vec<PathBuf> {
    let copy = |name: &str| {
        let file = folder.join(name);
        let unit = text(&format!("packaging/systemd/{name}"));
        std::fs::write(&file, change(unit.replace("/usr/local/bin/runnerfleet", PROGRAM))).unwrap();
        file
    };
    ["runnerfleet.service", "runnerfleet.socket"].map(copy).into()
}

fn verify(units: &[PathBuf]) -> (Option<i32>, String) {
    run(Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=yes"]).args(units))
}

#[test]
fn are_well_formed() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(verify(&units(folder.path(), |unit| unit)), (Some(0), String::new()));
    // And the judge sees a mistake.
    let wrong = units(folder.path(), |unit| unit.replace("ProtectClock=yes", "ProtectClocks=yes"));
    let (code, said) = verify(&wrong);
    assert!(code == Some(1) && said.contains("ProtectClocks"), "{code:?}: {said}");
}

#[test]
fn the_service_is_hardened() {
    let judge = |unit: &Path| {
        let threshold = format!("--threshold={MOST_EXPOSURE}");
        run(Command::new("systemd-analyze").args(["security", "--no-pager", "--offline=true", &threshold]).arg(unit))
    };
    let (code, said) = judge(&shipped("packaging/systemd/runnerfleet.service"));
    let verdict = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or(&said);
    println!("{verdict}");
    assert_eq!(code, Some(0), "{said}");
    // The number in the docs is the one that it says.
    let level = verdict.split(": ").last().and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(
        text("docs/install.md").contains(&format!("exposure level for runnerfleet.service: {level} OK")),
        "{verdict}"
    );
    // And the judge sees a unit that is not.
    let folder = tempfile::tempdir().unwrap();
    let open =
        units(folder.path(), |unit| unit.replace("CapabilityBoundingSet=", "#").replace("SystemCallFilter=", "#"));
    assert_ne!(judge(&open[0]).0, Some(0));
}

#[test]
fn user_and_folders_are_made_with_the_rights_that_they_need() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let in_root = format!("--root={}", root.path().display());
    let made =
        run(Command::new("systemd-sysusers").arg(&in_root).arg(shipped("packaging/systemd/runnerfleet.sysusers.conf")));
    assert_eq!(made.0, Some(0), "{}", made.1);
    let passwd = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let entry = passwd.lines().find(|line| line.starts_with("runnerfleet:")).unwrap_or_else(|| panic!("{passwd}"));
    assert!(entry.ends_with("/nologin") && entry.contains(":/var/lib/runnerfleet:"), "{entry}");
    let group = std::fs::read_to_string(root.path().join("etc/group")).unwrap();
    assert!(group.lines().any(|line| line.starts_with("docker:") && line.ends_with(":runnerfleet")), "{group}");

    let tmpfiles = shipped("packaging/systemd/runnerfleet.tmpfiles.conf");
    let made = run(Command::new("systemd-tmpfiles").args(["--create", &in_root]).arg(tmpfiles));
    assert_eq!(made.0, Some(0), "{}", made.1);
    let owner: u32 = entry.split(':').nth(2).unwrap().parse().unwrap();
    for (path, mode, uid) in [
        ("etc/runnerfleet", 0o750, 0),
        ("etc/runnerfleet/secrets", 0o700, owner),
        ("var/lib/runnerfleet", 0o700, owner),
        ("run/runnerfleet", 0o700, owner),
    ] {
        let found = std::fs::metadata(root.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((found.mode() & 0o7777, found.uid()), (mode, uid), "{path}");
    }
}

#[test]
fn the_times_to_stop_are_longer_than_the_programs_own() {
    // Answers, actions, notifications, and the last answers: the constants at the head of src/app.rs.
    let needs = 10 + 60 + 5 + 10;
    let unit = text("packaging/systemd/runnerfleet.service");
    let given = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(given.parse::<u32>().unwrap() > needs, "{given}");
    let compose = text("packaging/compose/compose.yaml");
    let given = compose.lines().find_map(|line| line.trim().strip_prefix("stop_grace_period: ")).unwrap();
    assert!(given.trim_end_matches('s').parse::<u32>().unwrap() > needs, "{given}");
}

/// The example has placeholders for secrets alone; with them it is in order.
#[test]
fn the_example_of_a_configuration_is_in_order() {
    for name in ["packaging/systemd/runners_config.yaml", "packaging/compose/config/runners_config.yaml"] {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().display().to_string();
        let example = text(name).replace("/etc/runnerfleet/secrets", &secrets).replace("/run/secrets", &secrets);
        std::fs::write(folder.path().join("runners_config.yaml"), example).unwrap();
        let key = runnerfleet::simulation::keys::generate().expect("a key");
        for (name, secret) in [
            ("app-key.pem", secrecy::ExposeSecret::expose_secret(&key.private_pem)),
            ("webhook-secret", "long enough, and made here"),
        ] {
            std::fs::write(folder.path().join(name), secret).unwrap();
            std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let (code, said) = run(Command::new(PROGRAM).args(["config", "check"]).current_dir(folder.path()));
        assert_eq!(code, Some(0), "{name}: {said}");
    }
}
