//! Device assertions.

use serde_json::{Value, json};

use super::NOW_MS;
use super::forge::{ACCESS_SEED, DEVICE_SEED, STRANGER_SEED, hex, jwt, public_key};

const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;

fn claims() -> Value {
    let seconds = NOW_MS / 1000;
    json!({"iss": "lock-1", "sub": "lock-1", "org": "acme", "aud": "nexkey-device", "iat": seconds, "exp": seconds + 60})
}

fn changed(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    jwt(HEADER, &claims.to_string(), DEVICE_SEED)
}

fn headed(header: &str) -> String {
    jwt(header, &claims().to_string(), DEVICE_SEED)
}

pub fn document() -> Value {
    let key = nexkey_lock::DeviceKey::from_seed(&DEVICE_SEED);
    let signed = key
        .sign_assertion("acme", "lock-1", NOW_MS, NOW_MS + 60_000)
        .unwrap();
    json!({
        "what": "device assertions (docs/protocols/tokens.md) of lock-1 in acme; code null: accepted",
        "seed": hex(&DEVICE_SEED),
        "public_key": public_key(DEVICE_SEED),
        "organization": "acme",
        "device": "lock-1",
        "signed": {"issued_at_ms": NOW_MS, "expires_at_ms": NOW_MS + 60_000, "assertion": signed},
        "cases": cases(&signed),
    })
}

fn cases(signed: &str) -> Vec<Value> {
    let seconds = NOW_MS / 1000;
    let own = headed(HEADER);
    let case = |name: &str, assertion: &str, now_ms: i64, code: Value| json!({"name": name, "assertion": assertion, "now_ms": now_ms, "code": code});
    let now = |name: &str, assertion: &str, code: &str| case(name, assertion, NOW_MS, code.into());
    vec![
        case("signed_here", signed, NOW_MS, Value::Null),
        case("claims_in_another_order", &own, NOW_MS, Value::Null),
        case("last_millisecond", &own, NOW_MS + 59_999, Value::Null),
        case("device_5000_ms_ahead", &own, NOW_MS - 5_000, Value::Null),
        case("expired", &own, NOW_MS + 60_000, "token_expired".into()),
        case(
            "device_5001_ms_ahead",
            &own,
            NOW_MS - 5_001,
            "token_not_yet_valid".into(),
        ),
        now("empty", "", "token_malformed"),
        now("too_long", &"A".repeat(4097), "token_too_long"),
        now(
            "algorithm_none",
            &headed(r#"{"alg":"none","typ":"JWT"}"#),
            "token_algorithm",
        ),
        now(
            "algorithm_hs256",
            &headed(r#"{"alg":"HS256","typ":"JWT"}"#),
            "token_algorithm",
        ),
        now(
            "header_with_kid",
            &headed(r#"{"alg":"EdDSA","kid":"a1","typ":"JWT"}"#),
            "token_malformed",
        ),
        now(
            "header_extra",
            &headed(r#"{"alg":"EdDSA","typ":"JWT","jku":"x"}"#),
            "token_malformed",
        ),
        now(
            "signed_by_stranger",
            &jwt(HEADER, &claims().to_string(), STRANGER_SEED),
            "token_signature",
        ),
        now(
            "signed_by_the_service",
            &jwt(HEADER, &claims().to_string(), ACCESS_SEED),
            "token_signature",
        ),
        now(
            "issuer_other",
            &changed("iss", "lock-2".into()),
            "token_issuer",
        ),
        now(
            "subject_other",
            &changed("sub", "lock-2".into()),
            "token_issuer",
        ),
        now(
            "organization_other",
            &changed("org", "umbrella".into()),
            "token_issuer",
        ),
        now(
            "audience_other",
            &changed("aud", "api".into()),
            "token_audience",
        ),
        now(
            "life_61_seconds",
            &changed("exp", (seconds + 61).into()),
            "token_malformed",
        ),
        now(
            "life_of_zero",
            &changed("exp", seconds.into()),
            "token_malformed",
        ),
        now(
            "life_overflowing",
            &changed("iat", i64::MIN.into()),
            "token_malformed",
        ),
        now(
            "claim_extra",
            &changed("admin", true.into()),
            "token_malformed",
        ),
        now(
            "issued_a_text",
            &changed("iat", "now".into()),
            "token_malformed",
        ),
    ]
}
