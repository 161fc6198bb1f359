//! What verbs print, held against files. `UPDATE_GOLDEN=1` writes them anew; what changes from run to run (times, ids, names of
//! this run) stands in them as a word.

use crate::support::program::Program;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// Holds `text` against `tests/golden/cli/<name>`.
pub fn golden(name: &str, text: &str) {
    let path = folder().join(name);
    let text = format!("{}\n", text.trim_end());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert!(
        text == wanted,
        "{} is not what it was (UPDATE_GOLDEN=1 writes it anew)\n--- wanted\n{wanted}\n--- printed\n{text}",
        path.display()
    );
}

/// The golden files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli")
}

/// What names of persistent runners begin with: container names belong to the whole engine.
pub fn own(program: &Program) -> String {
    let instance = program.fleet.instance.as_str();
    format!("{}-", instance.trim_start_matches("test-program-"))
}

/// The text without what is of this run alone.
pub fn timeless(program: &Program, text: &str) -> String {
    let image = program.config()["runners_defaults"]["base_image"].as_str().unwrap().to_owned();
    let mut text = text.to_owned();
    for (from, to) in [
        (program.fleet.instance.to_string(), "FLEET".to_owned()),
        (own(program), String::new()),
        (image, "IMAGE".to_owned()),
        (program.folder.path().display().to_string(), "FOLDER".to_owned()),
        (program.github.agent_url().to_owned(), "https://GITHUB".to_owned()),
    ] {
        text = text.replace(&from, &to);
    }
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// One line: words that are a time, an id or a number of a job are named; what is left of columns is two blanks wide.
fn line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let mut done = line[..indent].to_owned();
    let mut word = String::new();
    let put = |word: &mut String, done: &mut String| {
        done.push_str(&named(word));
        word.clear();
    };
    for c in line[indent..].chars() {
        if c.is_whitespace() || "\"'()[],;`".contains(c) {
            put(&mut word, &mut done);
            if !(c == ' ' && done.ends_with("  ")) {
                done.push(c);
            }
        } else {
            word.push(c);
        }
    }
    put(&mut word, &mut done);
    while done.contains("AGE AGE") {
        done = done.replace("AGE AGE", "AGE");
    }
    done
}

fn named(word: &str) -> String {
    let (bare, end) = match word.strip_suffix([':', '.']) {
        Some(bare) => (bare, &word[bare.len()..]),
        None => (word, ""),
    };
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pieces = |text: &str, by: char, sizes: &[usize]| {
        text.split(by).map(str::len).eq(sizes.iter().copied()) && text.split(by).all(digits)
    };
    let name = if pieces(bare, '-', &[4, 2, 2]) {
        "DATE"
    } else if pieces(bare.trim_end_matches('Z'), ':', &[2, 2, 2])
        || (bare.len() > 10 && bare.parse::<Timestamp>().is_ok())
    {
        "TIME"
    } else if bare.trim_start_matches("sha256:").len() == 64 && is_hex(bare.trim_start_matches("sha256:")) {
        "HASH"
    } else if bare.split_once('/').is_some_and(|(id, attempt)| id.len() > 4 && digits(id) && digits(attempt)) {
        "JOB"
    } else if bare.len() > 1 && bare.ends_with(['s', 'm', 'h', 'd']) && digits(&bare[..bare.len() - 1]) {
        "AGE"
    } else if bare.len() == 16 && is_hex(bare) {
        "SPEC"
    } else {
        return word.to_owned();
    };
    format!("{name}{end}")
}

#[test]
fn what_changes_from_run_to_run_is_named() {
    assert_eq!(
        line("web-1   started  since 2026-11-22T14:00:00Z (4m 10s ago)"),
        "web-1  started  since TIME (AGE ago)"
    );
    assert_eq!(line("  \"job\": \"41230001/1\","), "  \"job\": \"JOB\",");
    assert_eq!(line(&format!("Container:  {}", "0a".repeat(32))), "Container:  HASH");
}
