//! The steps as a table, and from every state that can be seen to every goal.

use super::*;
use crate::model::{ContainerId, HostId, Kept, LabelSet, PoolName, RunnerName, Scope, Wanted};

const HOLDS: [RegistrationHold; 3] =
    [RegistrationHold::Unknown, RegistrationHold::Held(RegistrationId(7)), RegistrationHold::Gone];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn task(goal: Goal) -> Task {
    Task {
        goal,
        force: false,
        began: at(0),
        drain_until: at(600),
        online_timeout: Duration::from_secs(180),
        described: true,
    }
}

fn row(state: StateName, container: bool, registration: RegistrationHold) -> Runner {
    let mut row = Runner::intended(
        RunnerName::new("web-1"),
        PoolName::new("web"),
        Scope::Organization("acme".into()),
        HostId::new("here"),
        "image".into(),
        None,
        at(-100),
        "a test",
    );
    row.state.name = state;
    row.registration = registration;
    row.container = container.then(|| ContainerId::new("c"));
    row.kept = Some(Kept::new(1, Wanted::Present));
    row
}

fn listed(status: RegistrationStatus, busy: bool) -> Registration {
    Registration {
        id: RegistrationId(7),
        name: RunnerName::new("web-1"),
        status,
        busy,
        labels: LabelSet::default(),
        version: None,
    }
}

fn online(busy: bool) -> Registration {
    listed(RegistrationStatus::Online, busy)
}

fn offline() -> Registration {
    listed(RegistrationStatus::Offline, false)
}

fn found(status: ContainerStatus) -> Found {
    Found { status, outdated: None, restarts: 0 }
}

const EXITED: ContainerStatus = ContainerStatus::Exited { exit_code: 1, oom_killed: false };

fn seen(row: Option<&Runner>, container: Option<Found>, registration: Option<Registration>) -> Seen<'_> {
    Seen {
        row,
        container: Observed::Known(container),
        registration: Observed::Known(registration),
        worker: Observed::Known(false),
        job: None,
        quiet: QUIET_LOOKS,
        starts: 0,
        started_at: None,
        refused: None,
    }
}

const UP: Goal = Goal::Up { renew: false };
const RENEW: Goal = Goal::Up { renew: true };

/// One row of the table: what is seen, what is wanted, what is next.
struct Case {
    what: &'static str,
    goal: Goal,
    row: Option<Runner>,
    container: Option<Found>,
    registration: Option<Registration>,
    next: fn(&Step) -> bool,
}

macro_rules! case {
    ($what:literal, $goal:expr, $row:expr, $container:expr, $registration:expr => $next:pat) => {
        Case {
            what: $what,
            goal: $goal,
            row: $row,
            container: $container,
            registration: $registration,
            next: |step| matches!(step, $next),
        }
    };
}

fn table() -> Vec<Case> {
    use ContainerStatus::{Created as Made, Running as Runs};
    use RegistrationHold::{Gone, Held};
    use StateName::{Created, Error, Removed, Running, Started, Stopped};
    let held = Held(RegistrationId(7));
    let r = |state, container, hold| Some(row(state, container, hold));
    let c = |status: ContainerStatus| Some(found(status));
    let old = |status: ContainerStatus| Some(Found { status, outdated: Some("its image".into()), restarts: 0 });
    vec![
        case!("P1 declared, wanted", UP, None, None, None => Step::Intend),
        case!("P2 provisioning", UP, r(Created, false, Gone), None, None => Step::Create),
        case!("P2 an older one of its name goes first", UP, r(Created, false, Gone), None, Some(offline()) => Step::Deregister { .. }),
        case!("P2 a stranger of its name is waited for", UP, r(Created, false, Gone), None, Some(online(false)) => Step::Wait(_)),
        case!("P2 again after a try that failed", UP, r(Error, false, Gone), None, None => Step::Create),
        case!("P3 created", UP, r(Created, true, Gone), c(Made), None => Step::Start),
        case!("P4 starting", UP, r(Started, true, Gone), c(Runs), None => Step::Wait(_)),
        case!("P4 starting, listed", UP, r(Started, true, Gone), c(Runs), Some(offline()) => Step::Wait(_)),
        case!("P4 online", UP, r(Started, true, Gone), c(Runs), Some(online(false)) => Step::Record { state: Started, .. }),
        case!("P4b online and busy at once", UP, r(Started, true, Gone), c(Runs), Some(online(true)) => Step::Record { state: Running, .. }),
        case!("P4 known to be online", UP, r(Started, true, held), c(Runs), Some(online(false)) => Step::Done),
        case!("P5 busy is up as well", UP, r(Running, true, held), c(Runs), Some(online(true)) => Step::Done),
        case!("P7 idle, to stop", Goal::Down, r(Started, true, held), c(Runs), Some(online(false)) => Step::Stop { with_job: false }),
        case!("P7 idle, to go: GitHub first", Goal::Gone, r(Started, true, held), c(Runs), Some(online(false)) => Step::Deregister { .. }),
        case!("P7 idle, to be replaced: GitHub first", RENEW, r(Started, true, held), old(Runs), Some(online(false)) => Step::Deregister { .. }),
        case!("P7 given back, container next", Goal::Gone, r(Started, true, Gone), c(Runs), None => Step::Stop { with_job: false }),
        case!("P7 an outdated one stays where only a start is asked for", UP, r(Started, true, held), old(Runs), Some(online(false)) => Step::Done),
        case!("P8 busy, to stop", Goal::Down, r(Running, true, held), c(Runs), Some(online(true)) => Step::Wait(_)),
        case!("P8 busy, to go", Goal::Gone, r(Running, true, held), c(Runs), Some(online(true)) => Step::Wait(_)),
        case!("P8 busy, to be replaced", RENEW, r(Running, true, held), old(Runs), Some(online(true)) => Step::Wait(_)),
        case!("P10 stopped", Goal::Down, r(Stopped, true, held), c(EXITED), None => Step::Done),
        case!("P10 ended meanwhile", Goal::Down, r(Started, true, held), c(EXITED), None => Step::Record { state: Stopped, .. }),
        case!("P10 never started", Goal::Down, r(Created, true, Gone), c(Made), None => Step::Record { state: Stopped, .. }),
        case!("P10 in error", Goal::Down, r(Error, true, held), c(EXITED), None => Step::Record { state: Stopped, .. }),
        case!("P11 start, same registration", UP, r(Stopped, true, held), c(EXITED), Some(offline()) => Step::StartAgain),
        case!("P11 start, registration gone", UP, r(Stopped, true, held), c(EXITED), None => Step::RemoveContainer),
        case!("P11 its container is gone too", UP, r(Stopped, false, held), None, None => Step::Close),
        case!("P12 stopped, to go", Goal::Gone, r(Stopped, true, held), c(EXITED), Some(offline()) => Step::RemoveContainer),
        case!("P12 container gone, registration next", Goal::Gone, r(Stopped, false, held), None, Some(offline()) => Step::Deregister { .. }),
        case!("P12 created, to go", Goal::Gone, r(Created, true, Gone), c(Made), None => Step::RemoveContainer),
        case!("P12 in error, to go", Goal::Gone, r(Error, true, held), c(EXITED), Some(offline()) => Step::RemoveContainer),
        case!("P12 stopped, outdated: nothing stays where it is registered now", RENEW, r(Stopped, true, held), old(EXITED), Some(offline()) => Step::Deregister { .. }),
        case!("P13 both gone", Goal::Gone, r(Stopped, false, held), None, None => Step::Close),
        case!("P13 removed", Goal::Gone, r(Removed, false, Gone), None, None => Step::Done),
        case!("P14 wanted again", UP, r(Removed, false, Gone), None, None => Step::Intend),
        case!("lost: somebody removed its container", UP, r(Started, true, held), None, Some(online(false)) => Step::Record { state: Error, .. }),
        case!("exited though nobody asked", UP, r(Running, true, held), c(EXITED), Some(online(true)) => Step::Record { state: Error, .. }),
        case!("error(exited) comes back", UP, r(Error, true, held), c(EXITED), Some(offline()) => Step::StartAgain),
        case!("error(unregistered) is made anew", UP, r(Error, true, held), c(EXITED), None => Step::RemoveContainer),
        case!("registration deleted while it runs", UP, r(Started, true, held), c(Runs), None => Step::Stop { with_job: false }),
        case!("error(offline), asked to start: its agent hangs", UP, r(Error, true, held), c(Runs), Some(offline()) => Step::Stop { with_job: false }),
        case!("error(offline), back", UP, r(Error, true, held), c(Runs), Some(online(false)) => Step::Record { state: Started, .. }),
        case!("a container without a row", UP, None, c(Runs), Some(online(false)) => Step::Adopt),
        case!("a container of a removed runner", Goal::Gone, r(Removed, false, Gone), c(EXITED), None => Step::Adopt),
        case!("nothing here, a stopped one in GitHub", Goal::Gone, None, None, Some(offline()) => Step::Deregister { .. }),
        case!("nothing here, somebody's in GitHub", Goal::Gone, None, None, Some(online(false)) => Step::Done),
        case!("nothing to stop", Goal::Down, None, None, None => Step::Done),
    ]
}

#[test]
fn each_state_has_its_next_step() {
    for case in table() {
        let seen = seen(case.row.as_ref(), case.container, case.registration);
        let step = next(&task(case.goal), &seen, at(1));
        assert!((case.next)(&step), "{}: {step:?}", case.what);
    }
}

#[test]
fn force_ends_a_job_and_a_deadline_does_not() {
    let busy = row(StateName::Running, true, RegistrationHold::Held(RegistrationId(7)));
    let looks = |worker| Seen {
        worker: Observed::Known(worker),
        ..seen(Some(&busy), Some(found(ContainerStatus::Running)), Some(online(true)))
    };
    for goal in [Goal::Down, Goal::Gone] {
        let step = next(&Task { force: true, ..task(goal) }, &looks(true), at(1));
        assert_eq!(step, Step::Stop { with_job: true });
        for worker in [true, false] {
            let Step::GiveUp(given) = next(&task(goal), &looks(worker), at(601)) else { panic!("{goal:?}") };
            assert_eq!(given.then, Then::Later);
            assert!(given.why.contains("still runs a job after 601 s"), "{}", given.why);
        }
    }
    let mut outdated = looks(true);
    outdated.container = Observed::Known(Some(Found {
        status: ContainerStatus::Running,
        outdated: Some("its settings".into()),
        restarts: 0,
    }));
    assert_eq!(next(&Task { force: true, ..task(RENEW) }, &outdated, at(1)), Step::Stop { with_job: true });
}

#[test]
fn both_signs_must_say_that_there_is_no_job() {
    let idle = row(StateName::Started, true, RegistrationHold::Held(RegistrationId(7)));
    let base = seen(Some(&idle), Some(found(ContainerStatus::Running)), Some(online(false)));
    for goal in [Goal::Down, Goal::Gone] {
        let with_process = Seen { worker: Observed::Known(true), ..base.clone() };
        assert!(matches!(next(&task(goal), &with_process, at(1)), Step::Wait(_)));
        let busy_there = Seen { registration: Observed::Known(Some(online(true))), ..base.clone() };
        assert!(matches!(next(&task(goal), &busy_there, at(1)), Step::Wait(_)));
        let refused = Seen { refused: Some((at(0), "is running a job".into())), ..base.clone() };
        let step = next(&task(goal), &refused, at(1));
        assert!(matches!(step, Step::Wait(_)), "{step:?}");
        // GitHub is away, and events told of a job.
        let away = Seen {
            registration: Observed::Unknown("no answer".into()),
            job: Some(JobKey { id: crate::model::JobId(1), attempt: 1 }),
            ..base.clone()
        };
        assert!(matches!(next(&task(goal), &away, at(1)), Step::Wait(_)));
    }
    let once = Seen { quiet: 1, ..base };
    assert!(matches!(next(&task(Goal::Down), &once, at(1)), Step::Wait(_)));
}

#[test]
fn a_removal_without_github_ends_the_container_and_waits() {
    let away = || Observed::Unknown("no answer".to_owned());
    let mut idle = row(StateName::Started, true, RegistrationHold::Held(RegistrationId(7)));
    let running = Seen { registration: away(), ..seen(Some(&idle), Some(found(ContainerStatus::Running)), None) };
    assert_eq!(next(&task(Goal::Gone), &running, at(1)), Step::Stop { with_job: false });
    assert!(matches!(next(&task(RENEW), &running, at(1)), Step::Wait(_)), "one that is to come back stays");
    idle.state.name = StateName::Stopped;
    let stopped = Seen { registration: away(), ..seen(Some(&idle), Some(found(EXITED)), None) };
    assert_eq!(next(&task(Goal::Gone), &stopped, at(1)), Step::RemoveContainer);
    let gone = Seen { registration: away(), ..seen(Some(&idle), None, None) };
    assert_eq!(next(&task(Goal::Gone), &gone, at(1)), Step::Blocked("no answer".into()));
}

#[test]
fn what_does_not_come_up_is_in_error_with_a_cause() {
    let started = row(StateName::Started, true, RegistrationHold::Gone);
    let late = Seen {
        starts: 1,
        started_at: Some(at(0)),
        ..seen(Some(&started), Some(found(ContainerStatus::Running)), Some(offline()))
    };
    assert!(matches!(next(&task(UP), &late, at(179)), Step::Wait(_)));
    let Step::GiveUp(given) = next(&task(UP), &late, at(180)) else { panic!() };
    assert_eq!((given.then, given.why.contains("within 180 s (timeouts.online)")), (Then::Error, true));
    let ended = Seen { container: Observed::Known(Some(found(EXITED))), ..late };
    let Step::GiveUp(given) = next(&task(UP), &ended, at(2)) else { panic!() };
    assert_eq!((given.then, given.why.as_str()), (Then::Error, "its container ended with exit code 1"));
    let nobody = Task { described: false, ..task(UP) };
    let Step::GiveUp(given) = next(&nobody, &seen(None, None, None), at(0)) else { panic!() };
    assert_eq!(given.then, Then::Refused);
}

/// A world in which everything works, and a job ends after a while.
struct World {
    row: Option<Runner>,
    container: Option<Found>,
    registration: Option<Registration>,
    worker: bool,
    now: i64,
    quiet: u32,
    starts: u32,
    refused: Option<(Timestamp, String)>,
}

impl World {
    fn seen(&self) -> Seen<'_> {
        Seen {
            worker: Observed::Known(self.worker),
            quiet: self.quiet,
            starts: self.starts,
            started_at: None,
            refused: self.refused.clone(),
            ..seen(self.row.as_ref(), self.container.clone(), self.registration.clone())
        }
    }

    fn runs(&self) -> bool {
        self.container.as_ref().is_some_and(|found| found.status == ContainerStatus::Running)
    }

    fn become_state(&mut self, state: StateName) {
        let row = self.row.as_mut().expect("a row");
        if row.state.name != state {
            *row = row.become_state(state, "a step", at(self.now)).expect("a legal change");
        }
    }

    fn take(&mut self, task: &Task, step: &Step) {
        let busy = self.worker || self.registration.as_ref().is_some_and(|registration| registration.busy);
        match step {
            Step::Intend => {
                let hold = self.row.as_ref().map_or(RegistrationHold::Unknown, |row| row.registration);
                if self.row.is_some() {
                    self.become_state(StateName::Created);
                }
                assert!(self.container.is_none());
                self.row = Some(row(StateName::Created, false, hold));
            }
            Step::Adopt => {
                if self.row.is_some() {
                    self.become_state(StateName::Created);
                }
                assert!(self.container.is_some());
                self.row = Some(row(StateName::Created, true, RegistrationHold::Unknown));
            }
            Step::Create => {
                assert!(self.container.is_none() && self.registration.is_none());
                self.container = Some(found(ContainerStatus::Created));
                let row = self.row.as_mut().unwrap();
                row.container = Some(ContainerId::new("c"));
                row.registration = RegistrationHold::Gone;
            }
            Step::Start | Step::StartAgain => {
                assert!(!self.runs());
                self.become_state(StateName::Started);
                self.container.as_mut().unwrap().status = ContainerStatus::Running;
                self.starts += 1;
                if *step == Step::Start || self.registration.is_some() {
                    self.registration = Some(online(false));
                }
            }
            Step::Deregister { id } => {
                assert!(!self.runs() || !self.worker, "a registration is given back under a job");
                assert_eq!(*id, RegistrationId(7));
                if busy {
                    self.refused = Some((at(self.now), "busy".into()));
                } else {
                    self.registration = None;
                    if let Some(row) = &mut self.row {
                        row.registration = RegistrationHold::Gone;
                    }
                }
            }
            Step::Stop { with_job } => {
                assert!(self.runs());
                assert!(task.force || (!with_job && !busy && self.quiet >= QUIET_LOOKS), "a job is ended");
                if task.goal == Goal::Gone && !task.force {
                    assert_eq!(self.registration, None, "its container ends before its registration");
                }
                self.become_state(StateName::Stopped);
                self.container.as_mut().unwrap().status = EXITED;
                self.worker = false;
                self.registration = self.registration.take().map(|_| offline());
            }
            Step::RemoveContainer => {
                assert!(!self.runs(), "what runs is removed");
                self.container = None;
                self.row.as_mut().unwrap().container = None;
            }
            Step::Close => {
                assert!(self.container.is_none());
                self.become_state(StateName::Removed);
                self.row.as_mut().unwrap().container = None;
            }
            Step::Record { state, registration, .. } => {
                self.become_state(*state);
                let row = self.row.as_mut().unwrap();
                if let Some(id) = registration {
                    row.registration = RegistrationHold::Held(*id);
                }
                if self.container.is_none() {
                    row.container = None;
                }
            }
            Step::Wait(_) => {
                self.now += 5;
                if self.now > 20 {
                    self.worker = false;
                    if let Some(registration) = &mut self.registration {
                        registration.busy = false;
                    }
                }
                // An agent that is not here is noticed to be gone.
                if self.now > 60 && !self.runs() {
                    self.registration = self.registration.take().map(|_| offline());
                }
            }
            Step::Done | Step::Blocked(_) | Step::GiveUp(_) => unreachable!("ends before"),
        }
    }

    fn is_at(&self, goal: Goal) -> bool {
        let state = self.row.as_ref().map(|row| row.state.name);
        match goal {
            Goal::Up { renew } => {
                self.runs()
                    && self.registration.as_ref().is_some_and(|it| it.status == RegistrationStatus::Online)
                    && matches!(state, Some(StateName::Started | StateName::Running))
                    && !(renew && self.container.as_ref().is_some_and(|found| found.outdated.is_some()))
            }
            Goal::Down => !self.runs() && matches!(state, None | Some(StateName::Stopped | StateName::Removed)),
            Goal::Gone => self.container.is_none() && matches!(state, None | Some(StateName::Removed)),
        }
    }
}

fn every_world() -> Vec<World> {
    use StateName::{Created, Error, Removed, Running, Started, Stopped};
    let mut rows = vec![None];
    for state in [Created, Started, Running, Stopped, Removed, Error] {
        for hold in HOLDS {
            for container in [true, false] {
                rows.push(Some(row(state, container, hold)));
            }
        }
    }
    let mut containers = vec![None];
    for status in [ContainerStatus::Created, ContainerStatus::Running, EXITED] {
        for outdated in [None, Some("its image".to_owned())] {
            containers.push(Some(Found { status: status.clone(), outdated, restarts: 0 }));
        }
    }
    let registrations = [None, Some(online(false)), Some(online(true)), Some(offline())];
    let mut worlds = Vec::new();
    for row in &rows {
        for container in &containers {
            for registration in &registrations {
                for worker in [false, true] {
                    let runs = container.as_ref().is_some_and(|found| found.status == ContainerStatus::Running);
                    if worker && !runs {
                        continue;
                    }
                    worlds.push(World {
                        row: row.clone(),
                        container: container.clone(),
                        registration: registration.clone(),
                        worker,
                        now: 0,
                        quiet: 0,
                        starts: 0,
                        refused: None,
                    });
                }
            }
        }
    }
    worlds
}

/// What a world looks like, for a test that fails.
fn told(world: &World) -> String {
    let row = world.row.as_ref().map(|row| (row.state.name, row.registration, row.container.is_some()));
    let registration = world.registration.as_ref().map(|it| (it.status, it.busy));
    format!("row {row:?}, container {:?}, GitHub {registration:?}, worker {}", world.container, world.worker)
}

#[test]
fn from_everything_that_can_be_seen_every_goal_is_reached_by_legal_changes() {
    for force in [false, true] {
        for goal in [UP, RENEW, Goal::Down, Goal::Gone] {
            for mut world in every_world() {
                let began = told(&world);
                let task = Task { force, ..task(goal) };
                let mut path = Vec::new();
                loop {
                    world.quiet = if is_quiet(&world.seen(), at(world.now)) { world.quiet + 1 } else { 0 };
                    let step = next(&task, &world.seen(), at(world.now));
                    path.push(format!("{step:?}"));
                    match &step {
                        Step::Done => {
                            assert!(world.is_at(goal), "{goal:?} from {began}: {path:#?}");
                            break;
                        }
                        // A container that runs without ever coming online is told of, and made anew the next time.
                        Step::GiveUp(given) => {
                            let silent = given.why.contains("timeouts.online");
                            assert!(silent && matches!(goal, Goal::Up { .. }), "{goal:?} from {began}: {path:#?}");
                            break;
                        }
                        Step::Blocked(why) => panic!("{goal:?} from {began}: blocked by {why}"),
                        step => world.take(&task, step),
                    }
                    assert!(path.len() < 100, "{goal:?} from {began}: {path:#?}");
                }
            }
        }
    }
}

#[test]
fn nothing_that_cannot_be_taken_back_follows_from_what_was_not_seen() {
    let unknown = || "no answer".to_owned();
    let ends =
        |step: &Step| matches!(step, Step::Stop { .. } | Step::RemoveContainer | Step::Deregister { .. } | Step::Close);
    for goal in [UP, RENEW, Goal::Down, Goal::Gone] {
        for world in every_world() {
            let engine_away = Seen { container: Observed::Unknown(unknown()), ..world.seen() };
            for force in [false, true] {
                let step = next(&Task { force, ..task(goal) }, &engine_away, at(1));
                assert!(matches!(step, Step::Blocked(_)), "{step:?}");
            }
            let quiet = Seen { quiet: QUIET_LOOKS, ..world.seen() };
            if world.runs() {
                let no_process_list = Seen { worker: Observed::Unknown(unknown()), ..quiet.clone() };
                let step = next(&task(goal), &no_process_list, at(1));
                assert!(!ends(&step), "{goal:?} {}: {step:?}", told(&world));
            }
            if matches!(goal, Goal::Up { .. }) {
                let github_away = Seen { registration: Observed::Unknown(unknown()), ..quiet };
                let step = next(&task(goal), &github_away, at(1));
                // A row without container or registration behind it may be closed: nothing is lost by that.
                assert!(!ends(&step) || step == Step::Close, "{goal:?} {}: {step:?}", told(&world));
            }
        }
    }
}
