//! Any bytes as a report: never a panic, and nothing is believed but the report that was signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nexkey_lock::DeviceKey;
use nexkey_tokens::{Report, ReportKind, verify_report};

static KEY: LazyLock<DeviceKey> = LazyLock::new(|| DeviceKey::from_seed(&[3; 32]));

static SIGNED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let report = Report {
        lock: "lock-1".into(),
        number: 41,
        kind: ReportKind::Outcome,
        command: Some("log-1:000000000007:003".into()),
        result: "refused".into(),
        reason: Some("command_expired".into()),
        at_ms: 1_795_420_800_180,
    };
    KEY.sign_report(&report).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let mut messages = vec![data.to_vec()];
    if let [place, rest @ ..] = data {
        let cut = usize::from(*place).min(SIGNED.len());
        let end = (cut + rest.len()).min(SIGNED.len());
        messages.push([&SIGNED[..cut], rest, &SIGNED[end..]].concat());
    }
    for message in messages {
        let found = verify_report(&KEY.public_key(), &message, "lock-1");
        assert_eq!(found.is_ok(), message == *SIGNED);
    }
});
