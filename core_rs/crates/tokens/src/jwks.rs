//! JSON Web Key Sets (RFC 7517) of Ed25519 keys (RFC 8037): written by the key ring, read by the gateway. Public halves only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::error::TokenError;

/// A longer key set is refused unread.
const JWKS_BYTES_MAX: usize = 65_536;
/// Active and verifying keys together; a rotation needs two.
const JWKS_KEYS_MAX: usize = 64;

#[derive(Serialize, Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

/// Unknown members are ignored, as RFC 7517, section 4, asks; these have to be exact.
#[derive(Serialize, Deserialize)]
struct Key {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    alg: String,
    #[serde(rename = "use")]
    usage: String,
}

/// Writes a key set.
pub(crate) fn encode<'a>(keys: impl Iterator<Item = (&'a str, &'a VerifyingKey)>) -> Vec<u8> {
    let keys = keys
        .map(|(key_id, key)| Key {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            kid: key_id.into(),
            x: URL_SAFE_NO_PAD.encode(key.as_bytes()),
            alg: "EdDSA".into(),
            usage: "sig".into(),
        })
        .collect();
    // Strings alone: this can't fail; an empty document would be refused by every reader.
    serde_json::to_vec(&KeySet { keys }).unwrap_or_default()
}

/// Reads a key set. Refuses the whole of it for one bad key: half a key set is a half-finished rotation.
pub(crate) fn decode(document: &[u8]) -> Result<Vec<(String, VerifyingKey)>, TokenError> {
    if document.len() > JWKS_BYTES_MAX {
        return Err(TokenError::JwksMalformed);
    }
    let set: KeySet = serde_json::from_slice(document).map_err(|_| TokenError::JwksMalformed)?;
    if set.keys.len() > JWKS_KEYS_MAX {
        return Err(TokenError::JwksMalformed);
    }
    let mut keys: Vec<(String, VerifyingKey)> = Vec::with_capacity(set.keys.len());
    for key in set.keys {
        let fixed =
            key.kty == "OKP" && key.crv == "Ed25519" && key.alg == "EdDSA" && key.usage == "sig";
        if !fixed || keys.iter().any(|(known, _)| *known == key.kid) {
            return Err(TokenError::JwksMalformed);
        }
        let public = URL_SAFE_NO_PAD
            .decode(&key.x)
            .map_err(|_| TokenError::JwksMalformed)?;
        keys.push((
            key.kid,
            public_key(&public).ok_or(TokenError::JwksMalformed)?,
        ));
    }
    Ok(keys)
}

/// A public key that may be trusted to verify: 32 bytes, a point on the curve in its one encoding (RFC 8032, 5.1.3), not of small order.
pub(crate) fn public_key(bytes: &[u8]) -> Option<VerifyingKey> {
    let bytes = bytes.try_into().ok()?;
    let key = VerifyingKey::from_bytes(bytes).ok()?;
    (is_reduced(bytes) && !key.is_weak()).then_some(key)
}

/// Is y below 2^255 - 19? The library takes what is not, and reduces it.
fn is_reduced(bytes: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = bytes;
    *lowest < 0xed || middle.iter().any(|byte| *byte != 0xff) || highest & 0x7f != 0x7f
}
