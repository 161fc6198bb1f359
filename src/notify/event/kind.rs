//! The kinds of events: their names, what is known of each, and by which other names that goes.

use std::fmt;

/// How good or bad an event is; it gives the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something went as it should.
    Good,
    /// Something to know.
    Info,
    /// Something was left undone, or waits for a person.
    Warning,
    /// Something failed.
    Bad,
}

impl Level {
    /// Red, green and blue.
    pub fn color(self) -> u32 {
        match self {
            Self::Good => 0x0036_A64F,
            Self::Info => 0x002D_7FF9,
            Self::Warning => 0x00E8_A317,
            Self::Bad => 0x00D9_3025,
        }
    }
}

/// What every event has.
pub const COMMON: &[&str] = &["event_type", "title", "message", "timestamp", "instance", "host"];

/// Names that mean the same; the tool before this one used some of them in its templates and others in its events.
const SAME: &[&[&str]] = &[
    &["pool", "id", "runner_id", "group"],
    &["runner_name", "name", "container"],
    &["image_name", "image", "base_image"],
    &["error_message", "error", "reason"],
    &["to_version", "available_version", "new_version", "latest_version"],
    &["from_version", "current_version", "old_version"],
    &["affected_runners", "affected_pools", "pools"],
];

macro_rules! kinds {
    ($($variant:ident, $name:literal, $title:literal, $level:ident, [$($field:literal),*], $text:literal, $about:literal;)+) => {
        /// What an event is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(#[doc = $about] $variant,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As the configuration and the payloads spell it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// A few words for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// How good or bad it is.
            pub fn level(self) -> Level {
                match self { $(Self::$variant => Level::$level,)+ }
            }

            /// What is known of it, beside [`COMMON`].
            pub fn fields(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($field),*],)+ }
            }

            /// Its sentence, as a template.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

kinds! {
    RunnerStarted, "runner_started", "Runner started", Good,
        ["runner_name", "pool", "labels", "image_name", "base_image", "techno", "techno_version", "reason"],
        "Runner {runner_name} of pool {pool} is started: {reason}",
        "A persistent runner is up.";
    RunnerStopped, "runner_stopped", "Runner stopped", Info,
        ["runner_name", "pool", "labels", "image_name", "base_image", "techno", "techno_version", "uptime", "reason"],
        "Runner {runner_name} of pool {pool} is stopped after {uptime}: {reason}",
        "A persistent runner was stopped.";
    RunnerRemoved, "runner_removed", "Runner removed", Info,
        ["runner_name", "pool", "labels", "image_name", "base_image", "techno", "techno_version", "reason"],
        "Runner {runner_name} of pool {pool} is removed: {reason}",
        "A persistent runner was removed.";
    RunnerError, "runner_error", "Runner failed", Bad,
        ["runner_name", "pool", "labels", "image_name", "base_image", "techno", "techno_version", "operation", "error_message"],
        "Runner {runner_name} of pool {pool} failed ({operation}): {error_message}",
        "A runner failed, or something that was done with it.";
    RunnerSkipped, "runner_skipped", "Runner left as it is", Warning,
        ["runner_name", "pool", "labels", "image_name", "base_image", "techno", "techno_version", "operation", "reason"],
        "Runner {runner_name} of pool {pool} was left as it is ({operation}): {reason}",
        "What was asked for was not done, since there was nothing to do or it has to wait.";
    BuildStarted, "build_started", "Build started", Info,
        ["pool", "image_name", "dockerfile", "base_image", "techno", "techno_version"],
        "Image {image_name} of pool {pool} is being built from {dockerfile}",
        "An image is being built.";
    BuildCompleted, "build_completed", "Build completed", Good,
        ["pool", "image_name", "dockerfile", "base_image", "techno", "techno_version", "duration", "image_size"],
        "Image {image_name} of pool {pool} was built in {duration} ({image_size})",
        "An image was built.";
    BuildFailed, "build_failed", "Build failed", Bad,
        ["pool", "image_name", "dockerfile", "base_image", "techno", "techno_version", "duration", "error_message"],
        "Image {image_name} of pool {pool} could not be built: {error_message}",
        "An image could not be built.";
    ImageUpdated, "image_updated", "Base image changed", Good,
        ["runner_type", "image_name", "from_version", "to_version", "affected_runners"],
        "Base image {image_name} went from {from_version} to {to_version}, for {affected_runners}",
        "The configuration names a newer base image now.";
    UpdateAvailable, "update_available", "Update available", Warning,
        ["runner_type", "image_name", "current_version", "available_version", "affected_runners"],
        "Base image {image_name} {available_version} is there (now: {current_version}), for {affected_runners}",
        "A newer base image is there.";
    UpdateApplied, "update_applied", "Update applied", Good,
        ["runner_type", "image_name", "from_version", "to_version", "affected_runners"],
        "The runners of {affected_runners} are on {image_name} {to_version} now (before: {from_version})",
        "The runners are on the newer base image.";
    UpdateError, "update_error", "Update failed", Bad,
        ["runner_type", "image_name", "affected_runners", "error_message"],
        "The update of {image_name} failed: {error_message}",
        "Looking for a newer base image, or going to it, failed.";
    JobLost, "job_lost", "Job lost", Bad,
        ["job", "job_name", "repository", "url", "runner_name", "pool", "labels", "error_message"],
        "Job {job_name} of {repository} is lost: {error_message}",
        "A job's runner died under it, or the job waited until GitHub gave it up.";
    PoolDegraded, "pool_degraded", "Pool in trouble", Bad,
        ["pool", "labels", "failures", "error_message", "retry_at"],
        "The runners of pool {pool} failed {failures} times in a row, the next is tried at {retry_at}: {error_message}",
        "The runners of a pool fail one after the other.";
}

impl Kind {
    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// What a placeholder of this name stands for in an event of this kind.
    pub fn field(self, name: &str) -> Option<&'static str> {
        let known = |name: &str| COMMON.iter().chain(self.fields()).copied().find(|known| *known == name);
        let same = || SAME.iter().find(|names| names.contains(&name));
        known(name).or_else(|| same()?.iter().find_map(|other| known(other)))
    }

    /// All names that [`Kind::field`] knows.
    pub fn placeholders(self) -> Vec<&'static str> {
        let own = COMMON.iter().chain(self.fields()).copied();
        let others = SAME.iter().flat_map(|names| names.iter().copied());
        let mut all: Vec<_> = own.clone().collect();
        all.extend(others.filter(|name| self.field(name).is_some() && !own.clone().any(|known| known == *name)));
        all
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_lead_to_what_an_event_has() {
        assert_eq!(Kind::UpdateAvailable.field("new_version"), Some("available_version"));
        assert_eq!(Kind::UpdateAvailable.field("to_version"), Some("available_version"));
        assert_eq!(Kind::ImageUpdated.field("old_version"), Some("from_version"));
        assert_eq!(Kind::ImageUpdated.field("available_version"), Some("to_version"));
        assert_eq!(Kind::UpdateApplied.field("base_image"), Some("image_name"));
        assert_eq!(Kind::RunnerStarted.field("base_image"), Some("base_image"), "its own comes first");
        assert_eq!(Kind::RunnerStarted.field("runner_id"), Some("pool"));
        assert_eq!(Kind::BuildCompleted.field("id"), Some("pool"));
        assert_eq!(Kind::RunnerError.field("reason"), Some("error_message"));
        assert_eq!(Kind::RunnerSkipped.field("reason"), Some("reason"));
        assert_eq!(Kind::BuildStarted.field("uptime"), None);
        assert_eq!(Kind::PoolDegraded.field("new_version"), None);
    }

    #[test]
    fn names_are_the_way_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(*kind));
            for name in kind.placeholders() {
                assert!(kind.field(name).is_some(), "{kind}: {name}");
            }
        }
        assert_eq!(Kind::ALL.len(), 14);
        assert_eq!(Kind::named("runner_exploded"), None);
    }
}
