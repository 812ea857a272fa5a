//! The key ring: rotation, retirement, what the cache may not remember, and what must not be shown.
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

use std::sync::atomic::{AtomicBool, Ordering};

use nexkey_lock::{DeviceKey, LockVerifier};
use nexkey_tokens::{
    Claims, Command, GatewayVerifier, KeyRing, KeyRingError, SignedTime, SubjectKind, TokenError,
};

const NOW_MS: i64 = 1_795_420_800_000;
const MASTER_KEY: [u8; 32] = [7; 32];

fn claims() -> Claims {
    Claims {
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
    }
}

fn ring() -> KeyRing {
    let ring = KeyRing::new(&MASTER_KEY).unwrap();
    ring.generate("access", "", "a1").unwrap();
    ring.activate("access", "", "a1").unwrap();
    ring
}

#[test]
fn signs_what_it_verifies() {
    let ring = ring();
    let token = ring.sign_access_token(&claims()).unwrap();
    let expected = Claims {
        key_id: "a1".into(),
        ..claims()
    };
    assert_eq!(
        *ring.verify_access_token(&token, "api", NOW_MS).unwrap(),
        expected
    );
    assert_eq!(
        GatewayVerifier::from_jwks(&ring.jwks())
            .unwrap()
            .verify(&token, "api", NOW_MS),
        Ok(expected)
    );
}

#[test]
fn rotation_breaks_no_token() {
    let ring = ring();
    let before = ring.sign_access_token(&claims()).unwrap();
    ring.generate("access", "", "a2").unwrap();
    assert_eq!(
        ring.active_key_id("access", ""),
        Ok(Some("a1".into())),
        "a new key doesn't sign until it is activated"
    );
    ring.activate("access", "", "a2").unwrap();
    let after = ring.sign_access_token(&claims()).unwrap();
    assert_eq!(
        ring.verify_access_token(&before, "api", NOW_MS)
            .unwrap()
            .key_id,
        "a1"
    );
    assert_eq!(
        ring.verify_access_token(&after, "api", NOW_MS)
            .unwrap()
            .key_id,
        "a2"
    );
    let gateway = GatewayVerifier::from_jwks(&ring.jwks()).unwrap();
    assert!(
        gateway.verify(&before, "api", NOW_MS).is_ok()
            && gateway.verify(&after, "api", NOW_MS).is_ok()
    );
}

#[test]
fn a_retired_key_is_refused_at_the_next_hit() {
    let ring = ring();
    let token = ring.sign_access_token(&claims()).unwrap();
    ring.verify_access_token(&token, "api", NOW_MS).unwrap();
    ring.retire("access", "", "a1").unwrap();
    assert_eq!(
        ring.verify_access_token(&token, "api", NOW_MS),
        Err(TokenError::KeyUnknown)
    );
    assert_eq!(
        ring.sign_access_token(&claims()),
        Err(KeyRingError::KeyUnknown),
        "nothing signs after it"
    );
}

#[test]
fn another_key_of_the_same_name_is_another_key() {
    let ring = ring();
    let token = ring.sign_access_token(&claims()).unwrap();
    ring.verify_access_token(&token, "api", NOW_MS).unwrap();
    ring.retire("access", "", "a1").unwrap();
    ring.generate("access", "", "a1").unwrap();
    assert_eq!(
        ring.verify_access_token(&token, "api", NOW_MS),
        Err(TokenError::Signature)
    );
}

#[test]
fn every_hit_asks_again_who_and_when() {
    let ring = ring();
    let token = ring.sign_access_token(&claims()).unwrap();
    let verify = |audience, now_ms| {
        ring.verify_access_token(&token, audience, now_ms)
            .map(|_| ())
    };
    assert_eq!(verify("api", NOW_MS), Ok(()));
    assert_eq!(verify("gateway", NOW_MS), Err(TokenError::Audience));
    assert_eq!(verify("api", NOW_MS + 300_000), Err(TokenError::Expired));
    assert_eq!(verify("api", NOW_MS - 5_001), Err(TokenError::NotYetValid));
    assert_eq!(
        verify("api", NOW_MS + 299_999),
        Ok(()),
        "a refusal for its time is not remembered"
    );
}

#[test]
fn a_failed_verification_is_not_remembered() {
    let (ring, other) = (ring(), ring());
    let token = other.sign_access_token(&claims()).unwrap();
    assert_eq!(
        ring.verify_access_token(&token, "api", NOW_MS),
        Err(TokenError::Signature)
    );
    ring.retire("access", "", "a1").unwrap();
    assert_eq!(
        ring.verify_access_token(&token, "api", NOW_MS),
        Err(TokenError::KeyUnknown),
        "decided anew, from the ring as it is"
    );
}

#[test]
fn refuses_to_sign_what_it_would_refuse() {
    let ring = ring();
    let long: Vec<String> = (0..100)
        .map(|number| format!("organizations/acme/persons/{number:064}/events"))
        .collect();
    let wrong = [
        Claims {
            expires_at_ms: NOW_MS + 301_000,
            ..claims()
        },
        Claims {
            expires_at_ms: NOW_MS,
            ..claims()
        },
        Claims {
            subject: String::new(),
            ..claims()
        },
        Claims {
            organization: "o".repeat(129),
            ..claims()
        },
        Claims {
            topics: vec!["organizations/acme/events".into()],
            ..claims()
        },
        Claims {
            revision: 1,
            ..claims()
        },
        Claims {
            audience: "gateway".into(),
            topics: long,
            ..claims()
        },
        Claims {
            issued_at_ms: i64::MIN,
            ..claims()
        },
    ];
    for claims in wrong {
        assert_eq!(
            ring.sign_access_token(&claims),
            Err(KeyRingError::ClaimsInvalid),
            "{claims:?}"
        );
    }
}

#[test]
fn a_kid_never_names_two_keys() {
    let ring = ring();
    assert_eq!(
        ring.generate("access", "", "a1"),
        Err(KeyRingError::KeyExists)
    );
    let other = KeyRing::new(&MASTER_KEY).unwrap();
    let sealed = other.generate("access", "", "a1").unwrap();
    assert_eq!(
        ring.load("access", "", "a1", &sealed),
        Err(KeyRingError::KeyExists)
    );
    assert_eq!(
        other.load("access", "", "a1", &sealed),
        Ok(()),
        "the same key again changes nothing"
    );
}

#[test]
fn keys_are_bounded_and_named() {
    let ring = KeyRing::new(&MASTER_KEY).unwrap();
    for number in 0..16 {
        ring.generate("command", "acme", &format!("acme.{number}"))
            .unwrap();
    }
    assert_eq!(
        ring.generate("command", "acme", "acme.16"),
        Err(KeyRingError::KeysTooMany)
    );
    for name in ["", "a b", "a\"b", "umbrella.1", "acme.", "acme.x", "acme1"] {
        assert_eq!(
            ring.generate("command", "acme", name),
            Err(KeyRingError::KeyId),
            "{name}"
        );
    }
    assert_eq!(
        ring.generate("access", "", &"k".repeat(81)),
        Err(KeyRingError::KeyId)
    );
    assert_eq!(
        ring.activate("command", "acme", "acme.99"),
        Err(KeyRingError::KeyUnknown)
    );
}

#[test]
fn organizations_do_not_share_command_keys() {
    let ring = KeyRing::new(&MASTER_KEY).unwrap();
    ring.generate("command", "acme", "acme.1").unwrap();
    ring.activate("command", "acme", "acme.1").unwrap();
    let time = |organization: &str| SignedTime {
        organization: organization.into(),
        lock: "lock-1".into(),
        now_ms: NOW_MS,
        nonce: vec![1; 16],
    };
    assert!(ring.sign_time(&time("acme")).is_ok());
    assert_eq!(
        ring.sign_time(&time("umbrella")),
        Err(KeyRingError::KeyUnknown)
    );
    assert!(
        !String::from_utf8(ring.jwks()).unwrap().contains("acme.1"),
        "the key set is of token keys alone"
    );
}

#[test]
fn a_command_goes_from_ring_to_lock() {
    let ring = KeyRing::new(&MASTER_KEY).unwrap();
    ring.generate("command", "acme", "acme.1").unwrap();
    ring.activate("command", "acme", "acme.1").unwrap();
    let public = ring.public_key("command", "acme", "acme.1").unwrap();
    let mut lock = LockVerifier::new("acme", "lock-1", "acme.1", &public, 8).unwrap();
    lock.begin_time(&[5; 16], 10).unwrap();
    let time = SignedTime {
        organization: "acme".into(),
        lock: "lock-1".into(),
        now_ms: NOW_MS,
        nonce: vec![5; 16],
    };
    lock.accept_time(&ring.sign_time(&time).unwrap(), 20)
        .unwrap();
    let command = Command {
        organization: "acme".into(),
        lock: "lock-1".into(),
        door: "front".into(),
        action: "unlock".into(),
        id: "log:000000000001:000".into(),
        issued_at_ms: NOW_MS + 1,
        expires_at_ms: NOW_MS + 5_001,
    };
    assert_eq!(
        lock.verify(&ring.sign_command(&command).unwrap(), 30),
        Ok(command.clone())
    );
    for wrong in [
        Command {
            expires_at_ms: NOW_MS + 5_002,
            ..command.clone()
        },
        Command {
            expires_at_ms: NOW_MS + 1,
            ..command.clone()
        },
        Command {
            action: "lock".into(),
            ..command.clone()
        },
        Command {
            id: String::new(),
            ..command.clone()
        },
        Command {
            lock: "Lock 1".into(),
            ..command.clone()
        },
        Command {
            issued_at_ms: -1,
            expires_at_ms: 1,
            ..command.clone()
        },
    ] {
        assert_eq!(
            ring.sign_command(&wrong),
            Err(KeyRingError::ClaimsInvalid),
            "{wrong:?}"
        );
    }
}

#[test]
fn secrets_are_not_shown() {
    let key = DeviceKey::from_seed(&[0xab; 32]);
    assert_eq!(
        format!("{key:?} {:?}", ring()),
        "DeviceKey(redacted) KeyRing(redacted)"
    );
}

#[test]
fn key_sets_are_strict() {
    let good = String::from_utf8(ring().jwks()).unwrap();
    assert!(GatewayVerifier::from_jwks(good.as_bytes()).is_ok());
    let key = &good[9..good.len() - 2];
    let weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let at = good.find(r#""x":""#).unwrap() + 5;
    let wrong = [
        "{}".to_string(),
        good.replace("OKP", "EC"),
        good.replace("Ed25519", "X25519"),
        good.replace("EdDSA", "ES256"),
        good.replace("sig", "enc"),
        format!(r#"{{"keys":[{key},{key}]}}"#),
        format!("{}{weak}{}", &good[..at], &good[at + 43..]),
        format!("{}{}", good, " ".repeat(65_536)),
    ];
    for document in wrong {
        assert_eq!(
            GatewayVerifier::from_jwks(document.as_bytes()).unwrap_err(),
            TokenError::JwksMalformed,
            "{:.200}",
            document
        );
    }
}

#[test]
fn readers_go_on_while_writers_rotate() {
    let ring = ring();
    let (stop, token) = (
        AtomicBool::new(false),
        ring.sign_access_token(&claims()).unwrap(),
    );
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            while !stop.load(Ordering::Relaxed) || reads == 0 {
                ring.verify_access_token(&token, "api", NOW_MS).unwrap();
                ring.sign_access_token(&claims()).unwrap();
                reads += 1;
            }
            reads
        });
        for number in 2..100 {
            let name = format!("a{number}");
            ring.generate("access", "", &name).unwrap();
            ring.activate("access", "", &name).unwrap();
            ring.activate("access", "", "a1").unwrap();
            ring.retire("access", "", &name).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}
