//! One life: deployed, busy, stopped, started, changed, fewer, removed.

use super::{changes, deploy, job, kept, name, one, quick, remove_all, row, state};
use crate::support::app::TestApp;
use runnerfleet::model::{RegistrationHold, Scope, StateName, Wanted};
use runnerfleet::persistent::{ChangeKind, Options, OutcomeKind, Verb};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_deploy_to_the_last_trace() {
    let app = TestApp::with(vec![kept(2)], |_, options| options.timings = quick()).await;
    let (first, second) = (name(&app, 1), name(&app, 2));
    assert_eq!(
        changes(&app).await,
        [(first.clone(), ChangeKind::Create), (second.clone(), ChangeKind::Create)],
        "nothing is made before somebody says so"
    );
    let outcomes = deploy(&app).await;
    assert!(outcomes.values().all(|outcome| outcome.kind == OutcomeKind::Changed), "{outcomes:?}");
    let acme = Scope::Organization("acme".to_owned());
    assert_eq!(app.github.runners(&acme).len(), 2);
    assert!(app.github.runners(&acme).iter().all(|runner| !runner.ephemeral));
    assert_eq!(row(&app, &first).state.name, StateName::Started);

    // A second deploy finds nothing to do.
    let again = deploy(&app).await;
    assert!(again.values().all(|outcome| outcome.kind == OutcomeKind::Unchanged), "{again:?}");

    // Job after job on the same two.
    for _ in 0..3 {
        let job = app.github.queue_job(job());
        let runner = app.served(job).await.expect("a runner had it");
        assert!(runner == first.as_str() || runner == second.as_str(), "{runner}");
    }
    app.until("both idle again", |world| {
        world.runners.values().all(|row| row.state.name == StateName::Started && row.job.is_none())
    })
    .await;

    // A stop waits for the job.
    let long = app.github.queue_job(job().lasting(Duration::from_secs(4)));
    app.until("a busy one", |world| world.runners.values().any(|row| row.job == Some(long))).await;
    let busy = app.runners().into_iter().find(|row| row.job == Some(long)).unwrap().name.clone();
    let registration = row(&app, &busy).registration;
    assert!(matches!(registration, RegistrationHold::Held(_)));
    let stopped = one(&app, Verb::Stop, &busy, Options::default()).await;
    assert_eq!((stopped.kind, stopped.text.as_str()), (OutcomeKind::Changed, "stopped"));
    assert_eq!(app.served(long).await.as_deref(), Some(busy.as_str()), "its job was not cut off");
    assert_eq!(row(&app, &busy).state.name, StateName::Stopped);
    assert_eq!(row(&app, &busy).kept.as_ref().unwrap().wanted, Wanted::Stopped);
    assert_eq!(app.github.runners(&acme).len(), 2, "a stop keeps the registration");

    // Started again with the same registration.
    let started = one(&app, Verb::Start, &busy, Options::default()).await;
    assert_eq!((started.kind, started.text.as_str()), (OutcomeKind::Changed, "started, and online"));
    assert_eq!(row(&app, &busy).registration, registration);
    state(&app, &busy, StateName::Started).await;

    remove_all(app).await;
}
