use super::*;

fn secs_ahead(until: Timestamp) -> i64 {
    until.duration_since(Timestamp::now()).as_secs()
}

#[tokio::test]
async fn retry_after_is_kept_and_nothing_is_asked_meanwhile() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_RUNNERS, [Reply::message(429, "slow down").header("retry-after", "30")]);
    assert_eq!(client.blocked_until(&acme()), None);
    let error = client.runners(&acme()).await.unwrap_err();
    let Error::RateLimited { until, what } = &error else { panic!("{error:?}") };
    assert!((28..=30).contains(&secs_ahead(*until)), "{until}");
    assert_eq!(what, "list the runners of `acme`");
    assert!(error.is_transient());
    // A secondary limit holds for everything.
    assert!(matches!(jit(&client, &acme(), None).await, Err(Error::RateLimited { .. })));
    assert_eq!(client.blocked_until(&acme()), Some(*until));
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_spent_budget_blocks_its_own_resource_until_the_reset() {
    let server = Server::start().await;
    let client = client(&server);
    let reset = Timestamp::now().as_second() + 600;
    let spent = |resource: &str, reply: Reply| {
        reply
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", reset.to_string())
            .header("x-ratelimit-resource", resource)
    };
    server.on(ORG_RUNNERS, [spent("core", Reply::message(403, "API rate limit exceeded for installation ID 77."))]);
    server.on(ORG_JIT, [spent("actions_runner_registration", jit_made(1))]);
    let error = client.runners(&acme()).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { until, .. } if (598..=600).contains(&secs_ahead(until))), "{error:?}");
    assert_eq!(client.blocked_until(&acme()), None, "runners count on their own");
    // The last one of this hour succeeds.
    jit(&client, &acme(), None).await.unwrap();
    let blocked = client.blocked_until(&acme()).unwrap();
    assert!((598..=600).contains(&secs_ahead(blocked)), "{blocked}");
    assert!(matches!(jit(&client, &acme(), None).await, Err(Error::RateLimited { .. })));
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn what_github_counts_together_is_learned_from_its_answers() {
    let server = Server::start().await;
    let client = client(&server);
    let in_core = |reply: Reply| reply.header("x-ratelimit-resource", "core");
    server.on(ORG_JIT, [in_core(jit_made(1))]);
    let reset = Timestamp::now().as_second() + 600;
    let last =
        in_core(list(0, &[])).header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", reset.to_string());
    server.on(ORG_RUNNERS, [last]);
    jit(&client, &acme(), None).await.unwrap();
    client.runners(&acme()).await.unwrap();
    assert!(client.blocked_until(&acme()).is_some());
}

#[tokio::test]
async fn a_secondary_limit_without_headers_means_a_minute() {
    let server = Server::start().await;
    let client = client(&server);
    server.on(ORG_JIT, [Reply::message(403, "You have exceeded a secondary rate limit. Please wait a few minutes.")]);
    let error = jit(&client, &acme(), None).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { until, .. } if (58..=60).contains(&secs_ahead(until))), "{error:?}");
}

#[tokio::test]
async fn one_account_at_its_limit_does_not_stop_another() {
    let server = Server::start().await;
    let client = app(&server);
    server.on("GET /orgs/other/installation", [installation(77)]);
    server.on("GET /orgs/other/actions/runners", [list(0, &[])]);
    server.on(ORG_RUNNERS, [Reply::message(429, "slow down").header("retry-after", "30")]);
    assert!(matches!(client.runners(&acme()).await, Err(Error::RateLimited { .. })));
    client.runners(&Scope::Organization("other".to_owned())).await.unwrap();
}

#[tokio::test]
async fn a_limit_of_the_app_itself_blocks_where_a_token_is_needed() {
    let server = Server::start().await;
    let client = app(&server);
    server.on(ORG_INSTALLATION, [Reply::message(403, "secondary rate limit").header("retry-after", "90")]);
    assert!(matches!(client.registration_token(&acme()).await, Err(Error::RateLimited { .. })));
    assert!(client.blocked_until(&acme()).is_some());
}

#[tokio::test]
async fn no_more_than_the_configured_number_is_under_way_at_once() {
    let server = Server::start().await;
    let few = GitHub { max_concurrent: 2, ..config(&server.url, as_owner()) };
    let client = Client::new(&few).unwrap();
    server.on(ORG_RUNNERS, [list(0, &[]).after(Duration::from_millis(15))]);
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.runners(&acme()).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(server.most_under_way(), 2);
}
