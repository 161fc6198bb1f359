//! What happens to runners without anybody's order: they die, GitHub is away or forgets them, `serve` starts again.

use super::{changes, deploy, job, keeper, kept, name, one, order, quick, remove_all, row, state};
use crate::support::app::{PATIENCE, TestApp};
use crate::support::docker::{docker, until};
use runnerfleet::model::{ContainerStatus, RegistrationHold, Scope, StateName, Wanted};
use runnerfleet::persistent::{ChangeKind, Options, OutcomeKind, Verb};
use runnerfleet::simulation::github::SessionFault;
use std::time::Duration;

fn acme() -> Scope {
    Scope::Organization("acme".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_comes_back() {
    let app = TestApp::with(vec![kept(1)], |_, options| options.timings = quick()).await;
    let runner = name(&app, 1);
    deploy(&app).await;
    let before = row(&app, &runner);
    docker(&["kill", runner.as_str()]);
    app.until("its end, and its return", |world| {
        let row = &world.runners[&runner];
        row.state.name == StateName::Started && row.history.iter().any(|change| change.to == StateName::Error)
    })
    .await;
    let after = row(&app, &runner);
    assert_eq!((&after.container, after.registration), (&before.container, before.registration));
    assert_eq!(after.kept.as_ref().unwrap().restarts.len(), 1);
    let job = app.github.queue_job(job());
    assert_eq!(app.served(job).await.as_deref(), Some(runner.as_str()));
    remove_all(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_keeps_dying_is_left_alone_and_says_why() {
    let app = TestApp::with(vec![kept(1)], |_, options| options.timings = quick()).await;
    let runner = name(&app, 1);
    deploy(&app).await;
    app.github.next_sessions(100, SessionFault::Die(9));
    docker(&["kill", runner.as_str()]);
    app.until("a crash loop", |world| {
        let row = &world.runners[&runner];
        row.state.name == StateName::Error
            && row.kept.as_ref().is_some_and(runnerfleet::model::Kept::is_in_a_crash_loop)
    })
    .await;
    until("a container that stays down", async || {
        let found = app.containers().await.pop()?;
        let policy = docker(&["inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", runner.as_str()]);
        let down = matches!(found.status, ContainerStatus::Exited { .. }) && policy.trim() == "no";
        down.then_some(())
    })
    .await;
    let held = row(&app, &runner);
    assert!(held.evidence.is_some(), "its last words are kept: {held:?}");
    assert_eq!(changes(&app).await, [(runner.clone(), ChangeKind::Start)]);
    // A person's word starts it again, once the cause is gone.
    app.github.clear_session_faults();
    let outcome = one(&app, Verb::Start, &runner, Options::default()).await;
    assert_eq!(outcome.kind, OutcomeKind::Changed, "{outcome:?}");
    remove_all(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_while_github_is_away_is_finished_later() {
    let app = TestApp::with(vec![kept(1)], |_, options| options.timings = quick()).await;
    let runner = name(&app, 1);
    deploy(&app).await;
    app.github.set_down(true);
    let outcome = one(&app, Verb::Remove, &runner, Options::default()).await;
    assert_eq!(outcome.kind, OutcomeKind::Deferred, "{outcome:?}");
    assert!(outcome.text.contains("finishes it"), "{}", outcome.text);
    assert!(app.containers().await.is_empty(), "its container ran no job");
    assert_eq!(row(&app, &runner).kept.as_ref().unwrap().wanted, Wanted::Absent);
    assert!(row(&app, &runner).is_live());
    app.github.set_down(false);
    state(&app, &runner, StateName::Removed).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_github_forgot_is_made_anew() {
    let app = TestApp::with(vec![kept(1)], |_, options| options.timings = quick()).await;
    let runner = name(&app, 1);
    deploy(&app).await;
    // Stopped, and forgotten meanwhile: found at its start.
    one(&app, Verb::Stop, &runner, Options::default()).await;
    let before = row(&app, &runner);
    assert!(app.github.delete_runner(runner.as_str()));
    let outcome = one(&app, Verb::Start, &runner, Options::default()).await;
    assert_eq!((outcome.kind, outcome.text.as_str()), (OutcomeKind::Changed, "made anew, and online"));
    let after = row(&app, &runner);
    assert_ne!(after.registration, before.registration);
    assert_ne!(after.container, before.container);
    // Forgotten while it runs: `serve` finds out.
    assert!(app.github.delete_runner(runner.as_str()));
    app.until("a new registration", |world| {
        let row = &world.runners[&runner];
        row.state.name == StateName::Started
            && row.registration != after.registration
            && matches!(row.registration, RegistrationHold::Held(_))
    })
    .await;
    remove_all(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_serve_changes_nothing() {
    let mut app = TestApp::with(vec![kept(3)], |_, options| options.timings = quick()).await;
    let names = [name(&app, 1), name(&app, 2), name(&app, 3)];
    deploy(&app).await;
    one(&app, Verb::Stop, &names[2], Options::default()).await;
    let long = app.github.queue_job(job().lasting(Duration::from_secs(4)));
    app.until("a busy one", |world| world.runners.values().any(|row| row.job == Some(long))).await;
    let rows: Vec<_> = names.iter().map(|name| row(&app, name)).collect();
    app.stop_serve().await;
    // A container that ended meanwhile is brought back at the next start; one that was stopped on purpose is not.
    let idle = rows.iter().find(|row| row.state.name == StateName::Started).unwrap().name.clone();
    docker(&["kill", idle.as_str()]);
    app.serve().await;
    assert!(app.served(long).await.is_some());
    app.until("two up, one down", |world| {
        let up = |row: &runnerfleet::model::Runner| row.state.name == StateName::Started && row.job.is_none();
        let count = world.runners.values().filter(|row| up(row)).count();
        count == 2 && world.runners[&names[2]].state.name == StateName::Stopped
    })
    .await;
    for before in rows {
        let after = row(&app, &before.name);
        assert_eq!((&after.container, after.registration), (&before.container, before.registration));
    }
    assert_eq!(app.github.runners(&acme()).len(), 3);
    remove_all(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_gives_way_to_a_newer_one() {
    let app = TestApp::with(vec![kept(1)], |_, options| options.timings = quick()).await;
    let runner = name(&app, 1);
    deploy(&app).await;
    let long = app.github.queue_job(job().lasting(Duration::from_secs(5)));
    state(&app, &runner, StateName::Running).await;
    let waits = {
        let (keeper, runner) = (keeper(&app), runner.clone());
        tokio::spawn(async move { order(&keeper, Verb::Stop, &[runner], Options::default()).await })
    };
    app.until("it is wanted stopped", |world| {
        world.runners[&runner].kept.as_ref().is_some_and(|kept| kept.wanted == Wanted::Stopped)
    })
    .await;
    let started = one(&app, Verb::Start, &runner, Options::default()).await;
    assert_eq!(started.kind, OutcomeKind::Unchanged, "{started:?}");
    let stopped = tokio::time::timeout(PATIENCE, waits).await.unwrap().unwrap().remove(&runner).unwrap();
    assert_eq!(stopped.kind, OutcomeKind::Deferred, "{stopped:?}");
    assert!(stopped.text.contains("a newer order"), "{}", stopped.text);
    assert_eq!(app.served(long).await.as_deref(), Some(runner.as_str()));
    state(&app, &runner, StateName::Started).await;
    remove_all(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_is_made_good_by_the_labels() {
    let mut app = TestApp::with(vec![kept(2)], |_, options| options.timings = quick()).await;
    let names = [name(&app, 1), name(&app, 2)];
    deploy(&app).await;
    one(&app, Verb::Stop, &names[1], Options::default()).await;
    app.stop_serve().await;
    std::fs::remove_file(app.folder.path().join("runnerfleet.redb")).unwrap();
    app.serve().await;
    state(&app, &names[0], StateName::Started).await;
    state(&app, &names[1], StateName::Stopped).await;
    assert_eq!(row(&app, &names[1]).kept.as_ref().unwrap().index, 2);
    assert_eq!(app.containers().await.len(), 2, "nothing was taken for an ephemeral runner's");
    remove_all(app).await;
}
