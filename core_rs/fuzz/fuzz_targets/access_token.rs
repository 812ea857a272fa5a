//! Any text as an access token, an assertion or a key set: never a panic, and nothing is accepted but the token that was signed. Ring and gateway agree.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nexkey_tokens::{Claims, GatewayVerifier, KeyRing, SubjectKind, verify_device_assertion};

const NOW_MS: i64 = 1_795_420_800_000;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let ring = KeyRing::new(&[7; 32]).unwrap();
    ring.generate_from_seed("access", "", "a1", [1; 32], [0; 12])
        .unwrap();
    ring.activate("access", "", "a1").unwrap();
    ring
});

static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = Claims {
        audience: "api".into(),
        organization: "acme".into(),
        subject: "ada".into(),
        kind: SubjectKind::Person,
        session: "s1".into(),
        key_id: String::new(),
        issued_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + 300_000,
        topics: vec![],
        revision: 0,
    };
    RING.sign_access_token(&claims).unwrap()
});

static GATEWAY: LazyLock<GatewayVerifier> =
    LazyLock::new(|| GatewayVerifier::from_jwks(&RING.jwks()).unwrap());

fuzz_target!(|data: &[u8]| {
    let _ = GatewayVerifier::from_jwks(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for token in [text.to_owned(), spliced(text)] {
        let found = RING.verify_access_token(&token, "api", NOW_MS);
        assert_eq!(found.is_ok(), token == *TOKEN);
        assert_eq!(
            found.map(|claims| (*claims).clone()),
            GATEWAY.verify(&token, "api", NOW_MS),
            "ring and gateway agree"
        );
        let public_key = RING.public_key("access", "", "a1").unwrap();
        assert!(verify_device_assertion(&public_key, &token, "acme", "lock-1", NOW_MS).is_err());
    }
});

/// The signed token with a piece replaced: the first character says where.
fn spliced(text: &str) -> String {
    let mut characters = text.chars();
    let place = characters
        .next()
        .map_or(0, |character| character as usize % (TOKEN.len() + 1));
    let piece = characters.as_str();
    let end = (place + piece.len()).min(TOKEN.len());
    format!("{}{piece}{}", &TOKEN[..place], &TOKEN[end..])
}
