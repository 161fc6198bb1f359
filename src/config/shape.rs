//! The file: every section, every key, its type and its default. The doc comments are the schema's descriptions.

use super::address::{DockerUrl, Listen, PublicUrl, UrlPath};
use super::cidr::{Cidr, Sources};
use super::collection::{List, Table};
use super::intake::IntakeOrMode;
use super::leaf::{AnyText, Text, Whole, choice};
use super::names::{AppId, Capability, Image, Installation, KeyPrefix, Label, LogLevel, Mount, Name, Version, WorkDir};
use super::notify_shape::Webhooks;
use super::org_url::{ApiUrl, OrgUrl};
use super::patterns::{EventPattern, RepositoryPattern};
use super::schedule_shape::Scheduler;
use super::secret::{FilePath, RedisUrl, Secret, SecretFile};
use super::section::{Field, section};
use super::units::{Bytes, Cpus, Rhythm};
use std::time::Duration;

/// Runners of a pool, of a host, of a fleet: more is a slip.
pub(super) type Count = Whole<0, 100_000>;
/// The same, where none would mean that nothing ever runs.
pub(super) type Some1 = Whole<1, 100_000>;

choice! {
    /// How a runner gets its credential.
    Registration {
        /// GitHub's just-in-time configuration.
        Jit = "jit",
        /// A registration token of the scope.
        Token = "token",
    }
}

choice! {
    /// When an image is pulled.
    PullPolicy {
        /// Where it is not there yet.
        IfNotPresent = "if-not-present",
        /// Somebody else brings it.
        Never = "never",
    }
    later { "always" }
}

choice! {
    /// Whether something is let in.
    Allowance {
        /// No.
        Refuse = "refuse",
        /// Yes.
        Allow = "allow",
    }
}

choice! {
    /// How long a runner lives.
    Mode {
        /// For one job.
        Ephemeral = "ephemeral",
        /// Job after job.
        Persistent = "persistent",
    }
}

choice! {
    /// How GitHub's events come here.
    IntakeMode {
        /// GitHub delivers them.
        Webhook = "webhook",
        /// They are read from GitHub's log.
        Pull = "pull",
    }
}

choice! {
    /// Where events and state are kept.
    BackendName {
        /// One file.
        Embedded = "embedded",
        /// Redis.
        Redis = "redis",
    }
}

choice! {
    /// How far away a newer base image may be.
    UpdatePolicy {
        /// The last number of its version.
        Patch = "patch",
        /// All but the first.
        Minor = "minor",
        /// Any.
        Major = "major",
        /// None: only what the same tag stands for now.
        Digest = "digest",
    }
}

choice! {
    /// The form of the log.
    LogFormat {
        /// For people.
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

section! {
    /// The configuration of runnerfleet.
    File {
        /// The version of this file's form; write `version: 1`. A file without it is read as one of the former tool.
        version: Field<Version>,
        /// What holds for every pool that does not say otherwise.
        runners_defaults: PoolSettings,
        /// The pools: which labels they serve, with which image, and how many runners at most.
        runners (required): Field<List<Runner>>,
        /// How GitHub is reached.
        github: GitHub,
        /// How GitHub's events come here; `intake: pull` is short for its mode alone.
        intake: IntakeOrMode,
        /// Where events and state are kept.
        queue: Queue,
        /// Where the program listens.
        http: Http,
        /// The machines with a Docker engine; in this version one.
        hosts: Field<List<Host>>,
        /// Bounds over all pools.
        limits: Limits,
        /// What is whose, and what is allowed.
        security: Security,
        /// Which newer base images are wanted.
        versions: Versions,
        /// How the program logs.
        log: Log,
        /// Outgoing notifications: Slack, Discord, Teams, programs of your own.
        webhooks | notifications: Webhooks,
        /// What is done at regular times.
        scheduler: Scheduler,
    }
    later { telemetry, state }
}

section! {
    /// One pool.
    Runner {
        /// A name for the pool, unique in the file.
        id | name (required): Field<Name<64>>,
        /// What its runners' names start with; the `id` by default. At most 30 characters for runners that live for one job.
        name_prefix: Field<Name<64>>,
        /// The labels that a job may ask for in `runs-on`; a job is served if each of its labels is here.
        labels (required): Field<List<Label>>,
        /// So many persistent runners are kept, named `name_prefix-1`, `-2` and so on. A pool with `nb` over 0 is `mode: persistent`.
        nb: Field<Count>,
        /// The image; `base_image` where it is not given.
        image: Field<Image>,
        /// The Dockerfile from which the pool's image is made, or its folder; from this file's folder.
        build_image: Field<FilePath>,
        /// Build arguments for that Dockerfile, beside those that are always given (`BASE_IMAGE`, `NODE_VERSION`, …).
        build_args: Field<Table<AnyText>>,
        /// The language that the image is made for, such as `node`.
        language | techno: Field<Text>,
        /// Its version, taken as it is written: 3.10 stays 3.10.
        language_version | techno_version: Field<Text>,
        .. settings: PoolSettings,
    }
    later { enabled, hooks, image_policy, persist_registration }
}

section! {
    /// What holds for every pool that does not say otherwise.
    PoolSettings {
        /// The image of pools that have no `image` of their own.
        base_image: Field<Image>,
        /// The organization or repository where runners register, as a URL: `https://github.com/acme` or `https://github.com/acme/web`.
        org_url: Field<OrgUrl>,
        /// The runner group of the organization, by name; GitHub's default group where none is given.
        runner_group: Field<Text>,
        /// Whether that group is made where it is missing, open to the repositories of `matching.repositories` alone (public ones only where the pool takes those), and kept so. A group that was there before is left as it is.
        create_runner_group: Field<bool> = "false",
        /// How runners get their credential: `jit` (one call registers one runner) or `token` (the agent registers itself).
        registration: Field<Registration> = "jit",
        /// Whether `self-hosted`, `linux` and the machine's architecture (`x64`, `arm64`) are added to `labels`. GitHub itself adds no label.
        default_labels: Field<bool> = "true",
        /// `ephemeral`: a runner lives for one job. `persistent`: `nb` runners are kept. A pool with `nb` is persistent.
        mode: Field<Mode>,
        /// Whether an image that is not there may be pulled: `if-not-present` or `never`.
        pull_policy: Field<PullPolicy> = "if-not-present",
        /// Environment of the agent and its jobs. Every job can read it: no place for secrets.
        env: Field<Table<AnyText>>,
        /// What the container runs. The official image needs this one; it has no entrypoint.
        command: Field<List<Text>> = "[/home/runner/run.sh]",
        /// The user in the container; the image's own where none is given.
        user: Field<Text>,
        /// How many runners.
        scaling: Scaling,
        /// Which jobs.
        matching: Matching,
        /// Limits of each container.
        resources: Resources,
        /// How long a start or an end may take.
        timeouts: Timeouts,
        /// How persistent runners are replaced.
        rollout: Rollout,
        /// The container's surroundings.
        docker: PoolDocker,
        /// The agent's work folder.
        work: Work,
        /// What the container is given beyond the least.
        security: PoolSecurity,
    }
    later { auto_update, image_flavor, restart_policy, labels_case }
}

section! {
    /// How many runners.
    Scaling {
        /// Runners kept idle on top of the demand, so that a job starts at once.
        min_idle: Field<Count> = "0",
        /// At most so many runners of this pool at once.
        max: Field<Some1> = "10",
        /// A runner that nobody needs lives idle for so long.
        idle_timeout: Field<Duration> = "5m",
        /// An idle runner older than this is replaced. One with a job is never ended for its age.
        max_lifetime | max_age: Field<Duration> = "6h",
        /// A queued job older than this is no demand any more. GitHub itself fails it after 24 hours.
        job_max_age: Field<Duration> = "24h",
    }
    later { scale_up_batch, schedule }
}

section! {
    /// Which jobs.
    Matching {
        /// Among several pools that serve a job, the one with the higher number gets it.
        priority: Field<Whole<-1_000_000, 1_000_000>> = "0",
        /// The repositories whose jobs are taken, as patterns: `acme/web-*`, `!acme/secret`. The last one that fits decides; what none fits is out, unless the first begins with `!`. By default all that `org_url` covers.
        repositories: Field<List<RepositoryPattern>>,
        /// Whether public repositories among them are: `refuse` or `allow`. By default as `security.allow_public_repositories` says.
        public_repositories: Field<Allowance>,
        /// Whether jobs that run the code of a fork are taken: `refuse` or `allow`. By default not in public repositories; in private ones they are, without a look, since nobody else can fork those.
        forks: Field<Allowance>,
        /// The events whose runs are taken, as patterns: `push`, `!pull_request_target`. By default all; in public repositories all but `pull_request_target`, `workflow_run` and `issue_comment`.
        events: Field<List<EventPattern>>,
    }
    later { require, ignore, reserved, workflows }
}

section! {
    /// Limits of each container.
    Resources {
        /// Memory; there is no swap on top. 1024 to the step.
        memory: Field<Bytes> = "4g",
        /// Processors, such as 2 or 1.5; no limit where none is given.
        cpus: Field<Cpus>,
        /// Processes and threads.
        pids: Field<Whole<1, 4_194_304>> = "4096",
        /// Size of `/dev/shm`; Docker's 64m where none is given. Browsers want more.
        shm_size: Field<Bytes>,
    }
    later { disk, ulimits, gpus, placement }
}

section! {
    /// How persistent runners are replaced.
    Rollout {
        /// At most so many of the pool at once.
        max_unavailable: Field<Some1> = "1",
    }
    later { wait_busy }
}

section! {
    /// How long a start or an end may take.
    Timeouts {
        /// From the decision to a container that runs, the pull of the image included.
        provision: Field<Duration> = "15m",
        /// From the container's start to a runner that GitHub lists as online.
        online: Field<Duration> = "3m",
        /// How long a persistent runner that is to stop or go is waited for while it runs a job.
        drain: Field<Duration> = "6h",
        /// From the signal to end to the kill, for persistent runners. GitHub's agent takes up to 30 seconds to give a job up.
        stop_grace: Field<Duration> = "40s",
    }
    later { job }
}

section! {
    /// The container's surroundings.
    PoolDocker {
        /// `isolated`: one bridge on which runners cannot reach each other. `dedicated`: a bridge for each runner. `none`: no network. Any other name: that network, which has to exist.
        network: Field<Name<64>> = "isolated",
    }
    later { mode, extra_hosts, dns }
}

section! {
    /// The agent's work folder.
    Work {
        /// The folder in which jobs check out and build, from the agent's own folder.
        dir: Field<WorkDir> = "_work",
    }
    later { volume, caches }
}

section! {
    /// What a container is given beyond the least. All of it weakens the wall between a job and the host.
    PoolSecurity {
        /// Gives every job the whole host.
        privileged: Field<bool> = "false",
        /// `false` makes `sudo` work, and lets a job become root inside its container.
        no_new_privileges: Field<bool> = "true",
        /// Capabilities that are given back; all are dropped by default.
        cap_add: Field<List<Capability>> = "[]",
        /// Files or folders of the host inside the container: `/on/the/host:/in/the/container`, with `:ro` to forbid writing.
        mounts: Field<List<Mount>> = "[]",
    }
    later { user, cap_drop, seccomp, readonly_docker_socket }
}

section! {
    /// How GitHub is reached.
    GitHub {
        /// Who the program is there: an App, or a personal access token. By default the token in the variable GITHUB_TOKEN.
        auth: Auth,
        /// GitHub's API; `auto` derives it from `org_url`.
        api_url: Field<ApiUrl> = "auto",
        /// How much of GitHub's API is used.
        rate_limit: RateLimit,
        /// How often GitHub is asked.
        poll: Poll,
    }
    later { ca_bundle }
}

section! {
    /// Who the program is at GitHub: either `app`, or one of `token` and `token_file`.
    Auth {
        /// A GitHub App (recommended).
        app: App,
        /// A personal access token: `${NAME}` or `file:/path`.
        token: Field<Secret>,
        /// The file with the token.
        token_file: Field<SecretFile>,
    }
}

section! {
    /// A GitHub App.
    App {
        /// The App's client id, such as `Iv23liAbCdEf`.
        client_id: Field<AppId>,
        /// The App's number; the client id is what GitHub recommends.
        app_id: Field<AppId>,
        /// The App's private key (PEM): `${NAME}` or `file:/path`.
        private_key: Field<Secret>,
        /// The file with the private key.
        private_key_file: Field<SecretFile>,
        /// The installation; `auto` looks it up for each account.
        installation_id: Field<Installation> = "auto",
    }
}

section! {
    /// How much of GitHub's API is used.
    RateLimit {
        /// Requests under way at once for one account.
        max_concurrent: Field<Whole<1, 100>> = "8",
    }
    later { reserve }
}

section! {
    /// How often GitHub is asked.
    Poll {
        /// GitHub's list of runners.
        runners: Field<Duration> = "60s",
        /// GitHub's log of what it delivered, in which what never arrived is found, fetched and made good; `off` for never. 1m by default, and 5s with `intake.mode: pull`. An App alone has such a log.
        deliveries: Field<Rhythm>,
        /// The queued jobs of repositories in which something happened of late: finds those of which GitHub sent nothing. `off` for never.
        jobs: Field<Rhythm> = "2m",
    }
}

section! {
    /// How GitHub's events come here.
    Intake {
        /// `webhook`: GitHub delivers them to `http.listen`. `pull`: they are read from GitHub's log of deliveries, and nothing of this program has to be reachable from outside; no secret is needed then.
        mode: Field<IntakeMode> = "webhook",
        /// The path of the webhook's address.
        path: Field<UrlPath> = "/webhook",
        /// The webhook's secret: `${NAME}` or `file:/path`. Several are all valid, so that one can be replaced without a gap.
        secrets: Field<List<Secret>>,
        /// A file with a secret in each line.
        secrets_file | secret_file: Field<SecretFile>,
        /// The largest body that is read. GitHub's own cap is 25 MB.
        max_body: Field<Bytes> = "25MiB",
        /// How long a delivery is remembered, so that its repetition changes nothing.
        dedupe_ttl: Field<Duration> = "72h",
        /// From where deliveries are taken: `off` (anywhere), `github-meta` (the addresses that GitHub names for its hooks), or a list of networks.
        source_allowlist: Field<Sources> = "off",
    }
}

section! {
    /// Where events and state are kept.
    Queue {
        /// `embedded` (one file, for one host) or `redis` (for any number of hosts).
        backend: Field<BackendName> = "embedded",
        /// The embedded store.
        embedded: Embedded,
        /// Redis.
        redis: Redis,
        /// A manager that is silent for so long is dead: its events are handed to another, and its runners are taken over.
        visibility_timeout: Field<Duration> = "60s",
        /// How long things are kept.
        retention: Retention,
    }
    later { max_attempts }
}

section! {
    /// The embedded store.
    Embedded {
        /// Its file, from this file's folder.
        path: Field<FilePath> = "./data/runnerfleet.redb",
    }
    later { durability }
}

section! {
    /// Redis: either `url`, or `sentinels` and `sentinel_master`.
    Redis {
        /// `redis://host:6379/0`, or `rediss://…` for TLS.
        url: Field<RedisUrl>,
        /// The address of each sentinel.
        sentinels: Field<List<RedisUrl>>,
        /// The name of the primary that the sentinels watch.
        sentinel_master: Field<Text>,
        /// What every key starts with.
        prefix: Field<KeyPrefix> = "'runnerfleet:'",
    }
    later { tls_ca, wait_replicas }
}

section! {
    /// How long things are kept.
    Retention {
        /// Finished jobs and removed runners.
        done: Field<Duration> = "24h",
    }
    later { dead }
}

section! {
    /// Where the program listens.
    Http {
        /// For GitHub's deliveries, `/healthz` and `/readyz`. A proxy with TLS belongs in front of it, or `tls` here.
        listen: Field<Listen> = "127.0.0.1:8080",
        /// Where GitHub reaches the receiver, without `intake.path`: the proxy's address, as in `https://ci.example.com`. `setup` and `doctor` hold the App's webhook against it.
        public_url: Field<PublicUrl>,
        /// A certificate of its own, for a receiver that no proxy stands before.
        tls: HttpTls,
        /// The networks of the proxies whose word on a client's address is taken (`X-Forwarded-For`, `Forwarded`).
        trusted_proxies: Field<List<Cidr>> = "[]",
        /// What one client, and all of them together, may take up.
        limits: HttpLimits,
        /// For the verbs beside `serve`.
        admin: Admin,
    }
    later { metrics }
}

section! {
    /// A certificate of its own. The files are read again when they change.
    HttpTls {
        /// The certificate and those that lead from it to a known authority (PEM), from this file's folder.
        cert (required): Field<FilePath>,
        /// Its private key (PEM), from this file's folder.
        key (required): Field<FilePath>,
    }
}

section! {
    /// What one client, and all of them together, may take up.
    HttpLimits {
        /// Connections at once.
        connections: Field<Whole<1, 100_000>> = "2048",
        /// Connections at once from one address (of IPv6, from one /64), and requests at once of one client behind a trusted proxy. By default a quarter of `connections`; all of them where `listen` is a loopback address, since a proxy is the only one who comes there.
        connections_per_address: Field<Whole<1, 100_000>>,
        /// For a request's head, and for the TLS handshake.
        header_timeout: Field<Duration> = "10s",
        /// For a request's body. One that hardly moves is given up earlier.
        body_timeout: Field<Duration> = "20s",
    }
}

section! {
    /// For the verbs beside `serve`.
    Admin {
        /// The local socket; beside the embedded store's file by default, or `./data/runnerfleet.sock` with Redis.
        socket: Field<FilePath>,
    }
    later { listen, tokens }
}

section! {
    /// A machine with a Docker engine.
    Host {
        /// Its name, unique in the fleet; the machine's host name by default.
        name: Field<Name<64>>,
        /// Where its engine is: `unix:///var/run/docker.sock` or `tcp://host:2375`; DOCKER_HOST or the local socket by default.
        docker: Field<DockerUrl>,
        /// At most so many runners on this engine.
        max_runners: Field<Some1> = "50",
        /// What is left to the host.
        reserve: Reserve,
        /// Containers made or started at once; twice the processors by default.
        concurrent_starts: Field<Whole<1, 1_000>>,
    }
    later { tls, labels }
}

section! {
    /// What is left to the host.
    Reserve {
        /// Memory.
        memory: Field<Bytes> = "1g",
    }
    later { cpus }
}

section! {
    /// Bounds over all pools.
    Limits {
        /// Runners of the whole fleet at once.
        max_runners: Field<Some1> = "100",
        /// Below so much free space on Docker's disk no runner is made.
        disk_free_min: Field<Bytes> = "2g",
    }
    later { concurrent_starts, concurrent_builds, circuit }
}

section! {
    /// What is whose, and what is allowed.
    Security {
        /// The fleet's name. It is written on every container; only containers with it are ever touched.
        instance: Field<Name<64>> = "default",
        /// Whether jobs of public repositories are served, by pools that don't say (`matching.public_repositories`).
        allow_public_repositories: Field<bool> = "false",
    }
    later { adopt, forbid_persistent_for_public, redact, secrets_key, audit_log }
}

section! {
    /// Which newer base images are wanted.
    Versions {
        /// How far a newer tag may be away: from 2.331.0, `patch` goes to the newest 2.331, `minor` to the newest 2, `major` to any. `digest` keeps the tag and looks only for another image behind it, which the others do as well.
        policy: Field<UpdatePolicy> = "minor",
    }
    later { source, max_lag }
}

section! {
    /// How the program logs.
    Log {
        /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,runnerfleet::plan=debug`.
        level: Field<LogLevel> = "info",
        /// `text` or `json`.
        format: Field<LogFormat> = "text",
    }
    later { file }
}
