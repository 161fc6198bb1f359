//! A certificate and its key, read from two files and held against each other.

use super::Tls;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The longest chains have some 20 kB.
const LARGEST_FILE: u64 = 1 << 20;

/// A certificate that can be served.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The chain and the key.
    pub key: CertifiedKey,
    /// When the certificate lapses, as far as it tells.
    pub not_after: Option<Timestamp>,
    /// Whether every user of this machine can read the key's file.
    pub key_is_open: bool,
}

/// Why two files are no certificate and its key.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file that cannot be read.
    #[error("the file {} {why}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
        /// Whether it is the key's.
        of_the_key: bool,
    },
    /// No certificate in it, or a broken one.
    #[error("the file {} {why}", .file.display())]
    NoCertificate {
        /// Which.
        file: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// No private key in it, or one that cannot be used.
    #[error("the file {} {why}", .file.display())]
    NoKey {
        /// Which.
        file: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// Each is good, and they are not each other's.
    #[error("the key in {} is not the key of the certificate in {}", .key.display(), .cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
    },
}

impl PairError {
    /// Whether the key's file is the one to look at.
    pub fn is_about_the_key(&self) -> bool {
        match self {
            Self::Unreadable { of_the_key, .. } => *of_the_key,
            Self::NoKey { .. } | Self::Mismatch { .. } => true,
            Self::NoCertificate { .. } => false,
        }
    }

    /// What would be right.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "",
            Self::NoCertificate { .. } => {
                "it has to be the certificate and its chain in PEM (`-----BEGIN CERTIFICATE-----`), the server's own first"
            }
            Self::NoKey { .. } => "it has to be a private key in PEM without a password",
            Self::Mismatch { .. } => {
                "give the key that the certificate was made with; the server's own comes first in a chain"
            }
        }
    }
}

/// Reads the two files.
///
/// # Errors
/// [`PairError`], with the name of the file.
pub fn read(files: &Tls) -> Result<Pair, PairError> {
    let unreadable = |file: &Path, of_the_key| {
        let file = file.to_path_buf();
        move |why: String| PairError::Unreadable { file, why, of_the_key }
    };
    let (cert, _) = text(&files.cert).map_err(unreadable(&files.cert, false))?;
    let (key, mode) = text(&files.key).map_err(unreadable(&files.key, true))?;

    let no_certificate = |why: String| PairError::NoCertificate { file: files.cert.clone(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert.expose_secret().as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| no_certificate(format!("is no PEM: {error}")))?;
    let Some(first) = chain.first() else { return Err(no_certificate("has no certificate in it".to_owned())) };
    let not_after = not_after(first);

    let no_key = |why: String| PairError::NoKey { file: files.key.clone(), why };
    let key_text = key.expose_secret();
    let der = PrivateKeyDer::from_pem_slice(key_text.as_bytes()).map_err(|error| match error {
        PemError::NoItemsFound if key_text.contains("ENCRYPTED") => {
            no_key("holds an encrypted key; the program has no way to ask for its password".to_owned())
        }
        PemError::NoItemsFound => no_key("has no private key in it".to_owned()),
        other => no_key(format!("is no PEM: {other}")),
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let signing = provider
        .key_provider
        .load_private_key(der)
        .map_err(|_| no_key("holds a key that cannot be used (RSA, ECDSA and Ed25519 can)".to_owned()))?;
    let pair = CertifiedKey::new(chain, signing);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(PairError::Mismatch { cert: files.cert.clone(), key: files.key.clone() });
        }
        Err(_) => return Err(no_certificate("holds a certificate that cannot be read".to_owned())),
    }
    Ok(Pair { key: pair, not_after, key_is_open: mode & 0o004 != 0 })
}

/// A file's text and its rights, both of the file that was opened.
fn text(path: &Path) -> Result<(SecretString, u32), String> {
    let why = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "is not there".to_owned(),
        std::io::ErrorKind::PermissionDenied => "may not be read".to_owned(),
        std::io::ErrorKind::InvalidData => "is no text, and so no PEM".to_owned(),
        other => format!("cannot be read ({other})"),
    };
    // Looked at before it is opened: a FIFO would hold the opening up.
    let metadata = fs::metadata(path).map_err(why)?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    let file = fs::File::open(path).map_err(why)?;
    let mode = file.metadata().map_err(why)?.permissions().mode();
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(why)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(format!("is larger than {} KiB", LARGEST_FILE / 1024));
    }
    Ok((SecretString::from(text), mode))
}

/// `notAfter` of a certificate (RFC 5280, 4.1). No library for this one field: the bytes before it are only stepped over.
fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = item(certificate)?;
    let (_, body, _) = item(certificate)?;
    let (tag, _, rest) = item(body)?;
    // The version is left out in the oldest certificates; the serial number stands first then.
    let rest = if tag == VERSION { item(rest)?.2 } else { rest };
    let (_, _, rest) = item(rest)?; // the algorithm of the signature
    let (_, _, rest) = item(rest)?; // who issued it
    let (tag, validity, _) = item(rest)?;
    let (_, _, rest) = item(validity)?; // not before
    let (kind, text, _) = item(rest)?;
    if tag == SEQUENCE { moment(kind, text) } else { None }
}

/// One element of DER: its tag, what is in it, and what follows.
fn item(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `UTCTime` (`YYMMDDhhmmssZ`) or `GeneralizedTime` (with four digits for the year).
fn moment(kind: u8, text: &[u8]) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<i16>().ok();
    let (year, at) = if kind == UTC_TIME {
        let year = number(0, 2)?;
        (if year < 50 { 2000 + year } else { 1900 + year }, 2)
    } else {
        (number(0, 4)?, 4)
    };
    let part = |index: usize| i8::try_from(number(at + 2 * index, at + 2 * index + 2)?).ok();
    let time = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let moment = |kind, text: &str| moment(kind, text.as_bytes()).map(|moment| moment.to_string());
        assert_eq!(moment(0x17, "261122233000Z").as_deref(), Some("2026-11-22T23:30:00Z"));
        assert_eq!(moment(0x17, "991122233000Z").as_deref(), Some("1999-11-22T23:30:00Z"));
        assert_eq!(moment(0x18, "20991231235959Z").as_deref(), Some("2099-12-31T23:59:59Z"));
        for broken in ["", "Z", "2611222330", "261322233000Z", "2611222330é0Z", "99991231235959+01"] {
            assert_eq!(moment(0x17, broken), None, "{broken}");
        }
    }

    #[test]
    fn broken_bytes_tell_nothing() {
        for broken in
            [&[][..], &[0x30], &[0x30, 0x05, 0x00], &[0x30, 0x80], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0; 64]]
        {
            assert_eq!(not_after(broken), None, "{broken:?}");
        }
    }
}
