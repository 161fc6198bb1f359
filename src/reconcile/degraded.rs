//! Which pools are in trouble, told once for each time that they get there.

use crate::config::Config;
use crate::model::PoolName;
use crate::notify::event::Event;
use crate::plan::{Plan, Why, World};
use std::collections::BTreeMap;

/// From so many failures in a row on a pool is in trouble. Fewer happen when a registry or a machine hiccups.
const FROM: u32 = 3;

/// How many failures in a row each pool was seen with last.
#[derive(Debug, Default)]
pub(super) struct Degraded(BTreeMap<PoolName, Seen>);

#[derive(Debug, Default)]
struct Seen {
    failures: u32,
    told: bool,
}

impl Degraded {
    /// Pools that got into trouble with this plan.
    pub(super) fn news(&mut self, world: &World, plan: &Plan, config: &Config) -> Vec<Event> {
        let mut news = Vec::new();
        for waiting in &plan.waiting {
            let Why::BackingOff { until, failures, last } = &waiting.why else { continue };
            let Some(pool) = world.jobs.get(&waiting.job).and_then(|job| job.pool.as_ref()) else { continue };
            let seen = self.0.entry(pool.clone()).or_default();
            if *failures < seen.failures {
                // One of its runners had a job in between.
                seen.told = false;
            }
            seen.failures = *failures;
            if *failures < FROM || std::mem::replace(&mut seen.told, true) {
                continue;
            }
            news.push(Event::PoolDegraded {
                pool: pool.clone(),
                labels: config.pool(pool).map(|pool| pool.labels.clone()).unwrap_or_default(),
                failures: *failures,
                error: last.clone(),
                retry_at: Some(*until),
            });
        }
        news
    }
}
