//! From an entry under `runners:` to a checked [`Pool`].

mod access;
mod container;
mod image;
mod mode;
mod names;

use super::names::Label;
use super::reading::{Placed, Reading, Spot};
use super::section::{Field, Slot};
use super::shape::{self, PoolSettings, Runner};
use super::{Mode, Pool, RegistrationKind};
use crate::model::{InstanceId, LabelSet, PoolName};
use std::time::Duration;

/// GitHub's bound for one runner.
const MOST_LABELS: usize = 100;

/// A pool, with what later checks point to.
pub(super) struct Built {
    pub(super) pool: Pool,
    pub(super) site: super::org_url::Site,
    /// Where `org_url` stands.
    pub(super) org_url: Spot,
    /// Where `id` stands.
    id: Spot,
    /// Where `nb` stands, or `scaling.min_idle`.
    pub(super) least: Spot,
    /// Where `create_runner_group` stands, if it holds for the pool.
    pub(super) create_group: Option<Spot>,
}

impl Built {
    /// Runners that are there without any job.
    pub(super) fn at_rest(&self) -> u32 {
        match self.pool.mode {
            Mode::Ephemeral => self.pool.min_idle,
            Mode::Persistent { count } => count,
        }
    }
}

/// All pools, and whether there is one (perhaps one that cannot be built) whose runners live for one job.
pub(super) struct Pools {
    pub(super) built: Vec<Built>,
    pub(super) any_ephemeral: bool,
}

/// All pools; those that cannot be built have told why.
pub(super) fn build_all(
    runners: &[Placed<Runner>],
    defaults: &PoolSettings,
    instance: &InstanceId,
    reading: &mut Reading<'_>,
) -> Pools {
    names::check_names(runners, reading);
    let built: Vec<Built> =
        runners.iter().filter_map(|runner| build(&runner.value, defaults, instance, reading)).collect();
    names::check_images(&built, reading);
    Pools { built, any_ephemeral: mode::any_ephemeral(runners, defaults, reading.is_legacy()) }
}

fn build(runner: &Runner, defaults: &PoolSettings, instance: &InstanceId, reading: &mut Reading<'_>) -> Option<Built> {
    let settings = runner.settings.clone().over(defaults.clone());
    let PoolSettings { scaling, resources, timeouts, security, .. } = &settings;

    let mode = mode::mode(runner, defaults, reading);
    mode::tell_what_has_no_effect(runner, mode, reading);
    tell_what_is_new(runner, reading);
    let name_prefix = names::name_prefix(runner, mode, reading);
    let labels = labels(runner, &settings, reading);
    let name = PoolName::new(runner.id.good().map_or("", |id| id.0.as_str()));
    let image::Image { name: image, base: base_image, build: made } =
        image::image(runner, &settings, (instance, &name), reading);
    let org_url = org_url(runner, &settings, reading);
    let scope = org_url.as_ref().map(|(url, _)| &url.scope);
    let group = access::group(&settings, scope, reading);
    let admission = access::admission(&settings, scope, (mode, group.create.is_some()), reading);
    let (min_idle, max) = bounds(mode, scaling, reading);
    let pool = Pool {
        name,
        name_prefix: name_prefix.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        scope: org_url.as_ref().map(|(url, _)| url.scope.clone())?,
        scope_url: org_url.as_ref().map(|(url, _)| url.url())?,
        runner_group: group.name,
        create_runner_group: group.create.is_some(),
        admission,
        registration: match (mode, settings.registration.good()) {
            // What GitHub makes just in time ends after one job.
            (Mode::Persistent { .. }, _) | (_, Some(shape::Registration::Token)) => RegistrationKind::Token,
            (Mode::Ephemeral, Some(shape::Registration::Jit) | None) => RegistrationKind::Jit,
        },
        mode,
        image: image.unwrap_or_default(),
        pull: made.is_none() && settings.pull_policy.good() != Some(&shape::PullPolicy::Never),
        base_image,
        build: made,
        min_idle,
        max,
        priority: settings.matching.priority.good().and_then(|number| number.get()).unwrap_or_default(),
        idle_timeout: scaling.idle_timeout.good().copied().unwrap_or_default(),
        max_lifetime: positive(&scaling.max_lifetime, reading),
        job_max_age: positive(&scaling.job_max_age, reading),
        provision_timeout: positive(&timeouts.provision, reading),
        online_timeout: positive(&timeouts.online, reading),
        drain_timeout: positive(&timeouts.drain, reading),
        stop_grace: positive(&timeouts.stop_grace, reading),
        max_unavailable: settings.rollout.max_unavailable.good().and_then(|count| count.get()).unwrap_or(1),
        resources: container::container_limits(resources, reading),
        env: container::environment(&settings.env, reading),
        command: container::command(&settings, reading),
        user: settings.user.good().map(|user| user.0.clone()),
        work_dir: settings.work.dir.good().map(|dir| dir.0.clone()).unwrap_or_default(),
        network: container::network(&settings.docker.network, reading),
        security: container::given_away(security, reading),
    };
    let (url, spot) = org_url?;
    let nb = runner.nb.placed().map(|placed| placed.spot.clone()).filter(|_| mode != Mode::Ephemeral);
    let least = nb.or_else(|| scaling.min_idle.placed().map(|placed| placed.spot.clone())).unwrap_or_default();
    let id = runner.id.placed().map(|placed| placed.spot.clone()).unwrap_or_default();
    Some(Built { pool, site: url.site, org_url: spot, id, least, create_group: group.create })
}

/// The least and the most of its runners.
fn bounds(mode: Mode, scaling: &shape::Scaling, reading: &mut Reading<'_>) -> (u32, u32) {
    if let Mode::Persistent { count } = mode {
        return (0, count);
    }
    let min_idle: u32 = scaling.min_idle.good().and_then(|count| count.get()).unwrap_or_default();
    let max: u32 = scaling.max.good().and_then(|count| count.get()).unwrap_or_default();
    if let (Field::Good(least), Field::Good(most)) = (&scaling.min_idle, &scaling.max)
        && min_idle > max
    {
        let spot = if least.spot.place.line > 0 { &least.spot } else { &most.spot };
        reading.problem(
            spot,
            format!("`min_idle` ({min_idle}) is more than `max` ({max})"),
            "a pool never has more than `max` runners",
        );
    }
    (min_idle, max)
}

/// What the former tool would have done in another way.
fn tell_what_is_new(runner: &Runner, reading: &mut Reading<'_>) {
    if !reading.is_legacy() {
        return;
    }
    let own = &runner.settings;
    let spots = [own.base_image.placed().map(|image| &image.spot), own.org_url.placed().map(|url| &url.spot)];
    for spot in spots.into_iter().flatten() {
        reading.warning(spot, "is used now: the former tool ignored it in a pool", "");
    }
    if runner.image.is_absent() && runner.build_image.is_absent() && runner.language.is_absent() {
        let hint = "give the pool an `image` or a `build_image` if that is not enough for its jobs";
        let message = "the pool runs `base_image`; the former tool took the image `PREFIX:latest`";
        reading.warning(&runner.at, message, hint);
    }
}

/// A time that is not zero.
pub(super) fn positive(field: &Field<Duration>, reading: &mut Reading<'_>) -> Duration {
    if let Field::Good(time) = field
        && time.value.is_zero()
    {
        reading.problem(&time.spot, "no time at all is too short", "");
    }
    field.good().copied().unwrap_or_default()
}

/// The labels of the pool and, unless it is switched off, those that GitHub's own agent would have added.
fn labels(runner: &Runner, settings: &PoolSettings, reading: &mut Reading<'_>) -> Option<LabelSet> {
    let Field::Good(list) = &runner.labels else { return None };
    let with_defaults = settings.default_labels.good().copied()?;
    let mut all: Vec<&str> = if with_defaults { vec!["self-hosted", "linux", architecture()] } else { Vec::new() };
    let mut own: Vec<String> = Vec::new();
    for Placed { value: Label(label), spot } in &list.value.0 {
        if own.contains(&label.to_lowercase()) {
            reading.warning(spot, format!("the label `{label}` is there twice"), "GitHub does not tell `a` from `A`");
        }
        own.push(label.to_lowercase());
    }
    all.extend(own.iter().map(String::as_str));
    let labels: LabelSet = all.into_iter().collect();
    if labels.is_empty() {
        reading.problem(
            &list.spot,
            "a pool without a label serves no job",
            "give it one, or leave `default_labels` on",
        );
    }
    if labels.len() > MOST_LABELS {
        let message = format!("{} labels are too many for GitHub", labels.len());
        reading.problem(&list.spot, message, format!("{MOST_LABELS} are the most, those of `default_labels` included"));
    }
    Some(labels)
}

/// The label that GitHub's agent gives itself for this machine.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "x64",
        other => other,
    }
}

fn org_url(
    runner: &Runner,
    settings: &PoolSettings,
    reading: &mut Reading<'_>,
) -> Option<(super::org_url::OrgUrl, Spot)> {
    match &settings.org_url {
        Field::Good(url) => Some((url.value.clone(), url.spot.clone())),
        Field::Bad => None,
        Field::Absent => {
            let hint = "give the pool an `org_url`, or all pools one with `runners_defaults.org_url`";
            reading.problem(&runner.at.missing("org_url"), "is missing", hint);
            None
        }
    }
}
