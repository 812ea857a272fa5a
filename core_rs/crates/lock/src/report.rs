//! The report: what a lock did with a command, or what its door is doing. Signed by the lock's own key and numbered, so that it can be kept and sent again.

use alloc::string::String;
use alloc::vec::Vec;

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::cbor::{ClaimReader, ClaimWriter, is_identifier, is_visible};
use crate::command::COMMAND_ID_BYTES_MAX;
use crate::cose::{self, Envelope, Kind, Unopened};
use crate::refusal::{ClaimsInvalid, ReportRefusal};

/// Longest result and reason.
const WORD_BYTES_MAX: usize = 64;
/// The store keeps numbers as signed 64-bit integers.
const NUMBER_MAX: u64 = i64::MAX as u64;

const ISSUER: i64 = 1;
const ISSUED_AT: i64 = 6;
const NUMBER: i64 = -70_003;
const KIND: i64 = -70_004;
const COMMAND: i64 = -70_005;
const RESULT: i64 = -70_006;
const REASON: i64 = -70_007;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// What became of a command: `done`, `refused` or `expired`.
    Outcome,
    /// The state of the door, by its `BACnet` name.
    Door,
}

impl ReportKind {
    /// As in the claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Door => "door",
        }
    }

    /// From the claim.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "outcome" => Some(Self::Outcome),
            "door" => Some(Self::Door),
            _ => None,
        }
    }
}

/// What a lock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who says it.
    pub lock: String,
    /// Counts up with every report of this lock.
    pub number: u64,
    /// What it is about.
    pub kind: ReportKind,
    /// The command that it answers; never absent for an outcome.
    pub command: Option<String>,
    /// `done`, `refused` or `expired`; or the state of the door.
    pub result: String,
    /// Why, when it wasn't done.
    pub reason: Option<String>,
    /// The lock's time, milliseconds since the Unix epoch.
    pub at_ms: i64,
}

impl Report {
    /// Signs the report.
    ///
    /// # Errors
    /// [`ClaimsInvalid`] when a claim is not as docs/protocols/tokens.md says.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, ClaimsInvalid> {
        self.encode()
            .and_then(|payload| cose::seal(Kind::Report, "", payload, key))
            .ok_or(ClaimsInvalid)
    }

    /// What `lock`, whose key is `key`, has said in `message`.
    ///
    /// # Errors
    /// Every refusal of [`ReportRefusal`].
    pub fn verify(key: &VerifyingKey, message: &[u8], lock: &str) -> Result<Self, ReportRefusal> {
        let envelope =
            Envelope::open(Kind::Report, message).map_err(|unopened| match unopened {
                Unopened::Malformed => ReportRefusal::Malformed,
                Unopened::Algorithm => ReportRefusal::Algorithm,
            })?;
        if !envelope.key_id.is_empty() {
            return Err(ReportRefusal::Malformed);
        }
        let payload = envelope.verify(key).ok_or(ReportRefusal::Signature)?;
        let report = Self::decode(payload).ok_or(ReportRefusal::Malformed)?;
        if report.lock != lock {
            return Err(ReportRefusal::WrongLock);
        }
        Ok(report)
    }

    fn is_sound(&self) -> bool {
        let result_known = match self.kind {
            ReportKind::Outcome => {
                self.command.is_some()
                    && matches!(self.result.as_str(), "done" | "refused" | "expired")
            }
            ReportKind::Door => is_word(&self.result, u8::is_ascii_uppercase),
        };
        result_known
            && is_identifier(&self.lock)
            && self.number <= NUMBER_MAX
            && self
                .command
                .as_ref()
                .is_none_or(|command| is_visible(command, COMMAND_ID_BYTES_MAX))
            && self
                .reason
                .as_ref()
                .is_none_or(|reason| is_word(reason, u8::is_ascii_lowercase))
    }

    fn encode(&self) -> Option<Vec<u8>> {
        if !self.is_sound() {
            return None;
        }
        ClaimWriter::default()
            .text(ISSUER, &self.lock)
            .date_ms(ISSUED_AT, self.at_ms)?
            .unsigned(NUMBER, self.number)
            .text(KIND, self.kind.as_str())
            .optional_text(COMMAND, self.command.as_deref())
            .text(RESULT, &self.result)
            .optional_text(REASON, self.reason.as_deref())
            .encode()
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut claims = ClaimReader::parse(payload)?;
        let report = Self {
            lock: claims.text(ISSUER)?,
            at_ms: claims.date_ms(ISSUED_AT)?,
            number: claims.unsigned(NUMBER)?,
            kind: ReportKind::parse(&claims.text(KIND)?)?,
            command: claims.optional_text(COMMAND)?,
            result: claims.text(RESULT)?,
            reason: claims.optional_text(REASON)?,
        };
        (claims.is_empty() && report.encode()? == payload).then_some(report)
    }
}

fn is_word(text: &str, letter: fn(&u8) -> bool) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len())
        && text
            .as_bytes()
            .iter()
            .all(|byte| letter(byte) || *byte == b'_')
}
