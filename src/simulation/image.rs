//! The image of the stand-in agent, made only from what is on this machine: no registry, no builder, no network.
//!
//! It holds one program, a shell, the shared libraries that both need, and the agent's two scripts where the official
//! image has them. Scripts can use the shell's builtins and that program, nothing else.

use crate::provider::ProviderError;
use crate::provider::docker::Docker;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::process::Command;
use tokio::sync::mpsc;
use tracing::{debug, info};

/// Where the program is in the image.
pub const PROGRAM: &str = "/usr/local/bin/runnerfleet";

/// The agent's folder, as in the official image.
const HOME: &str = "home/runner";
/// The agent's user, as in the official image.
const RUNNER: u64 = 1001;

/// On every image of this kind; the value tells images of different programs apart.
const LABEL: &str = "runnerfleet.stand-in";

/// Changed when the layer is put together in another way, so that older images count as outdated.
const LAYOUT: &str = "1";

/// Pieces of the stream to the engine, and how many may wait: the image is never in memory as a whole.
const PIECE: usize = 256 * 1024;
const PIECES: usize = 8;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of this machine that it needs.
    #[error("cannot read {path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// The libraries of a program cannot be told.
    #[error("cannot tell which libraries {program} needs: {why}")]
    Libraries {
        /// Which program.
        program: PathBuf,
        /// Why not.
        why: String,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] ProviderError),
}

/// What goes in.
#[derive(Debug, Clone)]
struct Contents {
    program: PathBuf,
    libraries: BTreeSet<PathBuf>,
    run_sh: String,
    config_sh: String,
}

/// Makes the image if these inputs have none yet, and returns its reference `repository:hash`. Images that were made of
/// the same program before it was built anew are removed.
///
/// # Errors
/// When a file or a library is missing, or the engine refuses.
pub async fn ensure(
    docker: &Docker,
    program: &Path,
    repository: &str,
    run_sh: &str,
    config_sh: &str,
) -> Result<String, ImageError> {
    let mut libraries = libraries(program).await?;
    libraries.extend(self::libraries(Path::new("/bin/sh")).await?);
    let contents =
        Contents { program: program.to_owned(), libraries, run_sh: run_sh.to_owned(), config_sh: config_sh.to_owned() };
    let tag = hash(&contents)?;
    let reference = format!("{repository}:{tag}");
    if docker.has_image(&reference).await? {
        return Ok(reference);
    }
    // Of several programs at once, one makes it. The lock is let go with the file.
    let _lock = lock(&tag).await;
    if docker.has_image(&reference).await? {
        return Ok(reference);
    }
    let label = format!("{LABEL}={}", &hex::encode(Sha256::digest(program.as_os_str().as_encoded_bytes()))[..16]);
    let outdated = docker.images_with_label(&label).await?;
    let changes = vec![
        "ENV PATH=/usr/local/bin:/usr/bin:/bin RUNNER_MANUALLY_TRAP_SIG=1".to_owned(),
        "WORKDIR /home/runner".to_owned(),
        "USER runner".to_owned(),
        format!("LABEL {label}"),
    ];
    docker.import_image(repository, &tag, changes, layer(contents)).await?;
    info!("made image `{reference}`");
    for old in outdated.iter().filter(|old| old.starts_with(&format!("{repository}:"))) {
        // One that a container still uses stays until the next time.
        if let Err(why) = docker.remove_image(old).await {
            debug!("image `{old}` stays: {why}");
        }
    }
    Ok(reference)
}

/// Removes the image. One that is gone is no error.
///
/// # Errors
/// When the engine refuses: a container uses it.
pub async fn remove(docker: &Docker, reference: &str) -> Result<(), ImageError> {
    Ok(docker.remove_image(reference).await?)
}

/// The shared libraries of a program, by their paths here, the loader among them.
async fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>, ImageError> {
    let failed = |why: String| ImageError::Libraries { program: program.to_owned(), why };
    metadata(program)?;
    let output = Command::new("ldd")
        .arg(program)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| failed(format!("ldd: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    // A static program needs none; ldd ends with an error then.
    if ["not a dynamic executable", "statically linked", "Not a valid dynamic program"]
        .iter()
        .any(|word| said.contains(word))
    {
        return Ok(BTreeSet::new());
    }
    if !output.status.success() {
        return Err(failed(said.trim().to_owned()));
    }
    let mut found = parse(&text).map_err(failed)?;
    // Names are looked up by libraries that no program lists; older C libraries need them as files.
    let folders: BTreeSet<PathBuf> = found
        .iter()
        .filter(|path| file_name(path).starts_with("libc.so"))
        .filter_map(|path| path.parent())
        .map(Path::to_owned)
        .collect();
    for name in ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"] {
        found.extend(folders.iter().map(|folder| folder.join(name)).filter(|path| path.exists()));
    }
    Ok(found)
}

/// Reads lines like `libc.so.6 => /lib/libc.so.6 (0x7f)` and `/lib64/ld-linux-x86-64.so.2 (0x7f)`; the kernel's own
/// `linux-vdso.so.1 (0x7f)` is no file.
fn parse(text: &str) -> Result<BTreeSet<PathBuf>, String> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place.starts_with("not found") {
            return Err(format!("{name} is not found"));
        }
        let path = place.rsplit_once(" (").map_or(place, |(path, _)| path);
        // With `name => path`, a loader that is named by its path is looked for there.
        for path in [name.rsplit_once(" (").map_or(name, |(path, _)| path), path] {
            if path.starts_with('/') {
                found.insert(PathBuf::from(path));
            }
        }
    }
    Ok(found)
}

/// Names the inputs: the scripts by content, files by what changes with them. (Reading a program of 150 MB each time
/// would cost more than all the rest.)
fn hash(contents: &Contents) -> Result<String, ImageError> {
    let mut hash = Sha256::new();
    for text in [LAYOUT, &contents.run_sh, &contents.config_sh] {
        hash.update(format!("{}\0{text}", text.len()));
    }
    for path in [&contents.program, Path::new("/bin/sh")]
        .into_iter()
        .map(Path::to_owned)
        .chain(contents.libraries.iter().cloned())
    {
        let seen = metadata(&path)?;
        let path = path.display();
        hash.update(format!("{path}\0{}\0{}\0{}\0{}\n", seen.len(), seen.mtime(), seen.mtime_nsec(), seen.ino()));
    }
    Ok(hex::encode(hash.finalize())[..16].to_owned())
}

/// Held until the file is dropped; without it two programs may make the same image twice, and the later one stays.
async fn lock(tag: &str) -> Option<File> {
    let path = std::env::temp_dir().join(format!("runnerfleet-stand-in-{tag}.lock"));
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(path)?;
        file.lock()?;
        Ok::<_, io::Error>(file)
    });
    locked.await.ok()?.ok()
}

/// The layer as a stream: a thread writes the archive, the engine's appetite holds it back.
fn layer(contents: Contents) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let pipe = BufWriter::with_capacity(PIECE, Pipe(sender.clone()));
        if let Err(error) = write(&contents, pipe) {
            // Where nobody reads any more, the engine's own error is told.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(piece)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

fn metadata(path: &Path) -> Result<Metadata, ImageError> {
    std::fs::metadata(path).map_err(|why| ImageError::File { path: path.to_owned(), why })
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_says() {
        let glibc = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                     \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths =
            |text: &str| parse(text).unwrap().into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(paths(glibc), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(paths(musl), ["/lib/ld-musl-x86_64.so.1"]);
        assert_eq!(parse("\tlibssl.so.3 => not found\n").unwrap_err(), "libssl.so.3 is not found");
    }

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
