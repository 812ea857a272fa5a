//! What snapshots and change records bring in, and what they refuse.
#![allow(clippy::unwrap_used)]
mod organization;
use nexkey_permissions::{PermissionIndex, SnapshotError};
use organization::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOON: &str = "2026-11-23T11:00:00Z";

#[test]
fn revisions_only_grow_and_have_no_holes() {
    let index = loaded(&headquarters("UTC"));
    assert_eq!(
        index.apply("other", 1, b"[]"),
        Err(SnapshotError::OrganizationUnknown)
    );
    assert_eq!(
        index.apply(ORGANIZATION, 3, b"[]"),
        Err(SnapshotError::RevisionGap)
    );
    assert_eq!(index.apply(ORGANIZATION, 1, b"not even json"), Ok(false));
    assert_eq!(index.apply(ORGANIZATION, 2, b"[]"), Ok(true));
    assert_eq!(index.apply(ORGANIZATION, 2, b"[]"), Ok(false));
    assert_eq!(index.apply(ORGANIZATION, i64::MIN, b"[]"), Ok(false));
    assert_eq!(
        index.apply(ORGANIZATION, i64::MAX, b"[]"),
        Err(SnapshotError::RevisionGap)
    );
    assert_eq!(
        index.load(ORGANIZATION, 1, b"[]"),
        Err(SnapshotError::RevisionOld)
    );
    assert_eq!(
        index.load(ORGANIZATION, -1, b"[]"),
        Err(SnapshotError::SnapshotMalformed)
    );
    assert_eq!(index.revision(ORGANIZATION), 2);
    index.drop_organization(ORGANIZATION);
    assert_eq!(index.revision(ORGANIZATION), -1);
    assert_eq!(answer(&check(&index, NOON)).0, "stores_unavailable");
    assert_eq!(index.load(ORGANIZATION, 1, b"[]"), Ok(()));
}

/// A record that is wrong anywhere changes nothing, also not by the images before the wrong one.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn malformed_images_are_refused_whole() {
    let long = "a".repeat(65);
    let grant_of = |fields: Value| image("grant", "g1", fields);
    let wrong = [
        json!({"kind": "person"}),
        json!([]),
        json!({"kind": "person", "id": "anna"}),
        json!({"kind": "castle", "id": "x", "document": null}),
        json!({"kind": "organization", "id": "other", "document": {"active": true}}),
        image("person", "Anna", Value::Null),
        image("person", &long, Value::Null),
        image(
            "person",
            "anna",
            json!({"state": "active", "valid_until": null, "groups": [], "tokens_valid_after": 0}),
        ),
        image(
            "person",
            "anna",
            json!({"state": "happy", "valid_from": null, "valid_until": null, "groups": [], "tokens_valid_after": 0}),
        ),
        image(
            "person",
            "anna",
            json!({"state": "active", "valid_from": 1.5, "valid_until": null, "groups": [], "tokens_valid_after": 0}),
        ),
        image(
            "door",
            "front",
            json!({"site": "hq", "area": null, "mode": "ajar", "locked_down": false}),
        ),
        image(
            "door",
            "front",
            json!({"site": "hq", "area": null, "mode": "locked"}),
        ),
        image("site", "hq", json!({"time_zone": "UTC"})),
        image(
            "device",
            "lock1",
            json!({"active": true, "public_key": "AAAA"}),
        ),
        image("calendar", "c1", json!({"dates": ["2026-02-30"]})),
        image(
            "schedule",
            "s1",
            json!({"windows": [{"start": "08:00", "end": "18:00"}], "calendar": null, "exceptions": []}),
        ),
        image(
            "schedule",
            "s1",
            json!({"windows": [{"days": ["monday"], "start": "08:00", "end": "18:00"}], "calendar": null, "exceptions": []}),
        ),
        image(
            "schedule",
            "s1",
            json!({"windows": [], "calendar": null, "exceptions": [{"date": "24.12.2026", "windows": []}]}),
        ),
        grant_of(
            json!({"effect": "allow", "door": "front", "schedule": null, "valid_from": null, "valid_until": null}),
        ),
        grant_of(
            json!({"effect": "allow", "person": "anna", "group": "staff", "door": "front", "schedule": null, "valid_from": null, "valid_until": null}),
        ),
        grant_of(
            json!({"effect": "allow", "person": "anna", "schedule": null, "valid_from": null, "valid_until": null}),
        ),
        grant_of(
            json!({"effect": "allow", "person": "anna", "door": "front", "valid_from": null, "valid_until": null}),
        ),
        grant_of(
            json!({"effect": "allow", "person": "anna", "door": "front", "schedule": null, "valid_from": null}),
        ),
        grant_of(
            json!({"effect": "perhaps", "person": "anna", "door": "front", "schedule": null, "valid_from": null, "valid_until": null}),
        ),
        tombstone("session", "s1"),
        image("session", "s1", json!({"ended_at": 100})),
        image("session", "s1", json!({"forget_at": 100})),
        image("session", "s1", json!({"ended_at": 100, "forget_at": 100})),
        image("session", "s1", json!({"ended_at": -1, "forget_at": 100})),
        image("session", "S1", json!({"ended_at": 100, "forget_at": 200})),
        api_key("k1", json!({"scopes": null})),
        api_key("k1", json!({"scopes": ["persons.read", "owner"]})),
        api_key("k1", json!({"sites": ["Not An Id"]})),
        api_key("k1", json!({"expires_at": null})),
        api_key("k1", json!({"expires_at": "soon"})),
        api_key("k1", json!({"active": null})),
        api_key("k1", json!({"secrets": []})),
        api_key(
            "k1",
            json!({"secrets": [secret("a", None), secret("b", None), secret("c", None)]}),
        ),
        api_key("k1", json!({"secrets": [{"hash": "ab", "ends_at": null}]})),
        api_key(
            "k1",
            json!({"secrets": [{"hash": "G".repeat(64), "ends_at": null}]}),
        ),
        api_key(
            "k1",
            json!({"secrets": [{"hash": "A".repeat(64), "ends_at": null}]}),
        ),
        api_key("k1", json!({"secrets": [{"hash": "a".repeat(64)}]})),
        without(api_key("k1", json!({})), "sites"),
        without(api_key("k1", json!({})), "active"),
        without(api_key("k1", json!({})), "expires_at"),
        without(api_key("k1", json!({})), "secrets"),
    ];
    let index = loaded(&headquarters("UTC"));
    for image in wrong {
        let images = bytes(&[
            grant("g1", "allow", ("person", "anna"), ("door", "front"), None),
            image.clone(),
        ]);
        assert_eq!(
            index.apply(ORGANIZATION, 2, &images),
            Err(SnapshotError::ChangeMalformed),
            "{image}"
        );
        assert_eq!(
            index.load(ORGANIZATION, 2, &images),
            Err(SnapshotError::SnapshotMalformed),
            "{image}"
        );
        assert_eq!(answer(&check(&index, NOON)), ("no_grant", None), "{image}");
    }
    for text in [
        "",
        "{}",
        "null",
        "[",
        "[}",
        "\u{0}",
        &"[".repeat(100_000),
        &"{\"kind\":".repeat(100_000),
    ] {
        assert_eq!(
            index.apply(ORGANIZATION, 2, text.as_bytes()),
            Err(SnapshotError::ChangeMalformed)
        );
    }
    assert_eq!(
        index.apply(ORGANIZATION, 2, &vec![b' '; (16 << 20) + 1]),
        Err(SnapshotError::ChangeMalformed)
    );
    assert_eq!(index.revision(ORGANIZATION), 1);
}

#[test]
fn doors_and_devices_are_known_by_their_records() {
    let mut images = headquarters("UTC");
    images.push(image(
        "device",
        "lock1",
        json!({"kind": "lock", "door": "front", "public_key": "A".repeat(43), "active": true}),
    ));
    let index = loaded(&images);
    let door = index.door(ORGANIZATION, "front").unwrap();
    assert_eq!(
        (
            &*door.name,
            door.site.as_str(),
            door.area.as_ref().unwrap().as_str(),
            door.lock.as_ref().unwrap().as_str()
        ),
        ("Front", "hq", "lobby", "lock1")
    );
    let device = index.device(ORGANIZATION, "lock1").unwrap();
    assert_eq!(
        (
            device.public_key,
            device.active,
            device.door.as_ref().unwrap().as_str()
        ),
        ([0; 32], true, "front")
    );
    assert!(index.door(ORGANIZATION, "back").is_none() && index.device("other", "lock1").is_none());
    index
        .apply(
            ORGANIZATION,
            2,
            &bytes(&[tombstone("device", "lock1"), tombstone("door", "front")]),
        )
        .unwrap();
    assert!(
        index.door(ORGANIZATION, "front").is_none()
            && index.device(ORGANIZATION, "lock1").is_none()
    );
}

proptest! {
    /// Whatever arrives, nothing panics and no garbage opens a door.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), now_ms in any::<i64>()) {
        let index = PermissionIndex::new();
        let _ = index.load(ORGANIZATION, 1, &bytes);
        let _ = index.apply(ORGANIZATION, 2, &bytes);
        prop_assert!(!index.check(ORGANIZATION, "anna", "front", now_ms).is_allowed());
    }

    /// Any instant an integer can hold has an answer.
    #[test]
    fn any_instant_has_an_answer(now_ms in any::<i64>()) {
        let mut images = headquarters("America/St_Johns");
        images.push(schedule("hours", &["mon"], "22:00", "06:00"));
        images.push(grant("g1", "allow", ("group", "staff"), ("area", "lobby"), Some("hours")));
        let index = loaded(&images);
        let reason = index.check(ORGANIZATION, "anna", "front", now_ms).reason.as_str();
        prop_assert!(["granted", "outside_schedule"].contains(&reason));
        prop_assert_eq!(index.explain(ORGANIZATION, "anna", "front", now_ms).reason, reason);
    }
}
