//! Any bytes as a command, or as a time answer: never a panic, and nothing is obeyed but the two messages that were signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nexkey_lock::LockVerifier;
use nexkey_tokens::{Command, KeyRing, SignedTime};

const NOW_MS: i64 = 1_795_420_800_000;

struct World {
    public_key: [u8; 32],
    time: Vec<u8>,
    later: Vec<u8>,
    command: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let ring = KeyRing::new(&[7; 32]).unwrap();
    ring.generate_from_seed("command", "acme", "acme.1", [2; 32], [1; 12])
        .unwrap();
    ring.activate("command", "acme", "acme.1").unwrap();
    let time = |nonce: u8| SignedTime {
        organization: "acme".into(),
        lock: "lock-1".into(),
        now_ms: NOW_MS,
        nonce: vec![nonce; 16],
    };
    let command = Command {
        organization: "acme".into(),
        lock: "lock-1".into(),
        door: "front".into(),
        action: "unlock".into(),
        id: "log-1:000000000007:003".into(),
        issued_at_ms: NOW_MS + 1,
        expires_at_ms: NOW_MS + 5_001,
    };
    World {
        public_key: ring.public_key("command", "acme", "acme.1").unwrap(),
        time: ring.sign_time(&time(5)).unwrap(),
        later: ring.sign_time(&time(6)).unwrap(),
        command: ring.sign_command(&command).unwrap(),
    }
});

/// The fuzzer knows no key, so it mutates a signed message: the first byte says which and where to cut it, the rest follows the cut.
fn mutated(data: &[u8]) -> Vec<u8> {
    let [which, place, rest @ ..] = data else {
        return data.to_vec();
    };
    let base = match which % 3 {
        0 => return rest.to_vec(),
        1 => &WORLD.command,
        _ => &WORLD.later,
    };
    let cut = usize::from(*place).min(base.len());
    let end = (cut + rest.len()).min(base.len());
    [&base[..cut], rest, &base[end..]].concat()
}

fuzz_target!(|data: &[u8]| {
    let message = mutated(data);
    let mut lock = LockVerifier::new("acme", "lock-1", "acme.1", &WORLD.public_key, 4).unwrap();
    lock.begin_time(&[5; 16], 0).unwrap();
    lock.accept_time(&WORLD.time, 0).unwrap();
    lock.begin_time(&[6; 16], 5).unwrap();
    let obeyed = lock.verify(&message, 10).is_ok();
    assert_eq!(obeyed, message == WORLD.command);
    assert!(
        !obeyed || lock.verify(&message, 11).is_err(),
        "obeyed twice"
    );
    assert_eq!(
        lock.accept_time(&message, 12).is_ok(),
        message == WORLD.later
    );
});
