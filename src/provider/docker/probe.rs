//! A look inside an image: a container is made of it and never started.

use super::Docker;
use super::connection::{CHANGE, Failure, LOOK_UP};
use crate::provider::ProviderError;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    ContainerArchiveInfoOptions, DownloadFromContainerOptions, ListContainersOptions, RemoveContainerOptions,
};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use tracing::debug;

/// On the container; its value is the fleet. Not the label of runners: nobody is to take it for one.
const LABEL: &str = "runnerfleet.probe";
/// A program that was ended in the middle leaves one behind; after so long it is nobody's any more.
const LEFT_BEHIND: SignedDuration = SignedDuration::from_mins(10);
/// A file that is read is not longer than this.
const LONGEST: usize = 1 << 20;

/// Go's `os.ModeDir` and `os.ModeSymlink`.
const DIRECTORY: u64 = 1 << 31;
const SYMLINK: u64 = 1 << 27;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// Those of the paths that are there; whether each can be run (a link: perhaps).
    pub found: BTreeMap<String, bool>,
    /// `/etc/passwd`, where there is one.
    pub passwd: Option<String>,
}

impl Docker {
    /// Looks for these paths in an image.
    ///
    /// # Errors
    /// The engine refuses to make a container of it, or does not answer.
    pub async fn look_inside(&self, image: &str, paths: &[String]) -> Result<Inside, ProviderError> {
        self.sweep_probes().await?;
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // An image without a command of its own is refused otherwise; it is never run.
            cmd: Some(vec!["true".to_owned()]),
            labels: Some(HashMap::from([(LABEL.to_owned(), self.instance.to_string())])),
            host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..Default::default() }),
            ..Default::default()
        };
        let made =
            self.connection.call(CHANGE, |docker| async move { docker.create_container(None, body).await }).await?;
        let seen = self.look_around(&made.id, paths).await;
        self.remove_probe(&made.id).await;
        seen
    }

    async fn look_around(&self, id: &str, paths: &[String]) -> Result<Inside, ProviderError> {
        let mut inside = Inside::default();
        for path in paths {
            let options = ContainerArchiveInfoOptions { path: path.clone() };
            let stat = self
                .connection
                .call(LOOK_UP, |docker| async move { docker.get_container_archive_info(id, Some(options)).await });
            match stat.await {
                Ok(stat) => {
                    let mode = u64::from(stat.file_mode);
                    let can_run = mode & SYMLINK != 0 || (mode & DIRECTORY == 0 && mode & 0o111 != 0);
                    inside.found.insert(path.clone(), can_run);
                }
                Err(failure) if failure.is(404) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        inside.passwd = match self.read_file(id, "/etc/passwd").await {
            Ok(text) => text,
            Err(failure) if failure.is(404) => None,
            Err(failure) => return Err(failure.into()),
        };
        Ok(inside)
    }

    /// The text of a file that is not large.
    async fn read_file(&self, id: &str, path: &str) -> Result<Option<String>, Failure> {
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let bytes = self
            .connection
            .call(LOOK_UP, |docker| async move {
                let mut pieces = std::pin::pin!(docker.download_from_container(id, Some(options)));
                let mut bytes = Vec::new();
                while let Some(piece) = pieces.next().await {
                    bytes.extend_from_slice(&piece?);
                    if bytes.len() > LONGEST {
                        break;
                    }
                }
                Ok(bytes)
            })
            .await?;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let first = archive.entries().ok().and_then(|mut entries| entries.next()?.ok());
        Ok(first.and_then(|mut entry| {
            let mut text = String::new();
            entry.read_to_string(&mut text).ok().map(|_| text)
        }))
    }

    async fn remove_probe(&self, id: &str) {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        let removed =
            self.connection.call(CHANGE, |docker| async move { docker.remove_container(id, Some(options)).await });
        if let Err(why) = removed.await {
            // The next look clears it away.
            debug!("container {id} stays for now: {}", ProviderError::from(why));
        }
    }

    /// Removes what a program that was ended left behind.
    async fn sweep_probes(&self) -> Result<(), ProviderError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL}={}", self.instance)])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let listed = self.connection.call(LOOK_UP, |docker| async move { docker.list_containers(Some(options)).await });
        let listed = listed.await?;
        if listed.is_empty() {
            return Ok(());
        }
        let now = self.engine_time().await?;
        for container in listed {
            let made = container.created.and_then(|seconds| Timestamp::from_second(seconds).ok());
            if let (Some(id), Some(made)) = (container.id, made)
                && now.duration_since(made) > LEFT_BEHIND
            {
                self.remove_probe(&id).await;
            }
        }
        Ok(())
    }
}
