//! The App's private key as a file: whose it is, and how GitHub's page calls it. Pure.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What the first line of a key that `setup` writes begins with. Text before a PEM's first line is none of it (RFC 7468, 5.2).
const NOTE: &str = "# GitHub App ";

/// The key with a line that says whose it is, so that a setup that was cut off right after it knows where to go on.
pub fn noted(pem: &SecretString, slug: &str, issuer: &str) -> SecretString {
    let text = pem.expose_secret().trim();
    SecretString::from(format!("{NOTE}{slug}, client id {issuer}\n{text}\n"))
}

/// The client id that the note names.
pub fn noted_issuer(text: &SecretString) -> Option<&str> {
    let line = text.expose_secret().lines().next()?.strip_prefix(NOTE)?;
    line.rsplit_once(", client id ").map(|(_, issuer)| issuer.trim()).filter(|issuer| !issuer.is_empty())
}

/// What is wrong with a key, in words that follow its name.
pub fn check(pem: &SecretString) -> Result<(), &'static str> {
    let text = pem.expose_secret();
    let label = text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----")).map(|(label, _)| label);
    match label {
        Some("RSA PRIVATE KEY" | "PRIVATE KEY") if text.contains("-----END ") => Ok(()),
        Some("RSA PRIVATE KEY" | "PRIVATE KEY") => Err("is cut off: the line `-----END …` is missing"),
        Some("ENCRYPTED PRIVATE KEY") => Err("is an encrypted key, which nothing here can read"),
        Some(_) => Err("is a PEM of another kind than an RSA private key"),
        None => Err("is no private key (the `.pem` file that GitHub lets you download)"),
    }
}

/// As GitHub's page of the App shows the key: `SHA256:` and the digest of its public half. None where it cannot be read.
pub fn fingerprint(pem: &SecretString) -> Option<String> {
    let text = pem.expose_secret();
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (_, body) = rest.split_once("-----")?;
    let (body, _) = body.split_once("-----END ")?;
    let compact: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(compact).ok()?;
    let pair = KeyPair::from_pkcs8(&der).or_else(|_| KeyPair::from_der(&der)).ok()?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).ok()?;
    Some(format!("SHA256:{}", STANDARD.encode(Sha256::digest(public.as_ref()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whose_it_is() {
        let pem = SecretString::from("-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----");
        let noted = noted(&pem, "runnerfleet-acme", "Iv23liAbc");
        assert_eq!(noted_issuer(&noted), Some("Iv23liAbc"));
        assert_eq!(noted_issuer(&pem), None);
        assert_eq!(check(&noted), Ok(()));
        assert!(noted.expose_secret().ends_with("-----\n"));
    }

    #[test]
    fn what_is_no_key_is_told() {
        let wrong = |text: &str| check(&SecretString::from(text)).unwrap_err();
        assert!(wrong("hello").contains(".pem"));
        assert!(wrong("-----BEGIN PRIVATE KEY-----\nx").contains("cut off"));
        assert!(wrong("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----").contains("another kind"));
        assert!(wrong("-----BEGIN ENCRYPTED PRIVATE KEY-----").contains("encrypted"));
        assert_eq!(
            fingerprint(&SecretString::from("-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----")),
            None
        );
    }
}
