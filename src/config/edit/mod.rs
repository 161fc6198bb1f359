//! Changes base images in `runners_config.yaml` itself, and nothing else in it: comments, order, quotes, line ends and
//! indentation stay byte for byte.
//!
//! The places of the values come from reading the file as YAML (`text`), so that it does not matter how they are
//! written; the new text is read again, and refused if anything but those values changed. `file` puts it in place of
//! the old one.

mod file;
pub mod keys;
mod text;

use std::path::{Path, PathBuf};

/// One image in place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// The reference as it is in the file.
    pub from: String,
    /// What is there afterwards.
    pub to: String,
}

/// A value that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedValue {
    /// `runners_defaults.base_image`.
    pub key_path: String,
    /// Its line, from 1.
    pub line: usize,
}

/// A change that is on disk.
#[derive(Debug)]
pub struct Edit {
    /// The file itself, links followed.
    pub file: PathBuf,
    /// Where the text from before is kept.
    pub backup: PathBuf,
    /// What was changed.
    pub values: Vec<ChangedValue>,
    before: Vec<u8>,
    after: Vec<u8>,
}

/// Why a file was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It cannot be read.
    #[error("{} cannot be read: {why}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        why: String,
    },
    /// It is no YAML any more.
    #[error("{} is not valid YAML (line {line}): {why}; `runnerfleet config check` tells more", file.display())]
    Broken {
        /// Which file.
        file: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// No value is that image.
    #[error("no `base_image` of {} is `{image}`: it was changed since it was read; run the command again", file.display())]
    NotThere {
        /// Which file.
        file: PathBuf,
        /// Which image.
        image: String,
    },
    /// The value is put together from variables.
    #[error(
        "{key_path} in {} (line {line}) is `{written}`: its value comes from {variables}, not from the file; \
         change it where it is set, so that `{to}` comes out, or write the image into the file", file.display()
    )]
    Variable {
        /// Which file.
        file: Box<Path>,
        /// Which value.
        key_path: Box<str>,
        /// Its line.
        line: usize,
        /// As it is written.
        written: Box<str>,
        /// `` `RUNNER_VERSION` ``.
        variables: Box<str>,
        /// What it should become.
        to: Box<str>,
    },
    /// The value is spelled in a way that hides it: escapes, several lines.
    #[error(
        "{key_path} in {} (line {line}) is written with escapes or over several lines; write `{from}` on one line, or \
         change it to `{to}` by hand", file.display()
    )]
    Hidden {
        /// Which file.
        file: Box<Path>,
        /// Which value.
        key_path: Box<str>,
        /// Its line.
        line: usize,
        /// What it is.
        from: Box<str>,
        /// What it should become.
        to: Box<str>,
    },
    /// Another value would have changed with it.
    #[error(
        "changing the base image in {} would change {key_path} as well (an anchor that both use?); change it by hand",
        file.display()
    )]
    Shared {
        /// Which file.
        file: PathBuf,
        /// Which other value.
        key_path: String,
    },
    /// Somebody else has it locked.
    #[error("{} is locked by another program; try again when that one is done", file.display())]
    Locked {
        /// Which file.
        file: PathBuf,
    },
    /// It may not be written.
    #[error(
        "{} is read-only ({why}); make it writable (in a container: mount it without `:ro`), or change it by hand",
        file.display()
    )]
    ReadOnlyFile {
        /// Which file.
        file: PathBuf,
        /// How that shows.
        why: String,
    },
    /// The copy of the old text has no place.
    #[error(
        "{} may not be written to ({why}), so the old {} cannot be kept; make the folder writable, or change the file \
         by hand", folder.display(), file.display()
    )]
    ReadOnlyFolder {
        /// Which folder.
        folder: PathBuf,
        /// Which file.
        file: PathBuf,
        /// How that shows.
        why: String,
    },
    /// Writing failed; what was there is there still.
    #[error("{} cannot be written: {why}; it is as it was", file.display())]
    Failed {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        why: String,
    },
    /// Writing in place failed half-way.
    #[error("{} could not be written to its end: {why}; its old text is in {}", file.display(), backup.display())]
    Torn {
        /// Which file.
        file: PathBuf,
        /// Where the old text is.
        backup: PathBuf,
        /// What the system says.
        why: String,
    },
    /// It is not what this program wrote, so it is not taken back.
    #[error(
        "{} was changed by somebody else in the meantime and is left as it is; the text from before the update is in {}",
        file.display(), backup.display()
    )]
    ChangedMeanwhile {
        /// Which file.
        file: PathBuf,
        /// Where the old text is.
        backup: PathBuf,
    },
}

/// Changes every `base_image` and `image` (of `runners_defaults` and of the pools) that is one of the images, in the file
/// on disk. The old text is kept beside it, as `NAME.bak`. `env` is what the file's `${…}` are filled in from.
///
/// It waits for others who have the file locked, a few seconds at most: it belongs on a thread that may block.
///
/// # Errors
/// See [`EditError`]. Nothing is changed then, [`EditError::Torn`] apart.
pub fn change_images(
    file: &Path,
    changes: &[ImageChange],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Edit, EditError> {
    let held = file::Held::open(file)?;
    let before = std::str::from_utf8(held.bytes()).map_err(|error| EditError::Unreadable {
        file: file.to_path_buf(),
        why: format!("it is not UTF-8 ({error})"),
    })?;
    let changed = text::change_images(before, changes, env).map_err(|refusal| refusal.of(file))?;
    let before = before.as_bytes().to_vec();
    let (file, backup) = held.replace(changed.text.as_bytes())?;
    Ok(Edit { file, backup, values: changed.values, before, after: changed.text.into_bytes() })
}

/// Puts what `make` makes of the file's text in its place, and gives back where the old text is kept. Nothing is done where
/// `make` gives nothing. Like [`change_images`] in all else.
///
/// # Errors
/// What `make` refuses, or see [`EditError`].
pub fn rewrite<E: From<EditError>>(
    file: &Path,
    make: impl FnOnce(&str) -> Result<Option<String>, E>,
) -> Result<Option<PathBuf>, E> {
    let held = file::Held::open(file)?;
    let before = std::str::from_utf8(held.bytes()).map_err(|error| EditError::Unreadable {
        file: file.to_path_buf(),
        why: format!("it is not UTF-8 ({error})"),
    })?;
    let Some(after) = make(before)? else { return Ok(None) };
    let (_, backup) = held.replace(after.as_bytes())?;
    Ok(Some(backup))
}

impl Edit {
    /// Puts the text from before back, byte for byte.
    ///
    /// # Errors
    /// The file is not what this edit made of it, or it cannot be written.
    pub fn undo(&self) -> Result<(), EditError> {
        let held = file::Held::open(&self.file)?;
        if held.bytes() == self.before {
            return Ok(());
        }
        if held.bytes() != self.after {
            return Err(EditError::ChangedMeanwhile { file: self.file.clone(), backup: self.backup.clone() });
        }
        held.put_back(&self.before)
    }
}
