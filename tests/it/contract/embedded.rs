//! What the embedded file has to keep beside the contract.

use super::{NEVER, SOON, at, completed, event, job, numbers, runner};
use redb::{Database, ReadableDatabase, TableDefinition};
use runnerfleet::durable::embedded::{OpenError, open};
use runnerfleet::model::JobState;
use runnerfleet::queue::{EventId, Pushed, Received};
use runnerfleet::store::{Saved, Versioned};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::time::timeout;

/// Tells the copy of this test program which file it is to write to until it is killed.
const VICTIM: &str = "RUNNERFLEET_TEST_WRITE_UNTIL_KILLED";

#[test]
fn file_and_folder_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new/folder/state.db");
    drop(open(&file, NEVER).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(mode(file.parent().unwrap().parent().unwrap()), 0o700);
}

#[test]
fn a_second_opener_is_refused_and_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let first = open(&file, NEVER).unwrap();
    let (queue, store) = (first.queue(), first.store());
    let refused = open(&file, NEVER).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)));
    let text = refused.to_string();
    assert!(text.contains(file.to_str().unwrap()) && text.contains("runnerfleet runs already"), "{text}");
    drop((first, queue));
    assert!(open(&file, NEVER).is_err(), "the store still has it");
    drop(store);
    open(&file, NEVER).unwrap();
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "not a database\n".repeat(1000)).unwrap();

    let damaged = dir.path().join("damaged.db");
    drop(open(&damaged, NEVER).unwrap());
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[..300].fill(0xee);
    std::fs::write(&damaged, bytes).unwrap();

    let foreign = dir.path().join("foreign.db");
    let database = Database::create(&foreign).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(TableDefinition::<u64, u64>::new("accounts")).unwrap().insert(1, 2).unwrap();
    txn.commit().unwrap();
    drop(database);

    let newer = dir.path().join("newer.db");
    drop(open(&newer, NEVER).unwrap());
    with_tables(&newer, |txn| {
        txn.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 99).unwrap();
    });

    for file in [&text, &damaged, &foreign, &newer] {
        let before = std::fs::read(file).unwrap();
        let refused = open(file, NEVER).unwrap_err();
        assert!(matches!(refused, OpenError::NotOurs { .. }), "{refused}");
        assert!(refused.to_string().contains(file.to_str().unwrap()), "{refused}");
        // redb writes its own notes into any database of its kind when it closes it.
        assert!([&foreign, &newer].contains(&file) || std::fs::read(file).unwrap() == before, "{}", file.display());
    }
    let database = Database::open(&foreign).unwrap();
    assert_eq!(database.begin_read().unwrap().list_tables().unwrap().count(), 1, "nothing was added to it");

    let folder = open(dir.path(), NEVER).unwrap_err();
    assert!(matches!(folder, OpenError::Io { .. }), "{folder}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_and_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let db = open(&file, NEVER).unwrap();
    db.queue().push(event(1)).await.unwrap();
    db.store().save_runner(Versioned { version: 0, row: runner("one", "linux", "a") }).await.unwrap();
    drop(db);
    with_tables(&file, |txn| {
        let mut events = txn.open_table(TableDefinition::<u64, &[u8]>::new("events")).unwrap();
        events.insert(7, b"from the future".as_slice()).unwrap();
        let mut jobs = txn.open_table(TableDefinition::<(u64, u32), &[u8]>::new("jobs")).unwrap();
        jobs.insert((5, 1), [&[3; 16], b"from the future".as_slice()].concat().as_slice()).unwrap();
        jobs.insert((6, 1), b"short".as_slice()).unwrap();
    });

    let db = open(&file, NEVER).unwrap();
    let events = db.queue().receive(10).await.unwrap();
    assert_eq!(numbers(&events[..1]), [1]);
    assert_eq!(events[1].event, Err("from the future".to_owned()));
    db.queue().ack(&[events[1].id.clone()]).await.unwrap();
    let all = db.store().load().await.unwrap();
    assert_eq!((all.jobs.len(), all.runners.len()), (0, 1));
    let refused = db.store().save_jobs(vec![Versioned { version: 0, row: completed(5) }]).await.unwrap_err();
    assert!(refused.to_string().contains("job 5/1"), "{refused}");
    drop(db);
    with_tables(&file, |txn| {
        let jobs = txn.open_table(TableDefinition::<(u64, u32), &[u8]>::new("jobs")).unwrap();
        assert_eq!(redb::ReadableTableMetadata::len(&jobs).unwrap(), 2, "rows that cannot be read stay");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_does_not_grow_with_what_went_through_it() {
    // More of them take long without optimization, and end at the same size.
    const ROUNDS: u64 = 10;
    const EACH: u64 = 20;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let db = open(&file, NEVER).unwrap();
    let queue = db.queue();
    let mut sizes = Vec::new();
    for round in 0..ROUNDS {
        let pushers: Vec<_> = (0..50)
            .map(|pusher| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move {
                    for number in 0..EACH {
                        let number = (round * 50 + pusher) * EACH + number;
                        assert_eq!(queue.push(event(number)).await.unwrap(), Pushed::New);
                    }
                })
            })
            .collect();
        let mut gone = 0;
        while gone < 50 * EACH {
            let events = timeout(SOON, queue.receive(500)).await.unwrap().unwrap();
            gone += events.len() as u64;
            queue.ack(&events.into_iter().map(|event| event.id).collect::<Vec<_>>()).await.unwrap();
        }
        for pusher in pushers {
            pusher.await.unwrap();
        }
        // Marks age out as well; without that they alone grow.
        queue.forget(at(1_000_000)).await.unwrap();
        sizes.push(std::fs::metadata(&file).unwrap().len());
    }
    assert_eq!(queue.depth().await.unwrap(), 0);
    let through = ROUNDS * 50 * EACH * serde_json::to_vec(&event(1)).unwrap().len() as u64;
    assert!(sizes.iter().all(|size| *size < through / 2), "{sizes:?}, and {through} bytes went through");
}

/// A copy of this program writes, says what was acknowledged to it, and is killed in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let mut child = Victim::start(&file);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut told: Vec<String> = lines.by_ref().filter(|line| line.starts_with("told ")).take(1200).collect();
    child.0.kill().unwrap();
    told.extend(lines.filter(|line| line.starts_with("told ")));
    child.0.wait().unwrap();
    // The last line may be cut.
    let words: Vec<(&str, u64)> = told
        .iter()
        .filter_map(|line| line.strip_prefix("told ")?.strip_suffix('.')?.split_once(' '))
        .map(|(word, number)| (word, number.parse().unwrap()))
        .collect();
    let all = |wanted: &str| -> BTreeSet<u64> {
        words.iter().filter(|(word, _)| *word == wanted).map(|(_, number)| *number).collect()
    };
    let (pushed, acked, saved) = (all("pushed"), all("acked"), all("saved"));
    assert!(pushed.len() > 100 && acked.len() > 100 && saved.len() > 100, "{}", words.len());

    let db = open(&file, NEVER).unwrap();
    let depth = usize::try_from(db.queue().depth().await.unwrap()).unwrap();
    let back: Vec<Received> = timeout(SOON, db.queue().receive(depth + 1)).await.unwrap().unwrap();
    assert_eq!(back.len(), depth);
    let places: Vec<u64> = back.iter().map(|event| event.id.0.parse().unwrap()).collect();
    assert!(places.is_sorted(), "in the order in which they came");
    let back: BTreeSet<u64> = numbers(&back).into_iter().collect();
    let lost: Vec<_> = pushed.difference(&back).filter(|number| !acked.contains(number)).collect();
    // An acknowledgement that was done and could not be told any more: at most the one in flight.
    assert!(lost.len() <= 10, "{lost:?}");
    assert!(back.is_disjoint(&acked), "what was taken off the queue stays off");
    let jobs = db.store().load().await.unwrap().jobs;
    assert!(saved.iter().all(|number| jobs.contains_key(&completed(*number).key())));
    for number in pushed.iter().take(50) {
        assert_eq!(db.queue().push(event(*number)).await.unwrap(), Pushed::Repeated);
    }
}

/// Does nothing, unless this program was started by the test above.
#[tokio::test(flavor = "multi_thread")]
async fn write_until_killed() {
    let Some(file) = std::env::var_os(VICTIM) else { return };
    let db = open(Path::new(&file), NEVER).unwrap();
    for pusher in 0..8 {
        let (queue, store) = (db.queue(), db.store());
        tokio::spawn(async move {
            for number in (pusher..).step_by(8) {
                assert_eq!(queue.push(event(number)).await.unwrap(), Pushed::New);
                println!("told pushed {number}.");
                let row = Versioned { version: 0, row: job(number, JobState::Queued, Some("linux")) };
                assert_eq!(store.save_jobs(vec![row]).await.unwrap(), [Saved::Saved(1)]);
                println!("told saved {number}.");
            }
        });
    }
    let queue = db.queue();
    loop {
        let events = queue.receive(10).await.unwrap();
        // Some stay, so that there is something to come back.
        let (ids, numbers): (Vec<EventId>, Vec<u64>) = events
            .iter()
            .map(|event| (event.id.clone(), numbers(std::slice::from_ref(event))[0]))
            .filter(|(_, number)| number % 3 != 0)
            .unzip();
        queue.ack(&ids).await.unwrap();
        for number in numbers {
            println!("told acked {number}.");
        }
    }
}

struct Victim(Child);

impl Victim {
    fn start(file: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "contract::embedded::write_until_killed", "--nocapture"]);
        command.env(VICTIM, file).stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with_tables(file: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(file).unwrap();
    let txn = database.begin_write().unwrap();
    change(&txn);
    txn.commit().unwrap();
}
