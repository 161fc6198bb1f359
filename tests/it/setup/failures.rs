use super::{Way, created, form, get, install, make, post};
use runnerfleet::simulation::github::{JobSpec, Outage, Timings};
use std::time::Duration;

/// Ends a setup that waits, and gives back what it said.
async fn stopped(mut setup: super::Running) -> String {
    setup.interrupt().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_state_makes_no_app() {
    let way = Way::with_config().await;
    let mut setup = way.start(&["--url", &way.url()]);
    let address = setup.page().await;
    let host = address.rsplit_once('/').unwrap().0.to_owned();
    for state in ["", "0", &"a".repeat(64)] {
        let page = get(&format!("{host}/made?code=c0de&state={state}")).await;
        assert_eq!(page.status, 403);
        assert!(page.text.contains("its state is another one"), "{}", page.text);
    }
    setup.says("with a state that is not ours; ignored").await;
    assert_eq!(way.github.requests("POST /app-manifests/").len(), 0, "nobody's code is tried");
    // The form, and with it the state, is for whoever knows the address; a page that a browser takes for ours gets nothing.
    for path in ["", "/x", "/made"] {
        assert_ne!(get(&format!("{host}{path}")).await.status, 200, "{path}");
    }
    let elsewhere = super::seen(super::client().get(&address).header("host", "evil.example.com")).await;
    assert_eq!((elsewhere.status, elsewhere.text.as_str()), (421, ""));
    // Without a code.
    let state = form(&address).await.0.split_once("state=").unwrap().1.to_owned();
    assert_eq!(get(&format!("{host}/made?state={state}")).await.status, 400);
    // The right one is still good.
    let made = make(&way, &mut setup).await;
    assert_eq!(made.status, 200, "{}", made.text);
    stopped(setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_once() {
    let way = Way::with_config().await;
    let mut setup = way.start(&["--url", &way.url()]);
    let address = setup.page().await;
    let back = created(&way, &address, None).await;
    // Somebody else was faster.
    let code = back.split_once("code=").unwrap().1.split('&').next().unwrap().to_owned();
    let theirs =
        super::seen(super::client().post(format!("{}/app-manifests/{code}/conversions", way.github.api_url()))).await;
    assert_eq!(theirs.status, 201);
    let page = get(&back).await;
    assert_eq!(page.status, 502, "{}", page.text);
    assert!(page.text.contains("was used before"), "{}", page.text);
    let said = setup.says("To make another: begin again").await;
    assert!(said.contains(&format!("{}/organizations/acme/settings/apps", way.github.web_url())), "{said}");
    assert!(!way.path("secrets/github-app.pem").exists());
    // The page is open still: another name, another code.
    let back = created(&way, &address, Some("runnerfleet two")).await;
    assert_eq!(get(&back).await.status, 200);
    setup.says("is not installed").await;
    // The same address once more does nothing.
    let again = get(&back).await;
    assert_eq!(again.status, 409, "{}", again.text);
    assert!(again.text.contains("made already: its code is good once"), "{}", again.text);
    assert_eq!(way.github.requests("POST /app-manifests/").len(), 3);
    stopped(setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_lapses() {
    let way =
        Way::with(|options| options.timings = Timings { manifest_code: Duration::ZERO, ..Timings::default() }).await;
    way.write(&way.config("acme"));
    let mut setup = way.start(&["--url", &way.url()]);
    let page = make(&way, &mut setup).await;
    assert!(page.status == 502 && page.text.contains("older than an hour"), "{}", page.text);
    stopped(setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_told_on_githubs_page_and_another_one_does() {
    let way = Way::with_config().await;
    way.github.take_name("runnerfleet-acme");
    let mut setup = way.start(&["--url", &way.url()]);
    let address = setup.page().await;
    let (action, manifest) = form(&address).await;
    let state = action.split_once("state=").unwrap().1.to_owned();
    let fields = [("name", "runnerfleet-acme"), ("account", "acme"), ("state", &state), ("manifest", &manifest)];
    let taken = post(&format!("{}/_pages/apps", way.github.web_url()), &fields).await;
    assert!(taken.status == 200 && taken.text.contains("Name is already taken"), "{}", taken.text);
    let back = created(&way, &address, Some("runnerfleet-acme-2")).await;
    let page = get(&back).await;
    assert!(page.status == 200 && page.text.contains("runnerfleet-acme-2"), "{}", page.text);
    stopped(setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_key_cannot_be_kept_nobody_is_sent_anywhere() {
    let way = Way::with_config().await;
    std::fs::write(way.path("secrets"), "a file").unwrap();
    let refused = way.setup(&["--url", &way.url()]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("there would be no place for the App's key"), "{refused:?}");
    assert!(refused.err.contains("/secrets cannot be made: file exists"), "{refused:?}");
    assert!(!refused.err.contains("Open this page"), "{refused:?}");
    std::fs::remove_file(way.path("secrets")).unwrap();

    // It could be, and then cannot: GitHub has made the App by then.
    let mut setup = way.start(&["--url", &way.url()]);
    let address = setup.page().await;
    let back = created(&way, &address, None).await;
    std::fs::remove_dir_all(way.path("secrets")).unwrap();
    std::fs::write(way.path("secrets"), "a file").unwrap();
    let page = get(&back).await;
    assert!(page.status == 502 && page.text.contains("shows its key only once"), "{}", page.text);
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("make another key on its page"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_changed_in_place_gets_its_lines_by_hand() {
    let way = Way::with_config().await;
    let flow = way.config("acme").replace("intake:\n  secrets:\n    - ${WEBHOOK_SECRET}   # from before\n", "");
    let flow = format!("{flow}github: {{ auth: {{ token: \"${{THEIR_TOKEN}}\" }} }}\n");
    way.write(&flow);
    let mut setup = way.start(&["--url", &way.url()]);
    let said = setup.says("It answers on this machine alone").await;
    assert!(said.contains("note: runners_config.yaml cannot be changed in place"), "{said}");
    assert_eq!(make(&way, &mut setup).await.status, 200);
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Write these lines there"), "{said}");
    assert_eq!(way.text(), flow, "it is as it was");
    // A person does what it says.
    let lines = said.split_once("goes on with this App:\n\n").unwrap().1;
    let http = lines.split_once("http:\n").unwrap();
    let text = flow.replace("github: { auth: { token: \"${THEIR_TOKEN}\" } }\n", http.0);
    way.write(&text.replace("http:\n", &format!("http:\n{}", http.1.lines().next().unwrap().to_owned() + "\n")));
    install(&way, "acme").await;
    let done = way.setup(&[]).await;
    assert_eq!(done.code, Some(0), "{done:?}\n{}", way.text());
    way.tells_no_secret(&said);
}

/// With the App made and nothing installed.
async fn made() -> Way {
    let way = Way::with_config().await;
    let mut setup = way.start(&["--url", &way.url()]);
    make(&way, &mut setup).await;
    setup.says("is not installed").await;
    stopped(setup).await;
    way
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_that_is_missing_is_named() {
    let way = made().await;
    way.github.set_grants(Some(&["metadata"]));
    install(&way, "acme").await;
    let poor = way.setup(&[]).await;
    assert_eq!(poor.code, Some(1), "{poor:?}");
    for words in [
        "`actions: read` (Repository permissions: Actions) is not granted; without it no job is heard of",
        "`organization_self_hosted_runners: write` (Organization permissions: Self-hosted runners) is not granted",
        "`acme` has not accepted: an owner does at ",
        "mend that, then run `runnerfleet setup` again",
    ] {
        assert!(poor.err.contains(words), "no {words} in {poor:?}");
    }
    way.github.set_permissions(
        "acme",
        [("metadata", "read"), ("actions", "read"), ("organization_self_hosted_runners", "write")],
    );
    way.github.set_suspended("acme", true);
    let suspended = way.setup(&[]).await;
    assert_eq!(suspended.code, Some(1), "{suspended:?}");
    assert!(suspended.err.contains("the installation on `acme` is suspended"), "{suspended:?}");
    way.github.set_suspended("acme", false);
    assert_eq!(way.setup(&[]).await.code, Some(0));
    way.asked_rightly();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_owners_refuse_is_waited_for_with_a_bound() {
    let way = made().await;
    way.github.set_owners_refuse(true);
    let page = format!("{}/apps/runnerfleet-acme/installations/new", way.github.web_url());
    assert_eq!(post(&page, &[("account", "acme"), ("which", "all")]).await.status, 403);
    let late = way.setup(&["--wait", "100ms"]).await;
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.err.contains("the App is not installed on `acme` after"), "{late:?}");
    assert!(late.err.contains("an owner has to approve it"), "{late:?}");
    // The same of a browser that never comes.
    let never = way.setup(&["--new-app", "--wait", "100ms"]).await;
    assert_eq!(never.code, Some(1), "{never:?}");
    assert!(never.err.contains("nobody came back from GitHub within"), "{never:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn github_may_be_away() {
    let way = Way::with_config().await;
    let mut setup = way.start(&["--url", &way.url()]);
    let address = setup.page().await;
    let back = created(&way, &address, None).await;
    way.github.set_outage(Outage::Api);
    let page = get(&back).await;
    assert!(page.status == 502 && page.text.contains("load the page in the browser again"), "{}", page.text);
    way.github.set_outage(Outage::None);
    let page = get(&back).await;
    assert_eq!(page.status, 200, "the code is good still: {}", page.text);
    setup.says("is not installed").await;
    stopped(setup).await;
    way.github.set_outage(Outage::Api);
    let away = way.setup(&[]).await;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.err.contains("GitHub is not available") && away.err.contains("nothing was changed"), "{away:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_told() {
    let way = Way::with_config().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = way.run(&["setup", "--url", &way.url(), "--no-browser", "--port", &port]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains(&format!("port {port} of this machine is taken")), "{refused:?}");
    assert!(refused.err.contains("--port"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_does_not_arrive_says_what_githubs_log_says() {
    let way = made().await;
    install(&way, "acme").await;
    way.github.webhooks_settled(super::PATIENCE).await.unwrap();
    // Nobody can connect there.
    way.github.set_webhook("http://127.0.0.1:9/webhook", None);
    let unasked = way.setup(&[]).await;
    assert_eq!(unasked.code, Some(1), "{unasked:?}");
    let words = "it delivers to http://127.0.0.1:9/webhook, not to";
    assert!(unasked.err.contains(words) && unasked.err.contains("--set-webhook sets it"), "{unasked:?}");
    let dead = way.setup(&["--url", "http://127.0.0.1:9", "--set-webhook"]).await;
    assert_eq!(dead.code, Some(1), "{dead:?}");
    assert!(
        dead.err.contains("`failed to connect to host`: GitHub cannot connect to http://127.0.0.1:9/webhook"),
        "{dead:?}"
    );
    // Another secret.
    let (here, theirs) = (format!("{}/webhook", way.url()), secrecy::SecretString::from("another secret of theirs"));
    way.github.set_webhook(&here, Some(theirs));
    let other = way.setup(&["--url", &way.url()]).await;
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.err.contains("it came here and its signature is wrong"), "{other:?}");
    // The remedy that it names.
    let mended = way.setup(&["--set-webhook"]).await;
    assert_eq!(mended.code, Some(0), "{mended:?}");
    // Somebody else listens where `serve` is to.
    let taken = tokio::net::TcpListener::bind(way.listen).await.unwrap();
    let routes = axum::Router::new().route("/webhook", axum::routing::post(async || axum::http::StatusCode::NOT_FOUND));
    let task = tokio::spawn(async move { axum::serve(taken, routes).await.unwrap() });
    let stranger = way.setup(&[]).await;
    task.abort();
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    assert!(stranger.err.contains("(http.listen) is taken by another program"), "{stranger:?}");
    assert!(stranger.err.contains("leads to something else"), "{stranger:?}");
    way.asked_rightly();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_meets_the_setup_is_kept_in_githubs_log() {
    let way = made().await;
    install(&way, "acme").await;
    way.github.webhooks_settled(super::PATIENCE).await.unwrap();
    way.github.hold_webhooks();
    let mut setup = way.start(&[]);
    setup.says("asking GitHub to send").await;
    way.github.queue_job(JobSpec::new("acme/web", ["linux"]));
    way.github.wait_for_requests("POST /app/hook/deliveries/", 1, super::PATIENCE).await.unwrap();
    // The job's event first, then the ping.
    way.github.release_webhooks(true);
    way.github.release_webhooks(false);
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(0), "{said}");
    let log = way.github.deliveries();
    let of = |event: &str| log.iter().rev().find(|it| it.event == event).unwrap().status_code;
    assert_eq!((of("ping"), of("workflow_job")), (200, 503), "it can be had again once `serve` runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_wrong_use() {
    let way = Way::begin().await;
    let (org, url) = (way.org(), way.url());
    for (arguments, words) in [
        (&["--url", &url][..], "say where the runners are to be with --org"),
        (&["--org", &org], "say where GitHub reaches this machine with --url"),
        (&["--org", "https://github.com/enterprises/x", "--url", &url], "is an enterprise"),
        (&["--org", &org, "--url", "ftp://x"], "--url: `ftp://x` does not begin with `https://`"),
        (&["--org", &org, "--url", "http://ci.example.com"], "is not encrypted"),
        (&["--org", &org, "--url", &url, "--personal"], "in its repositories only"),
        (&["--org", &org, "--url", &url, "--name", &"x".repeat(35)], "1 to 34 characters"),
        (&["--rotate-secret", "--rotate-key"], "cannot be used with"),
    ] {
        let refused = way.setup(arguments).await;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(words), "no {words} in {refused:?}");
    }
    assert!(!way.path("runners_config.yaml").exists() && !way.path("secrets/github-app.pem").exists());
    way.write(&way.config("acme"));
    let refused = way.setup(&["--org", "other", "--url", &url]).await;
    assert!(refused.code == Some(2) && refused.err.contains("leave --org out, or change org_url"), "{refused:?}");
    way.write(&way.config("acme").replace("id: linux", "id: [1]"));
    let broken = way.setup(&["--url", &url]).await;
    assert!(broken.code == Some(2) && broken.err.contains("1 problem in runners_config.yaml"), "{broken:?}");
}
