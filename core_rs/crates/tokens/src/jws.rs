//! The compact form of a JWS (RFC 7515, section 7.1), written narrowly: one algorithm, one header, no options. What the claims mean is said in `claims` and `assertion`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::Deserialize;

use crate::error::TokenError;

/// A longer token is refused unread.
pub(crate) const TOKEN_BYTES_MAX: usize = 4096;

/// The only algorithm: `EdDSA` over Ed25519 (RFC 8037, section 3.1).
const ALGORITHM: &str = "EdDSA";

/// A token taken apart, its header already accepted, its signature not yet looked at.
pub(crate) struct Compact<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: Signature,
    /// From the header; unverified until the signature is.
    pub(crate) key_id: Option<String>,
}

/// Every field is optional, so that another algorithm is refused as that whatever else its header holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: Option<String>,
    kid: Option<String>,
    typ: Option<String>,
}

impl<'a> Compact<'a> {
    /// Takes a token apart and accepts its header. Verifies nothing.
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        match header.alg.as_deref() {
            None => return Err(TokenError::Malformed),
            Some(ALGORITHM) => {}
            Some(_) => return Err(TokenError::Algorithm),
        }
        if header.typ.as_deref() != Some("JWT") {
            return Err(TokenError::Malformed);
        }
        let signature =
            Signature::from_slice(&decode(signature)?).map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            signed,
            payload,
            signature,
            key_id: header.kid,
        })
    }

    /// The payload, once the signature holds. Strict: no small-order key or commitment, no second encoding of the scalar.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<Vec<u8>, TokenError> {
        key.verify_strict(self.signed.as_bytes(), &self.signature)
            .map_err(|_| TokenError::Signature)?;
        decode(self.payload)
    }
}

/// The encoded header of tokens that are signed under `key_id`. The caller has checked that `key_id` needs no escape.
pub(crate) fn header(key_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(
        r#"{{"alg":"{ALGORITHM}","kid":"{key_id}","typ":"JWT"}}"#
    ))
}

/// Signs `payload` under an encoded `header`.
pub(crate) fn sign(header: &str, payload: &[u8], key: &SigningKey) -> String {
    let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + 96);
    token.push_str(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes()).to_bytes();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// base64url without padding; a second spelling of the same bytes (stray trailing bits) is refused.
fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TokenError::Malformed)
}
