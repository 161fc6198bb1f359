//! One image, for all pools whose inputs are the same: found or built, looked at, named.

use super::ensure::{BuildNews, Done, Ensured, Kind, NewsKind, Options, tell};
use super::inputs::Inputs;
use super::verify::verify;
use super::{BASE, BASE_ID, INPUTS, INSTANCE, ImageError, POOL, current, names};
use crate::config::{Config, Pool};
use crate::model::built_image;
use crate::provider::docker::Docker;
use crate::provider::docker::build::{BuildError, BuildRequest, Builder, Heard, HeardKind};
use crate::provider::docker::images::EngineImage;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

/// A pool, and what its image is made of.
pub(super) struct Member<'a> {
    pub(super) pool: &'a Pool,
    /// The base image, or the image that it runs as it is.
    pub(super) base: String,
    /// None where nothing is built.
    pub(super) inputs: Option<Arc<Inputs>>,
}

/// Pools whose inputs are the same.
pub(super) struct Group<'a> {
    pub(super) digest: String,
    /// The engine's ids of the images that it starts from.
    pub(super) ids: BTreeMap<String, String>,
    pub(super) members: Vec<Member<'a>>,
}

impl Group<'_> {
    /// Sees to it that each of the pools has it.
    pub(super) async fn make(
        self,
        config: &Config,
        docker: &Docker,
        existing: &[EngineImage],
        options: &Options,
        news: &mpsc::Sender<BuildNews>,
    ) -> Vec<Ensured> {
        let began = Instant::now();
        let mut ensured = Vec::new();
        let mut lacking = Vec::new();
        for member in &self.members {
            match self.up_to_date(config, docker, member, options).await {
                Ok(Some(done)) => ensured.push(Ensured { pool: member.pool.name.clone(), result: Ok(done) }),
                Ok(None) => lacking.push(member),
                Err(error) => ensured.push(Ensured { pool: member.pool.name.clone(), result: Err(error) }),
            }
        }
        let Some(first) = lacking.first().copied() else { return ensured };
        let found = existing
            .iter()
            .filter(|image| !options.no_cache && image.labels.get(INPUTS) == Some(&self.digest))
            .max_by_key(|image| image.created_at);
        if options.dry_run {
            let kind = if found.is_some() { Kind::WouldName } else { Kind::WouldBuild };
            let told = lacking.iter().map(|member| {
                let done = self.done(config, member, kind, found.map(|image| image.id.clone()), Duration::ZERO);
                Ensured { pool: member.pool.name.clone(), result: Ok(done) }
            });
            ensured.extend(told);
            return ensured;
        }
        for other in &lacking[1..] {
            let text = format!("the same inputs as pool `{}`: they share one image", first.pool.name);
            tell(news, &other.pool.name, NewsKind::Note, text).await;
        }
        let image = match found {
            Some(image) => Ok(image.clone()),
            None => self.build(config, docker, first, options, news).await,
        };
        let image = match image {
            Ok(image) => image,
            Err(error) => {
                let why = error.to_string().lines().next().unwrap_or_default().to_owned();
                for other in &lacking[1..] {
                    let error = ImageError::Shared { pool: first.pool.name.clone(), why: why.clone() };
                    ensured.push(Ensured { pool: other.pool.name.clone(), result: Err(error) });
                }
                ensured.push(Ensured { pool: first.pool.name.clone(), result: Err(error) });
                return ensured;
            }
        };
        let mut is_used = found.is_some();
        for (at, member) in lacking.into_iter().enumerate() {
            let kind = if found.is_none() && at == 0 { Kind::Built } else { Kind::Named };
            let result = self.take(config, docker, member, &image, options).await;
            is_used |= result.is_ok();
            let result = result.map(|()| self.done(config, member, kind, Some(image.id.clone()), began.elapsed()));
            ensured.push(Ensured { pool: member.pool.name.clone(), result });
        }
        if !is_used && let Err(why) = docker.remove_image(&image.id).await {
            debug!("image {} stays: {why}", image.id);
        }
        ensured
    }

    /// Whether a pool runs it already.
    async fn up_to_date(
        &self,
        config: &Config,
        docker: &Docker,
        member: &Member<'_>,
        options: &Options,
    ) -> Result<Option<Done>, ImageError> {
        let current = docker.image(&built_image::current(&config.instance, &member.pool.name)).await?;
        let Some(current) = current.filter(|image| image.labels.get(INPUTS) == Some(&self.digest)) else {
            return Ok(None);
        };
        // A stranger's image under our name would be no image of ours, whatever its labels say.
        if options.no_cache || current.labels.get(INSTANCE).map(String::as_str) != Some(config.instance.as_str()) {
            return Ok(None);
        }
        let done = self.done(config, member, Kind::UpToDate, Some(current.id.clone()), Duration::ZERO);
        if !options.dry_run && !current.tags.contains(&done.reference) {
            docker.tag_image(&current.id, &done.reference).await?;
        }
        Ok(Some(done))
    }

    fn done(&self, config: &Config, member: &Member<'_>, kind: Kind, image: Option<String>, took: Duration) -> Done {
        let reference = names::built(&config.instance, &member.pool.name, &member.base, &self.digest);
        Done { kind, image, reference, base: Some(member.base.clone()), took }
    }

    /// Looks at it as the pool would use it, and names it.
    async fn take(
        &self,
        config: &Config,
        docker: &Docker,
        member: &Member<'_>,
        image: &EngineImage,
        options: &Options,
    ) -> Result<(), ImageError> {
        verify(docker, member.pool, image).await?;
        let reference = names::built(&config.instance, &member.pool.name, &member.base, &self.digest);
        docker.tag_image(&image.id, &reference).await?;
        if options.move_current {
            current::set_current(docker, &config.instance, &member.pool.name, &image.id).await?;
        }
        Ok(())
    }

    async fn build(
        &self,
        config: &Config,
        docker: &Docker,
        member: &Member<'_>,
        options: &Options,
        news: &mpsc::Sender<BuildNews>,
    ) -> Result<EngineImage, ImageError> {
        let Some(inputs) = &member.inputs else {
            return Err(ImageError::Unfit("there is nothing to build it from".to_owned()));
        };
        let mut request = BuildRequest {
            dockerfile: inputs.context.dockerfile().to_owned(),
            args: inputs.args.clone(),
            labels: self.labels(config, docker, member).await?,
            no_cache: options.no_cache,
            builder: options.builder.unwrap_or(Builder::BuildKit),
        };
        let built = self.build_by(docker, &request, inputs, member, news).await;
        let id = match built {
            Err(ImageError::Build(BuildError::NoBuildKit(why))) if options.builder.is_none() => {
                let text = format!("built by the older builder: the engine has no BuildKit ({why})");
                tell(news, &member.pool.name, NewsKind::Note, text).await;
                request.builder = Builder::Classic;
                self.build_by(docker, &request, inputs, member, news).await?
            }
            built => built?,
        };
        docker.image(&id).await?.ok_or_else(|| {
            ImageError::Unfit(format!("the engine does not know it any more ({id}): was it pruned just now?"))
        })
    }

    async fn build_by(
        &self,
        docker: &Docker,
        request: &BuildRequest,
        inputs: &Inputs,
        member: &Member<'_>,
        news: &mpsc::Sender<BuildNews>,
    ) -> Result<String, ImageError> {
        let mut request = request.clone();
        if request.builder == Builder::Classic {
            // BuildKit knows them by itself.
            if let Some(architecture) = docker.architecture().await? {
                request.args.entry("TARGETOS".to_owned()).or_insert_with(|| "linux".to_owned());
                request.args.entry("TARGETARCH".to_owned()).or_insert(architecture);
            }
        }
        let (context, trouble) = inputs.context.stream();
        let pool = &member.pool.name;
        let mut hear = |heard: Heard| {
            let Heard { kind, step, text, percent } = heard;
            let kind = match kind {
                HeardKind::Begin | HeardKind::Done => NewsKind::Step,
                HeardKind::Output => NewsKind::Output,
                HeardKind::Progress => NewsKind::Progress,
            };
            // A reader who is slower than the build misses some of it.
            let _ = news.try_send(BuildNews { pool: pool.clone(), kind, step, text, percent });
        };
        let built = docker.build(&request, context, &mut hear).await;
        let trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (built, trouble) {
            (Err(BuildError::Engine(_)), Some(why)) => {
                Err(BuildError::Failed { step: None, why: format!("sending the context: {why}"), output: Vec::new() })?
            }
            (built, _) => Ok(built?),
        }
    }

    /// No times: the same inputs make the same image.
    async fn labels(
        &self,
        config: &Config,
        docker: &Docker,
        member: &Member<'_>,
    ) -> Result<BTreeMap<String, String>, ImageError> {
        let base = docker.image(&member.base).await?;
        let digest = base.as_ref().and_then(|image| {
            image.digests.iter().filter_map(|name| name.split_once('@')).map(|(_, digest)| digest.to_owned()).next()
        });
        let pairs = [
            (INSTANCE, Some(config.instance.to_string())),
            (POOL, Some(member.pool.name.to_string())),
            (INPUTS, Some(self.digest.clone())),
            (BASE, Some(member.base.clone())),
            (BASE_ID, self.ids.get(&member.base).cloned().or(base.map(|image| image.id))),
            ("org.opencontainers.image.title", Some(member.pool.name.to_string())),
            ("org.opencontainers.image.version", Some(names::version(&member.base, &self.digest))),
            ("org.opencontainers.image.base.name", Some(member.base.clone())),
            ("org.opencontainers.image.base.digest", digest),
        ];
        Ok(pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }
}
