//! The golden vectors of tests/vectors: the files are what the generator writes, and every case ends as it says.
#![allow(
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::excessive_precision,
    clippy::similar_names,
    clippy::needless_pass_by_value,
    clippy::redundant_closure_for_method_calls,
    clippy::semicolon_if_nothing_returned,
    clippy::uninlined_format_args
)] // tables of cases read better whole
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "../examples/vectors/cases/mod.rs"]
mod cases;

use nexkey_lock::LockVerifier;
use nexkey_tokens::{Claims, GatewayVerifier, KeyRing, verify_device_assertion, verify_report};
use serde_json::{Value, json};

fn document(name: &str) -> Value {
    let path = format!(
        "{}/../../../tests/vectors/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn cases(document: &Value) -> &[Value] {
    let cases = document["cases"].as_array().unwrap();
    assert!(
        cases.len() > 10,
        "a file that lost its cases proves nothing"
    );
    cases
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {case}"))
}

fn bytes(case: &Value, name: &str) -> Vec<u8> {
    let text = text(case, name);
    (0..text.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&text[place..place + 2], 16).unwrap())
        .collect()
}

/// The expected code, or the expected answer under `answer`.
fn expect(case: &Value, answer: &str, found: Result<Value, &'static str>) {
    let expected = match case["code"].as_str() {
        Some(code) => Err(code),
        None => Ok(case[answer].clone()),
    };
    assert_eq!(
        found.as_ref().map_err(|code| *code),
        expected.as_ref().map_err(|code| *code),
        "{case}"
    );
}

#[test]
fn the_files_are_what_the_generator_writes() {
    for (path, text) in cases::files() {
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} differs: cargo run -p nexkey-tokens --example vectors",
            path.display()
        );
    }
}

fn claims(claims: &Claims) -> Value {
    json!({"organization": claims.organization, "subject": claims.subject, "kind": claims.kind.as_str(),
           "session": claims.session, "key_id": claims.key_id, "issued_at_ms": claims.issued_at_ms,
           "expires_at_ms": claims.expires_at_ms, "topics": claims.topics})
}

#[test]
fn access_tokens() {
    let document = document("access_token");
    let gateway = GatewayVerifier::from_jwks(document["jwks"].to_string().as_bytes()).unwrap();
    let ring = KeyRing::new(&bytes(&document, "master_key")).unwrap();
    ring.load("access", "", "a1", &bytes(&document["key"], "sealed"))
        .unwrap();
    for case in cases(&document) {
        let (token, audience, now_ms) = (
            text(case, "token"),
            text(case, "audience"),
            case["now_ms"].as_i64().unwrap(),
        );
        expect(
            case,
            "claims",
            gateway
                .verify(token, audience, now_ms)
                .map(|found| claims(&found))
                .map_err(|error| error.code()),
        );
        // Twice: what the cache answers is what the signature answered.
        for _ in 0..2 {
            let found = ring.verify_access_token(token, audience, now_ms);
            expect(
                case,
                "claims",
                found
                    .map(|found| claims(&found))
                    .map_err(|error| error.code()),
            );
        }
    }
}

#[test]
fn device_assertions() {
    let document = document("device_assertion");
    let key = bytes(&document, "public_key");
    for case in cases(&document) {
        let now_ms = case["now_ms"].as_i64().unwrap();
        let found =
            verify_device_assertion(&key, text(case, "assertion"), "acme", "lock-1", now_ms);
        expect(
            case,
            "nothing",
            found.map(|()| Value::Null).map_err(|error| error.code()),
        );
    }
}

#[test]
fn reports() {
    let document = document("report");
    let key = bytes(&document, "public_key");
    for case in cases(&document) {
        let found = verify_report(&key, &bytes(case, "message"), text(case, "lock")).map(|report| {
            json!({"lock": report.lock, "number": report.number, "kind": report.kind.as_str(), "command": report.command,
                   "result": report.result, "reason": report.reason, "at_ms": report.at_ms})
        });
        expect(case, "report", found.map_err(|error| error.code()));
    }
}

#[test]
fn sealed_keys() {
    let document = document("sealed");
    for case in cases(&document) {
        let (purpose, organization, key_id) = (
            text(case, "purpose"),
            text(case, "organization"),
            text(case, "key_id"),
        );
        let found = KeyRing::new(&bytes(case, "master_key")).and_then(|ring| {
            ring.load(purpose, organization, key_id, &bytes(case, "sealed"))?;
            ring.public_key(purpose, organization, key_id)
        });
        if let Ok(public) = found {
            assert_eq!(public.to_vec(), bytes(&document, "public_key"), "{case}");
        }
        expect(
            case,
            "nothing",
            found.map(|_| Value::Null).map_err(|error| error.code()),
        );
    }
}

fn told(command: &nexkey_lock::Command) -> Value {
    json!({"id": command.id, "door": command.door, "action": command.action,
           "issued_at_ms": command.issued_at_ms, "expires_at_ms": command.expires_at_ms})
}

#[test]
fn commands() {
    scripts("command");
}

#[test]
fn signed_times() {
    scripts("time");
}

/// Runs every script on a lock of its own.
fn scripts(name: &str) {
    let document = document(name);
    for case in cases(&document) {
        let memory = usize::try_from(case["memory_commands_max"].as_u64().unwrap()).unwrap();
        let mut lock = LockVerifier::new(
            "acme",
            "lock-1",
            "acme.1",
            &bytes(&document, "public_key"),
            memory,
        )
        .unwrap();
        let steps = case["steps"].as_array().unwrap();
        assert!(!steps.is_empty());
        for (place, step) in steps.iter().enumerate() {
            let tick = step["tick"].as_u64().unwrap();
            let found = match text(step, "do") {
                "begin_time" => lock
                    .begin_time(&bytes(step, "nonce"), tick)
                    .map(|()| Value::Null),
                "accept_time" => lock
                    .accept_time(&bytes(step, "message"), tick)
                    .map(|uncertainty_ms| json!(uncertainty_ms)),
                "verify" => lock
                    .verify(&bytes(step, "message"), tick)
                    .map(|command| told(&command)),
                "take_lease" => lock
                    .take_lease(&bytes(step, "message"), tick)
                    .map(|lease| told(&lease)),
                "holds" => Ok(json!(lock.holds(tick))),
                "release_hold" => {
                    lock.release_hold();
                    Ok(Value::Null)
                }
                other => panic!("unknown step {other}"),
            };
            let expected = match (step["code"].as_str(), text(step, "do")) {
                (Some(code), _) => Err(code),
                (None, "begin_time" | "release_hold") => Ok(Value::Null),
                (None, "holds") => Ok(step["holds"].clone()),
                (None, "accept_time") => Ok(step["uncertainty_ms"].clone()),
                (None, _) => Ok(step["command"].clone()),
            };
            assert_eq!(
                found.map_err(nexkey_lock::Refusal::code),
                expected,
                "{} step {place}",
                text(case, "name")
            );
        }
    }
}
