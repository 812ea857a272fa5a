//! Arbitrary bytes as stored documents of one kind after the other, then every question about what came of them.
//!
//! The first byte names the kind and the second cuts the input in two batches. Nothing may panic or hang, a load that was refused must
//! leave no trace, and what wasn't refused must be taken in as it is, whatever was added before.
#![no_main]
use libfuzzer_sys::fuzz_target;
use nexkey_permissions::PermissionIndex;

const ORGANIZATION: &str = "acme";
const KINDS: [&str; 12] = [
    "organization",
    "site",
    "area",
    "door",
    "device",
    "person",
    "group",
    "schedule",
    "calendar",
    "grant",
    "session",
    "api_key",
];
const NAMES: [&str; 4] = ["a", "b", "anna", "front"];

fuzz_target!(|input: &[u8]| {
    let [kind, cut, batches @ ..] = input else {
        return;
    };
    let first = usize::from(*kind) % KINDS.len();
    let (one, other) = batches.split_at(batches.len() * usize::from(*cut) / 255);
    let index = PermissionIndex::new();
    let Ok(mut load) = index.begin_load(ORGANIZATION, 1) else {
        panic!("1 is a revision");
    };
    let added = load.add(KINDS[first], one).is_ok()
        && load.add(KINDS[(first + 1) % KINDS.len()], other).is_ok();
    assert_eq!(index.revision(ORGANIZATION), -1);
    assert_eq!(index.finish_load(load).is_ok(), added);
    assert_eq!(index.revision(ORGANIZATION), if added { 1 } else { -1 });
    for person in NAMES {
        for door in NAMES {
            let decision = index.check(ORGANIZATION, person, door, 0);
            let told = index.explain(ORGANIZATION, person, door, 0);
            assert_eq!(
                (told.allowed, told.reason),
                (decision.is_allowed(), decision.reason.as_str())
            );
        }
        let _ = index.doors_of(ORGANIZATION, person, 0, "", None, 10);
        let _ = index.check_role(ORGANIZATION, person, "grants.write", Some("a"), 0);
        let _ = index.authenticate(ORGANIZATION, person, 0, "s1");
    }
});
