//! TLS with a certificate of the receiver's own, read again when its files change.

use crate::clock;
use crate::config::Tls;
use crate::config::certificate::{Pair, PairError, read};
use crate::model::{after, age};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

/// How often the files are looked at. A look is two calls of `stat`.
const LOOK: Duration = Duration::from_secs(2);

/// A certificate that lapses within this time is warned of...
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// ...this often.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificate that is served now.
pub(super) struct Certificate {
    files: Tls,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    watch: Mutex<Watch>,
}

/// What the handshakes take.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

/// What is known of the files.
#[derive(Debug, Default)]
struct Watch {
    /// Of the pair that is served.
    served: Option<Stamps>,
    /// Of files that are no pair, and whether that was told.
    broken: Option<(Stamps, bool)>,
    not_after: Option<Timestamp>,
    warned: Option<Timestamp>,
}

/// What changes with a file: when it was written, which one it is, how long it is. Of both files.
type Stamps = [Option<(i64, i64, u64, u64)>; 2];

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// They are no certificate and its key.
    pub(super) fn open(files: &Tls) -> Result<Self, PairError> {
        // Before the files are read: what is written meanwhile is seen as new.
        let served = Some(stamps(files));
        let Pair { key, not_after, key_is_open } = read(files)?;
        if key_is_open {
            warn!("the key in {} can be read by every user of this machine", files.key.display());
        }
        let current = Arc::new(Current(RwLock::new(Arc::new(key))));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // The default versions are 1.2 and 1.3, and this provider has suites for both.
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PairError::NoCertificate { file: files.cert.clone(), why: error.to_string() })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let watch = Mutex::new(Watch { served, not_after, ..Watch::default() });
        Ok(Self { files: files.clone(), current, acceptor: TlsAcceptor::from(Arc::new(config)), watch })
    }

    /// The handshake.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        self.acceptor.accept(stream).await
    }

    /// Looks at the files for ever.
    pub(super) async fn keep_current(self: &Arc<Self>) {
        loop {
            let certificate = Arc::clone(self);
            // A disk may be slow. Should a look break, the next one tries again.
            let _ = tokio::task::spawn_blocking(move || certificate.look(clock::now())).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes a new pair that is good. A broken one changes nothing, and is told once it was broken in two looks: two files
    /// cannot be replaced at once, and between them they don't fit.
    fn look(&self, now: Timestamp) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamps(&self.files);
        if watch.served != Some(found) && watch.broken != Some((found, true)) {
            match read(&self.files) {
                Ok(pair) => {
                    *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair.key);
                    info!("the certificate in {} is new, and served from now on", self.files.cert.display());
                    *watch = Watch { served: Some(found), not_after: pair.not_after, ..Watch::default() };
                }
                Err(error) => {
                    let again = watch.broken == Some((found, false));
                    if again {
                        warn!("the certificate's files changed and cannot be used: {error}; the last one is served on");
                    }
                    watch.broken = Some((found, again));
                }
            }
        }
        let Some(not_after) = watch.not_after.filter(|not_after| after(now, WARN_BEFORE) > *not_after) else { return };
        if watch.warned.is_none_or(|warned| age(now, warned) >= WARN_EVERY) {
            watch.warned = Some(now);
            let file = self.files.cert.display();
            if not_after > now {
                warn!("the certificate in {file} lapses at {not_after}; GitHub delivers nothing after that");
            } else {
                warn!("the certificate in {file} lapsed at {not_after}; GitHub does not deliver to it");
            }
        }
    }
}

fn stamps(files: &Tls) -> Stamps {
    let stamp = |file: &Path| {
        let found = fs::metadata(file).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.ino(), found.size()))
    };
    [stamp(&files.cert), stamp(&files.key)]
}
