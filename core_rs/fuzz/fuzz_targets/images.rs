//! Arbitrary bytes as snapshot and as change records, then every question about what came of them.
//!
//! The first byte cuts the input in two: a snapshot, and a record on top of it. Nothing may panic or hang, a record that was
//! refused must leave no trace, and `explain` must tell what `check` decides.
#![no_main]
use libfuzzer_sys::fuzz_target;
use nexkey_permissions::PermissionIndex;

const ORGANIZATION: &str = "acme";
const NAMES: [&str; 4] = ["a", "b", "anna", "front"];

fuzz_target!(|input: &[u8]| {
    let Some((cut, images)) = input.split_first() else {
        return;
    };
    let (snapshot, record) = images.split_at(images.len() * usize::from(*cut) / 255);
    let now_ms = input
        .iter()
        .take(9)
        .fold(0_i64, |value, byte| (value << 8) | i64::from(*byte));
    let index = PermissionIndex::new();
    if index.load(ORGANIZATION, 1, snapshot).is_err() {
        assert_eq!(index.revision(ORGANIZATION), -1);
        assert!(index.load(ORGANIZATION, 1, b"[]").is_ok());
    }
    let before = answers(&index, now_ms);
    if index.apply(ORGANIZATION, 2, record).is_err() {
        assert_eq!(index.revision(ORGANIZATION), 1);
        assert_eq!(answers(&index, now_ms), before);
    }
    for (person, door) in pairs() {
        let decision = index.check(ORGANIZATION, person, door, now_ms);
        let told = index.explain(ORGANIZATION, person, door, now_ms);
        assert_eq!(
            (told.allowed, told.reason),
            (decision.is_allowed(), decision.reason.as_str())
        );
    }
    for person in NAMES {
        let _ = index.doors_of(ORGANIZATION, person, now_ms, "", None, 10);
        let _ = index.check_role(ORGANIZATION, person, "grants.write", Some("a"), now_ms);
        let _ = index.authenticate(ORGANIZATION, person, now_ms, "s1");
    }
});

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES
        .into_iter()
        .flat_map(|person| NAMES.into_iter().map(move |door| (person, door)))
}

fn answers(index: &PermissionIndex, now_ms: i64) -> Vec<&'static str> {
    pairs()
        .map(|(person, door)| {
            index
                .check(ORGANIZATION, person, door, now_ms)
                .reason
                .as_str()
        })
        .collect()
}
