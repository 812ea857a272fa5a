//! Signing keys at rest.

use nexkey_tokens::KeyRing;
use serde_json::{Value, json};

use super::forge::{COMMAND_SEED, MASTER_KEY, hex, public_key};

pub fn document() -> Value {
    let ring = KeyRing::new(&MASTER_KEY).unwrap();
    let sealed = ring
        .generate_from_seed("command", "acme", "acme.1", COMMAND_SEED, [0xc1; 12])
        .unwrap();
    // The same bytes under another division: organization "acme1" and kid "acme1.1" share their letters with others.
    let divided = ring
        .generate_from_seed("command", "acme1", "acme1.1", COMMAND_SEED, [0xc2; 12])
        .unwrap();
    let case = |name: &str, master_key: &[u8], place: [&str; 3], sealed: &[u8], code: Value| {
        let [purpose, organization, key_id] = place;
        json!({"name": name, "master_key": hex(master_key), "purpose": purpose, "organization": organization, "key_id": key_id,
               "sealed": hex(sealed), "code": code})
    };
    let wrong = |name: &str, place: [&str; 3], sealed: &[u8]| {
        case(
            name,
            &MASTER_KEY,
            place,
            sealed,
            "key_sealed_wrongly".into(),
        )
    };
    let own = ["command", "acme", "acme.1"];
    let mut flipped = sealed.clone();
    flipped[20] ^= 1;
    let mut nonce_flipped = sealed.clone();
    nonce_flipped[0] ^= 1;
    json!({
        "what": "sealed signing keys: nonce (12 bytes), AES-256-GCM ciphertext (32) and tag (16); AAD: context, then purpose, organization and kid, each after its length (u64, big endian)",
        "context": hex(b"nexkey signing key v1"),
        "seed": hex(&COMMAND_SEED), "public_key": public_key(COMMAND_SEED),
        "cases": [
            case("own", &MASTER_KEY, own, &sealed, Value::Null),
            case("own_divided", &MASTER_KEY, ["command", "acme1", "acme1.1"], &divided, Value::Null),
            case("master_key_other", &[0x4e; 32], own, &sealed, "key_sealed_wrongly".into()),
            case("master_key_short", &[0x4d; 31], own, &sealed, "master_key_invalid".into()),
            wrong("organization_other", ["command", "acme1", "acme1.1"], &sealed),
            wrong("key_other", ["command", "acme", "acme.2"], &sealed),
            wrong("purpose_other", ["access", "", "acme.1"], &sealed),
            wrong("ciphertext_flipped", own, &flipped),
            wrong("nonce_flipped", own, &nonce_flipped),
            wrong("truncated", own, &sealed[..59]),
            wrong("trailing_byte", own, &[&sealed[..], &[0]].concat()),
            wrong("empty", own, &[]),
            case("purpose_unknown", &MASTER_KEY, ["door", "acme", "acme.1"], &sealed, "key_purpose".into()),
            case("access_with_organization", &MASTER_KEY, ["access", "acme", "acme.1"], &sealed, "key_purpose".into()),
            case("command_without_organization", &MASTER_KEY, ["command", "", "acme.1"], &sealed, "key_purpose".into()),
            case("key_of_another_organization", &MASTER_KEY, ["command", "acme", "umbrella.1"], &sealed, "key_id_invalid".into()),
        ],
    })
}
