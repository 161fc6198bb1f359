//! The image's one layer, written as a tar stream.

use super::PROGRAM;
use crate::provider::docker::piped;
use bytes::Bytes;
use futures_util::Stream;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

/// The agent's folder, as in the official image.
const HOME: &str = "home/runner";
/// The agent's user, as in the official image.
const RUNNER: u64 = 1001;

/// What goes in.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) program: PathBuf,
    pub(super) libraries: BTreeSet<PathBuf>,
    pub(super) run_sh: String,
    pub(super) config_sh: String,
}

/// The layer as a stream.
pub(super) fn stream(contents: Contents) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    piped(move |to| write(&contents, to))
}

fn write(contents: &Contents, to: impl Write) -> io::Result<()> {
    let mut layer = Layer { archive: tar::Builder::new(to), folders: BTreeSet::new() };
    layer.folder("tmp", 0o1777, 0)?;
    layer.folder(HOME, 0o755, RUNNER)?;
    layer.file("bin/sh", Path::new("/bin/sh"))?;
    layer.file(PROGRAM, &contents.program)?;
    for library in &contents.libraries {
        layer.file(library, library)?;
    }
    // Where the loader finds libraries outside of its usual folders.
    let cache = Path::new("/etc/ld.so.cache");
    if cache.exists() {
        layer.file(cache, cache)?;
    }
    layer.text("etc/passwd", 0o644, 0, "root:x:0:0:root:/root:/bin/sh\nrunner:x:1001:1001::/home/runner:/bin/sh\n")?;
    layer.text("etc/group", 0o644, 0, "root:x:0:\nrunner:x:1001:\n")?;
    layer.text("etc/nsswitch.conf", 0o644, 0, "hosts: files dns\n")?;
    layer.text(&format!("{HOME}/run.sh"), 0o755, RUNNER, &contents.run_sh)?;
    layer.text(&format!("{HOME}/config.sh"), 0o755, RUNNER, &contents.config_sh)?;
    layer.archive.into_inner()?.flush()
}

/// An archive that makes each folder once, before what is in it.
struct Layer<W: Write> {
    archive: tar::Builder<W>,
    folders: BTreeSet<PathBuf>,
}

impl<W: Write> Layer<W> {
    fn folder(&mut self, path: impl AsRef<Path>, mode: u32, owner: u64) -> io::Result<()> {
        let path = path.as_ref().strip_prefix("/").unwrap_or(path.as_ref());
        if path.as_os_str().is_empty() || self.folders.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent, 0o755, 0)?;
        }
        self.folders.insert(path.to_owned());
        self.archive.append_data(&mut header(tar::EntryType::Directory, mode, owner, 0), path, io::empty())
    }

    /// What is behind a symlink here is the file itself there.
    fn file(&mut self, path: impl AsRef<Path>, source: &Path) -> io::Result<()> {
        let path = path.as_ref().strip_prefix("/").unwrap_or(path.as_ref());
        if let Some(parent) = path.parent() {
            self.folder(parent, 0o755, 0)?;
        }
        let file = File::open(source)?;
        let size = file.metadata()?.len();
        self.archive.append_data(&mut header(tar::EntryType::Regular, 0o755, 0, size), path, file.take(size))
    }

    fn text(&mut self, path: &str, mode: u32, owner: u64, text: &str) -> io::Result<()> {
        if let Some(parent) = Path::new(path).parent() {
            self.folder(parent, 0o755, 0)?;
        }
        let size = text.len() as u64;
        self.archive.append_data(&mut header(tar::EntryType::Regular, mode, owner, size), path, text.as_bytes())
    }
}

fn header(kind: tar::EntryType, mode: u32, owner: u64, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(size);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_before_what_is_in_it_and_only_once() {
        let contents = Contents {
            program: PathBuf::from("/bin/sh"),
            libraries: BTreeSet::new(),
            run_sh: "#!/bin/sh\n".to_owned(),
            config_sh: "#!/bin/sh\n".to_owned(),
        };
        let mut bytes = Vec::new();
        write(&contents, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.uid().unwrap())
            })
            .collect();
        assert!(entries.contains(&("tmp".to_owned(), 0o1777, 0)), "{entries:?}");
        assert!(entries.contains(&("home/runner/run.sh".to_owned(), 0o755, 1001)), "{entries:?}");
        let names: Vec<_> = entries.iter().map(|(name, ..)| name.trim_end_matches('/')).collect();
        for (at, name) in names.iter().enumerate() {
            let parent = Path::new(name).parent().unwrap().to_str().unwrap();
            assert!(parent.is_empty() || names[..at].contains(&parent), "{parent} of {name}");
            assert!(!names[..at].contains(name), "{name} twice");
        }
    }
}
