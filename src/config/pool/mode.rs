//! Whether a pool's runners live for one job or are kept, and what then has no effect.

use super::super::Mode;
use super::super::reading::{Placed, Reading};
use super::super::section::Field;
use super::super::shape::{self, PoolSettings, Runner};

/// What is wrong with `mode`, `nb` and `scaling` together.
enum Fault {
    /// `mode: persistent` without a number.
    NoNumber,
    /// A pool of the former tool without a number.
    NoNumberThere,
    /// `mode: ephemeral` with a number.
    Number,
    /// A number and `scaling`.
    Scaling,
}

/// A number makes a pool persistent; `mode: persistent` wants one, `mode: ephemeral` wants none. In a file of the former
/// tool every pool has a number, 0 as well.
fn decide(runner: &Runner, defaults: &PoolSettings, legacy: bool) -> (Mode, Option<Fault>) {
    let number: Option<u32> = runner.nb.good().and_then(|nb| nb.get());
    let own = runner.settings.mode.good().copied();
    let scaled = runner.settings.scaling.given;
    let kept = |count: u32| {
        let fault = (scaled && count > 0).then_some(Fault::Scaling);
        (Mode::Persistent { count }, fault)
    };
    if legacy && own.or(defaults.mode.good().copied()).is_none() && !scaled && !defaults.scaling.given {
        return match (&runner.nb, number) {
            (Field::Good(_), Some(count)) => kept(count),
            (Field::Absent, _) if is_short_form(runner) => kept(1),
            (Field::Absent, _) => (Mode::Persistent { count: 0 }, Some(Fault::NoNumberThere)),
            (Field::Good(_) | Field::Bad, _) => kept(0),
        };
    }
    match (own, defaults.mode.good(), number) {
        (Some(shape::Mode::Ephemeral), _, Some(count)) if count > 0 => (Mode::Ephemeral, Some(Fault::Number)),
        // In `runners_defaults` it holds for the pools that don't have a number.
        (None, _, Some(count)) if count > 0 => kept(count),
        (Some(shape::Mode::Persistent), _, number) | (None, Some(shape::Mode::Persistent), number) => {
            if runner.nb.is_absent() {
                (Mode::Persistent { count: 0 }, Some(Fault::NoNumber))
            } else {
                kept(number.unwrap_or_default())
            }
        }
        (Some(shape::Mode::Ephemeral), ..) | (None, Some(shape::Mode::Ephemeral) | None, _) => (Mode::Ephemeral, None),
    }
}

/// `{name: web, image: …, labels: […]}`: a short form that the former tool's documents showed.
fn is_short_form(runner: &Runner) -> bool {
    runner.id.placed().is_some_and(|id| id.spot.path.strip_suffix("name").is_some_and(|before| before.ends_with('.')))
}

/// Whether there is a pool whose runners live for one job. Tells nothing.
pub(super) fn any_ephemeral(runners: &[Placed<Runner>], defaults: &PoolSettings, legacy: bool) -> bool {
    runners.iter().any(|runner| matches!(decide(&runner.value, defaults, legacy), (Mode::Ephemeral, _)))
}

/// The pool's mode; tells what does not fit.
pub(super) fn mode(runner: &Runner, defaults: &PoolSettings, reading: &mut Reading<'_>) -> Mode {
    let (mode, fault) = decide(runner, defaults, reading.is_legacy());
    let nb = runner.nb.placed().map_or_else(|| runner.at.missing("nb"), |nb| nb.spot.clone());
    match fault {
        None => {}
        Some(Fault::NoNumber) => reading.problem(&nb, "is missing", "`mode: persistent` keeps `nb` runners"),
        Some(Fault::NoNumberThere) => {
            let hint = "say how many runners are kept; or write `version: 1` at the top of the file for runners that live for one job";
            reading.problem(&nb, "is missing", hint);
        }
        Some(Fault::Number) => {
            let hint = "leave `nb` out and set `scaling.min_idle` and `scaling.max`; or write `mode: persistent`";
            reading.problem(&nb, "ephemeral runners have no fixed number", hint);
        }
        Some(Fault::Scaling) => {
            let hint = "leave `scaling` out; or leave `nb` out for runners that live for one job";
            reading.problem(&runner.settings.scaling.at, "the pool keeps `nb` runners, no more and no less", hint);
        }
    }
    if reading.is_legacy()
        && let (Mode::Persistent { count }, Field::Good(id)) = (mode, &runner.id)
        && fault_free(runner, defaults)
    {
        if runner.nb.is_absent() {
            reading.note(&nb, "is missing: one runner is kept", "say how many there are");
            reading.fix_by_adding(&runner.at, &id.spot, &format!("nb: {count}"));
        } else if count == 0 && runner.settings.mode.is_absent() {
            reading.note(&nb, "`0` needs `mode: persistent` today", "it removes all runners of the pool");
            reading.fix_by_adding(&runner.at, &nb, "mode: persistent");
        }
    }
    mode
}

fn fault_free(runner: &Runner, defaults: &PoolSettings) -> bool {
    decide(runner, defaults, true).1.is_none()
}

/// Keys of the pool itself that do nothing in its mode. In `runners_defaults` they are for other pools.
pub(super) fn tell_what_has_no_effect(runner: &Runner, mode: Mode, reading: &mut Reading<'_>) {
    let own = &runner.settings;
    let for_persistent = "it is for persistent runners (`nb`)";
    match mode {
        Mode::Persistent { .. } => {
            if let Field::Good(way) = &own.registration
                && way.value == shape::Registration::Jit
            {
                let hint = "GitHub ends a runner made with `jit` after one job; leave it out";
                reading.warning(&way.spot, "has no effect: persistent runners register with a token", hint);
            }
            if let Field::Good(priority) = &own.matching.priority {
                let message = "has no effect: GitHub itself chooses among the runners that are kept";
                reading.warning(&priority.spot, message, "leave it out");
            }
        }
        Mode::Ephemeral => {
            let times = [own.timeouts.drain.placed(), own.timeouts.stop_grace.placed()];
            let kept_only = times.into_iter().flatten().map(|time| &time.spot);
            for spot in kept_only.chain(own.rollout.max_unavailable.placed().map(|count| &count.spot)) {
                reading.warning(spot, "has no effect on runners that live for one job", for_persistent);
            }
        }
    }
}
