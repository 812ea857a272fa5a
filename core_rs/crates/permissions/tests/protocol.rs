//! The steps of `check` in their order, roles, tokens, and what snapshots and records refuse, as the protocol says.
#![allow(clippy::unwrap_used)]
mod organization;
use nexkey_permissions::{PermissionIndex, SnapshotError};
use organization::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOON: &str = "2026-11-23T11:00:00Z";

/// Everything that can refuse does; taking one obstacle away after the other shows the order.
#[test]
fn the_first_step_that_refuses_is_the_reason() {
    let index = PermissionIndex::new();
    assert_eq!(answer(&check(&index, NOON)), ("stores_unavailable", None));
    assert_eq!(check(&index, NOON).revision, -1);
    let bounded = |from: Value, until: Value| {
        let document = json!({"state": "active", "valid_from": from, "valid_until": until, "groups": ["staff"], "roles": [], "tokens_valid_after": 0});
        image("person", "anna", document)
    };
    let noon = at(NOON);
    let allow = |from: Value, until: Value, schedule: Value| {
        image(
            "grant",
            "g2",
            json!({"effect": "allow", "group": "staff", "area": "lobby", "schedule": schedule, "valid_from": from, "valid_until": until}),
        )
    };
    let with_calendar =
        json!({"windows": [], "calendar": "feasts", "holiday_windows": [], "exceptions": []});
    let steps: Vec<(Vec<Value>, &str, Option<&str>)> = vec![
        (vec![organization(false)], "organization_suspended", None),
        (vec![organization(true)], "unknown_credential", None),
        (
            vec![person("anna", "suspended", &["staff"])],
            "door_unknown",
            None,
        ),
        (
            vec![
                site("hq", "Europe/Berlin", true),
                area("lobby", true),
                door("front", "unlocked", true),
            ],
            "door_locked_down",
            Some("front"),
        ),
        (
            vec![door("front", "unlocked", false)],
            "area_locked_down",
            Some("lobby"),
        ),
        (vec![area("lobby", false)], "site_locked_down", Some("hq")),
        (
            vec![site("hq", "Europe/Berlin", false)],
            "person_suspended",
            None,
        ),
        (
            vec![bounded(json!(noon + 1), json!(null))],
            "not_yet_valid",
            None,
        ),
        (vec![bounded(json!(null), json!(noon))], "expired", None),
        (
            vec![bounded(json!(noon), json!(noon + 1))],
            "granted",
            Some("front"),
        ),
        (
            vec![grant(
                "g9",
                "deny",
                ("person", "anna"),
                ("site", "hq"),
                None,
            )],
            "granted",
            Some("front"),
        ),
        (
            vec![door("front", "locked", false)],
            "denied_by_rule",
            Some("g9"),
        ),
        (
            vec![grant(
                "g9",
                "deny",
                ("person", "anna"),
                ("site", "hq"),
                Some("nowhere"),
            )],
            "no_grant",
            None,
        ),
        (
            vec![allow(json!(null), json!(noon), json!(null))],
            "no_grant",
            None,
        ), // the group doesn't exist yet
        (vec![group("staff", &[])], "expired", Some("g2")),
        (
            vec![allow(json!(noon + 1), json!(null), json!(null))],
            "not_yet_valid",
            Some("g2"),
        ),
        (
            vec![allow(json!(noon), json!(noon + 1), json!("hours"))],
            "outside_schedule",
            Some("hours"),
        ),
        (
            vec![image("schedule", "hours", with_calendar)],
            "outside_schedule",
            Some("hours"),
        ),
        (
            vec![image(
                "calendar",
                "feasts",
                json!({"dates": ["2026-11-23"]}),
            )],
            "holiday",
            Some("hours"),
        ),
        (
            vec![schedule("hours", &["mon"], "12:00", "12:01")],
            "granted",
            Some("g2"),
        ),
        (
            vec![grant(
                "g1",
                "allow",
                ("person", "anna"),
                ("door", "front"),
                None,
            )],
            "granted",
            Some("g1"),
        ),
        (
            vec![site("hq", "Mars/Olympus", false), tombstone("grant", "g1")],
            "outside_schedule",
            Some("hours"),
        ),
        (
            vec![tombstone("organization", ORGANIZATION)],
            "organization_suspended",
            None,
        ),
    ];
    index.load(ORGANIZATION, 0, b"[]").unwrap();
    assert_eq!(
        answer(&check(&index, NOON)),
        ("organization_suspended", None)
    );
    for (revision, (images, reason, rule)) in (1..).zip(steps) {
        assert_eq!(
            index.apply(ORGANIZATION, revision, &bytes(&images)),
            Ok(true)
        );
        let decision = check(&index, NOON);
        assert_eq!(
            (answer(&decision), decision.revision),
            ((reason, rule), revision),
            "after {images:?}"
        );
    }
}

#[test]
fn nested_groups_reach_through_cycles_and_end_at_missing_links() {
    let mut images = headquarters("UTC");
    images.push(group("all", &["middle"]));
    images.push(grant("g1", "allow", ("group", "all"), ("site", "hq"), None));
    let index = loaded(&images);
    assert_eq!(answer(&check(&index, NOON)).0, "no_grant");
    index
        .apply(
            ORGANIZATION,
            2,
            &bytes(&[group("middle", &["staff", "all"])]),
        )
        .unwrap();
    assert_eq!(answer(&check(&index, NOON)).0, "granted");
    index
        .apply(
            ORGANIZATION,
            3,
            &bytes(&[group("staff", &["staff", "all"])]),
        )
        .unwrap();
    assert_eq!(answer(&check(&index, NOON)).0, "granted");
    index
        .apply(ORGANIZATION, 4, &bytes(&[tombstone("group", "middle")]))
        .unwrap();
    assert_eq!(answer(&check(&index, NOON)).0, "no_grant");
}

#[test]
fn an_exception_replaces_holiday_and_week_and_nights_belong_to_their_first_day() {
    let mut images = headquarters("UTC");
    let window = |start: &str, end: &str| json!([{"start": start, "end": end}]);
    let document = json!({
        "windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "22:00", "end": "06:00"}], "calendar": "feasts",
        "holiday_windows": window("10:00", "11:00"), "exceptions": [{"date": "2026-12-24", "windows": window("12:00", "13:00")}],
    });
    images.push(image("schedule", "night", document));
    images.push(image(
        "calendar",
        "feasts",
        json!({"dates": ["2026-12-24", "2026-12-25"]}),
    ));
    images.push(grant(
        "g1",
        "allow",
        ("person", "anna"),
        ("door", "front"),
        Some("night"),
    ));
    let index = loaded(&images);
    for (instant, reason) in [
        ("2026-12-23T23:00:00Z", "granted"), // Wednesday's night
        ("2026-12-24T05:59:59Z", "granted"), // still Wednesday's
        ("2026-12-24T06:00:00Z", "holiday"),
        ("2026-12-24T10:30:00Z", "holiday"), // the exception took the holiday's window
        ("2026-12-24T12:30:00Z", "granted"),
        ("2026-12-24T23:00:00Z", "holiday"), // and Thursday's night
        ("2026-12-25T05:00:00Z", "holiday"),
        ("2026-12-25T10:30:00Z", "granted"),
        ("2026-12-28T05:00:00Z", "outside_schedule"), // Sunday has no night
        ("2026-12-28T22:00:00Z", "granted"),
    ] {
        assert_eq!(answer(&check(&index, instant)).0, reason, "{instant}");
    }
}

#[test]
fn roles_hold_where_they_are_given() {
    let with_roles = |roles: Value| {
        image(
            "person",
            "anna",
            json!({"state": "active", "valid_from": null, "valid_until": null, "groups": [], "roles": roles, "tokens_valid_after": 0}),
        )
    };
    let index = loaded(&[
        organization(true),
        with_roles(
            json!([{"role": "site_manager", "sites": ["hq"]}, {"role": "auditor", "sites": null}]),
        ),
    ]);
    let ask = |permission: &str, site: Option<&str>| {
        index.check_role(ORGANIZATION, "anna", permission, site)
    };
    assert_eq!(
        answer(&ask("grants.write", Some("hq"))),
        ("granted", Some("site_manager"))
    );
    assert_eq!(
        answer(&ask("grants.write", Some("lab"))),
        ("role_missing", None)
    );
    assert_eq!(answer(&ask("grants.write", None)), ("role_missing", None));
    assert_eq!(
        answer(&ask("events.read", None)),
        ("granted", Some("auditor"))
    );
    assert_eq!(
        answer(&ask("devices.write", Some("hq"))),
        ("role_missing", None)
    );
    assert_eq!(
        answer(&index.check_role(ORGANIZATION, "ben", "events.read", None)),
        ("unknown_credential", None)
    );
    assert_eq!(
        answer(&index.check_role("other", "anna", "events.read", None)),
        ("stores_unavailable", None)
    );
    for (role, permission, allowed) in [
        ("owner", "anything.write", true),
        ("admin", "devices.write", true),
        ("reception", "persons.read", true),
        ("reception", "persons.write", false),
        ("auditor", "grants.write", false),
        ("installer", "devices.write", true),
        ("installer", "events.read", false),
        ("janitor", "doors.read", false),
    ] {
        let index = loaded(&[
            organization(true),
            with_roles(json!([{"role": role, "sites": null}])),
        ]);
        assert_eq!(
            index
                .check_role(ORGANIZATION, "anna", permission, None)
                .is_allowed(),
            allowed,
            "{role} {permission}"
        );
    }
    let suspended = loaded(&[organization(true), person("anna", "suspended", &[])]);
    assert_eq!(
        answer(&suspended.check_role(ORGANIZATION, "anna", "doors.read", None)),
        ("person_suspended", None)
    );
}

#[test]
fn a_token_stands_until_it_is_cut() {
    let index = PermissionIndex::new();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 5),
        Some("stores_unavailable")
    );
    let cut = json!({"state": "active", "valid_from": null, "valid_until": null, "groups": [], "roles": [], "tokens_valid_after": 1_000});
    index
        .load(
            ORGANIZATION,
            1,
            &bytes(&[organization(true), image("person", "anna", cut)]),
        )
        .unwrap();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 999),
        Some("token_revoked")
    );
    assert_eq!(index.authenticate(ORGANIZATION, "anna", 1_000), None);
    assert_eq!(
        index.authenticate(ORGANIZATION, "ben", 1_000),
        Some("person_unknown")
    );
    index
        .apply(ORGANIZATION, 2, &bytes(&[person("anna", "suspended", &[])]))
        .unwrap();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 1_000),
        Some("person_suspended")
    );
    index
        .apply(ORGANIZATION, 3, &bytes(&[organization(false)]))
        .unwrap();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 1_000),
        Some("organization_suspended")
    );
}

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
