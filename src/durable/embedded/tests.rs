use super::*;
use crate::model::{
    DeliveryId, HostId, JobAction, JobEvent, JobFacts, JobId, JobKey, PoolName, RepoName, Runner, RunnerName, Scope,
};
use crate::queue::{Pushed, QueuedEvent};
use crate::store::{Reservation, Reserved, StoreChange};
use jiff::Timestamp;
use redb::backends::FileBackend;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file on a disk that is full whenever it is told so.
#[derive(Debug)]
struct FullDisk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl FullDisk {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for FullDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn event(number: u64) -> QueuedEvent {
    let job = JobFacts {
        key: JobKey { id: JobId(number), attempt: 1 },
        run_id: 1,
        name: "build".into(),
        workflow: None,
        repository: RepoName::new("acme/web"),
        private: None,
        labels: ["linux"].into_iter().collect(),
        html_url: None,
        installation: None,
        created_at: None,
    };
    QueuedEvent {
        delivery: DeliveryId { hook: "hook".into(), guid: number.to_string() },
        received_at: Timestamp::UNIX_EPOCH,
        event: JobEvent { action: JobAction::Queued, job },
    }
}

fn wish(name: &str) -> Reservation {
    let runner = Runner::intended(
        RunnerName::new(name),
        PoolName::new("linux"),
        Scope::Organization("acme".into()),
        HostId::new("h"),
        "image".into(),
        None,
        Timestamp::UNIX_EPOCH,
        "kept idle",
    );
    Reservation { runner, seen: 0, min_idle: 2, pool_max: 9, fleet_max: 9, host_max: 9 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_to_all_and_changes_nothing_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let full = Arc::new(AtomicBool::new(false));
    let (file, disk) = (path.clone(), Arc::clone(&full));
    let opener: Opener = Box::new(move || {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file).unwrap();
        open_backend(FullDisk { file: FileBackend::new(opened).unwrap(), full: Arc::clone(&disk) }, &file)
    });
    let db = open_with(opener, &path, Duration::from_secs(60)).unwrap();
    let (queue, store) = (db.queue(), db.store());
    queue.push(event(1)).await.unwrap();
    assert_eq!(store.reserve(wish("one")).await.unwrap(), Reserved::Granted(1));
    let mut feed = store.changes().await.unwrap();

    full.store(true, Ordering::SeqCst);
    let (push, reserve, ping) = tokio::join!(queue.push(event(2)), store.reserve(wish("two")), queue.ping());
    assert!(!push.unwrap_err().0.is_empty());
    assert!(reserve.is_err() && ping.is_err());
    assert!(store.ping().await.is_err());

    full.store(false, Ordering::SeqCst);
    let start = std::time::Instant::now();
    while let Err(error) = queue.ping().await {
        assert!(start.elapsed() < Duration::from_secs(10), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(queue.depth().await.unwrap(), 1, "what failed is not there");
    assert_eq!(queue.push(event(2)).await.unwrap(), Pushed::New, "nor is its mark");
    assert_eq!(queue.receive(9).await.unwrap().len(), 2);
    assert_eq!(store.reserve(wish("three")).await.unwrap(), Reserved::Granted(1), "nor does it count");
    assert_eq!(store.reserve(wish("four")).await.unwrap(), Reserved::Covered);
    let told = feed.recv().await.unwrap();
    assert!(matches!(told, StoreChange::Runner(row) if row.row.name.as_str() == "three"));
}
