//! However many connections are ended, no token that was decided before its cut opens another one while it lives.
use nexkey_tokens::{Claims, SubjectKind};

use super::*;

const LIFE_MS: i64 = 300_000;
const BEGAN_MS: i64 = 1_800_000_000_000;

fn token(subject: usize, revision: u64, issued_at_ms: i64) -> Identity {
    Identity::of(Claims {
        audience: "gateway".into(),
        organization: "acme".into(),
        subject: format!("p{subject}"),
        kind: SubjectKind::Person,
        session: "s".into(),
        key_id: "k".into(),
        issued_at_ms,
        expires_at_ms: issued_at_ms + LIFE_MS,
        topics: Vec::new(),
        revision,
    })
    .expect("names that may be in a key")
}

/// Cuts one after the other, `every_ms`, each of somebody else, and after each of them every token of before that still lives.
fn forgotten(cuts: usize, every_ms: i64, behind_ms: i64) -> usize {
    let revocations = Revocations::default();
    let mut missed = 0;
    for number in 0..cuts {
        let now_ms = BEGAN_MS + every_ms * i64::try_from(number).expect("few");
        let revision = u64::try_from(number + 1).expect("few");
        revocations.revoke("acme", &format!("p{number}"), revision, now_ms);
        for earlier in 0..=number {
            let cut_at_ms = BEGAN_MS + every_ms * i64::try_from(earlier).expect("few");
            let old = token(
                earlier,
                u64::try_from(earlier).expect("few"),
                cut_at_ms - behind_ms,
            );
            missed += usize::from(old.expires_at_ms > now_ms && !revocations.is_revoked(&old));
        }
    }
    missed
}

#[test]
fn what_is_forgotten_early_lets_no_older_token_in() {
    for every_ms in [1, 7, 100, 700, 1_300, 1_700, 5_000] {
        for behind_ms in [0, 2_000, 299_000] {
            assert_eq!(
                forgotten(450, every_ms, behind_ms),
                0,
                "a cut each {every_ms} ms, tokens issued {behind_ms} ms before it"
            );
        }
    }
}

#[test]
fn a_clock_that_is_ahead_by_less_than_is_reckoned_with_makes_no_difference() {
    for every_ms in [1, 100, 1_300] {
        assert_eq!(forgotten(450, every_ms, 1 - CLOCKS_MS), 0);
    }
}

#[test]
fn whoever_was_not_cut_comes_in_while_there_are_few() {
    let revocations = Revocations::default();
    for number in 0..REMEMBERED_MAX {
        let now_ms = BEGAN_MS + i64::try_from(number).expect("few");
        revocations.revoke("acme", &format!("p{number}"), 9, now_ms);
        assert!(!revocations.is_revoked(&token(number, 9, now_ms - 1_000)));
        assert!(revocations.is_revoked(&token(number, 8, now_ms)));
    }
    assert!(!revocations.is_revoked(&token(REMEMBERED_MAX, 1, BEGAN_MS - LIFE_MS)));
}

#[test]
fn after_much_was_forgotten_a_fresh_token_comes_in_again() {
    let revocations = Revocations::default();
    for number in 0..3 * REMEMBERED_MAX {
        revocations.revoke("acme", &format!("p{number}"), 9, BEGAN_MS);
    }
    assert!(
        revocations.is_revoked(&token(0, 9, BEGAN_MS)),
        "it may be one that was forgotten"
    );
    assert!(!revocations.is_revoked(&token(0, 9, BEGAN_MS + CLOCKS_MS)));
}
