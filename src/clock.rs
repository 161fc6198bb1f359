//! The one clock. Loops and adapters read it and hand the moment on; nothing that decides reads it.

use jiff::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
