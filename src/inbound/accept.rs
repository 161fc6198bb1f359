//! Taking connections, whatever happens.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info, warn};

/// The pauses after an accept that failed for want of something: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// So many connections are still taken from a socket that is given up. The kernel's line is as long by default.
const MOST_AT_THE_END: usize = 4096;

/// What connections come from.
pub(super) trait Accept {
    /// What a connection is.
    type Stream;

    /// The next one.
    async fn next(&mut self) -> io::Result<(Self::Stream, SocketAddr)>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.accept().await?;
        without_delay(&stream);
        Ok((stream, address))
    }
}

/// Small answers on kept connections would wait for the peer's delayed acknowledgement otherwise.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!("no TCP_NODELAY on a connection: {error}");
    }
}

/// The last ones of a socket that is given up: who stands in the kernel's line there has connected, and may have sent all of a
/// delivery. Closed with the socket, they would be cut off. A socket that somebody else holds too is not closed by us; its line
/// is shorter for the next process then.
pub(super) fn last(from: TcpListener, mut take: impl FnMut(TcpStream, IpAddr)) {
    let Ok(from) = from.into_std() else { return };
    for _ in 0..MOST_AT_THE_END {
        // It does not block: nobody stands in line any more is an error then, as all others are.
        let Ok((stream, address)) = from.accept() else { return };
        if stream.set_nonblocking(true).is_err() {
            continue;
        }
        if let Ok(stream) = TcpStream::from_std(stream) {
            without_delay(&stream);
            take(stream, address.ip().to_canonical());
        }
    }
}

/// Hands each connection on, for ever. `take` must not block.
pub(super) async fn accept<A: Accept>(from: &mut A, mut take: impl FnMut(A::Stream, IpAddr)) {
    let mut pause = None;
    loop {
        match from.next().await {
            Ok((stream, address)) => {
                if pause.take().is_some() {
                    info!("connections are accepted again");
                }
                // An IPv4 client of a socket that listens on `[::]`.
                take(stream, address.ip().to_canonical());
            }
            Err(error) if was_the_clients(&error) => debug!("a connection was gone before it was accepted: {error}"),
            Err(error) => {
                // Told once: it fails again at once, and a thousand times a second, until files are free.
                if pause.is_none() {
                    warn!("no connection can be accepted: {error}; trying again until it works");
                }
                let wait = pause.map_or(PAUSE.0, |last: Duration| (last * 2).min(PAUSE.1));
                pause = Some(wait);
                tokio::time::sleep(wait).await;
            }
        }
    }
}

fn was_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Accepts by script, and then nothing more.
    struct Script(VecDeque<io::Result<u32>>);

    impl Accept for Script {
        type Stream = u32;

        async fn next(&mut self) -> io::Result<(u32, SocketAddr)> {
            match self.0.pop_front() {
                Some(next) => next.map(|stream| (stream, "[::ffff:192.0.2.7]:4711".parse().unwrap())),
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn no_error_ends_it() {
        let no_more_files = || Err(io::Error::from_raw_os_error(24));
        let reset = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
        let script = [Ok(1), no_more_files(), no_more_files(), reset(), Ok(2), no_more_files(), Ok(3)];
        let (sender, mut taken) = tokio::sync::mpsc::unbounded_channel();
        let mut script = Script(script.into());
        let accepting = accept(&mut script, |stream, peer| sender.send((stream, peer.to_string())).unwrap());
        tokio::select! {
            () = accepting => unreachable!("it never ends"),
            () = async {
                for expected in 1..=3 {
                    assert_eq!(taken.recv().await, Some((expected, "192.0.2.7".to_owned())));
                }
            } => {}
        }
    }
}
