//! What tests and the demo hold in their hands.

use super::model::{Group, Model, NewRunner, Visibility};
use super::options::{GroupSpec, Options, WebhookTarget};
use super::recorder::Exchange;
use super::server::{self, Outage};
use super::webhooks::Delivery;
use super::{Faults, Job, JobSpec, Runner, SessionFault, Shared, WebhookFault, clock, lock};
use crate::model::{JobKey, RegistrationId, Scope};
use jiff::Timestamp;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// The simulated GitHub.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedGitHub;

impl SimulatedGitHub {
    /// Starts one. It ends when the handle is dropped.
    pub async fn start(options: Options) -> io::Result<Handle> {
        let (shared, tasks) = server::start(options).await?;
        Ok(Handle { shared, tasks })
    }
}

/// A running simulated GitHub. It stops when this is dropped.
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// A state that did not come.
#[derive(Debug, thiserror::Error)]
#[error("no {what} within {limit:?}; the simulated GitHub has:\n{state}")]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub limit: Duration,
    /// Jobs and runners, for a person to read.
    pub state: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>, tasks: TaskTracker) -> Self {
        Self { shared, tasks }
    }

    /// The base of the REST API, without a slash at the end.
    pub fn api_url(&self) -> &str {
        &self.shared.urls.api
    }

    /// The base of the web pages: registration URLs begin with it.
    pub fn web_url(&self) -> &str {
        &self.shared.urls.web
    }

    /// What agents are told as their server.
    pub fn agent_url(&self) -> &str {
        &self.shared.urls.agents
    }

    /// Stops, and waits until everything has ended.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    // ---- jobs ----

    /// A job is queued; its signed `queued` event goes out.
    pub fn queue_job(&self, spec: JobSpec) -> JobKey {
        self.shared.change(|model, now| model.add_job(spec, false, now))
    }

    /// A job comes that needs an approval: `queued` with status `waiting`, then `waiting` go out.
    pub fn waiting_job(&self, spec: JobSpec) -> JobKey {
        let spec = JobSpec { environment: spec.environment.or_else(|| Some("production".into())), ..spec };
        self.shared.change(|model, now| model.add_job(spec, true, now))
    }

    /// Approves a waiting job: `queued` with status `queued` goes out. False where it does not wait.
    pub fn approve(&self, job: JobKey) -> bool {
        self.shared.change(|model, now| model.approve(job, now))
    }

    /// Cancels a job, wherever it is. False where it is over.
    pub fn cancel(&self, job: JobKey) -> bool {
        self.shared.change(|model, now| model.cancel(job, now))
    }

    /// Runs a finished job again; none where it is not over.
    pub fn rerun(&self, job: JobKey) -> Option<JobKey> {
        self.shared.change(|model, now| model.rerun(job, now))
    }

    /// Lets the runner of this name take the job, whether GitHub would have chosen it or not: another fleet's runner,
    /// say. False where the job is not queued or the runner is not there or not free.
    pub fn steal(&self, job: JobKey, runner: &str) -> bool {
        self.shared.change(|model, now| model.steal(job, runner, now))
    }

    /// One job.
    pub fn job(&self, key: JobKey) -> Option<Job> {
        lock(&self.shared.model).job(key).cloned()
    }

    /// All jobs that are remembered, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        lock(&self.shared.model).jobs().cloned().collect()
    }

    // ---- runner groups ----

    /// The runner groups of an organization as they are now, with the names of the repositories that may use each; none: all.
    pub fn groups(&self, organization: &str) -> Vec<GroupSpec> {
        let model = lock(&self.shared.model);
        let of_it = |group: &&Group| group.organization.eq_ignore_ascii_case(organization);
        let shown = |group: &Group| GroupSpec {
            organization: group.organization.clone(),
            name: group.name.clone(),
            repositories: match &group.visibility {
                Visibility::Selected(ids) => Some(
                    model.repos.iter().filter(|repo| ids.contains(&repo.id)).map(|repo| repo.name.clone()).collect(),
                ),
                Visibility::All | Visibility::Private => None,
            },
            allows_public: group.allows_public,
        };
        model.groups.values().filter(of_it).map(shown).collect()
    }

    // ---- runners ----

    /// The runners of a scope, oldest first.
    pub fn runners(&self, scope: &Scope) -> Vec<Runner> {
        lock(&self.shared.model).runners_of(scope).cloned().collect()
    }

    /// Registers a runner of someone else: no agent of ours, always online, gets a job only by [`Handle::steal`], and
    /// finishes it after the job's time. None where the name is taken.
    pub fn add_foreign_runner<'a>(
        &self,
        scope: &Scope,
        name: &str,
        labels: impl IntoIterator<Item = &'a str>,
        ephemeral: bool,
    ) -> Option<RegistrationId> {
        let labels = labels.into_iter().map(str::to_owned).collect();
        self.shared.change(|model, now| {
            let group_id = model.group_id(scope, None)?;
            let new = NewRunner {
                name: name.to_owned(),
                scope: scope.clone(),
                group_id,
                labels,
                ephemeral,
                work_folder: "_work".into(),
            };
            let runner = model.register(new, now).ok()?;
            model.make_foreign(runner.id);
            Some(RegistrationId(runner.id))
        })
    }

    /// Deletes a runner, as an owner does on the settings page. False where it is not there or has a job.
    pub fn delete_runner(&self, name: &str) -> bool {
        self.shared.change(|model, _| {
            let Some((scope, id)) = model.runner(name).map(|runner| (runner.scope.clone(), runner.id)) else {
                return false;
            };
            model.delete_runner(&scope, id).is_ok()
        })
    }

    /// Agents older than this register and come online, and never get a job: GitHub's floor. None lifts it.
    pub fn set_version_floor(&self, version: Option<&str>) {
        self.shared.change(|model, _| model.version_floor = version.map(str::to_owned));
    }

    // ---- faults ----

    /// Faults of the API.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The next so many agents that want a session meet this.
    pub fn next_sessions(&self, count: usize, fault: SessionFault) {
        self.shared.change(|model, _| model.add_session_faults(count, fault));
    }

    /// Agents that want a session meet no fault any more.
    pub fn clear_session_faults(&self) {
        self.shared.change(|model, _| while model.take_session_fault().is_some() {});
    }

    /// What happens to the next so many deliveries, of this action only where one is given.
    pub fn next_webhooks(&self, count: usize, action: Option<&str>, fault: WebhookFault) {
        self.shared.courier.faults.next(action, fault, count);
    }

    /// The next so many deliveries do not arrive; GitHub's log has them as failed.
    pub fn lose_next_webhooks(&self, count: usize, action: Option<&str>) {
        self.next_webhooks(count, action, WebhookFault::Lost);
    }

    /// Keeps deliveries back until [`Handle::release_webhooks`].
    pub fn hold_webhooks(&self) {
        self.shared.courier.hold();
    }

    /// Sends what was kept back, one after the other: the last one first, if `reversed`.
    pub fn release_webhooks(&self, reversed: bool) {
        self.shared.courier.release(reversed);
    }

    /// Everything is away, or is back.
    pub fn set_down(&self, down: bool) {
        self.set_outage(if down { Outage::Everything } else { Outage::None });
    }

    /// What is away.
    pub fn set_outage(&self, outage: Outage) {
        self.shared.outage.set(outage);
        self.shared.touch();
    }

    /// How much may be asked from now on; what is used up stays used up.
    pub fn set_limits(&self, limits: super::Limits) {
        lock(&self.shared.budgets).limits = limits;
    }

    /// All installation tokens are worthless from now on.
    pub fn revoke_tokens(&self) {
        self.shared.change(|model, _| model.revoke_all_installation_tokens());
    }

    /// Changes what an account granted the App. Tokens that are out keep what they have.
    pub fn set_permissions<'a>(&self, login: &str, permissions: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let permissions: BTreeMap<String, String> =
            permissions.into_iter().map(|(name, level)| (name.to_owned(), level.to_owned())).collect();
        self.shared.change(|model, _| model.grant(login, permissions));
    }

    /// Suspends an account's installation, or lets it go on.
    pub fn set_suspended(&self, login: &str, suspended: bool) {
        self.shared.change(|model, _| model.suspend(login, suspended));
    }

    /// Installs the App on an account, on all of its repositories or on these; GitHub's id of it. None where there is no such
    /// account, or no App.
    pub fn install(&self, login: &str, repositories: Option<&[&str]>) -> Option<u64> {
        let names = repositories.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        self.shared.change(|model, _| model.install(login, names))
    }

    /// Takes the App off an account. False where it was not there.
    pub fn uninstall(&self, login: &str) -> bool {
        self.shared.change(|model, _| model.uninstall(login))
    }

    /// Gives the App these repositories of an account, or all.
    pub fn set_repositories(&self, login: &str, repositories: Option<&[&str]>) {
        let names = repositories.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        self.shared.change(|model, _| model.choose(login, names));
    }

    /// Owners let nobody install anything, or do again.
    pub fn set_owners_refuse(&self, refuse: bool) {
        self.shared.change(|model, _| model.owners_refuse = refuse);
    }

    /// Whoever installs the App from now on grants only these of its permissions; all where none.
    pub fn set_grants(&self, permissions: Option<&[&str]>) {
        let names = permissions.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        self.shared.change(|model, _| model.grants = names);
    }

    /// An App of this name is somebody else's.
    pub fn take_name(&self, name: &str) {
        self.shared.change(|model, _| model.taken_names.push(super::model::slug(name)));
    }

    /// The App's keys are these public ones (PEM) from now on, as a person makes and deletes them on its page.
    pub fn set_app_keys(&self, public_pems: &[&str]) {
        self.shared.change(|model, _| model.app.public_key_pem = public_pems.concat());
    }

    /// The App as it is, if there is one.
    pub fn app(&self) -> Option<super::App> {
        Some(lock(&self.shared.model).app.clone()).filter(|app| app.exists)
    }

    // ---- deliveries ----

    /// Where deliveries go from now on.
    pub fn set_webhook(&self, url: impl Into<String>, secret: Option<SecretString>) {
        self.shared.courier.set_target(Some(WebhookTarget { url: url.into(), secret }));
    }

    /// Sends a `ping`, as GitHub does when a hook is made.
    pub fn ping(&self) {
        self.shared.ping();
    }

    /// The log of deliveries, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.courier.log()
    }

    /// Moves all that is in the log, and all jobs that there are, so far into the past: an outage of hours need not be waited for.
    pub fn backdate(&self, by: Duration) {
        self.shared.courier.backdate(by);
        self.shared.change(|model, _| model.backdate(by));
    }

    /// Sends every delivery of the log again whose guid this is. False where there is none.
    pub fn redeliver(&self, guid: &str) -> bool {
        let found = self.deliveries().into_iter().rfind(|delivery| delivery.guid == guid);
        if let Some(delivery) = &found {
            self.shared.redeliver(delivery);
        }
        found.is_some()
    }

    /// Waits until no delivery is on its way.
    pub async fn webhooks_settled(&self, limit: Duration) -> Result<(), TimedOut> {
        let courier = &self.shared.courier;
        self.wait_until("quiet in the deliveries", limit, |_| courier.under_way() == 0).await
    }

    // ---- looking ----

    /// Waits until the state is as wanted. Woken by each change and each request; never polls.
    pub async fn wait_until(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Model) -> bool,
    ) -> Result<(), TimedOut> {
        let mut version = self.shared.version.watch();
        let wait = async {
            loop {
                version.mark();
                if holds(&lock(&self.shared.model)) {
                    return;
                }
                version.changed().await;
            }
        };
        tokio::time::timeout(limit, wait).await.map_err(|_| TimedOut {
            what: what.to_owned(),
            limit,
            state: self.state(),
        })
    }

    /// Waits until a job is over, and gives it back.
    pub async fn wait_for_job(&self, key: JobKey, limit: Duration) -> Result<Job, TimedOut> {
        let over = |model: &Model| model.job(key).is_some_and(|job| job.stage == super::Stage::Completed);
        self.wait_until(&format!("end of job {key}"), limit, over).await?;
        self.job(key).ok_or_else(|| TimedOut { what: format!("job {key}"), limit, state: self.state() })
    }

    /// Waits until so many requests have come that match `METHOD /path…`.
    pub async fn wait_for_requests(&self, pattern: &str, count: usize, limit: Duration) -> Result<(), TimedOut> {
        let recorder = &self.shared.recorder;
        self.wait_until(&format!("{count} requests {pattern}"), limit, |_| recorder.times(pattern).len() >= count).await
    }

    /// The moments of the requests that match `METHOD /path…`, where the path is a beginning of the path or its template.
    pub fn requests(&self, pattern: &str) -> Vec<Timestamp> {
        self.shared.recorder.times(pattern)
    }

    /// All requests of the API with their answers, oldest first; bounded.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.recorder.all()
    }

    /// A code for the manifest flow, which gives the App with this private key once.
    pub fn offer_manifest(&self, private_key_pem: impl Into<String>) -> String {
        let code = self.shared.change(|model, _| model.seed.text(40, "0123456789abcdef"));
        let secret = self.shared.change(|model, _| model.seed.secret(40));
        let offer = super::pages::Offer { pem: private_key_pem.into(), webhook_secret: Some(secret), made_at: clock() };
        lock(&self.shared.manifests).insert(code.clone(), offer);
        code
    }

    /// Jobs and runners, for a person to read.
    pub fn state(&self) -> String {
        let model = lock(&self.shared.model);
        let now = clock();
        let mut text = String::new();
        for job in model.jobs() {
            let (name, labels) = (&job.spec.name, job.spec.labels.join(","));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  job {} `{name}` [{labels}] {:?} {:?}", job.key, job.stage, job.conclusion);
        }
        for runner in model.runners() {
            let online = if runner.online(now, model.timings.offline_after) { "online" } else { "offline" };
            let _ = writeln!(
                text,
                "  runner {} `{}` [{}] {online} job {:?}",
                runner.id, runner.name, runner.labels, runner.job
            );
        }
        text
    }
}
