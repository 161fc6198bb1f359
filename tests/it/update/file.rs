//! The file on disk: whole, locked, kept, as it was apart from the value.

use runnerfleet::config::edit::{Edit, EditError, ImageChange, change_images};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const TEXT: &str = "# ours\nrunners_defaults:\n  base_image: 'base:1.0.0' # keep\nrunners: []\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("c.yaml"), TEXT).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        // Without links, as the messages have it.
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn set_mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }
}

/// `mount` over a path; gone with the guard.
struct Mount(PathBuf);

impl Mount {
    fn over_itself(path: &Path) -> Self {
        run("mount", &["--bind".as_ref(), path, path]);
        Self(path.to_path_buf())
    }

    fn read_only(path: &Path) -> Self {
        let mount = Self::over_itself(path);
        run("mount", &["-o".as_ref(), "remount,ro,bind".as_ref(), path]);
        mount
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} (as root?): {}", String::from_utf8_lossy(&output.stderr));
}

fn edit(path: &Path, from: &str, to: &str) -> Result<Edit, EditError> {
    let change = ImageChange { from: format!("base:{from}"), to: format!("base:{to}") };
    change_images(path, &[change], &|_| None)
}

fn new_text(version: &str) -> String {
    TEXT.replace("1.0.0", version)
}

#[test]
fn the_old_text_is_kept_and_can_be_put_back() {
    let folder = Folder::new();
    let done = edit(&folder.path("c.yaml"), "1.0.0", "1.1.0").unwrap();
    assert_eq!(folder.read("c.yaml"), new_text("1.1.0"));
    assert_eq!(folder.read("c.yaml.bak"), TEXT);
    assert_eq!(folder.names(), ["c.yaml", "c.yaml.bak"], "nothing else stays behind");
    assert_eq!((done.file.clone(), done.backup.clone()), (folder.path("c.yaml"), folder.path("c.yaml.bak")));
    assert_eq!((done.values[0].key_path.as_str(), done.values[0].line), ("runners_defaults.base_image", 3));

    done.undo().unwrap();
    assert_eq!(folder.read("c.yaml"), TEXT);
    done.undo().unwrap();
    // What somebody else wrote since is theirs.
    let done = edit(&folder.path("c.yaml"), "1.0.0", "1.1.0").unwrap();
    std::fs::write(folder.path("c.yaml"), "# mine\n").unwrap();
    let refused = done.undo().unwrap_err();
    assert!(matches!(refused, EditError::ChangedMeanwhile { .. }), "{refused}");
    assert_eq!(folder.read("c.yaml"), "# mine\n");
    assert!(refused.to_string().contains("c.yaml.bak"), "{refused}");
}

#[test]
fn a_refusal_changes_nothing() {
    let folder = Folder::new();
    let refused = edit(&folder.path("c.yaml"), "9.9.9", "10.0.0").unwrap_err();
    assert!(matches!(refused, EditError::NotThere { .. }), "{refused}");
    assert_eq!(folder.read("c.yaml"), TEXT);
    assert_eq!(folder.names(), ["c.yaml"]);
    let missing = edit(&folder.path("d.yaml"), "1.0.0", "1.1.0").unwrap_err().to_string();
    assert!(missing.ends_with("d.yaml cannot be read: no such file or directory"), "{missing}");
}

#[test]
fn mode_and_owner_stay_and_a_link_stays_a_link() {
    let folder = Folder::new();
    let real = folder.path("c.yaml");
    folder.set_mode("c.yaml", 0o640);
    chown(&real, Some(12_345), Some(54_321)).expect("these tests run as root");
    std::fs::create_dir(folder.path("elsewhere")).unwrap();
    let link = folder.path("elsewhere/link.yaml");
    symlink("../c.yaml", &link).unwrap();

    let done = edit(&link, "1.0.0", "1.1.0").unwrap();
    assert_eq!(done.file, real);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(&link).unwrap(), new_text("1.1.0"));
    for name in ["c.yaml", "c.yaml.bak"] {
        let metadata = std::fs::metadata(folder.path(name)).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o640, 12_345, 54_321), "{name}");
    }
}

#[test]
fn a_single_file_that_is_mounted_is_written_in_place() {
    let folder = Folder::new();
    let path = folder.path("c.yaml");
    let _mount = Mount::over_itself(&path);
    let inode = std::fs::metadata(&path).unwrap().ino();
    // Shorter than before: nothing of the old end may stay.
    let done = edit(&path, "1.0.0", "2").unwrap();
    assert_eq!(folder.read("c.yaml"), new_text("2"));
    assert_eq!(folder.read("c.yaml.bak"), TEXT);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
    done.undo().unwrap();
    assert_eq!(folder.read("c.yaml"), TEXT);
    assert_eq!(folder.names(), ["c.yaml", "c.yaml.bak"]);
}

#[test]
fn what_is_read_only_is_told_and_left_alone() {
    // As the replaced tool's own compose file mounted it.
    let folder = Folder::new();
    let path = folder.path("c.yaml");
    let mount = Mount::read_only(&path);
    let refused = edit(&path, "1.0.0", "1.1.0").unwrap_err();
    assert!(matches!(refused, EditError::ReadOnlyFile { .. }), "{refused}");
    assert!(refused.to_string().contains("mount it without `:ro`"), "{refused}");
    drop(mount);

    folder.set_mode("c.yaml", 0o444);
    let refused = edit(&path, "1.0.0", "1.1.0").unwrap_err();
    assert!(refused.to_string().contains("is read-only (its mode is 444)"), "{refused}");
    folder.set_mode("c.yaml", 0o644);

    // The file may be written, its folder may not.
    let inner = folder.path("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("c.yaml"), TEXT).unwrap();
    let _folder_mount = Mount::read_only(&inner);
    std::fs::write(folder.path("file"), TEXT).unwrap();
    run("mount", &["--bind".as_ref(), &folder.path("file"), &inner.join("c.yaml")]);
    let _file_mount = Mount(inner.join("c.yaml"));
    let refused = edit(&inner.join("c.yaml"), "1.0.0", "1.1.0").unwrap_err();
    assert!(matches!(&refused, EditError::ReadOnlyFolder { folder, .. } if *folder == inner), "{refused}");
    assert_eq!(folder.read("file"), TEXT);
    assert_eq!(folder.names(), ["c.yaml", "file", "inner"]);
}

#[test]
fn a_lock_is_waited_for() {
    let folder = Folder::new();
    let held = File::open(folder.path("c.yaml")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let path = folder.path("c.yaml");
    let other = std::thread::spawn(move || edit(&path, "1.0.0", "1.1.0").map(drop));
    // The other one cannot be done while the lock is held, however slow this machine is.
    assert_eq!(folder.read("c.yaml"), TEXT);
    drop(held);
    other.join().unwrap().unwrap();
    assert_eq!(folder.read("c.yaml"), new_text("1.1.0"));
}

const ROUNDS: u32 = 40;

/// Run by the next test as a process of its own; by itself it has nothing to do.
#[test]
fn a_process_that_edits() {
    let (Ok(path), Ok(name)) = (std::env::var("TEST_EDIT_FILE"), std::env::var("TEST_EDIT_NAME")) else { return };
    for round in 0..ROUNDS {
        let change = ImageChange { from: format!("{name}:{round}"), to: format!("{name}:{}", round + 1) };
        change_images(Path::new(&path), &[change], &|_| None).unwrap();
    }
}

#[test]
fn two_processes_at_once_lose_nothing() {
    let folder = Folder::new();
    let path = folder.path("two.yaml");
    let text = |round: u32| format!("runners: # both\n- image: a:{round} # a\n- {{image: 'b:{round}'}} # b\n");
    std::fs::write(&path, text(0)).unwrap();
    let mut children: Vec<_> = ["a", "b"]
        .iter()
        .map(|name| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "update::file::a_process_that_edits"])
                .env("TEST_EDIT_FILE", &path)
                .env("TEST_EDIT_NAME", name)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    // Whoever looks meanwhile sees a whole file.
    let whole = |text: &str| text.starts_with("runners: # both\n") && text.ends_with("'} # b\n");
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(whole(&text), "{text}");
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text(ROUNDS));
    assert_eq!(folder.names(), ["c.yaml", "two.yaml", "two.yaml.bak"]);
}
