//! What runs at the door: the verifier of commands and signed time that firmware embeds, the device's own key, and the one definition of the three
//! CBOR messages that tokens and lock exchange. The law is in docs/protocols/tokens.md.
//!
//! `no_std` with `alloc`, no clock, no randomness, no input or output: the lock's tick and every nonce are passed in. A message is at most 1,024 bytes
//! and is refused unread above that.
//!
//! Layout: `verifier` is the law in its order; `clock` what the lock knows of the time; `memory` the ids it has acted on; `hold` the lease
//! that keeps its bolt back; `command`, `time` and `report` the messages; `cose` and `cbor` their envelope and their encoding; `device` the device's key.
#![no_std]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cbor;
mod clock;
mod command;
mod cose;
mod device;
mod hold;
mod memory;
mod refusal;
mod report;
mod time;
mod verifier;

pub use cbor::{is_identifier, is_visible};
pub use clock::{NONCE_BYTES_MAX, NONCE_BYTES_MIN, UNCERTAINTY_MS_MAX};
pub use command::{Action, COMMAND_LIFE_MS_MAX, Command};
pub use cose::MESSAGE_BYTES_MAX;
pub use device::{ASSERTION_AUDIENCE, ASSERTION_LIFE_SECONDS_MAX, DeviceKey};
pub use refusal::{ClaimsInvalid, Refusal, ReportRefusal};
pub use report::{Report, ReportKind};
pub use time::SignedTime;
pub use verifier::{LockVerifier, MEMORY_COMMANDS_MAX};
