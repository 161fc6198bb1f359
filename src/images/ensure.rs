//! Makes or fetches the images that pools lack, or that have changed.
//!
//! Pools whose inputs are the same share one build. Several builds go on at once, and what goes wrong with one pool keeps
//! no other from its image.

use super::inputs::Inputs;
use super::making::{Group, Member};
use super::{INSTANCE, ImageError, names};
use crate::config::{Build, Config, Pool};
use crate::model::PoolName;
use crate::provider::ProviderError;
use crate::provider::docker::Docker;
use crate::provider::docker::build::Builder;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Builds and pulls under way at once, each.
const AT_ONCE: usize = 2;

/// How it is to be done.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Options {
    /// Another base image than the file's, by pool.
    pub bases: BTreeMap<PoolName, String>,
    /// Build arguments beside those of the file.
    pub args: BTreeMap<String, String>,
    /// Every step of every build is run.
    pub no_cache: bool,
    /// Base images are pulled also where the engine has them.
    pub pull: bool,
    /// Only tells what would be done.
    pub dry_run: bool,
    /// Whether the pools run what was built from now on.
    pub move_current: bool,
    /// Which builder; the best that the engine has where none.
    pub builder: Option<Builder>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bases: BTreeMap::new(),
            args: BTreeMap::new(),
            no_cache: false,
            pull: false,
            dry_run: false,
            move_current: true,
            builder: None,
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildNews {
    /// The pool for which it is done; others may share it.
    pub pool: PoolName,
    /// What kind of news.
    pub kind: NewsKind,
    /// Which step of how many.
    pub step: Option<(u32, u32)>,
    /// One line.
    pub text: String,
    /// How much is done, as far as that can be told.
    pub percent: Option<u8>,
}

/// Kinds of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewsKind {
    /// Something that the reader should know.
    Note,
    /// A step begins or is done.
    Step,
    /// A line that a step printed.
    Output,
    /// Bytes moved.
    Progress,
}

/// What became of one pool.
#[derive(Debug)]
pub struct Ensured {
    /// The pool.
    pub pool: PoolName,
    /// Its image, or why it has none.
    pub result: Result<Done, ImageError>,
}

/// A pool's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// What was done for it.
    pub kind: Kind,
    /// The engine's id; none where only told what would be done.
    pub image: Option<String>,
    /// The tag that stays, of one that is built here; the reference of one that is pulled.
    pub reference: String,
    /// What it is built on.
    pub base: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing: it is there.
    UpToDate,
    /// Built.
    Built,
    /// It was there, built earlier or for another pool: only named.
    Named,
    /// Pulled.
    Pulled,
    /// Would be built.
    WouldBuild,
    /// Would be named.
    WouldName,
    /// Would be pulled.
    WouldPull,
}

/// The images of these pools.
///
/// # Errors
/// The engine does not answer. What goes wrong with one pool stands with that pool.
pub async fn ensure(
    config: &Config,
    docker: &Docker,
    pools: &[&Pool],
    options: &Options,
    news: &mpsc::Sender<BuildNews>,
) -> Result<Vec<Ensured>, ImageError> {
    let label = format!("{INSTANCE}={}", config.instance);
    let existing = docker.labelled_images(&label).await?;
    let mut ensured = Vec::new();
    let mut members = Vec::new();
    for gathered in gather(config, pools, options).await {
        match gathered {
            Ok(member) => members.push(member),
            Err(failed) => ensured.push(failed),
        }
    }
    for member in &members {
        for note in member.inputs.iter().flat_map(|inputs| &inputs.notes) {
            tell(news, &member.pool.name, NewsKind::Note, note.clone()).await;
        }
    }
    let fetched = fetch(config, docker, &members, options, news).await;
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for member in members {
        let failed = |why: &Fault| Ensured { pool: member.pool.name.clone(), result: Err(why.to_error()) };
        let Some(inputs) = &member.inputs else {
            // Its image is pulled, not built.
            ensured.push(match fetched.get(&member.base) {
                Some(Ok(fetched)) => Ensured { pool: member.pool.name.clone(), result: Ok(fetched.done(&member.base)) },
                Some(Err(why)) => failed(why),
                None => failed(&Fault::Refused("it was not looked for".to_owned())),
            });
            continue;
        };
        let mut ids = BTreeMap::new();
        let mut fault = None;
        for image in &inputs.images {
            match fetched.get(image) {
                Some(Ok(Fetched { id: Some(id), .. })) => {
                    ids.insert(image.clone(), id.clone());
                }
                Some(Err(why)) => fault = Some(why),
                Some(Ok(_)) | None => {}
            }
        }
        if let Some(why) = fault {
            ensured.push(failed(why));
            continue;
        }
        let digest = inputs.digest(&ids);
        let group = groups.entry(digest.clone()).or_insert_with(|| Group { digest, ids, members: Vec::new() });
        group.members.push(member);
    }
    // Boxed, so that whoever calls this may do so on any thread: the compiler sees no `Send` through the closure's types.
    let making: Vec<BoxFuture<'_, Vec<Ensured>>> =
        groups.into_values().map(|group| group.make(config, docker, &existing, options, news).boxed()).collect();
    let made: Vec<Vec<Ensured>> = stream::iter(making).buffer_unordered(AT_ONCE).collect().await;
    ensured.extend(made.into_iter().flatten());
    let place = |pool: &PoolName| pools.iter().position(|known| known.name == *pool);
    ensured.sort_by_key(|one| place(&one.pool));
    Ok(ensured)
}

/// Reads Dockerfiles and folders; a pool that builds nothing has none.
async fn gather<'a>(config: &Config, pools: &[&'a Pool], options: &Options) -> Vec<Result<Member<'a>, Ensured>> {
    let config = Arc::new(config.clone());
    let one = |pool: &'a Pool| {
        let (config, more) = (config.clone(), options.args.clone());
        let asked = options.bases.get(&pool.name).cloned();
        async move {
            let Some(build) = pool.build.clone() else {
                let base = asked.unwrap_or_else(|| pool.image.clone());
                return Ok(Member { pool, base, inputs: None });
            };
            let base = asked.or_else(|| pool.base_image.clone()).unwrap_or_default();
            let failed = |error| Ensured { pool: pool.name.clone(), result: Err(error) };
            let inputs = read(config, build, base.clone(), more).await.map_err(failed)?;
            Ok(Member { pool, base, inputs: Some(Arc::new(inputs)) })
        }
    };
    let reading: Vec<BoxFuture<'_, _>> = pools.iter().map(|pool| one(pool).boxed()).collect();
    stream::iter(reading).buffered(AT_ONCE).collect().await
}

/// [`Inputs::gather`], on a thread that may block.
pub(super) async fn read(
    config: Arc<Config>,
    build: Build,
    base: String,
    more: BTreeMap<String, String>,
) -> Result<Inputs, ImageError> {
    let path = build.dockerfile.clone();
    let gathered = tokio::task::spawn_blocking(move || Inputs::gather(&config, &build, &base, &more)).await;
    gathered.unwrap_or_else(|error| Err(ImageError::Dockerfile { path, why: error.to_string() }))
}

/// An image that is not built here.
struct Fetched {
    kind: Kind,
    id: Option<String>,
    took: Duration,
}

impl Fetched {
    fn done(&self, reference: &str) -> Done {
        Done { kind: self.kind, image: self.id.clone(), reference: reference.to_owned(), base: None, took: self.took }
    }
}

/// What went wrong with an image that several pools may want.
enum Fault {
    Missing { image: String, why: String },
    Away(String),
    Refused(String),
}

impl Fault {
    fn to_error(&self) -> ImageError {
        ImageError::Engine(match self {
            Self::Missing { image, why } => ProviderError::ImageMissing { image: image.clone(), why: why.clone() },
            Self::Away(why) => ProviderError::Unavailable(why.clone()),
            Self::Refused(why) => ProviderError::Refused(why.clone()),
        })
    }
}

impl From<ProviderError> for Fault {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Unavailable(why) => Self::Away(why),
            ProviderError::ImageMissing { image, why } => Self::Missing { image, why },
            error @ (ProviderError::NameTaken(_) | ProviderError::Refused(_)) => Self::Refused(error.to_string()),
        }
    }
}

/// Every image that the pools start from or run, once each.
async fn fetch(
    config: &Config,
    docker: &Docker,
    members: &[Member<'_>],
    options: &Options,
    news: &mpsc::Sender<BuildNews>,
) -> BTreeMap<String, Result<Fetched, Fault>> {
    let mut wanted: BTreeMap<String, (PoolName, bool)> = BTreeMap::new();
    for member in members {
        let own = BTreeSet::from([member.base.clone()]);
        let (images, may_pull) = match &member.inputs {
            Some(inputs) => (&inputs.images, true),
            None => (&own, member.pool.pull),
        };
        for image in images {
            // What is built here comes from no registry.
            let may_pull = may_pull && !image.starts_with(&names::prefix(&config.instance));
            let known = wanted.entry(image.clone()).or_insert_with(|| (member.pool.name.clone(), may_pull));
            known.1 |= may_pull;
        }
    }
    let one = |(image, (pool, may_pull)): (String, (PoolName, bool))| async move {
        let fetched = fetch_one(docker, &image, &pool, may_pull, options, news).await;
        (image, fetched)
    };
    let fetching: Vec<BoxFuture<'_, _>> = wanted.into_iter().map(|image| one(image).boxed()).collect();
    stream::iter(fetching).buffer_unordered(AT_ONCE).collect().await
}

async fn fetch_one(
    docker: &Docker,
    image: &str,
    pool: &PoolName,
    may_pull: bool,
    options: &Options,
    news: &mpsc::Sender<BuildNews>,
) -> Result<Fetched, Fault> {
    let began = tokio::time::Instant::now();
    let before = docker.image(image).await?.map(|image| image.id);
    let is_wanted = before.is_none() || options.pull;
    if !is_wanted || (before.is_some() && !may_pull) {
        return Ok(Fetched { kind: Kind::UpToDate, id: before, took: began.elapsed() });
    }
    if !may_pull {
        let why = format!("not on this engine, and this pool does not pull; `docker pull {image}` fetches it");
        return Err(Fault::Missing { image: image.to_owned(), why });
    }
    if options.dry_run {
        return Ok(Fetched { kind: Kind::WouldPull, id: before, took: Duration::ZERO });
    }
    tell(news, pool, NewsKind::Step, format!("pulling {image}")).await;
    docker
        .pull_image(image, &mut |told| {
            // Of progress, what comes too fast for the reader is left out.
            let _ = news.try_send(BuildNews {
                pool: pool.clone(),
                kind: NewsKind::Progress,
                step: None,
                text: told.text,
                percent: told.percent,
            });
        })
        .await?;
    let id = docker.image(image).await?.map(|image| image.id);
    let kind = if id == before { Kind::UpToDate } else { Kind::Pulled };
    Ok(Fetched { kind, id, took: began.elapsed() })
}

/// One line for the reader; nobody need read it.
pub(super) async fn tell(news: &mpsc::Sender<BuildNews>, pool: &PoolName, kind: NewsKind, text: String) {
    let _ = news.send(BuildNews { pool: pool.clone(), kind, step: None, text, percent: None }).await;
}
