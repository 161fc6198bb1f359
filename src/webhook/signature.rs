//! GitHub's signature: HMAC-SHA-256 over the raw body, in `X-Hub-Signature-256`.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Why a delivery is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No header. GitHub sends one as soon as the hook has a secret.
    #[error("the X-Hub-Signature-256 header is missing: set the hook's secret in GitHub")]
    Missing,
    /// Not `sha256=` and 64 hexadecimal digits.
    #[error("the X-Hub-Signature-256 header is not `sha256=` and 64 hexadecimal digits")]
    Malformed,
    /// Made with another secret, or over another body.
    #[error(
        "the signature does not match: the hook's secret in GitHub is none of intake.secrets, or the body was changed on its way"
    )]
    Wrong,
}

/// Holds the signature against every secret that is valid now (more than one during a rotation).
///
/// The comparison takes the same time wherever the first difference is (`Mac::verify_slice`).
pub fn verify(secrets: &[SecretString], header: Option<&str>, body: &[u8]) -> Result<(), SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?;
    let digits = header.strip_prefix("sha256=").ok_or(SignatureError::Malformed)?;
    let mut claimed = [0_u8; 32];
    hex::decode_to_slice(digits, &mut claimed).map_err(|_| SignatureError::Malformed)?;
    // Every secret is tried, so that the time does not tell which one matched.
    let matches = secrets.iter().fold(false, |found, secret| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
            return found;
        };
        mac.update(body);
        mac.verify_slice(&claimed).is_ok() || found
    });
    if matches { Ok(()) } else { Err(SignatureError::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's documentation, "Validating webhook deliveries".
    const BODY: &[u8] = b"Hello, World!";
    const GOOD: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| SecretString::from(*text)).collect()
    }

    #[test]
    fn githubs_own_example_is_believed_with_any_valid_secret() {
        for valid in [&["It's a Secret to Everybody"][..], &["new", "It's a Secret to Everybody"]] {
            assert_eq!(verify(&secrets(valid), Some(GOOD), BODY), Ok(()));
        }
    }

    #[test]
    fn anything_else_is_not() {
        let secret = secrets(&["It's a Secret to Everybody"]);
        assert_eq!(verify(&secret, None, BODY), Err(SignatureError::Missing));
        assert_eq!(verify(&secret, Some(GOOD), b"Hello, World?"), Err(SignatureError::Wrong));
        assert_eq!(verify(&secrets(&["other"]), Some(GOOD), BODY), Err(SignatureError::Wrong));
        assert_eq!(verify(&[], Some(GOOD), BODY), Err(SignatureError::Wrong));
        for bad in ["", "sha256=", "sha1=757107ea", "sha256=zz", &GOOD[..60], &format!("{GOOD}00")] {
            assert_eq!(verify(&secret, Some(bad), BODY), Err(SignatureError::Malformed), "{bad}");
        }
    }
}
