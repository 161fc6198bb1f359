//! From a Dockerfile to an image, to nothing to do.

use super::{Bench, id, kinds};
use crate::support::docker::docker;
use runnerfleet::images::{Kind, NewsKind, Options};
use runnerfleet::provider::docker::build::Builder;

async fn a_life(builder: Option<Builder>) {
    let bench = Bench::set_up("build", &["web"]).await;
    let web = bench.pool("web").name.clone();
    let options = Options { builder, ..Options::default() };
    let (ensured, news) = bench.ensure(&options).await;
    assert_eq!(kinds(&ensured), [Kind::Built]);
    let first = ensured[0].result.as_ref().unwrap().clone();
    let repository = format!("runnerfleet/{}/web", bench.fleet.instance);
    assert!(first.reference.starts_with(&format!("{repository}:1.2.3-")), "{first:?}");
    assert_eq!(id(&first.reference), first.image);
    assert_eq!(bench.current("web"), first.image);
    let labels = docker(&["image", "inspect", "-f", "{{json .Config.Labels}}", &first.reference]);
    let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    assert_eq!(labels["runnerfleet.image.instance"], bench.fleet.instance.as_str());
    assert_eq!(labels["runnerfleet.image.pool"], "web");
    assert_eq!(labels["runnerfleet.image.base"], bench.base);
    assert_eq!(labels["runnerfleet.image.base-id"], id(&bench.base).unwrap());
    assert_eq!(labels["org.opencontainers.image.base.name"], bench.base);
    let digest = labels["runnerfleet.image.inputs"].as_str().unwrap();
    assert!(first.reference.ends_with(&digest[..12]) && digest.len() == 64);
    // A container that a person starts from it is nobody's runner.
    assert!(labels.get("runnerfleet.instance").is_none(), "{labels}");

    // Each step, in order, with its number; and what it printed.
    let steps: Vec<_> = news.iter().filter(|one| one.kind == NewsKind::Step).collect();
    assert!(steps.iter().all(|one| one.pool == web));
    let numbers: Vec<_> = steps.iter().filter_map(|one| one.step).collect();
    assert!(numbers.len() >= 3 && numbers.is_sorted(), "{numbers:?}");
    assert!(steps.iter().any(|one| one.text.contains("RUN read line") && one.percent.is_some()), "{news:?}");
    let said = format!("it says {}", bench.greeting("web"));
    assert!(news.iter().any(|one| one.kind == NewsKind::Output && one.text == said), "{news:?}");

    let again = bench.done(&options).await;
    assert_eq!((again.kind, &again.image, &again.reference), (Kind::UpToDate, &first.image, &first.reference));

    bench.write(&web, "greeting", "good morning\n");
    let second = bench.done(&options).await;
    assert_eq!(second.kind, Kind::Built);
    assert!(second.image != first.image && second.reference != first.reference);
    assert_eq!(bench.current("web"), second.image);
    assert_eq!(id(&first.reference), first.image, "the tag of a build stays where it is");
    assert_eq!(id(&format!("{repository}:previous")), first.image);

    // Back to the old text: that image is there still.
    bench.write(&web, "greeting", &format!("{}\n", bench.greeting("web")));
    let third = bench.done(&options).await;
    assert_eq!((third.kind, &third.image), (Kind::Named, &first.image));
    assert_eq!(bench.current("web"), first.image);

    assert!(
        docker(&["ps", "-aq", "--filter", &format!("label=runnerfleet.probe={}", bench.fleet.instance)]).is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_buildkit() {
    a_life(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_older_builder() {
    a_life(Some(Builder::Classic)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_with_the_same_inputs_share_one_build() {
    let bench = Bench::set_up("shared", &["one", "two", "three"]).await;
    for pool in ["one", "two"] {
        bench.write(&bench.pool(pool).name, "greeting", "the same\n");
    }
    let (ensured, news) = bench.ensure(&Options::default()).await;
    assert_eq!(kinds(&ensured), [Kind::Built, Kind::Named, Kind::Built]);
    assert_eq!(bench.current("one"), bench.current("two"));
    assert!(bench.current("three").is_some() && bench.current("three") != bench.current("one"));
    assert!(news.iter().any(|one| one.kind == NewsKind::Note && one.text.contains("the same inputs as pool `one`")));
    let (ensured, _) = bench.ensure(&Options::default()).await;
    assert_eq!(kinds(&ensured), [Kind::UpToDate; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_context_is_streamed_and_our_own_files_stay_here() {
    let mut bench = Bench::set_up("context", &["web"]).await;
    let web = bench.pool("web").name.clone();
    // The configuration stands beside the Dockerfile.
    bench.config.folder = bench.folder.path().join("web");
    bench.config.file = bench.config.folder.join("runners_config.yaml");
    bench.write(&web, "runners_config.yaml", "secret: s3cr3t\n");
    bench.write(&web, "large", &"0123456789abcdef".repeat(1 << 20));
    bench.write(&web, ".dockerignore", "ignored\n");
    bench.write(&web, "ignored", "x");
    let text = "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCOPY . /all\n\
                RUN for f in runners_config.yaml ignored large; do [ -e /all/$f ] && echo \"has $f\" || echo \"no $f\"; done\n";
    bench.write(&web, "Dockerfile", text);
    for builder in [Builder::BuildKit, Builder::Classic] {
        let options = Options { builder: Some(builder), no_cache: true, ..Options::default() };
        let (ensured, news) = bench.ensure(&options).await;
        assert_eq!(kinds(&ensured), [Kind::Built]);
        let said: Vec<_> =
            news.iter().filter(|one| one.kind == NewsKind::Output).map(|one| one.text.as_str()).collect();
        for line in ["no runners_config.yaml", "no ignored", "has large"] {
            assert!(said.contains(&line), "{builder:?}: {said:?}");
        }
        assert!(news.iter().any(|one| one.text == "not sent to the builder: runners_config.yaml"), "{news:?}");
    }
}
