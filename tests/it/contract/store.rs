//! The store's contract.

use super::{Bed, Parts, SOON, at, completed, job, on_both, runner, through};
use jiff::ToSpan;
use runnerfleet::model::{HostId, Job, JobState, Kept, PoolName, Runner, RunnerName, StateName, Wanted};
use runnerfleet::store::{Reservation, Reserved, Saved, Store, StoreChange, Versioned};
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

on_both!(
    versions_count_from_one_and_a_stale_write_is_told_what_stands,
    answers_come_in_the_order_of_the_rows,
    of_many_writers_of_one_version_one_wins,
    everything_is_there_after_a_restart,
    a_job_counts_only_where_it_is_queued,
    two_managers_never_serve_one_deficit_twice,
    a_runner_with_a_job_is_no_supply,
    bounds_of_pool_fleet_and_host_hold,
    a_runner_that_is_taken_over_counts_on_its_new_host,
    a_name_is_taken_for_as_long_as_its_row_stands,
    a_persistent_runner_holds_a_place_and_is_no_supply,
    a_persistent_runner_comes_back_in_the_place_of_its_own_row,
    changes_of_all_managers_are_told_in_order,
    leases_are_seen_by_all_and_age_out,
    only_what_is_over_is_forgotten,
    notes_are_written_by_compare_and_set_and_stay,
    of_many_claims_of_one_note_one_wins,
);

fn version<T>(version: u64, row: T) -> Versioned<T> {
    Versioned { version, row }
}

fn queued(number: u64, pool: &str) -> Job {
    job(number, JobState::Queued, Some(pool))
}

fn running(number: u64) -> Job {
    job(number, JobState::InProgress { runner: Some(RunnerName::new("r")) }, Some("linux"))
}

async fn save(store: &Arc<dyn Store>, version: u64, job: Job) -> u64 {
    match store.save_jobs(vec![super::store::version(version, job)]).await.unwrap().as_slice() {
        [Saved::Saved(version)] => *version,
        other => panic!("not saved: {other:?}"),
    }
}

async fn put(store: &Arc<dyn Store>, version: u64, runner: Runner) -> u64 {
    match store.save_runner(super::store::version(version, runner)).await.unwrap() {
        Saved::Saved(version) => version,
        Saved::Stale(stands) => panic!("not saved: {stands:?}"),
    }
}

fn wish(runner: Runner) -> Reservation {
    Reservation { runner, seen: 0, min_idle: 0, pool_max: 100, fleet_max: 100, host_max: 100 }
}

async fn heard(feed: &mut Receiver<StoreChange>) -> StoreChange {
    timeout(SOON, feed.recv()).await.expect("a change is told").expect("the feed goes on")
}

async fn versions_count_from_one_and_a_stale_write_is_told_what_stands(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    store.ping().await.unwrap();
    assert_eq!(save(&store, 0, queued(1, "linux")).await, 1);
    assert_eq!(save(&store, 1, running(1)).await, 2);
    let stale = store.save_jobs(vec![version(1, completed(1))]).await.unwrap();
    assert_eq!(stale, [Saved::Stale(Some(version(2, running(1))))]);
    let exists = store.save_jobs(vec![version(0, completed(1))]).await.unwrap();
    assert_eq!(exists, [Saved::Stale(Some(version(2, running(1))))], "version 0 says that there must be none");
    let missing = store.save_jobs(vec![version(3, completed(2))]).await.unwrap();
    assert_eq!(missing, [Saved::Stale(None)]);

    let one = runner("one", "linux", "a");
    assert_eq!(put(&store, 0, one.clone()).await, 1);
    let started = through(&one, &[StateName::Started]);
    assert_eq!(put(&store, 1, started.clone()).await, 2);
    let stale = store.save_runner(version(1, one.clone())).await.unwrap();
    assert_eq!(stale, Saved::Stale(Some(version(2, started))));
    let missing = store.save_runner(version(4, runner("two", "linux", "a"))).await.unwrap();
    assert_eq!(missing, Saved::Stale(None));
}

async fn answers_come_in_the_order_of_the_rows(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    save(&store, 0, queued(100, "linux")).await;
    let rows = (0..450).map(|number| version(0, queued(number, "linux"))).collect();
    let saved = store.save_jobs(rows).await.unwrap();
    assert_eq!(saved.len(), 450);
    for (number, saved) in saved.into_iter().enumerate() {
        let expected =
            if number == 100 { Saved::Stale(Some(version(1, queued(100, "linux")))) } else { Saved::Saved(1) };
        assert_eq!(saved, expected, "row {number}");
    }
    assert_eq!(store.load().await.unwrap().jobs.len(), 450);
}

async fn of_many_writers_of_one_version_one_wins(mut bed: Bed) {
    let managers = [bed.manager("a"), bed.manager("b")];
    save(&managers[0].store, 0, queued(1, "linux")).await;
    let writes: Vec<_> = (0..40)
        .map(|number| {
            let store = Arc::clone(&managers[number % 2].store);
            tokio::spawn(async move { store.save_jobs(vec![version(1, running(1))]).await.unwrap() })
        })
        .collect();
    let mut winners = 0;
    for write in writes {
        match write.await.unwrap().as_slice() {
            [Saved::Saved(2)] => winners += 1,
            [Saved::Stale(Some(stands))] => assert_eq!(stands.version, 2),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(winners, 1);
}

async fn everything_is_there_after_a_restart(mut bed: Bed) {
    let manager = bed.manager("a");
    let one = runner("one", "linux", "a");
    save(&manager.store, 0, queued(1, "linux")).await;
    save(&manager.store, 0, queued(2, "linux")).await;
    save(&manager.store, 1, completed(2)).await;
    put(&manager.store, 0, one.clone()).await;
    manager.store.renew_lease(&HostId::new("a"), at(60)).await.unwrap();
    let before = manager.store.load().await.unwrap();
    assert_eq!(before.jobs.len(), 2);
    assert_eq!(before.jobs[&completed(2).key()], version(2, completed(2)));
    assert_eq!(before.runners[&one.name], version(1, one));
    assert_eq!(before.leases[&HostId::new("a")], at(60));

    let manager = bed.restarted(manager, "a");
    assert_eq!(manager.store.load().await.unwrap(), before);
    // The sets are there too: one job, one runner on its way.
    let covered = manager.store.reserve(wish(runner("two", "linux", "a"))).await.unwrap();
    assert_eq!(covered, Reserved::Covered);
    save(&manager.store, 0, queued(3, "linux")).await;
    let granted = manager.store.reserve(wish(runner("two", "linux", "a"))).await.unwrap();
    assert_eq!(granted, Reserved::Granted(1));
}

async fn a_job_counts_only_where_it_is_queued(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    let reserve = |name: &'static str, pool: &'static str| {
        let store = Arc::clone(&store);
        async move { store.reserve(wish(runner(name, pool, "a"))).await.unwrap() }
    };
    assert_eq!(reserve("x", "linux").await, Reserved::Covered, "no job at all");
    save(&store, 0, job(1, JobState::Waiting, Some("linux"))).await;
    assert_eq!(reserve("x", "linux").await, Reserved::Covered, "a waiting job is no demand");
    save(&store, 1, queued(1, "linux")).await;
    save(&store, 2, queued(1, "gpu")).await;
    assert_eq!(reserve("x", "linux").await, Reserved::Covered, "it has moved to another pool");
    assert_eq!(reserve("g1", "gpu").await, Reserved::Granted(1));
    assert_eq!(reserve("g2", "gpu").await, Reserved::Covered, "one job, one runner");
    save(&store, 0, queued(2, "gpu")).await;
    save(&store, 3, running(1)).await;
    assert_eq!(reserve("g2", "gpu").await, Reserved::Covered, "one of them is off the queue");
    let mut idle = wish(runner("g2", "gpu", "a"));
    idle.min_idle = 1;
    assert_eq!(store.reserve(idle).await.unwrap(), Reserved::Granted(1), "one queued and one to spare");
    save(&store, 1, job(2, JobState::Queued, None)).await;
    assert_eq!(reserve("g3", "gpu").await, Reserved::Covered, "a job without a pool counts nowhere");
}

async fn two_managers_never_serve_one_deficit_twice(mut bed: Bed) {
    let managers = [bed.manager("a"), bed.manager("b")];
    let jobs = (0..7).map(|number| version(0, queued(number, "linux"))).collect();
    managers[0].store.save_jobs(jobs).await.unwrap();
    let tries: Vec<_> = (0..60)
        .map(|number| {
            let host = ["a", "b"][number % 2];
            let store = Arc::clone(&managers[number % 2].store);
            let row = runner(&format!("{host}-{number}"), "linux", host);
            tokio::spawn(async move { store.reserve(wish(row)).await.unwrap() })
        })
        .collect();
    let mut granted = 0;
    for outcome in tries {
        match outcome.await.unwrap() {
            Reserved::Granted(1) => granted += 1,
            Reserved::Covered => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(granted, 7);
    assert_eq!(managers[1].store.load().await.unwrap().runners.len(), 7);
}

async fn a_runner_with_a_job_is_no_supply(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    save(&store, 0, queued(1, "linux")).await;
    let one = runner("one", "linux", "a");
    assert_eq!(store.reserve(wish(one.clone())).await.unwrap(), Reserved::Granted(1));
    let two = wish(runner("two", "linux", "a"));
    assert_eq!(store.reserve(two.clone()).await.unwrap(), Reserved::Covered);
    put(&store, 1, through(&one, &[StateName::Started])).await;
    assert_eq!(store.reserve(two.clone()).await.unwrap(), Reserved::Covered, "an idle one is supply");
    put(&store, 2, through(&one, &[StateName::Started, StateName::Running])).await;
    assert_eq!(store.reserve(two).await.unwrap(), Reserved::Granted(1));
}

async fn bounds_of_pool_fleet_and_host_hold(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    let pool = |number| if number % 2 == 0 { "linux" } else { "gpu" };
    let jobs = (0..20).map(|number| version(0, queued(number, pool(number)))).collect();
    store.save_jobs(jobs).await.unwrap();
    let busy = |name, pool, host| through(&runner(name, pool, host), &[StateName::Started, StateName::Running]);
    put(&store, 0, busy("l1", "linux", "a")).await;
    put(&store, 0, busy("l2", "linux", "b")).await;
    put(&store, 0, busy("g1", "gpu", "b")).await;

    let bounded = |pool_max, fleet_max, host_max| {
        let store = Arc::clone(&store);
        let runner = runner("new", "linux", "b");
        async move {
            store.reserve(Reservation { runner, seen: 0, min_idle: 0, pool_max, fleet_max, host_max }).await.unwrap()
        }
    };
    assert_eq!(bounded(2, 100, 100).await, Reserved::Full, "the pool has two");
    assert_eq!(bounded(100, 3, 100).await, Reserved::Full, "the fleet has three");
    assert_eq!(bounded(100, 100, 2).await, Reserved::Full, "host b has two");
    assert_eq!(bounded(0, 0, 0).await, Reserved::Full);
    // A place is free only when the runner is removed.
    let l2 = busy("l2", "linux", "b");
    let stopped = through(&l2, &[StateName::Stopped]);
    assert_eq!(put(&store, 1, stopped.clone()).await, 2);
    assert_eq!(bounded(2, 3, 2).await, Reserved::Full);
    put(&store, 2, through(&stopped, &[StateName::Removed])).await;
    assert_eq!(bounded(2, 3, 2).await, Reserved::Granted(1));
}

async fn a_runner_that_is_taken_over_counts_on_its_new_host(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    save(&store, 0, queued(1, "linux")).await;
    save(&store, 0, queued(2, "linux")).await;
    let mut one = runner("one", "linux", "dead");
    assert_eq!(store.reserve(wish(one.clone())).await.unwrap(), Reserved::Granted(1));
    let two = Reservation { host_max: 1, ..wish(runner("two", "linux", "a")) };
    one.owner = HostId::new("a");
    put(&store, 1, one.clone()).await;
    assert_eq!(store.reserve(two.clone()).await.unwrap(), Reserved::Full);
    one.owner = HostId::new("b");
    put(&store, 2, one).await;
    assert_eq!(store.reserve(two).await.unwrap(), Reserved::Granted(1));
}

/// A persistent runner that is there.
fn kept(name: &str, wanted: Wanted) -> Runner {
    Runner { kept: Some(Kept::new(1, wanted)), ..runner(name, "linux", "a") }
}

async fn a_persistent_runner_holds_a_place_and_is_no_supply(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    // No demand is needed for it, and its pool has no other bound than its number.
    let one = Reservation { pool_max: 0, ..wish(kept("kept-1", Wanted::Present)) };
    assert_eq!(store.reserve(one).await.unwrap(), Reserved::Granted(1));
    save(&store, 0, queued(1, "linux")).await;
    // The job's demand is not covered by it.
    assert_eq!(store.reserve(wish(runner("linux-1", "linux", "a"))).await.unwrap(), Reserved::Granted(1));
    // Fleet and host count both.
    for full in [
        Reservation { fleet_max: 2, ..wish(kept("kept-2", Wanted::Present)) },
        Reservation { host_max: 2, ..wish(kept("kept-2", Wanted::Present)) },
    ] {
        assert_eq!(store.reserve(full).await.unwrap(), Reserved::Full);
    }
    let three = Reservation { fleet_max: 3, host_max: 3, ..wish(kept("kept-2", Wanted::Present)) };
    assert_eq!(store.reserve(three).await.unwrap(), Reserved::Granted(1));
}

async fn a_persistent_runner_comes_back_in_the_place_of_its_own_row(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    assert_eq!(store.reserve(wish(kept("kept-1", Wanted::Present))).await.unwrap(), Reserved::Granted(1));
    let mut removed = kept("kept-1", Wanted::Present);
    removed.state.name = StateName::Removed;
    assert_eq!(put(&store, 1, removed.clone()).await, 2);
    // It holds no place while it is removed, and is not forgotten while it is wanted.
    assert_eq!(store.forget(removed.state.since + 1.hour()).await.unwrap(), 0);
    let only = |seen| Reservation { seen, fleet_max: 1, ..wish(kept("kept-1", Wanted::Present)) };
    assert_eq!(store.reserve(only(0)).await.unwrap(), Reserved::NameTaken);
    assert_eq!(store.reserve(only(1)).await.unwrap(), Reserved::NameTaken);
    assert_eq!(store.reserve(only(2)).await.unwrap(), Reserved::Granted(3));
    assert_eq!(store.load().await.unwrap().runners.len(), 1);
    let mut unwanted = kept("kept-1", Wanted::Absent);
    unwanted.state.name = StateName::Removed;
    put(&store, 3, unwanted.clone()).await;
    assert_eq!(store.forget(unwanted.state.since + 1.hour()).await.unwrap(), 1);
}

async fn a_name_is_taken_for_as_long_as_its_row_stands(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    save(&store, 0, queued(1, "linux")).await;
    let one = runner("one", "linux", "a");
    assert_eq!(store.reserve(wish(one.clone())).await.unwrap(), Reserved::Granted(1));
    assert_eq!(store.reserve(wish(one.clone())).await.unwrap(), Reserved::NameTaken, "before anything else is asked");
    let removed = through(&one, &[StateName::Removed]);
    put(&store, 1, removed.clone()).await;
    assert_eq!(store.reserve(wish(one.clone())).await.unwrap(), Reserved::NameTaken, "a removed one is still there");
    assert_eq!(store.forget(removed.state.since + 1.second()).await.unwrap(), 1);
    assert_eq!(store.reserve(wish(one)).await.unwrap(), Reserved::Granted(1));
}

async fn changes_of_all_managers_are_told_in_order(mut bed: Bed) {
    let (a, b) = (bed.manager("a"), bed.manager("b"));
    save(&a.store, 0, queued(9, "linux")).await;
    let mut feed = a.store.changes().await.unwrap();
    drop(b.store.changes().await.unwrap());

    save(&a.store, 0, queued(1, "linux")).await;
    save(&b.store, 1, completed(1)).await;
    let one = runner("one", "linux", "b");
    assert_eq!(b.store.reserve(wish(one.clone())).await.unwrap(), Reserved::Granted(1));
    let removed = through(&one, &[StateName::Removed]);
    put(&a.store, 1, removed.clone()).await;
    let stale = b.store.save_runner(version(1, one.clone())).await.unwrap();
    assert_eq!(stale, Saved::Stale(Some(version(2, removed.clone()))));
    assert_eq!(b.store.forget(at(1000)).await.unwrap(), 2);

    assert_eq!(heard(&mut feed).await, StoreChange::Job(version(1, queued(1, "linux"))));
    assert_eq!(heard(&mut feed).await, StoreChange::Job(version(2, completed(1))));
    assert_eq!(heard(&mut feed).await, StoreChange::Runner(version(1, one.clone())));
    assert_eq!(heard(&mut feed).await, StoreChange::Runner(version(2, removed)));
    assert_eq!(heard(&mut feed).await, StoreChange::JobForgotten(completed(1).key()));
    assert_eq!(heard(&mut feed).await, StoreChange::RunnerForgotten(one.name));
}

async fn leases_are_seen_by_all_and_age_out(mut bed: Bed) {
    let (a, b) = (bed.manager("a"), bed.manager("b"));
    a.store.renew_lease(&HostId::new("a"), at(10)).await.unwrap();
    b.store.renew_lease(&HostId::new("b"), at(20)).await.unwrap();
    a.store.renew_lease(&HostId::new("a"), at(15)).await.unwrap();
    let leases = b.store.load().await.unwrap().leases;
    assert_eq!(leases.into_iter().collect::<Vec<_>>(), [(HostId::new("a"), at(15)), (HostId::new("b"), at(20))]);
    assert_eq!(a.store.forget(at(18)).await.unwrap(), 0, "leases are not counted");
    let leases = b.store.load().await.unwrap().leases;
    assert_eq!(leases.into_keys().collect::<Vec<_>>(), [HostId::new("b")]);
}

async fn only_what_is_over_is_forgotten(mut bed: Bed) {
    let Parts { store, .. } = bed.manager("a");
    save(&store, 0, queued(1, "linux")).await;
    save(&store, 0, running(2)).await;
    let jobs = (10..1300).map(|number| version(0, completed(number))).collect();
    store.save_jobs(jobs).await.unwrap();
    let mut young = completed(3);
    young.since = at(500);
    save(&store, 0, young.clone()).await;
    let one = runner("one", "linux", "a");
    put(&store, 0, one.clone()).await;
    put(&store, 0, through(&runner("failed", "linux", "a"), &[StateName::Error])).await;
    put(&store, 0, through(&runner("gone", "linux", "a"), &[StateName::Removed])).await;

    assert_eq!(store.forget(at(1)).await.unwrap(), 0, "not older than that moment");
    assert_eq!(store.forget(at(100)).await.unwrap(), 1291);
    let left = store.load().await.unwrap();
    assert_eq!(left.jobs.keys().map(|key| key.id.0).collect::<Vec<_>>(), [1, 2, 3]);
    let names: Vec<_> = left.runners.keys().map(RunnerName::as_str).collect();
    assert_eq!(names, ["failed", "one"]);
    assert_eq!(left.runners[&one.name].row.pool, PoolName::new("linux"));
    assert_eq!(store.forget(at(100)).await.unwrap(), 0);
}

async fn notes_are_written_by_compare_and_set_and_stay(mut bed: Bed) {
    let (a, b) = (bed.manager("a"), bed.manager("b"));
    assert_eq!(a.store.note("scheduler").await.unwrap(), None);
    assert_eq!(a.store.set_note("scheduler", "one", 1).await.unwrap(), Saved::Stale(None), "there is none");
    let first = "two lines\nof \"text\", 日本";
    assert_eq!(a.store.set_note("scheduler", first, 0).await.unwrap(), Saved::Saved(1));
    assert_eq!(b.store.note("scheduler").await.unwrap(), Some(version(1, first.to_owned())));
    let stale = b.store.set_note("scheduler", "late", 0).await.unwrap();
    assert_eq!(stale, Saved::Stale(Some(version(1, first.to_owned()))));
    assert_eq!(b.store.set_note("scheduler", "", 1).await.unwrap(), Saved::Saved(2));
    assert_eq!(b.store.set_note("other", "x", 0).await.unwrap(), Saved::Saved(1));
    // They are no rows that age out, and nothing of the world.
    let before = b.store.load().await.unwrap();
    assert!(before.jobs.is_empty() && before.runners.is_empty());
    assert_eq!(b.store.forget(at(1_000_000)).await.unwrap(), 0);
    drop(b);
    let a = bed.restarted(a, "a");
    assert_eq!(a.store.note("scheduler").await.unwrap(), Some(version(2, String::new())));
    assert_eq!(a.store.note("other").await.unwrap(), Some(version(1, "x".to_owned())));
}

async fn of_many_claims_of_one_note_one_wins(mut bed: Bed) {
    let managers = [bed.manager("a"), bed.manager("b")];
    let claims: Vec<_> = (0..40)
        .map(|number| {
            let store = Arc::clone(&managers[number % 2].store);
            tokio::spawn(async move { store.set_note("claim", &number.to_string(), 0).await.unwrap() })
        })
        .collect();
    let mut winners = 0;
    for claim in claims {
        match claim.await.unwrap() {
            Saved::Saved(1) => winners += 1,
            Saved::Stale(Some(stands)) => assert_eq!(stands.version, 1),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(winners, 1);
}
