//! The one thread that writes, and its group commit.

use super::counted::Counted;
use super::tables::{EVENTS, META_PINGS, Tables};
use super::{OpenError, Opener};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the writer; more make their callers wait to hand them over.
const WAITING_MAX: usize = 1024;

/// Requests in one transaction. More would make the first of them wait longer than one commit is worth.
const BATCH_MAX: usize = 1024;

/// After a commit its callers come back with their next requests within this time; a transaction that began with the
/// first of them alone would cost as much `fsync` and carry less (measured with 32 callers on two busy cores: a third
/// of the requests per second without it). A lone caller never waits for it.
const LINGER: Duration = Duration::from_micros(500);

/// A file that could not be opened again is left alone for so long, so that each request of a burst does not try it.
const REOPEN_EVERY: Duration = Duration::from_millis(500);

/// The file cannot be written or read now; the text says why.
#[derive(Debug, Clone)]
pub(crate) struct Unavailable(pub(crate) String);

/// The way to the file. Dropping it ends the thread and closes the file.
#[derive(Debug)]
pub(crate) struct Writer {
    requests: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    /// Without a thread: whoever has something to write does it.
    inline: Option<Mutex<Thread>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// None after a failed commit, until it is opened again.
    database: RwLock<Option<Database>>,
    /// Why it failed last.
    failure: Mutex<String>,
}

/// One request: done inside the transaction, it leaves what is to be said after the commit. Dropped without being done
/// or said, its caller learns that it failed.
type Work = Box<dyn FnOnce(&mut Step<'_>) -> Result<Answer, redb::Error> + Send>;
type Answer = Box<dyn FnOnce() + Send>;

/// What a request may touch.
pub(crate) struct Step<'txn> {
    pub(crate) tables: Tables<'txn>,
    pub(crate) counted: &'txn mut Counted,
    next_event: &'txn mut u64,
}

impl Step<'_> {
    /// The next number in the line of events.
    pub(crate) fn next_event(&mut self) -> u64 {
        let number = *self.next_event;
        *self.next_event += 1;
        number
    }
}

impl Writer {
    pub(super) fn start(opener: Opener, path: &Path) -> Result<Self, OpenError> {
        let thread = Thread::open(opener, path)?;
        let shared = Arc::clone(&thread.shared);
        let (requests, inbox) = mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(inbox))
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Ok(Self { requests: Some(requests), thread: Some(thread), inline: None, shared })
    }

    /// The same work in its callers' own thread, each request a transaction of its own.
    pub(super) fn inline(opener: Opener, path: &Path) -> Result<Self, OpenError> {
        let thread = Thread::open(opener, path)?;
        let shared = Arc::clone(&thread.shared);
        Ok(Self { requests: None, thread: None, inline: Some(Mutex::new(thread)), shared })
    }

    /// Counts anew, as a process that starts does.
    pub(super) fn recount(&self) -> Result<(), redb::Error> {
        let Some(inline) = &self.inline else { return Ok(()) };
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = database.as_ref() {
            let mut thread = inline.lock().unwrap_or_else(PoisonError::into_inner);
            (thread.counted, thread.next_event) = rebuild(database)?;
        }
        Ok(())
    }

    /// Has `work` done in a transaction, together with whatever else waits. The answer comes after the commit reached
    /// the disk. `after` is called after the commit too, before the answer, even if nobody waits for that any more.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Step<'_>) -> Result<T, redb::Error> + Send + 'static,
        after: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (told, answer) = oneshot::channel();
        // A caller may have gone; its work is done all the same, so what `send` says does not matter.
        let work: Work = Box::new(move |step| match work(step) {
            Ok(value) => Ok(Box::new(move || {
                after(&value);
                let _ = told.send(Ok(value));
            })),
            Err(error) => {
                let _ = told.send(Err(Unavailable(error.to_string())));
                Err(error)
            }
        });
        if let Some(inline) = &self.inline {
            inline.lock().unwrap_or_else(PoisonError::into_inner).carry_out(vec![work]);
            return answer.await.map_err(|_| Unavailable(self.shared.failure()))?;
        }
        let ended = || Unavailable("the thread that writes the file has ended".to_owned());
        self.requests.as_ref().ok_or_else(ended)?.send(work).await.map_err(|_| ended())?;
        answer.await.map_err(|_| Unavailable(self.shared.failure()))?
    }

    /// Writes something and waits until it is on the disk: only that shows that a write would work.
    pub(crate) async fn ping(&self) -> Result<(), Unavailable> {
        let count = |step: &mut Step<'_>| {
            let pings = step.tables.meta.get(META_PINGS)?.map_or(0, |pings| pings.value());
            step.tables.meta.insert(META_PINGS, pings.wrapping_add(1))?;
            Ok(())
        };
        self.write(count, |()| ()).await
    }

    /// Reads what is committed, in the caller's thread: for short looks.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Unavailable> {
        self.shared.read(look)
    }

    /// Reads what is committed, in a thread where that may take its time.
    pub(crate) async fn read_much<T: Send + 'static>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Unavailable> {
        if self.inline.is_some() {
            return self.shared.read(look);
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.read(look)).await;
        read.map_err(|error| Unavailable(error.to_string()))?
    }

    /// Opens the file again if a commit failed. Reading alone would never do that.
    pub(crate) async fn heal(&self) -> Result<(), Unavailable> {
        if self.shared.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        self.write(|_| Ok(()), |()| ()).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the file has panicked");
        }
    }
}

impl Shared {
    fn read<T>(&self, look: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, Unavailable> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = database.as_ref() else { return Err(Unavailable(self.failure())) };
        let text = |error: redb::Error| Unavailable(error.to_string());
        look(&database.begin_read().map_err(|error| text(error.into()))?).map_err(text)
    }

    fn failure(&self) -> String {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, why: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

struct Thread {
    opener: Opener,
    shared: Arc<Shared>,
    counted: Counted,
    next_event: u64,
    tried: Option<Instant>,
    last_batch: usize,
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thread").field("next_event", &self.next_event).finish_non_exhaustive()
    }
}

impl Thread {
    fn open(opener: Opener, path: &Path) -> Result<Self, OpenError> {
        let database = opener()?;
        let (counted, next_event) =
            rebuild(&database).map_err(|error| OpenError::NotOurs { path: path.to_owned(), why: error.to_string() })?;
        let shared = Arc::new(Shared { database: RwLock::new(Some(database)), failure: Mutex::default() });
        Ok(Self { opener, shared, counted, next_event, tried: None, last_batch: 0 })
    }

    fn run(mut self, mut requests: mpsc::Receiver<Work>) {
        while let Some(first) = requests.blocking_recv() {
            let mut batch = vec![first];
            self.gather(&mut requests, &mut batch);
            self.last_batch = batch.len();
            self.carry_out(batch);
        }
    }

    /// One transaction, and the answers after it.
    fn carry_out(&mut self, batch: Vec<Work>) {
        if !self.is_open() {
            return;
        }
        let mut batch = batch.into_iter();
        let mut answers = Vec::with_capacity(batch.len());
        match self.commit(&mut batch, &mut answers) {
            Ok(()) => answers.into_iter().for_each(|answer| answer()),
            Err(error) => {
                tracing::error!(%error, "the file of queue and store could not be written");
                // Told first: those whose requests and answers are dropped below read it.
                self.shared.fail(error.to_string());
                // redb refuses everything after a failed write until it is opened again, and the sets in memory
                // hold what was not written.
                *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }

    /// Takes what waits, and waits a moment for those who were in the last batch.
    fn gather(&self, requests: &mut mpsc::Receiver<Work>, batch: &mut Vec<Work>) {
        let mut until = None;
        while batch.len() < BATCH_MAX {
            if let Ok(work) = requests.try_recv() {
                batch.push(work);
                continue;
            }
            let until = *until.get_or_insert_with(|| Instant::now() + LINGER);
            if batch.len() >= self.last_batch || Instant::now() >= until {
                return;
            }
            // Not a spin: the callers that are waited for need the processor.
            std::thread::sleep(LINGER / 10);
        }
    }

    /// Whether there is a database to write to; opens it again where it was closed. Where it is not, `false`, and the
    /// batch is dropped, which tells its callers.
    fn is_open(&mut self) -> bool {
        if self.shared.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return true;
        }
        if self.tried.is_some_and(|tried| tried.elapsed() < REOPEN_EVERY) {
            return false;
        }
        self.tried = Some(Instant::now());
        let opened = (self.opener)().map_err(|error| error.to_string()).and_then(|database| {
            let (counted, next_event) = rebuild(&database).map_err(|error| error.to_string())?;
            Ok((database, counted, next_event))
        });
        match opened {
            Ok((reopened, counted, next_event)) => {
                tracing::info!("the file of queue and store is open again");
                *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = Some(reopened);
                self.counted = counted;
                // A number is never given twice, or a late acknowledgement would hit another event.
                self.next_event = self.next_event.max(next_event);
                true
            }
            Err(why) => {
                self.shared.fail(why);
                false
            }
        }
    }

    fn commit(&mut self, batch: &mut impl Iterator<Item = Work>, answers: &mut Vec<Answer>) -> Result<(), redb::Error> {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = database.as_ref() else { return Err(redb::Error::DatabaseClosed) };
        let mut txn = database.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        let mut step =
            Step { tables: Tables::open(&txn)?, counted: &mut self.counted, next_event: &mut self.next_event };
        for work in batch {
            answers.push(work(&mut step)?);
        }
        drop(step);
        txn.commit()?;
        Ok(())
    }
}

/// What the writer keeps in memory: the sets, and the next number in the line of events.
fn rebuild(database: &Database) -> Result<(Counted, u64), redb::Error> {
    let txn = database.begin_read()?;
    let counted = Counted::read(&txn)?;
    let next = ReadableTable::last(&txn.open_table(EVENTS)?)?.map_or(1, |(number, _)| number.value() + 1);
    Ok((counted, next))
}
