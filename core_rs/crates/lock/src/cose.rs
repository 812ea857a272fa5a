//! The envelope of every message: `COSE_Sign1` (RFC 9052, section 4.2), tag 18, one algorithm, a content type per kind of message, nothing unprotected.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use coset::{
    Algorithm, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable as _,
    iana,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// A longer message is refused unread.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// What a message is; signed with it, so that none passes for one of another kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Time,
    Report,
}

impl Kind {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Command => "application/nexkey-command+cwt",
            Self::Time => "application/nexkey-time+cwt",
            Self::Report => "application/nexkey-report+cwt",
        }
    }
}

/// Why an envelope was not opened.
pub(crate) enum Unopened {
    Malformed,
    Algorithm,
}

/// A message taken apart; its signature is not yet looked at.
pub(crate) struct Envelope {
    pub(crate) key_id: String,
    payload: Vec<u8>,
    signed: Vec<u8>,
    signature: Signature,
}

impl Envelope {
    /// Takes a message of `kind` apart. Refuses every second encoding of the same envelope.
    pub(crate) fn open(kind: Kind, message: &[u8]) -> Result<Self, Unopened> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Unopened::Malformed);
        }
        let parsed = CoseSign1::from_tagged_slice(message).map_err(|_| Unopened::Malformed)?;
        let named = &parsed.protected.header;
        if named.alg != Some(Algorithm::Assigned(iana::Algorithm::EdDSA)) {
            return Err(Unopened::Algorithm);
        }
        let key_id = String::from_utf8(named.key_id.clone()).map_err(|_| Unopened::Malformed)?;
        let payload = parsed.payload.ok_or(Unopened::Malformed)?;
        let signature =
            Signature::from_slice(&parsed.signature).map_err(|_| Unopened::Malformed)?;

        let rebuilt = CoseSign1Builder::new()
            .protected(header(kind, &key_id))
            .payload(payload.clone());
        let rebuilt = rebuilt.signature(parsed.signature).build();
        let signed = rebuilt.tbs_data(&[]);
        // INVARIANT: exactly one envelope is accepted for a payload, `kid` and signature: the one that `seal` writes, with the content type of this kind.
        if rebuilt.to_tagged_vec().ok().as_deref() != Some(message) {
            return Err(Unopened::Malformed);
        }
        Ok(Self {
            key_id,
            payload,
            signed,
            signature,
        })
    }

    /// The payload, once the signature holds. Strict: no small-order key or commitment, no second encoding of the scalar.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Option<&[u8]> {
        key.verify_strict(&self.signed, &self.signature).ok()?;
        Some(&self.payload)
    }
}

/// Signs `payload`. An empty `key_id` is left out. `None` when the message would be longer than a reader takes.
pub(crate) fn seal(
    kind: Kind,
    key_id: &str,
    payload: Vec<u8>,
    key: &SigningKey,
) -> Option<Vec<u8>> {
    let message = CoseSign1Builder::new()
        .protected(header(kind, key_id))
        .payload(payload)
        .create_signature(&[], |signed| key.sign(signed).to_vec())
        .build()
        .to_tagged_vec()
        .ok()?;
    (message.len() <= MESSAGE_BYTES_MAX).then_some(message)
}

fn header(kind: Kind, key_id: &str) -> Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .content_type(kind.content_type().to_string())
        .key_id(key_id.as_bytes().to_vec())
        .build()
}
