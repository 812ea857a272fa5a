//! Signed time, as scripts: each step asks, answers or commands one fresh lock at a tick.

use coset::cbor::value::Value as Cbor;
use serde_json::{Value, json};

use super::NOW_MS;
use super::command::{self, obey, verify};
use super::forge::{
    COMMAND_SEED, Cose, broken_envelopes, broken_payloads, cbor, hex, map, public_key, signing,
};
use super::lock_script::{
    COMMAND_TYPE, KEY_ID, NONCE, TICK, TIME_TYPE, answer, ask, script, signed_time, take,
};

const LATER: [u8; 32] = [0x0b; 32];

fn refuse(message: &str, tick: u64, code: &str) -> Value {
    json!({"do": "accept_time", "message": message, "tick": tick, "code": code})
}

pub fn document() -> Value {
    let mut cases = questions();
    cases.extend(clocks());
    cases.extend(envelopes());
    json!({
        "what": "signed time (docs/protocols/tokens.md) for lock-1 of acme, as scripts for a fresh lock; code null: accepted",
        "organization": "acme", "lock": "lock-1", "key_id": KEY_ID, "seed": hex(&COMMAND_SEED), "public_key": public_key(COMMAND_SEED),
        "cases": cases,
    })
}

fn questions() -> Vec<Value> {
    let good = answer(NOW_MS, &NONCE);
    let asked = || vec![ask(&NONCE, TICK)];
    let one = |name: &str, message: &str, code: &str| {
        script(name, asked(), vec![refuse(message, TICK + 20, code)])
    };
    let short =
        json!({"do": "begin_time", "nonce": hex(&[1; 15]), "tick": TICK, "code": "time_nonce"});
    let long =
        json!({"do": "begin_time", "nonce": hex(&[1; 33]), "tick": TICK, "code": "time_nonce"});
    vec![
        script("told", asked(), vec![take(&good, TICK + 20, 23)]),
        script(
            "nonce_of_32_bytes",
            vec![ask(&LATER, TICK)],
            vec![take(&answer(NOW_MS, &LATER), TICK, 2)],
        ),
        script(
            "never_asked",
            vec![],
            vec![refuse(&good, TICK, "time_nonce")],
        ),
        script("nonce_too_short", vec![], vec![short]),
        script("nonce_too_long", vec![], vec![long]),
        one("nonce_other", &answer(NOW_MS, &LATER), "time_nonce"),
        script(
            "answered_twice",
            asked(),
            vec![
                take(&good, TICK + 20, 23),
                refuse(&good, TICK + 21, "time_nonce"),
            ],
        ),
        script(
            "only_the_latest_question",
            vec![ask(&NONCE, TICK), ask(&LATER, TICK + 5)],
            vec![
                refuse(&good, TICK + 20, "time_nonce"),
                take(&answer(NOW_MS, &LATER), TICK + 20, 18),
            ],
        ),
        script(
            "refusal_leaves_the_question_open",
            asked(),
            vec![
                refuse("00", TICK + 1, "time_malformed"),
                take(&good, TICK + 20, 23),
            ],
        ),
        one(
            "organization_other",
            &signed_time("umbrella", "lock-1", KEY_ID, NOW_MS, &NONCE),
            "time_malformed",
        ),
        one(
            "lock_other",
            &signed_time("acme", "lock-2", KEY_ID, NOW_MS, &NONCE),
            "time_malformed",
        ),
        one(
            "key_other",
            &signed_time("acme", "lock-1", "acme.2", NOW_MS, &NONCE),
            "time_signature",
        ),
        one(
            "command_for_a_time",
            &command::signed(|_| ()),
            "time_malformed",
        ),
        script(
            "tick_went_back",
            asked(),
            vec![refuse(&good, TICK - 1, "clock_unsure")],
        ),
    ]
}

fn clocks() -> Vec<Value> {
    let told = command::told;
    let again = |now_ms: i64, tick: u64, uncertainty_ms: u64| {
        vec![
            ask(&LATER, tick),
            take(&answer(now_ms, &LATER), tick, uncertainty_ms),
        ]
    };
    let good = command::command();
    let message = command::signed(|_| ());
    let later = nexkey_lock::Command {
        id: "later".into(),
        issued_at_ms: NOW_MS + 5_000,
        expires_at_ms: NOW_MS + 9_000,
        ..command::command()
    };
    let later_message = hex(&later.sign(KEY_ID, &signing(COMMAND_SEED)).unwrap());
    vec![
        script(
            "delayed_answer_makes_unsure",
            told(),
            vec![
                ask(&LATER, TICK + 100),
                take(&answer(NOW_MS + 100, &LATER), TICK + 1_300, 1_203),
                verify(&message, TICK + 1_301, "clock_unsure"),
            ],
        ),
        script(
            "sure_again_after_a_prompt_answer",
            time_unsure(),
            [
                again(NOW_MS + 1_400, TICK + 1_400, 2),
                vec![obey(&message, TICK + 1_401, &good)],
            ]
            .concat(),
        ),
        // Told 500 ms less than it knows; the interval of the answer still reaches what is known, so it is taken, and the clock doesn't go back.
        script(
            "never_back",
            told(),
            vec![
                ask(&LATER, TICK + 4_000),
                take(&answer(NOW_MS + 4_400, &LATER), TICK + 4_900, 903),
                verify(
                    &command::signed(|command| {
                        command.expires_at_ms = NOW_MS + 4_800;
                    }),
                    TICK + 4_901,
                    "command_expired",
                ),
            ],
        ),
        script(
            "answer_from_the_past",
            told(),
            vec![
                ask(&LATER, TICK + 5_000),
                refuse(
                    &answer(NOW_MS + 4_000, &LATER),
                    TICK + 5_010,
                    "time_backwards",
                ),
                verify(&message, TICK + 5_200, "command_expired"),
            ],
        ),
        // A command is forgotten only when the clock can't be set back before its expiry any more: here drift sets it back by 1 ms.
        script(
            "set_back_by_drift",
            told(),
            [
                vec![
                    obey(&message, TICK + 130, &good),
                    obey(&later_message, TICK + 5_125, &later),
                ],
                again(NOW_MS + 5_124, TICK + 5_125, 2),
                vec![verify(&message, TICK + 5_125, "command_replayed")],
            ]
            .concat(),
        ),
        script(
            "forward_is_believed",
            told(),
            [
                again(NOW_MS + 60_000, TICK + 10, 2),
                vec![verify(&message, TICK + 130, "command_expired")],
            ]
            .concat(),
        ),
        script(
            "first_time_stays_first",
            told(),
            [
                again(NOW_MS + 4_000, TICK + 4_000, 2),
                vec![obey(&message, TICK + 4_001, &good)],
            ]
            .concat(),
        ),
    ]
}

fn time_unsure() -> Vec<Value> {
    vec![
        ask(&NONCE, TICK - 2_000),
        take(&answer(NOW_MS, &NONCE), TICK, 2_003),
    ]
}

fn envelopes() -> Vec<Value> {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let seconds = NOW_MS as f64 / 1000.0;
    let claims: Vec<(i64, Cbor)> = vec![
        (1, "acme".into()),
        (3, "lock-1".into()),
        (6, seconds.into()),
        (10, Cbor::Bytes(NONCE.to_vec())),
    ];
    let cose = |payload: Vec<u8>| Cose::new(TIME_TYPE, KEY_ID, payload, COMMAND_SEED);
    let payload = cbor(&map(claims.clone()));
    assert_eq!(
        hex(&cose(payload.clone()).bytes()),
        answer(NOW_MS, &NONCE),
        "built by hand and by the library"
    );

    let one = |name: &str, code: &str, message: &[u8]| {
        script(
            name,
            vec![ask(&NONCE, TICK)],
            vec![refuse(&hex(message), TICK + 20, code)],
        )
    };
    let mut cases = vec![];
    for (name, kind, message) in broken_envelopes(&cose(payload), TIME_TYPE, KEY_ID, COMMAND_TYPE) {
        // A lock that asks for the time has one answer to all that it can't read.
        let code = if kind == "signature" {
            "time_signature"
        } else {
            "time_malformed"
        };
        cases.push(one(name, code, &message));
    }
    for (name, payload) in broken_payloads(&claims, 2) {
        cases.push(one(name, "time_malformed", &cose(payload).bytes()));
    }
    cases
}
