use super::{Api, PATIENCE, Running, online, options, start};
use runnerfleet::model::{JobKey, Scope};
use runnerfleet::simulation::github::{Conclusion, GroupSpec, Handle, JobSpec, Stage};
use runnerfleet::simulation::protocol::{Ending, decode_jit};
use serde_json::{Value, json};
use std::time::Duration;

/// An agent that does only what a test tells it: a session over plain HTTP.
struct Puppet {
    http: reqwest::Client,
    base: String,
    session: String,
}

impl Puppet {
    async fn start(jit: &str) -> Self {
        let (runner, credentials) = decode_jit(jit).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("{}_agent/sessions", runner.server_url_v2);
        let open = json!({ "agent_id": runner.agent_id, "version": "2.336.0" });
        let answer = http.post(&base).bearer_auth(&credentials.data.secret).json(&open).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let opened: Value = answer.json().await.unwrap();
        Self { http, base, session: opened["session"].as_str().unwrap().to_owned() }
    }

    async fn poll(&self) -> Option<Value> {
        let answer = self.http.get(format!("{}/{}/message", self.base, self.session)).send().await.unwrap();
        (answer.status() == 200).then_some(())?;
        answer.json().await.ok()
    }

    async fn acquire(&self, job: JobKey) -> u16 {
        let url = format!("{}/{}/jobs/{}/acquire", self.base, self.session, job.id);
        self.http.post(url).send().await.unwrap().status().as_u16()
    }
}

async fn until_stage(github: &Handle, job: JobKey, wanted: fn(Stage) -> bool) {
    github.wait_until("stage", PATIENCE, |model| model.job(job).is_some_and(|job| wanted(job.stage))).await.unwrap();
}

#[tokio::test]
async fn a_job_goes_to_a_runner_that_has_all_its_labels() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let small = Puppet::start(&api.registered("orgs/acme", "small", &["self-hosted", "linux"]).await).await;
    let job = github.queue_job(JobSpec::new("acme/web", ["self-hosted", "Linux", "GPU"]));
    assert_eq!(small.poll().await, None, "a label is missing");
    let big = Puppet::start(&api.registered("orgs/acme", "big", &["self-hosted", "linux", "gpu", "x64"]).await).await;
    assert_eq!(big.poll().await, Some(json!({ "message": "job", "id": job.id.0 })));
    // Told, not taken: GitHub still calls it queued.
    assert_eq!(github.job(job).unwrap().stage.status(), "queued");
    assert_eq!(big.acquire(job).await, 200);
    let taken = github.job(job).unwrap();
    assert_eq!((taken.stage.status(), taken.runner.unwrap().name.as_str()), ("in_progress", "big"));
    let other = github.queue_job(JobSpec::new("acme/web", ["gpu"]));
    assert_eq!(big.poll().await, None, "one job at a time");
    assert_eq!(big.acquire(other).await, 404);
}

#[tokio::test]
async fn scope_group_and_visibility_decide_who_may_have_a_job() {
    let mut options = options();
    options.groups.push(GroupSpec {
        organization: "acme".into(),
        name: "web only".into(),
        repositories: Some(vec!["web".into()]),
        allows_public: false,
    });
    let github = start(options).await;
    let api = Api::person(&github);
    let groups = api.get("/orgs/acme/actions/runner-groups").await;
    let group = groups["runner_groups"][1]["id"].as_u64().unwrap();
    let wish = json!({ "name": "grouped", "runner_group_id": group, "labels": ["x"] });
    let made = api.ask("POST", "/orgs/acme/actions/runners/generate-jitconfig", Some(wish)).await.1;
    let grouped = Puppet::start(made["encoded_jit_config"].as_str().unwrap()).await;
    let open = Puppet::start(&api.registered("orgs/acme", "open", &["x"]).await).await;
    let own = Puppet::start(&api.registered("repos/acme/api", "own", &["x"]).await).await;

    for repository in ["acme/site", "octo/tool", "other/thing"] {
        // Public and not let in by the default group; another account; another organization.
        github.queue_job(JobSpec::new(repository, ["x"]));
    }
    for puppet in [&grouped, &open, &own] {
        assert_eq!(puppet.poll().await, None);
    }
    let for_api = github.queue_job(JobSpec::new("acme/api", ["x"]));
    let second = github.queue_job(JobSpec::new("acme/api", ["x"]));
    assert_eq!(grouped.poll().await, None, "the group has another repository");
    let told: Vec<Value> = vec![open.poll().await.unwrap(), own.poll().await.unwrap()];
    for job in [for_api, second] {
        assert!(told.contains(&json!({ "message": "job", "id": job.id.0 })), "{told:?}");
    }
    let for_web = github.queue_job(JobSpec::new("acme/web", ["x"]));
    assert_eq!(grouped.poll().await, Some(json!({ "message": "job", "id": for_web.id.0 })));
}

#[tokio::test]
async fn the_oldest_job_goes_first_and_an_unfetched_one_goes_to_another() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let first = github.queue_job(JobSpec::new("acme/web", ["x"]));
    let second = github.queue_job(JobSpec::new("acme/web", ["x"]));
    let lazy = Puppet::start(&api.registered("orgs/acme", "lazy", &["x"]).await).await;
    assert_eq!(lazy.poll().await, Some(json!({ "message": "job", "id": first.id.0 })));
    // It is not fetched: queued again, and this runner is not asked a second time.
    until_stage(&github, first, |stage| stage == Stage::Queued).await;
    assert_eq!(lazy.acquire(first).await, 404);
    assert_eq!(lazy.poll().await, Some(json!({ "message": "job", "id": second.id.0 })));
    let keen = Running::start(&api.registered("orgs/acme", "keen", &["x"]).await);
    let done = github.wait_for_job(first, PATIENCE).await.unwrap();
    assert_eq!(done.runner.unwrap().name, "keen");
    keen.ended().await;
}

#[tokio::test]
async fn a_vanished_agent_leaves_a_runner_that_is_offline_and_busy_and_then_a_failed_job() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let jit = api.registered("orgs/acme", "doomed", &["x"]).await;
    let job =
        github.queue_job(JobSpec::new("acme/web", ["x"]).lasting(Duration::ZERO).ending(Ending::AgentDies { code: 9 }));
    let (ended, _) = Running::start(&jit).ended().await;
    assert_eq!(ended.exit_code(), 9);
    github
        .wait_until("an offline runner", PATIENCE, |model| {
            model.runner("doomed").is_some_and(|runner| !runner.online(jiff::Timestamp::now(), Duration::from_secs(1)))
        })
        .await
        .unwrap();
    let listed = api.get("/orgs/acme/actions/runners").await["runners"][0].clone();
    assert_eq!((&listed["status"], &listed["busy"]), (&json!("offline"), &json!(true)));
    let path = format!("/orgs/acme/actions/runners/{}", listed["id"]);
    assert_eq!(api.ask("DELETE", &path, None).await.0, 422);
    let done = github.wait_for_job(job, PATIENCE).await.unwrap();
    assert_eq!(done.conclusion, Some(Conclusion::Failure));
    assert_eq!(api.ask("GET", &path, None).await.0, 404, "its one job is over");
}

#[tokio::test]
async fn a_job_can_be_cancelled_wherever_it_is() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let waiting = github.waiting_job(JobSpec::new("acme/web", ["x"]));
    let queued = github.queue_job(JobSpec::new("acme/web", ["nowhere"]));
    for job in [waiting, queued] {
        assert!(github.cancel(job));
        let job = github.job(job).unwrap();
        assert_eq!((job.conclusion, job.runner), (Some(Conclusion::Cancelled), None));
    }
    assert!(!github.cancel(queued), "it is over");

    // Assigned, and not fetched yet: the runner is free again.
    let puppet = Puppet::start(&api.registered("orgs/acme", "puppet", &["x"]).await).await;
    let assigned = github.queue_job(JobSpec::new("acme/web", ["x"]));
    puppet.poll().await.unwrap();
    assert!(github.cancel(assigned));
    assert_eq!(puppet.acquire(assigned).await, 404);
    let next = github.queue_job(JobSpec::new("acme/web", ["x"]));
    assert_eq!(puppet.poll().await, Some(json!({ "message": "job", "id": next.id.0 })));
    assert!(github.cancel(next));

    // Running: the agent is told.
    let agent = Running::start(&api.registered("orgs/acme", "runs", &["y"]).await);
    let running = github.queue_job(JobSpec::new("acme/web", ["y"]).ending(Ending::Hangs));
    until_stage(&github, running, |stage| stage.status() == "in_progress").await;
    assert!(github.cancel(running));
    let done = github.wait_for_job(running, PATIENCE).await.unwrap();
    assert_eq!((done.conclusion, done.runner.unwrap().name.as_str()), (Some(Conclusion::Cancelled), "runs"));
    let (_, lines) = agent.ended().await;
    assert!(lines.iter().any(|line| line.ends_with("completed with result: Canceled")), "{lines:#?}");
}

#[tokio::test]
async fn a_rerun_is_a_new_job_of_the_same_run() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let scope = Scope::Organization("acme".into());
    github.add_foreign_runner(&scope, "theirs", ["x"], false).unwrap();
    let first = github.queue_job(JobSpec::new("acme/web", ["x"]).named("flaky").concluding(Conclusion::Failure));
    assert!(github.rerun(first).is_none(), "it is not over");
    assert!(github.steal(first, "theirs"));
    let done = github.wait_for_job(first, PATIENCE).await.unwrap();
    let path = format!("/repos/acme/web/actions/runs/{}", done.run_id);
    assert_eq!(api.get(&path).await["conclusion"], "failure");
    let again = github.rerun(first).unwrap();
    assert_ne!(again.id, first.id);
    assert_eq!(again.attempt, 2);
    let run = api.get(&path).await;
    assert_eq!((&run["run_attempt"], &run["status"]), (&json!(2), &json!("queued")));
    let latest = api.get(&format!("{path}/jobs")).await;
    assert_eq!((&latest["total_count"], &latest["jobs"][0]["id"]), (&json!(1), &json!(again.id.0)));
    assert_eq!(api.get(&format!("{path}/jobs?filter=all")).await["total_count"], 2);
}

#[tokio::test]
async fn a_runner_below_the_version_floor_waits_for_ever() {
    let github = start(options()).await;
    let api = Api::person(&github);
    github.set_version_floor(Some("2.400.0"));
    let agent = Running::start(&api.registered("orgs/acme", "old", &["x"]).await);
    online(&github, "old").await;
    let job = github.queue_job(JobSpec::new("acme/web", ["x"]));
    assert_eq!(github.job(job).unwrap().stage, Stage::Queued);
    assert_eq!(api.get("/orgs/acme/actions/runners").await["runners"][0]["version"], "2.336.0");
    github.set_version_floor(None);
    github.wait_for_job(job, PATIENCE).await.unwrap();
    agent.ended().await;
}

#[tokio::test]
async fn another_fleets_runner_can_take_a_job() {
    let github = start(options()).await;
    let api = Api::person(&github);
    let scope = Scope::Repository { owner: "acme".into(), name: "web".into() };
    assert!(github.add_foreign_runner(&scope, "theirs", ["x"], true).is_some());
    assert!(github.add_foreign_runner(&scope, "theirs", ["x"], true).is_none());
    let job = github.queue_job(JobSpec::new("acme/web", ["x"]).lasting(Duration::from_millis(300)));
    assert_eq!(github.job(job).unwrap().stage, Stage::Queued, "it takes none by itself");
    assert!(!github.steal(job, "nobody"));
    assert!(github.steal(job, "theirs"));
    let listed = api.get("/repos/acme/web/actions/runners").await["runners"][0].clone();
    assert_eq!((&listed["status"], &listed["busy"]), (&json!("online"), &json!(true)));
    assert!(!github.delete_runner("theirs"));
    let done = github.wait_for_job(job, PATIENCE).await.unwrap();
    assert_eq!(done.runner.unwrap().name, "theirs");
    assert_eq!(github.runners(&scope).len(), 0);
    assert_eq!(github.jobs().len(), 1);
}
