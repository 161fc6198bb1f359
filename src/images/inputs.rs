//! All that goes into an image, and its digest: as long as that stays the same, there is nothing to build.

use super::ImageError;
use super::args::{build_args, undeclared};
use super::context::Context;
use super::dockerfile::Dockerfile;
use crate::config::{Backend, Build, Config};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Changed when the digest is made in another way, so that older images count as changed.
const LAYOUT: &str = "1";

/// See the file's head.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The folder.
    pub context: Context,
    /// Of its files.
    pub files: [u8; 32],
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The images that it starts from.
    pub images: BTreeSet<String>,
    /// The base image's reference.
    pub base: String,
    /// What the reader should know.
    pub notes: Vec<String>,
}

impl Inputs {
    /// Reads Dockerfile and folder: every file of it. Blocks.
    ///
    /// # Errors
    /// A file cannot be read or sent.
    pub fn gather(
        config: &Config,
        build: &Build,
        base: &str,
        more: &BTreeMap<String, String>,
    ) -> Result<Self, ImageError> {
        let refused = |why: String| ImageError::Dockerfile { path: build.dockerfile.clone(), why };
        let text = std::fs::read_to_string(&build.dockerfile).map_err(|error| refused(error.to_string()))?;
        let dockerfile = Dockerfile::parse(&text).map_err(refused)?;
        let context = Context::read(&build.dockerfile, &withheld(config))?;
        let files = context.digest()?;
        let args = build_args(build, base, more, &dockerfile);
        let images = dockerfile.images(&args);
        let mut notes = Vec::new();
        if !context.withheld.is_empty() {
            notes.push(format!("not sent to the builder: {}", context.withheld.join(", ")));
        }
        if !images.contains(base) {
            notes.push(format!(
                "the Dockerfile does not build on `{base}`: write `ARG BASE_IMAGE` and `FROM ${{BASE_IMAGE}}`, or updates \
                 of the base image will change nothing"
            ));
        }
        for name in undeclared(more, &dockerfile) {
            notes.push(format!("the Dockerfile has no `ARG {name}`: --build-arg {name} does nothing"));
        }
        Ok(Self { context, files, args, images, base: base.to_owned(), notes })
    }

    /// With the ids that the images have in the engine. Pure.
    pub fn digest(&self, ids: &BTreeMap<String, String>) -> String {
        let mut all = Sha256::new();
        let mut add = |text: &str| all.update(format!("{}\0{text}", text.len()));
        add(LAYOUT);
        add(self.context.dockerfile());
        add(&hex::encode(self.files));
        for (name, value) in &self.args {
            add("arg");
            add(name);
            add(value);
        }
        for image in &self.images {
            add("from");
            add(image);
            add(ids.get(image).map_or("", String::as_str));
        }
        hex::encode(all.finalize())
    }
}

/// Our own files: a Dockerfile beside the configuration is usual, and `COPY . .` is, too.
fn withheld(config: &Config) -> Vec<PathBuf> {
    let mut backup = config.file.clone().into_os_string();
    backup.push(".bak");
    let mut paths =
        vec![config.file.clone(), PathBuf::from(backup), config.folder.join("data"), config.http.admin_socket.clone()];
    if let Backend::Embedded { path } = &config.store.backend {
        paths.push(path.clone());
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_changes_with_arguments_and_base_ids() {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = folder.path().join("Dockerfile");
        std::fs::write(&dockerfile, "FROM a").unwrap();
        let context = Context::read(&dockerfile, &[]).unwrap();
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let inputs = Inputs {
            files: context.digest().unwrap(),
            context,
            args: map("A", "1"),
            images: BTreeSet::from(["a".to_owned()]),
            base: "a".to_owned(),
            notes: Vec::new(),
        };
        let ids = map("a", "sha256:1");
        let digest = inputs.digest(&ids);
        assert_eq!(digest.len(), 64);
        assert_eq!(digest, inputs.digest(&ids));
        assert_ne!(digest, inputs.digest(&map("a", "sha256:2")));
        assert_ne!(digest, Inputs { args: map("A", "2"), ..inputs.clone() }.digest(&ids));
        assert_ne!(digest, Inputs { args: map("A1", ""), ..inputs.clone() }.digest(&ids));
        assert_ne!(digest, Inputs { files: [0; 32], ..inputs }.digest(&ids));
    }
}
