//! The receiver's front door: connections, from the socket to a request whose sender is known.
//!
//! It bounds what clients may take up (`seats`, `pulse`, `body`), says who a client is behind a proxy (`caller`) and
//! whether deliveries are taken from there (`sources`), and speaks TLS where it has a certificate (`tls`). What a request
//! means is none of its business: it hands requests on to a router.

mod accept;
pub mod body;
pub mod caller;
mod connection;
mod pulse;
mod seats;
pub mod sources;
mod tls;

pub use body::{Bodies, BodyError};
pub use caller::Caller;
pub use sources::Sources;

use crate::config::Http;
use crate::config::certificate::PairError;
use accept::accept;
use axum::Router;
use connection::Room;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seats::Seats;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::Certificate;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Files and sockets that the rest of the program needs: the store, Docker, GitHub, the local socket.
const OTHER_FILES: u64 = 192;

/// A connection that was answered is kept for so long for the next request.
const IDLE: Duration = Duration::from_secs(75);

/// The same for a proxy. Longer than proxies keep theirs (nginx a minute, Caddy two): who closes first must be the proxy,
/// or a delivery meets a connection that is just being closed.
const IDLE_PROXY: Duration = Duration::from_secs(300);

/// What stands between the socket and the router.
pub struct Inbound {
    room: Room,
    certificate: Option<Arc<Certificate>>,
}

impl Inbound {
    /// Makes everything ready. Reads the certificate.
    ///
    /// # Errors
    /// The certificate and its key cannot be used.
    pub fn open(http: &Http) -> Result<Self, PairError> {
        let certificate = http.tls.as_ref().map(Certificate::open).transpose()?.map(Arc::new);
        let limits = &http.limits;
        let seats = Seats::new(within_the_files(limits.connections), limits.connections_per_address);
        let room = Room {
            seats: Arc::new(seats),
            trusted: http.trusted_proxies.clone().into(),
            header_timeout: limits.header_timeout,
            idle: IDLE,
            idle_proxy: IDLE_PROXY,
        };
        Ok(Self { room, certificate })
    }

    /// `https` where it has a certificate.
    pub fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    /// Takes connections until `stop`, and those that stand in line then; ends when the last of them has its answer. Dropped,
    /// it cuts all of them.
    pub async fn serve(self, mut listener: TcpListener, router: Router, stop: CancellationToken) {
        let Self { room, certificate } = self;
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        let _cut = cut.clone().drop_guard();
        let take = |stream: TcpStream, peer: IpAddr| {
            let (room, router, certificate) = (room.clone(), router.clone(), certificate.clone());
            let (stop, cut) = (stop.clone(), cut.clone());
            // Nothing here waits: a client that is slow, or one too many, never holds up the next one.
            if let Some(place) = room.place(peer) {
                connections.spawn(async move {
                    let served = connection::serve(stream, place, &room, router, certificate.as_deref(), &stop);
                    cut.run_until_cancelled(served).await;
                });
            }
        };
        let took = accept(&mut listener, take);
        let renewed = async {
            match &certificate {
                Some(certificate) => certificate.keep_current().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = took => {}
            () = renewed => {}
            () = stop.cancelled() => {}
        }
        accept::last(listener, take);
        connections.close();
        connections.wait().await;
    }
}

/// As many connections as the process may have files, less what others need. Its own limit is raised as far as it may be.
fn within_the_files(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = (wanted as u64).saturating_add(OTHER_FILES);
    let allowed = limit.maximum.map_or(needed, |most| most.min(needed));
    let files = match limit.current {
        Some(files) if files < allowed => {
            let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum: limit.maximum });
            Some(if raised.is_ok() { allowed } else { files })
        }
        unchanged => unchanged,
    };
    let most = files.map_or(usize::MAX, |files| {
        // With a very low limit, half of it.
        usize::try_from(files.saturating_sub(OTHER_FILES).max(files / 2)).unwrap_or(usize::MAX)
    });
    if most < wanted {
        warn!(
            "http.limits.connections is {wanted}, and this process may have no more than {} files open; it takes {most} \
             connections (raise `ulimit -n`, or LimitNOFILE= of the unit)",
            files.unwrap_or_default()
        );
    }
    wanted.min(most)
}
