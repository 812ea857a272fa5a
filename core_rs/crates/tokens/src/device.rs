//! What devices sign, verified with the public key that the service stores: assertions (JWT) and reports (COSE). Devices sign with `nexkey_lock::DeviceKey`.

use nexkey_lock::{ASSERTION_AUDIENCE, ASSERTION_LIFE_SECONDS_MAX, Report, ReportRefusal};
use serde::Deserialize;

use crate::claims::CLOCK_LEEWAY_MS;
use crate::error::TokenError;
use crate::jwks;
use crate::jws::Compact;

/// Names as in docs/protocols/tokens.md.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assertion {
    iss: String,
    sub: String,
    org: String,
    aud: String,
    iat: i64,
    exp: i64,
}

/// Could the holder of this key ever prove itself? What can't be read, or proves nothing, is refused before it is stored.
///
/// # Errors
/// [`TokenError::KeyUnknown`] when `public_key` is not a sound Ed25519 key.
pub fn check_device_key(public_key: &[u8]) -> Result<(), TokenError> {
    jwks::public_key(public_key)
        .map(|_| ())
        .ok_or(TokenError::KeyUnknown)
}

/// Has `device` of `organization` proved itself, at `now_ms`?
///
/// # Errors
/// [`TokenError`]; [`TokenError::Issuer`] for another device or organization, [`TokenError::KeyUnknown`] when `public_key` is not a sound Ed25519 key.
pub fn verify_device_assertion(
    public_key: &[u8],
    assertion: &str,
    organization: &str,
    device: &str,
    now_ms: i64,
) -> Result<(), TokenError> {
    let compact = Compact::parse(assertion)?;
    if compact.key_id.is_some() {
        return Err(TokenError::Malformed);
    }
    let key = jwks::public_key(public_key).ok_or(TokenError::KeyUnknown)?;
    let claims: Assertion =
        serde_json::from_slice(&compact.verify(&key)?).map_err(|_| TokenError::Malformed)?;
    if claims.iss != device || claims.sub != device || claims.org != organization {
        return Err(TokenError::Issuer);
    }
    if claims.aud != ASSERTION_AUDIENCE {
        return Err(TokenError::Audience);
    }
    let life_seconds = claims
        .exp
        .checked_sub(claims.iat)
        .ok_or(TokenError::Malformed)?;
    if !(1..=ASSERTION_LIFE_SECONDS_MAX).contains(&life_seconds) {
        return Err(TokenError::Malformed);
    }
    if now_ms >= claims.exp.saturating_mul(1000) {
        return Err(TokenError::Expired);
    }
    if claims.iat.saturating_mul(1000) > now_ms.saturating_add(CLOCK_LEEWAY_MS) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// What `lock`, whose key is `public_key`, has said in `report`.
///
/// # Errors
/// [`ReportRefusal`]; [`ReportRefusal::Signature`] also when `public_key` is not a sound Ed25519 key.
pub fn verify_report(
    public_key: &[u8],
    report: &[u8],
    lock: &str,
) -> Result<Report, ReportRefusal> {
    let key = jwks::public_key(public_key).ok_or(ReportRefusal::Signature)?;
    Report::verify(&key, report, lock)
}
