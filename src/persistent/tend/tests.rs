use super::*;
use crate::model::{
    ContainerId, HostId, JobFacts, JobId, JobState, Kept, KeptContainer, LabelSet, PoolName, Registration,
    RegistrationId, RepoName, RunnerName, Scope,
};
use std::collections::BTreeMap;

const UP: Tend = Tend::Drive(Goal::Up { renew: false });
const EXITED: ContainerStatus = ContainerStatus::Exited { exit_code: 9, oom_killed: false };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn row(state: StateName, wanted: Wanted) -> Runner {
    let mut row = Runner::intended(
        RunnerName::new("web-1"),
        PoolName::new("web"),
        Scope::Organization("acme".into()),
        HostId::new("here"),
        "image".into(),
        None,
        at(0),
        "a test",
    );
    row.state.name = state;
    row.registration = RegistrationHold::Held(RegistrationId(7));
    row.kept = Some(Kept::new(1, wanted));
    row
}

fn container(status: ContainerStatus, restarts: u32) -> Container {
    Container {
        id: ContainerId::new("c"),
        runner: RunnerName::new("web-1"),
        pool: PoolName::new("web"),
        scope: Scope::Organization("acme".into()),
        host: HostId::new("here"),
        created_for: None,
        registration: None,
        image: "image".into(),
        image_id: None,
        kept: Some(KeptContainer { index: 1, spec: "s".into(), restarts }),
        created_at: at(0),
        status,
    }
}

fn listing(second: i64, entry: Option<(RegistrationStatus, bool, Option<i64>)>) -> Listing {
    let runners = entry.map(|(status, busy, offline)| {
        let registration = Registration {
            id: RegistrationId(7),
            name: RunnerName::new("web-1"),
            status,
            busy,
            labels: LabelSet::default(),
            version: None,
        };
        (RunnerName::new("web-1"), Listed { registration, offline_since: offline.map(at) })
    });
    Listing { at: at(second), runners: runners.into_iter().collect::<BTreeMap<_, _>>() }
}

fn job(state: JobState) -> Job {
    Job {
        facts: JobFacts {
            key: JobKey { id: JobId(5), attempt: 1 },
            run_id: 1,
            name: "test".into(),
            workflow: None,
            repository: RepoName::new("acme/web"),
            private: Some(true),
            labels: LabelSet::default(),
            html_url: None,
            installation: None,
            created_at: None,
        },
        state,
        pool: None,
        first_seen: at(0),
        since: at(0),
        queued_at: None,
        started_at: None,
        run: None,
    }
}

fn view<'a>(row: Option<&'a Runner>, container: Option<&'a Container>, listing: Option<&'a Listing>) -> View<'a> {
    View { row, container, listing, job: None, last_job: None, described: true, restarts_before: 0 }
}

#[test]
fn what_a_person_wants_is_brought_about() {
    use StateName::{Created, Error, Removed, Running, Started, Stopped};
    let (up, down, made) =
        (container(ContainerStatus::Running, 0), container(EXITED, 0), container(ContainerStatus::Created, 0));
    let gone = Tend::Drive(Goal::Gone);
    let stop = Tend::Drive(Goal::Down);
    for (wanted, state, container, expected) in [
        (Wanted::Absent, Started, Some(&up), gone.clone()),
        (Wanted::Absent, Stopped, None, gone.clone()),
        (Wanted::Absent, Error, None, gone.clone()),
        (Wanted::Absent, Removed, Some(&down), gone),
        (Wanted::Absent, Removed, None, Tend::Nothing),
        (Wanted::Stopped, Running, Some(&up), stop.clone()),
        (Wanted::Stopped, Stopped, Some(&up), stop.clone()),
        (Wanted::Stopped, Error, Some(&down), stop),
        (Wanted::Stopped, Stopped, Some(&down), Tend::Nothing),
        (Wanted::Stopped, Stopped, None, Tend::Nothing),
        (Wanted::Present, Removed, None, UP),
        (Wanted::Present, Started, None, UP),
        (Wanted::Present, Created, Some(&made), UP),
        (Wanted::Present, Created, Some(&up), UP),
        (Wanted::Present, Stopped, Some(&down), UP),
        (Wanted::Present, Started, Some(&up), Tend::Nothing),
    ] {
        let row = row(state, wanted);
        let decided = tend(&view(Some(&row), container, None), at(10));
        assert_eq!(decided, expected, "{wanted} {state}");
    }
    // Of a pool that is gone from the file nothing can be made, and nothing is removed.
    let removed = row(Removed, Wanted::Present);
    let undescribed = View { described: false, ..view(Some(&removed), None, None) };
    assert_eq!(tend(&undescribed, at(10)), Tend::Nothing);
    // Without a row the container's own state tells.
    assert_eq!(tend(&view(None, Some(&up), None), at(10)), UP);
    assert_eq!(tend(&view(None, Some(&down), None), at(10)), Tend::Drive(Goal::Down));
}

#[test]
fn an_end_that_nobody_asked_for_is_made_good_slower_and_slower_and_then_no_more() {
    let down = container(EXITED, 0);
    let ended = row(StateName::Started, Wanted::Present);
    assert!(matches!(tend(&view(Some(&ended), Some(&down), None), at(10)), Tend::Ended(why) if why.contains("code 9")));
    let mut error = row(StateName::Error, Wanted::Present);
    for (ends, wait) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)] {
        let kept = (0..ends).fold(Kept::new(1, Wanted::Present), |kept, _| kept.with_end_at(at(0)));
        error.kept = Some(kept);
        assert_eq!(tend(&view(Some(&error), Some(&down), None), at(0)), Tend::LookAt(at(wait)), "{ends}");
        assert_eq!(tend(&view(Some(&error), Some(&down), None), at(wait)), UP, "{ends}");
    }
    error.kept = error.kept.map(|kept| kept.with_end_at(at(0)));
    assert_eq!(tend(&view(Some(&error), Some(&down), None), at(100_000)), Tend::Nothing, "until a person comes");
    // The engine brought it back: counted, and held when it was too often.
    let again = container(ContainerStatus::Running, 3);
    let started = row(StateName::Started, Wanted::Present);
    let seen = View { restarts_before: 1, ..view(Some(&started), Some(&again), None) };
    assert_eq!(tend(&seen, at(10)), Tend::Restarted(2));
    let known = View { restarts_before: 3, ..view(Some(&error), Some(&again), None) };
    assert_eq!(tend(&known, at(10)), Tend::Hold);
}

#[test]
fn jobs_are_followed_from_events_and_from_githubs_list() {
    use RegistrationStatus::Online;
    let up = container(ContainerStatus::Running, 0);
    let (idle, mut busy) = (row(StateName::Started, Wanted::Present), row(StateName::Running, Wanted::Present));
    let runs = job(JobState::InProgress { runner: Some(RunnerName::new("web-1")) });
    let told = View { job: Some(&runs), ..view(Some(&idle), Some(&up), None) };
    assert!(matches!(tend(&told, at(10)), Tend::Record { state: StateName::Running, job: Some(_), .. }));
    busy.job = Some(runs.key());
    let known = View { job: Some(&runs), last_job: Some(&runs), ..view(Some(&busy), Some(&up), None) };
    assert_eq!(tend(&known, at(10)), Tend::Nothing);
    let over = job(JobState::Completed { conclusion: "success".into(), runner: None });
    let ended = View { last_job: Some(&over), ..view(Some(&busy), Some(&up), None) };
    assert_eq!(tend(&ended, at(10)), Tend::Settle, "the second sign is looked for");
    // Without events GitHub's list tells both; one that is older than the last change tells nothing.
    let says_busy = listing(5, Some((Online, true, None)));
    let says_idle = listing(5, Some((Online, false, None)));
    assert!(matches!(
        tend(&view(Some(&idle), Some(&up), Some(&says_busy)), at(10)),
        Tend::Record { state: StateName::Running, job: None, .. }
    ));
    assert_eq!(tend(&view(Some(&busy), Some(&up), Some(&says_busy)), at(10)), Tend::Nothing);
    assert_eq!(tend(&view(Some(&busy), Some(&up), Some(&says_idle)), at(10)), Tend::Settle);
    let old = listing(-5, Some((Online, false, None)));
    assert_eq!(tend(&view(Some(&busy), Some(&up), Some(&old)), at(10)), Tend::Nothing);
}

#[test]
fn what_github_does_not_see_is_told_and_what_it_forgot_is_made_anew() {
    use RegistrationStatus::{Offline, Online};
    let up = container(ContainerStatus::Running, 0);
    let (idle, error) = (row(StateName::Started, Wanted::Present), row(StateName::Error, Wanted::Present));
    let absent = listing(5, None);
    assert_eq!(tend(&view(Some(&idle), Some(&up), Some(&absent)), at(10)), UP);
    let offline = listing(5, Some((Offline, false, Some(5))));
    assert_eq!(tend(&view(Some(&idle), Some(&up), Some(&offline)), at(10)), Tend::LookAt(at(305)));
    assert!(matches!(
        tend(&view(Some(&idle), Some(&up), Some(&offline)), at(305)),
        Tend::Record { state: StateName::Error, .. }
    ));
    assert_eq!(tend(&view(Some(&error), Some(&up), Some(&offline)), at(400)), Tend::Nothing);
    let back = listing(5, Some((Online, false, None)));
    assert!(matches!(
        tend(&view(Some(&error), Some(&up), Some(&back)), at(10)),
        Tend::Record { state: StateName::Started, .. }
    ));
}
