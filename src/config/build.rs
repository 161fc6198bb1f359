//! From the file's shape to [`Config`]: what holds where the file is silent, and what only two keys together can get
//! wrong.
//!
//! Every check runs, whatever others found; a value that is not there at the end has told why.

use super::pool::{Built, Pools, build_all, positive};
use super::reading::{Placed, Reading, Spot};
use super::secret::{check_private_key, check_token, stand_in};
use super::section::{Field, Key, Section, Slot};
use super::shape::{self, File};
use super::{
    Backend, Config, Docker, GitHub, GitHubAuth, Http, HttpLimits, Intake, IntakeMode, Limits, Log, RedisConfig,
    Sources, StoreConfig, Tls, UpdatePolicy, Versions, certificate,
};
use crate::model::{HostId, InstanceId};
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::time::Duration;

/// How often GitHub's log of deliveries is read beside a receiver: one of the 5000 requests that an App has in an hour.
const READ_LOG_EVERY: Duration = Duration::from_secs(60);

/// How often where it is all that there is: 720 requests in an hour.
const PULL_EVERY: Duration = Duration::from_secs(5);

/// A Unix socket's address has 108 bytes, the last of them 0.
const LONGEST_SOCKET_PATH: usize = 107;

/// The configuration; `None` only after a problem was told.
pub(super) fn build(file: File, hostname: &str, reading: &mut Reading<'_>) -> Option<Config> {
    let file = file.over(File::built_in(&Key::NONE));
    let runners = file.runners.good().map(|list| list.0.as_slice()).unwrap_or_default();
    if let Field::Good(list) = &file.runners
        && list.value.0.is_empty()
    {
        reading.warning(&list.spot, "there is no pool: no job will be served", "");
    }
    let instance = InstanceId::new(file.security.instance.good().map_or("", |name| name.0.as_str()));
    let Pools { built, any_ephemeral } = build_all(runners, &file.runners_defaults, &instance, reading);
    let intake = intake(&file.intake.0, any_ephemeral, reading);
    let github = github(&file, &built, intake.mode, reading);
    let store = store(&file.queue, reading);
    let (host, docker) = host(&file, hostname, reading);
    let limits = Limits {
        max_runners: file.limits.max_runners.good().and_then(|count| count.get()).unwrap_or_default(),
        disk_free_min: file.limits.disk_free_min.good().copied().unwrap_or_default().0,
    };
    check_room(&built, &limits, &docker, store.as_ref(), reading);
    if let Field::Good(allowed) = &file.security.allow_public_repositories
        && allowed.value
    {
        let message =
            "who can push to a public repository runs code on this machine; forks are let in by `matching.forks` alone";
        reading.warning(&allowed.spot, message, "");
    }
    tell_of_idle_runners(&built, file.security.allow_public_repositories.good() == Some(&true), reading);
    let notifications = super::notifications::notifications(&file.webhooks, reading);
    let scheduler = super::schedule::schedule(&file.scheduler, reading);
    let socket = socket(&file.http.admin, store.as_ref(), reading);
    let http = http(&file.http, socket, reading);
    check_sources(&file, github.as_ref(), reading);
    Some(Config {
        file: reading.folder.join(std::path::Path::new(reading.file).file_name().unwrap_or_default()),
        folder: reading.folder.to_path_buf(),
        instance,
        host,
        pools: built.into_iter().map(|built| built.pool).collect(),
        github: github?,
        intake,
        store: store?,
        http: http?,
        docker,
        limits,
        allow_public_repositories: file.security.allow_public_repositories.good().copied()?,
        versions: Versions {
            policy: match file.versions.policy.good()? {
                shape::UpdatePolicy::Patch => UpdatePolicy::Patch,
                shape::UpdatePolicy::Minor => UpdatePolicy::Minor,
                shape::UpdatePolicy::Major => UpdatePolicy::Major,
                shape::UpdatePolicy::Digest => UpdatePolicy::Digest,
            },
        },
        log: Log {
            level: file.log.level.good()?.0.clone(),
            json: file.log.format.good() == Some(&shape::LogFormat::Json),
        },
        notifications,
        scheduler,
    })
}

/// Rules about whose code runs cannot hold for a runner that is there before the job.
fn tell_of_idle_runners(built: &[Built], public: bool, reading: &mut Reading<'_>) {
    for Built { pool, least, .. } in built.iter().filter(|built| built.pool.min_idle > 0) {
        let admission = &pool.admission;
        let takes_public = admission.public.unwrap_or(public);
        if admission.forks == Some(false) || (takes_public && admission.forks.is_none()) {
            let message = "an idle runner takes any job that GitHub gives it, also a fork's that the pool refuses";
            reading.warning(least, message, "set `min_idle: 0` where forks are to be kept out");
        }
    }
}

fn github(file: &File, built: &[Built], mode: IntakeMode, reading: &mut Reading<'_>) -> Option<GitHub> {
    let github = &file.github;
    let auth = auth(&github.auth, reading);
    let poll_deliveries = poll_deliveries(file, mode, auth.as_ref(), reading);
    let poll_runners = positive(&github.poll.runners, reading);
    if let (Some(GitHubAuth::Token(_)), false) = (&auth, reading.is_forgiving()) {
        for spot in built.iter().filter_map(|pool| pool.create_group.as_ref()) {
            let hint = "use a GitHub App (github.auth.app), or make the group yourself";
            reading.problem(spot, "needs an App: a personal token cannot tell which repositories are meant", hint);
        }
    }
    // One program speaks to one GitHub.
    if let Some((first, others)) = built.split_first() {
        for other in others.iter().filter(|other| other.site != first.site) {
            let message = format!("is another GitHub than {} (line {})", first.site.text(), first.org_url.place.line);
            reading.problem(&other.org_url, message, "run a second copy of the program for it, with a file of its own");
        }
    }
    let explicit = github.api_url.good().and_then(|url| url.0.clone());
    let api_url = match (explicit, built.first()) {
        (Some((site, url)), _) => {
            if let Field::Good(placed) = &github.api_url
                && site.is_open_to_others()
            {
                reading.warning(
                    &placed.spot,
                    "tokens travel there without TLS, for everybody on the way to read",
                    "use `https://`",
                );
            }
            url
        }
        (None, Some(first)) => {
            for open in built.iter().filter(|pool| pool.site.is_open_to_others()) {
                reading.problem(&open.org_url, "tokens would travel there without TLS", "use `https://`");
            }
            first.site.api_url()
        }
        (None, None) => "https://api.github.com".to_owned(),
    };
    let max_concurrent = github.rate_limit.max_concurrent.good().and_then(|count| count.get()).unwrap_or_default();
    let poll_jobs = github.poll.jobs.good().and_then(|rhythm| rhythm.0);
    Some(GitHub { auth: auth?, api_url, max_concurrent, poll_runners, poll_deliveries, poll_jobs })
}

/// How often GitHub's log is read. Only an App has one.
fn poll_deliveries(
    file: &File,
    mode: IntakeMode,
    auth: Option<&GitHubAuth>,
    reading: &mut Reading<'_>,
) -> Option<Duration> {
    let rhythm = match (&file.github.poll.deliveries, mode) {
        (Field::Good(rhythm), _) => rhythm.value.0,
        (Field::Absent | Field::Bad, IntakeMode::Webhook) => Some(READ_LOG_EVERY),
        (Field::Absent | Field::Bad, IntakeMode::Pull) => Some(PULL_EVERY),
    };
    let pulls = mode == IntakeMode::Pull;
    if let (true, None, Field::Good(off)) = (pulls, rhythm, &file.github.poll.deliveries) {
        reading.problem(
            &off.spot,
            "with `intake.mode: pull` no event would ever come",
            "leave it out, or write a time",
        );
    }
    // Before the App is made a token stands for it.
    if let (true, Some(GitHubAuth::Token(_)), Field::Good(mode)) = (pulls, auth, &file.intake.0.mode)
        && !reading.is_forgiving()
    {
        let message = "only a GitHub App has a log of deliveries that can be read, and `github.auth` has a token";
        reading.problem(&mode.spot, message, "give `github.auth.app`, or have GitHub deliver (`mode: webhook`)");
    }
    rhythm.filter(|_| matches!(auth, Some(GitHubAuth::App { .. })))
}

fn auth(auth: &shape::Auth, reading: &mut Reading<'_>) -> Option<GitHubAuth> {
    let token = either("token", &auth.token, &auth.token_file, &auth.at, reading);
    match token {
        Either::One(..) if auth.app.given => {
            reading.problem(&auth.at, "has both `app` and a token", "keep one of them");
            None
        }
        Either::Wrong => None,
        Either::Neither if auth.app.given => app(&auth.app, reading),
        Either::One(token, spot) => check_token(&token, &spot, reading).map(GitHubAuth::Token),
        Either::Neither => {
            let Some(token) = (reading.env)("GITHUB_TOKEN").filter(|token| !token.is_empty()) else {
                if reading.is_forgiving() {
                    return Some(GitHubAuth::Token(stand_in()));
                }
                let message = "nothing says who the program is at GitHub, and the variable `GITHUB_TOKEN` is not set";
                reading.problem(&auth.at, message, "give `github.auth.app` (recommended) or `github.auth.token`");
                return None;
            };
            check_token(&SecretString::from(token), &auth.at.missing("token"), reading).map(GitHubAuth::Token)
        }
    }
}

fn app(app: &shape::App, reading: &mut Reading<'_>) -> Option<GitHubAuth> {
    let issuer = match (&app.client_id, &app.app_id) {
        (Field::Good(_), Field::Good(second)) => {
            reading.problem(&second.spot, "the App has a `client_id` already", "keep the `client_id`");
            None
        }
        (Field::Good(id), Field::Absent) | (Field::Absent, Field::Good(id)) => Some(id.value.0.clone()),
        (Field::Absent, Field::Absent) if reading.is_forgiving() => Some(String::new()),
        (Field::Absent, Field::Absent) => {
            reading.problem(&app.at.missing("client_id"), "is missing", "the App's settings page shows it");
            None
        }
        (Field::Bad, _) | (_, Field::Bad) => None,
    };
    let private_key = match either("private_key", &app.private_key, &app.private_key_file, &app.at, reading) {
        Either::One(key, spot) => check_private_key(&key, &spot, reading),
        Either::Wrong => None,
        Either::Neither if reading.is_forgiving() => Some(stand_in()),
        Either::Neither => {
            let hint = "write `private_key: ${NAME}`, or `private_key_file` with the path of the `.pem` file";
            reading.problem(&app.at.missing("private_key"), "is missing", hint);
            None
        }
    };
    let installation = match app.installation_id.good()? {
        super::names::Installation::Auto => None,
        super::names::Installation::Number(number) => Some(*number),
    };
    Some(GitHubAuth::App { issuer: issuer?, private_key: private_key?, installation })
}

/// A secret that can be given in two ways.
enum Either {
    One(SecretString, Spot),
    Neither,
    /// Told.
    Wrong,
}

fn either(
    key: &str,
    secret: &Field<super::secret::Secret>,
    file: &Field<super::secret::SecretFile>,
    section: &Spot,
    reading: &mut Reading<'_>,
) -> Either {
    match (secret, file) {
        (Field::Absent, Field::Absent) => Either::Neither,
        (Field::Good(Placed { value, spot }), Field::Absent) => Either::One(value.0.clone(), spot.clone()),
        (Field::Absent, Field::Good(Placed { value, spot })) => Either::One(value.0.clone(), spot.clone()),
        (Field::Bad, Field::Absent | Field::Bad) | (Field::Absent, Field::Bad) => Either::Wrong,
        (Field::Good(_), Field::Good(_) | Field::Bad) | (Field::Bad, Field::Good(_)) => {
            reading.problem(section, format!("has both `{key}` and `{key}_file`"), "keep one of them");
            Either::Wrong
        }
    }
}

/// Only runners that are made for jobs need to hear of jobs.
fn intake(intake: &shape::Intake, is_needed: bool, reading: &mut Reading<'_>) -> Intake {
    let mut secrets: Vec<SecretString> = Vec::new();
    for secret in intake.secrets.good().map(|list| list.0.as_slice()).unwrap_or_default() {
        secrets.push(secret.value.0.clone());
    }
    if let Field::Good(file) = &intake.secrets_file {
        let lines = file.value.0.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
        secrets.extend(lines.map(SecretString::from));
    }
    let mode = match intake.mode.good() {
        Some(shape::IntakeMode::Pull) => IntakeMode::Pull,
        Some(shape::IntakeMode::Webhook) | None => IntakeMode::Webhook,
    };
    // What is read from GitHub's log needs no signature: it comes over our own connection.
    let is_needed = is_needed && mode == IntakeMode::Webhook && !matches!(intake.mode, Field::Bad);
    let told = matches!(intake.secrets, Field::Bad) || matches!(intake.secrets_file, Field::Bad);
    if secrets.is_empty() && !told && !reading.is_forgiving() && (is_needed || !intake.secrets.is_absent()) {
        let spot = match &intake.secrets {
            Field::Good(list) => list.spot.clone(),
            Field::Absent | Field::Bad => intake.at.missing("secrets"),
        };
        let hint = "write the webhook's secret as `secrets: [\"${WEBHOOK_SECRET}\"]` or `secrets: [\"file:/path\"]`";
        reading.problem(&spot, "without a secret anybody could send deliveries", hint);
    }
    if let Field::Good(size) = &intake.max_body
        && !(1..=100 << 20).contains(&size.value.0)
    {
        reading.problem(
            &size.spot,
            "is no bound that makes sense",
            "25MiB are the most that GitHub sends; 100MiB are possible",
        );
    }
    Intake {
        mode,
        path: intake.path.good().map(|path| path.0.clone()).unwrap_or_default(),
        secrets,
        max_body: intake.max_body.good().copied().unwrap_or_default().0,
        dedupe_ttl: positive(&intake.dedupe_ttl, reading),
        sources: intake.source_allowlist.good().map_or(Sources::Anywhere, |sources| sources.0.clone()),
    }
}

/// A GitHub Enterprise Server names no addresses of hooks: its own is enough.
fn check_sources(file: &File, github: Option<&GitHub>, reading: &mut Reading<'_>) {
    if let (Field::Good(sources), Some(github)) = (&file.intake.0.source_allowlist, github)
        && sources.value.0 == Sources::GitHubMeta
        && github.api_url.ends_with("/api/v3")
    {
        let message = "a GitHub Enterprise Server does not tell from where its hooks come";
        reading.problem(&sources.spot, message, "write the server's own address: `source_allowlist: [192.0.2.7]`");
    }
}

fn http(http: &shape::Http, admin_socket: PathBuf, reading: &mut Reading<'_>) -> Option<Http> {
    let tls = tls(&http.tls, reading);
    let mut trusted_proxies = Vec::new();
    for proxy in http.trusted_proxies.good().map(|list| list.0.as_slice()).unwrap_or_default() {
        if proxy.value.0.prefix_len() == 0 {
            let message = "everybody is trusted here: whoever reaches the receiver can claim any address as a client's";
            reading.warning(&proxy.spot, message, "write the networks of the proxies alone");
        }
        trusted_proxies.push(proxy.value.0);
    }
    let header_timeout = positive(&http.limits.header_timeout, reading);
    let body_timeout = positive(&http.limits.body_timeout, reading);
    let listen = http.listen.good()?.0;
    let connections: usize = http.limits.connections.good().and_then(|count| count.get())?;
    let connections_per_address = match &http.limits.connections_per_address {
        Field::Good(count) => count.value.get()?,
        Field::Bad => return None,
        Field::Absent if listen.ip().is_loopback() => connections,
        Field::Absent => connections.div_ceil(4),
    };
    let limits = HttpLimits { connections, connections_per_address, header_timeout, body_timeout };
    let public_url = http.public_url.good().map(|url| url.0.clone());
    Some(Http { listen, public_url, admin_socket, tls, trusted_proxies, limits })
}

/// The certificate's files, tried out: a key of another certificate is told here, not when GitHub finds the door shut.
fn tls(tls: &shape::HttpTls, reading: &mut Reading<'_>) -> Option<Tls> {
    let (Field::Good(cert), Field::Good(key)) = (&tls.cert, &tls.key) else { return None };
    let files = Tls {
        cert: reading.resolve(&cert.value.0.to_string_lossy()),
        key: reading.resolve(&key.value.0.to_string_lossy()),
    };
    match certificate::read(&files) {
        Ok(pair) => {
            if pair.key_is_open {
                let message = format!("the file {} can be read by every user of this machine", files.key.display());
                reading.warning(&key.spot, message, "`chmod o-r` takes that away");
            }
            Some(files)
        }
        Err(error) => {
            let spot = if error.is_about_the_key() { &key.spot } else { &cert.spot };
            reading.problem(spot, error.to_string(), error.hint());
            None
        }
    }
}

fn store(queue: &shape::Queue, reading: &mut Reading<'_>) -> Option<StoreConfig> {
    let visibility_timeout = positive(&queue.visibility_timeout, reading);
    let retention = positive(&queue.retention.done, reading);
    let redis = queue.redis.given.then(|| redis(&queue.redis, reading)).flatten();
    let backend = match queue.backend.good()? {
        shape::BackendName::Embedded => {
            if queue.redis.given {
                let hint = "set `queue.backend: redis` to use it";
                reading.warning(&queue.redis.at, "is not used: the backend is the embedded store", hint);
            }
            let path = &queue.embedded.path.good()?.0;
            Backend::Embedded { path: reading.resolve(&path.to_string_lossy()) }
        }
        shape::BackendName::Redis => {
            if !queue.redis.given {
                let hint = "write `url: redis://host:6379/0`, or `sentinels` and `sentinel_master`";
                reading.problem(&queue.redis.at.missing("url"), "is missing", hint);
            }
            Backend::Redis(redis?)
        }
    };
    Some(StoreConfig { backend, visibility_timeout, retention })
}

fn redis(redis: &shape::Redis, reading: &mut Reading<'_>) -> Option<RedisConfig> {
    let master = redis.sentinel_master.good().map(|name| name.0.clone());
    let urls = match (&redis.url, &redis.sentinels) {
        (Field::Good(_), Field::Good(_) | Field::Bad) | (Field::Bad, Field::Good(_)) => {
            reading.problem(&redis.at, "has both `url` and `sentinels`", "keep one of them");
            return None;
        }
        (Field::Absent, Field::Absent) => {
            let hint = "write `url: redis://host:6379/0`, or `sentinels` and `sentinel_master`";
            reading.problem(&redis.at.missing("url"), "is missing", hint);
            return None;
        }
        (Field::Bad, Field::Absent | Field::Bad) | (Field::Absent, Field::Bad) => return None,
        (Field::Good(url), Field::Absent) => {
            if let Field::Good(name) = &redis.sentinel_master {
                let hint = "give the sentinels' addresses under `sentinels`, not under `url`";
                reading.problem(&name.spot, "means nothing without `sentinels`", hint);
            }
            vec![url.value.0.clone()]
        }
        (Field::Absent, Field::Good(sentinels)) => {
            if sentinels.value.0.is_empty() {
                reading.problem(&sentinels.spot, "is empty", "give the address of at least one sentinel");
            }
            if redis.sentinel_master.is_absent() {
                let hint = "it is the name behind `sentinel monitor` in the sentinels' configuration";
                reading.problem(&redis.at.missing("sentinel_master"), "is missing", hint);
            }
            sentinels.value.0.iter().map(|sentinel| sentinel.value.0.clone()).collect()
        }
    };
    Some(RedisConfig { urls, sentinel_master: master, prefix: redis.prefix.good()?.0.clone() })
}

/// The local socket. Its path is bound by the kernel.
fn socket(admin: &shape::Admin, store: Option<&StoreConfig>, reading: &mut Reading<'_>) -> PathBuf {
    let (path, spot) = match &admin.socket {
        Field::Good(socket) => (reading.resolve(&socket.value.0.to_string_lossy()), socket.spot.clone()),
        Field::Absent | Field::Bad => {
            let beside = match store.map(|store| &store.backend) {
                Some(Backend::Embedded { path }) => path.with_file_name("runnerfleet.sock"),
                Some(Backend::Redis(_)) | None => reading.resolve("data/runnerfleet.sock"),
            };
            (beside, admin.at.missing("socket"))
        }
    };
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        let message = format!("the socket's path has {length} bytes; {LONGEST_SOCKET_PATH} are possible");
        reading.problem(&spot, message, "set `http.admin.socket` to a shorter path");
    }
    path
}

fn host(file: &File, hostname: &str, reading: &mut Reading<'_>) -> (HostId, Docker) {
    let list = file.hosts.good().map(|list| list.0.as_slice()).unwrap_or_default();
    if let Some(second) = list.get(1) {
        let hint = "run a copy of the program on each host, all with one Redis";
        reading.problem(
            &second.spot,
            "more than one host for one copy of the program is not in this version yet",
            hint,
        );
    }
    let host =
        list.first().map_or_else(|| shape::Host::blank_at(&file.at.missing("hosts"), false), |host| host.value.clone());
    let host = host.over(shape::Host::built_in(&Key::NONE));
    let name = match &host.name {
        Field::Good(name) => name.value.0.clone(),
        Field::Bad => String::new(),
        Field::Absent => {
            if !super::names::is_docker_name(hostname) || hostname.len() > 64 {
                let spot = host.at.missing("name");
                reading.problem(
                    &spot,
                    "is missing, and the machine's host name is not a possible name",
                    "set `hosts[0].name`",
                );
            }
            hostname.to_owned()
        }
    };
    if let Field::Good(url) = &host.docker
        && !url.value.0.starts_with("unix://")
    {
        reading.warning(&url.spot, "whoever reaches this address owns that machine: there is no TLS", "");
    }
    let docker = Docker {
        url: host.docker.good().map(|url| url.0.clone()),
        max_runners: host.max_runners.good().and_then(|count| count.get()).unwrap_or_default(),
        reserve_memory: host.reserve.memory.good().copied().unwrap_or_default().0,
        concurrent_starts: host.concurrent_starts.good().and_then(|count| count.get()),
    };
    (HostId::new(name), docker)
}

/// Runners that no bound lets in would be asked for again and again.
fn check_room(
    built: &[Built],
    limits: &Limits,
    docker: &Docker,
    store: Option<&StoreConfig>,
    reading: &mut Reading<'_>,
) {
    if !reading.is_clean() {
        return;
    }
    let (room, key) = match store.map(|store| &store.backend) {
        Some(Backend::Embedded { .. }) if docker.max_runners < limits.max_runners => {
            (docker.max_runners, "hosts[0].max_runners")
        }
        Some(Backend::Embedded { .. } | Backend::Redis(_)) | None => (limits.max_runners, "limits.max_runners"),
    };
    let mut all = 0u32;
    for pool in built {
        let before = all;
        all = all.saturating_add(pool.at_rest());
        if all > room && before <= room {
            let message = format!("the pools' `min_idle` and `nb` add up to more than `{key}` ({room})");
            reading.warning(&pool.least, message, "some of them will never be there");
        }
    }
}
