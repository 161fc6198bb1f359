use super::{Way, install, make, mode};
use crate::support::program::Process;
use runnerfleet::setup::key;
use runnerfleet::simulation::github::Outage;
use runnerfleet::simulation::keys;
use secrecy::{ExposeSecret, SecretString};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// An App that is made and installed.
async fn ready() -> Way {
    let way = Way::with_config().await;
    let mut setup = way.start(&["--url", &way.url()]);
    make(&way, &mut setup).await;
    install(&way, "acme").await;
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(0), "{said}");
    way
}

fn secrets(way: &Way) -> Vec<String> {
    let text = std::fs::read_to_string(way.path("secrets/webhook-secret")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// `serve` beside it. Docker may be away: deliveries are taken all the same.
async fn serve(way: &Way) -> Process {
    let mut command = way.command(&["serve"]);
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let log = way.path("serve.log");
    let file = std::fs::File::create(&log).unwrap();
    let process = Process::spawn(command.stderr(file.try_clone().unwrap()).stdout(Stdio::from(file)));
    let listens = async {
        while !std::fs::read_to_string(&log).unwrap_or_default().contains("listening on http://") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, listens).await.expect("`serve` listens");
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_exchanged_beside_a_serve_without_a_refused_delivery() {
    let way = ready().await;
    let _serve = serve(&way).await;
    let old = secrets(&way);
    // Deliveries all the while: none may be refused.
    let before = way.github.deliveries().len();
    let mut setup = way.start(&["--rotate-secret", "--overlap", "1s"]);
    while !setup.process.is_over() {
        way.github.ping();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (code, said) = setup.ended().await;
    assert_eq!(code, Some(0), "{said}");
    way.github.webhooks_settled(super::PATIENCE).await.unwrap();
    let log = way.github.deliveries();
    let refused: Vec<_> = log[before..].iter().filter(|it| it.status_code != 200).map(|it| it.status.clone()).collect();
    assert!(refused.is_empty() && log.len() > before + 5, "{refused:?} of {}", log.len() - before);
    let new = secrets(&way);
    assert_eq!(new.len(), 1);
    assert_ne!(new, old);
    assert_eq!(mode(&way.path("secrets/webhook-secret")), 0o600);
    assert!(said.contains("from `serve`") && said.contains("the old one is valid nowhere any more"), "{said}");
    assert!(!said.contains(&new[0]) && !said.contains(&old[0]), "{said}");
    // The old one is worth nothing.
    way.github.set_webhook(format!("{}/webhook", way.url()), Some(SecretString::from(old[0].clone())));
    way.github.ping();
    way.github.webhooks_settled(super::PATIENCE).await.unwrap();
    assert_eq!(way.github.deliveries().last().unwrap().status_code, 401);
    way.asked_rightly();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_cut_off_goes_on_with_the_same_secret() {
    let way = ready().await;
    let old = secrets(&way);
    let mut setup = way.start(&["--rotate-secret", "--overlap", "1h"]);
    setup.says("have 3600 s to arrive").await;
    setup.interrupt().await;
    let both = secrets(&way);
    assert_eq!((both.len(), &both[1]), (2, &old[0]), "the newest first, and the old one valid");
    // GitHub is away in the middle of it: nothing is lost.
    way.github.set_outage(Outage::Api);
    let away = way.setup(&["--rotate-secret", "--overlap", "0"]).await;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert_eq!(secrets(&way), both);
    way.github.set_outage(Outage::None);
    // Nor is it where deliveries do not arrive.
    let receiver = format!("{}/webhook", way.url());
    way.github.set_webhook("http://127.0.0.1:9/webhook", None);
    let lost = way.setup(&["--rotate-secret", "--overlap", "0"]).await;
    assert_eq!(lost.code, Some(1), "{lost:?}");
    assert!(lost.err.contains("both secrets stay valid") && lost.err.contains("cannot connect"), "{lost:?}");
    assert_eq!(secrets(&way), both);
    way.github.set_webhook(receiver, None);
    let done = way.setup(&["--rotate-secret", "--overlap", "0"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("an exchange was begun: 2 secrets are valid"), "{done:?}");
    assert_eq!(secrets(&way), both[..1]);
    assert_eq!(way.setup(&[]).await.code, Some(0), "GitHub signs with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_a_variable_moves_into_a_file() {
    let way = ready().await;
    let theirs = secrets(&way).remove(0);
    std::fs::remove_file(way.path("secrets/webhook-secret")).unwrap();
    // As it was before there was a setup.
    let text = way.text().replace("  secrets_file: ./secrets/webhook-secret\n", "");
    way.write(&text.replace("  # secrets:\n    # - $", "  secrets:\n    - $"));
    let mut command = way.command(&["setup", "--rotate-secret", "--overlap", "0"]);
    let done = crate::support::program::run(command.env("WEBHOOK_SECRET", &theirs)).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(secrets(&way).len(), 1);
    assert!(way.text().contains("  # secrets:\n    # - ${WEBHOOK_SECRET}"), "{}", way.text());
    // The variable is needed no more.
    let check = way.run(&["config", "check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
}

/// As GitHub's documentation says how to compute it.
fn fingerprint_by_openssl(pem: &str) -> String {
    let pipe = "openssl pkey -pubout -outform DER | openssl sha256 -binary | openssl base64";
    let mut child =
        Command::new("sh").args(["-c", pipe]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
    child.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    format!("SHA256:{}", String::from_utf8(out.stdout).unwrap().trim())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_tried_before_it_takes_the_old_ones_place() {
    let way = ready().await;
    let _serve = serve(&way).await;
    let file = way.path("secrets/github-app.pem");
    let old = std::fs::read_to_string(&file).unwrap();
    let old_public = way.github.app().unwrap().public_key_pem;
    let new = keys::generate().unwrap();
    // In the older of the two forms, as GitHub hands them out.
    let made = Command::new("openssl")
        .args(["genrsa", "-traditional", "-out"])
        .arg(way.path("new.pem"))
        .arg("2048")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let public = Command::new("openssl").args(["rsa", "-pubout", "-in"]).arg(way.path("new.pem")).output().unwrap();
    let new_public = String::from_utf8(public.stdout).unwrap();

    // GitHub does not know it.
    std::fs::write(way.path("other.pem"), new.private_pem.expose_secret()).unwrap();
    let unknown = way.setup(&["--rotate-key", "other.pem"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(
        unknown.err.contains("GitHub does not take the new key") && unknown.err.contains("still in use"),
        "{unknown:?}"
    );
    way.github.set_outage(Outage::Api);
    let away = way.setup(&["--rotate-key", "new.pem"]).await;
    assert!(away.code == Some(1) && away.err.contains("the old key is still in use"), "{away:?}");
    way.github.set_outage(Outage::None);
    std::fs::write(way.path("text.pem"), "hello").unwrap();
    for (name, words) in
        [("nothing.pem", "is not there"), ("text.pem", "no private key"), ("secrets/github-app.pem", "used already")]
    {
        let refused = way.setup(&["--rotate-key", name]).await;
        assert!(refused.code == Some(2) && refused.err.contains(words), "{refused:?}");
    }
    let unnamed = way.setup(&["--rotate-key"]).await;
    assert_eq!(unnamed.code, Some(2), "{unnamed:?}");
    let page = format!("{}/organizations/acme/settings/apps/runnerfleet-acme", way.github.web_url());
    assert!(unnamed.err.contains(&page) && unnamed.err.contains("--rotate-key FILE"), "{unnamed:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), old);

    // A person made it there: both are valid for a while.
    way.github.set_app_keys(&[&old_public, &new_public]);
    let done = way.setup(&["--rotate-key", "new.pem"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("and `serve` works with it"), "{done:?}");
    assert!(done.out.contains(&fingerprint_by_openssl(&old)), "which one to delete: {done:?}");
    assert!(done.out.contains(&page) && done.out.contains("Delete new.pem as well"), "{done:?}");
    assert_eq!(mode(&file), 0o600);
    let now = std::fs::read_to_string(&file).unwrap();
    assert_eq!(key::fingerprint(&SecretString::from(now.clone())).unwrap(), fingerprint_by_openssl(&now));
    way.tells_no_secret(&format!("{done:?}"));
    // Then they delete the old one, and all goes on.
    way.github.set_app_keys(&[&new_public]);
    assert_eq!(way.setup(&[]).await.code, Some(0));
    assert_eq!(way.run(&["deliveries"]).await.code, Some(0));
    way.asked_rightly();
}
