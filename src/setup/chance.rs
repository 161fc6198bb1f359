//! Where chance comes from: what nobody may guess.

use aws_lc_rs::error::Unspecified;
use secrecy::SecretString;

/// So many bits that guessing is no way: 256.
const BYTES: usize = 32;

/// 64 hexadecimal digits.
///
/// # Errors
/// The system gives no random numbers.
pub fn word() -> Result<String, Unspecified> {
    let mut bytes = [0_u8; BYTES];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// A secret for deliveries.
///
/// # Errors
/// The system gives no random numbers.
pub fn secret() -> Result<SecretString, Unspecified> {
    word().map(SecretString::from)
}
