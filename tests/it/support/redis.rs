//! A Redis of the test's own, with an append-only file, on a free port of the loopback.

use runnerfleet::config::RedisConfig;
use secrecy::SecretString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One server. Killed, and its files deleted, when dropped.
pub struct RedisServer {
    dir: TempDir,
    port: u16,
    args: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more arguments.
    pub fn start_with(args: &[&str]) -> Self {
        let mut server = Self::down();
        server.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        server.up();
        server
    }

    /// A place where one can be started later.
    pub fn down() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), port: free_port(), args: Vec::new(), child: None }
    }

    /// Starts it (again), on the same port with the same files, and waits until it answers.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--pidfile", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"]);
        command.args(&self.args);
        self.child = Some(spawn(command, self.dir.path()));
        // One that wants a password answers too.
        wait_for("redis answers", || ["+PONG", "-NOAUTH"].iter().any(|word| ask(self.port, "PING").starts_with(word)));
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Stops it without a word to anybody, and lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        let signal = if frozen { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A command in one line, and what it answers, raw.
    pub fn ask(&self, command: &str) -> String {
        ask(self.port, command)
    }

    /// How a manager reaches it.
    pub fn config(&self) -> RedisConfig {
        config(&[self.port], None)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A primary with replicas, watched by three sentinels.
pub struct Sentinels {
    /// The servers; the first is the primary at the start.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl Sentinels {
    /// Starts them all and waits until they know of each other.
    pub fn start() -> Self {
        let primary = RedisServer::start();
        let follow = format!("127.0.0.1 {}", primary.port);
        let replicas: Vec<_> = (0..2).map(|_| RedisServer::start_with(&["--replicaof", &follow])).collect();
        for replica in &replicas {
            // A sentinel that meets a replica before its link stands looks again only after ten seconds.
            wait_for("a replica follows", || replica.ask("INFO replication").contains("master_link_status:up"));
        }
        let sentinels: Vec<_> = (0..3).map(|_| start_sentinel(primary.port)).collect();
        for sentinel in &sentinels {
            wait_for("the sentinels know all", || {
                let info = sentinel.ask("INFO sentinel");
                info.contains("slaves=2") && info.contains("sentinels=3")
            });
        }
        Self { servers: std::iter::once(primary).chain(replicas).collect(), sentinels }
    }

    /// How a manager reaches the primary, whichever it is.
    pub fn config(&self) -> RedisConfig {
        config(&self.sentinels.iter().map(RedisServer::port).collect::<Vec<_>>(), Some("fleet"))
    }
}

fn start_sentinel(primary: u16) -> RedisServer {
    let mut server = RedisServer::down();
    let file = server.dir.path().join("sentinel.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\nsentinel monitor fleet 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds fleet 1000\nsentinel failover-timeout fleet 5000\n",
        server.port
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("redis-server");
    command.arg(&file).arg("--sentinel");
    server.child = Some(spawn(command, server.dir.path()));
    wait_for("a sentinel answers", || ask(server.port, "PING").contains("PONG"));
    server
}

fn config(ports: &[u16], sentinel_master: Option<&str>) -> RedisConfig {
    let url = |port: &u16| SecretString::from(format!("redis://127.0.0.1:{port}/0"));
    RedisConfig {
        urls: ports.iter().map(url).collect(),
        sentinel_master: sentinel_master.map(str::to_owned),
        prefix: "runnerfleet".to_owned(),
    }
}

fn spawn(mut command: Command, dir: &Path) -> Child {
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            panic!("`redis-server` does not start ({error}): these tests need it, install Redis 6.2 or later")
        }
    }
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// What a server says to one command; what it has said so far where it does not hang up (a sentinel knows no QUIT).
fn ask(port: u16, command: &str) -> String {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut said = Vec::new();
    if stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).is_ok() {
        let _ = stream.read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited for this in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
