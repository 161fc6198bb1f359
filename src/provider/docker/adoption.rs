//! Containers of the former tool: looked for and ended, each on a person's word.
//!
//! They carry no label of ours, and a name alone says nothing: `web-15` may be anybody's. Three signs together tell one: its
//! name is exactly that of a runner, and its environment has that name (`RUNNER_NAME`) and the address where the runners of
//! that pool register (`RUNNER_REPO`). All three are looked at again before anything is done to it.

use super::connection::{CHANGE, LOOK_UP};
use super::containers::is_worker;
use super::{Docker, labels};
use crate::model::{ContainerId, RunnerName};
use crate::provider::ProviderError;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions, StopContainerOptions, TopOptions};
use std::time::Duration;

/// A container of the former tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    /// The runner's name, and the container's.
    pub runner: RunnerName,
    /// Where it registered.
    pub url: String,
    /// The container.
    pub id: ContainerId,
    /// Whether it runs now.
    pub running: bool,
}

/// What stands under the name of a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtName {
    /// A container of the former tool.
    Former(Former),
    /// A container with a label of ours.
    Ours(RunnerName),
    /// Somebody else's.
    Stranger {
        /// Its name.
        name: RunnerName,
        /// Which sign is missing.
        why: String,
    },
}

impl Docker {
    /// The containers under names that `url_of` knows; it gives the address where runners of that name register.
    ///
    /// # Errors
    /// The engine cannot be looked at.
    pub async fn at_names(
        &self,
        url_of: &(dyn Fn(&str) -> Option<String> + Send + Sync),
    ) -> Result<Vec<AtName>, ProviderError> {
        let options = ListContainersOptions { all: true, ..Default::default() };
        let listed =
            self.connection.call(LOOK_UP, |docker| async move { docker.list_containers(Some(options)).await }).await?;
        let mut found = Vec::new();
        for container in listed {
            // `/other/web-1` is a link of another container to it.
            let names = container.names.iter().flatten().filter_map(|name| name.strip_prefix('/'));
            let known =
                names.filter(|name| !name.contains('/')).find_map(|name| Some((name.to_owned(), url_of(name)?)));
            let (Some((name, url)), Some(id)) = (known, container.id) else { continue };
            // Gone since it was listed.
            let Some(inspected) = self.inspect_any(&id).await? else { continue };
            found.push(match missing_sign(&inspected, &name, &url) {
                None => {
                    let running = runs(&inspected);
                    AtName::Former(Former { runner: RunnerName::new(name), url, id: ContainerId::new(id), running })
                }
                Some(Missing::Ours) => AtName::Ours(RunnerName::new(name)),
                Some(Missing::Sign(why)) => AtName::Stranger { name: RunnerName::new(name), why },
            });
        }
        Ok(found)
    }

    /// Whether a job's process lives in it. A container that is gone or ended has none.
    ///
    /// # Errors
    /// The engine cannot be looked at.
    pub async fn former_runs_a_job(&self, former: &Former) -> Result<bool, ProviderError> {
        let (id, options) = (former.id.clone(), TopOptions { ps_args: "-eo pid,comm,args".to_owned() });
        let top = self
            .connection
            .call(LOOK_UP, |docker| async move { docker.top_processes(id.as_str(), Some(options)).await });
        match top.await {
            Ok(top) => Ok(top.processes.unwrap_or_default().iter().any(|process| is_worker(process))),
            Err(failure) if failure.is(404) || failure.is(409) => Ok(false),
            Err(failure) => match self.inspect_any(former.id.as_str()).await? {
                Some(found) if runs(&found) => Err(failure.into()),
                Some(_) | None => Ok(false),
            },
        }
    }

    /// Stops and removes it. One that is gone is no error.
    ///
    /// # Errors
    /// It is not such a container (any more), or the engine refuses.
    pub async fn end_former(&self, former: &Former, grace: Duration) -> Result<(), ProviderError> {
        let id = former.id.as_str();
        let Some(found) = self.inspect_any(id).await? else { return Ok(()) };
        match missing_sign(&found, former.runner.as_str(), &former.url) {
            None => {}
            Some(Missing::Ours) => return Err(ProviderError::Refused(format!("container {id} is a fleet's by now"))),
            Some(Missing::Sign(why)) => {
                return Err(ProviderError::Refused(format!("container {id} is left alone: {why}")));
            }
        }
        let seconds = i32::try_from(grace.as_secs().max(1)).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), signal: None };
        let stopped = self
            .connection
            .call(CHANGE.saturating_add(grace), |docker| async move { docker.stop_container(id, Some(options)).await });
        match stopped.await {
            Ok(()) => {}
            Err(failure) if failure.is(304) => {}
            Err(failure) if failure.is(404) => return Ok(()),
            Err(failure) => return Err(failure.into()),
        }
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        let removed =
            self.connection.call(CHANGE, |docker| async move { docker.remove_container(id, Some(options)).await });
        match removed.await {
            Ok(()) => Ok(()),
            Err(failure) if failure.is(404) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn inspect_any(&self, id: &str) -> Result<Option<ContainerInspectResponse>, ProviderError> {
        match self.connection.call(LOOK_UP, |docker| async move { docker.inspect_container(id, None).await }).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is(404) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }
}

fn runs(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.running) == Some(true)
}

/// Why a container is not one of the former tool.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// It carries a label of ours.
    Ours,
    /// A sign is missing; which one.
    Sign(String),
}

fn missing_sign(found: &ContainerInspectResponse, name: &str, url: &str) -> Option<Missing> {
    let config = found.config.as_ref();
    if config.and_then(|config| config.labels.as_ref()).is_some_and(|labels| labels.contains_key(labels::INSTANCE)) {
        return Some(Missing::Ours);
    }
    if found.name.as_deref().map(|name| name.trim_start_matches('/')) != Some(name) {
        return Some(Missing::Sign("it has another name".to_owned()));
    }
    let environment = config.and_then(|config| config.env.as_deref()).unwrap_or_default();
    let variable = |wanted: &str| {
        environment
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    };
    let is_url = |value: &str| plain(value) == plain(url);
    for (variable, value, is_right) in [
        ("RUNNER_NAME", variable("RUNNER_NAME"), variable("RUNNER_NAME") == Some(name)),
        ("RUNNER_REPO", variable("RUNNER_REPO"), variable("RUNNER_REPO").is_some_and(is_url)),
    ] {
        match (value, is_right) {
            (Some(_), true) => {}
            (Some(_), false) => return Some(Missing::Sign(format!("its `{variable}` says something else"))),
            (None, _) => return Some(Missing::Sign(format!("it has no `{variable}`"))),
        }
    }
    None
}

/// An address without what does not count.
fn plain(url: &str) -> String {
    let url = url.trim_end_matches('/');
    url.strip_suffix(".git").unwrap_or(url).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ContainerConfig;
    use std::collections::HashMap;

    fn container(name: &str, env: &[&str], label: Option<&str>) -> ContainerInspectResponse {
        let labels = label.map(|label| HashMap::from([(labels::INSTANCE.to_owned(), label.to_owned())]));
        let env = Some(env.iter().map(|text| (*text).to_owned()).collect());
        let config = ContainerConfig { env, labels, ..Default::default() };
        ContainerInspectResponse { name: Some(name.to_owned()), config: Some(config), ..Default::default() }
    }

    #[test]
    fn all_three_signs_are_wanted_and_no_label_of_ours() {
        const NAME: &str = "RUNNER_NAME=web-1";
        const REPO: &str = "RUNNER_REPO=https://github.com/Acme/";
        let missing =
            |container: &ContainerInspectResponse| missing_sign(container, "web-1", "https://github.com/acme");
        assert_eq!(missing(&container("/web-1", &[NAME, REPO], None)), None);
        assert_eq!(missing(&container("/web-1", &[NAME, REPO], Some("other"))), Some(Missing::Ours));
        for (name, env, why) in [
            ("/acme-web-1", &[NAME, REPO][..], "it has another name"),
            ("/web-1", &[REPO], "it has no `RUNNER_NAME`"),
            ("/web-1", &["RUNNER_NAME=web-12", REPO], "its `RUNNER_NAME` says something else"),
            ("/web-1", &[NAME], "it has no `RUNNER_REPO`"),
            ("/web-1", &[NAME, "RUNNER_REPO=https://github.com/acme2"], "its `RUNNER_REPO` says something else"),
        ] {
            assert_eq!(missing(&container(name, env, None)), Some(Missing::Sign(why.to_owned())));
        }
    }
}
