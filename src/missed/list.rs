//! The loop that lists the queued jobs of active repositories: it finds those of which GitHub sent nothing.

use super::jobs::{Listed as Listing, active, hold};
use super::report::{Looked, Missed};
use super::turn::{LOOK, Note, Turn};
use super::{Parts, Trouble, share};
use crate::clock;
use crate::config::GitHubAuth;
use crate::github::{Error, Listed, RepositoryFacts, RunRow};
use crate::model::{DeliveryId, JobAction, JobEvent, RepoName, after, age};
use crate::queue::{Pushed, QueuedEvent};
use crate::webhook::not_ours;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tracing::{info, warn};

/// The note's name in the store.
const NOTE: &str = "missed-jobs";

/// Repositories of one round.
const REPOSITORIES: usize = 50;

/// Runs of one repository in one round: GitHub's largest page, of those that are queued and of those under way.
const RUNS: usize = 200;

/// Pages of one run's jobs: a matrix has at most 256 (docs, "Actions limits").
const PAGES: usize = 10;

/// Questions of one round, those that GitHub answers with 304 included: below the 900 that it lets anybody ask one endpoint in a
/// minute.
const QUESTIONS: u64 = 400;

/// Fewer questions find nothing: two lists of runs, and some runs.
const WORTH_IT: u64 = 6;

/// At the start there is the most to find: it may be asked as much as in so much time.
const AT_FIRST: Duration = Duration::from_secs(10 * 60);

/// Which repositories there are is asked so often.
const REPOSITORIES_EVERY: Duration = Duration::from_secs(10 * 60);

/// The pause after a round that ended early, where GitHub says nothing of its own.
const PAUSE: Duration = Duration::from_secs(30);

/// The hook under which the queue knows what was found this way.
const HOOK: &str = "list-of-jobs";

/// The note in the store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// Who looks.
    #[serde(default)]
    turn: Turn,
    /// When it was last done.
    #[serde(default)]
    read_at: Option<Timestamp>,
    /// How many jobs were made good.
    #[serde(default)]
    made_good: u64,
    /// When the last of them was.
    #[serde(default)]
    last_made_good: Option<Timestamp>,
}

/// What an answer was, to be asked again with its `ETag`.
struct Remembered {
    etag: Option<String>,
    more: bool,
    /// Those in it, where it was a list of runs.
    runs: Vec<RunRow>,
}

/// Looks again and again.
pub(super) async fn follow(parts: Parts, missed: Missed, every: Duration) {
    let mut lister = Lister {
        parts,
        every,
        given: Vec::new(),
        given_at: None,
        remembered: BTreeMap::new(),
        asked_at: BTreeMap::new(),
        suspects: BTreeSet::new(),
    };
    let mut told = false;
    loop {
        let pause = match lister.round(&missed).await {
            Ok(pause) => {
                if std::mem::take(&mut told) {
                    info!("queued jobs are looked for again");
                }
                pause
            }
            Err(Trouble::Overtaken) => every,
            Err(trouble) => {
                // What was asked and not put in is asked for again.
                lister.remembered.clear();
                missed.tell_jobs(Looked {
                    trouble: Some(trouble.to_string()),
                    ..missed.report().jobs.unwrap_or_default()
                });
                if !std::mem::replace(&mut told, true) {
                    warn!("queued jobs are not looked for now: {trouble}");
                }
                trouble.pause(PAUSE.min(every), clock::now())
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct Lister {
    parts: Parts,
    every: Duration,
    /// The repositories that the App was given.
    given: Vec<RepositoryFacts>,
    given_at: Option<Timestamp>,
    /// By the question.
    remembered: BTreeMap<String, Remembered>,
    /// When an account was last asked about: what may be asked grows from then on.
    asked_at: BTreeMap<String, Timestamp>,
    /// What the last round showed, and was too young to be told from an event on its way.
    suspects: BTreeSet<String>,
}

/// What one round may still ask, and asked.
struct Round {
    /// At all.
    questions: u64,
    /// By account: such that count.
    counted: BTreeMap<String, u64>,
    /// What was asked: nothing else is remembered.
    asked: BTreeSet<String>,
    suspects: BTreeSet<String>,
    made_good: u64,
}

impl Lister {
    /// Looks once, if it is this manager's turn. Returns the pause until it is worth looking again.
    async fn round(&mut self, missed: &Missed) -> Result<Duration, Trouble> {
        let (me, store) = (self.parts.config.host.clone(), self.parts.store.clone());
        let mut note: Note<State> = Note::read(store.as_ref(), NOTE).await?;
        missed.tell_jobs(looked(&note.value));
        let began = clock::now();
        if let Some(wait) = note.value.turn.wait(&me, self.every, began) {
            return Ok(wait.min(LOOK));
        }
        if !self.parts.memory.is_ready() {
            // What is known is not read yet: everything would be news.
            return Ok(Duration::from_secs(1).min(self.every));
        }
        note.value.turn.take(&me, began);
        note.write(store.as_ref()).await?;

        let mut round = Round {
            questions: QUESTIONS,
            counted: BTreeMap::new(),
            asked: BTreeSet::new(),
            suspects: BTreeSet::new(),
            made_good: 0,
        };
        let work = self.look(&mut note, &mut round).await;
        if matches!(work, Err(Trouble::Overtaken)) {
            return work.map(|()| self.every);
        }
        self.remembered.retain(|question, _| round.asked.contains(question));
        self.suspects = std::mem::take(&mut round.suspects);
        if round.made_good > 0 {
            match round.made_good {
                1 => info!("made good: a job of which no delivery came"),
                some => info!("made good: {some} jobs of which no delivery came"),
            }
            note.value.made_good += round.made_good;
            note.value.last_made_good = Some(clock::now());
        }
        let next = match &work {
            Ok(()) => {
                note.value.read_at = Some(clock::now());
                after(began, self.every)
            }
            Err(trouble) => after(clock::now(), trouble.pause(PAUSE.min(self.every), clock::now())),
        };
        note.value.turn.end(next);
        let ended = note.write(store.as_ref()).await;
        missed.tell_jobs(looked(&note.value));
        work?;
        ended?;
        Ok(age(next, clock::now()))
    }

    async fn look(&mut self, note: &mut Note<State>, round: &mut Round) -> Result<(), Trouble> {
        self.read_repositories().await?;
        for repository in self.repositories() {
            if note.value.turn.is_half_over(clock::now()) {
                note.value.turn.take(&self.parts.config.host, clock::now());
                note.write(self.parts.store.as_ref()).await?;
            }
            match self.look_into(&repository, round).await {
                // One may be gone, renamed or closed to us; the others are not.
                Ok(()) | Err(Trouble::GitHub(Error::NotFound { .. } | Error::Invalid { .. })) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// Which repositories the App was given, with their last pushes. A personal token names none; those of known jobs remain.
    async fn read_repositories(&mut self) -> Result<(), Trouble> {
        let config = &self.parts.config;
        let is_fresh = self.given_at.is_some_and(|at| age(clock::now(), at) < REPOSITORIES_EVERY);
        if is_fresh || matches!(config.github.auth, GitHubAuth::Token(_)) {
            return Ok(());
        }
        let accounts: BTreeSet<String> =
            config.ephemeral_pools().map(|pool| pool.scope.account().to_lowercase()).collect();
        let mut given = Vec::new();
        for account in accounts {
            match self.parts.client.repositories(&account).await {
                Ok(repositories) => given.extend(repositories),
                // Suspended, or taken off: the reconciler tells of that.
                Err(Error::NotFound { .. } | Error::Denied { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.given = given;
        self.given_at = Some(clock::now());
        Ok(())
    }

    fn repositories(&self) -> Vec<RepoName> {
        let (config, world) = (&self.parts.config, self.parts.memory.world());
        let heard = world.jobs.values().map(|job| (job.facts.repository.clone(), job.since));
        let is_ours = |repository: &RepoName| {
            let accounts = world.accounts.known();
            config.ephemeral_pools().any(|pool| pool.scope.serves(repository.as_str()))
                && accounts.is_none_or(|it| it.gives(repository) && it.bar(repository.owner()).is_none())
        };
        active(heard, &self.given, is_ours, REPOSITORIES, clock::now())
    }

    async fn look_into(&mut self, repository: &RepoName, round: &mut Round) -> Result<(), Trouble> {
        let mut runs: BTreeMap<u64, RunRow> = BTreeMap::new();
        // A run of which some jobs run and others wait is `in_progress`.
        for status in ["queued", "in_progress"] {
            let question = format!("{repository} {status}");
            if !self.may_ask(repository, &question, round) {
                return Ok(());
            }
            let etag = self.etag(&question);
            let rows = match self.parts.client.open_runs(repository, status, etag).await? {
                Listed::Same => self.same(&question, repository, round),
                Listed::Page(page) => {
                    let runs = page.items.clone();
                    self.remembered.insert(question, Remembered { etag: page.etag, more: page.more, runs: page.items });
                    runs
                }
            };
            runs.extend(rows.into_iter().map(|run| (run.id, run)));
        }
        // The newest first: the others have waited for longer, and were seen by more rounds.
        for run in runs.into_values().rev().take(RUNS) {
            self.look_into_run(repository, run, round).await?;
        }
        Ok(())
    }

    async fn look_into_run(&mut self, repository: &RepoName, run: RunRow, round: &mut Round) -> Result<(), Trouble> {
        for number in 1..=PAGES {
            let question = format!("{repository} {} {number}", run.id);
            if !self.may_ask(repository, &question, round) {
                return Ok(());
            }
            let etag = self.etag(&question);
            let more = match self.parts.client.jobs_of_run(repository, run.id, number, etag).await {
                Ok(Listed::Same) => {
                    self.same(&question, repository, round);
                    self.remembered.get(&question).is_some_and(|it| it.more)
                }
                Ok(Listed::Page(page)) => {
                    if self.take(page.items, run, round).await? {
                        let remembered = Remembered { etag: page.etag, more: page.more, runs: Vec::new() };
                        self.remembered.insert(question, remembered);
                    } else {
                        // With its `ETag` GitHub would say that nothing changed.
                        self.remembered.remove(&question);
                    }
                    page.more
                }
                // A run may be deleted.
                Err(Error::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Puts in what is news among the jobs of a run. False where one of them has to be looked at again.
    async fn take(&self, jobs: Vec<JobEvent>, run: RunRow, round: &mut Round) -> Result<bool, Trouble> {
        let mut all_judged = true;
        for mut event in jobs {
            // The list of jobs does not say it, and jobs of public repositories are not served unasked.
            event.job.private = run.private;
            match self.hold(&event) {
                Listing::Known => {}
                Listing::TooYoung => {
                    all_judged = false;
                    round.suspects.insert(guid(&event));
                }
                Listing::News => round.made_good += self.push(event).await?,
            }
        }
        Ok(all_judged)
    }

    fn hold(&self, event: &JobEvent) -> Listing {
        let memory = &self.parts.memory;
        if not_ours(&event.job, &self.parts.config).is_some() {
            return Listing::Known;
        }
        let known = memory.job(event.job.key).1;
        let has_our_runner = match &event.action {
            JobAction::InProgress { runner: Some(runner) } => memory.runner(runner).1.is_some(),
            _ => false,
        };
        let again = self.suspects.contains(&guid(event));
        hold(event, known.as_ref().map(|job| &job.state), has_our_runner, again, clock::now())
    }

    async fn push(&self, event: JobEvent) -> Result<u64, Trouble> {
        let delivery = DeliveryId { hook: HOOK.to_owned(), guid: guid(&event) };
        let pushed = self.parts.queue.push(QueuedEvent { delivery, received_at: clock::now(), event }).await?;
        Ok(u64::from(pushed == Pushed::New))
    }

    /// Whether the round may ask one more question, which it then has.
    fn may_ask(&mut self, repository: &RepoName, question: &str, round: &mut Round) -> bool {
        let account = repository.owner().to_lowercase();
        if !round.counted.contains_key(&account) {
            let share = self.share_of(&account);
            round.counted.insert(account.clone(), share);
        }
        let counted = round.counted.entry(account).or_default();
        if round.questions == 0 || *counted == 0 {
            return false;
        }
        round.questions -= 1;
        *counted -= 1;
        round.asked.insert(question.to_owned());
        true
    }

    /// What may be asked about an account in this round. Where it is next to nothing, it is saved up for a later one.
    fn share_of(&mut self, account: &str) -> u64 {
        let now = clock::now();
        let saved_for = self.asked_at.get(account).map_or(AT_FIRST, |at| age(now, *at));
        let share = share::questions(self.parts.client.left_for(account), saved_for, QUESTIONS, now);
        if share < WORTH_IT {
            return 0;
        }
        self.asked_at.insert(account.to_owned(), now);
        share
    }

    fn etag(&self, question: &str) -> Option<String> {
        self.remembered.get(question)?.etag.clone()
    }

    /// Nothing changed, which counts against no limit. The runs that the last answer had.
    fn same(&self, question: &str, repository: &RepoName, round: &mut Round) -> Vec<RunRow> {
        *round.counted.entry(repository.owner().to_lowercase()).or_default() += 1;
        self.remembered.get(question).map(|it| it.runs.clone()).unwrap_or_default()
    }
}

/// The same job in the same state is one delivery.
fn guid(event: &JobEvent) -> String {
    let word = match &event.action {
        JobAction::Queued => "queued",
        JobAction::Waiting => "waiting",
        JobAction::InProgress { .. } => "in_progress",
        JobAction::Completed { .. } => "completed",
    };
    format!("{} {word}", event.job.key)
}

fn looked(state: &State) -> Looked {
    Looked {
        at: state.read_at,
        made_good: state.made_good,
        last_made_good: state.last_made_good,
        still_to: None,
        trouble: None,
    }
}
