//! Door commands, as scripts: each step asks, answers or commands one fresh lock at a tick.

use coset::cbor::value::Value as Cbor;
use nexkey_lock::Command;
use serde_json::{Value, json};

use super::NOW_MS;
use super::forge::{
    COMMAND_SEED, Cose, broken_envelopes, broken_payloads, hex, public_key, signing,
};
use super::lock_script::{
    COMMAND_TYPE, KEY_ID, TICK, TIME_TYPE, answer, ask, script, take as told_now, told_after,
};

pub fn command() -> Command {
    Command {
        organization: "acme".into(),
        lock: "lock-1".into(),
        door: "front".into(),
        action: "unlock".into(),
        id: "log-1:000000000007:003".into(),
        issued_at_ms: NOW_MS + 125,
        expires_at_ms: NOW_MS + 5_125,
    }
}

pub fn signed(change: impl FnOnce(&mut Command)) -> String {
    let mut command = command();
    change(&mut command);
    hex(&command
        .sign_unchecked(KEY_ID, &signing(COMMAND_SEED))
        .unwrap())
}

pub fn verify(message: &str, tick: u64, code: &str) -> Value {
    json!({"do": "verify", "message": message, "tick": tick, "code": code})
}

pub fn obey(message: &str, tick: u64, command: &Command) -> Value {
    let expected = json!({"id": command.id, "door": command.door, "action": command.action,
                          "issued_at_ms": command.issued_at_ms, "expires_at_ms": command.expires_at_ms});
    json!({"do": "verify", "message": message, "tick": tick, "code": null, "command": expected})
}

/// A lock that asks and is told at once: `NOW_MS` at `TICK`, unsure by 2 ms.
pub fn told() -> Vec<Value> {
    told_after(NOW_MS, TICK, 0, 2)
}

pub fn document() -> Value {
    let mut cases = valid();
    cases.extend(law());
    cases.extend(holds());
    cases.extend(envelopes());
    json!({
        "what": "door commands (docs/protocols/tokens.md) for lock-1 of acme, as scripts for a fresh lock; code null: accepted",
        "organization": "acme", "lock": "lock-1", "key_id": KEY_ID, "seed": hex(&COMMAND_SEED), "public_key": public_key(COMMAND_SEED),
        "cases": cases,
    })
}

fn valid() -> Vec<Value> {
    let good = command();
    let message = signed(|_| ());
    let brief = Command {
        issued_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + 1,
        ..command()
    };
    let whole = Command {
        issued_at_ms: 1_795_420_928_000,
        expires_at_ms: 1_795_420_930_500,
        ..command()
    };
    let sign = |command: &Command| hex(&command.sign(KEY_ID, &signing(COMMAND_SEED)).unwrap());
    vec![
        script("unlock", told(), vec![obey(&message, TICK + 130, &good)]),
        script(
            "first_millisecond",
            told(),
            vec![obey(&message, TICK + 122, &good)],
        ),
        script(
            "last_millisecond",
            told(),
            vec![obey(&message, TICK + 5_124, &good)],
        ),
        script(
            "life_of_one_millisecond",
            told(),
            vec![obey(&sign(&brief), TICK, &brief)],
        ),
        script(
            "date_in_a_shorter_float",
            told(),
            vec![obey(&sign(&whole), TICK + 128_000, &whole)],
        ),
    ]
}

fn law() -> Vec<Value> {
    let one = |name: &str, message: String, tick: u64, code: &str| {
        script(name, told(), vec![verify(&message, tick, code)])
    };
    let good = command();
    let message = signed(|_| ());
    let second = Command {
        id: "second".into(),
        ..command()
    };
    let third = Command {
        id: "third".into(),
        issued_at_ms: NOW_MS + 5_200,
        expires_at_ms: NOW_MS + 9_000,
        ..command()
    };
    let sign = |command: &Command| hex(&command.sign(KEY_ID, &signing(COMMAND_SEED)).unwrap());
    let fill = vec![
        obey(&message, TICK + 130, &good),
        obey(&sign(&second), TICK + 131, &second),
    ];
    vec![
        one(
            "organization_other",
            signed(|command| command.organization = "umbrella".into()),
            TICK + 130,
            "command_wrong_lock",
        ),
        one(
            "lock_other",
            signed(|command| command.lock = "lock-2".into()),
            TICK + 130,
            "command_wrong_lock",
        ),
        one(
            "action_unknown",
            signed(|command| command.action = "lock".into()),
            TICK + 130,
            "command_action_unknown",
        ),
        script(
            "no_time_yet",
            vec![],
            vec![verify(&message, TICK + 130, "clock_unsure")],
        ),
        script(
            "round_trip_too_long",
            told_after(NOW_MS, TICK, 998, 1_001),
            vec![verify(&message, TICK + 130, "clock_unsure")],
        ),
        script(
            "round_trip_just_short",
            told_after(NOW_MS, TICK, 996, 999),
            vec![obey(&message, TICK + 130, &good)],
        ),
        one(
            "drifted_too_far",
            message.clone(),
            TICK + 9_990_000,
            "clock_unsure",
        ),
        one("tick_went_back", message.clone(), TICK - 1, "clock_unsure"),
        one(
            "before_start",
            signed(|command| command.issued_at_ms = NOW_MS - 1),
            TICK + 130,
            "command_before_start",
        ),
        one(
            "not_yet_valid",
            message.clone(),
            TICK + 121,
            "command_not_yet_valid",
        ),
        one("expired", message.clone(), TICK + 5_125, "command_expired"),
        one(
            "life_5001_ms",
            signed(|command| command.expires_at_ms += 1),
            TICK + 130,
            "command_lifetime",
        ),
        script(
            "replayed",
            told(),
            vec![
                obey(&message, TICK + 130, &good),
                verify(&message, TICK + 131, "command_replayed"),
            ],
        ),
        script(
            "replayed_at_the_end",
            told(),
            vec![
                obey(&message, TICK + 130, &good),
                verify(&message, TICK + 5_124, "command_replayed"),
            ],
        ),
        script(
            "same_id_other_door",
            told(),
            vec![
                obey(&message, TICK + 130, &good),
                verify(
                    &signed(|command| command.door = "back".into()),
                    TICK + 131,
                    "command_replayed",
                ),
            ],
        ),
        script(
            "memory_full",
            [told(), fill.clone()].concat(),
            vec![verify(
                &signed(|command| command.id = "third".into()),
                TICK + 132,
                "memory_full",
            )],
        ),
        script(
            "memory_free_again",
            [told(), fill].concat(),
            vec![obey(&sign(&third), TICK + 5_300, &third)],
        ),
    ]
}

/// Leases of a hold: what keeps the bolt back, until when, and what doesn't.
fn holds() -> Vec<Value> {
    let hold = |issued_after_ms: i64| Command {
        action: "hold".into(),
        id: "log-1:000000000009:000".into(),
        issued_at_ms: NOW_MS + issued_after_ms,
        expires_at_ms: NOW_MS + issued_after_ms + 5_000,
        ..command()
    };
    let other = |issued_after_ms: i64| Command {
        id: "log-1:000000000010:000".into(),
        ..hold(issued_after_ms)
    };
    let take_of = |lease: Command, tick: u64| taking(obey(&sign_now(&lease), tick, &lease));
    let take = |issued_after_ms: i64, tick: u64| take_of(hold(issued_after_ms), tick);
    let refused =
        |lease: &Command, tick: u64, code: &str| taking(verify(&sign_now(lease), tick, code));
    let holds = |tick: u64, expected: bool| json!({"do": "holds", "tick": tick, "code": null, "holds": expected});
    let release = |tick: u64| json!({"do": "release_hold", "tick": tick, "code": null});
    let one = |name: &str, steps: Vec<Value>| script(name, told(), steps);
    let (unlock, second) = (
        command(),
        Command {
            id: "second".into(),
            ..command()
        },
    );
    vec![
        one("hold_none", vec![holds(TICK + 1, false)]),
        one(
            "hold_until_it_expires",
            vec![
                take(100, TICK + 130),
                holds(TICK + 130, true),
                holds(TICK + 5_099, true),
                holds(TICK + 5_100, false),
            ],
        ),
        one(
            "hold_renewed",
            vec![
                take(100, TICK + 130),
                take(2_100, TICK + 2_130),
                holds(TICK + 7_099, true),
                holds(TICK + 7_100, false),
            ],
        ),
        one(
            "hold_the_same_lease_again",
            vec![
                take(100, TICK + 130),
                take(100, TICK + 131),
                holds(TICK + 5_100, false),
            ],
        ),
        one(
            "hold_an_older_lease",
            vec![
                take(2_100, TICK + 2_130),
                refused(&hold(100), TICK + 2_131, "command_replayed"),
                holds(TICK + 2_132, true),
            ],
        ),
        one(
            "hold_released",
            vec![
                take(100, TICK + 130),
                release(TICK + 140),
                holds(TICK + 141, false),
                refused(&hold(100), TICK + 142, "command_replayed"),
                refused(&hold(141), TICK + 143, "command_replayed"),
                holds(TICK + 144, false),
                refused(&other(99), TICK + 145, "command_replayed"),
                take_of(other(100), TICK + 146),
                holds(TICK + 147, true),
            ],
        ),
        one(
            "hold_of_an_unsure_lock",
            vec![take(100, TICK + 130), holds(TICK - 1, false)],
        ),
        one(
            "hold_takes_no_memory",
            vec![
                take(100, TICK + 130),
                obey(&sign_now(&unlock), TICK + 131, &unlock),
                obey(&sign_now(&second), TICK + 132, &second),
                take(133, TICK + 134),
            ],
        ),
        one(
            "hold_found_over_stays_over",
            vec![
                take(100, TICK + 130),
                holds(TICK + 5_100, false),
                // The next answer puts the clock back by the drift, to a millisecond at which the lease would stand.
                ask(&[0x0b; 16], TICK + 5_100),
                told_now(&answer(NOW_MS + 5_099, &[0x0b; 16]), TICK + 5_100, 2),
                holds(TICK + 5_100, false),
            ],
        ),
        one(
            "hold_that_is_over_is_refused",
            vec![refused(&hold(100), TICK + 5_100, "command_expired")],
        ),
        one(
            "hold_as_a_command",
            vec![
                take(100, TICK + 130),
                verify(&sign_now(&hold(110)), TICK + 131, "command_action_unknown"),
                holds(TICK + 132, true),
            ],
        ),
        one(
            "unlock_as_a_lease",
            vec![
                refused(&unlock, TICK + 130, "command_action_unknown"),
                obey(&sign_now(&unlock), TICK + 131, &unlock),
            ],
        ),
    ]
}

/// The step, by the lock's other entry.
fn taking(mut step: Value) -> Value {
    step["do"] = "take_lease".into();
    step
}

fn sign_now(command: &Command) -> String {
    hex(&command.sign(KEY_ID, &signing(COMMAND_SEED)).unwrap())
}

fn envelopes() -> Vec<Value> {
    let good = command();
    let date = |at_ms: i64| -> Cbor {
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let seconds = at_ms as f64 / 1000.0;
        seconds.into()
    };
    let claims: Vec<(i64, Cbor)> = vec![
        (1, "acme".into()),
        (3, "lock-1".into()),
        (4, date(good.expires_at_ms)),
        (6, date(good.issued_at_ms)),
        (7, Cbor::Bytes(good.id.clone().into_bytes())),
        (-70_001, "unlock".into()),
        (-70_002, "front".into()),
    ];
    let cose = |payload: Vec<u8>| Cose::new(COMMAND_TYPE, KEY_ID, payload, COMMAND_SEED);
    let payload = super::forge::cbor(&super::forge::map(claims.clone()));
    assert_eq!(
        hex(&cose(payload.clone()).bytes()),
        signed(|_| ()),
        "built by hand and by the library"
    );

    let one = |name: &str, code: &str, message: &[u8]| {
        script(name, told(), vec![verify(&hex(message), TICK + 130, code)])
    };
    let mut id_a_text = claims.clone();
    id_a_text[4].1 = good.id.clone().into();
    let mut id_long = claims.clone();
    id_long[4].1 = Cbor::Bytes(vec![b'x'; 129]);
    let mut lock_a_path = claims.clone();
    lock_a_path[1].1 = "lock 1".into();
    let by_hand =
        |claims: Vec<(i64, Cbor)>| cose(super::forge::cbor(&super::forge::map(claims))).bytes();
    let mut cases = vec![
        one(
            "key_missing",
            "command_key_unknown",
            &Cose::new(COMMAND_TYPE, "", payload.clone(), COMMAND_SEED).bytes(),
        ),
        one(
            "key_other",
            "command_key_unknown",
            &Cose::new(COMMAND_TYPE, "acme.2", payload.clone(), COMMAND_SEED).bytes(),
        ),
        one("id_a_text", "command_malformed", &by_hand(id_a_text)),
        one("id_too_long", "command_malformed", &by_hand(id_long)),
        one(
            "lock_not_an_identifier",
            "command_malformed",
            &by_hand(lock_a_path),
        ),
    ];
    for (name, kind, message) in broken_envelopes(&cose(payload), COMMAND_TYPE, KEY_ID, TIME_TYPE) {
        cases.push(one(name, &format!("command_{kind}"), &message));
    }
    for (name, payload) in broken_payloads(&claims, 2) {
        cases.push(one(name, "command_malformed", &cose(payload).bytes()));
    }
    cases
}
