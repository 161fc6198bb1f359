//! What is told of an update.

use super::apply::{Applied, Stage};
use super::check::Update;
use crate::notify::Notifier;
use crate::notify::event::{Event, Update as Told};
use crate::registry::Reference;

impl Update {
    /// In the words of notifications: the image without its tag, and what it goes from and to.
    pub fn told(&self) -> Told {
        let version = |reference: &str| {
            let parsed = reference.parse::<Reference>().ok();
            parsed.and_then(|parsed| parsed.effective_tag().map(str::to_owned)).unwrap_or_else(|| reference.to_owned())
        };
        Told {
            image: without_tag(&self.from).to_owned(),
            from: version(&self.from),
            to: self.digest.clone().unwrap_or_else(|| version(&self.to)),
            pools: self.pools.clone(),
        }
    }
}

/// `ghcr.io/actions/actions-runner`: a colon before the last slash belongs to the registry's port.
fn without_tag(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

impl Applied {
    /// Tells what became of it.
    pub fn tell(&self, notifier: &Notifier) {
        let told = self.update.told();
        match &self.failure {
            None => {
                if self.update.changes_the_file() {
                    notifier.tell(Event::ImageUpdated(told.clone()));
                }
                notifier.tell(Event::UpdateApplied(told));
            }
            Some(failure) => {
                let stage = match failure.stage {
                    Stage::Build => "the build",
                    Stage::File => "the change of the file",
                    Stage::Redeploy => "the replacement of the runners",
                };
                let of = failure.pool.as_ref().map(|pool| format!(" of pool `{pool}`")).unwrap_or_default();
                let mut error = format!("{} -> {}: {stage}{of} failed: {}", told.from, told.to, failure.why);
                for left in &failure.left {
                    error = format!("{error}; {left}");
                }
                notifier.tell(Event::UpdateError { image: Some(told.image), pools: told.pools, error });
            }
        }
    }
}
