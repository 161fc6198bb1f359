//! What makes an image another one, the way back, and what is cleared away.

use super::{Bench, id, kinds};
use crate::support::docker::docker;
use runnerfleet::images::inventory::{ImageState, inventory};
use runnerfleet::images::{ImageError, Kind, Options, current, prune};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_that_moves_makes_a_new_image() {
    let bench = Bench::set_up("moves", &["web"]).await;
    let pools = [bench.pool("web")];
    let row = async || inventory(&bench.config, &bench.docker, &pools).await.unwrap().remove(0);
    let before = row().await;
    assert_eq!((before.state, before.id.as_deref(), before.runners), (ImageState::NotBuilt, None, 0));
    let first = bench.done(&Options::default()).await;
    let built = row().await;
    assert_eq!((built.state, &built.id, built.base.as_ref()), (ImageState::Current, &first.image, Some(&bench.base)));
    assert!(first.reference.ends_with(built.version.as_deref().unwrap()) && built.size.unwrap() > 0);

    // It runs in a container of ours, of this pool.
    let mut spec = bench.fleet.spec("1", "");
    (spec.pool, spec.image) = (bench.pool("web").name.clone(), bench.pool("web").image.clone());
    let container = bench.fleet.launch(&spec).await;
    assert_eq!((row().await.runners, row().await.outdated), (1, 0));

    bench.move_base("two");
    let moved = row().await;
    assert_eq!(moved.state, ImageState::BaseMoved);
    assert!(moved.why.unwrap().contains(&bench.base));
    let second = bench.done(&Options::default()).await;
    assert_eq!(second.kind, Kind::Built);
    assert_ne!(second.reference, first.reference);
    assert_eq!((row().await.state, row().await.runners, row().await.outdated), (ImageState::Current, 0, 1));

    bench.write(&bench.pool("web").name, "greeting", "other\n");
    assert_eq!(row().await.state, ImageState::InputsChanged);
    bench.write(&bench.pool("web").name, "Dockerfile", "nothing");
    let unknown = row().await;
    assert_eq!(unknown.state, ImageState::Unknown);
    assert!(unknown.why.unwrap().contains("it has no FROM"));
    let _ = container;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_base_can_be_tried_and_taken_back() {
    let bench = Bench::set_up("tried", &["web"]).await;
    let web = bench.pool("web").name.clone();
    let instance = &bench.fleet.instance;
    let first = bench.done(&Options::default()).await;
    let nothing = current::roll_back(&bench.docker, instance, &web).await.unwrap_err();
    assert!(matches!(nothing, ImageError::NothingBefore(_)), "{nothing}");

    let newer = bench.base.replace(":1.2.3", ":1.3.0");
    docker(&["tag", &bench.fleet.image, &newer]);
    let options =
        Options { bases: BTreeMap::from([(web.clone(), newer.clone())]), move_current: false, ..Options::default() };
    let tried = bench.done(&options).await;
    assert_eq!((tried.kind, tried.base.as_deref()), (Kind::Built, Some(newer.as_str())));
    assert!(tried.reference.contains(":1.3.0-"));
    assert_eq!(bench.current("web"), first.image, "only when told");

    let image = tried.image.clone().unwrap();
    assert!(current::set_current(&bench.docker, instance, &web, &image).await.unwrap());
    assert!(!current::set_current(&bench.docker, instance, &web, &image).await.unwrap(), "no step, no step back");
    assert_eq!(bench.current("web"), tried.image);
    assert_eq!(current::roll_back(&bench.docker, instance, &web).await.unwrap(), first.image.clone().unwrap());
    assert_eq!(bench.current("web"), first.image);
    docker(&["rmi", &newer]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prune_keeps_what_is_current_before_or_used() {
    let bench = Bench::set_up("prune", &["web"]).await;
    let web = bench.pool("web").name.clone();
    let stranger = Bench::set_up("stranger", &["web"]).await;
    let foreign = stranger.done(&Options::default()).await;
    let mut built = Vec::new();
    for text in ["one", "two", "three", "four"] {
        bench.write(&web, "greeting", &format!("{text}\n"));
        built.push(bench.done(&Options::default()).await);
    }
    // The first is used by a container that is nobody's.
    let container = docker(&["create", &built[0].reference, "true"]);
    let container = container.trim();
    let ids = |found: &[prune::Unneeded]| found.iter().map(|image| Some(image.id.clone())).collect::<Vec<_>>();
    let found = prune::look(&bench.config, &bench.docker, false).await.unwrap();
    assert_eq!(ids(&found), [built[1].image.clone()]);
    assert_eq!(found[0].names, [built[1].reference.clone()]);
    let pruned = prune::prune(&bench.docker, found).await;
    assert!(pruned.iter().all(|one| one.result.is_ok()), "{pruned:?}");
    assert_eq!(id(&built[1].reference), None);
    assert!(prune::look(&bench.config, &bench.docker, false).await.unwrap().is_empty());
    docker(&["rm", container]);
    let found = prune::look(&bench.config, &bench.docker, true).await.unwrap();
    assert_eq!(found.len(), 2, "the first, and the one before: {found:?}");
    assert!(prune::prune(&bench.docker, found).await.iter().all(|one| one.result.is_ok()));
    assert_eq!(bench.current("web"), built[3].image);
    assert_eq!(id(&foreign.reference), foreign.image);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_cache_every_step_runs_again() {
    let bench = Bench::set_up("cache", &["web"]).await;
    let first = bench.done(&Options::default()).await;
    let options = Options { no_cache: true, ..Options::default() };
    let (ensured, news) = bench.ensure(&options).await;
    assert_eq!(kinds(&ensured), [Kind::Built]);
    assert!(news.iter().any(|one| one.text == format!("it says {}", bench.greeting("web"))), "{news:?}");
    assert!(!news.iter().any(|one| one.text.contains("RUN read line") && one.text.contains("(cached)")), "{news:?}");
    assert_eq!(ensured[0].result.as_ref().unwrap().reference, first.reference);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_changes_nothing() {
    let bench = Bench::set_up("dry", &["web"]).await;
    let dry = Options { dry_run: true, ..Options::default() };
    assert_eq!(bench.done(&dry).await.kind, Kind::WouldBuild);
    assert_eq!(bench.current("web"), None);
    let built = bench.done(&Options::default()).await;
    assert_eq!(bench.done(&dry).await.kind, Kind::UpToDate);
    bench.write(&bench.pool("web").name, "greeting", "other\n");
    let would = bench.done(&dry).await;
    assert_eq!((would.kind, would.image), (Kind::WouldBuild, None));
    assert_eq!(bench.current("web"), built.image);
    let arguments = BTreeMap::from([("MORE".to_owned(), "1".to_owned())]);
    let (ensured, news) = bench.ensure(&Options { args: arguments, ..dry }).await;
    assert_eq!(kinds(&ensured), [Kind::WouldBuild]);
    assert!(news.iter().any(|one| one.text.contains("no `ARG MORE`")), "{news:?}");
}
