//! Reports of locks.

use coset::cbor::value::Value as Cbor;
use nexkey_lock::{DeviceKey, Report, ReportKind};
use serde_json::{Value, json};

use super::NOW_MS;
use super::forge::{
    COMMAND_SEED, Cose, DEVICE_SEED, broken_envelopes, broken_payloads, cbor, hex, map, public_key,
};

const CONTENT_TYPE: &str = "application/nexkey-report+cwt";

fn outcome() -> Report {
    Report {
        lock: "lock-1".into(),
        number: 41,
        kind: ReportKind::Outcome,
        command: Some("log-1:000000000007:003".into()),
        result: "done".into(),
        reason: None,
        at_ms: NOW_MS + 180,
    }
}

fn sign(report: &Report) -> Vec<u8> {
    DeviceKey::from_seed(&DEVICE_SEED)
        .sign_report(report)
        .unwrap()
}

fn accepted(name: &str, report: &Report) -> Value {
    json!({"name": name, "lock": "lock-1", "message": hex(&sign(report)), "code": null, "report": {
        "lock": report.lock, "number": report.number, "kind": report.kind.as_str(), "command": report.command,
        "result": report.result, "reason": report.reason, "at_ms": report.at_ms}})
}

fn refused(name: &str, message: &[u8], code: &str) -> Value {
    json!({"name": name, "lock": "lock-1", "message": hex(message), "code": code})
}

pub fn document() -> Value {
    let done = outcome();
    let refusal = Report {
        result: "refused".into(),
        reason: Some("command_expired".into()),
        number: 42,
        ..outcome()
    };
    let door = Report {
        kind: ReportKind::Door,
        command: None,
        result: "FORCED_OPEN".into(),
        number: 0,
        ..outcome()
    };
    let last = Report {
        number: i64::MAX.unsigned_abs(),
        at_ms: 0,
        ..outcome()
    };
    let mut cases = vec![
        accepted("done", &done),
        accepted("refused_with_reason", &refusal),
        accepted("door_forced_open", &door),
        accepted("largest_number_and_earliest_time", &last),
        refused(
            "lock_other",
            &sign(&Report {
                lock: "lock-2".into(),
                ..outcome()
            }),
            "report_wrong_lock",
        ),
        refused(
            "signed_by_the_service",
            &Cose::new(CONTENT_TYPE, "", payload(&claims()), COMMAND_SEED).bytes(),
            "report_signature",
        ),
        refused(
            "key_named",
            &Cose::new(CONTENT_TYPE, "acme.1", payload(&claims()), DEVICE_SEED).bytes(),
            "report_malformed",
        ),
    ];
    cases.extend(forged());
    json!({
        "what": "reports (docs/protocols/tokens.md) of lock-1; code null: accepted",
        "seed": hex(&DEVICE_SEED), "public_key": public_key(DEVICE_SEED),
        "cases": cases,
    })
}

fn claims() -> Vec<(i64, Cbor)> {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let seconds = (NOW_MS + 180) as f64 / 1000.0;
    vec![
        (1, "lock-1".into()),
        (6, seconds.into()),
        (-70_003, 41.into()),
        (-70_004, "outcome".into()),
        (-70_005, "log-1:000000000007:003".into()),
        (-70_006, "done".into()),
    ]
}

fn payload(claims: &[(i64, Cbor)]) -> Vec<u8> {
    cbor(&map(claims.to_vec()))
}

fn forged() -> Vec<Value> {
    let cose = |payload: Vec<u8>| Cose::new(CONTENT_TYPE, "", payload, DEVICE_SEED);
    let good = cose(payload(&claims()));
    assert_eq!(
        good.bytes(),
        sign(&outcome()),
        "built by hand and by the library"
    );

    let changed = |place: usize, value: Cbor| {
        let mut claims = claims();
        claims[place].1 = value;
        cose(payload(&claims)).bytes()
    };
    let mut no_command = claims();
    no_command.remove(4);
    let mut cases = vec![
        refused(
            "number_negative",
            &changed(2, (-1).into()),
            "report_malformed",
        ),
        refused(
            "number_above_63_bits",
            &changed(2, (1_u64 << 63).into()),
            "report_malformed",
        ),
        refused(
            "kind_unknown",
            &changed(3, "rumour".into()),
            "report_malformed",
        ),
        refused(
            "outcome_without_command",
            &cose(payload(&no_command)).bytes(),
            "report_malformed",
        ),
        refused(
            "result_unknown",
            &changed(5, "perhaps".into()),
            "report_malformed",
        ),
        refused(
            "result_of_a_door",
            &changed(5, "FORCED_OPEN".into()),
            "report_malformed",
        ),
    ];
    for (name, kind, message) in
        broken_envelopes(&good, CONTENT_TYPE, "", super::lock_script::COMMAND_TYPE)
    {
        cases.push(refused(name, &message, &format!("report_{kind}")));
    }
    for (name, payload) in broken_payloads(&claims(), 1) {
        cases.push(refused(name, &cose(payload).bytes(), "report_malformed"));
    }
    cases
}
