//! Keys and tokens: access tokens (JWT), device assertions, door commands and signed time (COSE), the key ring, and the verifiers of what devices sign.
//!
//! Layout: `ring` is the front door; `holder`, `keys` and `seal` are whose key, which key, and how it rests; `content` is how anything else rests; `jws` is the compact form and its fixed header,
//! `claims` what a token says, `cache` which tokens were found good; `jwks` and `gateway` are for verifiers that hold no private half; `device` is what devices sign.
//! The CBOR messages are defined once, in `nexkey-lock`; here they are signed. Not here: network, clock, environment, Python. `now` is always an argument.
//! The contract is docs/protocols/tokens.md.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod cache;
mod claims;
mod content;
mod device;
mod error;
mod gateway;
mod holder;
mod jwks;
mod jws;
mod keys;
mod random;
mod ring;
mod seal;

pub use claims::{Claims, SubjectKind};
pub use content::CONTENT_BYTES_MAX;
pub use device::{check_device_key, verify_device_assertion, verify_report};
pub use error::{KeyRingError, TokenError};
pub use gateway::GatewayVerifier;
pub use nexkey_lock::{Command, Report, ReportKind, ReportRefusal, SignedTime};
pub use random::random_seed;
pub use ring::KeyRing;
