//! What happens in a run, and when: jobs, people, and misfortunes of whole machines.

use super::dice::Dice;
use super::fleet::{self, POOLS};
use super::stage::Stage;
use super::weather::Weather;
use crate::config::Config;
use crate::model::Scope;
use crate::simulation::github::{Conclusion, JobSpec, Outage, Stage as JobStage, WebhookFault};
use crate::simulation::protocol::Ending;
use crate::simulation::sign;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Job { approved_after: Option<Duration>, spec: Box<JobSpec> },
    Cancel,
    Rerun,
    Steal,
    Kill(u64),
    Stop,
    Pause(Duration),
    Death,
    Removal,
    EngineRestart { live_restore: bool, lasts: Duration },
    FeedCut,
    StoreFeedCut,
    GitHubAway(Duration),
    StoreAway(Duration),
    Lapse,
    Jump { by: i64, lasts: Duration },
    Forgery,
    Redelivery,
    Change,
    Deregistration,
    Loss,
}

/// All of a run, in the order in which it happens; it is over at `until`.
pub(super) fn write(
    dice: &Dice,
    weather: &Weather,
    config: &Config,
    machines: usize,
    until: Duration,
) -> Vec<(Duration, Happening)> {
    let mut script = Vec::new();
    let end = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
    let some_time = || Duration::from_millis(dice.below(end));
    for _ in 0..dice.between(3, 25) {
        let approved_after = dice.happens(500).then(|| dice.seconds(1, 120));
        script.push((some_time(), Happening::Job { approved_after, spec: Box::new(job(dice, config)) }));
    }
    if dice.happens(4000) {
        // A burst, and often the first thing that happens.
        let at = if dice.happens(5000) { Duration::from_secs(1) } else { some_time() };
        for _ in 0..dice.between(5, 15) {
            script.push((at, Happening::Job { approved_after: None, spec: Box::new(job(dice, config)) }));
        }
    }
    let times = &weather.times;
    let mut often = |times: u64, what: &dyn Fn() -> Happening| {
        for _ in 0..times {
            script.push((some_time(), what()));
        }
    };
    often(times.cancels, &|| Happening::Cancel);
    often(times.reruns, &|| Happening::Rerun);
    often(times.steals, &|| Happening::Steal);
    often(times.kills, &|| Happening::Kill(dice.between(1, 60)));
    often(times.stops, &|| Happening::Stop);
    often(times.pauses, &|| Happening::Pause(dice.seconds(1, 300)));
    often(times.deaths, &|| Happening::Death);
    often(times.removals, &|| Happening::Removal);
    often(times.engine_restarts, &|| Happening::EngineRestart {
        live_restore: dice.happens(5000),
        lasts: dice.seconds(1, 60),
    });
    often(times.feed_cuts, &|| Happening::FeedCut);
    often(times.store_feed_cuts, &|| Happening::StoreFeedCut);
    often(times.github_away, &|| Happening::GitHubAway(dice.seconds(5, 240)));
    often(times.store_away, &|| Happening::StoreAway(dice.seconds(1, 120)));
    often(times.lapses, &|| Happening::Lapse);
    often(times.jumps, &|| {
        // Managers that share a store are expected to agree on the time to some seconds.
        let most = if machines > 1 { 5_000 } else { 600_000 };
        let by = i64::try_from(dice.between(1_000, most)).unwrap_or(1_000);
        Happening::Jump { by: if dice.happens(5000) { by } else { -by }, lasts: dice.seconds(10, 600) }
    });
    often(times.forgeries, &|| Happening::Forgery);
    often(times.redeliveries, &|| Happening::Redelivery);
    often(times.changes, &|| Happening::Change);
    often(times.deregistrations, &|| Happening::Deregistration);
    if machines > 1 {
        often(times.losses.min(1), &|| Happening::Loss);
    }
    script.sort_by_key(|(at, _)| *at);
    script
}

fn job(dice: &Dice, config: &Config) -> JobSpec {
    let place = usize::try_from(dice.below(config.pools.len() as u64)).unwrap_or(0);
    let mut labels = POOLS[place.min(POOLS.len() - 1)].1.to_vec();
    if dice.happens(300) {
        labels.push("mac");
    }
    let repository = if dice.happens(5000) { "acme/web" } else { "acme/api" };
    let conclusion = if dice.happens(2000) { Conclusion::Failure } else { Conclusion::Success };
    let mut spec = JobSpec::new(repository, labels).concluding(conclusion).lasting(dice.millis(100, 120_000));
    if dice.happens(200) {
        spec = spec.ending(Ending::AgentDies { code: 1 });
    }
    spec
}

/// Puts the weather into GitHub's deliveries.
pub(super) fn disturb_deliveries(stage: &Stage, seed: u64) {
    let weather = stage.weather();
    let dice = Dice::new(seed, "deliveries");
    stage.github().choose_webhook_faults(Some(Box::new(move |action| {
        if dice.happens(weather.lost) {
            // What is not even in GitHub's log can be made good for jobs that are known, and for no other.
            let never = action != Some("queued") && dice.happens(5000);
            return Some(if never { WebhookFault::NeverSent } else { WebhookFault::Lost });
        }
        if dice.happens(weather.late) {
            return Some(WebhookFault::Late(dice.millis(500, 120_000)));
        }
        dice.happens(weather.repeated).then_some(WebhookFault::Repeated(1))
    })));
}

impl Happening {
    /// Lets it happen. What lasts for a while ends by itself, at the latest at `until`.
    pub(super) fn happen(self, stage: &Arc<Stage>, until: Duration) {
        let dice = &stage.dice;
        let github = stage.github();
        let Some(machine) = dice.one_of(&stage.machines).cloned() else { return };
        let running = machine.running();
        if !matches!(self, Self::Job { .. }) {
            stage.note(&format!("* {self:?} ({})", machine.host));
        }
        let later = |after: Duration, what: Box<dyn FnOnce() + Send>| {
            let at = after.min(until.saturating_sub(stage.elapsed()));
            tokio::spawn(async move {
                tokio::time::sleep(at).await;
                what();
            });
        };
        match self {
            Self::Job { approved_after: None, spec } => {
                let labels = spec.labels.join(",");
                let key = github.queue_job(*spec);
                stage.note(&format!("* job {key} [{labels}] is queued"));
            }
            Self::Job { approved_after: Some(wait), spec } => {
                let key = github.waiting_job(*spec);
                stage.note(&format!("* job {key} waits for its approval"));
                later(
                    wait,
                    Box::new(move || {
                        github.approve(key);
                    }),
                );
            }
            Self::Cancel => {
                let open: Vec<_> = github
                    .look(|model| model.jobs().filter(|it| it.stage != JobStage::Completed).map(|it| it.key).collect());
                if let Some(job) = dice.one_of(&open) {
                    github.cancel(*job);
                }
            }
            Self::Rerun => {
                let over: Vec<_> = github
                    .look(|model| model.jobs().filter(|it| it.stage == JobStage::Completed).map(|it| it.key).collect());
                if let Some(job) = dice.one_of(&over) {
                    github.rerun(*job);
                }
            }
            Self::Steal => {
                let open: Vec<_> = github
                    .look(|model| model.jobs().filter(|it| it.stage == JobStage::Queued).map(|it| it.key).collect());
                let name = format!("foreign-{}", dice.below(1_000_000));
                let scope = Scope::Organization("acme".to_owned());
                if let Some(job) = dice.one_of(&open)
                    && github.add_foreign_runner(&scope, &name, ["self-hosted"], true).is_some()
                {
                    github.steal(*job, &name);
                }
            }
            Self::Kill(steps) => {
                if let Some(running) = running {
                    running.life.die_in(steps);
                }
            }
            Self::Stop => machine.restart(),
            Self::Pause(lasts) => {
                if let Some(running) = running {
                    running.life.stand_still(true);
                    later(lasts, Box::new(move || running.life.stand_still(false)));
                }
            }
            Self::Death => {
                if let Some(id) = machine.engine.any_running(dice) {
                    machine.engine.kill(&id, 137);
                }
            }
            Self::Removal => {
                if let Some(id) = machine.engine.any_running(dice) {
                    machine.engine.vanish(&id);
                }
            }
            Self::EngineRestart { live_restore, lasts } => {
                machine.engine.go_away(live_restore);
                later(lasts, Box::new(move || machine.engine.come_back()));
            }
            Self::FeedCut => machine.engine.cut_feeds(),
            Self::StoreFeedCut => {
                if let Some(running) = running {
                    running.life.cut_feeds();
                }
            }
            Self::GitHubAway(lasts) => {
                github.set_outage(Outage::Api);
                later(lasts, Box::new(move || github.set_outage(Outage::None)));
            }
            Self::StoreAway(lasts) => {
                stage.set_store_away(true);
                let stage = stage.clone();
                later(lasts, Box::new(move || stage.set_store_away(false)));
            }
            Self::Lapse => github.revoke_tokens(),
            Self::Jump { by, lasts } => {
                stage.judge.clock_jumped();
                machine.set_clock_ahead(by);
                later(lasts, Box::new(move || machine.set_clock_ahead(0)));
            }
            Self::Forgery => forge(stage),
            Self::Redelivery => {
                let log = github.deliveries();
                if let Some(delivery) = dice.one_of(&log) {
                    github.deliver_again(delivery);
                }
            }
            Self::Change => {
                let mut config = (*machine.config()).clone();
                fleet::change(&mut config, dice);
                stage.judge.allow(&config);
                for machine in &stage.machines {
                    machine.set_config(fleet::on(&config, &machine.host));
                    machine.restart();
                }
            }
            Self::Loss => machine.lose(),
            Self::Deregistration => {
                let scope = Scope::Organization("acme".to_owned());
                let names: Vec<String> = github.runners(&scope).into_iter().map(|runner| runner.name).collect();
                if let Some(name) = dice.one_of(&names) {
                    github.delete_runner(name);
                }
            }
        }
    }
}

/// A delivery that GitHub did not send: it must be refused.
fn forge(stage: &Arc<Stage>) {
    let github = stage.github();
    let log = github.deliveries();
    let Some(real) = stage.dice.one_of(&log) else { return };
    let text =
        String::from_utf8_lossy(&real.payload).replace("\"queued\"", "\"in_progress\"").replace("build", "forged");
    let payload = Bytes::from(text);
    let signature = if stage.dice.happens(5000) { sign("another secret", &payload) } else { "sha256=00".to_owned() };
    let headers: Vec<(String, String)> = real
        .request_headers
        .iter()
        .filter(|(name, _)| name != "X-Hub-Signature-256" && name != "X-GitHub-Delivery")
        .cloned()
        .chain([("X-Hub-Signature-256".to_owned(), signature), ("X-GitHub-Delivery".to_owned(), "forged".to_owned())])
        .collect();
    let stage = stage.clone();
    tokio::spawn(async move {
        let Some(running) = stage.machines.iter().find_map(|machine| machine.running()) else { return };
        running.life.gate().await;
        let (status, _) = crate::webhook::deliver(&running.receiver, super::roads::fields(&headers), payload).await;
        if status.is_success() {
            stage.judge.fail(&stage, "[forgeries] a forged delivery was taken");
        }
    });
}
