//! The labels on everything that this fleet makes in an engine: one place to read what they are called and hold.
//!
//! With the store lost, a container is found and judged by these alone. Whatever lacks [`INSTANCE`] with our fleet's
//! name is somebody else's.

use crate::model::{HostId, InstanceId, JobId, JobKey, KeptContainer, PoolName, RegistrationId, RunnerName, Scope};
use crate::provider::ContainerSpec;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// Whose it is: the fleet's name. On containers and networks; lists and events are filtered by it.
pub const INSTANCE: &str = "runnerfleet.instance";
/// Which manager made it.
pub const HOST: &str = "runnerfleet.host";
/// The runner's pool.
pub const POOL: &str = "runnerfleet.pool";
/// Where the runner registered: `acme` or `acme/web`.
pub const SCOPE: &str = "runnerfleet.scope";
/// The runner's name; on a network of its own as well.
pub const RUNNER: &str = "runnerfleet.runner";
/// The job for whose demand it was made, as `id/attempt`. Absent where it was made for none.
pub const JOB: &str = "runnerfleet.job";
/// GitHub's id of the registration. Absent where it was not known at creation.
pub const REGISTRATION: &str = "runnerfleet.registration";
/// The image, as configured (the engine itself may only know an id once a tag has moved on).
pub const IMAGE: &str = "runnerfleet.image";

/// Which kind of runner it is: [`PERSISTENT`]; absent for one that lives for one job.
pub const KIND: &str = "runnerfleet.kind";
/// A persistent runner's number in its pool.
pub const INDEX: &str = "runnerfleet.index";
/// A short digest of the settings that a persistent runner was made with.
pub const SPEC: &str = "runnerfleet.spec";

/// The value of [`KIND`] on the container of a persistent runner.
pub const PERSISTENT: &str = "persistent";

/// What the labels of a container say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// [`RUNNER`].
    pub runner: RunnerName,
    /// [`POOL`].
    pub pool: PoolName,
    /// [`SCOPE`].
    pub scope: Scope,
    /// [`HOST`].
    pub host: HostId,
    /// [`JOB`].
    pub created_for: Option<JobKey>,
    /// [`REGISTRATION`].
    pub registration: Option<RegistrationId>,
    /// [`IMAGE`].
    pub image: Option<String>,
    /// [`KIND`], [`INDEX`] and [`SPEC`] of a persistent runner.
    pub kept: Option<KeptContainer>,
}

/// The labels of a container that is about to be made.
pub(super) fn write(spec: &ContainerSpec, instance: &InstanceId) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        (INSTANCE.to_owned(), instance.to_string()),
        (HOST.to_owned(), spec.host.to_string()),
        (POOL.to_owned(), spec.pool.to_string()),
        (SCOPE.to_owned(), spec.scope.to_string()),
        (RUNNER.to_owned(), spec.runner.to_string()),
        (IMAGE.to_owned(), spec.image.clone()),
    ]);
    if let Some(job) = spec.created_for {
        labels.insert(JOB.to_owned(), job.to_string());
    }
    if let Some(registration) = spec.registration {
        labels.insert(REGISTRATION.to_owned(), registration.to_string());
    }
    if let Some(kept) = &spec.kept {
        labels.insert(KIND.to_owned(), PERSISTENT.to_owned());
        labels.insert(INDEX.to_owned(), kept.index.to_string());
        labels.insert(SPEC.to_owned(), kept.spec.clone());
    }
    labels
}

/// Whether these are the labels of something of this fleet.
pub(super) fn are_ours(labels: Option<&HashMap<String, String>>, instance: &InstanceId) -> bool {
    labels.and_then(|labels| labels.get(INSTANCE)).is_some_and(|text| text == instance.as_str())
}

/// Reads them back. Without runner, pool, scope or host nobody could say what to do with the container; a job or a
/// registration that cannot be read counts as not told. Of a persistent runner the number must be there: nobody may take it
/// for one that ends with its job.
///
/// # Errors
/// What is missing, in a person's words.
pub fn read<S: BuildHasher>(labels: &HashMap<String, String, S>) -> Result<Told, String> {
    let text = |key: &str| match labels.get(key) {
        Some(text) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(format!("label `{key}` is empty")),
        None => Err(format!("label `{key}` is missing")),
    };
    Ok(Told {
        runner: RunnerName::new(text(RUNNER)?),
        pool: PoolName::new(text(POOL)?),
        scope: Scope::try_from(text(SCOPE)?).map_err(|why| format!("label `{SCOPE}`: {why}"))?,
        host: HostId::new(text(HOST)?),
        created_for: text(JOB).ok().and_then(|text| job(&text)),
        registration: text(REGISTRATION).ok().and_then(|text| text.parse().ok()).map(RegistrationId),
        image: text(IMAGE).ok(),
        kept: kept(labels)?,
    })
}

fn kept<S: BuildHasher>(labels: &HashMap<String, String, S>) -> Result<Option<KeptContainer>, String> {
    match labels.get(KIND).map(String::as_str) {
        None | Some("ephemeral") => Ok(None),
        Some(PERSISTENT) => {
            let index = labels.get(INDEX).and_then(|text| text.parse().ok());
            let index = index.ok_or_else(|| format!("label `{INDEX}` is no number"))?;
            Ok(Some(KeptContainer { index, spec: labels.get(SPEC).cloned().unwrap_or_default(), restarts: 0 }))
        }
        Some(other) => Err(format!("label `{KIND}` says `{other}`, which this version does not know")),
    }
}

fn job(text: &str) -> Option<JobKey> {
    let (id, attempt) = text.split_once('/')?;
    Some(JobKey { id: JobId(id.parse().ok()?), attempt: attempt.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::docker::body::tests::spec;

    #[test]
    fn what_is_written_is_read_back() {
        let spec = spec();
        let labels = write(&spec, &InstanceId::new("fleet"));
        assert!(are_ours(Some(&labels), &InstanceId::new("fleet")));
        assert!(!are_ours(Some(&labels), &InstanceId::new("flee")));
        assert!(!are_ours(None, &InstanceId::new("fleet")));
        let told = read(&labels).unwrap();
        assert_eq!(told.runner, spec.runner);
        assert_eq!(told.pool, spec.pool);
        assert_eq!(told.scope, spec.scope);
        assert_eq!(told.host, spec.host);
        assert_eq!(told.created_for, spec.created_for);
        assert_eq!(told.registration, spec.registration);
        assert_eq!(told.image.as_deref(), Some(spec.image.as_str()));
    }

    #[test]
    fn a_persistent_runner_is_told_from_one_for_a_job() {
        let mut spec = spec();
        assert_eq!(read(&write(&spec, &InstanceId::new("fleet"))).unwrap().kept, None);
        let kept = KeptContainer { index: 3, spec: "0123456789abcdef".to_owned(), restarts: 0 };
        spec.kept = Some(kept.clone());
        let mut labels = write(&spec, &InstanceId::new("fleet"));
        assert_eq!(labels.get("runnerfleet.kind").map(String::as_str), Some("persistent"));
        assert_eq!(read(&labels).unwrap().kept, Some(kept));
        labels.insert(INDEX.to_owned(), "x".to_owned());
        assert!(read(&labels).unwrap_err().contains("runnerfleet.index"));
        labels.insert(KIND.to_owned(), "eternal".to_owned());
        assert!(read(&labels).unwrap_err().contains("`eternal`"));
    }

    #[test]
    fn a_broken_job_is_no_job_and_a_missing_runner_is_told() {
        let mut labels = write(&spec(), &InstanceId::new("fleet"));
        labels.insert(JOB.to_owned(), "seven".to_owned());
        labels.insert(REGISTRATION.to_owned(), "-1".to_owned());
        let told = read(&labels).unwrap();
        assert_eq!((told.created_for, told.registration), (None, None));
        labels.insert(SCOPE.to_owned(), "a/b/c".to_owned());
        assert!(read(&labels).unwrap_err().contains("runnerfleet.scope"));
        labels.remove(RUNNER);
        assert_eq!(read(&labels).unwrap_err(), "label `runnerfleet.runner` is missing");
    }
}
