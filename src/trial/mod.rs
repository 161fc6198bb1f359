//! Whole lives of a fleet, each from one number.
//!
//! The program's own planner, loops, executor, ingest, receiver, GitHub client and embedded store run against the simulated
//! GitHub, a simulated engine and a clock that only moves when everybody waits, in one thread. The number decides what happens and
//! what goes wrong; the same number gives the same run, to the last line of its trace. `judge` says what must hold.
//!
//! ```text
//! script (jobs, people, misfortunes) ──> machines ── program.rs: the loops of `serve`
//!                                           │             │ every call to the outside goes through life.rs,
//!                                           │             │ which can refuse it, lose its answer, or kill the process
//!                        engine.rs, agent.rs┘             ├── stores.rs ── durable::embedded, in the caller's thread
//!                                                         └── roads.rs  ── simulation::github
//! ```

mod agent;
mod dice;
mod engine;
mod fleet;
mod judge;
mod life;
mod program;
mod roads;
mod script;
mod stage;
mod stores;
mod trace;
mod weather;

pub use judge::Figures;
pub use weather::{Rates, Times, Weather};

use crate::clock;
use crate::model::after;
use crate::simulation::github::{Options as GitHubOptions, SimulatedGitHub, WebhookTarget};
use dice::Dice;
use engine::Engine;
use judge::Judge;
use program::Machine;
use roads::FromGitHub;
use stage::{EPOCH, Stage};
use std::sync::Arc;
use std::time::Duration;
use trace::Trace;

/// How often is looked whether all is over.
const LOOK: Duration = Duration::from_secs(10);

/// How long it must then stay as it is.
const STAYS: Duration = Duration::from_secs(4 * 60);

/// What is wanted of a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether the trace's lines are kept.
    pub trace: bool,
    /// What goes wrong; drawn from the seed where none is given.
    pub weather: Option<Weather>,
    /// The program does not look into GitHub's log, nor at its jobs: what is lost stays lost.
    pub no_recovery: bool,
}

/// How a run went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its number.
    pub seed: u64,
    /// What did not hold.
    pub violation: Option<String>,
    /// One number for all that happened.
    pub hash: u64,
    /// How many lines the trace has.
    pub lines: u64,
    /// The lines, if they were wanted.
    pub trace: Vec<String>,
    /// What went wrong, for a person.
    pub weather: String,
    /// How many managers there were.
    pub managers: usize,
    /// Jobs that there were.
    pub jobs: usize,
    /// How long it was, on its own clock.
    pub lasted: Duration,
    /// What it came to.
    pub figures: Figures,
}

/// Plays one run.
///
/// # Errors
/// The run could not begin: there is no key, or no runtime.
pub fn run(seed: u64, options: &Options) -> Result<Outcome, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| format!("starting the runtime: {error}"))?;
    let began = {
        let _within = runtime.enter();
        tokio::time::Instant::now()
    };
    // Whoever has no clock of its own goes by this one: GitHub, the agents, the script.
    let true_clock: clock::Clock = Arc::new(move || after(EPOCH, began.elapsed()));
    clock::by(Some(true_clock), || runtime.block_on(play(seed, options)))
}

async fn play(seed: u64, options: &Options) -> Result<Outcome, String> {
    let dice = Dice::new(seed, "run");
    let weather = options.weather.clone().unwrap_or_else(|| Weather::draw(&dice));
    let (mut config, app) = fleet::draw(&dice)?;
    if options.no_recovery {
        (config.github.poll_deliveries, config.github.poll_jobs) = (None, None);
    }
    let hosts: &[&str] = if dice.happens(3000) { &["one", "two"] } else { &["here"] };
    let machines: Vec<Arc<Machine>> = hosts
        .iter()
        .map(|host| Arc::new(Machine::new(host, Engine::new(seed, host), fleet::on(&config, host))))
        .collect();
    let judge = Judge::new(&config);
    let stage =
        Arc::new(Stage::new(seed, Trace::new(options.trace), judge, machines, config.store.visibility_timeout)?);
    stage.note(&format!("weather: {weather}"));
    set_up(&stage, app, seed);
    stage.set_weather(weather.clone());
    script::disturb_deliveries(&stage, seed);
    for machine in &stage.machines {
        machine.engine.belongs_to(&stage);
        tokio::spawn(machine.clone().supervise(stage.clone()));
    }
    let until = dice.seconds(5 * 60, 20 * 60);
    let script = script::write(&dice, &weather, &config, hosts.len(), until);
    let grows = dice.happens(1000);
    tokio::select! {
        biased;
        () = stage.judge.over.cancelled() => {}
        () = perform(&stage, script, until) => {
            if let Err(why) = come_to_rest(&stage).await {
                stage.judge.fail(&stage, &why);
            } else if grows {
                tokio::time::sleep(config.store.retention + Duration::from_secs(30 * 60)).await;
                stage.judge.grown(&stage, &config);
            }
            stage.judge.always(&stage);
        }
    }
    let (hash, lines) = stage.trace.sum();
    let outcome = Outcome {
        seed,
        violation: stage.judge.violation(),
        hash,
        lines,
        trace: stage.trace.lines(),
        weather: weather.to_string(),
        managers: hosts.len(),
        jobs: stage.github().jobs().len(),
        lasted: stage.elapsed(),
        figures: stage.judge.figures(),
    };
    for machine in &stage.machines {
        machine.forget();
    }
    Ok(outcome)
}

fn set_up(stage: &Arc<Stage>, app: crate::simulation::github::App, seed: u64) {
    let recipient = Arc::new(FromGitHub::default());
    // It is set here alone.
    let _ = recipient.stage.set(Arc::downgrade(stage));
    let webhook = WebhookTarget { url: "http://simulated/webhook".to_owned(), secret: Some(fleet::hook_secret()) };
    let mut options = GitHubOptions { webhook: Some(webhook), seed, recorded: false, ..GitHubOptions::acme(app) };
    options.timings.busy_lag = Duration::from_secs(stage.dice.below(60));
    let github = SimulatedGitHub::within(options, recipient);
    let _ = stage.github.set(Arc::new(github));
}

/// All that happens, and then nothing more.
async fn perform(stage: &Arc<Stage>, script: Vec<(Duration, script::Happening)>, until: Duration) {
    for (at, happening) in script {
        tokio::time::sleep(at.saturating_sub(stage.elapsed())).await;
        happening.happen(stage, until);
    }
    tokio::time::sleep(until.saturating_sub(stage.elapsed())).await;
    stage.note("* calm");
    stage.set_calm();
    stage.github().choose_webhook_faults(None);
    // Waiting jobs would wait for ever.
    let waiting: Vec<_> = stage.github().look(|model| model.jobs().map(|job| job.key).collect());
    for job in waiting {
        stage.github().approve(job);
    }
}

/// Waits until everything is as it must be in the end, and whether it stays so.
async fn come_to_rest(stage: &Arc<Stage>) -> Result<(), String> {
    let began = stage.elapsed();
    // In the smallest fleet they run one after the other.
    let line: Duration = stage.github().look(|model| {
        let open = model.jobs().filter(|job| job.stage != crate::simulation::github::Stage::Completed);
        open.map(|job| job.spec.duration + fleet::OVERHEAD).sum()
    });
    loop {
        tokio::time::sleep(LOOK).await;
        let open = stage.judge.unsettled(stage).await;
        let late = stage.elapsed().saturating_sub(began);
        match &open[..] {
            [] => break,
            _ if late > line + fleet::PATIENCE_WITH_ROWS => {}
            _ if late > line + fleet::PATIENCE && open.iter().any(|what| !judge::is_of_a_row(what)) => {}
            _ => continue,
        }
        return Err(format!("{} s after the last fault: {}", late.as_secs(), open.join("; ")));
    }
    stage.note("* all is settled");
    let (settled, launches) = (stage.elapsed(), stage.judge.launches());
    while stage.elapsed().saturating_sub(settled) < STAYS {
        tokio::time::sleep(LOOK).await;
        let open = stage.judge.unsettled(stage).await;
        if !open.is_empty() || stage.judge.launches() != launches {
            let more = stage.judge.launches() - launches;
            return Err(format!("[rest] it does not stay settled ({more} runners more): {}", open.join("; ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_run() {
        for seed in 1..4 {
            let runs: Vec<(u64, u64)> =
                (0..2).map(|_| run(seed, &Options::default()).unwrap()).map(|it| (it.hash, it.lines)).collect();
            assert_eq!(runs[0], runs[1], "seed {seed}");
        }
    }
}
