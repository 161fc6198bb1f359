use super::*;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use runnerfleet::model::{JobId, RepoName};
use secrecy::ExposeSecret;
use std::process::Stdio;

#[derive(serde::Deserialize)]
struct Claims {
    iss: String,
    iat: i64,
    exp: i64,
}

fn bearer(asked: &server::Asked) -> &str {
    asked.headers["authorization"].strip_prefix("Bearer ").unwrap()
}

/// The public half of the test key.
fn public_key() -> Vec<u8> {
    let mut openssl = Command::new("openssl")
        .args(["rsa", "-pubout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(KEY.as_bytes()).unwrap();
    openssl.wait_with_output().unwrap().stdout
}

#[tokio::test]
async fn the_app_signs_as_github_wants_it_and_asks_for_the_least() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(ORG_RUNNERS, [list(0, &[])]);
    client.runners(&acme()).await.unwrap();

    let mints = server.asked(MINT);
    let mut validation = Validation::new(Algorithm::RS256);
    validation.leeway = 0;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_rsa_pem(&public_key()).unwrap();
    let claims = jsonwebtoken::decode::<Claims>(bearer(&mints[0]), &key, &validation).unwrap().claims;
    assert_eq!(claims.iss, "Iv23liTest");
    let now = Timestamp::now().as_second();
    assert!((50..=70).contains(&(now - claims.iat)), "dated {} s back", now - claims.iat);
    assert!((530..=540).contains(&(claims.exp - now)), "lives {} s", claims.exp - now);
    assert_eq!(mints[0].body, json!({ "permissions": { "organization_self_hosted_runners": "write" } }));
    assert_eq!(bearer(&server.asked(ORG_RUNNERS)[0]), "ghs_first");
}

#[tokio::test]
async fn a_jwt_that_served_and_is_refused_is_replaced_at_once() {
    let server = Server::start().await;
    let client = app(&server);
    let (found, refused) = (Reply::json(200, &json!({ "id": 7, "slug": "fleet" })), Reply::message(401, "expired"));
    server.on("GET /app", [found.clone(), refused.clone(), found, refused]);
    client.app().await.unwrap();
    client.app().await.unwrap();
    assert_eq!(server.asked("GET /app").len(), 3);
    // Twice in one call, and no third time; then one that never served, and no second time.
    assert!(matches!(client.app().await, Err(Error::Credentials(_))));
    assert_eq!(server.asked("GET /app").len(), 5);
    assert!(matches!(client.app().await, Err(Error::Credentials(_))));
    assert_eq!(server.asked("GET /app").len(), 6);
}

#[tokio::test]
async fn each_use_has_a_token_of_its_own() {
    let server = Server::start().await;
    let client = app(&server);
    server.on("GET /repos/acme/web/actions/runners", [list(0, &[])]);
    client.runners(&web()).await.unwrap();
    client.job(&RepoName::new("acme/web"), Some(77), JobId(3)).await.unwrap();
    let bodies: Vec<Value> = server.asked(MINT).into_iter().map(|asked| asked.body).collect();
    assert_eq!(
        bodies,
        [
            json!({ "repositories": ["web"], "permissions": { "administration": "write" } }),
            json!({ "permissions": { "actions": "read" } })
        ]
    );
}

#[tokio::test]
async fn fifty_cold_callers_cost_one_token() {
    let server = Server::start().await;
    let client = app(&server);
    let long = format!("ghs_5_eyJ{}.x-y_z", "a".repeat(500));
    server.on(MINT, [minted(&long, 60).after(Duration::from_millis(50))]);
    server.on(ORG_RUNNERS, [list(0, &[])]);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.runners(&acme()).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(server.asked(MINT).len(), 1);
    assert_eq!(server.asked(ORG_INSTALLATION).len(), 1);
    let asked = server.asked(ORG_RUNNERS);
    assert_eq!(asked.len(), 50);
    assert!(asked.iter().all(|asked| bearer(asked) == long));
}

#[tokio::test]
async fn callers_that_wait_for_a_failing_mint_share_its_failure() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(MINT, [Reply::message(500, "oops").after(Duration::from_millis(100))]);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.runners(&acme()).await })
        })
        .collect();
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(Error::Unavailable { .. })));
    }
    assert!(server.asked(MINT).len() < 5, "{} mints", server.asked(MINT).len());
}

#[tokio::test]
async fn a_token_with_less_than_five_minutes_left_is_renewed() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(MINT, [minted("ghs_short", 4), minted("ghs_next", 60)]);
    server.on(ORG_RUNNERS, [list(0, &[])]);
    for _ in 0..3 {
        client.runners(&acme()).await.unwrap();
    }
    let used: Vec<String> = server.asked(ORG_RUNNERS).iter().map(|asked| bearer(asked).to_owned()).collect();
    assert_eq!(used, ["ghs_short", "ghs_next", "ghs_next"]);
}

#[tokio::test]
async fn an_old_token_serves_while_no_new_one_can_be_had() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(MINT, [minted("ghs_short", 4), Reply::message(503, "down")]);
    server.on(ORG_RUNNERS, [list(0, &[])]);
    client.runners(&acme()).await.unwrap();
    client.runners(&acme()).await.unwrap();
    assert_eq!(bearer(&server.asked(ORG_RUNNERS)[1]), "ghs_short");
}

#[tokio::test]
async fn a_lapsed_clock_here_does_not_matter_for_the_life_of_a_token() {
    let server = Server::start().await;
    let client = app(&server);
    // GitHub's clock is two hours behind ours: by ours the token would be long dead.
    let then = Timestamp::now() - SignedDuration::from_hours(2);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then).unwrap();
    server.on(MINT, [minted("ghs_first", -60).header("date", date)]);
    server.on(ORG_RUNNERS, [list(0, &[])]);
    client.runners(&acme()).await.unwrap();
    client.runners(&acme()).await.unwrap();
    assert_eq!(server.asked(MINT).len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_even_for_a_post() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(MINT, [minted("ghs_revoked", 60), minted("ghs_good", 60)]);
    server.on(ORG_JIT, [Reply::message(401, "Bad credentials"), jit_made(1)]);
    jit(&client, &acme(), None).await.unwrap();
    let used: Vec<String> = server.asked(ORG_JIT).iter().map(|asked| bearer(asked).to_owned()).collect();
    assert_eq!(used, ["ghs_revoked", "ghs_good"]);

    server.on(ORG_JIT, [Reply::message(401, "Bad credentials")]);
    assert!(matches!(jit(&client, &acme(), None).await, Err(Error::Credentials(_))));
    assert_eq!(server.asked(ORG_JIT).len(), 4);
}

#[tokio::test]
async fn the_installation_of_another_app_in_an_event_is_looked_up() {
    let server = Server::start().await;
    let client = app(&server);
    server.on("POST /app/installations/5/access_tokens", [Reply::message(404, "Not Found")]);
    server.on(
        "GET /repos/acme/web/actions/jobs/3",
        [Reply::json(200, &json!({ "id": 3, "run_id": 1, "status": "queued" }))],
    );
    let job = client.job(&RepoName::new("acme/web"), Some(5), JobId(3)).await.unwrap();
    assert!(job.is_some());
    assert_eq!(server.asked("GET /repos/acme/web/installation").len(), 1);
}

#[tokio::test]
async fn a_wrong_configured_installation_is_found_out_by_its_404() {
    let server = Server::start().await;
    server.on("POST /app/installations/5/access_tokens", [minted("ghs_elsewhere", 60)]);
    let _ = app(&server);
    let client = Client::new(&config(&server.url, as_app(Some(5)))).unwrap();
    server.on(ORG_RUNNERS, [Reply::message(404, "Not Found"), list(1, &[listed(1, "a")])]);
    assert_eq!(client.runners(&acme()).await.unwrap().len(), 1);
    assert_eq!(bearer(&server.asked(ORG_RUNNERS)[1]), "ghs_first");
}

#[tokio::test]
async fn a_404_of_a_known_installation_is_believed() {
    let server = Server::start().await;
    let client = app(&server);
    let deleted = client.delete_runner(&acme(), runnerfleet::model::RegistrationId(9)).await.unwrap();
    assert_eq!(deleted, runnerfleet::github::Deleted::WasGone);
    assert_eq!(server.asked(ORG_INSTALLATION).len(), 1, "it was looked up a moment ago");
}

#[tokio::test]
async fn an_app_that_is_not_installed_is_told_so() {
    let server = Server::start().await;
    let client = Client::new(&config(&server.url, as_app(None))).unwrap();
    let error = client.runners(&acme()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "cannot find the App's installation on `acme`: Not Found (is the App installed there?)"
    );
}

#[tokio::test]
async fn a_permission_that_was_not_granted_is_named() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(MINT, [Reply::message(422, "The permissions requested are not granted to this installation.")]);
    let error = client.runners(&acme()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Denied { needs: Some(needs), .. } if needs == "organization_self_hosted_runners=write"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_burst_of_agents_costs_one_registration_token() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(ORG_TOKEN, [minted("AAAB1", 60).after(Duration::from_millis(30))]);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.registration_token(&acme()).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().expose_secret(), "AAAB1");
    }
    assert_eq!(server.asked(ORG_TOKEN).len(), 1);

    // Another scope has another one; one that is about to lapse is not handed out again.
    let repository = "POST /repos/acme/web/actions/runners/registration-token";
    server.on(repository, [minted("AAAB2", 4), minted("AAAB3", 60)]);
    for expected in ["AAAB2", "AAAB3", "AAAB3"] {
        assert_eq!(client.registration_token(&web()).await.unwrap().expose_secret(), expected);
    }
}

#[tokio::test]
async fn we_learn_who_we_are() {
    let server = Server::start().await;
    server.on("GET /app", [Reply::json(200, &json!({ "id": 5, "slug": "fleet", "owner": { "login": "acme" } }))]);
    assert_eq!(app(&server).check().await.unwrap(), "GitHub App `fleet` (App id 5) of `acme`");
    server.on("GET /rate_limit", [Reply::json(200, &json!({})).header("x-oauth-scopes", "admin:org, repo")]);
    let who = client(&server).check().await.unwrap();
    assert_eq!(who, "the owner of a personal token with the scopes admin:org, repo");
    // Limits are off on that server, and it looked at the token first.
    server.on("GET /rate_limit", [Reply::message(404, "Rate limiting is not enabled.")]);
    client(&server).check().await.unwrap();
    server.on("GET /rate_limit", [Reply::message(401, "Bad credentials")]);
    assert!(matches!(client(&server).check().await, Err(Error::Credentials(_))));
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_told_before_anything_is_asked() {
    let server = Server::start().await;
    for key in ["", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "ghs_notakey"] {
        let auth = GitHubAuth::App { issuer: "1".to_owned(), private_key: SecretString::from(key), installation: None };
        let error = Client::new(&config(&server.url, auth)).unwrap_err();
        assert!(matches!(&error, Error::Credentials(text) if text.contains("private key")), "{error:?}");
    }
    let no_token = GitHubAuth::Token(SecretString::from(" "));
    assert!(matches!(Client::new(&config(&server.url, no_token)), Err(Error::Credentials(_))));
    assert_eq!(server.count(), 0);
}
