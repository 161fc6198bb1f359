//! Ends a runner of a dead manager, whose container, if it has one, is on an engine that cannot be seen from here.
//!
//! That manager may only have stood still, and come back at any moment, in the middle of making this very runner. So nothing is
//! written before GitHub gave the registration up, and the row is closed only as it was looked at: whatever its manager wrote
//! meanwhile (a registration, a start) makes it stay. `models/runners.pml` shows what either of them alone would do.

use super::take_down::Registration;
use super::{ExecuteError, Executor, Outcome};
use crate::clock;
use crate::model::{IllegalChange, RegistrationHold, Runner, RunnerName, StateName};
use tracing::{debug, info};

impl Executor {
    /// Registration first, then the row.
    pub(super) async fn take_down_elsewhere(
        &self,
        name: &RunnerName,
        failed: bool,
        cause: &str,
    ) -> Result<Outcome, ExecuteError> {
        let (mut version, Some(runner)) = self.memory.runner(name) else { return Ok(Outcome::Done) };
        if !runner.is_live() {
            return Ok(Outcome::Done);
        }
        match self.release(&runner).await? {
            Registration::Gone => {}
            Registration::Busy(message) => {
                info!(runner.name = %name, "runner {name} of {} stays: GitHub keeps it: {message}", runner.owner);
                return Ok(Outcome::NotDone);
            }
            Registration::Later => return Ok(Outcome::NotDone),
        }
        let Ok(steps) = to_its_end(&runner, failed, cause) else { return Ok(Outcome::Done) };
        for step in steps {
            if self.save(version, step).await?.is_err() {
                debug!(runner.name = %name, "runner {name} was changed while it was taken down: it is looked at again");
                return Ok(Outcome::NotDone);
            }
            version += 1;
        }
        info!(runner.name = %name, "runner {name} ends: {cause}");
        Ok(Outcome::Done)
    }
}

/// Its rows from now to `removed`.
fn to_its_end(runner: &Runner, failed: bool, cause: &str) -> Result<Vec<Runner>, IllegalChange> {
    let mut rows = Vec::new();
    let mut last = runner.clone();
    let on_the_way = match runner.state.name {
        StateName::Created | StateName::Started | StateName::Running if failed => Some(StateName::Error),
        StateName::Started | StateName::Running => Some(StateName::Stopped),
        StateName::Created | StateName::Stopped | StateName::Error | StateName::Removed => None,
    };
    if let Some(state) = on_the_way {
        last = last.become_state(state, cause, clock::now())?;
        last.registration = RegistrationHold::Gone;
        rows.push(last.clone());
    }
    let mut last = last.become_state(StateName::Removed, cause, clock::now())?;
    last.registration = RegistrationHold::Gone;
    last.container = None;
    rows.push(last);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HostId, PoolName, Scope};
    use jiff::Timestamp;

    #[test]
    fn from_each_state_the_machine_has_the_way() {
        let row = Runner::intended(
            RunnerName::new("linux-7"),
            PoolName::new("linux"),
            Scope::Organization("acme".into()),
            HostId::new("there"),
            "image".into(),
            None,
            Timestamp::UNIX_EPOCH,
            "a test",
        );
        for state in [StateName::Created, StateName::Started, StateName::Running, StateName::Stopped, StateName::Error]
        {
            for failed in [false, true] {
                let mut row = row.clone();
                row.state.name = state;
                let rows = to_its_end(&row, failed, "its manager is gone").unwrap();
                let last = rows.last().unwrap();
                assert_eq!((last.state.name, last.registration), (StateName::Removed, RegistrationHold::Gone));
            }
        }
    }
}
