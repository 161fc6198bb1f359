//! What is broken, in which order and for how long: pure, and all of it from the seed.
//!
//! Two lanes go side by side: one for processes, one for connections. Each deals its deck, shuffles it anew and deals it
//! again, so that every kind comes about equally often. Only the moments depend on the machine.

use std::fmt;
use std::time::Duration;

/// A connection between two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Between {
    /// `serve` and Redis.
    Redis,
    /// `serve` and the engine's API.
    Engine,
    /// `serve` and GitHub's API.
    Api,
    /// GitHub's deliveries and `serve`.
    Hook,
    /// The agents in the containers and GitHub.
    Agents,
}

impl Between {
    const ALL: [Self; 5] = [Self::Redis, Self::Engine, Self::Api, Self::Hook, Self::Agents];
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "serve - Redis",
            Self::Engine => "serve - Docker",
            Self::Api => "serve - GitHub's API",
            Self::Hook => "GitHub's deliveries - serve",
            Self::Agents => "agents - GitHub",
        })
    }
}

/// Which direction, seen from who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    There,
    Back,
    Both,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blow {
    /// `kill -9`.
    Serve,
    /// `kill -9`.
    Redis,
    /// `kill -9`, and started again as it is by default: it ends the containers that lived on.
    Engine,
    /// `kill -9`, and started again with `live-restore`: it takes them over.
    EngineThatKeeps,
    /// `docker kill`.
    Runner,
    /// `docker rm --force`.
    RunnerAndAll,
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "serve: kill -9",
            Self::Redis => "redis-server: kill -9",
            Self::Engine => "dockerd: kill -9",
            Self::EngineThatKeeps => "dockerd: kill -9, live-restore",
            Self::Runner => "a runner's container killed",
            Self::RunnerAndAll => "a runner's container removed",
        })
    }
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spell {
    /// All connections are reset.
    Cut,
    /// New ones are refused as well.
    Refused,
    /// Nothing comes through.
    Shut(Direction),
    /// Everything is late.
    Slow,
}

impl fmt::Display for Spell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "reset",
            Self::Refused => "refused",
            Self::Shut(Direction::There) => "black hole, requests",
            Self::Shut(Direction::Back) => "black hole, answers",
            Self::Shut(Direction::Both) => "black hole, both ways",
            Self::Slow => "slow",
        })
    }
}

/// One card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Card<T> {
    /// First nothing happens for so long.
    pub(super) wait: Duration,
    pub(super) what: T,
    /// Until it is mended; how late things are, where it only slows them, is a tenth of it.
    pub(super) lasts: Duration,
}

/// A small generator (SplitMix64): the same numbers from the same seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `from` to `to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    /// One of several; none of none.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() {
            return None;
        }
        let last = of.len() as u64 - 1;
        usize::try_from(self.between(0, last)).ok().and_then(|place| of.get(place))
    }

    fn shuffle<T>(&mut self, cards: &mut [T]) {
        for last in (1..cards.len()).rev() {
            let other = usize::try_from(self.between(0, last as u64)).unwrap_or(last);
            cards.swap(last, other);
        }
    }
}

/// A lane.
#[derive(Debug, Clone)]
pub(super) struct Deck<T> {
    dice: Dice,
    kinds: Vec<T>,
    left: Vec<T>,
    once: bool,
    lasts: (u64, u64),
}

impl Deck<Blow> {
    /// Blows at processes. What is killed often in the field comes twice.
    pub(super) fn of_blows(seed: u64, once: bool) -> Self {
        use Blow::{Engine, EngineThatKeeps, Redis, Runner, RunnerAndAll, Serve};
        let kinds = if once {
            vec![Serve, Redis, Engine, EngineThatKeeps, Runner, RunnerAndAll]
        } else {
            vec![Serve, Serve, Redis, Redis, Engine, EngineThatKeeps, Runner, Runner, RunnerAndAll]
        };
        Self::new(seed, kinds, once, (100, 2500))
    }
}

impl Deck<(Between, Spell)> {
    /// Spells on connections.
    pub(super) fn of_spells(seed: u64, once: bool) -> Self {
        let mut dice = Dice::new(seed ^ 0x5EED);
        let mut kinds = Vec::new();
        for between in Between::ALL {
            kinds.push((between, Spell::Cut));
            if !once {
                kinds.push((between, Spell::Refused));
                kinds.push((between, Spell::Slow));
                kinds.extend(
                    [Direction::There, Direction::Back, Direction::Both].map(|way| (between, Spell::Shut(way))),
                );
                continue;
            }
            // A short play has time for two of each: the other one is the seed's choice.
            let others = [
                Spell::Refused,
                Spell::Slow,
                Spell::Shut(Direction::There),
                Spell::Shut(Direction::Back),
                Spell::Shut(Direction::Both),
            ];
            kinds.extend(dice.pick(&others).map(|spell| (between, *spell)));
        }
        Self::new(seed.wrapping_add(1), kinds, once, (500, if once { 2500 } else { 6000 }))
    }
}

impl<T: Copy> Deck<T> {
    fn new(seed: u64, kinds: Vec<T>, once: bool, lasts: (u64, u64)) -> Self {
        let mut deck = Self { dice: Dice::new(seed), left: kinds.clone(), kinds, once, lasts };
        deck.dice.shuffle(&mut deck.left);
        deck
    }

    /// The next card; none where it is dealt once only and there is none left.
    pub(super) fn deal(&mut self) -> Option<Card<T>> {
        if self.left.is_empty() && !self.once {
            self.left.clone_from(&self.kinds);
            self.dice.shuffle(&mut self.left);
        }
        let what = self.left.pop()?;
        let wait = self.dice.millis(200, 2000);
        let lasts = self.dice.millis(self.lasts.0, self.lasts.1);
        Some(Card { wait, what, lasts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_same_seed_gives_the_same_order_and_each_kind_comes_equally_often() {
        let dealt = |seed| {
            let mut deck = Deck::of_spells(seed, false);
            (0..60).filter_map(|_| deck.deal()).collect::<Vec<_>>()
        };
        assert_eq!(dealt(1), dealt(1));
        assert_ne!(dealt(1), dealt(2));
        let mut counts = BTreeMap::new();
        for card in dealt(3) {
            *counts.entry(card.what).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 30);
        assert!(counts.values().all(|count| *count == 2), "{counts:?}");
    }

    #[test]
    fn a_short_play_has_each_blow_once_and_then_ends() {
        let mut deck = Deck::of_blows(9, true);
        let mut kinds: Vec<_> = std::iter::from_fn(|| deck.deal()).map(|card| card.what).collect();
        kinds.sort();
        assert_eq!(
            kinds,
            [Blow::Serve, Blow::Redis, Blow::Engine, Blow::EngineThatKeeps, Blow::Runner, Blow::RunnerAndAll]
        );
    }
}
