//! A stream for the engine, written by a thread: what is sent is never in memory as a whole.

use bytes::Bytes;
use futures_util::Stream;
use std::io::{self, BufWriter, Write};
use tokio::sync::mpsc;

/// Pieces of the stream to the engine, and how many may wait.
const PIECE: usize = 256 * 1024;
const PIECES: usize = 8;

/// What `write` writes, as a stream; the engine's appetite holds the thread back. An error of `write` ends the stream.
pub fn piped<F>(write: F) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static
where
    F: FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut pipe = BufWriter::with_capacity(PIECE, Pipe(sender.clone()));
        if let Err(error) = write(&mut pipe).and_then(|()| pipe.flush()) {
            // What it holds must not follow the error. Where nobody reads any more, the engine's own error is told.
            let _ = pipe.into_parts();
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(piece)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
