//! Snapshots that arrive as stored documents: the same as JSON in every answer and every refusal, and nothing by half.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod organization;
use nexkey_permissions::{PermissionIndex, SnapshotError, SnapshotLoad};
use organization::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOON: &str = "2026-11-23T11:00:00Z";
const KINDS: [&str; 10] = [
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
];

fn add(load: &mut SnapshotLoad, image: &Value) -> Result<usize, SnapshotError> {
    load.add(image["kind"].as_str().unwrap(), &stored(image))
}

fn loaded_as_documents(images: &[Value]) -> Result<PermissionIndex, SnapshotError> {
    let index = PermissionIndex::new();
    let mut load = index.begin_load(ORGANIZATION, 1)?;
    images
        .iter()
        .try_for_each(|image| add(&mut load, image).map(|_| ()))?;
    index.finish_load(load).map(|()| index)
}

fn loaded_as_json(images: &[Value]) -> Result<PermissionIndex, SnapshotError> {
    let index = PermissionIndex::new();
    index.load(ORGANIZATION, 1, &bytes(images)).map(|()| index)
}

/// Everything of every kind, so that each field is written and read once.
fn whole() -> Vec<Value> {
    let mut images = headquarters("Europe/Berlin");
    images.extend([
        image("device", "lock1", json!({"kind": "lock", "door": "front", "public_key": "A".repeat(43), "active": true})),
        image("calendar", "feasts", json!({"name": "Feasts", "dates": ["2026-12-25", "2026-11-24"]})),
        image("schedule", "hours", json!({
            "windows": [{"days": ["mon", "sun"], "start": "08:00", "end": "18:00"}], "calendar": "feasts",
            "holiday_windows": [{"start": "10:00", "end": "11:00"}], "exceptions": [{"date": "2026-12-31", "windows": []}],
        })),
        image("person", "ben", json!({
            "name": "Ben", "state": "active", "valid_from": 5, "valid_until": 4_102_444_800_000_i64, "groups": ["all", "staff"],
            "roles": [{"role": "reception", "sites": ["hq"]}, {"role": "auditor", "sites": null}], "tokens_valid_after": 7, "pin": "A".repeat(43),
        })),
        group("all", &["staff"]),
        grant("g1", "allow", ("group", "all"), ("area", "lobby"), Some("hours")),
        grant("g2", "deny", ("person", "ben"), ("site", "hq"), Some("hours")),
    ]);
    images
}

fn answers(index: &PermissionIndex) -> Vec<String> {
    let mut told = Vec::new();
    for instant in [
        "2026-11-23T11:00:00Z",
        "2026-11-24T09:30:00Z",
        "2026-11-24T15:00:00Z",
        "2026-11-29T23:00:00Z",
        "2026-12-31T11:00:00Z",
    ] {
        for person in ["anna", "ben", "staff"] {
            for door in ["front", "back"] {
                let explained = index.explain(ORGANIZATION, person, door, at(instant));
                told.push(String::from_utf8(explained.to_json()).unwrap());
            }
            let doors = index.doors_of(ORGANIZATION, person, at(instant), "", None, 10);
            told.push(format!(
                "{doors:?} {:?}",
                index.reach(ORGANIZATION, person, "grants.write", at(instant))
            ));
        }
    }
    told.push(format!("{:?}", index.device(ORGANIZATION, "lock1")));
    told.push(format!(
        "{:?} {:?}",
        index.authenticate(ORGANIZATION, "ben", 6, "s1"),
        index.authenticate(ORGANIZATION, "ben", 7, "s1")
    ));
    told
}

#[test]
fn documents_say_what_images_say() {
    let images = whole();
    let told = answers(&loaded_as_documents(&images).unwrap());
    assert_eq!(told, answers(&loaded_as_json(&images).unwrap()));
    assert!(
        told.iter().any(|answer| answer.contains("granted"))
            && told.iter().any(|answer| answer.contains("holiday"))
    );
}

#[test]
fn a_load_is_seen_when_it_is_finished_and_not_before() {
    let index = loaded(&headquarters("UTC"));
    let mut load = index.begin_load(ORGANIZATION, 5).unwrap();
    let mut images = headquarters("UTC");
    images.push(grant(
        "g1",
        "allow",
        ("person", "anna"),
        ("door", "front"),
        None,
    ));
    for image in &images {
        assert_eq!(add(&mut load, image), Ok(1));
        assert_eq!(
            (answer(&check(&index, NOON)), index.revision(ORGANIZATION)),
            (("no_grant", None), 1)
        );
    }
    index.finish_load(load).unwrap();
    assert_eq!(
        (answer(&check(&index, NOON)), index.revision(ORGANIZATION)),
        (("granted", Some("g1")), 5)
    );
}

#[test]
fn an_older_load_replaces_nothing() {
    let index = loaded(&headquarters("UTC"));
    let mut old = index.begin_load(ORGANIZATION, 1).unwrap();
    add(&mut old, &organization(false)).unwrap();
    index.apply(ORGANIZATION, 2, b"[]").unwrap();
    assert_eq!(index.finish_load(old), Err(SnapshotError::RevisionOld));
    assert_eq!(
        index.begin_load(ORGANIZATION, -1).map(|_| ()),
        Err(SnapshotError::SnapshotMalformed)
    );
    assert_eq!(
        (answer(&check(&index, NOON)), index.revision(ORGANIZATION)),
        (("no_grant", None), 2)
    );
}

/// Wherever a batch is cut off, the load is refused and stays refused; what is in memory stays.
#[test]
fn one_refused_batch_refuses_the_load() {
    let images = whole();
    let index = loaded(&headquarters("UTC"));
    for broken in &images {
        let (kind, document) = (broken["kind"].as_str().unwrap(), stored(broken));
        for end in 1..document.len() {
            let mut load = index.begin_load(ORGANIZATION, 2).unwrap();
            assert_eq!(
                load.add(kind, &document[..end]),
                Err(SnapshotError::SnapshotMalformed),
                "{kind} {end}"
            );
            assert_eq!(
                add(&mut load, &images[0]),
                Err(SnapshotError::SnapshotMalformed),
                "it is lost"
            );
            assert_eq!(
                index.finish_load(load),
                Err(SnapshotError::SnapshotMalformed)
            );
        }
    }
    assert_eq!(index.revision(ORGANIZATION), 1);
}

#[test]
fn what_has_ended_is_left_out_and_what_is_anothers_is_refused() {
    let index = PermissionIndex::new();
    let mut load = index.begin_load(ORGANIZATION, 1).unwrap();
    let mut ended = person("anna", "active", &[]);
    ended["document"]["ended_at"] = json!(12);
    let mut standing = person("ben", "active", &[]);
    standing["document"]["ended_at"] = json!(null);
    let batch = [stored(&ended), stored(&standing)].concat();
    assert_eq!(
        (load.add("person", &batch), load.add("person", &[])),
        (Ok(1), Ok(0))
    );
    add(&mut load, &organization(true)).unwrap();
    index.finish_load(load).unwrap();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 0, "s1"),
        Some("person_unknown")
    );
    assert_eq!(index.authenticate(ORGANIZATION, "ben", 0, "s1"), None);

    for owner in ["other", "acm", "acmee", ""] {
        let mut load = index.begin_load(ORGANIZATION, 2).unwrap();
        assert_eq!(
            load.add("person", &stored_of(owner, &standing)),
            Err(SnapshotError::SnapshotMalformed),
            "{owner}"
        );
    }
    let mut load = index.begin_load(ORGANIZATION, 2).unwrap();
    let mut foreign = organization(true);
    foreign["id"] = json!("other");
    assert_eq!(
        add(&mut load, &foreign),
        Err(SnapshotError::SnapshotMalformed)
    );
}

/// A role told as a list of its fields, and one value too many: neither way reads half of it.
#[test]
fn a_list_with_more_than_the_fields_is_refused_both_ways() {
    for (role, taken) in [
        (json!(["auditor", null]), true),
        (json!(["auditor", null, null]), false),
        (json!(["auditor"]), false),
    ] {
        let mut images = headquarters("UTC");
        images[4]["document"]["roles"] = json!([role]);
        assert_eq!(loaded_as_json(&images).is_ok(), taken, "{role}");
        assert_eq!(loaded_as_documents(&images).is_ok(), taken, "{role}");
    }
}

#[test]
fn a_batch_is_bounded() {
    let index = PermissionIndex::new();
    let mut load = index.begin_load(ORGANIZATION, 1).unwrap();
    let batch = stored(&person("anna", "active", &[])).repeat(400_000);
    assert!(batch.len() > 48 << 20);
    assert_eq!(
        load.add("person", &batch),
        Err(SnapshotError::SnapshotMalformed)
    );
}

/// Any JSON but numbers beyond 64 bits, which the store can't hold.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-9i64..9).prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        "[a-z\u{e4}\u{0}A_-]{0,5}".prop_map(Value::from),
        prop::sample::select(vec![
            "staff",
            "hq",
            "active",
            "locked",
            "mon",
            "08:00",
            "2026-12-25",
            "UTC"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                "(start|end|days|role|sites|date|windows|id|given_by|counts|pass|uses|x)",
                inner,
                0..4
            )
            .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A field of some document: taken away, replaced, or one inside of it.
fn change(images: &mut [Value], place: usize, field: usize, value: Option<Value>, inner: bool) {
    let image = &mut images[place];
    let Some(document) = image["document"].as_object_mut() else {
        return;
    };
    let names: Vec<String> = document.keys().cloned().chain(["extra".into()]).collect();
    let name = &names[field % names.len()];
    match (value, document.get_mut(name)) {
        (Some(value), Some(Value::Array(items))) if inner => items.push(value),
        (Some(value), _) => _ = document.insert(name.clone(), value),
        (None, _) => _ = document.remove(name),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever becomes of the documents, both ways take them or refuse them, and answer the same.
    #[test]
    fn both_ways_agree(changes in prop::collection::vec((any::<usize>(), any::<usize>(), prop::option::of(any_value()), any::<bool>()), 0..3)) {
        let mut images = whole();
        images.reverse(); // grants and schedules, which have most to get wrong, come first
        for (place, field, value, inner) in changes {
            let place = place % images.len();
            change(&mut images, place, field, value, inner);
        }
        // How a document is found and whether it ended is no part of an image.
        let named = images.iter().all(|image| image["document"].get("ended_at").is_none());
        prop_assume!(named);
        match (loaded_as_json(&images), loaded_as_documents(&images)) {
            (Ok(json), Ok(documents)) => prop_assert_eq!(answers(&json), answers(&documents)),
            (json, documents) => prop_assert_eq!(json.map(|_| ()), documents.map(|_| ())),
        }
    }

    /// Whatever arrives, nothing panics, and no garbage opens a door.
    #[test]
    fn arbitrary_bytes_never_panic(kind in prop::sample::select(KINDS.to_vec()), batch in prop::collection::vec(any::<u8>(), 0..200)) {
        let index = PermissionIndex::new();
        let mut load = index.begin_load(ORGANIZATION, 1).unwrap();
        let _ = load.add(kind, &batch);
        let _ = index.finish_load(load);
        prop_assert!(!check(&index, NOON).is_allowed());
    }

    /// Nor does anything that is almost right.
    #[test]
    fn changed_bytes_never_panic(place in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let images = whole();
        let image = place.get(&images);
        let mut document = stored(image);
        for (at, byte) in changes {
            let at = at.index(document.len());
            document[at] = byte;
        }
        let index = PermissionIndex::new();
        let mut load = index.begin_load(ORGANIZATION, 1).unwrap();
        let _ = load.add(image["kind"].as_str().unwrap(), &document);
        let _ = index.finish_load(load);
        let _ = answers(&index);
    }
}
