//! Sessions that have ended: void at once, for as long as a token of them can live, and no longer in memory.
#![allow(clippy::unwrap_used)]
mod organization;
use nexkey_permissions::PermissionIndex;
use organization::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn ended(id: &str, ended_at: i64, forget_at: i64) -> Value {
    image(
        "session",
        id,
        json!({"person": "anna", "ended_at": ended_at, "forget_at": forget_at}),
    )
}

fn stands(index: &PermissionIndex, session: &str) -> bool {
    match index.authenticate(ORGANIZATION, "anna", 500, session) {
        None => true,
        Some(code) => {
            assert_eq!(code, "token_revoked");
            false
        }
    }
}

fn apply(index: &PermissionIndex, images: &[Value]) {
    let next = index.revision(ORGANIZATION) + 1;
    assert_eq!(index.apply(ORGANIZATION, next, &bytes(images)), Ok(true));
}

#[test]
fn an_ended_session_is_void_and_no_other() {
    let index = loaded(&headquarters("UTC"));
    assert!(stands(&index, "s1"));
    apply(&index, &[ended("s1", 100, 460)]);
    assert!(!stands(&index, "s1"));
    assert!(stands(&index, "s2") && stands(&index, "") && stands(&index, "S1"));
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", i64::MAX, "s1"),
        Some("token_revoked"),
        "whenever the token was issued"
    );
    apply(&index, &[person("anna", "suspended", &[])]);
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 500, "s1"),
        Some("person_suspended")
    );
}

#[test]
fn a_later_end_forgets_what_is_due_by_then_and_nothing_else() {
    let index = loaded(&headquarters("UTC"));
    apply(&index, &[ended("s1", 100, 460), ended("s2", 101, 461)]);
    apply(&index, &[ended("s3", 459, 819)]);
    assert!(!stands(&index, "s1") && !stands(&index, "s2"));
    apply(&index, &[ended("s4", 460, 820)]);
    assert!(stands(&index, "s1"), "forgotten at 460");
    assert!(!stands(&index, "s2") && !stands(&index, "s3") && !stands(&index, "s4"));
}

#[test]
fn an_end_that_is_told_twice_is_never_shortened() {
    let index = loaded(&headquarters("UTC"));
    apply(&index, &[ended("s1", 100, 900)]);
    apply(&index, &[ended("s1", 100, 300)]);
    apply(&index, &[ended("s2", 400, 760)]);
    assert!(!stands(&index, "s1"));
    apply(&index, &[ended("s3", 900, 1_260)]);
    assert!(stands(&index, "s1"));
}

#[test]
fn a_snapshot_brings_the_ends_with_it_in_any_order() {
    let mut images = headquarters("UTC");
    images.extend([ended("s2", 500, 860), ended("s1", 100, 460)]);
    let index = loaded(&images);
    assert!(!stands(&index, "s2"));
    assert_eq!(index.apply(ORGANIZATION, 2, &bytes(&images)), Ok(true));
    assert!(!stands(&index, "s2"));
    index.drop_organization(ORGANIZATION);
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 500, "s9"),
        Some("stores_unavailable")
    );
}

proptest! {
    /// Against a plain list: whoever may still show a token of an ended session is refused, whatever ended in between.
    #[test]
    fn the_index_agrees_with_a_plain_list(ends in prop::collection::vec((0u8..12, 1i64..50, 1i64..200), 1..60)) {
        let index = loaded(&headquarters("UTC"));
        let mut plain: BTreeMap<String, i64> = BTreeMap::new();
        let mut now = 0;
        for (number, passed, kept) in ends {
            now += passed;
            let name = format!("s{number}");
            apply(&index, &[ended(&name, now, now + kept)]);
            plain.retain(|_, forget_at| *forget_at > now);
            let known = plain.entry(name).or_insert(now + kept);
            *known = (*known).max(now + kept);
            for number in 0..12 {
                let name = format!("s{number}");
                prop_assert_eq!(stands(&index, &name), !plain.contains_key(&name), "{} at {}", name, now);
            }
        }
    }
}
