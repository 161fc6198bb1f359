use super::*;
use runnerfleet::model::RegistrationId;

#[tokio::test]
async fn each_refusal_has_its_own_name_and_words() {
    let server = Server::start().await;
    let client = client(&server);
    let denied = Reply::message(403, "Resource not accessible by personal access token")
        .header("x-accepted-github-permissions", "organization_self_hosted_runners=write");
    let cases = [
        (
            denied,
            "GitHub does not let us register runner `linux-7` with `acme`: Resource not accessible by personal access \
             token (needs organization_self_hosted_runners=write)",
        ),
        (Reply::message(404, "Not Found"), "cannot register runner `linux-7` with `acme`: Not Found"),
        (
            Reply::json(422, &json!({ "message": "Validation Failed", "errors": ["labels are too long"] })),
            "cannot register runner `linux-7` with `acme`: GitHub refuses the request: Validation Failed: labels are too long",
        ),
        (
            Reply::text(502, "<html>Unicorn!</html>"),
            "cannot register runner `linux-7` with `acme`: GitHub is not available: 502 (Bad Gateway)",
        ),
    ];
    for (reply, expected) in cases {
        server.on(ORG_JIT, [reply]);
        let error = jit(&client, &acme(), None).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.is_transient(), expected.contains("not available"), "{error:?}");
    }
    assert_eq!(server.asked(ORG_JIT).len(), 4, "a JIT config is asked for once");
}

#[tokio::test]
async fn unknown_credentials_say_what_to_check() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_RUNNERS, [Reply::message(401, "Bad credentials")]);
    let error = client.runners(&acme()).await.unwrap_err().to_string();
    assert!(error.contains("not revoked or expired"), "{error}");

    let client = app(&server);
    let too_late = Timestamp::now() + SignedDuration::from_mins(5);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&too_late).unwrap();
    server.on("GET /app", [Reply::message(401, "'Expiration time' claim ('exp') is too old").header("date", date)]);
    let error = client.check().await.unwrap_err().to_string();
    assert!(error.contains("seconds behind GitHub's: set the clock"), "{error}");

    server.on("GET /app", [Reply::message(404, "Integration not found")]);
    let error = client.check().await.unwrap_err();
    assert!(matches!(&error, Error::Credentials(text) if text.contains("client id or App id")), "{error:?}");
}

#[tokio::test]
async fn no_token_reaches_a_message() {
    let server = Server::start().await;
    let client = client(&server);
    let secret = "ghs_12_eyJhbGciOi.eyJpc3MiOi-_.c2ln";
    server
        .on(ORG_RUNNERS, [Reply::message(422, &format!("token {secret} and github_pat_11ABC_def is odd\nfaked line"))]);
    let error = client.runners(&acme()).await.unwrap_err();
    let shown = format!("{error} {error:?} {client:?}");
    assert!(!shown.contains("eyJ") && !shown.contains("github_pat_") && !shown.contains("ghp_"), "{shown}");
    assert!(error.to_string().contains("token [redacted] and [redacted] is odd faked line"), "{error}");
}

#[tokio::test]
async fn questions_and_deletions_are_repeated_and_creations_are_not() {
    let server = Server::start().await;
    let client = client(&server);
    let hiccup = || Reply::message(502, "Server Error");
    server.on(ORG_RUNNERS, [hiccup(), hiccup(), list(0, &[])]);
    client.runners(&acme()).await.unwrap();
    let delete = "DELETE /orgs/acme/actions/runners/7";
    server.on(delete, [hiccup(), Reply::text(204, "")]);
    client.delete_runner(&acme(), RegistrationId(7)).await.unwrap();
    server.on(ORG_RUNNERS, [hiccup()]);
    assert!(matches!(client.runners(&acme()).await, Err(Error::Unavailable { .. })));
    assert_eq!(server.asked(ORG_RUNNERS).len(), 3 + 3);
    for (route, status) in [(ORG_TOKEN, 500), (ORG_JIT, 503)] {
        server.on(route, [Reply::message(status, "Server Error")]);
    }
    assert!(client.registration_token(&acme()).await.is_err());
    assert!(jit(&client, &acme(), None).await.is_err());
    assert_eq!((server.asked(ORG_TOKEN).len(), server.asked(ORG_JIT).len()), (1, 1));
}
