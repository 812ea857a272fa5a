//! Whatever is changed in a good token or message, it is refused, and with a code that fits; whatever is signed within the limits is read back as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nexkey_lock::{DeviceKey, LockVerifier};
use nexkey_tokens::{
    Claims, Command, KeyRing, Report, ReportKind, SignedTime, SubjectKind, verify_device_assertion,
    verify_report,
};
use proptest::prelude::*;

const NOW_MS: i64 = 1_795_420_800_000;

fn ring() -> KeyRing {
    let ring = KeyRing::new(&[7; 32]).unwrap();
    ring.generate_from_seed("access", "", "a1", [1; 32], [0; 12])
        .unwrap();
    ring.activate("access", "", "a1").unwrap();
    ring.generate_from_seed("command", "acme", "acme.1", [2; 32], [1; 12])
        .unwrap();
    ring.activate("command", "acme", "acme.1").unwrap();
    ring
}

fn claims() -> Claims {
    Claims {
        audience: "gateway".into(),
        organization: "acme".into(),
        subject: "ada".into(),
        kind: SubjectKind::Person,
        session: "s1".into(),
        key_id: "a1".into(),
        issued_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + 300_000,
        topics: vec!["organizations/acme/events".into()],
        revision: 7,
    }
}

fn command() -> Command {
    Command {
        organization: "acme".into(),
        lock: "lock-1".into(),
        door: "front".into(),
        action: "unlock".into(),
        id: "log-1:000000000007:003".into(),
        issued_at_ms: NOW_MS + 3,
        expires_at_ms: NOW_MS + 5_003,
    }
}

fn report() -> Report {
    Report {
        lock: "lock-1".into(),
        number: 41,
        kind: ReportKind::Outcome,
        command: Some("log-1:000000000007:003".into()),
        result: "refused".into(),
        reason: Some("command_expired".into()),
        at_ms: NOW_MS + 180,
    }
}

/// A lock that was told `NOW_MS` at tick 0.
fn lock(ring: &KeyRing) -> LockVerifier {
    let mut lock = LockVerifier::new(
        "acme",
        "lock-1",
        "acme.1",
        &ring.public_key("command", "acme", "acme.1").unwrap(),
        4,
    )
    .unwrap();
    lock.begin_time(&[5; 16], 0).unwrap();
    let time = SignedTime {
        organization: "acme".into(),
        lock: "lock-1".into(),
        now_ms: NOW_MS,
        nonce: vec![5; 16],
    };
    lock.accept_time(&ring.sign_time(&time).unwrap(), 0)
        .unwrap();
    lock
}

#[test]
fn every_flip_of_every_byte_of_a_token_is_refused() {
    let ring = ring();
    let token = ring.sign_access_token(&claims()).unwrap();
    ring.verify_access_token(&token, "gateway", NOW_MS).unwrap();
    let fitting = [
        "token_malformed",
        "token_algorithm",
        "token_key_unknown",
        "token_signature",
    ];
    for place in 0..token.len() {
        for bit in 0..7 {
            let mut flipped = token.clone().into_bytes();
            flipped[place] ^= 1 << bit;
            let flipped = String::from_utf8(flipped).unwrap();
            let code = ring
                .verify_access_token(&flipped, "gateway", NOW_MS)
                .map(|_| ())
                .unwrap_err()
                .code();
            assert!(fitting.contains(&code), "byte {place} bit {bit}: {code}");
        }
    }
}

#[test]
fn every_flip_of_every_byte_of_an_assertion_is_refused() {
    let key = DeviceKey::from_seed(&[3; 32]);
    let assertion = key
        .sign_assertion("acme", "lock-1", NOW_MS, NOW_MS + 60_000)
        .unwrap();
    let verify = |assertion: &str| {
        verify_device_assertion(&key.public_key(), assertion, "acme", "lock-1", NOW_MS)
    };
    verify(&assertion).unwrap();
    let fitting = ["token_malformed", "token_algorithm", "token_signature"];
    for place in 0..assertion.len() {
        for bit in 0..7 {
            let mut flipped = assertion.clone().into_bytes();
            flipped[place] ^= 1 << bit;
            let code = verify(&String::from_utf8(flipped).unwrap())
                .unwrap_err()
                .code();
            assert!(fitting.contains(&code), "byte {place} bit {bit}: {code}");
        }
    }
}

#[test]
fn every_flip_of_every_byte_of_a_command_is_refused() {
    let ring = ring();
    let message = ring.sign_command(&command()).unwrap();
    lock(&ring).verify(&message, 10).unwrap();
    let mut lock = lock(&ring);
    let fitting = [
        "command_malformed",
        "command_algorithm",
        "command_key_unknown",
        "command_signature",
    ];
    for place in 0..message.len() {
        for bit in 0..8 {
            let mut flipped = message.clone();
            flipped[place] ^= 1 << bit;
            let code = lock.verify(&flipped, 10).map(|_| ()).unwrap_err().code();
            assert!(fitting.contains(&code), "byte {place} bit {bit}: {code}");
        }
    }
    lock.verify(&message, 10)
        .expect("none of the refused took a place in the memory");
}

#[test]
fn every_flip_of_every_byte_of_a_time_answer_is_refused() {
    let ring = ring();
    let mut lock = lock(&ring);
    lock.begin_time(&[6; 16], 10).unwrap();
    let time = SignedTime {
        organization: "acme".into(),
        lock: "lock-1".into(),
        now_ms: NOW_MS + 12,
        nonce: vec![6; 16],
    };
    let message = ring.sign_time(&time).unwrap();
    for place in 0..message.len() {
        for bit in 0..8 {
            let mut flipped = message.clone();
            flipped[place] ^= 1 << bit;
            let code = lock.accept_time(&flipped, 12).unwrap_err().code();
            assert!(
                ["time_malformed", "time_signature"].contains(&code),
                "byte {place} bit {bit}: {code}"
            );
        }
    }
    assert_eq!(
        lock.accept_time(&message, 12),
        Ok(5),
        "the question was still open"
    );
}

#[test]
fn every_flip_of_every_byte_of_a_report_is_refused() {
    let key = DeviceKey::from_seed(&[3; 32]);
    let message = key.sign_report(&report()).unwrap();
    let fitting = ["report_malformed", "report_algorithm", "report_signature"];
    for place in 0..message.len() {
        for bit in 0..8 {
            let mut flipped = message.clone();
            flipped[place] ^= 1 << bit;
            let code = verify_report(&key.public_key(), &flipped, "lock-1")
                .unwrap_err()
                .code();
            assert!(fitting.contains(&code), "byte {place} bit {bit}: {code}");
        }
    }
}

fn identifier() -> impl Strategy<Value = String> {
    "[a-z0-9_-]{1,64}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn tokens_are_read_back(
        organization in identifier(), subject in "\\PC{1,30}", session in "\\PC{1,30}", lock: bool,
        issued_at_ms in 0..4_000_000_000_000_i64, life_ms in 1_000..300_000_i64, revision: u64, topics in prop::collection::vec("\\PC{0,40}", 0..5),
    ) {
        let kind = if lock { SubjectKind::Lock } else { SubjectKind::Person };
        let signed = Claims { organization, subject, session, kind, issued_at_ms, expires_at_ms: issued_at_ms + life_ms, topics, revision, ..claims() };
        let ring = ring();
        let token = ring.sign_access_token(&signed).unwrap();
        let expected = Claims { expires_at_ms: signed.expires_at_ms / 1000 * 1000, ..signed };
        if issued_at_ms < expected.expires_at_ms {
            prop_assert_eq!(&*ring.verify_access_token(&token, "gateway", issued_at_ms).unwrap(), &expected);
        }
        prop_assert!(ring.verify_access_token(&token, "gateway", expected.expires_at_ms).is_err());
    }

    #[test]
    fn commands_are_read_back(door in identifier(), id in "[!-~]{1,128}", issued_ms in 0..5_000_i64, life_ms in 1..=5_000_i64) {
        let ring = ring();
        let signed = Command { door, id, issued_at_ms: NOW_MS + issued_ms, expires_at_ms: NOW_MS + issued_ms + life_ms, ..command() };
        let message = ring.sign_command(&signed).unwrap();
        prop_assert_eq!(lock(&ring).verify(&message, issued_ms.unsigned_abs()), Ok(signed));
    }

    #[test]
    fn reports_are_read_back(
        name in identifier(), number in 0..=i64::MAX.unsigned_abs(), door: bool, command in prop::option::of("[!-~]{1,128}"),
        reason in prop::option::of("[a-z_]{1,64}"), at_ms in 0..=253_402_300_799_999_i64,
    ) {
        let key = DeviceKey::from_seed(&[3; 32]);
        let (kind, result) = if door { (ReportKind::Door, "FORCED_OPEN") } else { (ReportKind::Outcome, "done") };
        let signed = Report { lock: name.clone(), number, kind, command, result: result.into(), reason, at_ms };
        match key.sign_report(&signed) {
            Ok(message) => prop_assert_eq!(verify_report(&key.public_key(), &message, &name), Ok(signed)),
            Err(_) => prop_assert!(!door && signed.command.is_none()),
        }
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..1200), text in "\\PC{0,200}") {
        let ring = ring();
        prop_assert!(lock(&ring).verify(&noise, 10).is_err());
        prop_assert!(lock(&ring).accept_time(&noise, 10).is_err());
        prop_assert!(verify_report(&DeviceKey::from_seed(&[3; 32]).public_key(), &noise, "lock-1").is_err());
        prop_assert!(ring.verify_access_token(&text, "api", NOW_MS).is_err());
    }

    #[test]
    fn noise_behind_an_envelope_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200), place in 0..190_usize) {
        let ring = ring();
        let message = ring.sign_command(&command()).unwrap();
        let forged = [&message[..place.min(message.len())], &noise].concat();
        prop_assume!(forged != message);
        prop_assert!(lock(&ring).verify(&forged, 10).is_err());
    }
}
