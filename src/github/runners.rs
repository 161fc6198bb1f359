//! Runners: JIT configs, registration tokens, the list, the end of a registration.

use super::auth::{Acting, TokenAnswer};
use super::error::{Error, message, refusal};
use super::line::{Endpoint, Line, Repeat, Request};
use super::pages::{Listing, Page};
use super::{Client, pages};
use crate::model::{LabelSet, Registration, RegistrationId, RegistrationStatus, RunnerName, Scope};
use http::{Method, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

/// The runner to be registered.
#[derive(Debug, Clone, Copy)]
pub struct JitRequest<'a> {
    /// Its name.
    pub name: &'a RunnerName,
    /// All its labels: GitHub adds none to a JIT runner, not even `self-hosted`.
    pub labels: &'a LabelSet,
    /// The runner group's name; the default group where none. Without effect at repository scope.
    pub group: Option<&'a str>,
    /// The agent's work folder.
    pub work_dir: &'a str,
}

/// A registered runner.
#[derive(Debug)]
pub struct JitRunner {
    /// GitHub's id of it.
    pub id: RegistrationId,
    /// What the agent needs to become it.
    pub config: SecretString,
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone now.
    Deleted,
    /// It was gone before, as those of ephemeral runners are after their job.
    WasGone,
}

#[derive(Deserialize)]
struct JitAnswer {
    runner: JitAnswerRunner,
    encoded_jit_config: SecretString,
}

#[derive(Deserialize)]
struct JitAnswerRunner {
    id: RegistrationId,
}

/// A runner as GitHub lists it; older servers leave fields out, newer ones add some.
#[derive(Deserialize)]
struct ListedRunner {
    id: RegistrationId,
    name: RunnerName,
    status: Option<String>,
    busy: Option<bool>,
    labels: Option<Vec<ListedLabel>>,
    version: Option<String>,
}

#[derive(Deserialize)]
struct ListedLabel {
    name: String,
}

impl From<ListedRunner> for Registration {
    fn from(listed: ListedRunner) -> Self {
        Self {
            id: listed.id,
            name: listed.name,
            status: match listed.status.as_deref() {
                Some("online") => RegistrationStatus::Online,
                _ => RegistrationStatus::Offline,
            },
            busy: listed.busy.unwrap_or(false),
            labels: listed.labels.unwrap_or_default().iter().map(|label| label.name.as_str()).collect(),
            version: listed.version.filter(|version| !version.is_empty()),
        }
    }
}

impl Client {
    /// Registers a runner that takes one job. Sent once: if the answer is lost, the next call of the same name ends in
    /// [`Error::NameTaken`].
    pub async fn jit_config(&self, scope: &Scope, ask: &JitRequest<'_>) -> Result<JitRunner, Error> {
        let group = self.group_id(scope, ask.group).await?;
        let made = self.register(scope, ask, group).await;
        if let (Err(Error::NotFound { .. }), Scope::Organization(_), None) = (&made, scope, ask.group) {
            // The default group has another number here.
            if let Ok(Some(default)) = self.default_group(scope).await
                && default != group
            {
                return self.register(scope, ask, default).await;
            }
        }
        made
    }

    async fn register(&self, scope: &Scope, ask: &JitRequest<'_>, group: u64) -> Result<JitRunner, Error> {
        let what = format!("register runner `{}` with `{scope}`", ask.name);
        let body = json!({
            "name": ask.name,
            "runner_group_id": group,
            "labels": ask.labels.to_vec(),
            "work_folder": ask.work_dir,
        });
        let request = Request {
            method: Method::POST,
            path: format!("{}/actions/runners/generate-jitconfig", scope.api_path()),
            body: Some(body.to_string().into()),
            etag: None,
            what: what.clone(),
            repeat: Repeat::Never,
            endpoint: Endpoint::Jit,
        };
        let answer = self.ask(&Acting::runners(scope), &request).await?;
        match answer.status {
            status if status.is_success() => {
                let JitAnswer { runner, encoded_jit_config } =
                    serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(&what, &error))?;
                Ok(JitRunner { id: runner.id, config: encoded_jit_config })
            }
            StatusCode::CONFLICT => Err(Error::NameTaken { name: ask.name.clone() }),
            status => {
                if status == StatusCode::NOT_FOUND {
                    // The group may have been deleted and made again under another id.
                    self.forget_groups(scope);
                }
                Err(refusal(&answer, &what, Line::now()))
            }
        }
    }

    /// A token with which agents register themselves at the scope. One serves any number of runners for an hour, so it
    /// is kept until shortly before it lapses.
    pub async fn registration_token(&self, scope: &Scope) -> Result<SecretString, Error> {
        let ask = async || {
            let what = format!("get a registration token for `{scope}`");
            let request = Request {
                method: Method::POST,
                path: format!("{}/actions/runners/registration-token", scope.api_path()),
                body: None,
                etag: None,
                what: what.clone(),
                repeat: Repeat::OnceMore,
                endpoint: Endpoint::RegistrationToken,
            };
            let answer = self.ask(&Acting::runners(scope), &request).await?;
            if answer.status.is_success() {
                TokenAnswer::read(&answer, &what, Line::now())
            } else {
                Err(refusal(&answer, &what, Line::now()))
            }
        };
        self.inner.registration_tokens.get(scope.to_string().to_lowercase(), Line::now, ask).await
    }

    /// All runners that are registered at the scope.
    pub async fn runners(&self, scope: &Scope) -> Result<Vec<Registration>, Error> {
        let what = format!("list the runners of `{scope}`");
        Ok(self.all_runners(scope, &what).await?.into_iter().map(Registration::from).collect())
    }

    /// The runner of that name. GitHub compares names without case, as we do here.
    pub async fn runner_named(&self, scope: &Scope, name: &RunnerName) -> Result<Option<Registration>, Error> {
        let what = format!("look up runner `{name}` of `{scope}`");
        let is_it = |runner: &ListedRunner| runner.name.as_str().eq_ignore_ascii_case(name.as_str());
        let first = self.runner_page(scope, Some(name), 1, &what).await?;
        if first.items.is_empty() {
            return Ok(None);
        }
        if let Some(found) = first.items.into_iter().find(is_it) {
            return Ok(Some(found.into()));
        }
        // Strangers on the page: an older GitHub Enterprise Server, which does not know `name=`.
        let all = self.all_runners(scope, &what).await?;
        Ok(all.into_iter().find(is_it).map(Registration::from))
    }

    /// Ends a registration. GitHub refuses while the runner has a job.
    pub async fn delete_runner(&self, scope: &Scope, id: RegistrationId) -> Result<Deleted, Error> {
        let request = Request {
            method: Method::DELETE,
            path: format!("{}/actions/runners/{id}", scope.api_path()),
            body: None,
            etag: None,
            what: format!("delete runner {id} of `{scope}`"),
            repeat: Repeat::Safe,
            endpoint: Endpoint::DeleteRunner,
        };
        let answer = self.ask(&Acting::runners(scope), &request).await?;
        match answer.status {
            status if status.is_success() => Ok(Deleted::Deleted),
            StatusCode::NOT_FOUND => Ok(Deleted::WasGone),
            StatusCode::UNPROCESSABLE_ENTITY => Err(Error::Busy { message: message(&answer) }),
            _ => Err(refusal(&answer, &request.what, Line::now())),
        }
    }

    async fn all_runners(&self, scope: &Scope, what: &str) -> Result<Vec<ListedRunner>, Error> {
        let mut listing = Listing::new(|runner: &ListedRunner| runner.id.0);
        while let Some(number) = listing.next_page() {
            listing.take(self.runner_page(scope, None, number, what).await?, what)?;
        }
        Ok(listing.into_entries())
    }

    async fn runner_page(
        &self,
        scope: &Scope,
        name: Option<&RunnerName>,
        number: usize,
        what: &str,
    ) -> Result<Page<ListedRunner>, Error> {
        let filter = name.map(|name| format!("name={}&", pages::escaped(name.as_str()))).unwrap_or_default();
        let path = format!("{}/actions/runners?{filter}{}", scope.api_path(), pages::query(number));
        self.read(&Acting::runners(scope), &Request::get(Endpoint::Runners, path, what.to_owned())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_runner_may_lack_or_add_fields() {
        let listed: ListedRunner = serde_json::from_str(
            r#"{"id":7,"name":"a","status":"snoozing","busy":null,"labels":[{"id":1,"name":"GPU","type":"custom"}],"new":{}}"#,
        )
        .unwrap();
        let registration = Registration::from(listed);
        assert_eq!(registration.status, RegistrationStatus::Offline);
        assert_eq!(registration.labels.to_vec(), ["gpu"]);
        let bare: ListedRunner = serde_json::from_str(r#"{"id":7,"name":"a"}"#).unwrap();
        assert_eq!(Registration::from(bare).version, None);
    }
}
