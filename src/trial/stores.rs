//! The durable memory as one process sees it: the embedded database's own code in the caller's thread, with a connection to it
//! that can fail.

use super::life::Life;
use super::weather::Rates;
use crate::model::{DeliveryId, HostId, Job, Runner};
use crate::queue::{EventId, Pushed, Queue, QueueError, QueuedEvent, Received};
use crate::store::{Reservation, Reserved, Saved, Snapshot, Store, StoreChange, StoreError, Version, Versioned};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Changes that wait for their reader.
const UNREAD: usize = 4096;

/// See the module.
pub(super) struct Through<T: ?Sized> {
    pub(super) life: Arc<Life>,
    pub(super) inner: Arc<T>,
}

impl<T: ?Sized> Through<T> {
    fn rates(&self) -> (Rates, Option<&'static str>) {
        let stage = self.life.stage();
        (stage.weather().store, stage.store_is_away().then_some("it is away"))
    }
}

impl Through<dyn Store> {
    async fn call<T: Send>(
        &self,
        what: &str,
        act: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let (rates, away) = self.rates();
        self.life.call(what, rates, away, StoreError, act).await
    }
}

#[async_trait]
impl Store for Through<dyn Store> {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.call("load", self.inner.load()).await
    }

    async fn save_jobs(&self, rows: Vec<Versioned<Job>>) -> Result<Vec<Saved<Job>>, StoreError> {
        let words: Vec<String> = rows.iter().map(|row| format!("{} {}", row.row.key(), row.row.state.word())).collect();
        let judge = self.life.stage();
        let act = async {
            let saved = self.inner.save_jobs(rows.clone()).await?;
            for (row, saved) in rows.into_iter().zip(&saved) {
                if matches!(saved, Saved::Saved(_)) {
                    judge.judge.job_written(row.row);
                }
            }
            Ok(saved)
        };
        self.call(&format!("save jobs {}", words.join(", ")), act).await
    }

    async fn save_runner(&self, row: Versioned<Runner>) -> Result<Saved<Runner>, StoreError> {
        let what = format!("save {} {} ({})", row.row.name, row.row.state.name, row.row.state.cause);
        let stage = self.life.stage();
        let act = async {
            let saved = self.inner.save_runner(row.clone()).await?;
            match &saved {
                Saved::Saved(_) => stage.judge.runner_written(&stage, &row.row),
                Saved::Stale(_) => stage.note("  stale"),
            }
            Ok(saved)
        };
        self.call(&what, act).await
    }

    async fn reserve(&self, wish: Reservation) -> Result<Reserved, StoreError> {
        let what = format!("reserve {}", wish.runner.name);
        let stage = self.life.stage();
        let act = async {
            let reserved = self.inner.reserve(wish.clone()).await?;
            match reserved {
                Reserved::Granted(_) => stage.judge.granted(&stage, &wish),
                _ => stage.note(&format!("  {reserved:?}")),
            }
            Ok(reserved)
        };
        self.call(&what, act).await
    }

    async fn renew_lease(&self, host: &HostId, until: Timestamp) -> Result<(), StoreError> {
        self.call("renew lease", self.inner.renew_lease(host, until)).await
    }

    async fn changes(&self) -> Result<mpsc::Receiver<StoreChange>, StoreError> {
        let mut changes = self.call("follow changes", self.inner.changes()).await?;
        let (sender, receiver) = mpsc::channel(UNREAD);
        let cut = self.life.feeds();
        tokio::spawn(async move {
            loop {
                let change = tokio::select! {
                    biased;
                    () = cut.cancelled() => return,
                    change = changes.recv() => change,
                };
                let Some(change) = change else { return };
                if sender.send(change).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    async fn note(&self, key: &str) -> Result<Option<Versioned<String>>, StoreError> {
        self.call("read note", self.inner.note(key)).await
    }

    async fn set_note(&self, key: &str, value: &str, expected: Version) -> Result<Saved<String>, StoreError> {
        self.call("write note", self.inner.set_note(key, value, expected)).await
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, StoreError> {
        let stage = self.life.stage();
        let act = async {
            let gone = self.inner.forget(before).await?;
            stage.judge.forgotten(before);
            Ok(gone)
        };
        self.call("forget", act).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call("ping", self.inner.ping()).await
    }
}

impl Through<dyn Queue> {
    async fn call<T: Send>(
        &self,
        what: &str,
        act: impl Future<Output = Result<T, QueueError>> + Send,
    ) -> Result<T, QueueError> {
        let (rates, away) = self.rates();
        self.life.call(what, rates, away, QueueError, act).await
    }
}

#[async_trait]
impl Queue for Through<dyn Queue> {
    async fn push(&self, event: QueuedEvent) -> Result<Pushed, QueueError> {
        let what = format!("push {}", event.event.job.key);
        self.call(&what, self.inner.push(event)).await
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>, QueueError> {
        let act = async {
            tokio::select! {
                biased;
                // What waits for events is gone with its process, and is handed none.
                () = self.life.died() => std::future::pending().await,
                received = self.inner.receive(max) => received,
            }
        };
        self.call("receive", act).await
    }

    async fn ack(&self, ids: &[EventId]) -> Result<(), QueueError> {
        self.call(&format!("acknowledge {}", ids.len()), self.inner.ack(ids)).await
    }

    async fn seen(&self, deliveries: &[DeliveryId]) -> Result<Vec<bool>, QueueError> {
        self.call("look for deliveries", self.inner.seen(deliveries)).await
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        self.call("depth", self.inner.depth()).await
    }

    async fn ping(&self) -> Result<(), QueueError> {
        self.call("ping", self.inner.ping()).await
    }

    async fn forget(&self, before: Timestamp) -> Result<(), QueueError> {
        self.call("forget marks", self.inner.forget(before)).await
    }
}
