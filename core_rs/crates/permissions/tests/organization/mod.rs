//! A small organization as JSON, for the tests of this folder.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "documents are written in place"
)]
use jiff::Timestamp;
use nexkey_permissions::{Decision, PermissionIndex};
use serde_json::{Value, json};

pub const ORGANIZATION: &str = "acme";

pub fn image(kind: &str, id: &str, document: Value) -> Value {
    json!({"kind": kind, "id": id, "document": document})
}

pub fn site(id: &str, time_zone: &str, locked_down: bool) -> Value {
    image(
        "site",
        id,
        json!({"time_zone": time_zone, "locked_down": locked_down}),
    )
}

pub fn area(id: &str, locked_down: bool) -> Value {
    image(
        "area",
        id,
        json!({"site": "hq", "locked_down": locked_down}),
    )
}

pub fn door(id: &str, mode: &str, locked_down: bool) -> Value {
    let document = json!({"name": "Front", "site": "hq", "area": "lobby", "lock": "lock1", "mode": mode, "locked_down": locked_down});
    image("door", id, document)
}

pub fn person(id: &str, state: &str, groups: &[&str]) -> Value {
    let document = json!({"state": state, "valid_from": null, "valid_until": null, "groups": groups, "roles": [], "tokens_valid_after": 0});
    image("person", id, document)
}

pub fn group(id: &str, includes: &[&str]) -> Value {
    image("group", id, json!({"includes": includes}))
}

pub fn schedule(id: &str, days: &[&str], start: &str, end: &str) -> Value {
    let windows = json!([{"days": days, "start": start, "end": end}]);
    image(
        "schedule",
        id,
        json!({"windows": windows, "calendar": null, "holiday_windows": [], "exceptions": []}),
    )
}

pub fn grant(
    id: &str,
    effect: &str,
    subject: (&str, &str),
    place: (&str, &str),
    schedule: Option<&str>,
) -> Value {
    let document = json!({
        "effect": effect, subject.0: subject.1, place.0: place.1, "schedule": schedule, "valid_from": null, "valid_until": null,
    });
    image("grant", id, document)
}

pub fn tombstone(kind: &str, id: &str) -> Value {
    image(kind, id, Value::Null)
}

pub fn organization(active: bool) -> Value {
    image("organization", ORGANIZATION, json!({"active": active}))
}

/// Anna of the staff at the front door of the headquarters in a zone; nothing is granted yet.
pub fn headquarters(time_zone: &str) -> Vec<Value> {
    vec![
        organization(true),
        site("hq", time_zone, false),
        area("lobby", false),
        door("front", "locked", false),
        person("anna", "active", &["staff"]),
        group("staff", &[]),
    ]
}

pub fn bytes(images: &[Value]) -> Vec<u8> {
    serde_json::to_vec(images).unwrap()
}

pub fn loaded(images: &[Value]) -> PermissionIndex {
    let index = PermissionIndex::new();
    index.load(ORGANIZATION, 1, &bytes(images)).unwrap();
    index
}

pub fn at(instant: &str) -> i64 {
    instant.parse::<Timestamp>().unwrap().as_millisecond()
}

pub fn check(index: &PermissionIndex, instant: &str) -> Decision {
    index.check(ORGANIZATION, "anna", "front", at(instant))
}

/// Reason and rule, for short comparisons.
pub fn answer(decision: &Decision) -> (&'static str, Option<&str>) {
    (
        decision.reason.as_str(),
        decision
            .rule
            .as_ref()
            .map(nexkey_permissions::Identifier::as_str),
    )
}
