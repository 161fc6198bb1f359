//! A connection between two parts that can be cut, held up and slowed down: a proxy on the loopback or on a socket file.
//!
//! What is held up is not lost: it goes on when the way is open again, as it does on a network that repeats what got lost.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// One end.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// An address.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Way {
    #[default]
    Open,
    /// Each piece waits for so long.
    Slow(Duration),
    /// Nothing comes through, and nobody is told.
    Shut,
}

/// How things stand now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weather {
    /// From those who connect.
    pub(super) there: Way,
    /// Back to them.
    pub(super) back: Way,
    /// Whoever connects is hung up on.
    pub(super) refused: bool,
    /// Connections of an earlier number are cut.
    cuts: u64,
}

/// See the file's head. Closed when dropped.
pub(super) struct Link {
    /// Where to connect to.
    pub(super) near: Place,
    far: Arc<Mutex<Option<Place>>>,
    weather: watch::Sender<Weather>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// Listens; connections are hung up on until there is a far end.
    pub(super) async fn open(near: Place) -> io::Result<Self> {
        let weather = watch::Sender::new(Weather::default());
        let far: Arc<Mutex<Option<Place>>> = Arc::default();
        let (near, listener) = match near {
            Place::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                (Place::Tcp(listener.local_addr()?), Listener::Tcp(listener))
            }
            Place::Unix(path) => {
                let listener = UnixListener::bind(&path)?;
                (Place::Unix(path), Listener::Unix(listener))
            }
        };
        let task = tokio::spawn(run(listener, Arc::clone(&far), weather.subscribe()));
        Ok(Self { near, far, weather, _task: AbortOnDropHandle::new(task) })
    }

    /// Where connections lead from now on.
    pub(super) fn leads_to(&self, far: Place) {
        *self.far.lock().unwrap_or_else(PoisonError::into_inner) = Some(far);
    }

    /// Cuts all connections; new ones are as good as ever.
    pub(super) fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Changes how things stand.
    pub(super) fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.weather.send_modify(change);
    }

    /// All is well again.
    pub(super) fn clear(&self) {
        self.weather.send_modify(|weather| *weather = Weather { cuts: weather.cuts, ..Weather::default() });
    }

    /// The address that it listens on.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.near {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) => None,
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection's end.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    async fn connect(place: &Place) -> io::Result<Self> {
        Ok(match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Self::Tcp(stream)
            }
            Place::Unix(path) => Self::Unix(UnixStream::connect(path).await?),
        })
    }

    /// What is dropped after this is reset, not closed.
    fn will_be_reset(&self) {
        if let Self::Tcp(stream) = self {
            // Otherwise it is closed: as good a way to end.
            let _ = stream.set_zero_linger();
        }
    }
}

async fn run(listener: Listener, far: Arc<Mutex<Option<Place>>>, weather: watch::Receiver<Weather>) {
    // Dropped with this task, and with it every connection.
    let mut open = JoinSet::new();
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        };
        while open.try_join_next().is_some() {}
        let Ok(near) = accepted else {
            // Too many files, perhaps: they come free.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let far = far.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if weather.borrow().refused {
            near.will_be_reset();
            continue;
        }
        let Some(far) = far else { continue };
        open.spawn(connection(near, far, weather.clone()));
    }
}

/// One connection, until it ends or is cut.
async fn connection(near: Stream, far: Place, weather: watch::Receiver<Weather>) {
    let cuts = weather.borrow().cuts;
    let Ok(far) = Stream::connect(&far).await else {
        near.will_be_reset();
        return;
    };
    let (mut near, mut far) = (near, far);
    let mut watching = weather.clone();
    let over = match (&mut near, &mut far) {
        (Stream::Tcp(near), Stream::Tcp(far)) => both(near.split(), far.split(), &weather, &mut watching, cuts).await,
        (Stream::Unix(near), Stream::Unix(far)) => both(near.split(), far.split(), &weather, &mut watching, cuts).await,
        (Stream::Tcp(near), Stream::Unix(far)) => both(near.split(), far.split(), &weather, &mut watching, cuts).await,
        (Stream::Unix(near), Stream::Tcp(far)) => both(near.split(), far.split(), &weather, &mut watching, cuts).await,
    };
    if over.is_err() {
        near.will_be_reset();
        far.will_be_reset();
    }
}

/// Both directions. An error where one of them broke or it was cut.
async fn both<R, W, S, X>(
    near: (R, W),
    far: (S, X),
    weather: &watch::Receiver<Weather>,
    watching: &mut watch::Receiver<Weather>,
    cuts: u64,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: AsyncRead + Unpin,
    X: AsyncWrite + Unpin,
{
    let there = one(near.0, far.1, weather.clone(), |weather| weather.there);
    let back = one(far.0, near.1, weather.clone(), |weather| weather.back);
    tokio::select! {
        ended = async { tokio::try_join!(there, back) } => ended.map(|_| ()),
        _ = watching.wait_for(|weather| weather.cuts != cuts) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// One direction, to its end.
async fn one(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    way: impl Fn(&Weather) -> Way,
) -> io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut piece).await?;
        let now = way(&weather.borrow());
        match now {
            Way::Open => {}
            Way::Slow(by) => tokio::time::sleep(by).await,
            // The end of the link itself ends this too.
            Way::Shut => {
                let opened = weather.wait_for(|weather| way(weather) != Way::Shut).await;
                opened.map_err(|_| io::Error::from(io::ErrorKind::ConnectionReset))?;
            }
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// Somebody who says everything back, behind a link.
    async fn echo() -> (Link, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    let _ = to.shutdown().await;
                });
            }
        });
        let link = Link::open(Place::Tcp((Ipv4Addr::LOCALHOST, 0).into())).await.unwrap();
        link.leads_to(Place::Tcp(address));
        (link, AbortOnDropHandle::new(task))
    }

    async fn said_back(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn what_is_held_up_comes_later_and_what_is_cut_is_reset() {
        let (link, _echo) = echo().await;
        let mut stream = TcpStream::connect(link.address().unwrap()).await.unwrap();
        assert_eq!(said_back(&mut stream).await.unwrap(), b'x');

        link.change(|weather| weather.back = Way::Shut);
        let held = tokio::time::timeout(Duration::from_millis(200), said_back(&mut stream)).await;
        assert!(held.is_err(), "it came through: {held:?}");
        link.clear();
        assert_eq!(stream.read_u8().await.unwrap(), b'x', "it was not lost");

        link.cut();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut stream = TcpStream::connect(link.address().unwrap()).await.unwrap();
        assert_eq!(said_back(&mut stream).await.unwrap(), b'x', "a new one is as good as ever");

        link.change(|weather| weather.refused = true);
        let mut refused = TcpStream::connect(link.address().unwrap()).await.unwrap();
        assert!(said_back(&mut refused).await.is_err());
        assert_eq!(said_back(&mut stream).await.unwrap(), b'x', "who is there already stays");
    }

    #[tokio::test]
    async fn one_end_may_close_before_the_other() {
        let (link, _echo) = echo().await;
        let mut stream = TcpStream::connect(link.address().unwrap()).await.unwrap();
        stream.write_all(b"all of it").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"all of it");
    }
}
