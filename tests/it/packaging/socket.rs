use crate::support::app::{HOOK_SECRET, PATIENCE};
use crate::support::hub::Hub;
use crate::support::payload::{Payload, sign};
use crate::support::program::PROGRAM;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// What systemd does before it runs a service: the socket becomes descriptor 3, and the environment says for whom it is.
const AS_SYSTEMD: &str = r#"exec 3<&0 </dev/null; export LISTEN_FDS=${FDS:-1} LISTEN_PID=$$; exec "$0" serve"#;

/// The service manager's side: holds the socket, and hears what the service says.
struct Systemd {
    hub: Hub,
    socket: Arc<TcpListener>,
    notices: UnixDatagram,
    starts: usize,
}

impl Systemd {
    /// Nothing runs yet. Docker is away, so that jobs are taken and wait.
    async fn set_up() -> Self {
        let hub = Hub::start().await;
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let notices = UnixDatagram::bind(hub.path("notify")).unwrap();
        notices.set_nonblocking(true).unwrap();
        let mut config = hub.config();
        config["hosts"] = serde_json::json!([{ "name": "here", "docker": "unix:///nowhere/docker.sock" }]);
        config["http"] = serde_json::json!({ "listen": socket.local_addr().unwrap().to_string() });
        hub.write_config(&config);
        Self { hub, socket: Arc::new(socket), notices, starts: 0 }
    }

    fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn log_of(&self, start: usize) -> String {
        std::fs::read_to_string(self.hub.path(&format!("serve-{start}.log"))).unwrap_or_default()
    }

    fn log(&self) -> String {
        self.log_of(self.starts)
    }

    /// `program` with the socket as its standard input.
    fn spawn(&mut self, mut command: Command) -> Child {
        self.starts += 1;
        let log = std::fs::File::create(self.hub.path(&format!("serve-{}.log", self.starts))).unwrap();
        command
            .current_dir(self.hub.folder.path())
            .env("HOOK_SECRET", HOOK_SECRET)
            .env("NOTIFY_SOCKET", self.hub.path("notify"));
        command.env_remove("RUNNERFLEET_CONFIG").env_remove("RUST_LOG").kill_on_drop(true);
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("it starts")
    }

    fn start(&mut self) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", AS_SYSTEMD, PROGRAM]).stdin(Stdio::from(OwnedFd::from(self.socket.try_clone().unwrap())));
        self.spawn(command)
    }

    /// Until the service said this.
    async fn heard(&self, what: &str) {
        let wait = async {
            loop {
                let mut bytes = [0; 512];
                match self.notices.recv(&mut bytes) {
                    Ok(length) if String::from_utf8_lossy(&bytes[..length]).lines().any(|line| line == what) => return,
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} was not said:\n{}", self.log()));
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not seen: {what}\n{}", self.log()));
    }

    /// SIGTERM, until it has ended.
    async fn stop(&self, mut serve: Child) {
        let pid = serve.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
        kill_process(pid, Signal::TERM).unwrap();
        self.heard("STOPPING=1").await;
        let ended = tokio::time::timeout(PATIENCE, serve.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), Some(0), "{}", self.log());
    }

    /// Ids of the jobs that it knows.
    async fn jobs(&self) -> BTreeSet<u64> {
        let said = self.hub.run(&["jobs", "--output", "json"]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        let rows: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        // `ID/ATTEMPT`.
        let id = |row: &serde_json::Value| row["job"].as_str()?.split('/').next()?.parse().ok();
        rows.as_array().unwrap().iter().map(|row| id(row).unwrap_or_else(|| panic!("{row}"))).collect()
    }
}

/// A delivery on a connection of its own, as a sender makes it that trusts nobody to keep one; the status, or why there is
/// none.
async fn deliver(addr: SocketAddr, job: u64) -> Result<u16, String> {
    let body = Payload::job(job).bytes();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\nx-github-event: \
         workflow_job\r\nx-github-delivery: 00000000-0000-4000-8000-{job:012}\r\nx-hub-signature-256: {}\r\ncontent-length: \
         {}\r\n\r\n",
        sign(HOOK_SECRET, &body),
        body.len()
    );
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.map_err(|error| format!("connecting: {error}"))?;
        stream.write_all(&[head.as_bytes(), &body].concat()).await.map_err(|error| format!("sending: {error}"))?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|error| format!("reading: {error}"))?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(|| format!("answered with {answer:?}"))
    };
    tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer".to_owned())?
}

#[tokio::test(flavor = "multi_thread")]
async fn no_delivery_is_refused_or_lost_while_it_is_restarted() {
    let mut systemd = Systemd::set_up().await;
    let mut serve = systemd.start();
    systemd.heard("READY=1").await;
    assert!(systemd.log().contains("was handed over by the service manager"), "{}", systemd.log());

    // Deliveries all the time, from several senders.
    let (addr, over, sent) = (systemd.addr(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        let (over, sent) = (over.clone(), sent.clone());
        senders.spawn(async move {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let job = 1 + sent.fetch_add(1, Ordering::Relaxed);
                answers.push((job, deliver(addr, job).await));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answers
        });
    }
    let reached = async |count: u64| {
        while sent.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..3 {
        // In the middle of them, and not only at a pause.
        tokio::time::timeout(PATIENCE, reached(sent.load(Ordering::Relaxed) + 40))
            .await
            .expect("deliveries go through");
        systemd.stop(serve).await;
        // Each sender stands in line now, or is about to.
        serve = systemd.start();
        systemd.heard("READY=1").await;
    }
    tokio::time::timeout(PATIENCE, reached(sent.load(Ordering::Relaxed) + 40)).await.expect("deliveries go through");
    over.store(true, Ordering::Relaxed);
    let answers = senders.join_all().await.concat();
    let failed: Vec<_> = answers.iter().filter(|(_, answer)| *answer != Ok(202)).collect();
    assert!(failed.is_empty(), "{failed:?}\n{}\n{}", systemd.log_of(1), systemd.log());
    assert!(answers.len() >= 160, "{}", answers.len());

    // Each is there. (What was taken while it stopped is worked off by the next one.)
    let expected: BTreeSet<u64> = answers.into_iter().map(|(job, _)| job).collect();
    let all = async {
        while systemd.jobs().await != expected {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        let known = systemd.jobs().await;
        panic!("not there: {:?}", expected.difference(&known).collect::<Vec<_>>());
    }
    systemd.stop(serve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_while_nobody_runs_waits_for_the_next_one() {
    let mut systemd = Systemd::set_up().await;
    let serve = systemd.start();
    systemd.heard("READY=1").await;
    systemd.stop(serve).await;
    let waiting = tokio::spawn(deliver(systemd.addr(), 7));
    // One that was killed took nothing with it either.
    let mut killed = systemd.start();
    systemd.heard("READY=1").await;
    assert_eq!(waiting.await.unwrap(), Ok(202));
    killed.kill().await.unwrap();
    let waiting = tokio::spawn(deliver(systemd.addr(), 8));
    let serve = systemd.start();
    systemd.heard("READY=1").await;
    assert_eq!(waiting.await.unwrap(), Ok(202));
    systemd.stop(serve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_socket_of_systemds_who_stands_in_line_is_served_before_it_ends() {
    let mut systemd = Systemd::set_up().await;
    let mut config = systemd.hub.config();
    config["http"]["listen"] = "127.0.0.1:0".into();
    systemd.hub.write_config(&config);
    let mut command = Command::new(PROGRAM);
    command.arg("serve").stdin(Stdio::null());
    // Meant for a process before this one: descriptor 3 is nobody's here.
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let mut serve = systemd.spawn(command);
    systemd.heard("READY=1").await;
    let log = systemd.log();
    let addr = log.split_once("listening on http://").unwrap().1.split('/').next().unwrap().parse().unwrap();
    // It sleeps while they connect and send, and is told to end before it can take them.
    let pid = serve.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    systemd.until("it sleeps", || std::fs::read_to_string(&stat).unwrap().contains(") T ")).await;
    let deliveries: Vec<_> = (1..=20).map(|job| tokio::spawn(deliver(addr, job))).collect();
    systemd.until("all of them are connected", || in_line(addr) == 20).await;
    kill_process(pid, Signal::TERM).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), Ok(202), "{}", systemd.log());
    }
    assert_eq!(tokio::time::timeout(PATIENCE, serve.wait()).await.expect("it ends").unwrap().code(), Some(0));
}

/// Connections that a listening socket's line holds, of the kernel's table: its column of what waits to be received.
fn in_line(addr: SocketAddr) -> u32 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X} ", addr.port());
    let listening = table.lines().find(|line| line.contains(&port) && line.split_whitespace().nth(3) == Some("0A"));
    let queues = listening.and_then(|line| line.split_whitespace().nth(4)).expect("it listens");
    u32::from_str_radix(queues.split(':').nth(1).unwrap(), 16).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_than_the_configurations_is_told() {
    let mut systemd = Systemd::set_up().await;
    let mut config = systemd.hub.config();
    config["http"]["listen"] = "127.0.0.1:1".into();
    systemd.hub.write_config(&config);
    let serve = systemd.start();
    systemd.heard("READY=1").await;
    let log = systemd.log();
    let told =
        log.lines().find(|line| line.contains("http.listen says 127.0.0.1:1")).unwrap_or_else(|| panic!("{log}"));
    assert!(told.contains("WARN") && told.contains(&systemd.addr().to_string()), "{told}");
    assert_eq!(deliver(systemd.addr(), 1).await, Ok(202));
    systemd.stop(serve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_socket_to_listen_on_ends_it_with_the_remedy() {
    let mut systemd = Systemd::set_up().await;
    let stream = std::net::TcpStream::connect(systemd.addr()).unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = systemd.socket.try_clone().unwrap();
    let cases: [(OwnedFd, &str, &str); 4] = [
        (listener.into(), "2", "2 sockets were handed over"),
        (stream.into(), "1", "Accept=no"),
        (datagrams.into(), "1", "no TCP socket"),
        (std::fs::File::open("/dev/null").unwrap().into(), "1", "no TCP socket"),
    ];
    for (handed, count, expected) in cases {
        let mut command = Command::new("sh");
        command.args(["-c", AS_SYSTEMD, PROGRAM]).env("FDS", count).stdin(Stdio::from(handed));
        let ended = tokio::time::timeout(PATIENCE, systemd.spawn(command).wait()).await.expect("it ends").unwrap();
        let log = systemd.log();
        assert_eq!(ended.code(), Some(1), "{log}");
        assert!(log.contains(expected) && log.contains("LISTEN_FDS") && log.contains("unit of the socket"), "{log}");
    }
}

/// systemd's own program for it: listens, and becomes the service at the first connection.
#[tokio::test(flavor = "multi_thread")]
async fn systemds_own_hand_over_is_understood() {
    let mut systemd = Systemd::set_up().await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command.arg(format!("--listen={free}")).args(["--setenv=HOOK_SECRET", "--setenv=NOTIFY_SOCKET", PROGRAM, "serve"]);
    command.stdin(Stdio::null());
    let serve = systemd.spawn(command);
    let connected = async {
        // The first one only wakes it.
        while TcpStream::connect(free).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        deliver(free, 1).await
    };
    let answer = tokio::time::timeout(PATIENCE, connected).await.expect("it listens");
    assert_eq!(answer, Ok(202), "{}", systemd.log());
    systemd.heard("READY=1").await;
    systemd.stop(serve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_is_fed() {
    let mut systemd = Systemd::set_up().await;
    let mut command = Command::new("sh");
    let script = format!("export WATCHDOG_PID=$$ WATCHDOG_USEC=100000; {AS_SYSTEMD}");
    command.args(["-c", &script, PROGRAM]).stdin(Stdio::from(OwnedFd::from(systemd.socket.try_clone().unwrap())));
    let serve = systemd.spawn(command);
    systemd.heard("READY=1").await;
    for _ in 0..3 {
        systemd.heard("WATCHDOG=1").await;
    }
    systemd.stop(serve).await;
}
