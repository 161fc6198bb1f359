//! What is sent to the builder: the Dockerfile's folder, without what `.dockerignore` names and without our own files.
//!
//! The same files make the same archive, wherever and whenever: sorted, without times and owners. Symlinks are sent as
//! links and not followed, so nothing from outside of the folder comes along.

use super::ignore::Ignore;
use crate::provider::docker::piped;
use bytes::Bytes;
use futures_util::Stream;
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Larger ones are a mistake: a folder of dependencies or data that nobody meant to send.
const LARGEST: u64 = 1 << 30;
/// So many files are.
const MOST: usize = 100_000;

/// Why it cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file or folder.
    #[error("cannot read {path}: {why}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// Something that is neither file nor folder nor link.
    #[error("{path} is {kind}, which cannot be sent to the builder: remove it, or name it in {ignore}")]
    Special {
        /// Which.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// Where it can be named.
        ignore: PathBuf,
    },
    /// A name that is no text.
    #[error("the name of {0:?} is not UTF-8: rename it, or leave it out by `.dockerignore`")]
    Name(PathBuf),
    /// Too much.
    #[error("{0}")]
    TooLarge(String),
    /// A line of `.dockerignore`.
    #[error("{path}, line {line}: {why}")]
    Ignore {
        /// Which file.
        path: PathBuf,
        /// Its line.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// See the file's head.
#[derive(Debug, Clone)]
pub struct Context {
    root: PathBuf,
    dockerfile: String,
    entries: Vec<Entry>,
    /// Our own files that stood in the folder.
    pub withheld: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: String,
    mode: u32,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Folder,
    File(u64),
    Link(String),
}

/// What went wrong while it was sent.
pub type Trouble = Arc<Mutex<Option<String>>>;

impl Context {
    /// Looks the folder through. `withheld` are absolute paths that are never sent.
    ///
    /// # Errors
    /// See [`ContextError`].
    pub fn read(dockerfile: &Path, withheld: &[PathBuf]) -> Result<Self, ContextError> {
        let root = dockerfile.parent().unwrap_or(Path::new("/"));
        let name = dockerfile.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| ContextError::Name(dockerfile.to_owned()))?;
        let (ignore, ignore_path) = read_ignore(root, name)?;
        // A folder that is reached by another way is the same folder.
        let real = root.canonicalize().map_err(|why| ContextError::Read { path: root.to_owned(), why })?;
        let withheld = withheld.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        let mut walk =
            Walk { root, real, ignore, ignore_path, dockerfile: name, withheld, found: Vec::new(), kept: Vec::new() };
        walk.folder("")?;
        let Walk { mut found, kept, ignore_path, .. } = walk;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let context = Self { root: root.to_owned(), dockerfile: name.to_owned(), entries: found, withheld: kept };
        if context.size() > LARGEST {
            return Err(ContextError::TooLarge(context.too_large(&ignore_path)));
        }
        Ok(context)
    }

    /// The Dockerfile's path in it.
    pub fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(Entry::size).sum()
    }

    /// The paths in it, in the order of the archive.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.path.as_str())
    }

    fn too_large(&self, ignore: &Path) -> String {
        let mut by_first: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
        for entry in &self.entries {
            *by_first.entry(entry.path.split('/').next().unwrap_or_default()).or_default() += entry.size();
        }
        let largest = by_first.into_iter().max_by_key(|(_, size)| *size).unwrap_or_default();
        let mib = |bytes: u64| bytes >> 20;
        format!(
            "{} has {} MiB to send to the builder, most of it in `{}` ({} MiB); at most {} MiB are sent: name what the image \
             does not need in {}",
            self.root.display(),
            mib(self.size()),
            largest.0,
            mib(largest.1),
            mib(LARGEST),
            ignore.display()
        )
    }

    /// A digest of names, modes and contents. Reads every file.
    ///
    /// # Errors
    /// A file cannot be read any more.
    pub fn digest(&self) -> Result<[u8; 32], ContextError> {
        let mut all = Sha256::new();
        for entry in &self.entries {
            let (kind, content) = match &entry.content {
                Content::Folder => ("folder", [0; 32]),
                Content::Link(target) => ("link", Sha256::digest(target.as_bytes()).into()),
                Content::File(_) => ("file", self.digest_of(&entry.path)?),
            };
            all.update(format!("{}\0{}\0{:o}\0{kind}\0", entry.path.len(), entry.path, entry.mode));
            all.update(content);
        }
        Ok(all.finalize().into())
    }

    fn digest_of(&self, path: &str) -> Result<[u8; 32], ContextError> {
        let path = self.root.join(path);
        let read = || -> io::Result<[u8; 32]> {
            let (mut file, mut hash) = (File::open(&path)?, Sha256::new());
            let mut piece = vec![0; 64 * 1024];
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok(hash.finalize().into()),
                    length => hash.update(&piece[..length]),
                }
            }
        };
        read().map_err(|why| ContextError::Read { path: path.clone(), why })
    }

    /// The archive as a stream; what goes wrong on the way is told in the second.
    pub fn stream(&self) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Trouble) {
        let (context, trouble) = (self.clone(), Trouble::default());
        let told = trouble.clone();
        let stream = piped(move |to| {
            context.write(to).inspect_err(|error| {
                // A builder that stopped reading tells itself why.
                if error.kind() != io::ErrorKind::BrokenPipe {
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
            })
        });
        (stream, trouble)
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(to);
        for entry in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(entry.size());
            match &entry.content {
                Content::Folder => {
                    header.set_entry_type(tar::EntryType::Directory);
                    archive.append_data(&mut header, format!("{}/", entry.path), io::empty())?;
                }
                Content::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    archive.append_link(&mut header, &entry.path, target)?;
                }
                Content::File(size) => {
                    header.set_entry_type(tar::EntryType::Regular);
                    let path = self.root.join(&entry.path);
                    let failed = |why: String| io::Error::other(format!("{}: {why}", path.display()));
                    let file = File::open(&path).map_err(|error| failed(error.to_string()))?;
                    let mut sent = Counted { inner: file.take(*size), count: 0 };
                    archive.append_data(&mut header, &entry.path, &mut sent)?;
                    if sent.count != *size {
                        return Err(failed("it became shorter while it was sent".to_owned()));
                    }
                }
            }
        }
        archive.into_inner()?.flush()
    }
}

impl Entry {
    fn size(&self) -> u64 {
        match self.content {
            Content::File(size) => size,
            Content::Folder | Content::Link(_) => 0,
        }
    }
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(piece)?;
        self.count += length as u64;
        Ok(length)
    }
}

/// `NAME.dockerignore` beside the Dockerfile counts before `.dockerignore`, as with `docker build`.
fn read_ignore(root: &Path, dockerfile: &str) -> Result<(Ignore, PathBuf), ContextError> {
    for name in [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()] {
        let path = root.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let ignore = Ignore::parse(&text);
                return match ignore {
                    Ok(ignore) => Ok((ignore, path)),
                    Err((line, why)) => Err(ContextError::Ignore { path, line, why }),
                };
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(ContextError::Read { path, why }),
        }
    }
    Ok((Ignore::default(), root.join(".dockerignore")))
}

struct Walk<'a> {
    root: &'a Path,
    real: PathBuf,
    ignore: Ignore,
    ignore_path: PathBuf,
    dockerfile: &'a str,
    withheld: Vec<PathBuf>,
    found: Vec<Entry>,
    kept: Vec<String>,
}

impl Walk<'_> {
    /// Everything below a folder (`""` is the root); whether something of it is sent.
    fn folder(&mut self, folder: &str) -> Result<bool, ContextError> {
        let here = self.root.join(folder);
        let failed = |why| ContextError::Read { path: here.clone(), why };
        let before = self.found.len();
        for child in std::fs::read_dir(&here).map_err(failed)? {
            let name = child.map_err(failed)?.file_name();
            let name = name.to_str().ok_or_else(|| ContextError::Name(here.join(&name)))?;
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            self.one(path)?;
        }
        Ok(self.found.len() > before)
    }

    fn one(&mut self, path: String) -> Result<(), ContextError> {
        if self.withheld.contains(&self.real.join(&path)) {
            self.kept.push(path);
            return Ok(());
        }
        let is_dockerfile = path == self.dockerfile;
        let excluded = !is_dockerfile && self.ignore.excludes(&path);
        if excluded && !self.ignore.takes_back() {
            return Ok(());
        }
        let full = self.root.join(&path);
        let failed = |why| ContextError::Read { path: full.clone(), why };
        // The Dockerfile is named by the configuration: as a link, its text is meant.
        let seen = if is_dockerfile { full.metadata() } else { full.symlink_metadata() }.map_err(failed)?;
        let mode = seen.permissions().mode() & 0o7777;
        let content = if seen.is_dir() {
            let at = self.found.len();
            // A folder that is itself left out comes along with what is taken back of it.
            if self.folder(&path)? || !excluded {
                self.found.insert(at, Entry { path, mode, content: Content::Folder });
            }
            return Ok(());
        } else if excluded {
            return Ok(());
        } else if seen.is_symlink() {
            let target = std::fs::read_link(&full).map_err(failed)?;
            Content::Link(target.to_str().ok_or_else(|| ContextError::Name(target.clone()))?.to_owned())
        } else if seen.is_file() {
            Content::File(seen.len())
        } else {
            return Err(ContextError::Special { kind: kind(&seen), path: full, ignore: self.ignore_path.clone() });
        };
        // A link's own mode means nothing, and differs between systems.
        let mode = if matches!(content, Content::Link(_)) { 0o777 } else { mode };
        self.found.push(Entry { path, mode, content });
        if self.found.len() > MOST {
            return Err(ContextError::TooLarge(format!(
                "{} has more than {MOST} files to send to the builder: name what the image does not need in {}",
                self.root.display(),
                self.ignore_path.display()
            )));
        }
        Ok(())
    }
}

fn kind(seen: &Metadata) -> &'static str {
    let kind = seen.file_type();
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn read(folder: &tempfile::TempDir) -> Result<Context, ContextError> {
        Context::read(&folder.path().join("Dockerfile"), &[])
    }

    fn archive(context: &Context) -> Vec<u8> {
        let mut bytes = Vec::new();
        context.write(&mut bytes).unwrap();
        bytes
    }

    const FILES: [(&str, &str); 4] = [("Dockerfile", "FROM a"), ("b/c", "1"), ("b-d", "2"), ("a", "3")];

    #[test]
    fn times_and_order_change_nothing() {
        let one = folder(&FILES);
        let two = folder(&[FILES[3], FILES[2], FILES[1], FILES[0]]);
        let file = fs::File::options().write(true).open(two.path().join("a")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let (one, two) = (read(&one).unwrap(), read(&two).unwrap());
        assert_eq!(one.paths().collect::<Vec<_>>(), ["Dockerfile", "a", "b", "b-d", "b/c"]);
        assert_eq!(archive(&one), archive(&two));
        assert_eq!(one.digest().unwrap(), two.digest().unwrap());
    }

    #[test]
    fn names_modes_and_contents_do() {
        let base = read_kept(&FILES, |_| {});
        let changes: [fn(&Path); 5] = [
            |root| fs::write(root.join("a"), "4").unwrap(),
            |root| fs::rename(root.join("a"), root.join("e")).unwrap(),
            |root| fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o755)).unwrap(),
            |root| fs::create_dir(root.join("empty")).unwrap(),
            |root| symlink("a", root.join("link")).unwrap(),
        ];
        let mut digests: Vec<_> = changes.into_iter().map(|change| read_kept(&FILES, change)).collect();
        digests.push(base);
        digests.push(read_kept(&FILES, |root| symlink("b", root.join("link")).unwrap()));
        let mut distinct = digests.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), digests.len());
    }

    fn read_kept(files: &[(&str, &str)], change: impl Fn(&Path)) -> [u8; 32] {
        let folder = folder(files);
        change(folder.path());
        read(&folder).unwrap().digest().unwrap()
    }

    #[test]
    fn what_is_named_is_left_out() {
        let folder = folder(&[
            ("Dockerfile", "FROM a"),
            (".dockerignore", "Dockerfile\n.git\nbig\n!big/small\nsecret*"),
            (".git/config", "x"),
            ("big/large", "x"),
            ("big/small", "x"),
            ("secret.txt", "x"),
            ("sub/.git/x", "x"),
        ]);
        let context = read(&folder).unwrap();
        let paths: Vec<_> = context.paths().collect();
        assert_eq!(paths, [".dockerignore", "Dockerfile", "big", "big/small", "sub", "sub/.git", "sub/.git/x"]);
        fs::write(folder.path().join("Dockerfile.dockerignore"), "*").unwrap();
        assert_eq!(read(&folder).unwrap().paths().collect::<Vec<_>>(), ["Dockerfile"]);
        fs::write(folder.path().join("Dockerfile.dockerignore"), "a\n[").unwrap();
        let refused = read(&folder).unwrap_err().to_string();
        assert!(refused.contains("Dockerfile.dockerignore, line 2: "), "{refused}");
    }

    #[test]
    fn our_own_files_are_never_sent() {
        let folder =
            folder(&[("Dockerfile", "FROM a"), ("runners_config.yaml", "x"), ("data/fleet.redb", "x"), ("x", "")]);
        let withheld = [folder.path().join("runners_config.yaml"), folder.path().join("data")];
        let context = Context::read(&folder.path().join("Dockerfile"), &withheld).unwrap();
        assert_eq!(context.paths().collect::<Vec<_>>(), ["Dockerfile", "x"]);
        let mut told = context.withheld.clone();
        told.sort();
        assert_eq!(told, ["data", "runners_config.yaml"]);
    }

    #[test]
    fn links_stay_links_and_special_files_are_refused() {
        let folder = folder(&[("Dockerfile", "FROM a")]);
        symlink("/etc/passwd", folder.path().join("outside")).unwrap();
        let bytes = archive(&read(&folder).unwrap());
        let mut archive = tar::Archive::new(bytes.as_slice());
        let link = archive.entries().unwrap().map(Result::unwrap).find(|entry| entry.link_name().unwrap().is_some());
        assert_eq!(link.unwrap().link_name().unwrap().unwrap().to_str(), Some("/etc/passwd"));

        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("sock")).unwrap();
        let refused = read(&folder).unwrap_err().to_string();
        assert!(
            refused.contains("/sock is a socket, which cannot be sent") && refused.contains(".dockerignore"),
            "{refused}"
        );
        fs::write(folder.path().join(".dockerignore"), "sock").unwrap();
        read(&folder).unwrap();
    }

    #[test]
    fn too_much_is_refused_with_what_it_is() {
        let folder = folder(&[("Dockerfile", "FROM a"), ("node_modules/x", "")]);
        let file = fs::File::options().write(true).open(folder.path().join("node_modules/x")).unwrap();
        // Of holes alone.
        file.set_len(LARGEST + 1).unwrap();
        let refused = read(&folder).unwrap_err().to_string();
        assert!(refused.contains("most of it in `node_modules` (1024 MiB)"), "{refused}");
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_told() {
        use futures_util::StreamExt;
        let folder = folder(&FILES);
        let context = read(&folder).unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let (stream, trouble) = context.stream();
        let pieces: Vec<_> = stream.collect().await;
        assert!(pieces.last().unwrap().is_err());
        let told = trouble.lock().unwrap().clone().unwrap();
        assert!(told.ends_with("/a: it became shorter while it was sent"), "{told}");
    }
}
