use super::{Delivery, Door, Payload, fleet};
use jiff::Timestamp;
use runnerfleet::config::Config;
use runnerfleet::model::{DeliveryId, JobAction, Patterns, RunnerName, Scope};
use runnerfleet::plan::{Match, Rule, match_pool};
use serde_json::json;
use std::path::Path;

/// A fleet that serves the accounts of GitHub's published examples, which are all public.
fn serves_the_examples(config: &mut Config) {
    config.allow_public_repositories = true;
    config.pools = [("Codertocat", "ubuntu-latest"), ("wolfy1339", "ubuntu-latest"), ("lineville", "k8s")]
        .map(|(account, label)| {
            let mut pool = fleet::pool(account, &["self-hosted", label]);
            pool.scope = Scope::Organization(account.to_owned());
            pool
        })
        .into();
}

/// What of an event an example leaves behind: job, action, repository.
type Left = Option<(u64, JobAction, &'static str)>;

#[tokio::test]
async fn each_of_githubs_examples_gets_its_answer_and_leaves_what_it_should() {
    let door = Door::open_with(serves_the_examples).await;
    let hosted = |name: &str| Some(RunnerName::new(name));
    let queued = |id, action, repository| (202, "queued", "", Some((id, action, repository)));
    let wanted = |file: &str| -> (u16, &str, &str, Left) {
        match file {
            "workflow_job.queued.1" => queued(289_782_451, JobAction::Queued, "Codertocat/Hello-World"),
            "workflow_job.waiting.1" => {
                queued(12_877_621_891, JobAction::Waiting, "lineville/elastic-machines-testing")
            }
            "workflow_job.in_progress.2" => {
                let action = JobAction::InProgress { runner: hosted("GitHub Actions 5") };
                queued(289_782_451, action, "Codertocat/Hello-World")
            }
            "workflow_job.in_progress.3" => {
                let action = JobAction::InProgress { runner: hosted("GitHub Actions 6") };
                queued(14_541_957_942, action, "wolfy1339/github-events-schemas")
            }
            "workflow_job.completed.1" => {
                let action = JobAction::Completed { conclusion: "failure".into(), runner: hosted("GitHub Actions 5") };
                queued(289_782_451, action, "Codertocat/Hello-World")
            }
            ping if ping.starts_with("ping.") => (200, "pong", "", None),
            run if run.starts_with("workflow_run.") => (200, "ignored", "`workflow_run` events are not used", None),
            changed if changed.starts_with("installation") => (200, "noted", "installations are looked at again", None),
            other => panic!("what should be answered to {other}?"),
        }
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/webhooks");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 18, "the examples are there");
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (code, status, why, left) = wanted(name);
        let event = name.split('.').next().unwrap();
        door.deliver(&Delivery::bytes(event, std::fs::read(&path).unwrap())).await.is(code, status, why);
        let stored = door.stored().await;
        let stored: Vec<_> = stored
            .iter()
            .map(|queued| {
                let job = &queued.event.job;
                (job.key.id.0, queued.event.action.clone(), job.repository.as_str())
            })
            .collect();
        assert_eq!(stored, Vec::from_iter(left), "{name}");
    }
}

#[tokio::test]
async fn what_is_queued_has_everything_that_later_decisions_need() {
    let door = Door::open().await;
    let payload = Payload::job(7).labels(&["Linux", "X64"]).attempt(2).field("installation", json!({ "id": 99 }));
    assert!((8 * 1024..15 * 1024).contains(&payload.bytes().len()), "it is as large as GitHub's");
    door.queued(&payload).await;
    let [stored] = door.stored().await.try_into().unwrap();
    let signature = &Delivery::of(&payload).headers["x-github-delivery"];
    assert_eq!(stored.delivery, DeliveryId { hook: "42".into(), guid: signature.clone() });
    let job = stored.event.job;
    assert_eq!((job.key.id.0, job.key.attempt, job.run_id), (7, 2, 1));
    assert_eq!((job.name.as_str(), job.workflow.as_deref()), ("update", Some("CodeQL")));
    assert_eq!((job.repository.as_str(), job.private), ("acme/web", Some(true)));
    assert_eq!(job.labels.to_vec(), ["linux", "x64"], "labels are compared without case");
    assert_eq!(job.installation, Some(99));
    assert_eq!(job.html_url.as_deref(), Some("https://github.com/acme/web/actions/runs/1/job/7"));
    assert_eq!(job.created_at, Some("2021-09-13T02:21:13Z".parse().unwrap()));
}

#[tokio::test]
async fn old_and_odd_forms_are_read() {
    let door = Door::open().await;
    let second = Timestamp::from_second(1_631_499_673).unwrap();
    let base = Payload::job(1);
    let nulls = ["name", "workflow_name", "html_url", "run_attempt", "runner_name", "conclusion", "created_at"]
        .into_iter()
        .fold(base.clone(), |payload, name| payload.job_field(name, json!(null)))
        .job_field("name", json!("n"));
    let forms = [
        ("integer times", base.clone().job_field("created_at", json!(1_631_499_673)), Some(second)),
        (
            "times with an offset",
            base.clone().job_field("created_at", json!("2021-09-13T04:21:13+02:00")),
            Some(second),
        ),
        ("a time that is none", base.clone().job_field("created_at", json!({ "never": true })), None),
        ("no time", base.clone().without("created_at"), None),
        ("no attempt", base.clone().without("run_attempt"), Some(second)),
        ("no installation", base.clone().without("installation"), Some(second)),
        ("no status", base.clone().without("status"), Some(second)),
        ("no steps, organization or sender", base.clone().without("steps").without("sender"), Some(second)),
        ("unknown fields", base.clone().field("later", json!([1])).job_field("later", json!({ "a": 1 })), Some(second)),
        ("nulls", nulls, None),
    ];
    for (number, (name, payload, created_at)) in forms.into_iter().enumerate() {
        let delivery = Delivery::of(&payload).header("x-github-delivery", format!("form-{number}"));
        door.deliver(&delivery).await.is(202, "queued", "");
        let [stored] = door.stored().await.try_into().unwrap();
        assert_eq!(stored.event.action, JobAction::Queued, "{name}");
        assert_eq!((stored.event.job.key.id.0, stored.event.job.key.attempt), (1, 1), "{name}");
        assert_eq!(stored.event.job.created_at, created_at, "{name}");
        assert_eq!(stored.event.job.installation.is_some(), name != "no installation", "{name}");
    }
}

#[tokio::test]
async fn what_is_none_of_ours_is_answered_with_the_reason_and_not_stored() {
    let door = Door::open().await;
    let job = Payload::job(1);
    for (payload, why) in [
        (job.clone().repository("other/web"), "no pool is for repository other/web"),
        (job.clone().labels(&["windows", "gpu"]), "none of its labels (gpu,windows)"),
        (job.clone().action("dreamt"), "`workflow_job` action `dreamt` is not known"),
    ] {
        door.deliver(&Delivery::of(&payload)).await.is(200, "ignored", why);
    }
    let event = Delivery::of(&job).header("x-github-event", "star");
    door.deliver(&event).await.is(200, "ignored", "`star` events are not used; the hook only needs `workflow_job`");
    let ping = br#"{"zen":"Keep it logically awesome.","hook_id":42}"#;
    door.deliver(&Delivery::bytes("ping", ping.to_vec())).await.is(200, "pong", "");
    assert_eq!(door.stored().await, []);
    // The same deliveries count as new when the configuration has learned of them since.
    door.queued(&job).await;
}

#[tokio::test]
async fn a_job_that_somebody_probably_waits_for_is_kept_though_no_pool_takes_it() {
    let door = Door::open().await;
    door.queued(&Payload::job(1).labels(&["linux", "gpu"])).await;
    let public = Delivery::of(&Payload::job(2).private(false));
    door.deliver(&public).await.is(202, "queued", "has its labels and refuses it: the repository is public");
    let [half, public] = door.stored().await.try_into().unwrap();
    assert!(matches!(match_pool(&half.event.job, None, &door.config), Match::None { nearest: Some(_) }));
    assert!(matches!(match_pool(&public.event.job, None, &door.config), Match::Refused { rule: Rule::Public, .. }));
}

#[tokio::test]
async fn a_job_of_a_repository_that_no_pool_takes_is_kept_and_answered_with_the_rule() {
    let door = Door::open_with(|config| {
        config.pools[0].admission.repositories = Patterns::new(["acme/web-*", "!acme/web-secret"]);
    })
    .await;
    let job = |id: u64, repository: &str| Delivery::of(&Payload::job(id).repository(repository));
    let why = "refuses it: it takes acme/web-*, !acme/web-secret (matching.repositories)";
    door.deliver(&job(1, "acme/web-secret")).await.is(202, "queued", why);
    door.deliver(&job(2, "acme/WEB-shop")).await.is(202, "queued", "");
    assert_eq!(door.stored().await.len(), 2);
}

#[tokio::test]
async fn a_job_that_waits_for_an_approval_is_no_demand_whatever_the_action_says() {
    let door = Door::open().await;
    let job = Payload::job(1);
    for payload in [
        job.clone().status("waiting"),
        job.clone().status("pending"),
        job.clone().status("requested"),
        job.clone().action("waiting"),
    ] {
        door.queued(&payload).await;
    }
    assert!(door.stored().await.iter().all(|stored| stored.event.action == JobAction::Waiting));
}

#[tokio::test]
async fn a_job_that_ended_before_it_started_has_no_runner_and_perhaps_no_labels() {
    let door = Door::open().await;
    let over = Payload::job(1).completed("cancelled");
    for payload in [
        over.clone().labels(&[]),
        over.clone().labels(&[]).job_field("runner_id", json!(0)).job_field("runner_name", json!("")),
        over.clone().job_field("labels", json!(null)),
        over.without("labels").without("runner_id").without("runner_name"),
    ] {
        door.queued(&payload).await;
    }
    let stored = door.stored().await;
    assert_eq!(stored.len(), 4);
    for stored in stored {
        let over = JobAction::Completed { conclusion: "cancelled".into(), runner: None };
        assert_eq!(stored.event.action, over);
        assert!(stored.event.job.labels.is_empty());
    }
}

#[tokio::test]
async fn a_repeated_delivery_is_one_event_and_another_hooks_is_another() {
    let door = Door::open().await;
    let delivery = Delivery::of(&Payload::job(1));
    door.deliver(&delivery).await.is(202, "queued", "");
    door.deliver(&delivery).await.is(200, "repeated", "taken before");
    door.deliver(&delivery.clone().header("x-github-hook-id", "43")).await.is(202, "queued", "");
    door.deliver(&delivery.clone().without("x-github-hook-id")).await.is(202, "queued", "");
    assert_eq!(door.stored().await.len(), 3);
    door.deliver(&delivery).await.is(200, "repeated", "taken before");
    assert_eq!(door.stored().await, []);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_still_known_as_seen() {
    let door = Door::open().await;
    let delivery = Delivery::of(&Payload::job(1));
    door.deliver(&delivery).await.is(202, "queued", "");
    let door = door.restarted().await;
    door.deliver(&delivery).await.is(200, "repeated", "taken before");
    assert_eq!(door.stored().await.len(), 1);
}
