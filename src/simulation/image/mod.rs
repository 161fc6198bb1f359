//! The image of the stand-in agent, made only from what is on this machine: no registry, no builder, no network.
//!
//! It holds one program, a shell, the shared libraries that both need, and the agent's two scripts where the official
//! image has them. Scripts can use the shell's builtins and that program, nothing else.

mod layer;

use crate::provider::ProviderError;
use crate::provider::docker::Docker;
use layer::Contents;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::process::Command;
use tracing::{debug, info};

/// Where the program is in the image.
pub const PROGRAM: &str = "/usr/local/bin/runnerfleet";

/// On every image of this kind; the value tells images of different programs apart.
const LABEL: &str = "runnerfleet.stand-in";

/// Changed when the layer is put together in another way, so that older images count as outdated.
const LAYOUT: &str = "1";

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
    let _lock = lock().await;
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
    docker.import_image(repository, &tag, changes, layer::stream(contents)).await?;
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
async fn lock() -> Option<File> {
    let path = std::env::temp_dir().join("runnerfleet-stand-in.lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        Ok::<_, io::Error>(file)
    });
    // Another user's file: then without it.
    locked.await.ok()?.ok()
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
}
