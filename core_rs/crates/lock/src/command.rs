//! The door command: a CWT (RFC 8392) for one lock, once, for seconds. Signed by the organization's command key; whether it is obeyed is `verifier`'s question.

use alloc::string::String;
use alloc::vec::Vec;

use ed25519_dalek::SigningKey;

use crate::cbor::{ClaimReader, ClaimWriter, is_identifier, is_visible};
use crate::cose::{self, Kind};
use crate::refusal::ClaimsInvalid;

/// `exp - iat` at most.
pub const COMMAND_LIFE_MS_MAX: i64 = 5_000;
/// Longest id of an event.
pub(crate) const COMMAND_ID_BYTES_MAX: usize = 128;
/// Longest name of an action, known or not.
const ACTION_BYTES_MAX: usize = 32;

const ISSUER: i64 = 1;
const AUDIENCE: i64 = 3;
const EXPIRES_AT: i64 = 4;
const ISSUED_AT: i64 = 6;
const ID: i64 = 7;
const ACTION: i64 = -70_001;
const DOOR: i64 = -70_002;

/// What a lock can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let somebody in once.
    Unlock,
    /// Keep the bolt back until the command expires: a lease, that is renewed by another. Its id is that of the hold, the same in each.
    Hold,
}

impl Action {
    /// As in the claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unlock => "unlock",
            Self::Hold => "hold",
        }
    }

    /// From the claim.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Unlock, Self::Hold]
            .into_iter()
            .find(|action| action.as_str() == text)
    }
}

/// What a door command says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Whose lock it is.
    pub organization: String,
    /// The lock that it is for.
    pub lock: String,
    /// The door that the lock is on.
    pub door: String,
    /// What to do; kept as text, because an unknown one has to be refused after the signature was found good.
    pub action: String,
    /// The event that it comes from; a lock obeys it once, or, of a hold, for as long as it is renewed.
    pub id: String,
    /// Milliseconds since the Unix epoch.
    pub issued_at_ms: i64,
    /// Milliseconds since the Unix epoch: from here on it is expired.
    pub expires_at_ms: i64,
}

impl Command {
    /// Signs the command.
    ///
    /// # Errors
    /// [`ClaimsInvalid`] when a name is not one, the action is unknown, or it would live longer than 5,000 ms.
    pub fn sign(&self, key_id: &str, key: &SigningKey) -> Result<Vec<u8>, ClaimsInvalid> {
        if Action::parse(&self.action).is_none() || !self.lives_briefly() {
            return Err(ClaimsInvalid);
        }
        self.sign_unchecked(key_id, key).ok_or(ClaimsInvalid)
    }

    /// Signs whatever can be encoded: for golden vectors of commands that a lock has to refuse.
    #[doc(hidden)]
    #[must_use]
    pub fn sign_unchecked(&self, key_id: &str, key: &SigningKey) -> Option<Vec<u8>> {
        cose::seal(Kind::Command, key_id, self.encode()?, key)
    }

    pub(crate) fn lives_briefly(&self) -> bool {
        // Both are dates below 2^53, so the difference can't overflow; a caller's own numbers could.
        let life_ms = self.expires_at_ms.saturating_sub(self.issued_at_ms);
        (1..=COMMAND_LIFE_MS_MAX).contains(&life_ms)
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let named = [&self.organization, &self.lock, &self.door]
            .into_iter()
            .all(|name| is_identifier(name));
        if !named
            || !is_visible(&self.id, COMMAND_ID_BYTES_MAX)
            || !is_visible(&self.action, ACTION_BYTES_MAX)
        {
            return None;
        }
        ClaimWriter::default()
            .text(ISSUER, &self.organization)
            .text(AUDIENCE, &self.lock)
            .date_ms(EXPIRES_AT, self.expires_at_ms)?
            .date_ms(ISSUED_AT, self.issued_at_ms)?
            .bytes(ID, self.id.as_bytes())
            .text(ACTION, &self.action)
            .text(DOOR, &self.door)
            .encode()
    }

    /// Reads a payload whose signature holds.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut claims = ClaimReader::parse(payload)?;
        let command = Self {
            organization: claims.text(ISSUER)?,
            lock: claims.text(AUDIENCE)?,
            expires_at_ms: claims.date_ms(EXPIRES_AT)?,
            issued_at_ms: claims.date_ms(ISSUED_AT)?,
            id: String::from_utf8(claims.bytes(ID)?).ok()?,
            action: claims.text(ACTION)?,
            door: claims.text(DOOR)?,
        };
        (claims.is_empty() && command.encode()? == payload).then_some(command)
    }
}
