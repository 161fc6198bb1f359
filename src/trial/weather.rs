//! What goes wrong in a run, and how often: drawn from the seed. Some runs have nothing of it, some have a little of one kind, a
//! few have all of it at once.

use super::dice::Dice;
use std::fmt;

/// How often each thing goes wrong: in 10 000 calls, or times in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// Of 10 000 calls of the store: refused, slow, and done with the answer lost.
    pub store: Rates,
    /// The same of calls of GitHub's API.
    pub github: Rates,
    /// GitHub refuses for its limits, of 10 000 calls.
    pub github_limits: u32,
    /// The same of calls of the engine.
    pub engine: Rates,
    /// News from the engine come late, of 10 000.
    pub late_news: u32,
    /// Of 10 000 agents: they never come online.
    pub never_online: u32,
    /// They end before they are online.
    pub stillborn: u32,
    /// They die in their job.
    pub dies_in_job: u32,
    /// Deliveries: lost, late, repeated, of 10 000.
    pub lost: u32,
    /// See above.
    pub late: u32,
    /// See above.
    pub repeated: u32,
    /// The receiver's answer is lost.
    pub answer_lost: u32,
    /// What happens to whole machines and services, so many times in a run.
    pub times: Times,
}

/// Of 10 000 calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Nothing is done, and that is said.
    pub refused: u32,
    /// It is done, and an error comes.
    pub answer_lost: u32,
    /// It takes its time.
    pub slow: u32,
}

/// So many times in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Jobs are cancelled.
    pub cancels: u64,
    /// Jobs are run again.
    pub reruns: u64,
    /// Somebody else's runner takes a job.
    pub steals: u64,
    /// The program is killed somewhere between two of its calls.
    pub kills: u64,
    /// It is told to end, and is started again.
    pub stops: u64,
    /// It stands still, and goes on later.
    pub pauses: u64,
    /// A container's process is killed.
    pub deaths: u64,
    /// Somebody removes a container.
    pub removals: u64,
    /// The engine is restarted.
    pub engine_restarts: u64,
    /// The engine's events end.
    pub feed_cuts: u64,
    /// The store's feed of changes ends.
    pub store_feed_cuts: u64,
    /// GitHub's API is away.
    pub github_away: u64,
    /// The store is away.
    pub store_away: u64,
    /// All tokens lapse at once.
    pub lapses: u64,
    /// A machine's clock jumps.
    pub jumps: u64,
    /// Somebody sends what GitHub did not.
    pub forgeries: u64,
    /// An old delivery is sent again.
    pub redeliveries: u64,
    /// The configuration changes, with a restart.
    pub changes: u64,
    /// Somebody deletes a registration on GitHub's page.
    pub deregistrations: u64,
    /// Of two machines one is gone for good, with its engine.
    pub losses: u64,
}

impl Weather {
    /// Nothing goes wrong.
    pub fn calm() -> Self {
        Self::default()
    }

    /// Drawn from the seed. Each family is there in about a third of the runs; one run in ten has none.
    pub(super) fn draw(dice: &Dice) -> Self {
        if dice.happens(1000) {
            return Self::calm();
        }
        let storm = dice.happens(1500);
        let there = || storm || dice.happens(3000);
        let rate = || {
            let rates = [20, 100, 500, 1500];
            if there() { dice.one_of(&rates).copied().unwrap_or(0) } else { 0 }
        };
        let times = |most: u64| if there() { dice.between(1, most) } else { 0 };
        let rates = || Rates { refused: rate(), answer_lost: rate(), slow: rate() };
        Self {
            store: rates(),
            github: rates(),
            github_limits: if there() { dice.one_of(&[10, 50, 200]).copied().unwrap_or(0) } else { 0 },
            engine: rates(),
            late_news: rate(),
            never_online: rate(),
            stillborn: rate(),
            dies_in_job: rate(),
            lost: rate(),
            late: rate(),
            repeated: rate(),
            answer_lost: rate(),
            times: Times {
                cancels: times(5),
                reruns: times(4),
                steals: times(4),
                kills: times(6),
                stops: times(2),
                pauses: times(3),
                deaths: times(4),
                removals: times(2),
                engine_restarts: times(3),
                feed_cuts: times(5),
                store_feed_cuts: times(4),
                github_away: times(3),
                store_away: times(3),
                lapses: times(3),
                jumps: times(2),
                forgeries: times(5),
                redeliveries: times(5),
                changes: times(2),
                deregistrations: times(2),
                losses: times(1),
            },
        }
    }
}

/// Only what there is of it.
impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{self:?}");
        let words: Vec<&str> = text
            .split([',', '{', '}'])
            .map(str::trim)
            .filter(|part| part.contains(": ") && !part.ends_with(": 0"))
            .collect();
        if words.is_empty() { f.write_str("calm") } else { f.write_str(&words.join(", ")) }
    }
}
