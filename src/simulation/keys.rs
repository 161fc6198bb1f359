//! A key for a simulated App, made anew each time: none is kept anywhere.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

/// Both halves of an RSA key, as PEM.
pub struct AppKey {
    /// For whoever signs.
    pub private_pem: SecretString,
    /// For the simulated GitHub.
    pub public_pem: String,
}

/// Makes a key of 2048 bits, as GitHub does. Takes some tenths of a second.
///
/// # Errors
/// The cryptographic library refused.
pub fn generate() -> Result<AppKey, Unspecified> {
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())?;
    Ok(AppKey {
        private_pem: SecretString::from(pem("PRIVATE KEY", private.as_ref())),
        public_pem: pem("PUBLIC KEY", public.as_ref()),
    })
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}
