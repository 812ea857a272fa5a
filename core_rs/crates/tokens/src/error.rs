//! Why a token was refused. The codes are stable and part of the API; the texts are for people and never carry a part of the token.

use thiserror::Error;

/// Why an access token, a device assertion or a key set was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not a compact JWS with exactly the expected header and claims.
    #[error("the token is malformed")]
    Malformed,
    /// Any algorithm but `EdDSA`, `none` among them.
    #[error("the token names an algorithm other than EdDSA")]
    Algorithm,
    /// The `kid` is not (or no longer) one of ours.
    #[error("the token's key is unknown")]
    KeyUnknown,
    /// The signature does not match.
    #[error("the token's signature is wrong")]
    Signature,
    /// `now >= exp`.
    #[error("the token has expired")]
    Expired,
    /// `iat` lies more than 5 s ahead.
    #[error("the token is not yet valid")]
    NotYetValid,
    /// Meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Issued (or, for an assertion, spoken) by somebody else.
    #[error("the token is from another issuer")]
    Issuer,
    /// More than 4,096 bytes; nothing of it was parsed.
    #[error("the token is longer than 4096 bytes")]
    TooLong,
    /// The JSON Web Key Set is not one, holds a key that is not a sound Ed25519 key, or names one twice.
    #[error("the key set is malformed")]
    JwksMalformed,
}

impl TokenError {
    /// The stable code, as in docs/protocols/http.md.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::KeyUnknown => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Issuer => "token_issuer",
            Self::TooLong => "token_too_long",
            Self::JwksMalformed => "jwks_malformed",
        }
    }
}

/// Why a key was not made, loaded, found or used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyRingError {
    /// No such key, or none is active.
    #[error("there is no such key")]
    KeyUnknown,
    /// Sealed by another master key, or for another purpose, organization or name, or damaged.
    #[error("what was sealed does not open")]
    SealedWrongly,
    /// Not `access` with no organization, nor `command` with one.
    #[error("the key's purpose is unknown or does not fit its organization")]
    Purpose,
    /// The `kid` is not one; that of a command key is `<organization>.<n>`.
    #[error("the key's name is not as the protocol says")]
    KeyId,
    /// Another key has this `kid`.
    #[error("another key has this name")]
    KeyExists,
    /// One holder has 16 keys at most.
    #[error("the holder has too many keys")]
    KeysTooMany,
    /// The master key is not of 32 bytes.
    #[error("the master key is not of 32 bytes")]
    MasterKey,
    /// The claims to sign break a limit of the protocol: nothing was signed.
    #[error("the claims break a limit of the protocol")]
    ClaimsInvalid,
    /// More than 1 MiB to seal.
    #[error("the content is longer than 1 MiB")]
    ContentTooLong,
    /// The operating system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness,
}

impl KeyRingError {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::KeyUnknown => "key_unknown",
            Self::SealedWrongly => "key_sealed_wrongly",
            Self::Purpose => "key_purpose",
            Self::KeyId => "key_id_invalid",
            Self::KeyExists => "key_exists",
            Self::KeysTooMany => "keys_too_many",
            Self::MasterKey => "master_key_invalid",
            Self::ClaimsInvalid => "claims_invalid",
            Self::ContentTooLong => "content_too_long",
            Self::Randomness => "randomness_missing",
        }
    }
}
