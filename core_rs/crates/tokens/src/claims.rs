//! The claims of an access token: their wire form, and the rules by which they stand at a moment. Signatures are the business of `jws`.

use serde::{Deserialize, Serialize};

use crate::error::TokenError;

/// `exp - iat` at most, on signing and on verifying.
pub(crate) const LIFE_SECONDS_MAX: i64 = 300;
/// How far ahead an issuer's clock may run.
pub(crate) const CLOCK_LEEWAY_MS: i64 = 5_000;
/// Longest organization, subject and session.
const NAME_BYTES_MAX: usize = 128;
const ISSUER: &str = "nexkey";
const AUDIENCE_GATEWAY: &str = "gateway";

/// Who a token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// A person with a session.
    Person,
    /// A device at a door.
    Lock,
}

impl SubjectKind {
    /// As in the claim `knd`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Lock => "lock",
        }
    }

    /// From the claim `knd`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "person" => Some(Self::Person),
            "lock" => Some(Self::Lock),
            _ => None,
        }
    }
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who may take it: `api` or `gateway`.
    pub audience: String,
    /// The organization it was issued in.
    pub organization: String,
    /// A person or a device of that organization.
    pub subject: String,
    /// Which of the two.
    pub kind: SubjectKind,
    /// The session it belongs to.
    pub session: String,
    /// The key that signed it.
    pub key_id: String,
    /// Milliseconds since the Unix epoch.
    pub issued_at_ms: i64,
    /// Milliseconds since the Unix epoch, a whole second: from here on it is expired.
    pub expires_at_ms: i64,
    /// Topics that its holder may subscribe to; only with audience `gateway`.
    pub topics: Vec<String>,
    /// The revision of the organization that it was decided on, so that a cut voids exactly what it has to; only with audience `gateway`.
    pub revision: u64,
}

/// Names as in docs/protocols/tokens.md.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    iss: String,
    aud: String,
    org: String,
    sub: String,
    knd: SubjectKind,
    sid: String,
    iat: i64,
    exp: i64,
    iat_ms: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    top: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rev: Option<u64>,
}

impl Claims {
    /// Reads a payload whose signature holds. Who may take it and whether it stands is `stand`'s question.
    pub(crate) fn decode(payload: &[u8], key_id: String) -> Result<Self, TokenError> {
        let wire: Wire = serde_json::from_slice(payload).map_err(|_| TokenError::Malformed)?;
        if wire.iss != ISSUER {
            return Err(TokenError::Issuer);
        }
        let expires_at_ms = wire.exp.checked_mul(1000).ok_or(TokenError::Malformed)?;
        let claims = Self {
            audience: wire.aud,
            organization: wire.org,
            subject: wire.sub,
            kind: wire.knd,
            session: wire.sid,
            key_id,
            issued_at_ms: wire.iat_ms,
            expires_at_ms,
            topics: wire.top,
            revision: wire.rev.unwrap_or_default(),
        };
        // Two times of issue that differ would let one of them be later than the cut that the other fails.
        if wire.iat_ms.div_euclid(1000) != wire.iat || !claims.is_sound() {
            return Err(TokenError::Malformed);
        }
        Ok(claims)
    }

    /// The payload to sign, or `None` when the claims break a limit.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if !self.is_sound() {
            return None;
        }
        let wire = Wire {
            iss: ISSUER.into(),
            aud: self.audience.clone(),
            org: self.organization.clone(),
            sub: self.subject.clone(),
            knd: self.kind,
            sid: self.session.clone(),
            iat: self.issued_at_ms.div_euclid(1000),
            exp: self.expires_at_ms.div_euclid(1000),
            iat_ms: self.issued_at_ms,
            top: self.topics.clone(),
            rev: (self.revision != 0).then_some(self.revision),
        };
        serde_json::to_vec(&wire).ok()
    }

    /// Does this token stand for `audience` at `now_ms`? Asked at every use, cached or not.
    pub(crate) fn stand(&self, audience: &str, now_ms: i64) -> Result<(), TokenError> {
        if self.audience != audience {
            return Err(TokenError::Audience);
        }
        if now_ms >= self.expires_at_ms {
            return Err(TokenError::Expired);
        }
        if self.issued_at_ms > now_ms.saturating_add(CLOCK_LEEWAY_MS) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }

    fn is_sound(&self) -> bool {
        let life_seconds = self
            .expires_at_ms
            .div_euclid(1000)
            .checked_sub(self.issued_at_ms.div_euclid(1000));
        let named = |text: &str| !text.is_empty() && text.len() <= NAME_BYTES_MAX;
        named(&self.audience)
            && named(&self.organization)
            && named(&self.subject)
            && named(&self.session)
            && life_seconds.is_some_and(|seconds| (1..=LIFE_SECONDS_MAX).contains(&seconds))
            && ((self.topics.is_empty() && self.revision == 0) || self.audience == AUDIENCE_GATEWAY)
    }
}
