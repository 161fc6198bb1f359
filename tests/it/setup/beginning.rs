use super::{Way, behind, get, install, make, mode, post};
use runnerfleet::simulation::github::{Fault, JobSpec};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn from_a_configuration_without_an_app_to_one_that_is_heard_of() {
    let way = Way::with_config().await;
    let mut setup = way.start(&["--url", &way.url()]);
    let page = make(&way, &mut setup).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let to_install = behind(&page.text, "id=\"to-install\" href=\"");
    assert!(page.text.contains("runnerfleet-acme"), "{}", page.text);
    let said = setup.says("Install the App").await;
    assert!(said.contains(&to_install), "{said}");
    // As a person clicks.
    let installed = post(&to_install, &[("account", "acme"), ("which", "all")]).await;
    assert_eq!(installed.status, 200, "{}", installed.text);
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(0), "{said}");
    for words in [
        "ssh -L ",
        "GitHub made the App `runnerfleet-acme`",
        "the App is installed on acme, with all permissions and events that are needed",
        "asking GitHub to send its `ping` again",
        "it arrived: GitHub's log says 200 `OK`, from this setup",
        "runnerfleet serve",
        "`runs-on: [self-hosted, linux, ",
    ] {
        assert!(said.contains(words), "no {words} in {said}");
    }
    way.tells_no_secret(&said);
    way.asked_rightly();

    // The secrets are their owner's alone.
    for (path, wanted) in [("secrets", 0o700), ("secrets/github-app.pem", 0o600), ("secrets/webhook-secret", 0o600)] {
        assert_eq!(mode(&way.path(path)), wanted, "{path}");
    }
    // The references came into the file, and what was there is there.
    let app = way.github.app().unwrap();
    let text = way.text();
    for line in [
        "# ours\nversion: 1\n",
        "  - id: linux   # the only one\n",
        "  # behind caddy\n",
        "  # secrets:\n    # - ${WEBHOOK_SECRET}   # from before\n",
        "  secrets_file: ./secrets/webhook-secret\n",
        "private_key_file: ./secrets/github-app.pem\n",
        &format!("client_id: {}\n", app.client_id),
        &format!("  public_url: '{}'\n", way.url()),
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert_eq!(std::fs::read_to_string(way.path("runners_config.yaml.bak")).unwrap(), way.config("acme"));
    let check = way.run(&["config", "check"]).await;
    assert_eq!((check.code, check.err.as_str()), (Some(0), ""), "{check:?}");
    assert_eq!(app.permissions.len(), 3, "{:?}", app.permissions);

    // A second time there is nothing to do, and nothing is made or changed.
    let again = way.setup(&[]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.err.contains("the App `runnerfleet-acme` exists") && again.err.contains("it arrived"), "{again:?}");
    assert_eq!(way.text(), text);
    assert_eq!(way.github.requests("POST /app-manifests/").len(), 1);
    assert_eq!(way.github.requests("PATCH /app/hook/config").len(), 0);
    // A job that is queued while only the setup listens stays in GitHub's log as failed; see `failures`.
    way.github.queue_job(JobSpec::new("acme/web", ["linux"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_is_cut_off_goes_on_where_it_was() {
    let way = Way::begin().await;
    let (org, url) = (way.org(), way.url());
    let given = ["--org", &org, "--url", &url];
    // Before anybody came: nothing is there.
    let mut setup = way.start(&given);
    let first = setup.page().await;
    let said = setup.interrupt().await;
    assert!(said.contains("the same command goes on") || said.contains("The same command goes on"), "{said}");
    assert!(way.github.app().is_none() && !way.path("runners_config.yaml").exists());

    // Before it was installed: key, secret and configuration are kept. No file was there, so `init`'s is begun with.
    let mut setup = way.start(&given);
    let second = setup.page().await;
    assert_ne!(first, second, "an address of each run's own");
    let back = super::created(&way, &second, Some("Acme's runners")).await;
    assert_eq!(get(&back).await.status, 200);
    setup.says("is not installed").await;
    let said = setup.interrupt().await;
    assert!(said.contains("wrote runners_config.yaml, with one pool"), "{said}");
    let text = way.text();
    assert!(text.contains("secrets_file: ./secrets/webhook-secret") && !text.contains("given-later"), "{text}");
    assert!(text.contains(&format!("org_url: {org}")), "{text}");

    // Between the key and the configuration: the key says whose it is.
    std::fs::remove_file(way.path("runners_config.yaml")).unwrap();
    let mut setup = way.start(&given);
    let said = setup.says("is not installed").await;
    assert!(said.contains("an earlier setup came as far as the key"), "{said}");
    assert!(said.contains("the App `acme-s-runners` exists"), "{said}");
    setup.interrupt().await;
    assert_eq!(way.text(), text, "the same file");

    // Between key and secret: a new one is made and set at GitHub.
    std::fs::remove_file(way.path("runners_config.yaml")).unwrap();
    std::fs::remove_file(way.path("secrets/webhook-secret")).unwrap();
    let mut setup = way.start(&given);
    setup.says("the App's webhook is set at GitHub").await;
    setup.says("is not installed").await;
    setup.interrupt().await;

    // To the end, with another address to listen at.
    way.write(&way.text().replace("127.0.0.1:8080", &way.listen.to_string()));
    install(&way, "acme").await;
    let done = way.setup(&[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("it arrived"), "{done:?}");
    assert_eq!(way.github.requests("POST /app-manifests/").len(), 1, "one App was made");
    way.tells_no_secret(&format!("{done:?}"));
    way.asked_rightly();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_a_person_asks_for_what_it_needs() {
    let way = Way::begin().await;
    way.write(&way.config("octo/tool"));
    let mut setup = way.start(&["--url", &way.url(), "--personal"]);
    let address = setup.page().await;
    let (action, manifest) = super::form(&address).await;
    assert!(action.starts_with(&format!("{}/settings/apps/new?state=", way.github.web_url())), "{action}");
    assert!(manifest.contains("\"administration\":\"write\"") && !manifest.contains("organization_self"), "{manifest}");
    let back = super::created(&way, &address, None).await;
    assert_eq!(get(&back).await.status, 200);
    setup.says("is not installed").await;
    // Only another repository, at first.
    way.github.install("octo", Some(&["other"]));
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the App was not given the repository octo/tool"), "{said}");
    way.github.set_repositories("octo", Some(&["tool"]));
    let done = way.setup(&[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    way.asked_rightly();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_app_leaves_the_key_of_the_first_alone() {
    let way = Way::with_config().await;
    let mut setup = way.start(&["--url", &way.url()]);
    make(&way, &mut setup).await;
    setup.says("is not installed").await;
    setup.interrupt().await;
    let (key, secret) = (way.path("secrets/github-app.pem"), way.path("secrets/webhook-secret"));
    let (first, old) = (std::fs::read(&key).unwrap(), std::fs::read_to_string(&secret).unwrap());
    let mut setup = way.start(&["--new-app", "--name", "runnerfleet-two"]);
    make(&way, &mut setup).await;
    install(&way, "acme").await;
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read(&key).unwrap(), first);
    assert!(way.text().contains("private_key_file: ./secrets/github-app-2.pem"), "{}", way.text());
    let secrets = std::fs::read_to_string(&secret).unwrap();
    assert!(secrets.ends_with(&old) && secrets.lines().count() == 2, "the first App may deliver still");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_gives_once_is_kept_before_an_interruption_is_heard() {
    let way = Way::with_config().await;
    let mut setup = way.start(&["--url", &way.url()]);
    let address = setup.page().await;
    let back = super::created(&way, &address, None).await;
    way.github.faults().next("POST /app-manifests/", Fault::late(Duration::from_secs(2)), 1);
    let page = tokio::spawn(async move { get(&back).await });
    way.github.wait_for_requests("POST /app-manifests/", 1, super::PATIENCE).await.unwrap();
    let said = setup.interrupt().await;
    assert!(said.contains("a moment: GitHub is giving the key"), "{said}");
    assert!(said.contains("what is done stays done"), "{said}");
    assert_eq!(page.await.unwrap().status, 200);
    assert!(way.path("secrets/github-app.pem").exists() && way.path("secrets/webhook-secret").exists());
    assert_eq!(way.text(), way.config("acme"));
    install(&way, "acme").await;
    let done = way.setup(&["--url", &way.url()]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("an earlier setup came as far as the key"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pulled_needs_no_address_and_a_hook_that_leads_nowhere() {
    let way = Way::begin().await;
    let text = way.config("acme");
    let (before, rest) = text.split_once("intake:\n").unwrap();
    let after = rest.split_once("security:").unwrap().1;
    way.write(&format!("{before}intake: pull\nsecurity:{after}"));
    let mut setup = way.start(&[]);
    let page = make(&way, &mut setup).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let to_install = behind(&page.text, "id=\"to-install\" href=\"");
    setup.says("Install the App").await;
    assert_eq!(post(&to_install, &[("account", "acme"), ("which", "all")]).await.status, 200);
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(0), "{said}");
    way.asked_rightly();
    // GitHub writes a log of what it tries to deliver there.
    let app = way.github.app().unwrap();
    assert_eq!(app.events, ["workflow_job"]);
    way.github.webhooks_settled(Duration::from_secs(60)).await.unwrap();
    let log = way.github.deliveries();
    assert!(log.iter().all(|it| it.url == "https://runnerfleet.invalid/webhook" && !it.ok()), "{log:?}");
    assert!(log.iter().any(|it| it.event == "ping"), "{log:?}");
    assert!(!way.path("secrets/webhook-secret").exists());
    let check = way.run(&["config", "check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
}
