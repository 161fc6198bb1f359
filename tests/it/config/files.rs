//! Files that cannot be read at all.

use super::{MINIMAL, env};
use runnerfleet::config::load;
use std::fs;
use std::path::Path;

fn message(path: &Path) -> String {
    let problems = load(path, &env).unwrap_err();
    assert_eq!(problems.count(), 1, "{problems}");
    let shown = problems.to_string();
    assert!(shown.starts_with(&format!("{}: ", path.display())), "{shown}");
    problems.iter().next().unwrap().message.clone()
}

#[test]
fn each_has_a_clear_message() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(message(&at("none.yaml")), "the file is not there");
    assert_eq!(message(folder.path()), "this is a folder, not a file");
    fs::write(at("empty.yaml"), "").unwrap();
    assert_eq!(message(&at("empty.yaml")), "the file is empty");
    fs::write(at("latin1.yaml"), b"version: 1\nname: caf\xe9\n").unwrap();
    assert_eq!(message(&at("latin1.yaml")), "the file is not UTF-8 (line 2)");
    fs::write(at("huge.yaml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(message(&at("huge.yaml")), "the file has 1048577 bytes; 1048576 are the most");
    assert_eq!(message(&at("empty.yaml").join("x")), "the file cannot be read: not a directory");
    assert_eq!(message(Path::new("/dev/null")), "this is no regular file");
}

#[test]
fn a_file_may_start_with_a_byte_order_mark_and_have_windows_line_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let text = format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n"));
    fs::write(&path, &text).unwrap();
    let config = load(&path, &env).unwrap_or_else(|problems| panic!("{problems}")).config;
    assert_eq!(config.folder, folder.path());
    assert!(!config.host.as_str().is_empty());
    fs::write(&path, text.replace("labels", "lables")).unwrap();
    let problems = load(&path, &env).unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(6, 5), (7, 5)], "{problems}");
}
