use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn ago(secs: u64) -> Timestamp {
    before(NOW, Duration::from_secs(secs))
}

/// An attempt so many seconds ago, with the id that grows with time.
fn attempt(secs_ago: u64, guid: &str, status: &str) -> Delivery {
    Delivery {
        id: 1_000_000 - secs_ago,
        guid: guid.to_owned(),
        delivered_at: ago(secs_ago),
        redelivery: false,
        duration: 0.1,
        status: status.to_owned(),
        status_code: 0,
        event: "workflow_job".to_owned(),
        action: Some("queued".to_owned()),
        installation_id: Some(1),
        repository_id: Some(7),
    }
}

fn lost(secs_ago: u64) -> Delivery {
    attempt(secs_ago, &format!("guid-{secs_ago}"), "failed to connect to host")
}

fn page(deliveries: Vec<Delivery>, next: Option<&str>) -> DeliveryPage {
    DeliveryPage { deliveries, next: next.map(str::to_owned) }
}

/// The guids of what is to be fetched.
fn due<'a>(entries: &[Delivery], change: impl FnOnce(&mut View<'a>)) -> Vec<String> {
    static TAKEN: BTreeSet<String> = BTreeSet::new();
    static ASIDE: BTreeSet<u64> = BTreeSet::new();
    static NOBODY: Strangers = Strangers { installations: BTreeSet::new(), repositories: BTreeSet::new() };
    let mut view = View { down_to: ago(600), now: NOW, pulls: false, taken: &TAKEN, aside: &ASIDE, strangers: &NOBODY };
    change(&mut view);
    candidates(entries, &view).into_iter().map(|it| it.guid.clone()).collect()
}

#[test]
fn what_no_attempt_brought_here_is_fetched_once() {
    let log = [
        attempt(20, "late", "OK"),
        attempt(30, "twice", "timed out"),
        attempt(40, "twice", "failed to connect to host"),
        attempt(50, "late", "timed out"),
        attempt(60, "fine", "OK"),
        attempt(70, "once", "Invalid HTTP Response: 503"),
        attempt(601, "read before", "timed out"),
    ];
    assert_eq!(due(&log, |_| {}), ["twice", "once"]);
    let earlier = BTreeSet::from(["once".to_owned()]);
    assert_eq!(due(&log, |view| view.taken = &earlier), ["twice"], "a newer page showed that it was taken");
    let aside = BTreeSet::from([lost(30).id]);
    assert_eq!(due(&log, |view| view.aside = &aside), ["once"]);
}

#[test]
fn with_pull_it_does_not_matter_how_an_attempt_went() {
    let log = [attempt(1, "now", "failed to connect to host"), attempt(60, "fine", "OK")];
    assert_eq!(due(&log, |view| view.pulls = true), ["now", "fine"]);
    assert!(due(&log, |_| {}).is_empty(), "one of a second ago may still be under way");
}

#[test]
fn what_cannot_be_ours_is_not_fetched() {
    let other_event = Delivery { event: "installation".to_owned(), action: Some("created".to_owned()), ..lost(20) };
    let ping = Delivery { event: "ping".to_owned(), action: None, ..lost(21) };
    let unknown = Delivery { action: Some("requested".to_owned()), ..lost(22) };
    let foreign = Delivery { installation_id: Some(2), ..lost(23) };
    let strange = Delivery { repository_id: Some(8), ..lost(24) };
    let old = lost(25 * 3600);
    let old_end = Delivery { action: Some("completed".to_owned()), ..lost(25 * 3600 + 1) };
    let nothing_known = Delivery { installation_id: None, repository_id: None, ..lost(26) };
    let strangers = Strangers { installations: BTreeSet::from([2]), repositories: BTreeSet::from([8]) };
    let log = [other_event, ping, unknown, foreign, strange, nothing_known, old, old_end];
    let found = due(&log, |view| {
        view.strangers = &strangers;
        view.down_to = ago(3 * 24 * 3600);
    });
    assert_eq!(found, ["guid-26", "guid-90001"]);
}

#[test]
fn demand_comes_first() {
    let ended = |secs: u64| Delivery { action: Some("completed".to_owned()), ..lost(secs) };
    assert_eq!(due(&[ended(20), lost(30), ended(40), lost(50)], |_| {}), ["guid-30", "guid-50", "guid-20", "guid-40"]);
}

#[test]
fn the_first_reading_goes_back_three_days_and_the_next_ones_a_little() {
    let mut state = State::default();
    assert_eq!(state.down_to(NOW), ago(3 * 24 * 3600));
    state.newest_is_done(&page(vec![lost(5), lost(400)], None), ago(3 * 24 * 3600));
    assert_eq!((state.gap.as_ref(), state.down_to(NOW)), (None, ago(125)));
    state.newest_is_done(&page(Vec::new(), None), ago(125));
    assert_eq!(state.down_to(NOW), ago(125), "an empty log says nothing");
    let late = after(NOW, Duration::from_secs(9 * 24 * 3600));
    assert_eq!(state.down_to(late), before(late, LOG_GOES_BACK), "after a long silence no further than the log goes");
}

#[test]
fn what_is_further_away_than_a_page_is_a_gap_that_is_closed_page_by_page() {
    let mut state = State { read_to: Some(ago(1000)), ..State::default() };
    let down_to = state.down_to(NOW);
    state.newest_is_done(&page(vec![lost(1), lost(100)], Some("c1")), down_to);
    assert_eq!(state.gap, Some(Gap { cursor: Some("c1".to_owned()), down_to: ago(1120) }));
    assert_eq!(state.down_to(NOW), ago(121), "what is new is read first, and only that");
    // Another round begins before it is closed, and finds more than a page again.
    state.newest_is_done(&page(vec![lost(0)], Some("c2")), ago(121));
    assert_eq!(state.gap, Some(Gap { cursor: Some("c2".to_owned()), down_to: ago(1120) }));
    state.older_is_done(&page(vec![lost(500)], Some("c3")));
    assert_eq!(state.gap.as_ref().unwrap().cursor.as_deref(), Some("c3"));
    state.cursor_is_lost();
    assert_eq!(state.gap.as_ref().unwrap().cursor, None);
    state.older_is_done(&page(vec![lost(1121)], Some("c4")));
    assert_eq!(state.gap, None, "an entry from before its end closes it");
}

#[test]
fn the_end_of_the_log_closes_a_gap_too() {
    let open = || Some(Gap { cursor: Some("c".to_owned()), down_to: ago(1000) });
    for last in [page(vec![lost(10)], None), page(Vec::new(), Some("endless"))] {
        let mut state = State { gap: open(), ..State::default() };
        state.older_is_done(&last);
        assert_eq!(state.gap, None);
    }
    let mut state = State { gap: open(), ..State::default() };
    state.age_out(after(NOW, LOG_GOES_BACK));
    assert_eq!(state.gap.unwrap().down_to, NOW);
}

#[test]
fn what_was_put_aside_is_remembered_as_long_as_it_is_looked_at_and_no_longer() {
    let mut state = State { aside: BTreeSet::from([lost(90).id, lost(300).id]), ..State::default() };
    state.newest_is_done(&page(vec![lost(10), lost(90), lost(300)], Some("c")), ago(120));
    assert_eq!(state.aside, BTreeSet::from([lost(90).id]));
    state.aside = (0..5000).collect();
    state.gap = Some(Gap { cursor: None, down_to: ago(9000) });
    state.newest_is_done(&page(vec![lost(10)], Some("c")), ago(120));
    assert_eq!((state.aside.len(), state.aside.first()), (ASIDE_MOST, Some(&3000)));
}

#[test]
fn a_note_of_an_older_version_is_understood() {
    let state: State = serde_json::from_str("{}").unwrap();
    assert_eq!(state, State::default());
}
