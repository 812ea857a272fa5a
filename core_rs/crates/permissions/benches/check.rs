//! `check` on 100,000 persons and 10,000 doors, random pairs, every answer held against plain arithmetic; and one change.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use nexkey_permissions::PermissionIndex;
use std::fmt::Write;
use std::hint::black_box;

const PERSONS: u64 = 100_000;
const DOORS: u64 = 10_000;
const GROUPS: u64 = 500;
const AREAS: u64 = 100;
const SITES: u64 = 10;
const GROUPS_PER_PERSON: u64 = 10;
const ORGANIZATION: &str = "acme";
/// Wednesday 2026-11-25 12:00 and 23:00 UTC.
const NOON_MS: i64 = 1_795_608_000_000;
const NIGHT_MS: i64 = 1_795_647_600_000;
const ZONES: [&str; 3] = ["Europe/Berlin", "Africa/Lagos", "UTC"];

fn groups_of(person: u64) -> impl Iterator<Item = u64> {
    (0..GROUPS_PER_PERSON).map(move |turn| (person * 7 + turn * 53) % GROUPS)
}

/// Every door is granted to one group always and to one in the day; every area to one group in the day.
fn is_allowed(person: u64, door: u64, day: bool) -> bool {
    groups_of(person).any(|group| {
        group == door % GROUPS
            || (day && (group == (door * 3 + 1) % GROUPS || group == (door % AREAS) * 5))
    })
}

fn snapshot() -> String {
    let mut images =
        String::from(r#"[{"kind":"organization","id":"acme","document":{"active":true}}"#);
    let week = r#"{"days":["mon","tue","wed","thu","fri"],"start":"08:00","end":"18:00"}"#;
    write!(images, r#",{{"kind":"schedule","id":"day","document":{{"windows":[{week}],"calendar":null,"exceptions":[]}}}}"#).unwrap();
    for site in 0..SITES {
        let zone = ZONES[usize::try_from(site).unwrap() % ZONES.len()];
        write!(images, r#",{{"kind":"site","id":"s{site}","document":{{"time_zone":"{zone}","locked_down":false}}}}"#).unwrap();
    }
    for group in 0..GROUPS {
        write!(
            images,
            r#",{{"kind":"group","id":"g{group}","document":{{"includes":[]}}}}"#
        )
        .unwrap();
    }
    for area in 0..AREAS {
        write!(
            images,
            r#",{{"kind":"area","id":"a{area}","document":{{"locked_down":false}}}}"#
        )
        .unwrap();
        write_grant(
            &mut images,
            &format!("ga{area}"),
            area * 5,
            &format!(r#""area":"a{area}""#),
            r#""day""#,
        );
    }
    for door in 0..DOORS {
        let (site, area) = (door % SITES, door % AREAS);
        write!(images, r#",{{"kind":"door","id":"d{door}","document":{{"site":"s{site}","area":"a{area}","mode":"locked","locked_down":false}}}}"#).unwrap();
        write_grant(
            &mut images,
            &format!("gd{door}"),
            door % GROUPS,
            &format!(r#""door":"d{door}""#),
            "null",
        );
        write_grant(
            &mut images,
            &format!("ge{door}"),
            (door * 3 + 1) % GROUPS,
            &format!(r#""door":"d{door}""#),
            r#""day""#,
        );
    }
    for person in 0..PERSONS {
        write!(images, ",{}", person_image(person)).unwrap();
    }
    images + "]"
}

fn write_grant(images: &mut String, id: &str, group: u64, place: &str, schedule: &str) {
    let rest = r#""valid_from":null,"valid_until":null"#;
    write!(images, r#",{{"kind":"grant","id":"{id}","document":{{"effect":"allow","group":"g{group}",{place},"schedule":{schedule},{rest}}}}}"#).unwrap();
}

fn person_image(person: u64) -> String {
    let groups: Vec<String> = groups_of(person)
        .map(|group| format!(r#""g{group}""#))
        .collect();
    let rest = r#""valid_from":null,"valid_until":null,"roles":[],"tokens_valid_after":0"#;
    format!(
        r#"{{"kind":"person","id":"p{person}","document":{{"state":"active","groups":[{}],{rest}}}}}"#,
        groups.join(",")
    )
}

/// Pairs without a pattern, half of them with access: person, door, and what is right in the day and at night.
fn pairs() -> Vec<(String, String, bool, bool)> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    (0..200_000)
        .map(|number| {
            let person = random() % PERSONS;
            let by_group = groups_of(person)
                .nth(usize::try_from(random() % GROUPS_PER_PERSON).unwrap())
                .unwrap();
            let door = if number % 2 == 0 {
                random() % DOORS
            } else {
                by_group + GROUPS * (random() % (DOORS / GROUPS))
            };
            (
                format!("p{person}"),
                format!("d{door}"),
                is_allowed(person, door, true),
                is_allowed(person, door, false),
            )
        })
        .collect()
}

fn benchmark(criterion: &mut Criterion) {
    let index = PermissionIndex::new();
    index.load(ORGANIZATION, 0, snapshot().as_bytes()).unwrap();
    let pairs = pairs();
    for (person, door, day, night) in &pairs {
        assert_eq!(
            index
                .check(ORGANIZATION, person, door, NOON_MS)
                .is_allowed(),
            *day,
            "{person} {door} at noon"
        );
        assert_eq!(
            index
                .check(ORGANIZATION, person, door, NIGHT_MS)
                .is_allowed(),
            *night,
            "{person} {door} at night"
        );
    }
    let mut turn = pairs.iter().cycle();
    criterion.bench_function("check, random pairs, day", |bencher| {
        bencher.iter(|| {
            let (person, door, day, _) = turn.next().unwrap();
            let decision = index.check(ORGANIZATION, black_box(person), black_box(door), NOON_MS);
            assert_eq!(decision.is_allowed(), *day);
            decision
        });
    });
    criterion.bench_function("check, one pair", |bencher| {
        bencher.iter(|| index.check(ORGANIZATION, black_box("p1"), black_box("d7"), NOON_MS));
    });
    benchmark_changes(criterion, &index);
}

fn benchmark_changes(criterion: &mut Criterion, index: &PermissionIndex) {
    let mut revision: i64 = 0;
    criterion.bench_function("apply one person", |bencher| {
        bencher.iter_batched(
            || {
                revision += 1;
                (
                    revision,
                    format!("[{}]", person_image(revision.unsigned_abs() % PERSONS)),
                )
            },
            |(revision, images)| {
                assert_eq!(
                    index.apply(ORGANIZATION, revision, images.as_bytes()),
                    Ok(true)
                );
            },
            BatchSize::PerIteration,
        );
    });
    criterion.bench_function("apply one door grant", |bencher| {
        bencher.iter_batched(
            || {
                revision += 1;
                let (mut images, door) = (String::new(), revision.unsigned_abs() % DOORS);
                write_grant(
                    &mut images,
                    &format!("gd{door}"),
                    door % GROUPS,
                    &format!(r#""door":"d{door}""#),
                    "null",
                );
                (revision, format!("[{}]", images.trim_start_matches(',')))
            },
            |(revision, images)| {
                assert_eq!(
                    index.apply(ORGANIZATION, revision, images.as_bytes()),
                    Ok(true)
                );
            },
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
