//! The steps of `check` in their order, nesting of groups and days of a calendar, as the protocol says.
#![allow(clippy::unwrap_used)]
mod organization;
use nexkey_permissions::PermissionIndex;
use organization::*;
use serde_json::{Value, json};

const NOON: &str = "2026-11-23T11:00:00Z";

/// Everything that can refuse does; taking one obstacle away after the other shows the order.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
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
            "denied_by_rule", // nobody can say that it is closed
            Some("g9"),
        ),
        (vec![tombstone("grant", "g9")], "no_grant", None),
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

/// A door in no area that leads into one: what shuts the area, or keeps somebody out of it, holds there; what gives the area's own doors
/// doesn't.
#[test]
fn an_area_is_shut_at_the_doors_that_only_lead_into_it() {
    let leading = |area_of_door: Value, locked_down: bool| {
        let document = json!({
            "name": "front", "site": "hq", "area": area_of_door, "lock": null, "mode": "locked", "locked_down": locked_down,
            "enters": "vault",
        });
        image("door", "front", document)
    };
    let index = loaded(&headquarters("Europe/Berlin"));
    let asked = |revision: i64, images: &[Value]| {
        index.apply(ORGANIZATION, revision, &bytes(images)).unwrap();
        check(&index, NOON)
    };
    let (staff, on_area) = (("group", "staff"), ("area", "vault"));
    let given = grant("g1", "allow", staff, on_area, None);
    let images = [area("vault", false), leading(json!(null), false), given];
    assert_eq!(answer(&asked(2, &images)), ("no_grant", None));
    let images = [grant("g2", "allow", staff, ("door", "front"), None)];
    assert_eq!(answer(&asked(3, &images)), ("granted", Some("g2")));

    let shut = ("area_locked_down", Some("vault"));
    assert_eq!(answer(&asked(4, &[area("vault", true)])), shut);
    let images = [site("hq", "Europe/Berlin", true)];
    assert_eq!(answer(&asked(5, &images)), shut, "before the site");
    let images = [leading(json!("lobby"), false), area("lobby", true)];
    let own = ("area_locked_down", Some("lobby"));
    assert_eq!(answer(&asked(6, &images)), own, "its own area before it");
    let images = [
        site("hq", "Europe/Berlin", false),
        area("lobby", false),
        area("vault", false),
    ];
    assert_eq!(answer(&asked(7, &images)), ("granted", Some("g2")));

    let denied = ("denied_by_rule", Some("no"));
    for (revision, subject) in [(8, staff), (10, ("person", "anna"))] {
        let images = [grant("no", "deny", subject, on_area, None)];
        assert_eq!(answer(&asked(revision, &images)), denied);
        let images = [tombstone("grant", "no")];
        assert_eq!(answer(&asked(revision + 1, &images)).0, "granted");
    }
    let gone = [
        grant("no", "deny", staff, on_area, None),
        tombstone("area", "vault"),
    ];
    assert_eq!(
        answer(&asked(12, &gone)).0,
        "granted",
        "there is no such area"
    );
    assert_eq!(answer(&asked(13, &[area("vault", true)])), shut);
    let images = [leading(json!("vault"), false), area("vault", false)];
    assert_eq!(answer(&asked(14, &images)), denied, "its own area");
}
