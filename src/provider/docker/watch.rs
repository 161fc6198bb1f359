//! The feed of news: lists, then follows the engine's events, and starts again whenever the engine was away.
//!
//! An event only says where to look; what is passed on is what the look showed. Events are asked for from a moment before
//! the list, so that nothing falls between the two, and everything is listed again once a minute, since the engine drops
//! events for a reader that is slow.

use super::connection::{Failure, LOOK_UP};
use super::{Docker, labels};
use crate::model::ContainerId;
use crate::provider::{ContainerNews, ProviderError};
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use jiff::SignedDuration;
use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// News that nobody has read yet. A reader that is slower holds the feed back; the next list makes good what it missed.
const UNREAD: usize = 256;

/// Everything is looked at again after this time.
const AGAIN: Duration = Duration::from_secs(60);

/// Waits between two attempts to reach the engine.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Events from so long before the list are asked for; the engine keeps the last 256.
const BEFORE: SignedDuration = SignedDuration::from_secs(2);

/// Looked at so many at a time.
const AT_ONCE: usize = 8;

/// A network without a container is left alone for so long: creating the container may include pulling its image.
const SWEEP_AFTER: Duration = Duration::from_secs(20 * 60);

/// Events that can change what we know. Others (`exec_*`, `top`, `attach`) would answer our own looks with news.
const EVENTS: [&str; 10] =
    ["create", "start", "restart", "die", "stop", "oom", "pause", "unpause", "rename", "destroy"];

type Events = Pin<Box<dyn Stream<Item = Result<EventMessage, bollard::errors::Error>> + Send>>;

/// Why following stopped.
enum End {
    /// Nobody listens any more.
    NoReader,
    /// The engine went away.
    Lost(String),
}

impl From<ProviderError> for End {
    fn from(error: ProviderError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        ProviderError::from(failure).into()
    }
}

/// Starts the feed.
pub(super) fn spawn(docker: Docker) -> mpsc::Receiver<ContainerNews> {
    let (sender, receiver) = mpsc::channel(UNREAD);
    tokio::spawn(async move {
        let mut wait = BACK_OFF.0;
        let mut lost = false;
        loop {
            let mut listed = false;
            let end = tokio::select! {
                () = sender.closed() => return,
                end = follow(&docker, &sender, &mut listed) => end,
            };
            let why = match end {
                End::NoReader => return,
                End::Lost(why) => why,
            };
            docker.connection.forget();
            if listed {
                (wait, lost) = (BACK_OFF.0, false);
            }
            // Told once for each time that it was away.
            if !lost {
                lost = true;
                warn!("lost sight of the containers: {why}");
                if sender.send(ContainerNews::Lost(why)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACK_OFF.1),
            }
        }
    });
    receiver
}

/// From the list to the end of the engine's events.
async fn follow(docker: &Docker, sender: &mpsc::Sender<ContainerNews>, listed: &mut bool) -> End {
    match try_follow(docker, sender, listed).await {
        Err(end) => end,
        Ok(never) => match never {},
    }
}

async fn try_follow(
    docker: &Docker,
    sender: &mpsc::Sender<ContainerNews>,
    listed: &mut bool,
) -> Result<std::convert::Infallible, End> {
    let mut events = subscribe(docker).await?;
    let mut touched = Vec::new();
    {
        let mut list = std::pin::pin!(docker.list_all(docker.filter()));
        let all = loop {
            tokio::select! {
                event = events.next() => touched.extend(id_of(next(docker, event)?)),
                all = &mut list => break all?,
            }
        };
        send(sender, ContainerNews::All(all)).await?;
    }
    *listed = true;
    tend(docker).await;
    pass_on(docker, sender, touched).await?;
    let mut again = tokio::time::interval_at(tokio::time::Instant::now() + AGAIN, AGAIN);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => {
                let mut touched: Vec<_> = id_of(next(docker, event)?).into_iter().collect();
                // A container's end is three events in a row: one look is enough.
                while let Some(more) = events.next().now_or_never() {
                    touched.extend(id_of(next(docker, more)?));
                }
                pass_on(docker, sender, touched).await?;
            }
            _ = again.tick() => {
                send(sender, ContainerNews::All(docker.list_all(docker.filter()).await?)).await?;
                tend(docker).await;
            }
        }
    }
}

async fn subscribe(docker: &Docker) -> Result<Events, End> {
    let since = docker.engine_time().await?.saturating_sub(BEFORE).map_err(|error| End::Lost(error.to_string()))?;
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("label".to_owned(), vec![format!("{}={}", labels::INSTANCE, docker.instance)]),
        ("event".to_owned(), EVENTS.map(str::to_owned).to_vec()),
    ]);
    let options = EventsOptions { since: Some(since.as_second().to_string()), until: None, filters: Some(filters) };
    let client = docker.connection.client().await?;
    Ok(client.events(Some(options)).boxed())
}

fn next(docker: &Docker, event: Option<Result<EventMessage, bollard::errors::Error>>) -> Result<EventMessage, End> {
    match event {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) => Err(docker.connection.failure(error).into()),
        None => Err(End::Lost("the engine ended its events: it is stopping".to_owned())),
    }
}

fn id_of(event: EventMessage) -> Option<ContainerId> {
    event.actor.and_then(|actor| actor.id).map(ContainerId::new)
}

/// Looks at each container that events told of, and passes on what there is.
async fn pass_on(
    docker: &Docker,
    sender: &mpsc::Sender<ContainerNews>,
    mut touched: Vec<ContainerId>,
) -> Result<(), End> {
    touched.sort();
    touched.dedup();
    let mut looks = stream::iter(touched.into_iter().map(|id| async move {
        let look = docker.look(&id).await;
        (id, look)
    }))
    .buffered(AT_ONCE);
    while let Some((id, look)) = looks.next().await {
        let news = match look? {
            Some(container) => ContainerNews::Changed(container),
            None => ContainerNews::Gone(id),
        };
        send(sender, news).await?;
    }
    Ok(())
}

async fn send(sender: &mpsc::Sender<ContainerNews>, news: ContainerNews) -> Result<(), End> {
    sender.send(news).await.map_err(|_| End::NoReader)
}

/// What is looked after on the way: the firewall's rule, and networks whose runner never came to be.
async fn tend(docker: &Docker) {
    docker.firewall.tend(docker.connection.is_local()).await;
    let swept = tokio::time::timeout(LOOK_UP, docker.sweep_networks(SWEEP_AFTER)).await;
    if let Ok(Err(why)) = swept {
        debug!("networks were not swept: {why}");
    }
}
