//! One connection, from the handshake to its last answer.

use super::caller::{Caller, caller, is_in};
use super::pulse::{Pulse, Watched};
use super::seats::{Full, Seat, Seats};
use super::tls::Certificate;
use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The largest head, and how much of a body lies between socket and router. GitHub's heads have one kilobyte.
const BUFFER: usize = 16 * 1024;

/// What a client still sends after its last answer is thrown away, up to so much and for so long: closed before that, the
/// answer would be lost with the connection.
const LINGER: (u64, Duration) = (1 << 20, Duration::from_secs(2));

/// For so long where the program is ending.
const LINGER_AT_THE_END: Duration = Duration::from_millis(300);

/// Where the program is ending, a connection that was just made may begin within this time: closed at once, its delivery would
/// fail although nobody was told not to send it. Longer would only wait for connections that somebody keeps open to be quick.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// When to come back, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub(super) seats: Arc<Seats>,
    pub(super) trusted: Arc<[IpNet]>,
    pub(super) header_timeout: Duration,
    pub(super) idle: Duration,
    pub(super) idle_proxy: Duration,
}

/// A connection's place here.
#[derive(Debug)]
pub(super) struct Place {
    peer: IpAddr,
    /// Kept until the connection is over.
    _seat: Seat,
    full: Option<Full>,
}

impl Room {
    /// A place for a connection from there. One too many gets a place aside, where it is told; none where too many are.
    pub(super) fn place(&self, peer: IpAddr) -> Option<Place> {
        let (seat, full) = match self.seats.connection(peer, !is_in(&self.trusted, peer)) {
            Ok(seat) => (seat, None),
            Err(full) => (self.seats.aside(peer)?, Some(full)),
        };
        Some(Place { peer, _seat: seat, full })
    }
}

/// Serves one connection until it is over.
pub(super) async fn serve<S>(
    stream: S,
    place: Place,
    room: &Room,
    router: Router,
    certificate: Option<&Certificate>,
    stop: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Each step has its own place on the heap, so that a connection takes up no more than the step that it is in.
    let Some(certificate) = certificate else { return Box::pin(talk(stream, place, room, router, stop)).await };
    let handshake = tokio::time::timeout(room.header_timeout, Box::pin(certificate.accept(stream)));
    let the_end = async {
        stop.cancelled().await;
        tokio::time::sleep(FIRST_WORD).await;
    };
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = the_end => return,
    };
    match shaken {
        Ok(Ok(stream)) => Box::pin(talk(stream, place, room, router, stop)).await,
        Ok(Err(error)) => debug!(client = %place.peer, "no TLS on a connection: {error}"),
        Err(_) => debug!(client = %place.peer, "the TLS handshake took too long"),
    }
}

async fn talk<S>(stream: S, place: Place, room: &Room, router: Router, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pulse = Pulse::new();
    let idle = if is_in(&room.trusted, place.peer) { room.idle_proxy } else { room.idle };
    let host = Host {
        router: TowerToHyperService::new(router),
        room: room.clone(),
        peer: place.peer,
        full: place.full,
        pulse: pulse.clone(),
    };
    // A client that has said all may close its half and still wants its answer.
    let connection = http1::Builder::new()
        .half_close(true)
        .max_buf_size(BUFFER)
        .keep_alive(place.full.is_none())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(Watched { stream, pulse: pulse.clone() }), host);
    let mut connection = Box::new(connection);
    let mut stopping = false;
    let over = {
        let mut too_slow = std::pin::pin!(pulse.too_slow(room.header_timeout, idle));
        let mut the_end = std::pin::pin!(async {
            stop.cancelled().await;
            pulse.begins_within(FIRST_WORD).await
        });
        loop {
            tokio::select! {
                // The connection first: a request that has come in is seen before an idle connection is closed.
                biased;
                over = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => break over,
                () = &mut too_slow => {
                    debug!(client = %place.peer, "closed a connection on which nothing happened for too long");
                    return;
                }
                begins = &mut the_end, if !stopping => {
                    if !begins {
                        return;
                    }
                    stopping = true;
                    Pin::new(connection.as_mut()).graceful_shutdown();
                }
            }
        }
    };
    if let Err(error) = over {
        debug!(client = %place.peer, "a connection broke: {error}");
        return;
    }
    let stream = (*connection).into_parts().io.into_inner().stream;
    let rest = Box::pin(linger(stream));
    let _ = if stopping {
        tokio::time::timeout(LINGER_AT_THE_END, rest).await
    } else {
        let rest = tokio::time::timeout(LINGER.1, rest);
        stop.run_until_cancelled(rest).await.unwrap_or(Ok(()))
    };
}

/// Says that nothing more comes from here, and takes what is still on its way.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    if stream.shutdown().await.is_ok() {
        let mut rest = stream.take(LINGER.0);
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
        let _ = rest.read(&mut [0]).await;
    }
}

/// Gives each request of a connection to the router, with who sent it.
struct Host {
    router: TowerToHyperService<Router>,
    room: Room,
    peer: IpAddr,
    full: Option<Full>,
    pulse: Pulse,
}

impl Service<Request<Incoming>> for Host {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.pulse.busy();
        let caller = caller(self.peer, request.headers(), &self.room.trusted);
        request.extensions_mut().insert(caller);
        let seat = self.seat(caller, request.method());
        let (router, pulse) = (self.router.clone(), self.pulse.clone());
        Box::pin(async move {
            let response = match seat {
                Ok(seat) => {
                    let response = router.call(request).await;
                    drop(seat);
                    response
                }
                Err(full) => Ok(refusal(full)),
            };
            pulse.idle();
            response
        })
    }
}

impl Host {
    /// A seat for the request, where its client is not counted by its connection.
    fn seat(&self, caller: Caller, method: &Method) -> Result<Option<Seat>, Full> {
        // Questions have no body and cost next to nothing: whoever watches the program has an answer on a full house too.
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(None);
        }
        match self.full {
            Some(full) => Err(full),
            None if is_in(&self.room.trusted, self.peer) && !caller.is_proxy => {
                self.room.seats.request(caller.address).map(Some)
            }
            None => Ok(None),
        }
    }
}

/// An answer, and not a closed connection: GitHub's log of deliveries shows its status and its words, so that a person sees
/// what was wrong and has it sent again. Of a connection that is closed it only shows that it failed.
fn refusal(full: Full) -> Response {
    let why = match full {
        Full::House => "all connections of the receiver are taken (http.limits.connections); redeliver it later",
        Full::Client => {
            "this client has as many connections as one may have (http.limits.connections_per_address); redeliver it later"
        }
    };
    let body = axum::Json(serde_json::json!({ "status": "unavailable", "why": why }));
    let headers = [(header::RETRY_AFTER, RETRY_AFTER), (header::CONNECTION, HeaderValue::from_static("close"))];
    (StatusCode::SERVICE_UNAVAILABLE, headers, body).into_response()
}
