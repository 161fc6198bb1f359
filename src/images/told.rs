//! Images as they are made, told to whoever wants to know.

use super::ImageError;
use super::ensure::{BuildNews, Ensured, Kind, NewsKind, Options, ensure};
use crate::config::{Config, Pool};
use crate::model::{PoolName, built_image};
use crate::notify::Notifier;
use crate::notify::event::{BuildFacts, Event};
use crate::provider::docker::Docker;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// As [`ensure`], with an event for each build's begin and end.
///
/// # Errors
/// As [`ensure`].
pub async fn ensure_and_tell(
    config: &Config,
    docker: &Docker,
    pools: &[&Pool],
    options: &Options,
    news: &mpsc::Sender<BuildNews>,
    notifier: &Notifier,
) -> Result<Vec<Ensured>, ImageError> {
    let began = Instant::now();
    let (sender, mut hear) = mpsc::channel(64);
    let work = async move { ensure(config, docker, pools, options, &sender).await };
    let listen = async {
        let mut begun: BTreeSet<PoolName> = BTreeSet::new();
        while let Some(told) = hear.recv().await {
            if told.kind == NewsKind::Step
                && begun.insert(told.pool.clone())
                && let Some(build) = facts(config, &told.pool, None)
            {
                notifier.tell(Event::BuildStarted { build });
            }
            // Whoever listens may have gone.
            let _ = news.send(told).await;
        }
    };
    let (ensured, ()) = tokio::join!(work, listen);
    let ensured = ensured?;
    for one in &ensured {
        tell_end(config, docker, one, began.elapsed(), notifier).await;
    }
    Ok(ensured)
}

async fn tell_end(config: &Config, docker: &Docker, one: &Ensured, took: Duration, notifier: &Notifier) {
    match &one.result {
        Ok(done) if done.kind == Kind::Built => {
            let Some(build) = facts(config, &one.pool, Some(&done.reference)) else { return };
            let image_size = docker.image(&done.reference).await.ok().flatten().map_or(0, |image| image.size);
            notifier.tell(Event::BuildCompleted { build, duration: done.took, image_size });
        }
        Ok(_) => {}
        Err(error) => {
            let Some(build) = facts(config, &one.pool, None) else { return };
            notifier.tell(Event::BuildFailed { build, duration: took, error: error.to_string() });
        }
    }
}

/// None for a pool whose image is not made here.
fn facts(config: &Config, pool: &PoolName, image: Option<&str>) -> Option<BuildFacts> {
    let repository = built_image::repository(&config.instance, pool);
    BuildFacts::of(config.pool(pool)?, image.unwrap_or(&repository))
}
