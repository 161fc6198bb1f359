//! A socket before the engine's that can be cut and restored. A cut closes every connection, as an engine that ends does.

use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// See the file's head.
pub struct EngineGate {
    folder: tempfile::TempDir,
    task: Option<JoinHandle<()>>,
}

impl EngineGate {
    /// One that lets everything through.
    pub fn open() -> Self {
        let mut gate = Self::closed();
        gate.restore();
        gate
    }

    /// One whose socket is not there yet.
    pub fn closed() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), task: None }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// What a configuration is given.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    /// Lets everything through.
    pub fn restore(&mut self) {
        let listener = UnixListener::bind(self.path()).unwrap();
        self.task = Some(tokio::spawn(async move {
            // Dropped with this task, and with it every connection.
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                open.spawn(async move {
                    let mut far = UnixStream::connect(Path::new("/var/run/docker.sock")).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }));
    }

    /// Closes every connection and takes the socket away.
    pub async fn cut(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
        std::fs::remove_file(self.path()).unwrap();
    }
}
