//! However many connections are ended, no token that was decided before its cut opens another one while it lives.
#![allow(clippy::expect_used)]
use nexkey_tokens::{Claims, SubjectKind};

use super::*;

const LIFE_MS: i64 = 300_000;
const BEGAN_MS: i64 = 1_800_000_000_000;
const REMEMBERED: usize = 200;
const ORGANIZATIONS: usize = 3;

fn token(number: usize, revision: u64, issued_at_ms: i64) -> Identity {
    Identity::of(Claims {
        audience: "gateway".into(),
        organization: organization(number),
        subject: format!("p{number}"),
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

fn organization(number: usize) -> String {
    format!("org{}", number % ORGANIZATIONS)
}

fn as_i64(number: usize) -> i64 {
    i64::try_from(number).expect("few")
}

fn revision_of(number: usize) -> u64 {
    u64::try_from(number).expect("few")
}

/// Cuts one after the other, `every_ms`, each of somebody else, and after each of them every token of before that still lives.
fn missed(cuts: usize, every_ms: i64, issued_before_ms: i64) -> usize {
    let revocations = Revocations::remembering(REMEMBERED);
    let mut missed = 0;
    for number in 0..cuts {
        let now_ms = BEGAN_MS + every_ms * as_i64(number);
        let revision = revision_of(number) + 1;
        let subject = format!("p{number}");
        revocations.revoke(&organization(number), &subject, revision, now_ms);
        for earlier in 0..=number {
            let issued_at_ms = BEGAN_MS + every_ms * as_i64(earlier) - issued_before_ms;
            let old = token(earlier, revision_of(earlier), issued_at_ms);
            missed += usize::from(old.expires_at_ms > now_ms && !revocations.is_revoked(&old));
        }
        let fresh = token(number, revision, now_ms);
        assert!(
            !revocations.is_revoked(&fresh),
            "decided since, and still refused"
        );
    }
    missed
}

#[test]
fn no_token_of_before_its_cut_comes_in_however_many_are_cut() {
    for every_ms in [0, 1, 100, 700, 1_300, 1_700, 5_000] {
        for issued_before_ms in [-25_000, 0, 2_000, 299_000] {
            assert_eq!(
                missed(450, every_ms, issued_before_ms),
                0,
                "a cut each {every_ms} ms, tokens issued {issued_before_ms} ms before it"
            );
        }
    }
}

#[test]
fn whoever_was_not_cut_comes_in() {
    let revocations = Revocations::remembering(REMEMBERED);
    for number in (0..REMEMBERED * ORGANIZATIONS).step_by(ORGANIZATIONS) {
        revocations.revoke("org0", &format!("p{number}"), 9, BEGAN_MS);
    }
    assert!(revocations.is_revoked(&token(3, 8, BEGAN_MS)));
    assert!(!revocations.is_revoked(&token(3, 9, BEGAN_MS)));
    assert!(!revocations.is_revoked(&token(REMEMBERED * ORGANIZATIONS, 1, BEGAN_MS)));
    revocations.revoke("org0", "one-too-many", 9, BEGAN_MS);
    assert!(
        revocations.is_revoked(&token(REMEMBERED * ORGANIZATIONS, 1, BEGAN_MS)),
        "one of those that aren't kept apart any more"
    );
    assert!(
        !revocations.is_revoked(&token(1, 1, BEGAN_MS)),
        "of another organization"
    );
}

#[test]
fn what_has_run_out_is_forgotten() {
    let revocations = Revocations::remembering(REMEMBERED);
    for number in 0..5 * REMEMBERED {
        let now_ms = BEGAN_MS + 2_000 * as_i64(number);
        revocations.revoke("org0", &format!("p{number}"), 9, now_ms);
        revocations.suspend(&format!("suspended{number}"), 9, now_ms);
        let uncut = token(ORGANIZATIONS * 5 * REMEMBERED, 1, now_ms);
        assert!(!revocations.is_revoked(&uncut), "they are few at any time");
    }
    let state = revocations.lock();
    assert!(state.subjects.len() <= REMEMBERED && state.organizations.len() <= REMEMBERED + 1);
}

#[test]
fn what_is_said_again_counts_from_then() {
    let revocations = Revocations::remembering(REMEMBERED);
    revocations.revoke("org0", "p0", 9, BEGAN_MS);
    revocations.revoke("org0", "p0", 8, BEGAN_MS + 200_000);
    for number in 1..2 * REMEMBERED {
        let now_ms = BEGAN_MS + 400_000 + as_i64(number);
        revocations.revoke("org1", &format!("p{number}"), 9, now_ms);
        assert!(revocations.is_revoked(&token(0, 8, now_ms - 1_000)));
    }
}
