//! The one file of a fleet that needs nothing else: queue and store in one redb database.
//!
//! One thread writes. It takes everything that waits for it into one transaction, so that many requests share one
//! `fsync`, and answers only after it. Reads see what is committed. If a commit fails (a full disk), all who waited
//! for it are told, and the file is opened anew with the next request.

mod counted;
mod look;
mod row;
mod tables;
mod writer;

pub use look::{FileFacts, FileState, look};
pub(crate) use row::Row;
pub(crate) use tables::{EVENTS, JOBS, LEASES, MARKS, NOTES, RUNNERS};
pub(crate) use writer::{Step, Unavailable, Writer};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError};
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// redb keeps this much of the file in memory; its default of 1 GiB would let a small manager grow to that. The file is
/// in the kernel's page cache anyway, so that a larger one gains little.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The layout of the tables. A file with another one is refused.
const FORMAT: u64 = 1;

/// An open file. Clones share it; it is closed, and free for another process, when the last one is dropped together
/// with all queues and stores made from it.
#[derive(Clone, Debug)]
pub struct EmbeddedDb {
    pub(crate) writer: Arc<Writer>,
    pub(crate) inbox: Arc<crate::queue::embedded::Inbox>,
    pub(crate) feeds: Arc<crate::store::Feeds>,
    pub(crate) visibility: Duration,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody has it open. The verbs beside `serve` then go through the admin socket.
    #[error("`{}` is in use by another process; probably a runnerfleet runs already", .0.display())]
    InUse(PathBuf),
    /// It is there, and it is no database of runnerfleet, or a damaged one.
    #[error("`{}` is not a database of this runnerfleet or is damaged ({why}); it was left as it is", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system refused.
    #[error("cannot open `{}`: {source}", .path.display())]
    Io {
        /// The file or its folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Opens the file, and makes it and its folder where they are missing. An event that was handed out and not
/// acknowledged is handed out again after `visibility`.
///
/// # Errors
/// [`OpenError`]; an existing file is never deleted or overwritten.
pub fn open(path: &Path, visibility: Duration) -> Result<EmbeddedDb, OpenError> {
    make_folder(path)?;
    let file = path.to_owned();
    open_with(Box::new(move || open_file(&file)), path, visibility)
}

/// An empty database in memory, gone with the last clone: for a look at things where there is no file.
///
/// # Errors
/// [`OpenError`], should the operating system refuse a thread.
pub fn in_memory() -> Result<EmbeddedDb, OpenError> {
    let nowhere = Path::new("memory");
    let opener = move || open_backend(redb::backends::InMemoryBackend::new(), nowhere);
    open_with(Box::new(opener), nowhere, Duration::from_secs(60))
}

/// The same without a thread of its own: every call is done, and durable as far as memory is, before it first waits. Whoever
/// simulates decides alone what happens in which order.
///
/// # Errors
/// [`OpenError`], should the database refuse.
pub fn in_memory_inline(visibility: Duration) -> Result<EmbeddedDb, OpenError> {
    let nowhere = Path::new("memory");
    let opener = move || open_backend(redb::backends::InMemoryBackend::new(), nowhere);
    let writer = Writer::inline(Box::new(opener), nowhere)?;
    Ok(EmbeddedDb { writer: Arc::new(writer), inbox: Arc::default(), feeds: Arc::default(), visibility })
}

impl EmbeddedDb {
    /// The same database as a process that starts anew finds it: counted anew, with nothing handed out. Only of one that is
    /// inline; the users of the old one must be gone.
    ///
    /// # Errors
    /// What was counted cannot be read.
    pub fn reopened(&self) -> Result<Self, String> {
        self.writer.recount().map_err(|error| error.to_string())?;
        Ok(Self { inbox: Arc::default(), feeds: Arc::default(), ..self.clone() })
    }
}

/// How the database is opened: at the start, and again after a failed commit.
type Opener = Box<dyn Fn() -> Result<Database, OpenError> + Send>;

fn open_with(opener: Opener, path: &Path, visibility: Duration) -> Result<EmbeddedDb, OpenError> {
    let writer = Writer::start(opener, path)?;
    Ok(EmbeddedDb { writer: Arc::new(writer), inbox: Arc::default(), feeds: Arc::default(), visibility })
}

fn make_folder(path: &Path) -> Result<(), OpenError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| OpenError::Io { path: folder.to_owned(), source })
}

fn open_file(path: &Path) -> Result<Database, OpenError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    let backend = redb::backends::FileBackend::new(file).map_err(|error| told(path, error))?;
    open_backend(backend, path)
}

fn open_backend(backend: impl StorageBackend, path: &Path) -> Result<Database, OpenError> {
    let database =
        Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(|error| told(path, error))?;
    prepare(&database).map_err(|why| OpenError::NotOurs { path: path.to_owned(), why })?;
    Ok(database)
}

/// Makes the tables of a new file, or checks that those of an old one are ours.
fn prepare(database: &Database) -> Result<(), String> {
    let text = |error: redb::Error| error.to_string();
    let is_new = {
        let txn = database.begin_read().map_err(|error| text(error.into()))?;
        txn.list_tables().map_err(|error| text(error.into()))?.next().is_none()
    };
    if is_new {
        return tables::create(database, FORMAT).map_err(text);
    }
    match tables::format(database).map_err(text)? {
        Some(FORMAT) => Ok(()),
        Some(other) => Err(format!("its layout has number {other}, this version knows {FORMAT}")),
        None => Err("another program's tables are in it".to_owned()),
    }
}

fn told(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::InUse(path),
        // redb says `InvalidData` where the file does not start with its magic number.
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io { path, source }
        }
        other => OpenError::NotOurs { path, why: other.to_string() },
    }
}

#[cfg(test)]
mod tests;
