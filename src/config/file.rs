//! The text of `runners_config.yaml`, read into checked values; every problem at once.
//!
//! The text becomes a tree of nodes that know their place (`node`), the tree is taken apart by the declared sections
//! (`shape`, `section`), and what they hold is put together and held against each other (`build`, `pool`). What goes
//! wrong on the way is noted in a `Reading`, and told at the end.

use super::Config;
use super::excerpt::Excerpt;
use super::legacy;
use super::node::{self, Node};
use super::problem::{Problem, Problems};
use super::reading::{Findings, Reading, Spot};
use super::section::decode_section;
use super::shape::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Larger files are refused unread. The annotated example has less than a hundredth of it.
const LARGEST_FILE: u64 = 1 << 20;

/// A configuration that is in order, and what should be known of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Nothing of it keeps the program from starting.
    pub warnings: Vec<Problem>,
    /// What is written in another way today. Only of a file of the former tool, which works as it is.
    pub notes: Vec<Problem>,
    /// The files that its secrets came from.
    pub secret_files: Vec<SecretSource>,
}

/// A file that a secret came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSource {
    /// The key that names it: `github.auth.app.private_key_file`.
    pub key_path: String,
    /// Absolute.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

/// Reads the file at `path`.
///
/// # Errors
/// All problems of the file at once.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    parse(&text(path)?, &name, &folder_of(path), env, &hostname())
}

/// The text of the file as it is.
///
/// # Errors
/// It cannot be read, or is too large for a configuration.
pub fn text(path: &Path) -> Result<String, Problems> {
    let name = path.display().to_string();
    read(path).map_err(|(message, hint)| Problems::one(Problem::of_file(&name, message, hint)))
}

/// The folder of the file. Absolute, so that a later change of the working directory changes nothing.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    path.parent().unwrap_or(Path::new("/")).to_path_buf()
}

/// What this machine calls itself.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Reads the text of a file. `name` is what problems call the file, `folder` is where its relative paths start, and
/// `hostname` names this manager where the file does not.
///
/// # Errors
/// All problems of the text at once.
pub fn parse(
    text: &str,
    name: &str,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    hostname: &str,
) -> Result<Loaded, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = tree(text, name)?;
    told(read_tree(&root, text, name, folder, env, hostname), name)
}

/// As [`parse`], of a file whose secrets are not all there yet: where one is missing, something that is none stands for it.
/// What else the file says can be worked with, before the App is made.
///
/// # Errors
/// All other problems of the text at once.
pub fn outline(
    text: &str,
    name: &str,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = tree(text, name)?;
    let reading = Reading::new(name, text, folder, env).before_its_secrets();
    told(read_with(&root, &hostname(), reading), name)
}

fn told((config, findings): (Option<Config>, Findings), name: &str) -> Result<Loaded, Problems> {
    let Findings { problems, warnings, notes, secret_files, .. } = findings;
    match (Problems::from_list(problems), config) {
        (None, Some(config)) => Ok(Loaded { config, warnings, notes, secret_files }),
        (Some(problems), _) => Err(problems),
        (None, None) => Err(Problems::one(Problem::of_file(name, "cannot be read", None))),
    }
}

/// The text as a tree.
pub(super) fn tree(text: &str, name: &str) -> Result<Node, Problems> {
    let root = match node::parse(text) {
        Ok(root) => root,
        Err(error) => {
            // Inside `[ ]` and `{ }` a bare `${NAME}` is YAML's own syntax.
            let line = text.lines().nth(error.place.line.saturating_sub(1)).unwrap_or_default();
            let hint = if line.contains("${") && line.contains(['[', '{']) {
                Some("inside `[ ]` and `{ }` a value with `${…}` needs quotes")
            } else {
                None
            };
            let mut problem = Problem::of_file(name, format!("is not valid YAML: {}", error.message), hint);
            problem.line = error.place.line;
            problem.column = error.place.column;
            problem.excerpt = Excerpt::of_broken_yaml(text, error.place);
            return Err(Problems::one(problem));
        }
    };
    if matches!(root.value, node::Value::Null) {
        let hint = "`runnerfleet init` writes one";
        return Err(Problems::one(Problem::of_file(name, "the file is empty", Some(hint))));
    }
    Ok(root)
}

/// What the tree says, and what was found on the way; no configuration only where there are problems.
pub(super) fn read_tree(
    root: &Node,
    text: &str,
    name: &str,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    hostname: &str,
) -> (Option<Config>, Findings) {
    read_with(root, hostname, Reading::new(name, text, folder, env))
}

fn read_with(root: &Node, hostname: &str, mut reading: Reading<'_>) -> (Option<Config>, Findings) {
    if legacy::is_one(root) {
        reading = reading.of_the_former_tool();
        legacy::tell(root, &mut reading);
    }
    let file: File = decode_section(root, &Spot { place: root.place, path: String::new() }, &mut reading);
    let config = super::build::build(file, hostname, &mut reading);
    (config, reading.finish())
}

/// The text of the file, or why there is none.
pub(super) fn read(path: &Path) -> Result<String, (String, Option<&'static str>)> {
    let why = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => ("the file is not there".to_owned(), Some("`--config` names another")),
        ErrorKind::PermissionDenied => ("the file may not be read".to_owned(), None),
        other => (format!("the file cannot be read: {other}"), None),
    };
    let metadata = std::fs::metadata(path).map_err(why)?;
    if metadata.is_dir() {
        return Err(("this is a folder, not a file".to_owned(), Some("name the file in it")));
    }
    // A pipe or a device could block for ever.
    if !metadata.is_file() {
        return Err(("this is no regular file".to_owned(), None));
    }
    if metadata.len() > LARGEST_FILE {
        return Err((format!("the file has {} bytes; {LARGEST_FILE} are the most", metadata.len()), None));
    }
    let bytes = std::fs::read(path).map_err(why)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
        (format!("the file is not UTF-8 (line {line})"), Some("save it as UTF-8"))
    })
}
