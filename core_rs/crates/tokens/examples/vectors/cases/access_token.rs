//! Access tokens.

use serde_json::{Value, json};

use super::NOW_MS;
use super::forge::{
    ACCESS_SEED, MASTER_KEY, STRANGER_SEED, base64, hex, jwt, malleated, public_key, signing,
    small_order,
};

const HEADER: &str = r#"{"alg":"EdDSA","kid":"a1","typ":"JWT"}"#;

fn claims() -> Value {
    json!({"iss": "nexkey", "aud": "api", "org": "acme", "sub": "ada", "knd": "person", "sid": "s1",
           "iat": NOW_MS / 1000, "exp": NOW_MS / 1000 + 300, "iat_ms": NOW_MS + 250})
}

fn changed(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    jwt(HEADER, &claims.to_string(), ACCESS_SEED)
}

fn without(name: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    jwt(HEADER, &claims.to_string(), ACCESS_SEED)
}

fn headed(header: &str) -> String {
    jwt(header, &claims().to_string(), ACCESS_SEED)
}

fn signed_with(signature: &[u8]) -> String {
    let token = headed(HEADER);
    format!(
        "{}.{}",
        token.rsplit_once('.').unwrap().0,
        base64(signature)
    )
}

fn signature() -> Vec<u8> {
    use base64::Engine as _;
    let token = headed(HEADER);
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token.rsplit_once('.').unwrap().1)
        .unwrap()
}

pub fn document() -> Value {
    let ring = nexkey_tokens::KeyRing::new(&MASTER_KEY).unwrap();
    let sealed = ring
        .generate_from_seed("access", "", "a1", ACCESS_SEED, [0xa1; 12])
        .unwrap();
    let mut cases = valid();
    cases.extend(refused());
    json!({
        "what": "access tokens (docs/protocols/tokens.md); code null: accepted",
        "master_key": hex(&MASTER_KEY),
        "key": {"kid": "a1", "sealed": hex(&sealed), "seed": hex(&ACCESS_SEED), "public_key": public_key(ACCESS_SEED)},
        "jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a1", "alg": "EdDSA", "use": "sig",
                           "x": base64(signing(ACCESS_SEED).verifying_key().as_bytes())}]},
        "cases": cases,
    })
}

fn valid() -> Vec<Value> {
    let token = headed(HEADER);
    let expected = json!({"organization": "acme", "subject": "ada", "kind": "person", "session": "s1", "key_id": "a1",
                          "issued_at_ms": NOW_MS + 250, "expires_at_ms": NOW_MS + 300_000, "topics": []});
    let topics = [
        "organizations/acme/events",
        "organizations/acme/persons/ada/events",
    ];
    let mut gateway = claims();
    gateway["aud"] = "gateway".into();
    gateway["top"] = json!(topics);
    let mut listening = expected.clone();
    listening["topics"] = json!(topics);
    let mut lock = claims();
    lock["knd"] = "lock".into();
    let mut device = expected.clone();
    device["kind"] = "lock".into();
    let case = |name: &str, token: &str, audience: &str, now_ms: i64, claims: &Value| json!({"name": name, "token": token, "audience": audience, "now_ms": now_ms, "code": null, "claims": claims});
    vec![
        case("person", &token, "api", NOW_MS + 250, &expected),
        case(
            "last_millisecond",
            &token,
            "api",
            NOW_MS + 299_999,
            &expected,
        ),
        case(
            "issuer_5000_ms_ahead",
            &token,
            "api",
            NOW_MS + 250 - 5_000,
            &expected,
        ),
        case(
            "header_in_another_order",
            &headed(r#"{"typ":"JWT", "kid":"a1", "alg":"EdDSA"}"#),
            "api",
            NOW_MS,
            &expected,
        ),
        case(
            "gateway_with_topics",
            &jwt(HEADER, &gateway.to_string(), ACCESS_SEED),
            "gateway",
            NOW_MS,
            &listening,
        ),
        case(
            "lock",
            &jwt(HEADER, &lock.to_string(), ACCESS_SEED),
            "api",
            NOW_MS,
            &device,
        ),
    ]
}

fn refused() -> Vec<Value> {
    let token = headed(HEADER);
    let at = |name: &str, token: String, audience: &str, now_ms: i64, code: &str| json!({"name": name, "token": token, "audience": audience, "now_ms": now_ms, "code": code});
    let mut cases = vec![
        at(
            "expired",
            token.clone(),
            "api",
            NOW_MS + 300_000,
            "token_expired",
        ),
        at(
            "issuer_5001_ms_ahead",
            token.clone(),
            "api",
            NOW_MS + 250 - 5_001,
            "token_not_yet_valid",
        ),
        at(
            "audience_other",
            token.clone(),
            "gateway",
            NOW_MS,
            "token_audience",
        ),
        at("audience_empty", token, "", NOW_MS, "token_audience"),
    ];
    cases.extend(
        forms()
            .into_iter()
            .chain(headers())
            .chain(signatures())
            .chain(payloads())
            .map(|(name, code, token)| at(name, token, "api", NOW_MS, code)),
    );
    cases
}

type Case = (&'static str, &'static str, String);

fn forms() -> Vec<Case> {
    let token = headed(HEADER);
    let (signed, tail) = token.rsplit_once('.').unwrap();
    // The last of 86 characters carries two bits; the four below them have to be zero.
    let mut stray = token.clone();
    let last = if stray.pop() == Some('A') { 'B' } else { 'h' };
    stray.push(last);
    vec![
        ("empty", "token_malformed", String::new()),
        ("points_only", "token_malformed", "..".into()),
        ("one_part", "token_malformed", "abc".into()),
        ("two_parts", "token_malformed", signed.into()),
        ("four_parts", "token_malformed", format!("{token}.{tail}")),
        ("padded", "token_malformed", format!("{token}==")),
        ("stray_bits", "token_malformed", stray),
        ("space_behind", "token_malformed", format!("{token} ")),
        ("not_base64", "token_malformed", format!("*{token}")),
        (
            "too_long",
            "token_too_long",
            format!("{token}{}", "A".repeat(4097 - token.len())),
        ),
    ]
}

fn headers() -> Vec<Case> {
    let unsigned = |header: &str| {
        format!(
            "{}.{}.",
            base64(header.as_bytes()),
            base64(claims().to_string().as_bytes())
        )
    };
    vec![
        (
            "algorithm_none",
            "token_algorithm",
            unsigned(r#"{"alg":"none"}"#),
        ),
        (
            "algorithm_none_dressed",
            "token_algorithm",
            unsigned(r#"{"alg":"none","kid":"a1","typ":"JWT"}"#),
        ),
        (
            "algorithm_hs256",
            "token_algorithm",
            headed(r#"{"alg":"HS256","kid":"a1","typ":"JWT"}"#),
        ),
        (
            "algorithm_es256",
            "token_algorithm",
            headed(r#"{"alg":"ES256","kid":"a1","typ":"JWT"}"#),
        ),
        (
            "algorithm_in_lower_case",
            "token_algorithm",
            headed(r#"{"alg":"eddsa","kid":"a1","typ":"JWT"}"#),
        ),
        (
            "algorithm_missing",
            "token_malformed",
            headed(r#"{"kid":"a1","typ":"JWT"}"#),
        ),
        (
            "algorithm_twice",
            "token_malformed",
            headed(r#"{"alg":"EdDSA","alg":"none","kid":"a1","typ":"JWT"}"#),
        ),
        (
            "header_with_key",
            "token_malformed",
            headed(r#"{"alg":"EdDSA","kid":"a1","typ":"JWT","jwk":{}}"#),
        ),
        (
            "header_critical",
            "token_malformed",
            headed(r#"{"alg":"EdDSA","kid":"a1","typ":"JWT","crit":["exp"]}"#),
        ),
        ("header_not_json", "token_malformed", headed("EdDSA")),
        (
            "type_missing",
            "token_malformed",
            headed(r#"{"alg":"EdDSA","kid":"a1"}"#),
        ),
        (
            "type_other",
            "token_malformed",
            headed(r#"{"alg":"EdDSA","kid":"a1","typ":"CWT"}"#),
        ),
        (
            "key_missing",
            "token_malformed",
            headed(r#"{"alg":"EdDSA","typ":"JWT"}"#),
        ),
        (
            "key_a_number",
            "token_malformed",
            headed(r#"{"alg":"EdDSA","kid":1,"typ":"JWT"}"#),
        ),
        (
            "key_unknown",
            "token_key_unknown",
            headed(r#"{"alg":"EdDSA","kid":"a2","typ":"JWT"}"#),
        ),
        (
            "key_empty",
            "token_key_unknown",
            headed(r#"{"alg":"EdDSA","kid":"","typ":"JWT"}"#),
        ),
    ]
}

fn signatures() -> Vec<Case> {
    let token = headed(HEADER);
    let (signed, tail) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let mut other = claims();
    other["sub"] = "eve".into();
    let mut flipped = signature();
    flipped[40] ^= 1;
    vec![
        ("signature_empty", "token_malformed", format!("{signed}.")),
        (
            "signature_short",
            "token_malformed",
            signed_with(&signature()[..63]),
        ),
        (
            "signature_long",
            "token_malformed",
            signed_with(&[signature(), vec![0]].concat()),
        ),
        (
            "signature_flipped",
            "token_signature",
            signed_with(&flipped),
        ),
        ("signature_zero", "token_signature", signed_with(&[0; 64])),
        (
            "signature_small_order",
            "token_signature",
            signed_with(&small_order()),
        ),
        (
            "signature_malleated",
            "token_signature",
            signed_with(&malleated(&signature())),
        ),
        (
            "signed_by_stranger",
            "token_signature",
            jwt(HEADER, &claims().to_string(), STRANGER_SEED),
        ),
        (
            "payload_exchanged",
            "token_signature",
            format!("{header}.{}.{tail}", base64(other.to_string().as_bytes())),
        ),
    ]
}

fn payloads() -> Vec<Case> {
    let seconds = NOW_MS / 1000;
    let text = claims().to_string();
    let malformed = [
        ("payload_not_json", jwt(HEADER, "claims", ACCESS_SEED)),
        ("payload_an_array", jwt(HEADER, "[]", ACCESS_SEED)),
        (
            "claim_twice",
            jwt(
                HEADER,
                &text.replacen('{', r#"{"sub":"eve","#, 1),
                ACCESS_SEED,
            ),
        ),
        ("claim_extra", changed("admin", true.into())),
        ("subject_missing", without("sub")),
        ("subject_empty", changed("sub", "".into())),
        ("subject_long", changed("sub", "s".repeat(129).into())),
        ("organization_missing", without("org")),
        ("session_missing", without("sid")),
        ("audience_missing", without("aud")),
        ("audience_a_list", changed("aud", json!(["api"]))),
        ("kind_unknown", changed("knd", "robot".into())),
        ("expiry_missing", without("exp")),
        ("expiry_a_text", changed("exp", "never".into())),
        ("expiry_overflowing", changed("exp", i64::MAX.into())),
        ("issued_with_fraction", changed("iat", 1.5.into())),
        (
            "issued_twice_differently",
            changed("iat_ms", (NOW_MS + 1_000).into()),
        ),
        ("life_301_seconds", changed("exp", (seconds + 301).into())),
        ("life_of_zero", changed("exp", seconds.into())),
        (
            "topics_for_the_api",
            changed("top", json!(["organizations/acme/events"])),
        ),
    ];
    let mut cases: Vec<Case> = malformed
        .into_iter()
        .map(|(name, token)| (name, "token_malformed", token))
        .collect();
    cases.push((
        "issuer_other",
        "token_issuer",
        changed("iss", "nexus".into()),
    ));
    cases
}
