//! `settle` and `give_back` on records of any content: nothing panics, few rounds are enough, a refusal takes nothing, and what a grant
//! took can be given back.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that stops has found something"
)]
mod organization;
use nexkey_permissions::{
    Asking, Identifier, Moved, PermissionIndex, Reason, Record, Records, Settled, Taken, give_back,
    records_from_json, records_to_json,
};
use organization::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const CALLS_MAX: usize = 3;
const PERSONS: [&str; 4] = ["anna", "ben", "cara", "dora"];
const DOORS: [&str; 6] = ["gate", "exit", "pair", "early", "keypad", "everything"];
const PASSES: [&str; 3] = ["p1", "p2", "p3"];
const AREAS: [&str; 4] = ["soft", "hard", "timed", "few"];
const NOW_MS: i64 = 1_792_879_000_000;

fn asking_door(id: &str, terms: &Value) -> Value {
    let mut document = json!({"site": "hq", "area": null, "mode": "locked", "locked_down": false});
    document
        .as_object_mut()
        .unwrap()
        .extend(terms.as_object().unwrap().clone());
    image("door", id, document)
}

fn counted_area(id: &str, anti_passback: &str, occupancy_max: Option<u32>) -> Value {
    let document = json!({
        "site": "hq", "locked_down": false, "anti_passback": anti_passback, "anti_passback_minutes": 20, "occupancy_max": occupancy_max,
    });
    image("area", id, document)
}

fn pass_grant(id: &str, person: &str, counts: &[(&str, u32)]) -> Value {
    let counts: Vec<Value> = counts
        .iter()
        .map(|(pass, uses)| json!({"pass": pass, "uses": uses}))
        .collect();
    let document = json!({
        "effect": "allow", "person": person, "site": "hq", "schedule": null, "valid_from": null, "valid_until": null,
        "pass": {"id": "p1", "given_by": null, "counts": counts},
    });
    image("grant", id, document)
}

/// Anna has passes alone, Ben and Dora a grant, Cara nothing.
fn index() -> PermissionIndex {
    loaded(&[
        organization(true),
        site("hq", "Europe/Berlin", false),
        counted_area("soft", "soft", None),
        counted_area("hard", "hard", Some(2)),
        counted_area("timed", "timed", None),
        counted_area("few", "off", Some(1)),
        asking_door("gate", &json!({"enters": "hard", "leaves": "soft"})),
        asking_door("exit", &json!({"leaves": "hard"})),
        asking_door(
            "pair",
            &json!({"two_persons_seconds": 60, "enters": "timed", "leaves": "few"}),
        ),
        asking_door(
            "early",
            &json!({"mode": "first_person_in", "enters": "soft", "two_persons_seconds": 60}),
        ),
        asking_door("keypad", &json!({"mode": "card_and_pin", "enters": "few"})),
        asking_door(
            "everything",
            &json!({"mode": "card_and_pin", "enters": "soft", "leaves": "soft", "two_persons_seconds": 4_294_967_295_u32}),
        ),
        person("anna", "active", &[]),
        person("ben", "active", &[]),
        person("cara", "active", &[]),
        person("dora", "active", &[]),
        image(
            "session",
            "ended",
            json!({"person": "ben", "ended_at": NOW_MS, "forget_at": NOW_MS + 360_000}),
        ),
        grant("g0", "allow", ("person", "ben"), ("site", "hq"), None),
        grant("g00", "allow", ("person", "dora"), ("site", "hq"), None),
        pass_grant("g1", "anna", &[("p1", 5)]),
        pass_grant("g2", "anna", &[("p2", 6), ("p3", 4), ("p2", 7)]),
        pass_grant("g3", "anna", &[("p3", u32::MAX)]),
    ])
}

/// Numbers and moments as a store would hold them, around one that is given.
fn record(
    numbers: BoxedStrategy<u32>,
    moments: BoxedStrategy<i64>,
) -> impl Strategy<Value = Record> {
    let moment = move || proptest::option::of(moments.clone());
    let day = (proptest::option::of(20_740_i64..20_760), 0_u32..5, 0_i64..3);
    let first = proptest::option::of(proptest::sample::select(&PERSONS[..]));
    let session = proptest::sample::select(&["home", "ended", ""][..]);
    let first_shown = (moment(), proptest::option::of(session), any::<bool>());
    (
        [numbers.clone(), numbers.clone(), numbers],
        [moment(), moment(), moment(), moment(), moment(), moment()],
        (day, first, first_shown),
    )
        .prop_map(
            |(
                [used, count, wrong],
                [
                    reset_at,
                    last_at,
                    entered_at,
                    left_at,
                    first_at,
                    wrong_since,
                ],
                (
                    (opened_day, openers, opened_revision),
                    first,
                    (first_issued_at, first_session, first_with_pin),
                ),
            )| Record {
                used,
                count,
                wrong,
                reset_at,
                last_at,
                entered_at,
                left_at,
                first_at,
                wrong_since,
                opened_day,
                openers,
                opened_revision,
                first_revision: opened_revision,
                first_person: first.and_then(Identifier::new),
                first_issued_at,
                first_session: first_session.map(str::to_owned),
                first_with_pin,
            },
        )
}

fn every_key() -> Vec<String> {
    let inside = AREAS.iter().flat_map(|area| {
        PERSONS
            .iter()
            .map(move |person| format!("inside.{area}.{person}"))
    });
    let rest = [
        ("area", &AREAS[..]),
        ("door", &DOORS[..]),
        ("pass", &PASSES[..]),
        ("pin", &PERSONS[..]),
    ];
    let rest = rest
        .into_iter()
        .flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind}.{name}")));
    inside.chain(rest).collect()
}

fn records(
    numbers: BoxedStrategy<u32>,
    moments: BoxedStrategy<i64>,
) -> impl Strategy<Value = Records> {
    let keys = every_key();
    proptest::collection::vec(record(numbers, moments), keys.len())
        .prop_map(move |records| keys.clone().into_iter().zip(records).collect())
}

fn any_records() -> impl Strategy<Value = Records> {
    let edges = prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        Just(0_i64),
        NOW_MS - 700_000..NOW_MS + 700_000,
        any::<i64>()
    ];
    records(
        prop_oneof![0_u32..7, Just(u32::MAX), any::<u32>()].boxed(),
        edges.boxed(),
    )
}

/// No area counts fewer than there are persons, and nothing is far away.
fn likely_records() -> impl Strategy<Value = Records> {
    records(
        (3_u32..7).boxed(),
        (NOW_MS - 1_500_000..NOW_MS + 1_500).boxed(),
    )
}

/// By a token of just now.
fn asking<'a>(person: &'a str, door: &'a str, pin: Option<bool>, now_ms: i64) -> Asking<'a> {
    Asking {
        person,
        door,
        issued_at_ms: now_ms,
        session: "home",
        pin,
        now_ms,
    }
}

fn asked() -> impl Strategy<Value = (&'static str, &'static str, Option<bool>)> {
    let person = proptest::sample::select(&PERSONS[..]);
    (
        person,
        proptest::sample::select(&DOORS[..]),
        proptest::option::of(any::<bool>()),
    )
}

/// As the service settles: what is missing is given, and nothing else.
fn settled(index: &PermissionIndex, asking: Asking<'_>, records: &Records) -> Settled {
    let decision = index.check(ORGANIZATION, asking.person, asking.door, asking.now_ms);
    let mut known = Records::new();
    for _ in 0..CALLS_MAX {
        match index.settle(ORGANIZATION, asking, &decision, &known) {
            Settled::Missing(keys) => {
                assert!(!keys.is_empty() && keys.iter().all(|key| !known.contains_key(key)));
                known.extend(keys.into_iter().map(|key| {
                    let record = records.get(&key).cloned().unwrap_or_default();
                    (key, record)
                }));
            }
            done @ Settled::Done { .. } => return done,
        }
    }
    panic!("records that are never enough");
}

/// What is explained by the same records, with the rules that refuse.
fn explained(
    index: &PermissionIndex,
    asking: Asking<'_>,
    records: &Records,
) -> (bool, &'static str, Option<String>) {
    let mut known = Records::new();
    for _ in 0..=CALLS_MAX {
        match index.explain_now(ORGANIZATION, asking, &known) {
            Err(keys) => {
                assert!(!keys.is_empty() && keys.iter().all(|key| !known.contains_key(key)));
                known.extend(keys.into_iter().map(|key| {
                    let record = records.get(&key).cloned().unwrap_or_default();
                    (key, record)
                }));
            }
            Ok(told) => {
                assert!(!told.to_json().is_empty());
                let rules = &told.stateful_rules;
                assert!(
                    told.allowed
                        || rules.is_empty()
                        || rules.iter().any(|rule| rule.verdict == told.reason)
                );
                return (told.allowed, told.reason, told.rule);
            }
        }
    }
    panic!("records that are never enough");
}

proptest! {
    #[test]
    fn any_records_are_explained_as_they_are_settled(records in any_records(), (person, door, pin) in asked(), now_ms in prop_oneof![Just(NOW_MS), any::<i64>()]) {
        let index = index();
        let asking = asking(person, door, pin, now_ms);
        let Settled::Done { reason, rule, .. } = settled(&index, asking, &records) else { unreachable!() };
        let rule = rule.map(|rule| rule.as_str().to_owned());
        prop_assert_eq!(explained(&index, asking, &records), (reason == Reason::Granted, reason.as_str(), rule));
    }

    #[test]
    fn any_records_are_settled_in_few_rounds(records in any_records(), (person, door, pin) in asked(), now_ms in prop_oneof![Just(NOW_MS), any::<i64>()]) {
        let index = index();
        let asking = asking(person, door, pin, now_ms);
        let Settled::Done { reason, taken, changed, .. } = settled(&index, asking, &records) else { unreachable!() };
        if reason != Reason::Granted {
            prop_assert!(taken.is_empty());
            let first_to_ask = format!("door.{door}");
            for key in changed.keys() {
                prop_assert!(key.starts_with("pin.") || (matches!(reason, Reason::SecondPersonNeeded | Reason::OccupancyFull) && *key == first_to_ask), "{}", key);
            }
        }
        prop_assert_eq!(Taken::from_json(&taken.to_json()).unwrap(), *taken);
        prop_assert_eq!(records_from_json(&records_to_json(&changed)).unwrap(), changed);
    }

    /// Uses, places and the opened day stand as if nobody had asked.
    #[test]
    fn what_a_grant_took_can_be_given_back(records in likely_records(), (person, door, pin) in asked()) {
        let index = index();
        let asking = asking(person, door, pin, NOW_MS);
        let Settled::Done { taken, changed, .. } = settled(&index, asking, &records) else { unreachable!() };
        let granted: Records = records.iter().map(|(key, record)| (key.clone(), changed.get(key).unwrap_or(record).clone())).collect();
        let Settled::Done { changed: undone, .. } = give_back(asking, &taken, &granted) else { panic!("nothing is missing") };
        for (key, before) in &records {
            let after = undone.get(key).unwrap_or(&granted[key]);
            if key.starts_with("pass.") {
                prop_assert_eq!(after.used, before.used, "{}", key);
            }
            // What a lockdown closed stays closed, whether or not it was opened again.
            if key.starts_with("door.") {
                let closed_again = taken.opened_for_all && *key == format!("door.{door}") && (before.opened_day, before.opened_revision) != (taken.opened_day, taken.opened_revision);
                prop_assert_eq!(after.opened_day, before.opened_day.filter(|_| !closed_again));
            }
            if key.starts_with("area.") {
                prop_assert_eq!((after.count, after.reset_at), (before.count, before.reset_at), "{}", key);
            }
            if let Some((area, _)) = key.strip_prefix("inside.").and_then(|rest| rest.split_once('.')) {
                let inside = |record: &Record| record.entered_at.filter(|at| records[&format!("area.{area}")].reset_at.is_none_or(|reset_at| *at > reset_at));
                prop_assert_eq!(inside(after), inside(before), "{}", key);
            }
        }
    }

    /// Whatever an event says that was taken.
    #[test]
    fn anything_can_be_given_back(records in any_records(), (person, door, _) in asked(), area in proptest::sample::select(&AREAS[..]), at in any::<[Option<i64>; 4]>()) {
        let moved = Moved {
            entered: Identifier::new(area), entered_at: at[0], entered_inside_since: at[1],
            left: Identifier::new(area), left_at: at[2], left_inside_since: at[3], passed_back: None,
        };
        let taken = Taken {
            passes: vec![Identifier::new("p1").unwrap(); 3], moved: moved.clone(), first_person: Identifier::new("ben"),
            first_moved: moved, opened_for_all: true, opened_day: at[0], opened_revision: 1,
        };
        let asking = asking(person, door, None, NOW_MS);
        let Settled::Missing(keys) = give_back(asking, &taken, &Records::new()) else { panic!("nothing was read") };
        let known: Records = keys.into_iter().map(|key| (key.clone(), records.get(&key).cloned().unwrap_or_default())).collect();
        let given_back = matches!(give_back(asking, &taken, &known), Settled::Done { .. });
        prop_assert!(given_back, "one read is enough");
    }

    #[test]
    fn arbitrary_bytes_are_no_records(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = records_from_json(&bytes);
        let _ = Taken::from_json(&bytes);
    }
}

/// A person keeps grants of passes that are used up: they don't hide the one that isn't. The first 64 are read first, and often alone.
#[test]
fn one_of_many_passes_has_a_use_left() {
    let mut images = vec![
        organization(true),
        site("hq", "UTC", false),
        asking_door("gate", &json!({})),
        person("anna", "active", &[]),
    ];
    let names: Vec<String> = (0..512).map(|number| format!("g{number:03}")).collect();
    images.extend(
        names
            .iter()
            .map(|name| pass_grant(name, "anna", &[(name, 1)])),
    );
    let index = loaded(&images);
    let asking = asking("anna", "gate", None, NOW_MS);
    let mut records: Records = names
        .iter()
        .map(|name| {
            (
                format!("pass.{name}"),
                Record {
                    used: 1,
                    ..Record::default()
                },
            )
        })
        .collect();
    let Settled::Done { reason, .. } = settled(&index, asking, &records) else {
        unreachable!()
    };
    assert_eq!(reason, Reason::PassUsedUp);
    for good in ["g511", "g064", "g063"] {
        records.remove(&format!("pass.{good}"));
        let Settled::Done { reason, rule, .. } = settled(&index, asking, &records) else {
            unreachable!()
        };
        assert_eq!((reason, rule.unwrap().as_str()), (Reason::Granted, good));
    }
    let decision = index.check(ORGANIZATION, "anna", "gate", NOW_MS);
    let first = index.settle(ORGANIZATION, asking, &decision, &Records::new());
    assert!(matches!(first, Settled::Missing(keys) if keys.len() == 64));
}

/// Anna asks, then something changes, then Ben asks: whether he is let in.
fn opens_after(mode: &str, pin: Option<bool>, changes: &[Value]) -> Reason {
    let pair = |mode: &str| asking_door("pair", &json!({"two_persons_seconds": 300, "mode": mode}));
    let index = loaded(&[
        organization(true),
        site("hq", "UTC", false),
        pair("locked"),
        person("anna", "active", &[]),
        person("ben", "active", &[]),
        grant("g0", "allow", ("person", "anna"), ("site", "hq"), None),
        grant("g1", "allow", ("person", "ben"), ("site", "hq"), None),
    ]);
    let mut revision = 1;
    let mut change = |image: &Value| {
        revision += 1;
        let images = serde_json::to_vec(&[image]).unwrap();
        assert!(index.apply(ORGANIZATION, revision, &images).unwrap());
    };
    change(&pair(mode));
    let first = asking("anna", "pair", pin, NOW_MS);
    let Settled::Done {
        reason, changed, ..
    } = settled(&index, first, &Records::new())
    else {
        unreachable!()
    };
    assert_eq!(reason, Reason::SecondPersonNeeded);
    changes.iter().for_each(change);
    let second = asking("ben", "pair", Some(true), NOW_MS + 290_000);
    let Settled::Done { reason, .. } = settled(&index, second, &changed) else {
        unreachable!()
    };
    reason
}

#[test]
fn whose_token_is_revoked_is_nobodys_first() {
    let ended = |session: &str| {
        let document =
            json!({"person": "anna", "ended_at": NOW_MS + 1, "forget_at": NOW_MS + 360_001});
        image("session", session, document)
    };
    let cut = |at_ms: i64| {
        let document = json!({"state": "active", "valid_from": null, "valid_until": null, "groups": [], "roles": [], "tokens_valid_after": at_ms});
        image("person", "anna", document)
    };
    let suspended = person("anna", "suspended", &[]);
    let behind = |lockdown_revision: i64| {
        let vault =
            json!({"site": "hq", "locked_down": false, "lockdown_revision": lockdown_revision});
        let leading = json!({"two_persons_seconds": 300, "mode": "locked", "enters": "vault"});
        vec![image("area", "vault", vault), asking_door("pair", &leading)]
    };
    let granted = [vec![], vec![ended("another")], vec![cut(NOW_MS)], behind(0)];
    let lockdown = json!({"two_persons_seconds": 300, "mode": "locked", "lockdown_revision": 3});
    let refused = [
        vec![asking_door("pair", &lockdown)],
        behind(3),
        vec![ended("home")],
        vec![cut(NOW_MS + 1)],
        vec![suspended, cut(NOW_MS + 1)],
    ];
    for changes in granted {
        assert_eq!(opens_after("locked", None, &changes), Reason::Granted);
    }
    for changes in refused {
        let reason = opens_after("locked", None, &changes);
        assert_eq!(reason, Reason::SecondPersonNeeded, "{changes:?}");
    }
}

#[test]
fn who_came_without_a_pin_is_nobodys_first_where_it_is_asked_for() {
    let keypad = asking_door(
        "pair",
        &json!({"two_persons_seconds": 300, "mode": "card_and_pin"}),
    );
    let with_pin = opens_after("card_and_pin", Some(true), &[]);
    assert_eq!(with_pin, Reason::Granted);
    let without = opens_after("locked", None, &[keypad]);
    assert_eq!(without, Reason::SecondPersonNeeded);
}

/// They live for five minutes at most.
#[test]
fn who_is_remembered_without_a_token_does_not_count() {
    let index = index();
    let record = Record {
        first_person: Identifier::new("ben"),
        first_at: Some(NOW_MS),
        ..Record::default()
    };
    let records = Records::from([("door.pair".to_owned(), record)]);
    let asked = asking("dora", "pair", None, NOW_MS);
    let Settled::Done { reason, .. } = settled(&index, asked, &records) else {
        unreachable!()
    };
    assert_eq!(reason, Reason::SecondPersonNeeded);
}

/// Their passes let nobody in here, so they take no first's place, and are told why.
#[test]
fn who_holds_passes_alone_is_nobodys_first() {
    let index = index();
    let mut records = Records::new();
    let mut ask = |person: &str, after_ms: i64| {
        let asked = asking(person, "pair", None, NOW_MS + after_ms);
        let Settled::Done {
            reason, changed, ..
        } = settled(&index, asked, &records)
        else {
            unreachable!()
        };
        records.extend(changed);
        reason
    };
    assert_eq!(ask("ben", 0), Reason::SecondPersonNeeded);
    assert_eq!(ask("anna", 1), Reason::SecondPersonNeeded);
    assert_eq!(ask("dora", 2), Reason::Granted);
    let known: Records = every_key()
        .into_iter()
        .map(|key| (key, Record::default()))
        .collect();
    let told = index
        .explain_now(ORGANIZATION, asking("anna", "pair", None, NOW_MS), &known)
        .unwrap();
    let rule = told.stateful_rules.last().unwrap();
    assert_eq!(
        (rule.rule, rule.verdict),
        ("two_persons", "second_person_needed")
    );
    assert!(rule.detail.contains("passes"), "{}", rule.detail);
}

/// Ben opened the door for everybody and Dora, who has a grant as well, came after him: that Ben's lock refused shuts out nobody.
#[test]
fn a_door_stays_open_while_anybody_has_come_who_would_have_opened_it() {
    let images = [
        organization(true),
        site("hq", "UTC", false),
        asking_door("early", &json!({"mode": "first_person_in"})),
        person("anna", "active", &[]),
        person("ben", "active", &[]),
        person("cara", "active", &[]),
        person("dora", "active", &[]),
        grant("g0", "allow", ("person", "ben"), ("site", "hq"), None),
        grant("g1", "allow", ("person", "dora"), ("site", "hq"), None),
        pass_grant("g2", "anna", &[("p1", 5)]),
    ];
    let index = loaded(&images);
    let mut records = Records::new();
    let ask = |records: &mut Records, person: &str| {
        let Settled::Done {
            reason,
            taken,
            changed,
            ..
        } = settled(&index, asking(person, "early", None, NOW_MS), records)
        else {
            unreachable!()
        };
        records.extend(changed);
        (reason, *taken)
    };
    let shut = |records: &mut Records, person: &str, taken: &Taken| {
        let asked = asking(person, "early", None, NOW_MS);
        let Settled::Done { changed, .. } = give_back(asked, taken, records) else {
            panic!("nothing is missing")
        };
        records.extend(changed);
    };
    let (_, bens) = ask(&mut records, "ben");
    // Whose use isn't counted now would have had to count one, or couldn't have opened at all.
    assert_eq!(ask(&mut records, "anna").1, Taken::default());
    assert_eq!(ask(&mut records, "cara").1, Taken::default());
    let (_, doras) = ask(&mut records, "dora");
    shut(&mut records, "ben", &bens);
    assert_eq!(ask(&mut records, "cara").0, Reason::Granted);
    shut(&mut records, "dora", &doras);
    assert_eq!(ask(&mut records, "cara").0, Reason::NoGrant);
}

#[test]
fn two_who_find_room_for_one_are_told_so() {
    let index = loaded(&[
        organization(true),
        site("hq", "UTC", false),
        counted_area("cell", "off", Some(1)),
        asking_door(
            "pair",
            &json!({"two_persons_seconds": 60, "enters": "cell"}),
        ),
        person("ben", "active", &[]),
        person("dora", "active", &[]),
        grant("g0", "allow", ("person", "ben"), ("site", "hq"), None),
        grant("g1", "allow", ("person", "dora"), ("site", "hq"), None),
    ]);
    let mut records = Records::new();
    for (person, expected, of) in [
        ("ben", Reason::SecondPersonNeeded, "pair"),
        ("dora", Reason::OccupancyFull, "cell"),
        ("ben", Reason::OccupancyFull, "cell"),
    ] {
        let asked = asking(person, "pair", None, NOW_MS);
        let Settled::Done {
            reason,
            rule,
            changed,
            ..
        } = settled(&index, asked, &records)
        else {
            unreachable!()
        };
        assert_eq!((reason, rule.unwrap().as_str()), (expected, of));
        records.extend(changed);
    }
    assert_eq!(records.get("area.cell"), None);
}
