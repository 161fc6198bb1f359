//! The loop that reads GitHub's log of deliveries, and the hands that fetch.

use super::log::{State, Strangers, View, candidates};
use super::report::{Looked, Missed};
use super::turn::{LOOK, Note};
use super::{Parts, Trouble, share};
use crate::clock;
use crate::config::IntakeMode;
use crate::github::{Delivery, DeliveryRequest, Error};
use crate::model::{DeliveryId, JobAction, after, age};
use crate::queue::{Pushed, QueuedEvent};
use crate::webhook::{TARGET_ID, TARGET_TYPE, Verdict, anothers, judge};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tracing::{debug, info, warn};

/// The note's name in the store.
const NOTE: &str = "missed-deliveries";

/// Pages of one round. With a hundred entries each, the log of a busy organization's hour; more of them are read in the next
/// rounds.
const PAGES: usize = 50;

/// Payloads that are fetched at once: each may take 16 MB on its way in.
const AT_ONCE: usize = 4;

/// Events that are written at once: they share the disk's work.
const PUSHES_AT_ONCE: usize = 16;

/// The pause after a round that ended early, where GitHub says nothing of its own.
const PAUSE: Duration = Duration::from_secs(10);

/// GitHub's list of installations is read so often, to know which entries are none of ours...
const INSTALLATIONS_EVERY: Duration = Duration::from_secs(10 * 60);

/// ...and so often where an entry names one that is not known: GitHub has named those of other Apps.
const INSTALLATIONS_AT_MOST: Duration = Duration::from_secs(60);

/// Repositories that are remembered as none of ours; beyond that all of them are looked at again.
const STRANGERS_MOST: usize = 10_000;

/// Reads again and again.
pub(super) async fn follow(parts: Parts, missed: Missed, every: Duration) {
    let pulls = parts.config.intake.mode == IntakeMode::Pull;
    let mut reader = Reader { parts, pulls, every, directory: Directory::default() };
    let mut told = false;
    loop {
        let pause = match reader.round(&missed).await {
            Ok(pause) => {
                if std::mem::take(&mut told) {
                    info!("GitHub's log of deliveries is read again");
                }
                pause
            }
            Err(Trouble::Overtaken) => every,
            Err(trouble) => {
                missed
                    .tell_log(Looked { trouble: Some(trouble.to_string()), ..missed.report().log.unwrap_or_default() });
                if !std::mem::replace(&mut told, true) {
                    warn!("GitHub's log of deliveries is not read for now: {trouble}");
                }
                trouble.pause(PAUSE.min(every), clock::now())
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct Reader {
    parts: Parts,
    pulls: bool,
    every: Duration,
    directory: Directory,
}

/// Whose installations are whose, as far as this process knows.
#[derive(Default)]
struct Directory {
    read_at: Option<Timestamp>,
    /// All of the App, by id; the account's login in lower case.
    accounts: BTreeMap<u64, String>,
    strangers: Strangers,
}

/// What one round may still do, and did.
struct Round {
    down_to: Timestamp,
    fetches: u64,
    taken: BTreeSet<String>,
    made_good: u64,
}

/// What a fetched delivery turned out to be.
enum Fetched {
    Event(Box<QueuedEvent>),
    /// None of ours; of a repository of which nothing is, its number.
    Aside {
        stranger: Option<u64>,
    },
}

impl Reader {
    /// Reads once, if it is this manager's turn. Returns the pause until it is worth looking again.
    async fn round(&mut self, missed: &Missed) -> Result<Duration, Trouble> {
        let (me, store) = (self.parts.config.host.clone(), self.parts.store.clone());
        let mut note: Note<State> = Note::read(store.as_ref(), NOTE).await?;
        missed.tell_log(note.value.looked());
        let began = clock::now();
        if let Some(wait) = note.value.turn.wait(&me, self.every, began) {
            return Ok(wait.min(LOOK));
        }
        note.value.turn.take(&me, began);
        note.write(store.as_ref()).await?;

        let work = self.read(&mut note).await;
        let left = self.parts.client.left_for_the_app();
        let pause = match &work {
            Ok(true) => share::pause(left, self.every, clock::now()),
            Ok(false) => share::pause(left, self.every.min(share::MINUTE), clock::now()),
            Err(Trouble::Overtaken) => return work.map(|_| self.every),
            Err(trouble) => trouble.pause(PAUSE.min(self.every), clock::now()),
        };
        let next = after(if work.is_ok() { began } else { clock::now() }, pause);
        if matches!(work, Ok(true)) {
            note.value.read_at = Some(clock::now());
        }
        note.value.turn.end(next);
        // What the round did is written; that its end is not only costs the others some patience.
        let ended = note.write(store.as_ref()).await;
        missed.tell_log(note.value.looked());
        work?;
        ended?;
        Ok(age(next, clock::now()))
    }

    /// The newest page, then what is left of a gap, as far as the round goes. False where something is left for the next one.
    async fn read(&mut self, note: &mut Note<State>) -> Result<bool, Trouble> {
        let client = self.parts.client.clone();
        if client.app_number().is_none() {
            client.app().await?;
        }
        if self.directory.read_at.is_none_or(|at| age(clock::now(), at) >= INSTALLATIONS_EVERY) {
            self.read_installations().await?;
        }
        let now = clock::now();
        note.value.age_out(now);
        let mut round = Round {
            down_to: note.value.down_to(now),
            fetches: share::fetches(client.left_for_the_app(), self.every),
            taken: BTreeSet::new(),
            made_good: 0,
        };
        let outcome = self.read_pages(note, &mut round).await;
        if round.made_good > 0 {
            if self.pulls {
                debug!("{} deliveries were read from GitHub's log", round.made_good);
            } else if round.made_good == 1 {
                info!("made good: a delivery that never arrived");
            } else {
                info!("made good: {} deliveries that never arrived", round.made_good);
            }
        }
        outcome
    }

    async fn read_pages(&mut self, note: &mut Note<State>, round: &mut Round) -> Result<bool, Trouble> {
        let client = self.parts.client.clone();
        let newest = client.delivery_page(None).await?;
        let done = self.deal_with(&newest.deliveries, note, round).await;
        if matches!(done, Ok(true)) {
            note.value.newest_is_done(&newest, round.down_to);
        }
        self.renew(note).await?;
        // What is not done now is on the newest pages of the next round as well.
        if !done? {
            return Ok(false);
        }
        for _ in 1..PAGES {
            let Some(gap) = note.value.gap.clone() else { return Ok(true) };
            let page = match client.delivery_page(gap.cursor.as_deref()).await {
                Err(Error::Invalid { message, .. }) if gap.cursor.is_some() => {
                    debug!("GitHub does not know the place in its log any more, and it is looked for: {message}");
                    note.value.cursor_is_lost();
                    continue;
                }
                page => page?,
            };
            round.down_to = gap.down_to;
            let done = self.deal_with(&page.deliveries, note, round).await;
            if matches!(done, Ok(true)) {
                note.value.older_is_done(&page);
            }
            self.renew(note).await?;
            if !done? {
                return Ok(false);
            }
        }
        Ok(note.value.gap.is_none())
    }

    /// Writes down how far it is, and that it goes on.
    async fn renew(&self, note: &mut Note<State>) -> Result<(), Trouble> {
        note.value.turn.take(&self.parts.config.host, clock::now());
        note.write(self.parts.store.as_ref()).await
    }

    /// Fetches what is missed of a page and puts it into the queue. False where the round may not fetch all of it.
    async fn deal_with(
        &mut self,
        page: &[Delivery],
        note: &mut Note<State>,
        round: &mut Round,
    ) -> Result<bool, Trouble> {
        self.look_up_unknown(page).await?;
        let view = View {
            down_to: round.down_to,
            now: clock::now(),
            pulls: self.pulls,
            taken: &round.taken,
            aside: &note.value.aside,
            strangers: &self.directory.strangers,
        };
        let mut due: Vec<Delivery> = candidates(page, &view).into_iter().cloned().collect();
        round.taken.extend(page.iter().filter(|it| it.ok()).map(|it| it.guid.clone()));
        self.drop_what_was_here(&mut due, &note.value.hook).await?;
        let all = due.len() as u64 <= round.fetches;
        due.truncate(usize::try_from(round.fetches).unwrap_or(usize::MAX));
        round.fetches -= due.len() as u64;

        let (mut events, mut strange, mut broke) = (Vec::new(), Vec::new(), None);
        {
            let this = &*self;
            let mut under_way = stream::iter(due).map(|it| this.fetch(it)).buffer_unordered(AT_ONCE);
            while let Some((id, fetched)) = under_way.next().await {
                match fetched {
                    Ok(Fetched::Event(event)) => {
                        note.value.hook.clone_from(&event.delivery.hook);
                        events.push((id, event));
                    }
                    Ok(Fetched::Aside { stranger }) => {
                        note.value.aside.insert(id);
                        strange.extend(stranger);
                    }
                    Err(error) => {
                        broke = Some(error);
                        break;
                    }
                }
            }
        }
        self.directory.remember(strange);
        // What was fetched is not lost with what was not.
        let new = self.push(events).await?;
        round.made_good += new;
        note.value.made_good += new;
        if new > 0 {
            note.value.last_made_good = Some(clock::now());
        }
        broke.map_or(Ok(all), |error| Err(error.into()))
    }

    /// Leaves out what the queue has had: an attempt that timed out may have arrived all the same. The queue knows a delivery by
    /// its hook as well, which the log does not show; one payload does.
    async fn drop_what_was_here(&self, due: &mut Vec<Delivery>, hook: &str) -> Result<(), Trouble> {
        if hook.is_empty() || due.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = due.iter().map(|it| DeliveryId { hook: hook.to_owned(), guid: it.guid.clone() }).collect();
        let mut seen = self.parts.queue.seen(&ids).await?.into_iter();
        due.retain(|_| !seen.next().unwrap_or(false));
        Ok(())
    }

    /// Fetches one delivery, and says what it comes to.
    async fn fetch(&self, it: Delivery) -> (u64, Result<Fetched, Error>) {
        let fetched = match self.parts.client.delivery(it.id).await {
            Ok(request) => Ok(self.look_at(&it, &request)),
            // It left the log meanwhile, or cannot be had; asking again would not help.
            Err(error @ (Error::NotFound { .. } | Error::Invalid { .. })) => {
                warn!(delivery = %it.guid, "a delivery that never arrived is lost: {error}");
                Ok(Fetched::Aside { stranger: None })
            }
            Err(error) => Err(error),
        };
        (it.id, fetched)
    }

    fn look_at(&self, it: &Delivery, request: &DeliveryRequest) -> Fetched {
        let config = &self.parts.config;
        let (kind, target) = (request.header(TARGET_TYPE), request.header(TARGET_ID));
        if let Some(why) = anothers(kind, target, self.parts.client.app_number()) {
            warn!(delivery = %it.guid, "put a delivery of GitHub's log aside: {why}");
            return Fetched::Aside { stranger: None };
        }
        // Not the bytes that were signed: GitHub shows the payload as JSON of its answer. It came from GitHub over our own
        // connection, as every answer that is believed, so a signature would add nothing.
        match judge(&it.event, request.payload.to_string().as_bytes(), config) {
            Ok(Verdict::Take(mut event)) => {
                if !self.directory.accounts.is_empty() {
                    // One that is not ours is looked up by the repository's owner instead.
                    event.job.installation =
                        event.job.installation.filter(|id| self.directory.accounts.contains_key(id));
                }
                let hook = request.header("x-github-hook-id").unwrap_or_default().to_owned();
                let delivery = DeliveryId { hook, guid: it.guid.clone() };
                Fetched::Event(Box::new(QueuedEvent { delivery, received_at: clock::now(), event: *event }))
            }
            Ok(Verdict::Ignore(why)) => {
                debug!(delivery = %it.guid, "put a delivery of GitHub's log aside: {why}");
                let repository = request.payload.pointer("/repository/full_name").and_then(|name| name.as_str());
                let served = |name: &str| config.pools.iter().any(|pool| pool.scope.serves(name));
                let is_strange = repository.is_some_and(|name| !served(name));
                Fetched::Aside { stranger: it.repository_id.filter(|_| is_strange) }
            }
            Ok(Verdict::Ping | Verdict::Installation { .. }) => Fetched::Aside { stranger: None },
            Err(error) => {
                warn!(delivery = %it.guid, "put a delivery of GitHub's log aside: {error}");
                Fetched::Aside { stranger: None }
            }
        }
    }

    /// Puts events into the queue, and says how many are news there. Ends come first, and are there before the rest begins, so that
    /// a job that is over is not taken for one that waits; then what waits, in the order in which GitHub told of it.
    async fn push(&self, mut events: Vec<(u64, Box<QueuedEvent>)>) -> Result<u64, Trouble> {
        events.sort_by_key(|(id, _)| *id);
        let (demand, ends): (Vec<_>, Vec<_>) =
            events.into_iter().map(|(_, event)| *event).partition(|event| is_demand(&event.event.action));
        Ok(self.push_side_by_side(ends).await? + self.push_side_by_side(demand).await?)
    }

    async fn push_side_by_side(&self, events: Vec<QueuedEvent>) -> Result<u64, Trouble> {
        let queue = self.parts.queue.as_ref();
        let mut pushes = stream::iter(events).map(|event| queue.push(event)).buffered(PUSHES_AT_ONCE);
        let mut new = 0;
        while let Some(pushed) = pushes.next().await {
            new += u64::from(pushed? == Pushed::New);
        }
        Ok(new)
    }

    /// Looks an installation up that nobody here has heard of.
    async fn look_up_unknown(&mut self, page: &[Delivery]) -> Result<(), Trouble> {
        let unknown = |it: &Delivery| it.installation_id.is_some_and(|id| !self.directory.accounts.contains_key(&id));
        let may_ask = self.directory.read_at.is_none_or(|at| age(clock::now(), at) >= INSTALLATIONS_AT_MOST);
        if may_ask && page.iter().any(unknown) {
            self.read_installations().await?;
        }
        Ok(())
    }

    async fn read_installations(&mut self) -> Result<(), Trouble> {
        let installations = self.parts.client.installations().await?;
        let ours: BTreeSet<String> =
            self.parts.config.pools.iter().map(|pool| pool.scope.account().to_lowercase()).collect();
        let accounts: BTreeMap<u64, String> =
            installations.into_iter().map(|it| (it.id, it.account.to_lowercase())).collect();
        let foreign = accounts.iter().filter(|(_, account)| !ours.contains(*account)).map(|(id, _)| *id).collect();
        // A repository may have been renamed or handed over since.
        let strangers = Strangers { installations: foreign, repositories: BTreeSet::new() };
        self.directory = Directory { read_at: Some(clock::now()), accounts, strangers };
        Ok(())
    }
}

impl Directory {
    fn remember(&mut self, strange: Vec<u64>) {
        if self.strangers.repositories.len() + strange.len() > STRANGERS_MOST {
            self.strangers.repositories.clear();
        }
        self.strangers.repositories.extend(strange);
    }
}

/// Whether an event may begin a runner.
fn is_demand(action: &JobAction) -> bool {
    match action {
        JobAction::Queued | JobAction::Waiting => true,
        JobAction::InProgress { .. } | JobAction::Completed { .. } => false,
    }
}
