//! The service manager (systemd): the socket that it hands over, and what it is told.
//!
//! Both are a few lines of protocol: `sd_listen_fds(3)` and `sd_notify(3)`. Without a service manager none of it is there, and
//! nothing here does anything. The environment is an argument: `cli` reads it.

use listenfd::ListenFd;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tracing::{debug, warn};

/// Why the sockets that were handed over cannot be used. Each is a mistake in a unit, and ends the program: going on with a
/// socket of its own, it would listen where nobody sends.
#[derive(Debug, thiserror::Error)]
pub enum HandedOver {
    /// The receiver has one socket.
    #[error(
        "{0} sockets were handed over (LISTEN_FDS), and the receiver takes one: leave one ListenStream= in the unit of the socket"
    )]
    TooMany(usize),
    /// A socket of another kind.
    #[error(
        "what was handed over (LISTEN_FDS) is no TCP socket: {0}; the unit of the socket needs ListenStream= with an address and \
         a port"
    )]
    NoTcp(io::Error),
    /// `Accept=yes`: a process for each connection.
    #[error(
        "what was handed over (LISTEN_FDS) is one connection and no socket that listens: the unit of the socket needs Accept=no"
    )]
    Connection,
}

/// The socket that the service manager holds for the receiver, if there is one. To be called once, and before there are
/// threads: it takes `LISTEN_FDS` and `LISTEN_PID` out of the environment, so that no child believes they are for it.
///
/// # Errors
/// [`HandedOver`].
pub fn handed_over(env: impl Fn(&str) -> Option<String>) -> Result<Option<TcpListener>, HandedOver> {
    // Inherited from a parent for whom they were, they mean nothing: descriptor 3 is anything then. (`listenfd` looks at a
    // LISTEN_PID that is there; systemd always sets it.)
    if env("LISTEN_PID").is_none_or(|pid| pid != std::process::id().to_string()) {
        return Ok(None);
    }
    let mut sockets = ListenFd::from_env();
    match sockets.len() {
        0 => return Ok(None),
        1 => {}
        more => return Err(HandedOver::TooMany(more)),
    }
    let Some(listener) = sockets.take_tcp_listener(0).map_err(HandedOver::NoTcp)? else { return Ok(None) };
    // A socket that listens has no peer.
    let stream = TcpStream::from(OwnedFd::from(listener));
    if stream.peer_addr().is_ok() {
        return Err(HandedOver::Connection);
    }
    let listener = TcpListener::from(OwnedFd::from(stream));
    listener.set_nonblocking(true).map_err(HandedOver::NoTcp)?;
    Ok(Some(listener))
}

/// Where the service manager listens.
#[derive(Debug)]
pub struct ServiceManager {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Of the environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`. What cannot be used there is told and left: the
    /// service manager then gives up waiting, and says so.
    pub fn of(env: impl Fn(&str) -> Option<String>) -> Self {
        let to = env("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound().and_then(|socket| {
                // A service manager that reads nothing must not hold us up.
                socket.set_nonblocking(true)?;
                Ok((socket, address?))
            });
            socket.inspect_err(|error| warn!("the service manager cannot be told anything at {name}: {error}")).ok()
        });
        let for_us = env("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = env("WATCHDOG_USEC").filter(|_| for_us).and_then(|micros| micros.parse().ok());
        Self { to, watchdog: watchdog.filter(|micros| *micros > 0).map(Duration::from_micros) }
    }

    /// Deliveries are taken.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The end has begun.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// Says again and again that the program lives, while it does. `lives` ends soon where that is so. Ends at once where nobody
    /// watches.
    pub async fn watch<F: Future<Output = ()>>(&self, lives: impl Fn() -> F) {
        let Some(within) = self.watchdog.filter(|_| self.to.is_some()) else { return };
        loop {
            // As the manual of sd_watchdog_enabled advises: twice in the time, so that one that is late does no harm.
            let beat = within / 2;
            if tokio::time::timeout(beat, lives()).await.is_ok() {
                self.tell("WATCHDOG=1");
            } else {
                warn!("the program does not get on; the service manager ends it if that lasts {} s", within.as_secs());
            }
            tokio::time::sleep(beat).await;
        }
    }

    fn tell(&self, what: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            debug!("the service manager did not take {what:?}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = by.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn it_is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("runnerfleet-test-{}", std::process::id());
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
            (UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(), format!("@{name}")),
        ];
        for (socket, address) in sockets {
            let manager = ServiceManager::of(|name| (name == "NOTIFY_SOCKET").then(|| address.clone()));
            manager.ready("receiving");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=receiving");
            manager.stopping("ending");
            assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=ending");
        }
    }

    #[test]
    fn without_one_nothing_is_told_and_nothing_breaks() {
        ServiceManager::of(|_| None).ready("receiving");
        let nowhere = ServiceManager::of(|name| (name == "NOTIFY_SOCKET").then(|| "/nowhere/notify".to_owned()));
        nowhere.ready("receiving");
        ServiceManager::of(|name| (name == "NOTIFY_SOCKET").then(|| "x".repeat(4096))).ready("receiving");
    }

    #[tokio::test]
    async fn the_watchdog_hears_of_a_program_that_lives_and_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let env = |pid: &str| {
            let (pid, path) = (pid.to_owned(), path.display().to_string());
            move |name: &str| match name {
                "NOTIFY_SOCKET" => Some(path.clone()),
                "WATCHDOG_USEC" => Some("20000".to_owned()),
                "WATCHDOG_PID" => Some(pid.clone()),
                _ => None,
            }
        };
        let ours = ServiceManager::of(env(&std::process::id().to_string()));
        let three = tokio::task::spawn_blocking(move || {
            let told = [heard(&socket), heard(&socket), heard(&socket)];
            (told, socket)
        });
        let (told, socket) = tokio::select! {
            heard = three => heard.unwrap(),
            () = ours.watch(|| async {}) => unreachable!("it never ends"),
        };
        assert!(told.iter().all(|told| told == "WATCHDOG=1"), "{told:?}");
        // One beat may be on its way still.
        socket.set_nonblocking(true).unwrap();
        while socket.recv(&mut [0; 64]).is_ok() {}
        // A program that hangs, and somebody else's watchdog: nothing is told.
        let tried = std::cell::Cell::new(0);
        let hangs = ours.watch(|| {
            tried.set(tried.get() + 1);
            std::future::pending::<()>()
        });
        tokio::select! {
            () = hangs => unreachable!("it never ends"),
            () = async { while tried.get() < 3 { tokio::task::yield_now().await; } } => {}
        }
        ServiceManager::of(env("1")).watch(|| async {}).await;
        assert!(socket.recv(&mut [0; 64]).is_err(), "nothing more was told");
    }

    #[test]
    fn sockets_of_another_process_are_left_alone() {
        let not_ours = |name: &str| (name == "LISTEN_PID").then(|| "1".to_owned());
        assert!(handed_over(not_ours).unwrap().is_none() && handed_over(|_| None).unwrap().is_none());
    }
}
