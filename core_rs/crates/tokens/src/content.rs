//! Content at rest: what the service keeps for later and nobody may read in the store, such as an answer that shows a secret.
//!
//! XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM under a key that is derived, with two blocks of AES, from the master key and half of a random nonce
//! of 24 bytes. So the master key may seal any number of contents; with AES-256-GCM's own nonce of 12 bytes 2^32 would be the end (NIST SP 800-38D, 8.3).
//! Signing keys (`seal`) rest under the master key itself: some thousands. Both may share it, because the blocks that derive are masked by a secret of it.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt as _;
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use crate::error::KeyRingError;

/// Longest content; what is kept here are answers and tokens, never files.
pub const CONTENT_BYTES_MAX: usize = 1 << 20;
const HALF_NONCE_BYTES: usize = 12;
pub(crate) const NONCE_BYTES: usize = 2 * HALF_NONCE_BYTES;
/// Tells these bytes from everything else that the master key may ever seal.
const CONTEXT: &[u8] = b"nexkey content v1";

/// What the content is for and whose it is. Opened under another label, it doesn't open.
#[derive(Clone, Copy)]
pub(crate) struct Label<'a> {
    pub(crate) purpose: &'a str,
    pub(crate) organization: &'a str,
    pub(crate) name: &'a str,
}

impl Label<'_> {
    /// Every part with its length before it, so that no two labels have the same bytes.
    fn bound(self) -> Vec<u8> {
        let mut bound = CONTEXT.to_vec();
        for part in [self.purpose, self.organization, self.name] {
            bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bound.extend_from_slice(part.as_bytes());
        }
        bound
    }
}

/// Seals and opens contents.
pub(crate) struct ContentSealer {
    master: Aes256,
    /// CMAC's first subkey (NIST SP 800-38B): what is derived from is masked with it.
    mask: Zeroizing<u128>,
}

impl ContentSealer {
    pub(crate) fn new(master_key: &[u8]) -> Result<Self, KeyRingError> {
        let master = Aes256::new_from_slice(master_key).map_err(|_| KeyRingError::MasterKey)?;
        let secret = encrypted(&master, 0);
        let mask = Zeroizing::new((secret << 1) ^ ((secret >> 127) * 0x87));
        Ok(Self { master, mask })
    }

    /// Nonce, ciphertext and tag. The nonce is random.
    pub(crate) fn seal(
        &self,
        label: Label<'_>,
        content: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Vec<u8>, KeyRingError> {
        if content.len() > CONTENT_BYTES_MAX {
            return Err(KeyRingError::ContentTooLong);
        }
        let (cipher, rest) = self.cipher(&nonce).ok_or(KeyRingError::SealedWrongly)?;
        let bound = label.bound();
        let payload = Payload {
            msg: content,
            aad: &bound,
        };
        let ciphertext = cipher
            .encrypt(&Nonce::from(rest), payload)
            .map_err(|_| KeyRingError::SealedWrongly)?;
        Ok([&nonce[..], &ciphertext].concat())
    }

    /// The content, when it was sealed by this master key under exactly this label.
    pub(crate) fn open(&self, label: Label<'_>, sealed: &[u8]) -> Result<Vec<u8>, KeyRingError> {
        let (nonce, ciphertext) = sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(KeyRingError::SealedWrongly)?;
        let (cipher, rest) = self.cipher(nonce).ok_or(KeyRingError::SealedWrongly)?;
        let bound = label.bound();
        let payload = Payload {
            msg: ciphertext,
            aad: &bound,
        };
        cipher
            .decrypt(&Nonce::from(rest), payload)
            .map_err(|_| KeyRingError::SealedWrongly)
    }

    /// The cipher that the first half of the nonce makes, and the second half, which is that cipher's own nonce.
    fn cipher(&self, nonce: &[u8; NONCE_BYTES]) -> Option<(Aes256Gcm, [u8; HALF_NONCE_BYTES])> {
        let (first, second) = nonce.split_first_chunk::<HALF_NONCE_BYTES>()?;
        let mut key = Zeroizing::new([0; 32]);
        let (left, right) = key.split_first_chunk_mut::<16>()?;
        *left = self.derived(1, first);
        right.copy_from_slice(&self.derived(2, first));
        let cipher = Aes256Gcm::new_from_slice(key.as_slice()).ok()?;
        Some((cipher, *second.first_chunk()?))
    }

    /// Half a key: a counter of 16 bits, the label `X`, a zero, and the nonce's first half (NIST SP 800-108r1, 4.1, with CMAC of one block).
    fn derived(&self, counter: u8, nonce: &[u8; HALF_NONCE_BYTES]) -> [u8; 16] {
        let mut block = [0; 16];
        let (head, tail) = block.split_at_mut(4);
        head.copy_from_slice(&[0, counter, b'X', 0]);
        tail.copy_from_slice(nonce);
        encrypted(&self.master, u128::from_be_bytes(block) ^ *self.mask).to_be_bytes()
    }
}

fn encrypted(cipher: &Aes256, block: u128) -> u128 {
    let mut block = block.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|place| u8::from_str_radix(&hex[place..place + 2], 16).unwrap())
            .collect()
    }

    /// As the specification's vectors have it: without our label, so through the cipher itself.
    fn sealed_as_specified(key: u8, aad: &[u8]) -> Vec<u8> {
        let contents = ContentSealer::new(&[key; 32]).unwrap();
        let (cipher, rest) = contents.cipher(b"ABCDEFGHIJKLMNOPQRSTUVWX").unwrap();
        let payload = Payload {
            msg: b"XAES-256-GCM",
            aad,
        };
        cipher.encrypt(&Nonce::from(rest), payload).unwrap()
    }

    #[test]
    fn the_vectors_of_the_specification_hold() {
        assert_eq!(
            sealed_as_specified(1, b""),
            bytes("ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271")
        );
        assert_eq!(
            sealed_as_specified(3, b"c2sp.org/XAES-256-GCM"),
            bytes("986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d")
        );
    }
}
