//! Readers beside a writer: every answer comes from one whole revision.
#![allow(clippy::unwrap_used)]
mod organization;
use organization::*;
use std::sync::atomic::{AtomicBool, Ordering};

const REVISIONS: i64 = 1_500;

/// Odd revisions: Anna is a day guard and the day guards are let in. Even ones: the night guards. Each record changes the
/// person, then the grants and the door's lockdown, so a reader between two images of a record would be refused.
fn record(revision: i64) -> Vec<u8> {
    let (now, before) = if revision % 2 == 0 {
        ("night", "day")
    } else {
        ("day", "night")
    };
    let back_locked = revision % 2 == 0;
    bytes(&[
        tombstone("grant", before),
        person("anna", "active", &[now]),
        door("back", "locked", back_locked),
        door("side", "locked", !back_locked),
        grant(now, "allow", ("group", now), ("area", "lobby"), None),
    ])
}

#[test]
fn no_reader_sees_half_a_record() {
    let mut images = headquarters("Europe/Berlin");
    images.extend([
        group("day", &[]),
        group("night", &[]),
        person("anna", "active", &["day"]),
        door("back", "locked", false),
        door("side", "locked", true),
    ]);
    images.push(grant(
        "day",
        "allow",
        ("group", "day"),
        ("area", "lobby"),
        None,
    ));
    let index = loaded(&images);
    let finished = AtomicBool::new(false);
    let answers: u64 = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| read_until(&index, &finished)))
            .collect();
        for revision in 2..=REVISIONS {
            assert_eq!(
                index.apply(ORGANIZATION, revision, &record(revision)),
                Ok(true)
            );
        }
        finished.store(true, Ordering::Release);
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum()
    });
    assert!(answers > 0);
    assert_eq!(index.revision(ORGANIZATION), REVISIONS);
}

fn read_until(index: &nexkey_permissions::PermissionIndex, finished: &AtomicBool) -> u64 {
    let (mut answers, mut last_revision) = (0, 0);
    while !finished.load(Ordering::Acquire) || answers == 0 {
        let decision = index.check(ORGANIZATION, "anna", "front", 0);
        let holder = if decision.revision % 2 == 0 {
            "night"
        } else {
            "day"
        };
        assert_eq!(
            answer(&decision),
            ("granted", Some(holder)),
            "revision {}",
            decision.revision
        );
        assert!(decision.revision >= last_revision, "a revision went back");
        last_revision = decision.revision;
        let listed = index.doors_of(ORGANIZATION, "anna", 0, "", None, 10);
        let open: Vec<bool> = listed
            .iter()
            .map(|(_, decision)| decision.is_allowed())
            .collect();
        assert!(
            open == [true, true, false] || open == [false, true, true],
            "{open:?}"
        );
        assert!(
            listed
                .windows(2)
                .all(|pair| pair.first().map(|first| first.1.revision)
                    == pair.last().map(|last| last.1.revision))
        );
        answers += 1;
    }
    answers
}

/// Loads, drops and changes from several threads: nothing hangs, and what is acknowledged last is there.
#[test]
fn writers_of_one_organization_take_turns() {
    let index = loaded(&headquarters("UTC"));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let next = index.revision(ORGANIZATION) + 1;
                    let _ = index.apply(ORGANIZATION, next, b"[]");
                    let _ = index.load(ORGANIZATION, next, &bytes(&headquarters("UTC")));
                    if next % 50 == 0 {
                        index.drop_organization(ORGANIZATION);
                    }
                }
            });
        }
    });
    index.drop_organization(ORGANIZATION);
    index
        .load(ORGANIZATION, 7, &bytes(&headquarters("UTC")))
        .unwrap();
    assert_eq!(index.apply(ORGANIZATION, 8, b"[]"), Ok(true));
}
