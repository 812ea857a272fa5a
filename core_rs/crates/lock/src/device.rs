//! A device's own key: it signs the device's assertions (JWT) and reports (COSE). How the seed is stored is the firmware's business.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::cbor::is_identifier;
use crate::refusal::ClaimsInvalid;
use crate::report::Report;

/// `aud` of a device assertion.
pub const ASSERTION_AUDIENCE: &str = "nexkey-device";
/// `exp - iat` of a device assertion at most.
pub const ASSERTION_LIFE_SECONDS_MAX: i64 = 60;

/// An Ed25519 key pair. The private half is zeroed on drop and never shown.
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// From 32 secret random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret: for the device's own sealed storage.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half, which the service stores.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs a report.
    ///
    /// # Errors
    /// [`ClaimsInvalid`] when a claim is not as docs/protocols/tokens.md says.
    pub fn sign_report(&self, report: &Report) -> Result<Vec<u8>, ClaimsInvalid> {
        report.sign(&self.0)
    }

    /// Signs a device assertion (RFC 7519). Times are milliseconds since the Unix epoch, cut to seconds.
    ///
    /// # Errors
    /// [`ClaimsInvalid`] when a name is not an identifier or the assertion would live longer than 60 s.
    pub fn sign_assertion(
        &self,
        organization: &str,
        device: &str,
        issued_at_ms: i64,
        expires_at_ms: i64,
    ) -> Result<String, ClaimsInvalid> {
        let (issued_at, expires_at) = (
            issued_at_ms.div_euclid(1000),
            expires_at_ms.div_euclid(1000),
        );
        let brief = expires_at
            .checked_sub(issued_at)
            .is_some_and(|life| (1..=ASSERTION_LIFE_SECONDS_MAX).contains(&life));
        if !brief || !is_identifier(organization) || !is_identifier(device) {
            return Err(ClaimsInvalid);
        }
        // Identifiers need no escape in JSON.
        let payload = format!(
            r#"{{"iss":"{device}","sub":"{device}","org":"{organization}","aud":"{ASSERTION_AUDIENCE}","iat":{issued_at},"exp":{expires_at}}}"#
        );
        let mut token = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"JWT"}"#);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.0.sign(token.as_bytes()).to_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DeviceKey(redacted)")
    }
}
