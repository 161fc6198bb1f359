//! What is fuzzed: everything that others wrote and we read. Each function takes any bytes, and says with assertions what must
//! hold of the result. `fuzz_targets/` runs them under libFuzzer, `tests/it/untrusted.rs` over the same seeds with changes of
//! its own.

use jiff::Timestamp;
use runnerfleet::config::{self, Config};
use runnerfleet::model::{
    Applied, DeliveryId, HostId, Job, JobAction, JobEvent, JobFacts, JobId, JobKey, LabelSet, PoolName, RepoName,
    Runner, RunnerName, Scope, StateName,
};
use runnerfleet::plan::{Match, match_pool};
use runnerfleet::provider::docker::labels;
use runnerfleet::queue::QueuedEvent;
use runnerfleet::untrusted;
use runnerfleet::webhook::payload::{Parsed, parse};
use runnerfleet::webhook::signature::{SignatureError, verify};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A target: reads any bytes, and panics where something does not hold.
pub type Target = fn(&[u8]);

/// All targets, by the names of their files.
pub const TARGETS: &[(&str, Target)] = &[
    ("signature", signature),
    ("webhook", webhook),
    ("config", config),
    ("rewriting", rewriting),
    ("labels", labels),
    ("container_labels", container_labels),
    ("redis", redis),
    ("embedded", embedded),
];

/// The folder of the whole project.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    if here.ends_with("fuzz") {
        here.parent().expect("it is in the project's folder").to_owned()
    } else {
        here.to_owned()
    }
}

/// Inputs that mean something: GitHub's own examples, the project's configuration files, rows as the stores write them, and
/// what was found by fuzzing (`fuzz/found`).
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = match target {
        "signature" => signature_seeds(),
        "webhook" => webhook_seeds(),
        "config" | "rewriting" => config_seeds(),
        "labels" => label_seeds(),
        "container_labels" => container_label_seeds(),
        "redis" => redis_seeds(),
        "embedded" => embedded_seeds(),
        other => panic!("there is no target `{other}`"),
    };
    seeds.extend(files(&root().join("fuzz/found").join(target)).into_iter().map(|(_, bytes)| bytes));
    seeds
}

// ------------------------------------------------------------------------------------------------------------ GitHub, anybody

/// A secret that is in GitHub's documentation, so that a seed can be signed with it.
const SECRET: &str = "It's a Secret to Everybody";

/// A header, a line break, a body: believed only with a signature over exactly that body.
pub fn signature(data: &[u8]) {
    let (header, body) = halves(data);
    let Ok(header) = std::str::from_utf8(header) else { return };
    let (ours, others) = ([SecretString::from(SECRET)], [SecretString::from("another")]);
    let answer = verify(&ours, Some(header), body);
    if answer == Err(SignatureError::Malformed) {
        return;
    }
    assert_eq!((header.len(), header.starts_with("sha256=")), (71, true), "what is not malformed has the one form");
    if answer.is_ok() {
        let longer = [body, b"."].concat();
        assert_eq!(verify(&ours, Some(header), &longer), Err(SignatureError::Wrong), "another body is not believed");
        assert_eq!(verify(&others, Some(header), body), Err(SignatureError::Wrong), "nor another secret");
        assert_eq!(verify(&[], Some(header), body), Err(SignatureError::Wrong), "nor no secret");
    }
}

fn signature_seeds() -> Vec<Vec<u8>> {
    let digits = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let line = |header: String, body: &str| format!("{header}\n{body}").into_bytes();
    vec![
        line(format!("sha256={digits}"), "Hello, World!"),
        line(format!("sha256={}", digits.to_uppercase()), "Hello, World!"),
        line(format!("sha256={digits}"), "Hello, World?"),
        line(format!("sha1={}", &digits[..40]), "Hello, World!"),
        line(String::new(), ""),
    ]
}

/// The event's name, a line break, a body. What becomes an event can be written, read again, and applied: in any order, and
/// the second time without an effect.
pub fn webhook(data: &[u8]) {
    let (event, body) = halves(data);
    let Ok(event) = std::str::from_utf8(event) else { return };
    let event = match parse(event, body) {
        Ok(Parsed::Job(event)) => *event,
        Ok(Parsed::Ping | Parsed::Installation { .. } | Parsed::NotOurs(_)) => return,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let queued = QueuedEvent {
        delivery: DeliveryId { hook: "1".to_owned(), guid: "g".to_owned() },
        received_at: Timestamp::UNIX_EPOCH,
        event: event.clone(),
    };
    survives(&queued);
    assert!(event.job.labels.iter().all(|label| event.job.labels.has(label)), "a label is found in its own set");
    let _ = match_pool(&event.job, None, &CONFIG);
    let Applied::Changed(job) = Job::apply(None, &event, Timestamp::UNIX_EPOCH) else {
        panic!("the first event of a job makes a row")
    };
    survives(job.as_ref());
    assert!(matches!(Job::apply(Some(&job), &event, Timestamp::UNIX_EPOCH), Applied::Unchanged), "{event:?}");
    let late = JobEvent { action: JobAction::Queued, ..event };
    if let Applied::Changed(next) = Job::apply(Some(&job), &late, Timestamp::UNIX_EPOCH) {
        assert!(!job.is_over() && !next.is_over(), "a late `queued` revives nothing: {job:?}");
    }
}

fn webhook_seeds() -> Vec<Vec<u8>> {
    let examples = files(&root().join("tests/fixtures/webhooks"));
    let seed = |(name, body): (String, Vec<u8>)| {
        let event = name.split('.').next().unwrap_or_default().as_bytes();
        // As GitHub sends them: without the spaces of a file that people read.
        let body: serde_json::Value = serde_json::from_slice(&body).expect("an example is JSON");
        [event, b"\n", body.to_string().as_bytes()].concat()
    };
    examples.into_iter().map(seed).collect()
}

// ----------------------------------------------------------------------------------------------------- whoever writes the file

/// What stands behind the variables of a file; no error may show it.
const HIDDEN: &str = "hunter2-and-nobody-else";

fn environment(name: &str) -> Option<String> {
    match name {
        "EMPTY" => Some(String::new()),
        "PORT" => Some("8081".to_owned()),
        name if name.ends_with("SECRET") || name.ends_with("TOKEN") || name.ends_with("KEY") => Some(HIDDEN.to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<config::Loaded, config::Problems> {
    config::parse(text, "c.yaml", Path::new("/nowhere"), &environment, "here")
}

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = std::fs::read_to_string(root().join("fuzz/seeds/small.yaml")).expect("a seed can be read");
    read(&text).expect("the seed is a configuration").config
});

/// A file. Its problems have their place in it, and show nothing of what the variables stand for.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let problems = match read(text) {
        Ok(loaded) => {
            assert!(!config::summary(&loaded.config).is_empty());
            assert!(!format!("{:?}", loaded.config).contains(HIDDEN), "{text}");
            [loaded.warnings, loaded.notes].concat()
        }
        Err(problems) => problems.iter().cloned().collect(),
    };
    let lines = text.lines().count().max(1);
    for problem in problems {
        // The reader counts a last line that is empty, and line ends of other kinds, as lines.
        assert!(
            problem.line <= lines + text.matches(['\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1,
            "{problem:?}"
        );
        assert!(!problem.to_string().contains(HIDDEN), "{problem}\n{text}");
    }
}

/// A file that is rewritten, as `config migrate` and `init` do: what comes out is a file that is taken, and needs no more.
pub fn rewriting(data: &[u8]) {
    use runnerfleet::config::edit::keys::{Wish, set_keys};
    use runnerfleet::config::migrate::migrate;
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Some(new)) = migrate(text, "c.yaml", Path::new("/nowhere"), &environment, "here") {
        assert!(read(&new).is_ok(), "{text}\n---\n{new}");
        let again = migrate(&new, "c.yaml", Path::new("/nowhere"), &environment, "here");
        assert!(matches!(again, Ok(None)), "{text}\n---\n{new}");
    }
    let wishes: [(&[&str], Wish); 3] = [
        (&["github", "auth", "app", "client_id"], Wish::Is("Iv1.0123".to_owned())),
        (&["http", "public_url"], Wish::Is("\"https://example.com\"".to_owned())),
        (&["github", "auth", "token"], Wish::Gone),
    ];
    if let Ok(new) = set_keys(text, &wishes) {
        let again = set_keys(&new, &wishes).expect("what it wrote it can read");
        assert_eq!(new, again, "the second time nothing changes\n{text}");
    }
}

fn config_seeds() -> Vec<Vec<u8>> {
    let root = root();
    let read = |path: &str| std::fs::read(root.join(path)).expect("a seed can be read");
    vec![
        read("runners_config.yaml"),
        read("tests/data/legacy_runners_config.yaml"),
        read("fuzz/seeds/small.yaml"),
        read("fuzz/seeds/legacy.yaml"),
    ]
}

// -------------------------------------------------------------------------------------------------------------------- labels

/// Labels of a pool, an empty line, labels of a job, an empty line, a repository; one label a line.
pub fn labels(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split("\n\n");
    let mut labels = || parts.next().unwrap_or_default().lines().collect::<Vec<_>>();
    let (of_pool, of_job) = (labels(), labels());
    let repository = parts.next().unwrap_or_default();
    let pool: LabelSet = of_pool.iter().copied().collect();
    let job: LabelSet = of_job.iter().copied().collect();
    let fold = |label: &str| label.trim().to_lowercase();
    let covers = of_job.iter().all(|wanted| of_pool.iter().any(|label| fold(label) == fold(wanted)));
    assert_eq!(pool.covers(&job), covers);
    assert_eq!(pool.missing(&job).is_empty(), covers);
    assert!(pool.covers(&pool));
    survives(&pool);
    let facts = JobFacts { labels: job, repository: RepoName::new(repository), ..facts() };
    if let Match::Pool(pool) = match_pool(&facts, None, &CONFIG) {
        assert!(!facts.labels.is_empty() && pool.labels.covers(&facts.labels) && pool.scope.serves(repository));
    }
    if let Ok(scope) = Scope::try_from(repository.to_owned()) {
        assert_eq!(scope.to_string(), repository);
        assert!(scope.api_path().split('/').all(|part| !matches!(part, "" | "." | "..")), "{scope}");
        survives(&scope);
    }
}

fn label_seeds() -> Vec<Vec<u8>> {
    let seed = |pool: &[&str], job: &[&str], repository: &str| {
        format!("{}\n\n{}\n\n{repository}", pool.join("\n"), job.join("\n")).into_bytes()
    };
    vec![
        seed(&["self-hosted", "Linux", "x64"], &["LINUX", "self-hosted"], "acme/web"),
        seed(&["small"], &["small"], "acme/web"),
        seed(&["small", "İstanbul", "straße"], &["STRASSE", " small "], "acme"),
        seed(&[], &[], ""),
        seed(&["a"], &["b"], "../.."),
    ]
}

/// `key=value`, one a line.
pub fn container_labels(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let pairs: HashMap<String, String> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect();
    match labels::read(&pairs) {
        Ok(told) => {
            for text in [told.runner.as_str(), told.pool.as_str(), told.host.as_str()] {
                assert!(!text.is_empty());
            }
            assert_eq!(pairs.get(labels::SCOPE), Some(&told.scope.to_string()));
            assert_eq!(told.kept.is_some(), pairs.get(labels::KIND).is_some_and(|kind| kind == labels::PERSISTENT));
        }
        Err(why) => assert!(why.contains("runnerfleet."), "{why}"),
    }
}

fn container_label_seeds() -> Vec<Vec<u8>> {
    let mut pairs = BTreeMap::from([
        (labels::INSTANCE, "fleet"),
        (labels::HOST, "host-1"),
        (labels::POOL, "linux"),
        (labels::SCOPE, "acme/web"),
        (labels::RUNNER, "linux-41230001-1-1-9c0e"),
        (labels::JOB, "41230001/1"),
        (labels::REGISTRATION, "77"),
        (labels::IMAGE, "ghcr.io/actions/actions-runner:2.336.0"),
    ]);
    let seed = |pairs: &BTreeMap<&str, &str>| {
        pairs.iter().map(|(key, value)| format!("{key}={value}\n")).collect::<Vec<_>>().concat().into_bytes()
    };
    let ephemeral = seed(&pairs);
    pairs.extend([(labels::KIND, labels::PERSISTENT), (labels::INDEX, "3"), (labels::SPEC, "0123456789abcdef")]);
    vec![ephemeral, seed(&pairs)]
}

// ------------------------------------------------------------------------------------------------------------------- stores

/// What it is (`job`, `runner`, `change`, `events`), a line break, and the bytes as they lie in Redis.
pub fn redis(data: &[u8]) {
    let (kind, rest) = halves(data);
    match (kind, std::str::from_utf8(rest)) {
        (b"job", Ok(row)) => drop(untrusted::redis_job(row).map(|job| survives(&job.row))),
        (b"runner", Ok(row)) => drop(untrusted::redis_runner(row).map(|runner| is_a_runner(&runner.row))),
        (b"change", _) => drop(untrusted::redis_change(rest)),
        (b"events", _) => {
            for received in untrusted::redis_events(rest).unwrap_or_default() {
                if let Ok(event) = received.event {
                    survives(&event);
                }
            }
        }
        _ => {}
    }
}

fn redis_seeds() -> Vec<Vec<u8>> {
    let (job, runner, event) = (json(&job()), json(&runner()), json(&event()));
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let entry = |field: &str, value: &str| format!("*2\r\n{}*2\r\n{}{}", bulk("1-0"), bulk(field), bulk(value));
    let stream = |entries: &[String]| {
        format!("events\n*1\r\n*2\r\n{}*{}\r\n{}", bulk("rf:events"), entries.len(), entries.concat())
    };
    let texts = [
        format!("job\n3\nlinux\n\n{job}"),
        format!("runner\n1\nlinux\nhost-1\n{runner}"),
        format!("change\njob\n3\n{job}"),
        format!("change\nrunner\n1\n{runner}"),
        "change\njob-gone\n41230001/1".to_owned(),
        "change\nrunner-gone\nlinux-1".to_owned(),
        stream(&[entry("event", &event), entry("event", "{}")]),
        stream(&[entry("other", "x"), format!("*2\r\n{}*-1\r\n", bulk("2-0"))]),
        "events\n*-1\r\n".to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

/// What it is (`job`, `runner`), a line break, and the bytes as they lie in the embedded file.
pub fn embedded(data: &[u8]) {
    let (kind, bytes) = halves(data);
    match kind {
        b"job" => is_a_row(bytes, survives::<Job>),
        b"runner" => is_a_row(bytes, is_a_runner),
        _ => {}
    }
}

fn is_a_row<T: DeserializeOwned + Serialize>(bytes: &[u8], check: impl Fn(&T)) {
    let row = untrusted::embedded_row::<T>(bytes);
    if let Ok(value) = row.row {
        let over = row.over.and_then(|over| Timestamp::from_microsecond(over).ok());
        let again =
            untrusted::embedded_row::<T>(&untrusted::embedded_bytes(row.version, over, json(&value).as_bytes()));
        assert_eq!((again.version, again.over), (row.version, over.map(Timestamp::as_microsecond)));
        check(&value);
    }
}

fn embedded_seeds() -> Vec<Vec<u8>> {
    let row = |kind: &str, over, json: &str| {
        [kind.as_bytes(), b"\n", &untrusted::embedded_bytes(3, over, json.as_bytes())].concat()
    };
    vec![
        row("job", None, &json(&job())),
        row("job", Some(Timestamp::UNIX_EPOCH), &json(&job())),
        row("runner", None, &json(&runner())),
        b"runner\nshort".to_vec(),
    ]
}

// -------------------------------------------------------------------------------------------------------------------- shared

/// A runner of a row can be asked all that is asked of one, and changes only as its kind may.
fn is_a_runner(runner: &Runner) {
    survives(runner);
    let (_, _) = (runner.standing(), runner.over_since());
    if let Some(kept) = &runner.kept {
        let _ = (kept.is_in_a_crash_loop(), kept.recent_ends(Timestamp::UNIX_EPOCH));
        assert!(kept.with_end_at(Timestamp::MAX).restarts.len() <= runnerfleet::model::RESTARTS_MAX);
    }
    for to in [StateName::Created, StateName::Started, StateName::Running, StateName::Removed] {
        let next = runner.become_state(to, "fuzzed", Timestamp::UNIX_EPOCH);
        assert_eq!(next.is_ok(), runner.may_become(to));
    }
}

/// What was read can be written, and is the same when it is read again.
fn survives<T: Serialize + DeserializeOwned>(value: &T) {
    let text = json(value);
    let again: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(json(&again), text);
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types can be written")
}

/// Before and behind the first line break.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..at], data.get(at + 1..).unwrap_or_default())
}

/// The files of a folder, sorted by name; none where it is not there.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("the folder can be read");
        let bytes = std::fs::read(entry.path()).expect("the file can be read");
        (entry.file_name().to_string_lossy().into_owned(), bytes)
    };
    let mut files: Vec<_> = entries.map(read).collect();
    files.sort();
    files
}

fn facts() -> JobFacts {
    JobFacts {
        key: JobKey { id: JobId(41_230_001), attempt: 1 },
        run_id: 7,
        name: "build (1.2, \"x\")".to_owned(),
        workflow: Some("CI".to_owned()),
        repository: RepoName::new("acme/web"),
        private: Some(true),
        labels: ["self-hosted", "small"].into_iter().collect(),
        html_url: Some("https://github.com/acme/web/actions/runs/7/job/41230001".to_owned()),
        installation: Some(99),
        created_at: Some(Timestamp::UNIX_EPOCH),
    }
}

fn event() -> QueuedEvent {
    QueuedEvent {
        delivery: DeliveryId { hook: "1".to_owned(), guid: "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned() },
        received_at: Timestamp::UNIX_EPOCH,
        event: JobEvent { action: JobAction::InProgress { runner: Some(RunnerName::new("linux-1")) }, job: facts() },
    }
}

fn job() -> Job {
    let Applied::Changed(job) = Job::apply(None, &event().event, Timestamp::UNIX_EPOCH) else {
        panic!("the first event of a job makes a row")
    };
    Job { pool: Some(PoolName::new("small")), ..*job }
}

fn runner() -> Runner {
    let row = Runner::intended(
        RunnerName::new("linux-41230001-1-1-9c0e"),
        PoolName::new("small"),
        Scope::Organization("acme".to_owned()),
        HostId::new("host-1"),
        "ghcr.io/actions/actions-runner:2.336.0".to_owned(),
        Some(JobKey { id: JobId(41_230_001), attempt: 1 }),
        Timestamp::UNIX_EPOCH,
        "job 41230001/1 is queued",
    );
    row.become_state(StateName::Started, "its container runs", Timestamp::UNIX_EPOCH).expect("it may start")
}
