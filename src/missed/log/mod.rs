//! GitHub's log of deliveries: how far it was read, and which of its entries are to be fetched. Pure.
//!
//! The log has an entry for each attempt, newest first, and comes in pages. A delivery has one GUID over all its attempts. Read
//! is always the newest page, back to where the last reading began; where that is further away than a page, the rest is a gap,
//! which is read page by page, in this round or in later ones. So what is new is never kept waiting by an outage that is being
//! made good, each round is bounded, and wherever a round is cut off, the next one goes on.

use super::report::Looked;
use super::turn::Turn;
use crate::github::{Delivery, DeliveryPage};
use crate::model::after;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// As far back as GitHub's log goes (docs, "Redelivering webhooks"; seven days on GitHub Enterprise Server).
const LOG_GOES_BACK: Duration = Duration::from_secs(3 * 24 * 3600);

/// An attempt is in the log when it is over, which may be ten seconds after one that began later; GitHub's own delay is not
/// documented. So much of what was read is looked at again.
const OVERLAP: Duration = Duration::from_secs(2 * 60);

/// An attempt that began less than this ago may still be under way: GitHub waits ten seconds for an answer.
const UNDER_WAY: Duration = Duration::from_secs(15);

/// GitHub fails a job that no runner took for so long: a `queued` from before then is no demand any more.
const QUEUED_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// Entries put aside, at most: they matter only until the log is read beyond them.
const ASIDE_MOST: usize = 2000;

/// The actions of `workflow_job` that change anything here.
const ACTIONS: &[&str] = &["queued", "waiting", "in_progress", "completed"];

/// The note in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Who reads.
    #[serde(default)]
    pub(super) turn: Turn,
    /// When it was last read to the end.
    #[serde(default)]
    pub(super) read_at: Option<Timestamp>,
    /// The moment of the newest entry that was read, by GitHub's clock.
    #[serde(default)]
    read_to: Option<Timestamp>,
    /// What lies between the newest page and what was read before.
    #[serde(default)]
    pub(super) gap: Option<Gap>,
    /// `X-GitHub-Hook-ID` of the App's hook, once a delivery showed it: with the GUID it is what the queue knows one by.
    #[serde(default)]
    pub(super) hook: String,
    /// Entries that were fetched, or looked at, and are none of ours.
    #[serde(default)]
    pub(super) aside: BTreeSet<u64>,
    /// How many deliveries were made good.
    #[serde(default)]
    pub(super) made_good: u64,
    /// When the last of them was.
    #[serde(default)]
    pub(super) last_made_good: Option<Timestamp>,
}

/// A part of the log that is still to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    /// Where its next page begins; none: at the newest.
    pub(super) cursor: Option<String>,
    /// Down to here.
    pub(super) down_to: Timestamp,
}

/// What decides whether an entry is to be fetched.
pub(super) struct View<'a> {
    /// Nothing older.
    pub(super) down_to: Timestamp,
    /// The moment of the reading.
    pub(super) now: Timestamp,
    /// Whether the log is all the intake that there is. Then it does not matter how an attempt went: nobody here had it.
    pub(super) pulls: bool,
    /// Deliveries that a receiver took at an attempt that was seen in this round.
    pub(super) taken: &'a BTreeSet<String>,
    /// Entries that are none of ours.
    pub(super) aside: &'a BTreeSet<u64>,
    /// Whose jobs are none of ours, whatever they ask for.
    pub(super) strangers: &'a Strangers,
}

/// Accounts and repositories of which nothing is served here.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Installations of the App on accounts that no pool is for.
    pub(super) installations: BTreeSet<u64>,
    /// Repositories that no pool is for.
    pub(super) repositories: BTreeSet<u64>,
}

impl State {
    /// Down to where the newest page is to be read.
    pub(super) fn down_to(&self, now: Timestamp) -> Timestamp {
        let oldest = before(now, LOG_GOES_BACK);
        self.read_to.map_or(oldest, |read_to| before(read_to, OVERLAP).max(oldest))
    }

    /// The newest page was read and dealt with; `down_to` is where the reading had to go.
    pub(super) fn newest_is_done(&mut self, page: &DeliveryPage, down_to: Timestamp) {
        self.read_to = page.deliveries.iter().map(|it| it.delivered_at).max().max(self.read_to);
        if let Some(next) = further(page, down_to) {
            // Two gaps become one: what lies between them is looked at again, and known again.
            let down_to = self.gap.as_ref().map_or(down_to, |gap| gap.down_to.min(down_to));
            self.gap = Some(Gap { cursor: Some(next), down_to });
        } else if self.gap.is_none() {
            // Nothing older is ever looked at again.
            let oldest = page.deliveries.iter().filter(|it| it.delivered_at >= down_to).map(|it| it.id).min();
            self.aside.retain(|id| oldest.is_some_and(|oldest| *id >= oldest));
        }
        self.bound();
    }

    /// The gap's next page was read and dealt with.
    pub(super) fn older_is_done(&mut self, page: &DeliveryPage) {
        if let Some(gap) = self.gap.take() {
            self.gap = further(page, gap.down_to).map(|next| Gap { cursor: Some(next), ..gap });
        }
        self.bound();
    }

    /// GitHub does not know the gap's cursor any more: it is looked for from the newest page on.
    pub(super) fn cursor_is_lost(&mut self) {
        if let Some(gap) = &mut self.gap {
            gap.cursor = None;
        }
    }

    /// The log does not go back that far any more.
    pub(super) fn age_out(&mut self, now: Timestamp) {
        if let Some(gap) = &mut self.gap {
            gap.down_to = gap.down_to.max(before(now, LOG_GOES_BACK));
        }
    }

    fn bound(&mut self) {
        while self.aside.len() > ASIDE_MOST {
            self.aside.pop_first();
        }
    }

    /// For people.
    pub(super) fn looked(&self) -> Looked {
        Looked {
            at: self.read_at,
            made_good: self.made_good,
            last_made_good: self.last_made_good,
            still_to: self.gap.as_ref().map(|gap| gap.down_to),
            trouble: None,
        }
    }
}

/// The cursor of the next page, where the reading has to go on there.
fn further(page: &DeliveryPage, down_to: Timestamp) -> Option<String> {
    let reached = page.deliveries.iter().any(|it| it.delivered_at < down_to) || page.deliveries.is_empty();
    page.next.clone().filter(|_| !reached)
}

/// The entries of a page that may tell something that is not known here; of each delivery its newest attempt. First those that
/// make demand, for a round that cannot fetch all of them; the newest of each first.
pub(super) fn candidates<'a>(page: &'a [Delivery], view: &View<'_>) -> Vec<&'a Delivery> {
    let mut taken_here: BTreeSet<&str> = BTreeSet::new();
    let mut newest: BTreeMap<&str, &Delivery> = BTreeMap::new();
    for it in page {
        if it.ok() {
            taken_here.insert(&it.guid);
        }
        let known = newest.entry(&it.guid).or_insert(it);
        if it.id > known.id {
            *known = it;
        }
    }
    let is_taken =
        |it: &Delivery| !view.pulls && (taken_here.contains(it.guid.as_str()) || view.taken.contains(&it.guid));
    let mut due: Vec<&Delivery> = newest
        .into_values()
        .filter(|it| it.delivered_at >= view.down_to && !view.aside.contains(&it.id) && !is_taken(it))
        .filter(|it| view.pulls || after(it.delivered_at, UNDER_WAY) <= view.now)
        .filter(|it| may_be_ours(it, view))
        .collect();
    due.sort_by_key(|it| (it.action.as_deref() != Some("queued"), std::cmp::Reverse(it.id)));
    due
}

/// Whether an entry can matter, by what the log itself shows of it.
fn may_be_ours(it: &Delivery, view: &View<'_>) -> bool {
    // `installation` events are not fetched: they only ring a bell, and the list behind it is read every minute.
    if it.event != "workflow_job" {
        return false;
    }
    let Some(action) = it.action.as_deref().filter(|action| ACTIONS.contains(action)) else { return false };
    let too_old = action == "queued" && after(it.delivered_at, QUEUED_AT_MOST) < view.now;
    let strange = it.installation_id.is_some_and(|id| view.strangers.installations.contains(&id))
        || it.repository_id.is_some_and(|id| view.strangers.repositories.contains(&id));
    !too_old && !strange
}

fn before(moment: Timestamp, by: Duration) -> Timestamp {
    moment.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
