//! Whoever followed the changes answers what a process does that loads the end: also where a change was taken to touch nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod organization;
use nexkey_permissions::{PermissionIndex, Question};
use organization::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const GROUPS: [&str; 4] = ["all", "guards", "night", "staff"];
const DOORS: [&str; 3] = ["back", "front", "vault"];
const AREAS: [&str; 2] = ["lab", "lobby"];
const SITES: [&str; 2] = ["annex", "hq"];
const SCHEDULES: [&str; 2] = ["hours", "nights"];
const CALENDARS: [&str; 2] = ["feasts", "strikes"];
/// Monday; the day before has another answer under each of the schedules, and either may be a day of a calendar.
const MOMENTS: [&str; 3] = [
    "2026-11-22T11:00:00Z",
    "2026-11-23T11:00:00Z",
    "2026-11-23T23:00:00Z",
];

type Standing = BTreeMap<(String, String), Value>;

fn one_of(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(names)
}

fn any_group() -> impl Strategy<Value = Value> {
    let includes = prop::collection::vec(one_of(&GROUPS), 0..3);
    (one_of(&GROUPS), includes).prop_map(|(id, includes)| group(id, &includes))
}

fn any_grant() -> impl Strategy<Value = Value> {
    let effect = prop::sample::select(vec!["allow", "allow", "allow", "deny"]);
    let subject = prop_oneof![
        3 => one_of(&GROUPS).prop_map(|id| ("group", id)),
        1 => one_of(&GROUPS).prop_map(|id| ("person", id)),
    ];
    let place = prop_oneof![
        2 => one_of(&DOORS).prop_map(|id| ("door", id)),
        1 => one_of(&AREAS).prop_map(|id| ("area", id)),
        1 => one_of(&SITES).prop_map(|id| ("site", id)),
    ];
    let id = one_of(&["g1", "g2", "g3", "g4", "g5"]);
    (
        id,
        effect,
        subject,
        place,
        prop::option::of(one_of(&SCHEDULES)),
    )
        .prop_map(|(id, effect, subject, place, schedule)| {
            grant(id, effect, subject, place, schedule)
        })
}

fn any_place() -> impl Strategy<Value = Value> {
    prop_oneof![
        (
            one_of(&DOORS),
            one_of(&SITES),
            prop::option::of(one_of(&AREAS))
        )
            .prop_map(|(id, site, area)| {
                let mut door = door(id, "locked", false);
                door["document"]["site"] = json!(site);
                door["document"]["area"] = json!(area);
                door
            }),
        (one_of(&AREAS), any::<bool>()).prop_map(|(id, locked_down)| area(id, locked_down)),
        (one_of(&SITES), any::<bool>()).prop_map(|(id, locked_down)| site(id, "UTC", locked_down)),
    ]
}

fn any_time() -> impl Strategy<Value = Value> {
    let days = prop::collection::vec(one_of(&["2026-11-22", "2026-11-23", "2026-12-25"]), 0..3);
    prop_oneof![
        (one_of(&CALENDARS), days).prop_map(|(id, dates)| image(
            "calendar",
            id,
            json!({"dates": dates})
        )),
        (
            one_of(&SCHEDULES),
            any::<bool>(),
            prop::option::of(one_of(&CALENDARS))
        )
            .prop_map(|(id, by_day, calendar)| {
                let (start, end) = if by_day {
                    ("08:00", "18:00")
                } else {
                    ("22:00", "06:00")
                };
                let mut schedule = schedule(id, &["mon"], start, end);
                schedule["document"]["calendar"] = json!(calendar);
                schedule
            }),
    ]
}

/// An image: as it is drawn, as a tombstone, or of what stands the same again by another name.
#[derive(Clone, Debug)]
enum Step {
    Put(Value),
    Ended(Value),
    Renamed(prop::sample::Index),
}

fn any_step() -> impl Strategy<Value = Step> {
    let of_any_kind =
        || prop_oneof![3 => any_group(), 3 => any_grant(), 2 => any_place(), 1 => any_time()];
    prop_oneof![
        4 => of_any_kind().prop_map(Step::Put),
        1 => of_any_kind().prop_map(Step::Ended),
        3 => any::<prop::sample::Index>().prop_map(Step::Renamed),
    ]
}

/// The same decisions follow from it: only the name is another, and what is a set is told in another order, twice.
fn renamed(image: &Value) -> Value {
    let mut image = image.clone();
    let document: &mut Map<String, Value> = image["document"].as_object_mut().unwrap();
    document.insert("name".into(), json!("Renamed"));
    for set in ["includes", "dates"] {
        if let Some(names) = document.get_mut(set).and_then(Value::as_array_mut) {
            let again = names.clone();
            names.reverse();
            names.extend(again);
        }
    }
    image
}

fn begin() -> Standing {
    let mut images = vec![organization(true)];
    images.extend(GROUPS.map(|id| group(id, &[])));
    images.extend(GROUPS.map(|id| person(id, "active", &[id])));
    images.extend(SITES.map(|id| site(id, "UTC", false)));
    images.extend(AREAS.map(|id| area(id, false)));
    images.extend(DOORS.map(|id| door(id, "locked", false)));
    images.extend(SCHEDULES.map(|id| schedule(id, &["mon"], "08:00", "18:00")));
    let mut standing = Standing::new();
    for image in images {
        stand(&mut standing, image);
    }
    standing
}

fn stand(standing: &mut Standing, image: Value) {
    let text = |field: &str| image[field].as_str().unwrap().to_owned();
    let name = (text("kind"), text("id"));
    if image["document"].is_null() {
        standing.remove(&name);
    } else {
        standing.insert(name, image);
    }
}

fn record(steps: Vec<Step>, standing: &mut Standing) -> Vec<Value> {
    let mut images = Vec::new();
    for step in steps {
        let image = match step {
            Step::Put(image) => image,
            Step::Ended(image) => tombstone(
                image["kind"].as_str().unwrap(),
                image["id"].as_str().unwrap(),
            ),
            Step::Renamed(index) => {
                let all: Vec<Value> = standing.values().cloned().collect();
                renamed(index.get(&all))
            }
        };
        stand(standing, image.clone());
        images.push(image);
    }
    images
}

/// Every rule of every pair, and every list that is found the other way round. What only orders rules that say the same isn't told.
fn answers(index: &PermissionIndex) -> Vec<String> {
    let mut told = Vec::new();
    for now_ms in MOMENTS.map(at) {
        for person in GROUPS {
            for door in DOORS {
                let explained = index.explain(ORGANIZATION, person, door, now_ms).to_json();
                told.push(String::from_utf8(explained).unwrap());
            }
            let listed = index.doors_of(ORGANIZATION, person, now_ms, "", None, 10);
            told.push(format!("{person}: {listed:?}"));
        }
        for door in DOORS {
            let persons = index.persons_at(ORGANIZATION, door, now_ms, "", 10);
            told.push(format!("{door}: {persons:?}"));
        }
    }
    told
}

/// A preview that may ask of one pair is complete only when there is none to ask of.
fn touches(index: &PermissionIndex, image: &Value) -> bool {
    let question = Question {
        now_ms: at(MOMENTS[1]),
        sites: None,
        limit: 0,
        pairs_max: 1,
    };
    let images = bytes(std::slice::from_ref(image));
    let preview = index.preview(ORGANIZATION, 1, &images, question).unwrap();
    !preview.complete
}

#[test]
fn what_decides_nothing_touches_nothing() {
    let mut images: Vec<Value> = begin().into_values().collect();
    let calendar = |dates: Value| image("calendar", "feasts", json!({"dates": dates}));
    let mut hours = schedule("hours", &["mon"], "08:00", "18:00");
    hours["document"]["calendar"] = json!("feasts");
    images.extend([
        group("all", &["staff", "night"]),
        grant("g1", "allow", ("group", "all"), ("site", "hq"), None),
        grant(
            "g2",
            "allow",
            ("group", "staff"),
            ("door", "front"),
            Some("hours"),
        ),
        calendar(json!(["2026-12-25"])),
        hours,
    ]);
    let index = loaded(&images);
    for (image, expected) in [
        (renamed(&group("all", &["staff", "night"])), false),
        (group("all", &["night", "staff"]), false),
        (group("all", &["night"]), true),
        (group("all", &["staff", "night", "guards"]), true),
        (group("staff", &["guards"]), true),
        (tombstone("group", "staff"), true),
        (tombstone("group", "never"), false),
        (renamed(&calendar(json!(["2026-12-25"]))), false),
        (calendar(json!(["2026-12-26"])), true),
        (tombstone("calendar", "feasts"), true),
        (tombstone("calendar", "never"), false),
    ] {
        assert_eq!(touches(&index, &image), expected, "{image}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn who_followed_and_who_loaded_agree(records in prop::collection::vec(prop::collection::vec(any_step(), 1..5), 1..12)) {
        let mut standing = begin();
        let index = loaded(&standing.values().cloned().collect::<Vec<_>>());
        for (revision, steps) in (2..).zip(records) {
            let images = record(steps, &mut standing);
            prop_assert_eq!(index.apply(ORGANIZATION, revision, &bytes(&images)), Ok(true));
            let anew = PermissionIndex::new();
            let end: Vec<Value> = standing.values().cloned().collect();
            anew.load(ORGANIZATION, revision, &bytes(&end)).unwrap();
            prop_assert_eq!(answers(&index), answers(&anew), "after {:?}", images);
        }
    }
}
