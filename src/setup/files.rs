//! Keys and secrets on disk: in a folder that only its owner enters (0700), in files that only their owner reads (0600), whole
//! at every moment. A file that is there is replaced only by the one function that says so.

use rustix::fs::RenameFlags;
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretString};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Larger ones are no keys.
const LARGEST: u64 = 64 * 1024;

/// Why a file is not as it should be. Never holds what is in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Its folder cannot be made.
    #[error("the folder {} cannot be made: {why}", folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// It cannot be written.
    #[error("{} cannot be written: {why}", file.display())]
    Write {
        /// Which one.
        file: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// It cannot be read.
    #[error("{} cannot be read: {why}", file.display())]
    Read {
        /// Which one.
        file: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// Something is there already.
    #[error("{} is there already, and is not written over", file.display())]
    There {
        /// Which one.
        file: PathBuf,
    },
}

/// What is in the file; none where it is not there.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(file: &Path) -> Result<Option<SecretString>, FileError> {
    let failed = |why: String| FileError::Read { file: file.to_path_buf(), why };
    match std::fs::metadata(file) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(failed(plain(&error))),
        Ok(metadata) if !metadata.is_file() || metadata.len() > LARGEST => {
            return Err(failed("it is no regular file, or too large for a key".to_owned()));
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(file).map(|text| Some(SecretString::from(text))).map_err(|error| failed(plain(&error)))
}

/// Whether a file could be written there: tried before a person is sent anywhere, since GitHub shows a key only once. Makes the
/// folder.
///
/// # Errors
/// It could not.
pub fn check_writable(file: &Path) -> Result<(), FileError> {
    make_folder(file)?;
    let written = written_beside(file, "\n", None);
    written.map(drop).map_err(|error| FileError::Write { file: file.to_path_buf(), why: plain(&error) })
}

/// Writes a file that is not there yet.
///
/// # Errors
/// It is there, or it cannot be written.
pub fn put_new(file: &Path, text: &SecretString) -> Result<(), FileError> {
    make_folder(file)?;
    let failed = |error: &std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => FileError::There { file: file.to_path_buf() },
        _ => FileError::Write { file: file.to_path_buf(), why: plain(error) },
    };
    written_beside(file, text.expose_secret(), None)
        .and_then(|beside| beside.rename_where_nothing_is(file))
        .map_err(|error| failed(&error))
}

/// Writes the file, over the one that is there if there is one; its owner stays.
///
/// # Errors
/// It cannot be written; what was there is there still.
pub fn replace(file: &Path, text: &SecretString) -> Result<(), FileError> {
    make_folder(file)?;
    let failed = |error: &std::io::Error| FileError::Write { file: file.to_path_buf(), why: plain(error) };
    // What a link leads to is replaced, not the link.
    let real = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    let owner = std::fs::metadata(&real).ok().map(|there| (there.uid(), there.gid()));
    written_beside(&real, text.expose_secret(), owner)
        .and_then(|beside| beside.rename_to(&real))
        .map_err(|error| failed(&error))
}

/// A path beside `wanted` at which nothing is: `wanted` itself, else with a number.
pub fn free_name(wanted: &Path) -> PathBuf {
    let stem = wanted.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let end = wanted.extension().map(|end| format!(".{}", end.to_string_lossy())).unwrap_or_default();
    let numbered = (2..1000_u32).map(|number| wanted.with_file_name(format!("{stem}-{number}{end}")));
    std::iter::once(wanted.to_path_buf()).chain(numbered).find(|path| !path.exists()).unwrap_or(wanted.to_path_buf())
}

fn make_folder(file: &Path) -> Result<(), FileError> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| FileError::Folder { folder: folder.to_path_buf(), why: plain(&error) })
}

/// A file that is gone unless it gets its final name.
struct Beside(PathBuf);

fn written_beside(path: &Path, text: &str, owner: Option<(u32, u32)>) -> std::io::Result<Beside> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut file, beside) = loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_file_name(format!(".{name}.{}-{number}.new", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside) {
            Ok(file) => break (file, Beside(beside)),
            // Left by a process that was killed and had our number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    };
    // The umask may have taken even that away.
    file.set_permissions(Permissions::from_mode(0o600))?;
    if let Some((uid, gid)) = owner {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (uid, gid) {
            // The service that reads the old one must be able to read the new one.
            fchown(&file, Some(uid), Some(gid))?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(beside)
}

impl Beside {
    fn rename_to(self, path: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.0, path)?;
        sync_folder(path);
        Ok(())
    }

    fn rename_where_nothing_is(self, path: &Path) -> std::io::Result<()> {
        match rustix::fs::renameat_with(rustix::fs::CWD, &self.0, rustix::fs::CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // A file system that cannot do it in one step: a link fails where something is, just so.
            Err(Errno::INVAL | Errno::NOSYS) => std::fs::hard_link(&self.0, path)?,
            Err(error) => return Err(error.into()),
        }
        sync_folder(path);
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The name is in place; a file system that cannot sync folders changes nothing about that.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_reads_it_and_nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets/app.pem");
        check_writable(&file).unwrap();
        put_new(&file, &SecretString::from("one")).unwrap();
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        let refused = put_new(&file, &SecretString::from("two")).unwrap_err();
        assert!(matches!(refused, FileError::There { .. }), "{refused}");
        assert_eq!(read(&file).unwrap().unwrap().expose_secret(), "one");
        replace(&file, &SecretString::from("two")).unwrap();
        assert_eq!(read(&file).unwrap().unwrap().expose_secret(), "two");
        assert_eq!(mode(&file), 0o600);
        assert_eq!(free_name(&file), folder.path().join("secrets/app-2.pem"));
        let left: Vec<_> =
            std::fs::read_dir(file.parent().unwrap()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["app.pem"], "no temporary file is left");
        assert!(read(&folder.path().join("nothing")).unwrap().is_none());
        assert!(read(folder.path()).is_err());
    }

    #[test]
    fn where_no_folder_can_be_is_told_before_anything() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let told = check_writable(&folder.path().join("file/app.pem")).unwrap_err().to_string();
        assert!(told.contains("/file cannot be made"), "{told}");
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, &SecretString::from("new")).unwrap();
        assert!(link.is_symlink());
        assert_eq!((std::fs::read_to_string(&real).unwrap().as_str(), mode(&real)), ("new", 0o600));
    }
}
