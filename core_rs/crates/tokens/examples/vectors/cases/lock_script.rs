//! What the scripts of commands and of time share: a lock's first ticks, and how it is told the time.

use nexkey_lock::SignedTime;
use serde_json::{Value, json};

use super::forge::{COMMAND_SEED, hex, signing};

pub const COMMAND_TYPE: &str = "application/nexkey-command+cwt";
pub const TIME_TYPE: &str = "application/nexkey-time+cwt";
pub const KEY_ID: &str = "acme.1";
/// The lock's tick when it is told that it is `NOW_MS`.
pub const TICK: u64 = 1_000_000;
pub const NONCE: [u8; 16] = [0x0a; 16];

pub fn script(name: &str, before: Vec<Value>, steps: Vec<Value>) -> Value {
    let steps = [before, steps].concat();
    json!({"name": name, "memory_commands_max": 2, "steps": steps})
}

pub fn ask(nonce: &[u8], tick: u64) -> Value {
    json!({"do": "begin_time", "nonce": hex(nonce), "tick": tick, "code": null})
}

pub fn take(message: &str, tick: u64, uncertainty_ms: u64) -> Value {
    json!({"do": "accept_time", "message": message, "tick": tick, "code": null, "uncertainty_ms": uncertainty_ms})
}

pub fn answer(now_ms: i64, nonce: &[u8]) -> String {
    signed_time("acme", "lock-1", KEY_ID, now_ms, nonce)
}

pub fn signed_time(
    organization: &str,
    lock: &str,
    key_id: &str,
    now_ms: i64,
    nonce: &[u8],
) -> String {
    let time = SignedTime {
        organization: organization.into(),
        lock: lock.into(),
        now_ms,
        nonce: nonce.into(),
    };
    hex(&time.sign(key_id, &signing(COMMAND_SEED)).unwrap())
}

/// Asked so many ms before `tick`, and told `now_ms` at it.
pub fn told_after(now_ms: i64, tick: u64, round_trip_ms: u64, uncertainty_ms: u64) -> Vec<Value> {
    vec![
        ask(&NONCE, tick - round_trip_ms),
        take(&answer(now_ms, &NONCE), tick, uncertainty_ms),
    ]
}
