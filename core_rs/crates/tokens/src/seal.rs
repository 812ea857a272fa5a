//! Signing keys at rest: AES-256-GCM under the master key, bound to what the key is for. Where the master key and the sealed bytes live is the caller's business.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use crate::error::KeyRingError;
use crate::holder::Holder;

const NONCE_BYTES: usize = 12;
const SEED_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const SEALED_BYTES: usize = NONCE_BYTES + SEED_BYTES + TAG_BYTES;
/// Tells these bytes from everything else that the master key may ever seal.
const CONTEXT: &[u8] = b"nexkey signing key v1";

/// The private half of an Ed25519 key, zeroed on drop.
pub(crate) type Seed = Zeroizing<[u8; SEED_BYTES]>;

/// Seals and opens private halves.
pub(crate) struct Sealer(Aes256Gcm);

impl Sealer {
    pub(crate) fn new(master_key: &[u8]) -> Result<Self, KeyRingError> {
        Aes256Gcm::new_from_slice(master_key)
            .map(Self)
            .map_err(|_| KeyRingError::MasterKey)
    }

    /// Nonce, ciphertext and tag. The nonce must never come twice: it is random, for some thousands of keys.
    pub(crate) fn seal(
        &self,
        seed: &Seed,
        nonce: [u8; NONCE_BYTES],
        holder: Holder<'_>,
        key_id: &str,
    ) -> Result<Vec<u8>, KeyRingError> {
        let bound = bound_to(holder, key_id);
        let payload = Payload {
            msg: seed.as_slice(),
            aad: &bound,
        };
        let ciphertext = self
            .0
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| KeyRingError::SealedWrongly)?;
        Ok([&nonce[..], &ciphertext].concat())
    }

    /// The private half, when it was sealed by this master key for exactly this holder and `kid`.
    pub(crate) fn open(
        &self,
        sealed: &[u8],
        holder: Holder<'_>,
        key_id: &str,
    ) -> Result<Seed, KeyRingError> {
        if sealed.len() != SEALED_BYTES {
            return Err(KeyRingError::SealedWrongly);
        }
        let (nonce, ciphertext) = sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(KeyRingError::SealedWrongly)?;
        let bound = bound_to(holder, key_id);
        let payload = Payload {
            msg: ciphertext,
            aad: &bound,
        };
        let opened = self
            .0
            .decrypt(&Nonce::from(*nonce), payload)
            .map_err(|_| KeyRingError::SealedWrongly)?;
        let opened = Zeroizing::new(opened);
        let mut seed = Seed::default();
        if opened.len() != SEED_BYTES {
            return Err(KeyRingError::SealedWrongly);
        }
        seed.copy_from_slice(&opened);
        Ok(seed)
    }
}

/// Every part with its length before it, so that no two triples have the same bytes.
fn bound_to(holder: Holder<'_>, key_id: &str) -> Vec<u8> {
    let (purpose, organization) = holder.names();
    let mut bound = CONTEXT.to_vec();
    for part in [purpose, organization, key_id] {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part.as_bytes());
    }
    bound
}
