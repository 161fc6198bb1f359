//! Waits for ended children. As PID 1 of a container the agent inherits every orphan, and has to wait for those as well;
//! elsewhere it waits for its own worker only, since other children belong to whoever runs it.

use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, wait, waitpid};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// So many endings are kept for whoever asks for one: a worker may end before it is asked for, orphans are never asked
/// for.
const KEPT: usize = 64;

/// A task that waits for children.
pub(super) struct Reaper {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Someone waits for a child that may have ended already: then no further signal comes.
    look: Notify,
    /// A child ended.
    ended: Notify,
}

#[derive(Default)]
struct State {
    wanted: Option<Pid>,
    ended: VecDeque<(Pid, WaitStatus)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reaper {
    pub(super) fn start() -> io::Result<Self> {
        let children = signal(SignalKind::child())?;
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(reap(children, Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// Waits for this child.
    pub(super) async fn wait(&self, pid: Pid) -> WaitStatus {
        self.shared.state().wanted = Some(pid);
        self.shared.look.notify_one();
        loop {
            let found = {
                let mut state = self.shared.state();
                let index = state.ended.iter().position(|(ended, _)| *ended == pid);
                index.and_then(|index| state.ended.remove(index))
            };
            if let Some((_, status)) = found {
                return status;
            }
            self.shared.ended.notified().await;
        }
    }
}

async fn reap(mut children: Signal, shared: Arc<Shared>) {
    let first = getpid().is_init();
    loop {
        let wanted = shared.state().wanted;
        loop {
            let next = match (first, wanted) {
                (true, _) => wait(WaitOptions::NOHANG),
                (false, Some(pid)) => waitpid(Some(pid), WaitOptions::NOHANG),
                (false, None) => Ok(None),
            };
            // Nobody left to wait for is an error of wait(2), and no error here.
            let Ok(Some(ended)) = next else { break };
            let mut state = shared.state();
            state.ended.push_back(ended);
            if state.ended.len() > KEPT {
                state.ended.pop_front();
            }
            drop(state);
            shared.ended.notify_one();
        }
        tokio::select! {
            signal = children.recv() => if signal.is_none() { return },
            () = shared.look.notified() => {}
        }
    }
}
