//! What is told of persistent runners. Telling never waits and never fails.

use super::keeper::Inner;
use super::order::Verb;
use super::spec;
use crate::model::{Runner, RunnerName, StateName, age};
use crate::notify::event::{Event, RunnerFacts};
use std::time::Duration;

impl Inner {
    /// A runner's row changed; `before` is none for its first.
    pub(super) fn tell_changed(&self, before: Option<&Runner>, after: &Runner) {
        if let Some(event) = event(before, after, self.facts(after)) {
            self.notifier.tell(event);
        }
    }

    /// An order found nothing to do.
    pub(super) fn tell_skipped(&self, name: &RunnerName, verb: Verb, reason: &str) {
        let config = self.config();
        let facts = match (self.row(name), spec::description(&config, name)) {
            (_, Some(described)) => RunnerFacts::of(name, described.pool),
            (Some(row), None) => RunnerFacts::bare(name, &row.pool, &row.image),
            (None, None) => return,
        };
        let operation = match verb {
            Verb::Deploy => "deploy",
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
            Verb::Remove => "remove",
        };
        let (operation, reason) = (operation.to_owned(), reason.to_owned());
        self.notifier.tell(Event::RunnerSkipped { runner: facts, operation, reason });
    }

    fn facts(&self, row: &Runner) -> RunnerFacts {
        match self.config().pool(&row.pool) {
            Some(pool) => RunnerFacts::of(&row.name, pool),
            None => RunnerFacts::bare(&row.name, &row.pool, &row.image),
        }
    }
}

/// The event of a change of state; none where nobody wants to hear of it, such as a job's begin and end.
fn event(before: Option<&Runner>, after: &Runner, runner: RunnerFacts) -> Option<Event> {
    let was = before.map(|before| before.state.name);
    let reason = after.state.cause.clone();
    match after.state.name {
        StateName::Started | StateName::Running if matches!(was, Some(StateName::Started | StateName::Running)) => None,
        StateName::Started | StateName::Running => Some(Event::RunnerStarted { runner, reason }),
        StateName::Stopped => Some(Event::RunnerStopped { runner, uptime: uptime(after), reason }),
        StateName::Removed => Some(Event::RunnerRemoved { runner, reason }),
        StateName::Error => {
            let operation = match was {
                None | Some(StateName::Created | StateName::Removed) => "start",
                Some(StateName::Started | StateName::Running) => "run",
                Some(StateName::Stopped) => "stop",
                Some(StateName::Error) => "restart",
            };
            let error = match &after.evidence {
                Some(evidence) => format!("{reason} ({evidence})"),
                None => reason,
            };
            Some(Event::RunnerError { runner, operation: operation.to_owned(), error })
        }
        StateName::Created => None,
    }
}

/// How long it was up: from the last start that no end came after.
fn uptime(row: &Runner) -> Option<Duration> {
    let mut since = None;
    for change in &row.history {
        match change.to {
            StateName::Started | StateName::Running => since = since.or(Some(change.at)),
            StateName::Stopped => {}
            StateName::Created | StateName::Removed | StateName::Error => since = None,
        }
        // The last change is the stop that is being told of; stops before it ended an earlier time.
        if change.to == StateName::Stopped && change.at != row.state.since {
            since = None;
        }
    }
    since.map(|since| age(row.state.since, since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HostId, PoolName, Scope};
    use jiff::Timestamp;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn row() -> Runner {
        let mut row = Runner::intended(
            RunnerName::new("web-1"),
            PoolName::new("web"),
            Scope::Organization("acme".to_owned()),
            HostId::new("here"),
            "img".to_owned(),
            None,
            at(0),
            "asked for",
        );
        let wanted = crate::model::Wanted::Present;
        row.kept = Some(crate::model::Kept { index: 1, wanted, spec: String::new(), restarts: Vec::new() });
        row
    }

    fn told(before: &Runner, after: &Runner) -> Option<Event> {
        event(Some(before), after, RunnerFacts::bare(&after.name, &after.pool, &after.image))
    }

    #[test]
    fn a_life_is_told_and_its_jobs_are_not() {
        let created = row();
        let started = created.become_state(StateName::Started, "online", at(10)).unwrap();
        assert!(matches!(told(&created, &started), Some(Event::RunnerStarted { .. })));
        let running = started.become_state(StateName::Running, "job 7", at(20)).unwrap();
        assert_eq!(told(&started, &running), None);
        let idle = running.become_state(StateName::Started, "job 7 is over", at(30)).unwrap();
        assert_eq!(told(&running, &idle), None);
        let stopped = idle.become_state(StateName::Stopped, "stopped by hand", at(70)).unwrap();
        let Some(Event::RunnerStopped { uptime, reason, .. }) = told(&idle, &stopped) else { panic!() };
        assert_eq!((uptime, reason.as_str()), (Some(Duration::from_secs(60)), "stopped by hand"));
        // Up again: the time before does not count.
        let again = stopped.become_state(StateName::Started, "online", at(100)).unwrap();
        assert!(matches!(told(&stopped, &again), Some(Event::RunnerStarted { .. })));
        let stopped = again.become_state(StateName::Stopped, "stopped by hand", at(105)).unwrap();
        let Some(Event::RunnerStopped { uptime, .. }) = told(&again, &stopped) else { panic!() };
        assert_eq!(uptime, Some(Duration::from_secs(5)));
        let removed = stopped.become_state(StateName::Removed, "removed by hand", at(110)).unwrap();
        assert!(matches!(told(&stopped, &removed), Some(Event::RunnerRemoved { .. })));
        let broken = again.become_state(StateName::Error, "its container ended", at(106)).unwrap();
        let Some(Event::RunnerError { operation, .. }) = told(&again, &broken) else { panic!() };
        assert_eq!(operation, "run");
    }
}
