//! The configuration and the files that it names.

use super::{hub, look, look_with, set};
use crate::support::program::run;
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_can_read_is_red_until_the_remedy() {
    let hub = hub().await;
    look(&hub).await.holds("config.secret_files", "ok");
    let key = hub.path("app.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = look(&hub).await;
    told.holds("config.secret_files", "broken");
    assert!(told.says("config.secret_files").contains("(mode 0644)"), "{:?}", told.rows);
    assert_eq!(told.line("config.secret_files")["about"], key.display().to_string());
    told.holds("config.warnings", "ok");
    assert_eq!(told.said.code, Some(1));

    // The remedy is a command that can be run as it stands.
    let chmod = told.remedy("config.secret_files").split(", and").next().unwrap().to_owned();
    let done = std::process::Command::new("sh").args(["-c", &chmod]).status().unwrap();
    assert!(done.success(), "{chmod}");
    look(&hub).await.holds("config.secret_files", "ok");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o660)).unwrap();
    look(&hub).await.holds("config.secret_files", "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_is_warned_of_is_yellow() {
    let hub = hub().await;
    set(&hub, "/intake/secrets", serde_json::json!(["in-the-file-itself"]));
    let told = look(&hub).await;
    told.holds("config.warnings", "warning");
    assert!(told.says("config.warnings").contains("a secret stands in the file itself"));
    assert!(!told.said.out.contains("in-the-file-itself"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_is_a_line_like_others() {
    let hub = hub().await;
    set(&hub, "/runners/0/labels", serde_json::json!(7.5));
    set(&hub, "/nonsense", serde_json::json!(true));
    let told = look(&hub).await;
    assert_eq!(told.said.code, Some(1));
    assert!(told.with("broken").iter().filter(|id| **id == "config.file").count() >= 2, "{:#?}", told.rows);
    told.holds("docker.engine", "broken");
    assert!(told.says("github.clock").contains("because the configuration cannot be used"));

    std::fs::remove_file(hub.path("runners_config.yaml")).unwrap();
    let told = look(&hub).await;
    told.holds("config.file", "broken");
    assert!(told.says("config.file").contains("is not there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_looked_at() {
    let hub = hub().await;
    look(&hub).await.holds("config.certificate", "ok");
    let make = |days: &str| {
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", days])
            .args(["-subj", "/CN=fleet.example", "-keyout", "tls.key", "-out", "tls.pem"])
            .current_dir(hub.folder.path())
            .output()
            .expect("openssl is needed by these tests");
        assert!(made.status.success(), "{made:?}");
        std::fs::set_permissions(hub.path("tls.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    make("90");
    set(&hub, "/http/tls", serde_json::json!({ "cert": "tls.pem", "key": "tls.key" }));
    look(&hub).await.holds("config.certificate", "ok");
    make("5");
    look(&hub).await.holds("config.certificate", "warning");
    std::fs::set_permissions(hub.path("tls.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    look(&hub).await.holds("config.certificate", "broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_lines_with_signs() {
    let hub = hub().await;
    let nowhere = format!("unix://{}", hub.path("no-engine.sock").display());
    let said = run(hub.command(&["doctor"]).env("DOCKER_HOST", &nowhere)).await;
    println!("{}{}", said.out, said.err);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""));
    assert!(said.out.starts_with("config\n  ✓ "), "{}", said.out);
    assert!(said.out.contains("\ndocker\n  ✗ ") && said.out.contains("\n      → start the engine"), "{}", said.out);
    assert!(said.out.contains("  – limits of containers, the engine's warnings, "), "{}", said.out);
    assert!(said.out.contains(": not looked at, because the engine does not answer"), "{}", said.out);
    let last = said.out.lines().last().unwrap();
    assert!(last.contains(" broken, ") && last.ends_with(" in order"), "{last}");
    assert!(!said.out.contains('\x1b'), "no colours where no terminal is");

    let quiet = run(hub.command(&["doctor", "--quiet"]).env("DOCKER_HOST", &nowhere)).await;
    assert!(!quiet.out.contains('✓') && quiet.out.contains('✗'), "{}", quiet.out);
    let few = look_with(&hub, &["--quiet"]).await;
    assert!(few.with("ok").is_empty() && !few.with("broken").is_empty());
    let wrong = hub.run(&["doctor", "--nonsense"]).await;
    assert_eq!(wrong.code, Some(2));
    let yaml = run(hub.command(&["doctor", "-o", "yaml"]).env("DOCKER_HOST", &nowhere)).await;
    assert!(yaml.out.contains("id: config.file"), "{}", yaml.out);
}
