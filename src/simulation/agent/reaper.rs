//! Waits for ended children. As PID 1 of a container the agent inherits every orphan, and has to wait for those as well;
//! elsewhere it waits for its own worker only, since other children belong to whoever runs it.

use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, wait, waitpid};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// A task that waits for children.
pub(super) struct Reaper {
    worker: Arc<Mutex<Option<Pid>>>,
    look: Arc<Notify>,
    ended: watch::Receiver<Option<(Pid, WaitStatus)>>,
    task: JoinHandle<()>,
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reaper {
    pub(super) fn start() -> io::Result<Self> {
        let worker = Arc::new(Mutex::new(None));
        let look = Arc::new(Notify::new());
        let (sender, ended) = watch::channel(None);
        let children = signal(SignalKind::child())?;
        let task = tokio::spawn(reap(children, Arc::clone(&worker), Arc::clone(&look), sender));
        Ok(Self { worker, look, ended, task })
    }

    /// Waits for this child. It must be the only one that is waited for.
    pub(super) async fn wait(&mut self, pid: Pid) -> Option<WaitStatus> {
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(pid);
        // It may have ended before it was known here: then no further signal comes.
        self.look.notify_one();
        let ended = self.ended.wait_for(|ended| ended.is_some_and(|(ended, _)| ended == pid)).await.ok()?;
        ended.map(|(_, status)| status)
    }
}

async fn reap(
    mut children: Signal,
    worker: Arc<Mutex<Option<Pid>>>,
    look: Arc<Notify>,
    ended: watch::Sender<Option<(Pid, WaitStatus)>>,
) {
    let first = getpid().is_init();
    loop {
        let known = *worker.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = match (first, known) {
                (true, _) => wait(WaitOptions::NOHANG),
                (false, Some(pid)) => waitpid(Some(pid), WaitOptions::NOHANG),
                (false, None) => Ok(None),
            };
            // Nobody left to wait for is an error of wait(2), and no error here.
            let Ok(Some((pid, status))) = next else { break };
            // An orphan that ends right after the worker must not hide it.
            ended.send_if_modified(|last| {
                let news = known.is_none() || known == Some(pid);
                if news {
                    *last = Some((pid, status));
                }
                news
            });
        }
        tokio::select! {
            signal = children.recv() => if signal.is_none() { return },
            () = look.notified() => {}
        }
    }
}
