//! The verifier of the gateway: it knows a key set and nothing else, so it can't sign. Fetching the key set is the gateway's business.

use ed25519_dalek::VerifyingKey;

use crate::claims::Claims;
use crate::error::TokenError;
use crate::{jwks, jws};

/// Verifies access tokens against a JSON Web Key Set. Not cached: a connection verifies once.
#[derive(Clone, Debug)]
pub struct GatewayVerifier {
    keys: Vec<(String, VerifyingKey)>,
}

impl GatewayVerifier {
    /// Reads the document at `/.well-known/jwks.json`.
    ///
    /// # Errors
    /// [`TokenError::JwksMalformed`] when any part of it is not as docs/protocols/tokens.md says.
    pub fn from_jwks(document: &[u8]) -> Result<Self, TokenError> {
        Ok(Self {
            keys: jwks::decode(document)?,
        })
    }

    /// The claims of `token`, when it is signed by a key of the set and stands for `audience` at `now_ms`.
    ///
    /// # Errors
    /// Every refusal of [`TokenError`]; [`TokenError::KeyUnknown`] is the one that a newer key set may cure.
    pub fn verify(&self, token: &str, audience: &str, now_ms: i64) -> Result<Claims, TokenError> {
        let compact = jws::Compact::parse(token)?;
        let key_id = compact.key_id.clone().ok_or(TokenError::Malformed)?;
        let key = self
            .keys
            .iter()
            .find(|(known, _)| *known == key_id)
            .map(|(_, key)| key)
            .ok_or(TokenError::KeyUnknown)?;
        let claims = Claims::decode(&compact.verify(key)?, key_id)?;
        claims.stand(audience, now_ms)?;
        Ok(claims)
    }
}
