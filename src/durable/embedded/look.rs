//! A look at the file that leaves it as it is, and free for whoever wants to open it.
//!
//! Opening the file as the program does takes its lock, and a `serve` that started in that moment would find it taken. So
//! who holds it is read from the kernel's list of locks, and a file that nobody holds is opened through a backend that
//! takes none: it reads from the file, and what would be written stays in memory.

use super::{OpenError, open_backend};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Pieces of this size are kept in memory once they are written.
const PIECE: u64 = 4096;

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The file.
    pub path: PathBuf,
    /// Whether it can be used.
    pub state: FileState,
    /// Its permission bits; none where there is no file.
    pub mode: Option<u32>,
    /// Bytes that are free where it is.
    pub free: Option<u64>,
}

/// Whether the file can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It was never made. Whether it can be made: if not, why.
    NotThere(Option<String>),
    /// Another process has it open; its number, where the kernel tells.
    Held(Option<u32>),
    /// It is ours and in order.
    Good,
    /// It cannot be used; why.
    Bad(String),
}

/// Looks. Blocks: a file that was not closed as it should be is read as a whole.
pub fn look(path: &Path) -> FileFacts {
    let metadata = std::fs::metadata(path);
    let mode = metadata.as_ref().ok().map(|metadata| metadata.mode() & 0o7777);
    let state = match metadata {
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileState::NotThere(cannot_be_made(path)),
        Err(error) => FileState::Bad(format!("cannot be looked at: {error}")),
        Ok(metadata) if !metadata.is_file() => FileState::Bad("is no regular file".to_owned()),
        Ok(metadata) => {
            let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
            match holder(&locks, &metadata) {
                Some(process) => FileState::Held(process),
                None => open(path),
            }
        }
    };
    let free = nearest_folder(path).and_then(|folder| rustix::fs::statvfs(folder).ok());
    FileFacts { path: path.to_owned(), state, mode, free: free.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)) }
}

fn open(path: &Path) -> FileState {
    if let Err(error) = rustix::fs::access(path, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK) {
        return FileState::Bad(format!("may not be read and written by this user: {}", io::Error::from(error)));
    }
    let opened = File::open(path)
        .and_then(Untouched::new)
        .map_err(|source| OpenError::Io { path: path.to_owned(), source })
        .and_then(|untouched| open_backend(untouched, path));
    match opened {
        Ok(_) => FileState::Good,
        Err(OpenError::NotOurs { why, .. }) => {
            FileState::Bad(format!("is not a database of this runnerfleet, or is damaged: {why}"))
        }
        Err(OpenError::Io { source, .. }) => FileState::Bad(format!("cannot be read: {source}")),
        Err(OpenError::InUse(_)) => FileState::Held(None),
    }
}

/// Why the file could not be made where it is to be; none where it could.
fn cannot_be_made(path: &Path) -> Option<String> {
    let Some(folder) = nearest_folder(path) else { return Some("its path leads nowhere".to_owned()) };
    if !folder.is_dir() {
        return Some(format!("{} is no folder", folder.display()));
    }
    let allowed = rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    allowed
        .err()
        .map(|error| format!("{} may not be written by this user: {}", folder.display(), io::Error::from(error)))
}

/// The folder of the file, or the first above it that is there.
fn nearest_folder(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|folder| folder.exists()).map(Path::to_owned)
}

/// Who holds a lock on the file, by the kernel's list (proc(5), `/proc/locks`): none where nobody does; a process that the
/// kernel does not name (a lock of an open file, or of another namespace) is a holder without a number.
#[expect(clippy::option_option, reason = "nobody, somebody, and a certain process are three things")]
fn holder(locks: &str, metadata: &Metadata) -> Option<Option<u32>> {
    let device = metadata.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let wanted = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let holders = locks.lines().filter_map(|line| {
        // `->` marks one that waits.
        let mut words = line.split_whitespace().skip(1).filter(|word| *word != "->");
        let process = words.nth(3)?;
        (words.next()? == wanted).then(|| process.parse::<u32>().ok().filter(|process| *process > 0))
    });
    holders.max()
}

/// The file, read only; with what would be written in memory.
#[derive(Debug)]
struct Untouched {
    file: File,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    /// The length that the file would have.
    length: u64,
    /// So many of its own bytes count; the rest was cut off.
    own: u64,
    /// What would be written, by its piece's number.
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Untouched {
    fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, over: Mutex::new(Over { length, own: length, pieces: BTreeMap::new() }) })
    }

    /// A piece as it would be.
    fn piece(&self, over: &Over, number: u64) -> io::Result<Vec<u8>> {
        if let Some(piece) = over.pieces.get(&number) {
            return Ok(piece.clone());
        }
        let start = number * PIECE;
        let own = over.own.saturating_sub(start).min(PIECE);
        // What lies beyond the end is zero.
        let mut piece = vec![0; usize::try_from(PIECE).unwrap_or_default()];
        let (there, _) = piece.split_at_mut(usize::try_from(own).unwrap_or_default());
        self.file.read_exact_at(there, start)?;
        Ok(piece)
    }

    /// Goes over the pieces that a range touches: the piece, where the range begins in it, and its bytes of the range.
    fn each(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
        let piece = usize::try_from(PIECE).unwrap_or(usize::MAX);
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == length {
                return None;
            }
            let at = offset + done as u64;
            let inside = usize::try_from(at % PIECE).unwrap_or_default();
            let many = (piece - inside).min(length - done);
            let step = (at / PIECE, inside, done..done + many);
            done += many;
            Some(step)
        })
    }
}

impl StorageBackend for Untouched {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.over.lock().unwrap_or_else(PoisonError::into_inner).length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if offset + out.len() as u64 > over.length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        for (number, inside, range) in Self::each(offset, out.len()) {
            let piece = self.piece(&over, number)?;
            let many = range.len();
            out[range].copy_from_slice(&piece[inside..inside + many]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if length < over.length {
            over.own = over.own.min(length);
            over.pieces.retain(|number, _| number * PIECE < length);
            let last = length / PIECE;
            let from = usize::try_from(length % PIECE).unwrap_or_default();
            if let Some(piece) = over.pieces.get_mut(&last) {
                piece[from..].fill(0);
            }
        }
        over.length = length;
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        over.length = over.length.max(offset + data.len() as u64);
        for (number, inside, range) in Self::each(offset, data.len()) {
            let mut piece = self.piece(&over, number)?;
            let many = range.len();
            piece[inside..inside + many].copy_from_slice(&data[range]);
            over.pieces.insert(number, piece);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::open as open_for_good;
    use super::*;
    use std::time::Duration;

    fn state(path: &Path) -> FileState {
        look(path).state
    }

    #[test]
    fn what_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/fleet.redb");
        let facts = look(&path);
        assert_eq!((facts.state, facts.mode), (FileState::NotThere(None), None));
        assert!(facts.free.is_some());
        assert!(!path.exists() && !folder.path().join("deep").exists());
        std::fs::write(folder.path().join("deep"), "a file").unwrap();
        assert!(matches!(state(&path), FileState::NotThere(Some(_)) | FileState::Bad(_)));
    }

    #[test]
    fn a_look_changes_nothing_and_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.redb");
        let db = open_for_good(&path, Duration::from_secs(60)).unwrap();
        assert_eq!(state(&path), FileState::Held(Some(std::process::id())));
        drop(db);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(state(&path), FileState::Good);
        assert_eq!(std::fs::read(&path).unwrap(), before);

        // A file that was not closed, as after a crash: it would be repaired, and is not.
        let db = open_for_good(&path, Duration::from_secs(60)).unwrap();
        let torn = folder.path().join("torn.redb");
        std::fs::copy(&path, &torn).unwrap();
        drop(db);
        let before = std::fs::read(&torn).unwrap();
        assert_eq!(state(&torn), FileState::Good);
        assert_eq!(std::fs::read(&torn).unwrap(), before);
    }

    #[test]
    fn what_is_not_ours_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.redb");
        std::fs::write(&path, "not a database").unwrap();
        let FileState::Bad(why) = state(&path) else { panic!("it is not ours") };
        assert!(why.contains("not a database of this runnerfleet"), "{why}");
        assert_eq!(state(folder.path()), FileState::Bad("is no regular file".to_owned()));
    }

    #[test]
    fn the_kernels_list_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let device = metadata.dev();
        let place = format!("{:02x}:{:02x}:{}", rustix::fs::major(device), rustix::fs::minor(device), metadata.ino());
        let list = |line: &str| holder(&line.replace("FILE", &place), &metadata);
        assert_eq!(list("1: FLOCK  ADVISORY  WRITE 10405 FILE 0 EOF\n"), Some(Some(10405)));
        assert_eq!(list("1: OFDLCK ADVISORY  WRITE -1 FILE 0 EOF\n"), Some(None));
        let both = "1: OFDLCK ADVISORY  WRITE -1 FILE 0 9\n2: FLOCK  ADVISORY  WRITE 7 FILE 0 EOF\n";
        assert_eq!(list(both), Some(Some(7)));
        assert_eq!(list("1: FLOCK  ADVISORY  WRITE 10405 FILE7 0 EOF\n"), None);
        assert_eq!(list(""), None);
    }
}
