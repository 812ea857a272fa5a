//! Signed time: the organization's answer to a lock that asked with a nonce (RFC 9711, section 4.1). What the lock makes of it is `clock`'s question.

use alloc::string::String;
use alloc::vec::Vec;

use ed25519_dalek::SigningKey;

use crate::cbor::{ClaimReader, ClaimWriter, is_identifier};
use crate::clock::is_nonce;
use crate::cose::{self, Kind};
use crate::refusal::ClaimsInvalid;

const ISSUER: i64 = 1;
const AUDIENCE: i64 = 3;
const ISSUED_AT: i64 = 6;
const NONCE: i64 = 10;

/// What a time answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTime {
    /// Whose lock it is.
    pub organization: String,
    /// The lock that asked.
    pub lock: String,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The lock's nonce, echoed: 16 to 32 bytes.
    pub nonce: Vec<u8>,
}

impl SignedTime {
    /// Signs the answer.
    ///
    /// # Errors
    /// [`ClaimsInvalid`] when a name is not one, or the nonce is not of 16 to 32 bytes.
    pub fn sign(&self, key_id: &str, key: &SigningKey) -> Result<Vec<u8>, ClaimsInvalid> {
        self.encode()
            .and_then(|payload| cose::seal(Kind::Time, key_id, payload, key))
            .ok_or(ClaimsInvalid)
    }

    fn encode(&self) -> Option<Vec<u8>> {
        if !is_identifier(&self.organization)
            || !is_identifier(&self.lock)
            || !is_nonce(&self.nonce)
        {
            return None;
        }
        ClaimWriter::default()
            .text(ISSUER, &self.organization)
            .text(AUDIENCE, &self.lock)
            .date_ms(ISSUED_AT, self.now_ms)?
            .bytes(NONCE, &self.nonce)
            .encode()
    }

    /// Reads a payload whose signature holds.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut claims = ClaimReader::parse(payload)?;
        let time = Self {
            organization: claims.text(ISSUER)?,
            lock: claims.text(AUDIENCE)?,
            now_ms: claims.date_ms(ISSUED_AT)?,
            nonce: claims.bytes(NONCE)?,
        };
        (claims.is_empty() && time.encode()? == payload).then_some(time)
    }
}
