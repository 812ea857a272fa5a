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

/// The hash of a secret, as an image has it; `which` is a hexadecimal digit.
pub fn secret(which: &str, ends_at: Option<i64>) -> Value {
    json!({"hash": which.repeat(64), "ends_at": ends_at})
}

/// A key with one secret ("a") that may read persons everywhere until 1,000; `changed` replaces fields.
pub fn api_key(id: &str, changed: Value) -> Value {
    let mut document = json!({
        "name": "Key", "scopes": ["persons.read"], "sites": null, "expires_at": 1_000, "active": true, "secrets": [secret("a", None)],
    });
    if let (Some(document), Some(changed)) = (document.as_object_mut(), changed.as_object()) {
        document.extend(changed.clone());
    }
    image("api_key", id, document)
}

/// The image without a field of its document.
pub fn without(mut image: Value, field: &str) -> Value {
    let document = image.get_mut("document").and_then(Value::as_object_mut);
    document.unwrap().remove(field);
    image
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

/// The document of an image as it stands in the store: BSON (bsonspec.org), with what it is found by.
pub fn stored(image: &Value) -> Vec<u8> {
    stored_of(ORGANIZATION, image)
}

/// The same, of any organization.
pub fn stored_of(organization: &str, image: &Value) -> Vec<u8> {
    let id = image["id"].as_str().unwrap();
    let mut fields = vec![
        ("_id".to_owned(), json!(format!("{organization}:{id}"))),
        ("org".to_owned(), json!(organization)),
        ("id".to_owned(), json!(id)),
        (
            "listed".to_owned(),
            json!([format!("{organization}:at=hq")]),
        ),
    ];
    let document = image["document"].as_object().cloned().unwrap_or_default();
    fields.extend(document);
    bson_fields(fields.iter().map(|(name, value)| (name.as_str(), value)))
}

fn bson_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a Value)>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let (kind, bytes) = bson_value(value);
        body.push(kind);
        body.extend(name.bytes().chain([0]));
        body.extend(bytes);
    }
    let length = i32::try_from(body.len() + 5).unwrap();
    length
        .to_le_bytes()
        .into_iter()
        .chain(body)
        .chain([0])
        .collect()
}

fn bson_value(value: &Value) -> (u8, Vec<u8>) {
    match value {
        Value::Null => (0x0A, Vec::new()),
        Value::Bool(value) => (0x08, vec![u8::from(*value)]),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => i32::try_from(whole).map_or_else(
                |_| (0x12, whole.to_le_bytes().to_vec()),
                |short| (0x10, short.to_le_bytes().to_vec()),
            ),
            (None, fraction) => (0x01, fraction.unwrap().to_le_bytes().to_vec()),
        },
        Value::String(text) => {
            let length = i32::try_from(text.len() + 1).unwrap();
            (
                0x02,
                length
                    .to_le_bytes()
                    .into_iter()
                    .chain(text.bytes())
                    .chain([0])
                    .collect(),
            )
        }
        Value::Array(items) => {
            let names: Vec<String> = (0..items.len()).map(|number| number.to_string()).collect();
            (
                0x04,
                bson_fields(names.iter().map(String::as_str).zip(items)),
            )
        }
        Value::Object(fields) => (
            0x03,
            bson_fields(fields.iter().map(|(name, value)| (name.as_str(), value))),
        ),
    }
}
