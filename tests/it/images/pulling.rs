//! Bases that come from a registry.

use super::{Bench, id, kinds};
use crate::support::docker::docker;
use crate::support::registry::{PASSWORD, Registry, USER};
use runnerfleet::images::{Kind, NewsKind, Options};
use runnerfleet::provider::{Credentials, Login, RegistryCredentials};
use secrecy::SecretString;
use std::sync::Arc;

/// Knows one account everywhere.
#[derive(Debug)]
struct Alice;

#[async_trait::async_trait]
impl Credentials for Alice {
    async fn for_image(&self, reference: &str) -> Option<RegistryCredentials> {
        let server = reference.split('/').next()?.to_owned();
        let login = Login::Password { user: USER.to_owned(), password: SecretString::from(PASSWORD) };
        Some(RegistryCredentials { server, login, found_in: "a test".to_owned() })
    }

    fn looked_in(&self) -> String {
        "a test".to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_base_is_pulled_and_one_that_moved_with_pull() {
    let mut bench = Bench::set_up("bases", &["web", "as-it-is"]).await;
    let registry = Registry::open();
    registry.push(&bench.fleet.image, "acme/base:2.0.0");
    let base = registry.image("acme/base:2.0.0");
    for pool in &mut bench.config.pools {
        pool.base_image = Some(base.clone());
    }
    let second = &mut bench.config.pools[1];
    (second.build, second.image, second.pull) = (None, base.clone(), true);

    let (ensured, _) = bench.ensure(&Options { dry_run: true, ..Options::default() }).await;
    assert_eq!(kinds(&ensured), [Kind::WouldBuild, Kind::WouldPull]);
    assert_eq!(id(&base), None);

    let (ensured, news) = bench.ensure(&Options::default()).await;
    assert_eq!(kinds(&ensured), [Kind::Built, Kind::Pulled]);
    assert!(news.iter().any(|one| one.kind == NewsKind::Step && one.text == format!("pulling {base}")), "{news:?}");
    let web = bench.current("web");

    // The same tag, another image.
    let pulled = id(&base).unwrap();
    bench.move_base("moved");
    registry.push(&bench.base, "acme/base:2.0.0");
    // Pushing took the local name away.
    docker(&["tag", &pulled, &base]);
    let (ensured, _) = bench.ensure(&Options::default()).await;
    assert_eq!(kinds(&ensured), [Kind::UpToDate, Kind::UpToDate], "nobody asked the registry");
    let (ensured, _) = bench.ensure(&Options { pull: true, ..Options::default() }).await;
    assert_eq!(kinds(&ensured), [Kind::Built, Kind::Pulled]);
    assert_ne!(bench.current("web"), web);
    let (ensured, _) = bench.ensure(&Options { pull: true, ..Options::default() }).await;
    assert_eq!(kinds(&ensured), [Kind::UpToDate, Kind::UpToDate]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_asks_who_we_are() {
    let mut bench = Bench::set_up("asks", &["web", "never"]).await;
    let registry = Registry::closed();
    registry.push(&bench.fleet.image, "acme/base:1");
    let base = registry.image("acme/base:1");
    bench.config.pools[0].base_image = Some(base.clone());
    let second = &mut bench.config.pools[1];
    (second.build, second.image, second.pull) = (None, "nowhere/at-all:1".to_owned(), false);
    let (ensured, _) = bench.ensure(&Options::default()).await;
    let why = ensured[0].result.as_ref().unwrap_err().to_string();
    assert!(why.contains(&base) && why.contains("asked without credentials"), "{why}");
    assert!(why.contains(&format!("`docker login {}`", registry.address)), "{why}");
    let why = ensured[1].result.as_ref().unwrap_err().to_string();
    assert!(why.contains("this pool does not pull; `docker pull nowhere/at-all:1` fetches it"), "{why}");

    bench.docker = bench.docker.clone().with_credentials(Arc::new(Alice));
    let (ensured, _) = bench.ensure(&Options::default()).await;
    assert_eq!(ensured[0].result.as_ref().unwrap().kind, Kind::Built);
}
