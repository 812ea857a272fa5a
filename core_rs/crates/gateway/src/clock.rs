//! The wall clock, and identifiers that are unique without being secret.
use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_millis()).ok())
        .unwrap_or(0)
}

/// 64 bits that nobody else has, from keys that the operating system seeds. Not for secrets.
#[must_use]
pub fn unique() -> u64 {
    RandomState::new().hash_one(now_ms())
}
