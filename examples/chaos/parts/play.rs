//! The play itself: a burst of jobs, two lanes that break things, and what people and GitHub do meanwhile.

use super::Wish;
use super::link::Way;
use super::order::{Between, Blow, Card, Deck, Dice, Direction, Spell};
use super::report::{Lost, Seen};
use super::stage::{INSTANCE, Links, POOLS, Stage};
use anyhow::Context;
use runnerfleet::model::JobKey;
use runnerfleet::simulation::github::{Conclusion, Handle, JobSpec, Stage as At};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How often it is looked at what became of jobs.
const LOOK: Duration = Duration::from_millis(250);

/// A runner's container that was ended from here or by an engine that came back, and by what. Its job fails for that.
type Doomed = RefCell<BTreeMap<String, Blow>>;

/// Plays it, and looks at what is left.
///
/// # Errors
/// A part of the play itself does not come back: `serve` ended by itself, the engine does not start any more.
pub(super) async fn play(stage: &mut Stage, wish: &Wish) -> anyhow::Result<Seen> {
    let began = Instant::now();
    let mut seen = Seen { seed: wish.seed, passes_over_forgotten: wish.once, ..Seen::default() };
    let chains = queue(&stage.github, wish);
    let doomed = Doomed::default();
    let over = Cell::new(false);
    let goes_on = || began.elapsed() < wish.faults_for && (wish.once || !over.get());

    let (blows, spells) = (RefCell::new(BTreeMap::new()), RefCell::new(BTreeMap::new()));
    let Stage { serve, redis, engine, github, links } = stage;
    let breaking = async {
        let mut hands = Hands { serve, redis, engine, links, doomed: &doomed, dice: Dice::new(wish.seed ^ 0xD1CE) };
        let lanes = tokio::try_join!(
            async {
                let mut deck = Deck::of_blows(wish.seed, wish.once);
                while let Some(card) = goes_on().then(|| deck.deal()).flatten() {
                    if hands.strike(card).await? {
                        *blows.borrow_mut().entry(card.what).or_insert(0) += 1;
                    }
                }
                anyhow::Ok(())
            },
            async {
                let mut deck = Deck::of_spells(wish.seed, wish.once);
                while let Some(card) = goes_on().then(|| deck.deal()).flatten() {
                    cast(links, card).await;
                    *spells.borrow_mut().entry(card.what).or_insert(0) += 1;
                }
                Ok(())
            }
        );
        lanes.map(|_| Instant::now())
    };
    let serving = async {
        let served = serve_all(github, chains, &doomed, wish.faults_for + wish.patience).await;
        over.set(true);
        served
    };
    let (broken, ledger) = tokio::join!(breaking, serving);
    let last_fault = broken?;
    (seen.blows, seen.spells, seen.ledger) = (blows.take(), spells.take(), ledger);
    seen.failed_deliveries = github.deliveries().iter().filter(|it| !it.ok()).count();
    seen.over_after = began.elapsed();
    seen.after_last_fault = last_fault.elapsed();
    seen.left = settle(stage, wish.patience).await;
    seen.gone_after = began.elapsed();
    seen.empty_shims = super::engine::empty_shims();
    seen.runners = stage.github.requests("POST /orgs/{org}/actions/runners/generate-jitconfig").len();
    let status = stage.serve.stop().await?;
    seen.exit = status.code();
    Ok(seen)
}

/// All jobs at once.
fn queue(github: &Handle, wish: &Wish) -> Vec<JobKey> {
    let mut dice = Dice::new(wish.seed ^ 0x10B5);
    let longest = if wish.once { 8000 } else { 4000 };
    (0..wish.jobs as usize)
        .map(|number| {
            let repository = ["acme/web", "acme/api"][number % 2];
            let spec = JobSpec::new(repository, ["self-hosted", POOLS[number % POOLS.len()]]);
            github.queue_job(spec.named(format!("build {}", number + 1)).lasting(dice.millis(200, longest)))
        })
        .collect()
}

// ---------------------------------------------------------------------------------------------------- breaking things

/// What is needed to strike at processes.
struct Hands<'a> {
    serve: &'a mut super::serve::Serve,
    redis: &'a mut crate::support::redis::RedisServer,
    engine: &'a mut super::engine::Engine,
    links: &'a Links,
    doomed: &'a Doomed,
    dice: Dice,
}

impl Hands<'_> {
    /// One blow, and what was struck is up again. False where there was nobody to strike.
    async fn strike(&mut self, card: Card<Blow>) -> anyhow::Result<bool> {
        tokio::time::sleep(card.wait).await;
        match card.what {
            Blow::Serve => {
                self.serve.kill().await?;
                tokio::time::sleep(card.lasts).await;
                let address = self.serve.up().await?;
                self.links.of(Between::Hook).leads_to(super::link::Place::Tcp(address));
            }
            Blow::Redis => {
                self.redis.kill();
                tokio::time::sleep(card.lasts).await;
                self.redis.up();
            }
            Blow::Engine | Blow::EngineThatKeeps => {
                self.engine.kill().await;
                tokio::time::sleep(card.lasts).await;
                let keeps = card.what == Blow::EngineThatKeeps;
                if !keeps {
                    let alive = self.engine.alive();
                    self.doomed.borrow_mut().extend(alive.into_iter().map(|name| (name, card.what)));
                }
                self.engine.up(keeps).await?;
            }
            Blow::Runner | Blow::RunnerAndAll => return Ok(self.strike_a_runner(card).await),
        }
        Ok(true)
    }

    async fn strike_a_runner(&mut self, card: Card<Blow>) -> bool {
        let label = format!("label=runnerfleet.instance={INSTANCE}");
        let until = Instant::now() + card.lasts * 4;
        while Instant::now() < until {
            let listed = self.engine.docker(&["ps", "--filter", &label, "--format", "{{.Names}}"]).await;
            let names: Vec<String> = listed.unwrap_or_default().lines().map(str::to_owned).collect();
            let Some(name) = self.dice.pick(&names) else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            // First, so that nobody sees its job fail before this is known.
            self.doomed.borrow_mut().insert(name.clone(), card.what);
            let verb: &[&str] = if card.what == Blow::Runner { &["kill"] } else { &["rm", "--force"] };
            if self.engine.docker(&[verb, &[name.as_str()]].concat()).await.is_ok() {
                return true;
            }
            // It had ended by itself in this moment.
            self.doomed.borrow_mut().remove(name);
        }
        false
    }
}

/// One spell, and then all is well again.
async fn cast(links: &Links, card: Card<(Between, Spell)>) {
    tokio::time::sleep(card.wait).await;
    let (between, spell) = card.what;
    let link = links.of(between);
    match spell {
        Spell::Cut => return link.cut(),
        Spell::Refused => {
            link.change(|weather| weather.refused = true);
            link.cut();
        }
        Spell::Shut(direction) => link.change(|weather| {
            if direction != Direction::Back {
                weather.there = Way::Shut;
            }
            if direction != Direction::There {
                weather.back = Way::Shut;
            }
        }),
        Spell::Slow => link.change(|weather| {
            let by = Way::Slow(card.lasts / 10);
            (weather.there, weather.back) = (by, by);
        }),
    }
    tokio::time::sleep(card.lasts).await;
    link.clear();
}

// ------------------------------------------------------------------------------------------- what others do meanwhile

/// What became of the jobs.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Jobs that were queued.
    pub(super) jobs: usize,
    /// Of these, those that succeeded in the end.
    pub(super) served: usize,
    /// How often a job failed because its container was ended from here, by what.
    pub(super) struck: BTreeMap<Blow, usize>,
    /// Jobs that ended in any other way, or never.
    pub(super) lost: Vec<Lost>,
    /// From queued to running, of the jobs as they came.
    pub(super) waits: Vec<Duration>,
    /// The same of those that were run again.
    pub(super) waits_again: Vec<Duration>,
    /// Runners that had two jobs.
    pub(super) twice: Vec<String>,
}

/// Waits until all jobs are over. One whose container was ended from here is run again, as a person would do it.
async fn serve_all(github: &Handle, jobs: Vec<JobKey>, doomed: &Doomed, at_most: Duration) -> Ledger {
    let mut ledger = Ledger { jobs: jobs.len(), ..Ledger::default() };
    let mut open: Vec<(JobKey, bool)> = jobs.into_iter().map(|job| (job, false)).collect();
    let mut had = BTreeSet::new();
    let until = Instant::now() + at_most;
    while !open.is_empty() && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        let mut still = Vec::new();
        for (key, again) in open {
            let Some(job) = github.job(key) else { continue };
            if job.stage != At::Completed {
                still.push((key, again));
                continue;
            }
            let runner = job.runner.as_ref().map(|runner| runner.name.clone());
            if let Some(started) = job.started_at {
                let waited = runnerfleet::model::age(started, job.queued_at.unwrap_or(job.created_at));
                if again { &mut ledger.waits_again } else { &mut ledger.waits }.push(waited);
            }
            if let Some(name) = runner.as_ref().filter(|name| !had.insert((*name).clone())) {
                ledger.twice.push(name.clone());
            }
            let blow = runner.as_ref().and_then(|name| doomed.borrow().get(name).copied());
            match (job.conclusion, blow) {
                (Some(Conclusion::Success), _) => ledger.served += 1,
                (_, Some(blow)) => {
                    *ledger.struck.entry(blow).or_default() += 1;
                    still.extend(github.rerun(key).map(|key| (key, true)));
                }
                (conclusion, None) => ledger.lost.push(Lost { job: key.to_string(), conclusion, runner }),
            }
        }
        open = still;
    }
    let never = open.into_iter().map(|(key, _)| Lost { job: key.to_string(), conclusion: None, runner: None });
    ledger.lost.extend(never);
    ledger
}

// ------------------------------------------------------------------------------------------------------ what is left

/// Waits until nothing is left; what still is after that.
async fn settle(stage: &Stage, patience: Duration) -> Vec<String> {
    let until = Instant::now() + patience;
    loop {
        let left = match left(stage).await {
            Ok(left) => left,
            Err(error) => vec![format!("it cannot be looked at: {error:#}")],
        };
        if left.is_empty() || Instant::now() > until {
            return left;
        }
        tokio::time::sleep(LOOK * 2).await;
    }
}

/// Everything that is one too many now, asked of GitHub, of the engine, of the kernel and of `serve`.
async fn left(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let mut left: Vec<String> = stage.registered().into_iter().map(|name| format!("registration {name}")).collect();
    let lines = async |arguments: &[&str]| -> anyhow::Result<Vec<String>> {
        Ok(stage.engine.docker(arguments).await?.lines().map(str::to_owned).collect())
    };
    for name in lines(&["ps", "--all", "--format", "{{.Names}} ({{.Status}})"]).await? {
        left.push(format!("container {name}"));
    }
    left.extend(stage.engine.alive_in_words());
    let usual = ["bridge".to_owned(), "host".to_owned(), "none".to_owned(), format!("runnerfleet-{INSTANCE}")];
    let networks = lines(&["network", "ls", "--format", "{{.Name}}"]).await?;
    left.extend(networks.into_iter().filter(|name| !usual.contains(name)).map(|name| format!("network {name}")));
    left.extend(lines(&["volume", "ls", "--quiet"]).await?.into_iter().map(|name| format!("volume {name}")));
    let rows = stage.serve.ask(&["list", "--output", "json"]).await?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&rows).context("the rows of `list`")?;
    left.extend(rows.iter().map(|row| format!("row of runner {} ({})", row["name"], row["state"])));
    Ok(left)
}
