//! Which image the runners of a pool are made from, and how it is made where it is made here.

use super::super::Build;
use super::super::collection::Table;
use super::super::leaf::AnyText;
use super::super::reading::{Placed, Reading, Spot};
use super::super::section::Field;
use super::super::shape::{PoolSettings, Runner};
use crate::model::{InstanceId, PoolName, built_image};
use std::collections::BTreeMap;
use std::path::Path;

/// What is known of a pool's image.
pub(super) struct Image {
    /// What containers are made from; none after a problem was told.
    pub(super) name: Option<String>,
    /// What it is built on, or what the pool runs itself.
    pub(super) base: Option<String>,
    /// How it is made here.
    pub(super) build: Option<Build>,
}

/// `build_image`, `image` or `base_image`, in this order.
pub(super) fn image(
    runner: &Runner,
    settings: &PoolSettings,
    (instance, pool): (&InstanceId, &PoolName),
    reading: &mut Reading<'_>,
) -> Image {
    tell_what_has_no_effect(runner, reading);
    let build = made_here(runner, reading);
    let name = match &build {
        Some(_) => Some(built_image::current(instance, pool)),
        None => ready(runner, settings, reading),
    };
    let base = base(runner, settings, build.is_some(), reading);
    Image { name, base, build }
}

fn tell_what_has_no_effect(runner: &Runner, reading: &mut Reading<'_>) {
    let own = &runner.settings;
    if let (Field::Good(image), Field::Good(base)) = (&runner.image, &own.base_image) {
        let message = format!("has no effect: the pool runs `{}`", image.value.0);
        reading.warning(&base.spot, message, "keep `image` or `base_image`");
    }
    if let (Field::Absent, Field::Good(args)) = (&runner.build_image, &runner.build_args) {
        reading.warning(&args.spot, "has no effect: the pool's image is not made here", "give it a `build_image`");
    }
    if let (Field::Good(_), Field::Good(policy)) = (&runner.build_image, &own.pull_policy) {
        let hint = "`runnerfleet build --pull` looks for a newer base image";
        reading.warning(&policy.spot, "has no effect: the pool's image is made here", hint);
    }
}

/// The Dockerfile of `build_image`. A folder means the `Dockerfile` in it.
fn made_here(runner: &Runner, reading: &mut Reading<'_>) -> Option<Build> {
    let path = runner.build_image.placed()?;
    if let Field::Good(image) = &runner.image {
        reading.problem(&image.spot, "the pool has a `build_image`, too", "keep one of them");
    }
    let written = reading.resolve(&path.value.0.to_string_lossy());
    let dockerfile = if written.is_dir() { written.join("Dockerfile") } else { written };
    tell_if_missing(&dockerfile, &path.spot, reading);
    Some(Build {
        context: dockerfile.parent().map(Path::to_path_buf).unwrap_or_default(),
        dockerfile,
        techno: runner.language.good().map(|text| text.0.clone()),
        techno_version: runner.language_version.good().map(|text| text.0.clone()),
        args: build_args(&runner.build_args, reading),
    })
}

/// Only a warning: what does not build can be used as before.
fn tell_if_missing(dockerfile: &Path, spot: &Spot, reading: &mut Reading<'_>) {
    if !dockerfile.is_file() {
        let message = format!("there is no Dockerfile at {}: the image cannot be built", dockerfile.display());
        let hint = "`build_image` is a Dockerfile or its folder; a ready image stands under `image`";
        reading.warning(spot, message, hint);
    }
}

fn build_args(args: &Field<Table<AnyText>>, reading: &mut Reading<'_>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (name, Placed { value, spot }) in args.good().map(|table| table.0.as_slice()).unwrap_or_default() {
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            reading.problem(spot, "is not the name of a build argument", "letters, digits and `_` are possible");
        }
        map.insert(name.clone(), value.0.clone());
    }
    map
}

/// What the pool builds on, or runs itself.
fn base(runner: &Runner, settings: &PoolSettings, built: bool, reading: &mut Reading<'_>) -> Option<String> {
    if !runner.image.is_absent() {
        return None;
    }
    if built && settings.base_image.is_absent() {
        let hint = "give the pool one, or all pools with `runners_defaults.base_image`";
        reading.problem(&runner.at.missing("base_image"), "is missing: the Dockerfile builds on it", hint);
    }
    settings.base_image.good().map(|image| image.0.clone())
}

/// An image that somebody else made.
fn ready(runner: &Runner, settings: &PoolSettings, reading: &mut Reading<'_>) -> Option<String> {
    match (&runner.image, &settings.base_image) {
        (Field::Good(image), _) => Some(image.value.0.clone()),
        (Field::Bad, _) | (Field::Absent, Field::Bad) => None,
        (Field::Absent, Field::Absent) => {
            let hint = "give the pool an `image`, or all pools one with `runners_defaults.base_image`";
            reading.problem(&runner.at.missing("image"), "is missing", hint);
            None
        }
        (Field::Absent, Field::Good(base)) => {
            if let Some(techno) = runner
                .language
                .placed()
                .map(|language| &language.spot)
                .or(runner.language_version.placed().map(|version| &version.spot))
            {
                let hint = "give the pool a `build_image`, or an `image` with what its jobs need";
                reading.warning(techno, format!("chooses no image by itself: the pool runs `{}`", base.value.0), hint);
            }
            Some(base.value.0.clone())
        }
    }
}
