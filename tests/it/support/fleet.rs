//! Configurations made in code, for tests that need no file.

use runnerfleet::config::{
    Admission, Backend, Config, Docker, GitHub, GitHubAuth, Http, HttpLimits, Intake, IntakeMode, Limits, Log, Mode,
    Network, Notifications, Pool, RegistrationKind, Resources, Security, Sources, StoreConfig, UpdatePolicy, Versions,
};
use runnerfleet::model::{HostId, InstanceId, PoolName, Scope};
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// A pool of organization `acme` with these labels.
pub fn pool(name: &str, labels: &[&str]) -> Pool {
    Pool {
        name: PoolName::new(name),
        name_prefix: name.to_owned(),
        labels: labels.iter().copied().collect(),
        scope: Scope::Organization("acme".to_owned()),
        scope_url: "https://github.com/acme".to_owned(),
        runner_group: None,
        create_runner_group: false,
        admission: Admission::default(),
        registration: RegistrationKind::Jit,
        mode: Mode::Ephemeral,
        image: "runner:1".to_owned(),
        pull: false,
        base_image: None,
        build: None,
        min_idle: 0,
        max: 10,
        priority: 0,
        idle_timeout: Duration::from_secs(300),
        max_lifetime: Duration::from_secs(6 * 3600),
        job_max_age: Duration::from_secs(24 * 3600),
        provision_timeout: Duration::from_secs(15 * 60),
        online_timeout: Duration::from_secs(180),
        drain_timeout: Duration::from_secs(600),
        stop_grace: Duration::from_secs(10),
        max_unavailable: 1,
        resources: Resources { memory: 256 << 20, cpus: None, pids: 256, shm_size: None },
        env: std::collections::BTreeMap::new(),
        command: vec!["/home/runner/run.sh".to_owned()],
        user: None,
        work_dir: "_work".to_owned(),
        network: Network::Isolated,
        security: Security { privileged: false, no_new_privileges: true, cap_add: Vec::new(), mounts: Vec::new() },
    }
}

/// A fleet with these pools; its files are in `folder`.
pub fn config(folder: PathBuf, instance: &str, pools: Vec<Pool>) -> Config {
    Config {
        file: folder.join("runners_config.yaml"),
        instance: InstanceId::new(instance),
        host: HostId::new("here"),
        pools,
        github: GitHub {
            auth: GitHubAuth::Token(SecretString::from("ghp_test")),
            api_url: "http://127.0.0.1:9".to_owned(),
            max_concurrent: 8,
            poll_runners: Duration::from_secs(60),
            // Stories that are about it switch it on.
            poll_deliveries: None,
            poll_jobs: None,
        },
        intake: Intake {
            mode: IntakeMode::Webhook,
            path: "/webhook".to_owned(),
            secrets: vec![SecretString::from("webhook-secret")],
            max_body: 25 << 20,
            dedupe_ttl: Duration::from_secs(72 * 3600),
            sources: Sources::Anywhere,
        },
        store: StoreConfig {
            backend: Backend::Embedded { path: folder.join("runnerfleet.redb") },
            visibility_timeout: Duration::from_secs(60),
            retention: Duration::from_secs(24 * 3600),
        },
        http: Http {
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            public_url: None,
            admin_socket: folder.join("runnerfleet.sock"),
            tls: None,
            trusted_proxies: Vec::new(),
            limits: HttpLimits {
                connections: 2048,
                connections_per_address: 2048,
                header_timeout: Duration::from_secs(10),
                body_timeout: Duration::from_secs(20),
            },
        },
        docker: Docker { url: None, max_runners: 100, reserve_memory: 0, concurrent_starts: None },
        limits: Limits { max_runners: 100, disk_free_min: 0 },
        versions: Versions { policy: UpdatePolicy::Minor },
        allow_public_repositories: false,
        log: Log { level: "info".to_owned(), json: false },
        notifications: Notifications::default(),
        scheduler: None,
        folder,
    }
}
