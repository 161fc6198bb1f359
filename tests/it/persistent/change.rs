//! The file changes: runners are replaced after their jobs, made, removed; and what a deploy leaves alone.

use super::{changes, deploy, job, keeper, kept, name, one, order, quick, remove_all, row, state};
use crate::support::app::TestApp;
use crate::support::docker::{docker, until};
use runnerfleet::config::Mode;
use runnerfleet::model::{Scope, StateName};
use runnerfleet::persistent::{ChangeKind, Options, OutcomeKind, Verb};
use std::time::Duration;

/// As a deploy of a file with other pools.
fn edit(app: &mut TestApp, change: impl Fn(&mut runnerfleet::config::Pool)) {
    for pool in &mut app.config.pools {
        change(pool);
    }
    keeper(app).set_pools(&app.config);
}

fn container(name: &str) -> String {
    docker(&["inspect", "--format", "{{.Id}}", name]).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_replace_and_a_busy_one_ends_its_job_first() {
    let mut app = TestApp::with(vec![kept(2)], |_, options| options.timings = quick()).await;
    let (first, second) = (name(&app, 1), name(&app, 2));
    deploy(&app).await;
    let long = app.github.queue_job(job().lasting(Duration::from_secs(4)));
    app.until("a busy one", |world| world.runners.values().any(|row| row.job == Some(long))).await;
    let before = [container(first.as_str()), container(second.as_str())];

    edit(&mut app, |pool| drop(pool.env.insert("COLOUR".to_owned(), "green".to_owned())));
    assert_eq!(changes(&app).await, [(first.clone(), ChangeKind::Replace), (second.clone(), ChangeKind::Replace)]);
    // `start` leaves old settings alone.
    let idle = if row(&app, &first).job.is_some() { &second } else { &first };
    assert_eq!(one(&app, Verb::Start, idle, Options::default()).await.kind, OutcomeKind::Unchanged);
    let outcomes = deploy(&app).await;
    assert!(outcomes.values().all(|outcome| outcome.text == "replaced: its settings changed"), "{outcomes:?}");
    let job = app.github.job(long).unwrap();
    assert_eq!(job.conclusion, Some(runnerfleet::simulation::github::Conclusion::Success), "its job was not cut off");
    let after = [container(first.as_str()), container(second.as_str())];
    assert!(before.iter().all(|id| !after.contains(id)));
    let env = docker(&["inspect", "--format", "{{.Config.Env}}", first.as_str()]);
    assert!(env.contains("COLOUR=green"), "{env}");
    assert_eq!(app.github.runners(&Scope::Organization("acme".to_owned())).len(), 2);
    let history: Vec<_> = row(&app, &first).history.iter().map(|change| change.to).collect();
    assert!(history.contains(&StateName::Removed), "the history goes on through the change: {history:?}");
    remove_all(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn force_ends_the_job_and_a_short_time_out_gives_up_on_it() {
    let mut app = TestApp::with(vec![kept(1)], |_, options| options.timings = quick()).await;
    let runner = name(&app, 1);
    deploy(&app).await;
    let long = app.github.queue_job(job().lasting(Duration::from_secs(600)));
    state(&app, &runner, StateName::Running).await;
    edit(&mut app, |pool| drop(pool.env.insert("COLOUR".to_owned(), "green".to_owned())));
    let short = Options { timeout: Some(1), ..Options::default() };
    let outcome = one(&app, Verb::Deploy, &runner, short).await;
    assert_eq!(outcome.kind, OutcomeKind::Deferred, "{outcome:?}");
    assert!(outcome.text.contains("still runs a job") && outcome.text.contains("--force"), "{}", outcome.text);
    assert_eq!(row(&app, &runner).state.name, StateName::Running);
    let outcome = one(&app, Verb::Deploy, &runner, Options { force: true, ..Options::default() }).await;
    assert_eq!(outcome.kind, OutcomeKind::Changed, "{outcome:?}");
    app.served(long).await;
    assert_ne!(
        app.github.job(long).unwrap().conclusion,
        Some(runnerfleet::simulation::github::Conclusion::Success),
        "its job was ended"
    );
    remove_all(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_and_more_are_made_so() {
    let mut app = TestApp::with(vec![kept(3)], |_, options| options.timings = quick()).await;
    let names = [name(&app, 1), name(&app, 2), name(&app, 3)];
    deploy(&app).await;
    edit(&mut app, |pool| pool.mode = Mode::Persistent { count: 1 });
    assert_eq!(
        changes(&app).await,
        [
            (names[0].clone(), ChangeKind::Keep),
            (names[1].clone(), ChangeKind::Remove),
            (names[2].clone(), ChangeKind::Remove)
        ]
    );
    // Nobody removes what a person did not say.
    let refused = one(&app, Verb::Start, &names[2], Options::default()).await;
    assert_eq!(refused.kind, OutcomeKind::Unchanged, "{refused:?}");
    let outcomes = deploy(&app).await;
    assert!(outcomes[&names[2]].text.starts_with("removed: pool `web` has 1 runners"), "{outcomes:?}");
    assert_eq!(app.github.runners(&Scope::Organization("acme".to_owned())).len(), 1);
    assert_eq!(app.containers().await.len(), 1);
    edit(&mut app, |pool| pool.mode = Mode::Persistent { count: 2 });
    deploy(&app).await;
    assert_eq!(app.containers().await.len(), 2);
    remove_all(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_image_is_seen_and_rolled_out() {
    let mut app = TestApp::with(vec![kept(1)], |_, options| options.timings = quick()).await;
    let runner = name(&app, 1);
    let tag = format!("runnerfleet-test/{}:current", app.fleet.instance);
    docker(&["tag", &app.config.pools[0].image, &tag]);
    edit(&mut app, |pool| pool.image.clone_from(&tag));
    deploy(&app).await;
    assert_eq!(changes(&app).await, [(runner.clone(), ChangeKind::Keep)]);
    // The tag moves.
    let other = format!("{runner}-other");
    docker(&["create", "--name", &other, &tag, "/bin/sh"]);
    let made = docker(&["commit", "--change", "LABEL moved=yes", &other]);
    docker(&["rm", &other]);
    docker(&["tag", made.trim(), &tag]);
    assert_eq!(changes(&app).await, [(runner.clone(), ChangeKind::Replace)]);
    let outcome = &deploy(&app).await[&runner];
    assert_eq!(outcome.text, "replaced: its image is not the current one");
    let image = docker(&["inspect", "--format", "{{.Image}}", runner.as_str()]);
    assert_eq!(image.trim(), made.trim());
    remove_all(app).await;
    docker(&["rmi", "-f", &tag]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_named_alike_is_never_touched() {
    let app = TestApp::with(vec![kept(2)], |_, options| options.timings = quick()).await;
    let prefix = app.config.pools[0].name_prefix.clone();
    let taken = name(&app, 1);
    let strangers = Strangers(
        [prefix.clone(), format!("acme-{prefix}-15"), format!("{prefix}-api-7"), taken.to_string()]
            .map(|name| {
                docker(&[
                    "run",
                    "-d",
                    "-i",
                    "--name",
                    &name,
                    "--entrypoint",
                    "/bin/sh",
                    &app.config.pools[0].image,
                    "-c",
                    "read line",
                ]);
                name
            })
            .to_vec(),
    );
    let look = || {
        strangers
            .0
            .iter()
            .map(|name| docker(&["inspect", "--format", "{{.Id}} {{.State.Status}} {{.State.StartedAt}}", name]))
            .collect::<Vec<_>>()
    };
    let before = look();
    let both = [taken.clone(), name(&app, 2)];
    let outcomes = order(&keeper(&app), Verb::Deploy, &both, Options::default()).await;
    assert_eq!(outcomes[&taken].kind, OutcomeKind::Failed);
    assert!(outcomes[&taken].text.contains("is not this fleet's"), "{outcomes:?}");
    assert_eq!(outcomes[&both[1]].kind, OutcomeKind::Changed, "the other one is not held up: {outcomes:?}");
    assert_eq!(row(&app, &taken).state.name, StateName::Error);
    for verb in [Verb::Stop, Verb::Restart, Verb::Remove] {
        order(&keeper(&app), verb, &both, Options { force: true, ..Options::default() }).await;
    }
    assert_eq!(look(), before, "somebody else's containers are as they were");
    drop(strangers);
    // The name is free now: the same order succeeds.
    let outcome = one(&app, Verb::Deploy, &taken, Options::default()).await;
    assert_eq!(outcome.kind, OutcomeKind::Changed, "{outcome:?}");
    remove_all(app).await;
}

/// Containers of nobody we know; gone with the test.
struct Strangers(Vec<String>);

impl Drop for Strangers {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = std::process::Command::new("docker").args(["rm", "-f", name]).output();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_over_the_socket_as_well() {
    let app = TestApp::with(vec![kept(1)], |_, options| options.timings = quick()).await;
    let runner = name(&app, 1);
    let client =
        runnerfleet::admin::client::Client::connect(&app.config.http.admin_socket).await.expect("`serve` listens");
    let changes = client.difference(&[]).await.unwrap();
    assert_eq!((changes.len(), changes[0].kind), (1, ChangeKind::Create));
    assert!(client.difference(&[runnerfleet::model::PoolName::new("other")]).await.unwrap().is_empty());
    for (verb, state, phase) in [
        (Verb::Deploy, StateName::Started, "idle"),
        (Verb::Restart, StateName::Started, "idle"),
        (Verb::Stop, StateName::Stopped, "stopped"),
        (Verb::Remove, StateName::Removed, "removed"),
    ] {
        let order = runnerfleet::persistent::Order { verb, runners: vec![runner.clone()], options: Options::default() };
        let (sender, mut news) = tokio::sync::mpsc::channel(64);
        let listened = async {
            let mut all = Vec::new();
            while let Some(told) = news.recv().await {
                all.push(told);
            }
            all
        };
        let (sent, all) = tokio::join!(client.carry_out(&order, sender), listened);
        sent.unwrap();
        let outcome = all.last().and_then(|told| told.outcome.clone()).expect("the last news is the outcome");
        assert_eq!(outcome.kind, OutcomeKind::Changed, "{verb:?}: {all:?}");
        assert!(all.len() > 1, "something is told on the way: {all:?}");
        until("the overview's row", async || {
            let seen = client.overview().await.unwrap();
            let row = seen.runners.into_iter().find(|row| row.name == runner.as_str())?;
            (row.state == state && row.phase.map(|phase| phase.to_string()).as_deref() == Some(phase)).then_some(())
        })
        .await;
    }
    app.finish().await;
}
