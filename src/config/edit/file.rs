//! A new text in place of a file's: locked, with the old one kept, whole at every moment.

use super::EditError;
use rustix::fs::{Access, FlockOperation};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long another one who has the lock is waited for: an edit takes milliseconds.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// No configuration is larger.
const LARGEST_FILE: u64 = 1 << 20;

/// A file that is locked, and what is in it.
pub(super) struct Held {
    /// Links followed, so that what they lead to is replaced, not they.
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: Metadata,
    /// Whoever wants to write the file by way of this module waits until this is closed.
    _lock: File,
}

impl Held {
    /// Locks the file and reads it.
    ///
    /// The lock is on the file itself: a lock file beside it would stay behind for ever. So whoever waited may hold the
    /// lock on a file that was replaced while it waited; then it takes the new one.
    pub(super) fn open(path: &Path) -> Result<Self, EditError> {
        let unreadable = |error: std::io::Error| EditError::Unreadable { file: path.into(), why: plain(&error) };
        for _ in 0..LOCK_TRIES {
            let real = path.canonicalize().map_err(unreadable)?;
            let mut file = File::open(&real).map_err(unreadable)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    std::thread::sleep(LOCK_PAUSE);
                    continue;
                }
                Err(error) => return Err(unreadable(error.into())),
            }
            let metadata = file.metadata().map_err(unreadable)?;
            let there = std::fs::metadata(&real).map_err(unreadable)?;
            if (there.dev(), there.ino()) != (metadata.dev(), metadata.ino()) {
                continue;
            }
            if !metadata.is_file() || metadata.len() > LARGEST_FILE {
                let why = "it is no regular file, or too large for a configuration".to_owned();
                return Err(EditError::Unreadable { file: real, why });
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(unreadable)?;
            return Ok(Self { path: real, bytes, metadata, _lock: file });
        }
        Err(EditError::Locked { file: path.into() })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts `new` in place of the text; the old one goes to `NAME.bak`. Gives back the file and the backup.
    pub(super) fn replace(self, new: &[u8]) -> Result<(PathBuf, PathBuf), EditError> {
        self.check_writable()?;
        let backup = self.beside(".bak");
        let kept = self.written_beside(&self.bytes, Owner::AtBest).and_then(|copy| copy.rename_to(&backup));
        kept.map_err(|error| self.no_backup(&error))?;
        self.write(new, &backup)?;
        Ok((self.path, backup))
    }

    /// Puts `old` back. What is in `NAME.bak` stays there: it is the same text.
    pub(super) fn put_back(self, old: &[u8]) -> Result<(), EditError> {
        self.check_writable()?;
        let backup = self.beside(".bak");
        self.write(old, &backup)
    }

    fn write(&self, new: &[u8], backup: &Path) -> Result<(), EditError> {
        let written = self.written_beside(new, Owner::Same);
        let failed = |error: &std::io::Error| EditError::Failed { file: self.path.clone(), why: plain(error) };
        match written {
            Ok(copy) => match copy.rename_to(&self.path) {
                Ok(()) => Ok(()),
                // A single file that is mounted into a container cannot be replaced, only written.
                Err(error) if is(&error, &[Errno::BUSY, Errno::XDEV]) => self.write_in_place(new, backup),
                Err(error) => Err(failed(&error)),
            },
            // It is another user's: a new file could not be given back to them.
            Err(error) if is(&error, &[Errno::PERM]) => self.write_in_place(new, backup),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Not whole at every moment, so only where there is no other way.
    fn write_in_place(&self, new: &[u8], backup: &Path) -> Result<(), EditError> {
        let failed = |error: std::io::Error| EditError::Failed { file: self.path.clone(), why: plain(&error) };
        let mut file = OpenOptions::new().write(true).open(&self.path).map_err(failed)?;
        let length = u64::try_from(new.len()).unwrap_or(u64::MAX);
        file.write_all(new).and_then(|()| file.set_len(length)).and_then(|()| file.sync_all()).map_err(|error| {
            EditError::Torn { file: self.path.clone(), backup: backup.to_path_buf(), why: plain(&error) }
        })
    }

    fn check_writable(&self) -> Result<(), EditError> {
        let read_only = |why: String| EditError::ReadOnlyFile { file: self.path.clone(), why };
        // Root may write it all the same, and a rename needs no right on it at all; but somebody said that nobody should.
        if self.metadata.mode() & 0o222 == 0 {
            return Err(read_only(format!("its mode is {:03o}", self.metadata.mode() & 0o777)));
        }
        rustix::fs::access(&self.path, Access::WRITE_OK).map_err(|error| read_only(plain(&error.into())))
    }

    fn no_backup(&self, error: &std::io::Error) -> EditError {
        let file = self.path.clone();
        if is(error, &[Errno::ROFS, Errno::ACCESS, Errno::PERM]) {
            EditError::ReadOnlyFolder { folder: self.folder().to_path_buf(), file, why: plain(error) }
        } else {
            EditError::Failed { file, why: format!("its old text cannot be kept beside it: {}", plain(error)) }
        }
    }

    /// A new file beside this one, with the same owner and permissions, on disk.
    fn written_beside(&self, bytes: &[u8], owner: Owner) -> std::io::Result<Beside> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (mut file, copy) = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = self.beside(&format!(".{}-{number}.new", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => break (file, Beside { path }),
                // Left by a process that was killed and had our number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let own = file.metadata()?;
        let mut mode = self.metadata.mode() & 0o7777;
        if (own.uid(), own.gid()) != (self.metadata.uid(), self.metadata.gid()) {
            match (fchown(&file, Some(self.metadata.uid()), Some(self.metadata.gid())), owner) {
                (Ok(()), _) => {}
                // Nobody gets to read it who could not read the file.
                (Err(_), Owner::AtBest) => mode &= 0o700,
                (Err(error), Owner::Same) => return Err(error),
            }
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(copy)
    }

    fn beside(&self, tail: &str) -> PathBuf {
        let mut name: OsString = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(tail);
        self.path.with_file_name(name)
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// Whose a new file is.
#[derive(Clone, Copy)]
enum Owner {
    /// The old one's, or there is none.
    Same,
    /// Ours where it cannot be given away.
    AtBest,
}

/// A file that is gone unless it gets its final name.
struct Beside {
    path: PathBuf,
}

impl Beside {
    /// Its final name, on disk.
    fn rename_to(self, path: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.path, path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        // The name is in place; a file system that cannot sync folders changes nothing about that.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is(error: &std::io::Error, kinds: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| kinds.contains(&errno))
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
