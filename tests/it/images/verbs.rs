//! `runnerfleet build` and `runnerfleet images`, as a person types them.

use super::{GOOD, id};
use crate::support::docker::docker;
use crate::support::program::Program;

struct Bench {
    program: Program,
    base: String,
}

impl Bench {
    /// Pools `web` and `api` are built in folders of their names; `linux` runs its base as it is.
    async fn set_up() -> Self {
        let program = Program::set_up().await;
        let mut config = program.config();
        let stand_in = config["runners_defaults"]["base_image"].as_str().unwrap().to_owned();
        let base = format!("base-of-{}:1.2.3", program.fleet.instance);
        docker(&["tag", &stand_in, &base]);
        config["runners_defaults"]["base_image"] = base.clone().into();
        let pool = |name: &str| serde_json::json!({ "id": name, "labels": [name], "build_image": name });
        let linux = serde_json::json!({ "id": "linux", "labels": ["linux"] });
        config["runners"] = serde_json::json!([pool("web"), pool("api"), linux]);
        program.write_config(&config);
        for name in ["web", "api"] {
            std::fs::create_dir(program.path(name)).unwrap();
            std::fs::write(program.path(name).join("Dockerfile"), GOOD).unwrap();
            std::fs::write(
                program.path(name).join("greeting"),
                format!("hello from {name} of {}\n", program.fleet.instance),
            )
            .unwrap();
        }
        Self { program, base }
    }

    fn current(&self, pool: &str) -> Option<String> {
        id(&format!("runnerfleet/{}/{pool}:current", self.program.fleet.instance))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rmi", &self.base]).output();
    }
}

fn pair(pool: &str, outcome: &str) -> (String, String) {
    (pool.to_owned(), outcome.to_owned())
}

fn outcomes(rows: &serde_json::Value) -> Vec<(String, String)> {
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(|row| (text(row, "pool"), text(row, "outcome"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn build_then_nothing_to_do_then_images_then_prune() {
    let bench = Bench::set_up().await;
    let program = &bench.program;
    let dry = program.json(&["build", "--dry-run"]).await;
    assert_eq!(outcomes(&dry), [pair("web", "would be built"), pair("api", "would be built")]);
    assert_eq!(bench.current("web"), None);

    let built = program.run(&["build"]).await;
    println!("{}{}", built.out, built.err);
    assert_eq!(built.code, Some(0), "{built:?}");
    assert!(built.out.contains("POOL") && built.out.ends_with("2 built\n"), "{}", built.out);
    let step = built.err.lines().find(|line| line.starts_with("api ") && line.contains("RUN read line"));
    let step = step.unwrap_or_else(|| panic!("{}", built.err));
    assert!(step.contains('%') && step.contains("3/3 ") && step.contains('s'), "{step}");
    assert!(!built.err.contains("it says hello"), "what a step prints is told when it fails: {}", built.err);

    let again = program.run(&["build", "web"]).await;
    assert_eq!(again.code, Some(0));
    assert!(again.out.contains("up to date") && again.out.contains(":1.2.3-"), "{}", again.out);
    let quiet = program.run(&["build", "--quiet"]).await;
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (Some(0), "", ""));
    let linux = program.json(&["build", "linux", "-q"]).await;
    assert_eq!(outcomes(&linux), [pair("linux", "nothing to build")]);

    let rows = program.json(&["images"]).await;
    let states: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["current"; 3]);
    assert_eq!((&rows[0]["base"], &rows[0]["newest"]), (&serde_json::json!(bench.base), &serde_json::Value::Null));
    std::fs::write(program.path("web").join("greeting"), "two\n").unwrap();
    let table = program.ok(&["images"]).await;
    println!("{table}");
    assert!(table.lines().any(|line| line.starts_with("web ") && line.ends_with("inputs changed")), "{table}");

    let first = bench.current("web");
    for text in ["two", "three"] {
        std::fs::write(program.path("web").join("greeting"), format!("{text}\n")).unwrap();
        program.ok(&["build", "web"]).await;
    }
    let asked = program.run(&["images", "prune"]).await;
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    let dry = program.json(&["images", "prune", "--dry-run"]).await;
    assert_eq!((dry.as_array().unwrap().len(), dry[0]["outcome"].as_str()), (1, Some("would go")));
    assert_eq!(dry[0]["id"].as_str(), first.as_deref());
    let pruned = program.ok(&["images", "prune", "--yes"]).await;
    println!("{pruned}");
    assert!(pruned.contains("removed") && pruned.contains("freed"), "{pruned}");
    assert_eq!(id(first.as_deref().unwrap()), None);
    assert!(program.ok(&["images", "prune"]).await.contains("no image can go"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_with_one_pool_is_told_and_the_other_is_built() {
    let bench = Bench::set_up().await;
    let program = &bench.program;
    let text = "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nRUN echo one; echo two; exit 7\n";
    std::fs::write(program.path("web").join("Dockerfile"), text).unwrap();
    let built = program.run(&["build"]).await;
    println!("{}{}", built.out, built.err);
    assert_eq!(built.code, Some(1), "{built:?}");
    assert!(built.err.contains("error: pool `web`: step 2/2 RUN echo one"), "{}", built.err);
    assert!(built.err.contains("the last lines of its output:\n  one\n  two\n"), "{}", built.err);
    assert!(built.out.ends_with("1 failed, 1 built\n"), "{}", built.out);
    assert!(bench.current("web").is_none() && bench.current("api").is_some());
    let quiet = program.run(&["build", "-q"]).await;
    assert_eq!((quiet.code, quiet.out.as_str()), (Some(1), ""));
    assert!(quiet.err.starts_with("error: pool `web`"), "{}", quiet.err);

    for (arguments, words) in [
        (&["build", "wob"][..], "there is no pool `wob`; the configuration has web, api, linux"),
        (&["build", "--build-arg", "1=2"], "`1` is not the name of a build argument"),
        (&["images", "prune", "web"], "unexpected argument"),
    ] {
        let refused = program.run(arguments).await;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(words), "{arguments:?}: {}", refused.err);
    }
    let older = program.command(&["build", "api", "--no-cache"]).env("DOCKER_BUILDKIT", "0").output().await.unwrap();
    assert!(older.status.success(), "{older:?}");
    let mut config = program.config();
    config["hosts"][0]["docker"] = "unix:///nowhere/docker.sock".into();
    program.write_config(&config);
    for verb in ["build", "images"] {
        let away = program.run(&[verb]).await;
        assert_eq!(away.code, Some(1), "{away:?}");
        assert!(away.err.contains("Docker cannot be reached") && away.err.contains("/nowhere/docker.sock"), "{away:?}");
    }
}
