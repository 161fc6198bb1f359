use super::{Way, mode};
use crate::support::program::run;
use runnerfleet::simulation::github::App;
use runnerfleet::simulation::keys::{self, AppKey};
use secrecy::ExposeSecret;

const SECRET: &str = "a secret of the automation's own";

/// An App that somebody made by hand and installed on acme; its hook delivers elsewhere.
async fn existing() -> (Way, AppKey) {
    let key = keys::generate().unwrap();
    let public = key.public_pem.clone();
    let way = Way::with(move |options| {
        let acme = runnerfleet::simulation::github::Options::acme(App::with_public_key(public));
        options.app = acme.app;
        options.accounts = acme.accounts;
    })
    .await;
    way.github.set_webhook("https://elsewhere.example.com/webhook", None);
    way.write(&way.config("acme"));
    (way, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_enough_for_automation() {
    let (way, key) = existing().await;
    way.github.set_webhook(format!("{}/webhook", way.url()), None);
    way.github.ping();
    way.github.webhooks_settled(super::PATIENCE).await.unwrap();
    let command = |arguments: &[&str]| {
        let mut command = way.command(&[&["setup", "--non-interactive"], arguments].concat());
        command.env("RUNNERFLEET_SETUP_ORG", way.org()).env("RUNNERFLEET_SETUP_URL", way.url());
        command.env("RUNNERFLEET_SETUP_CLIENT_ID", "4242").env("RUNNERFLEET_SETUP_WEBHOOK_SECRET", SECRET);
        // As an `.env` file or a CI's variable has it.
        command.env("RUNNERFLEET_SETUP_PRIVATE_KEY", key.private_pem.expose_secret().replace('\n', "\\n"));
        command
    };
    // It is not changed at GitHub unless that is said.
    let unasked = run(&mut command(&[])).await;
    assert_eq!(unasked.code, Some(1), "{unasked:?}");
    assert!(unasked.err.contains("--set-webhook sets it"), "{unasked:?}");
    let done = run(&mut command(&["--set-webhook"])).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("it arrived"), "{done:?}");
    way.tells_no_secret(&format!("{unasked:?}{done:?}"));
    assert!(!format!("{unasked:?}{done:?}").contains(SECRET));
    assert_eq!(mode(&way.path("secrets/github-app.pem")), 0o600);
    assert_eq!(std::fs::read_to_string(way.path("secrets/webhook-secret")).unwrap(), format!("{SECRET}\n"));
    assert!(way.text().contains("client_id: Iv23liSimulated00042"), "{}", way.text());
    // The next time the file alone says it all.
    let again = way.run(&["setup", "--non-interactive"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    way.asked_rightly();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_file_is_used_where_it_is() {
    let (way, key) = existing().await;
    let file = way.path("app.pem");
    std::fs::write(&file, key.private_pem.expose_secret()).unwrap();
    let given =
        ["--non-interactive", "--url", &way.url(), "--client-id", "Iv23liSimulated00042", "--key-file", "app.pem"];
    let secretless = way.setup(&given).await;
    assert_eq!(secretless.code, Some(2), "{secretless:?}");
    assert!(
        secretless.err.contains("no webhook secret is here") && secretless.err.contains("--set-webhook"),
        "{secretless:?}"
    );
    // Nothing was ever delivered there, so there is nothing to send again.
    let done = way.setup(&[&given[..], &["--set-webhook"]].concat()).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("log of deliveries is empty"), "{done:?}");
    assert!(way.text().contains("private_key_file: ./app.pem"), "{}", way.text());
    assert!(!way.path("secrets/github-app.pem").exists());
    assert_eq!(way.github.requests("PATCH /app/hook/config").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_or_another_apps_is_refused() {
    let (way, _) = existing().await;
    let url = way.url();
    let given = |file: &'static str| {
        ["--non-interactive", "--url", &url, "--client-id", "4242", "--key-file", file].map(str::to_owned)
    };
    let run = async |file: &'static str| {
        let given = given(file);
        way.setup(&given.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let missing = run("nothing.pem").await;
    assert!(missing.code == Some(2) && missing.err.contains("nothing.pem is not there"), "{missing:?}");
    std::fs::write(way.path("text.pem"), "hello").unwrap();
    let text = run("text.pem").await;
    assert!(text.code == Some(2) && text.err.contains("text.pem is no private key"), "{text:?}");
    std::fs::write(way.path("other.pem"), keys::generate().unwrap().private_pem.expose_secret()).unwrap();
    let other = run("other.pem").await;
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.err.contains("GitHub does not know the App `4242` with this key"), "{other:?}");
    let before = way.config("acme");
    assert_eq!(way.text(), before, "nothing is written");
    let nobodys = way.setup(&["--non-interactive", "--url", &url, "--key-file", "other.pem"]).await;
    assert!(nobodys.code == Some(2) && nobodys.err.contains("whose key is it?"), "{nobodys:?}");
    let keyless = way.setup(&["--non-interactive", "--url", &url, "--client-id", "4242"]).await;
    assert!(
        keyless.code == Some(2) && keyless.err.contains("its key is not in ./secrets/github-app.pem"),
        "{keyless:?}"
    );
    // A key of another App where the new one would go.
    std::fs::create_dir(way.path("secrets")).unwrap();
    std::fs::rename(way.path("other.pem"), way.path("secrets/github-app.pem")).unwrap();
    let (real, real_key) = existing().await;
    std::fs::create_dir(real.path("secrets")).unwrap();
    std::fs::copy(way.path("secrets/github-app.pem"), real.path("secrets/github-app.pem")).unwrap();
    let mut command = real.command(&["setup", "--non-interactive", "--url", &url, "--client-id", "4242"]);
    let refused = crate::support::program::run(
        command.env("RUNNERFLEET_SETUP_PRIVATE_KEY", real_key.private_pem.expose_secret()),
    )
    .await;
    assert!(
        refused.code == Some(2) && refused.err.contains("holds another key, which is not written over"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_person_no_app_is_made() {
    let way = Way::with_config().await;
    let said = way.setup(&["--non-interactive", "--url", &way.url()]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("GitHub lets only a person make one"), "{said:?}");
    let shown: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(shown["page"], format!("{}/organizations/acme/settings/apps/new", way.github.web_url()));
    assert_eq!(shown["manifest"]["default_permissions"]["actions"], "read");
    assert_eq!(shown["manifest"]["hook_attributes"]["url"], format!("{}/webhook", way.url()));
    assert!(!way.path("secrets/github-app.pem").exists());
}
