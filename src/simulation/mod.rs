//! The simulated GitHub and the stand-in agent: what `demo` and the tests run against.
//!
//! GitHub cannot be reached from a test, and nobody should need an App to see the program work. So here is a GitHub that
//! behaves as the real one does as far as this program can tell ([`github`]), and an agent that speaks and ends as the
//! real runner agent does ([`agent`]). The two talk over a [`protocol`] of our own: the real one is not public.
//!
//! Nothing else in the program may depend on this module, apart from the `demo` verb and the hidden verb of the agent.

pub mod agent;
pub(crate) mod changes;
pub mod github;
pub mod image;
pub mod keys;
pub mod protocol;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The value of `X-Hub-Signature-256` for a body: what GitHub writes, and what a receiver has to check.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::sign;

    /// The vector of GitHub's documentation ("Validating webhook deliveries").
    #[test]
    fn signs_as_the_documentation_says() {
        assert_eq!(
            sign("It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
