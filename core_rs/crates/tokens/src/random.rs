//! Randomness from the operating system: for keys and nonces, nothing else.

use crate::error::KeyRingError;

/// Fills `bytes`.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), KeyRingError> {
    getrandom::fill(bytes).map_err(|_| KeyRingError::Randomness)
}

/// A fresh seed of an Ed25519 key.
///
/// # Errors
/// [`KeyRingError::Randomness`] when the system has none.
pub fn random_seed() -> Result<[u8; 32], KeyRingError> {
    let mut seed = [0; 32];
    fill(&mut seed)?;
    Ok(seed)
}
