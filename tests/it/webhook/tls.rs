use super::wire::{ask, closed, request, try_answer};
use super::{Delivery, Door, Payload, SOON, until};
use jiff::{SignedDuration, Timestamp};
use runnerfleet::config::{Tls, certificate};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

fn job(id: u64) -> Delivery {
    Delivery::of(&Payload::job(id).without("steps"))
}

/// A certificate of this machine's loopback, written in place of whatever is there.
fn make(folder: &Path, days: &str) -> Tls {
    let files = Tls { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", days])
        .args(["-subj", "/CN=fleet", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&files.key)
        .arg("-out")
        .arg(&files.cert)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    files
}

struct Secure {
    door: Door,
    files: Tls,
    folder: TempDir,
}

impl Secure {
    async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    async fn open_with(change: impl FnOnce(&mut runnerfleet::config::Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = make(folder.path(), "100");
        let door = Door::open_with(|config| {
            config.http.tls = Some(files.clone());
            change(config);
        });
        Self { door: door.await, files, folder }
    }

    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.door.addr).await.unwrap()
    }

    /// A connection of a client that trusts the certificate in this file.
    async fn trusting(
        &self,
        cert: &Path,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.plain().await).await
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.trusting(&self.files.cert, rustls::ALL_VERSIONS).await.unwrap()
    }
}

#[tokio::test]
async fn deliveries_come_over_tls_of_both_versions() {
    let secure = Secure::open().await;
    for (id, version) in [(1, &rustls::version::TLS12), (2, &rustls::version::TLS13)] {
        let mut stream = secure.trusting(&secure.files.cert, &[version]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        ask(&mut stream, &request(&job(id), "")).await.is(202, "queued", "");
        ask(&mut stream, &request(&job(id), "")).await.is(200, "repeated", "taken before");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_one_that_does_not_come_as_well() {
    let short = |config: &mut runnerfleet::config::Config| {
        config.http.limits.header_timeout = Duration::from_millis(400);
    };
    let secure = Secure::open_with(short).await;
    for garbage in [&b"GET /healthz HTTP/1.1\r\nhost: fleet\r\n\r\n"[..], &[0xff; 4096], b"\x16\x03\x01\xff\xff", b""] {
        let mut stream = secure.plain().await;
        stream.write_all(garbage).await.unwrap();
        let said = closed(&mut stream).await;
        assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));
    }
    let mut half = secure.plain().await;
    half.write_all(b"\x16\x03\x01").await.unwrap();
    half.shutdown().await.unwrap();
    closed(&mut half).await;
    ask(&mut secure.connect().await, &request(&job(1), "")).await.is(202, "queued", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_without_a_failed_request() {
    let secure = Arc::new(Secure::open().await);
    let old = secure.folder.path().join("old.pem");
    std::fs::copy(&secure.files.cert, &old).unwrap();
    let renewed = tempfile::tempdir().unwrap();
    let new = make(renewed.path(), "200");

    // Both are trusted by those who deliver all the while, as one authority's would be.
    let (secured, (older, newer)) = (secure.clone(), (old.clone(), new.cert.clone()));
    let (over, is_over) = tokio::sync::watch::channel(false);
    let load = tokio::spawn(async move {
        let mut kept = secured.trusting(&older, rustls::ALL_VERSIONS).await.unwrap();
        let mut id = 0;
        while !*is_over.borrow() {
            id += 2;
            ask(&mut kept, &request(&job(id), "")).await.is(202, "queued", "");
            let mut fresh = match secured.trusting(&older, rustls::ALL_VERSIONS).await {
                Ok(stream) => stream,
                Err(_) => {
                    secured.trusting(&newer, rustls::ALL_VERSIONS).await.expect("it is the old one or the new one")
                }
            };
            ask(&mut fresh, &request(&job(id + 1), "")).await.is(202, "queued", "");
        }
        id
    });
    // One after the other, as certbot does it: between the two they don't fit.
    std::fs::rename(&new.cert, &secure.files.cert).unwrap();
    std::fs::copy(&secure.files.cert, &new.cert).unwrap();
    until("both are there again", async || secure.trusting(&old, rustls::ALL_VERSIONS).await.ok()).await;
    std::fs::rename(&new.key, &secure.files.key).unwrap();
    let mut taken =
        until("the new one is served", async || secure.trusting(&new.cert, rustls::ALL_VERSIONS).await.ok()).await;
    ask(&mut taken, &request(&job(1), "")).await.is(202, "queued", "");
    over.send(true).unwrap();
    let count = tokio::time::timeout(SOON, load).await.expect("it ends").expect("no request failed");
    assert!(count > 0);
    assert!(secure.trusting(&old, rustls::ALL_VERSIONS).await.is_err(), "the old one is gone");

    // What cannot be used changes nothing.
    std::fs::write(&secure.files.key, "no key").unwrap();
    std::fs::write(&secure.files.cert, "no certificate").unwrap();
    let mut still = secure.trusting(&new.cert, rustls::ALL_VERSIONS).await.unwrap();
    ask(&mut still, &request(&job(0), "")).await.is(202, "queued", "");
}

#[tokio::test]
async fn one_too_many_is_told_so_over_tls_as_well() {
    let secure = Secure::open_with(|config| config.http.limits.connections = 1).await;
    let mut held = secure.connect().await;
    ask(&mut held, &request(&job(1), "")).await.is(202, "queued", "");
    let mut other = secure.connect().await;
    other.write_all(&request(&job(2), "")).await.unwrap();
    let (_, refused) = try_answer(&mut other).await.expect("it is told");
    refused.is(503, "unavailable", "http.limits.connections");
}

#[test]
fn files_that_are_no_pair_are_told_by_name() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (good, foreign) = (make(folder.path(), "10"), make(other.path(), "10"));
    let pair = certificate::read(&good).unwrap();
    let left = pair.not_after.expect("it tells when it lapses").duration_since(Timestamp::now());
    assert!((SignedDuration::from_hours(9 * 24)..=SignedDuration::from_hours(10 * 24)).contains(&left), "{left}");
    assert!(!pair.key_is_open, "openssl writes keys for their owner alone");

    let told = |cert: &Path, key: &Path| {
        let files = Tls { cert: cert.to_path_buf(), key: key.to_path_buf() };
        certificate::read(&files).map(|_| ()).unwrap_err()
    };
    let text = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mismatch = told(&good.cert, &foreign.key);
    let expected =
        format!("the key in {} is not the key of the certificate in {}", foreign.key.display(), good.cert.display());
    assert_eq!(mismatch.to_string(), expected);
    assert!(mismatch.is_about_the_key());
    let key = std::fs::read_to_string(&good.key).unwrap();
    let locked =
        text("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let torn = text("torn.pem", &key[..key.len() / 2]);
    for (cert, key, of_the_key, why) in [
        (&good.key, &good.key, false, "key.pem has no certificate in it"),
        (&good.cert, &good.cert, true, "cert.pem has no private key in it"),
        (&good.cert, &locked, true, "locked.pem holds an encrypted key"),
        (&good.cert, &torn, true, "torn.pem is no PEM"),
        (&good.cert, &folder.path().join("none"), true, "none is not there"),
        (&folder.path().join("none"), &good.key, false, "none is not there"),
        (&folder.path().to_path_buf(), &good.key, false, "is no regular file"),
    ] {
        let error = told(cert, key);
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.is_about_the_key(), of_the_key, "{error}");
        assert!(!error.to_string().contains("PRIVATE KEY"), "{error}");
    }
}
