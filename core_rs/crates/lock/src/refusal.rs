//! Why a lock, or the reader of a lock's report, refused. Codes are stable and part of the API.

use thiserror::Error;

/// The claims to sign break a limit of docs/protocols/tokens.md: nothing was signed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the claims break a limit of the protocol")]
pub struct ClaimsInvalid;

/// Why the verifier of a lock refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Oversized, not a `COSE_Sign1`, of another content type, or not encoded deterministically.
    #[error("the command is malformed")]
    CommandMalformed,
    /// Any algorithm but `EdDSA`.
    #[error("the command names another algorithm")]
    CommandAlgorithm,
    /// Not the pinned key.
    #[error("the command names an unknown key")]
    CommandKeyUnknown,
    /// Not signed by the pinned key.
    #[error("the command's signature is wrong")]
    CommandSignature,
    /// Another organization, or another lock of this one.
    #[error("the command is for another lock")]
    CommandWrongLock,
    /// An action that this lock has not learnt.
    #[error("the command's action is unknown")]
    CommandActionUnknown,
    /// No time yet, a tick that went backwards, or an uncertainty above 1,000 ms.
    #[error("the lock is not sure of the time")]
    ClockUnsure,
    /// Issued before the first time that this lock was told since its start.
    #[error("the command was issued before the lock started")]
    CommandBeforeStart,
    /// Issued later than it can be.
    #[error("the command is not yet valid")]
    CommandNotYetValid,
    /// `now >= exp`.
    #[error("the command has expired")]
    CommandExpired,
    /// `exp - iat` is above 5,000 ms, or not positive.
    #[error("the command lives too long")]
    CommandLifetime,
    /// Its id was accepted before.
    #[error("the command was seen before")]
    CommandReplayed,
    /// Every place holds an id that is still live.
    #[error("the memory of commands is full")]
    MemoryFull,
    /// Oversized, not a signed time, or for another lock.
    #[error("the time answer is malformed")]
    TimeMalformed,
    /// Not the answer to the latest question, or an answer taken before.
    #[error("the time answer does not answer the latest question")]
    TimeNonce,
    /// Not signed by the pinned key.
    #[error("the time answer's signature is wrong")]
    TimeSignature,
    /// It would set the clock back beyond what drift explains.
    #[error("the time answer lies in the past")]
    TimeBackwards,
}

impl Refusal {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::CommandMalformed => "command_malformed",
            Self::CommandAlgorithm => "command_algorithm",
            Self::CommandKeyUnknown => "command_key_unknown",
            Self::CommandSignature => "command_signature",
            Self::CommandWrongLock => "command_wrong_lock",
            Self::CommandActionUnknown => "command_action_unknown",
            Self::ClockUnsure => "clock_unsure",
            Self::CommandBeforeStart => "command_before_start",
            Self::CommandNotYetValid => "command_not_yet_valid",
            Self::CommandExpired => "command_expired",
            Self::CommandLifetime => "command_lifetime",
            Self::CommandReplayed => "command_replayed",
            Self::MemoryFull => "memory_full",
            Self::TimeMalformed => "time_malformed",
            Self::TimeNonce => "time_nonce",
            Self::TimeSignature => "time_signature",
            Self::TimeBackwards => "time_backwards",
        }
    }
}

/// Why a lock's report was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReportRefusal {
    /// Oversized, not a `COSE_Sign1`, of another content type, or not encoded deterministically.
    #[error("the report is malformed")]
    Malformed,
    /// Any algorithm but `EdDSA`.
    #[error("the report names another algorithm")]
    Algorithm,
    /// Not signed by the lock's key, or that key is not one.
    #[error("the report's signature is wrong")]
    Signature,
    /// Signed by the right key in another lock's name.
    #[error("the report is of another lock")]
    WrongLock,
}

impl ReportRefusal {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "report_malformed",
            Self::Algorithm => "report_algorithm",
            Self::Signature => "report_signature",
            Self::WrongLock => "report_wrong_lock",
        }
    }
}
