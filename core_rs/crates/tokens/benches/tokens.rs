//! Sign and verify, each answer checked before it is timed. `cargo bench -p nexkey-tokens`. The same operations from Python: `benchmarks/tokens.py`.
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
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use nexkey_lock::{DeviceKey, LockVerifier};
use nexkey_tokens::{
    Claims, Command, GatewayVerifier, KeyRing, Report, ReportKind, SignedTime, SubjectKind,
    verify_report,
};

const NOW_MS: i64 = 1_795_420_800_000;

fn ring() -> KeyRing {
    let ring = KeyRing::new(&[7; 32]).unwrap();
    ring.generate("access", "", "access.1").unwrap();
    ring.activate("access", "", "access.1").unwrap();
    ring.generate("command", "acme", "acme.1").unwrap();
    ring.activate("command", "acme", "acme.1").unwrap();
    ring
}

fn claims() -> Claims {
    Claims {
        audience: "api".into(),
        organization: "acme".into(),
        subject: "person-000042".into(),
        kind: SubjectKind::Person,
        session: "session-0123456789abcdef".into(),
        key_id: String::new(),
        issued_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + 300_000,
        topics: vec![],
        revision: 0,
    }
}

fn command() -> Command {
    Command {
        organization: "acme".into(),
        lock: "lock-1".into(),
        door: "front".into(),
        action: "unlock".into(),
        id: "log-1:000000000007:003".into(),
        issued_at_ms: NOW_MS + 1,
        expires_at_ms: NOW_MS + 5_001,
    }
}

fn access_tokens(criterion: &mut Criterion) {
    let ring = ring();
    let token = ring.sign_access_token(&claims()).unwrap();
    let gateway = GatewayVerifier::from_jwks(&ring.jwks()).unwrap();
    assert_eq!(
        gateway.verify(&token, "api", NOW_MS).unwrap().subject,
        claims().subject
    );
    assert_eq!(
        ring.verify_access_token(&token, "api", NOW_MS)
            .unwrap()
            .subject,
        claims().subject
    );

    criterion.bench_function("access token: sign", |bench| {
        bench.iter(|| ring.sign_access_token(black_box(&claims())).unwrap())
    });
    criterion.bench_function("access token: verify uncached", |bench| {
        bench.iter(|| gateway.verify(black_box(&token), "api", NOW_MS).unwrap())
    });
    criterion.bench_function("access token: verify cached", |bench| {
        bench.iter(|| {
            ring.verify_access_token(black_box(&token), "api", NOW_MS)
                .unwrap()
        })
    });
}

fn lock_of(ring: &KeyRing) -> LockVerifier {
    let public_key = ring.public_key("command", "acme", "acme.1").unwrap();
    let mut lock = LockVerifier::new("acme", "lock-1", "acme.1", &public_key, 16).unwrap();
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

fn door_commands(criterion: &mut Criterion) {
    let ring = ring();
    let message = ring.sign_command(&command()).unwrap();
    assert_eq!(lock_of(&ring).verify(&message, 10).unwrap(), command());

    criterion.bench_function("command: sign", |bench| {
        bench.iter(|| ring.sign_command(black_box(&command())).unwrap())
    });
    criterion.bench_function("command: verify at the lock", |bench| {
        bench.iter_batched_ref(
            || lock_of(&ring),
            |lock| lock.verify(black_box(&message), 10).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn reports(criterion: &mut Criterion) {
    let key = DeviceKey::from_seed(&[3; 32]);
    let report = Report {
        lock: "lock-1".into(),
        number: 41,
        kind: ReportKind::Outcome,
        command: Some("log-1:000000000007:003".into()),
        result: "done".into(),
        reason: None,
        at_ms: NOW_MS,
    };
    let message = key.sign_report(&report).unwrap();
    assert_eq!(
        verify_report(&key.public_key(), &message, "lock-1").unwrap(),
        report
    );

    criterion.bench_function("report: sign", |bench| {
        bench.iter(|| key.sign_report(black_box(&report)).unwrap())
    });
    criterion.bench_function("report: verify", |bench| {
        bench.iter(|| verify_report(&key.public_key(), black_box(&message), "lock-1").unwrap())
    });
}

criterion_group!(benches, access_tokens, door_commands, reports);
criterion_main!(benches);
