use super::*;
use runnerfleet::model::{JobId, RepoName};
use secrecy::ExposeSecret;

#[tokio::test]
async fn an_enterprise_server_has_a_path_before_its_api() {
    let server = Server::start_below("/api/v3").await;
    let client = app(&server);
    server.on(ORG_RUNNERS, [list(1, &[listed(1, "a")])]);
    assert_eq!(client.runners(&acme()).await.unwrap().len(), 1);
    assert_eq!(server.asked(MINT).len(), 1);
}

#[tokio::test]
async fn a_renamed_repository_is_followed_with_method_and_body() {
    let server = Server::start().await;
    let client = client(&server);
    let job = Reply::json(200, &json!({ "id": 3, "run_id": 1, "status": "queued" }));
    server.on("GET /repositories/9/actions/jobs/3", [job]);
    server.on(
        "GET /repos/acme/web/actions/jobs/3",
        [Reply::message(301, "Moved Permanently")
            .header("location", format!("{}/repositories/9/actions/jobs/3", server.url))],
    );
    assert!(client.job(&RepoName::new("acme/web"), None, JobId(3)).await.unwrap().is_some());

    let moved = "POST /repositories/9/actions/runners/generate-jitconfig";
    server.on(moved, [jit_made(5)]);
    for status in [301, 302, 307, 308] {
        server.on(
            "POST /repos/acme/web/actions/runners/generate-jitconfig",
            [Reply::text(status, "").header("location", "/repositories/9/actions/runners/generate-jitconfig")],
        );
        jit(&client, &web(), None).await.unwrap();
    }
    let asked = server.asked(moved);
    assert_eq!(asked.len(), 4);
    assert!(
        asked
            .iter()
            .all(|asked| asked.body["name"] == "linux-7" && asked.headers["authorization"] == "Bearer ghp_personal")
    );
}

#[tokio::test]
async fn a_token_never_goes_to_another_host() {
    let (server, stranger) = (Server::start().await, Server::start().await);
    let client = client(&server);
    let elsewhere = [
        format!("{}/orgs/acme/actions/runners", stranger.url),
        stranger.url.replace("http:", "") + "/orgs/acme/actions/runners",
    ];
    for location in &elsewhere {
        server.on(ORG_RUNNERS, [Reply::text(307, "").header("location", location)]);
        let error = client.runners(&acme()).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid { message, .. } if message.contains("not followed")), "{error:?}");
    }
    assert_eq!(stranger.count(), 0);

    server.on(ORG_RUNNERS, [Reply::text(301, "").header("location", "/orgs/acme/actions/runners")]);
    let error = client.runners(&acme()).await.unwrap_err();
    assert!(error.to_string().contains("redirected more than 5 times"), "{error}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_told_without_quoting_it() {
    let server = Server::start().await;
    let client = client(&server);
    let blob = "c2VjcmV0LWppdC1jb25maWc";
    for body in ["<html>proxy</html>", &format!(r#"{{"runner":"{blob}","encoded_jit_config":7}}"#), "", r#"{"runner""#]
    {
        server.on(ORG_JIT, [Reply::text(201, body)]);
        let error = jit(&client, &acme(), None).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert!(!error.to_string().contains(blob), "{error}");
    }
    server.on(ORG_RUNNERS, [Reply::json(200, &json!([]))]);
    assert!(client.runners(&acme()).await.is_err(), "no list is not an empty list");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_an_outage() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = Client::new(&config(&format!("http://127.0.0.1:{port}"), as_owner())).unwrap();
    let error = client.runners(&acme()).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { message, .. } if message.contains("refused")), "{error:?}");
}

#[tokio::test]
async fn a_slow_server_is_not_waited_for() {
    let server = Server::start().await;
    let short = Duration::from_millis(150);
    let client = Client::with_timeouts(&config(&server.url, as_owner()), short, short).unwrap();
    for route in [ORG_JIT, ORG_RUNNERS, ORG_TOKEN] {
        server.on(route, [Reply::text(200, "{}").after(Duration::from_secs(60))]);
    }
    let error = jit(&client, &acme(), None).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { message, .. } if message.contains("150 ms")), "{error:?}");
    assert!(client.registration_token(&acme()).await.is_err());
    assert!(client.runners(&acme()).await.is_err());
    let sent = [ORG_JIT, ORG_TOKEN, ORG_RUNNERS].map(|route| server.asked(route).len());
    assert_eq!(sent, [1, 1, 3]);
}

#[tokio::test]
async fn a_broken_connection_costs_a_token_a_second_try_and_a_runner_none() {
    // Takes each connection, reads the request and hangs up.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&taken);
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut some = [0; 64];
            tokio::io::AsyncReadExt::read(&mut socket, &mut some).await.unwrap();
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let client = Client::new(&config(&url, as_owner())).unwrap();
    assert!(matches!(jit(&client, &acme(), None).await, Err(Error::Unavailable { .. })));
    assert_eq!(taken.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert!(matches!(client.registration_token(&acme()).await, Err(Error::Unavailable { .. })));
    assert_eq!(taken.load(std::sync::atomic::Ordering::SeqCst), 3);
    assert!(matches!(client.runners(&acme()).await, Err(Error::Unavailable { .. })));
    assert_eq!(taken.load(std::sync::atomic::Ordering::SeqCst), 6);
    server.abort();
}

#[tokio::test]
async fn an_address_that_is_none_is_told_at_once() {
    for url in ["api.github.com", "not a url", ""] {
        assert!(matches!(Client::new(&config(url, as_owner())), Err(Error::Invalid { .. })), "{url}");
    }
}

#[tokio::test]
async fn an_opaque_token_may_be_long() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(ORG_TOKEN, [minted(&"A".repeat(700), 60)]);
    assert_eq!(client.registration_token(&acme()).await.unwrap().expose_secret().len(), 700);
}
