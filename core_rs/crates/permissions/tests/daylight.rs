//! Schedules where clocks jump, by hand: every instant is written in UTC and was worked out on paper.
#![allow(clippy::unwrap_used)]
mod organization;
use organization::{check, grant, headquarters, loaded, schedule};

const EVERY_DAY: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Opens and closes at exactly these instants, to the millisecond, and is closed before the first.
fn assert_edges(time_zone: &str, days: &[&str], start: &str, end: &str, edges: &[&str]) {
    let mut images = headquarters(time_zone);
    images.push(schedule("hours", days, start, end));
    images.push(grant(
        "g1",
        "allow",
        ("group", "staff"),
        ("door", "front"),
        Some("hours"),
    ));
    let index = loaded(&images);
    for (number, edge) in edges.iter().enumerate() {
        let opens = number % 2 == 0;
        let before = edge.parse::<jiff::Timestamp>().unwrap().as_millisecond() - 1;
        let allowed_before = index.check("acme", "anna", "front", before).is_allowed();
        assert_eq!(
            allowed_before, !opens,
            "{time_zone} {start}-{end}: 1 ms before {edge}"
        );
        assert_eq!(
            check(&index, edge).is_allowed(),
            opens,
            "{time_zone} {start}-{end}: at {edge}"
        );
    }
}

#[test]
fn a_window_that_opens_in_a_spring_gap_opens_at_its_end() {
    // Berlin, Sunday 2026-03-29: 02:00 becomes 03:00 at 01:00Z.
    assert_edges(
        "Europe/Berlin",
        &["sun"],
        "02:30",
        "04:00",
        &["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"],
    );
    // Lord Howe, Sunday 2026-10-04: 02:00 becomes 02:30, half an hour only, at 15:30Z of the day before.
    assert_edges(
        "Australia/Lord_Howe",
        &["sun"],
        "02:15",
        "02:45",
        &["2026-10-03T15:30:00Z", "2026-10-03T15:45:00Z"],
    );
    // St. John's, Sunday 2026-03-08: 02:00 becomes 03:00 at 05:30Z.
    assert_edges(
        "America/St_Johns",
        &["sun"],
        "02:00",
        "03:30",
        &["2026-03-08T05:30:00Z", "2026-03-08T06:00:00Z"],
    );
}

#[test]
fn a_window_that_closes_in_a_spring_gap_closes_at_the_gap() {
    assert_edges(
        "Europe/Berlin",
        &["sun"],
        "01:00",
        "02:30",
        &["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"],
    );
}

#[test]
fn a_window_within_a_spring_gap_never_opens() {
    let mut images = headquarters("Europe/Berlin");
    images.push(schedule("hours", &["sun"], "02:15", "02:45"));
    images.push(grant(
        "g1",
        "allow",
        ("group", "staff"),
        ("door", "front"),
        Some("hours"),
    ));
    let index = loaded(&images);
    let first = "2026-03-29T00:00:00Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    for minute in 0..180 {
        assert!(
            !index
                .check("acme", "anna", "front", first + minute * 60_000)
                .is_allowed()
        );
    }
    // A week later the same window exists.
    assert!(check(&index, "2026-04-05T00:30:00Z").is_allowed());
}

#[test]
fn a_night_over_a_spring_gap_is_an_hour_shorter() {
    // New York, night to Sunday 2026-03-08: 22:00 EST is 03:00Z, 06:00 EDT is 10:00Z.
    assert_edges(
        "America/New_York",
        &["sat"],
        "22:00",
        "06:00",
        &["2026-03-08T03:00:00Z", "2026-03-08T10:00:00Z"],
    );
    // Cairo jumps at midnight, Friday 2026-04-24 (22:00Z the day before): 22:00 EET is 20:00Z, 02:00 EEST is 23:00Z.
    assert_edges(
        "Africa/Cairo",
        &["thu"],
        "22:00",
        "02:00",
        &["2026-04-23T20:00:00Z", "2026-04-23T23:00:00Z"],
    );
}

#[test]
fn both_hours_of_an_autumn_fold_count() {
    // Berlin, Sunday 2026-10-25: 03:00 becomes 02:00 at 01:00Z. The hour is there twice, so the window lasts two.
    assert_edges(
        "Europe/Berlin",
        &["sun"],
        "02:00",
        "03:00",
        &["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"],
    );
    // The wall clock shows 02:15 to 02:45 twice, with half an hour between.
    assert_edges(
        "Europe/Berlin",
        &["sun"],
        "02:15",
        "02:45",
        &[
            "2026-10-25T00:15:00Z",
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:15:00Z",
            "2026-10-25T01:45:00Z",
        ],
    );
    // A window that ends within the fold: until 02:30, and again from 02:00 to 02:30.
    assert_edges(
        "Europe/Berlin",
        &["sun"],
        "01:00",
        "02:30",
        &[
            "2026-10-24T23:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
        ],
    );
    // Lord Howe, Sunday 2026-04-05: 02:00 becomes 01:30 at 15:00Z of the day before.
    assert_edges(
        "Australia/Lord_Howe",
        &["sun"],
        "01:30",
        "02:00",
        &["2026-04-04T14:30:00Z", "2026-04-04T15:30:00Z"],
    );
}

#[test]
fn zones_without_jumps_and_with_odd_offsets() {
    assert_edges(
        "Asia/Kathmandu",
        &["mon"],
        "08:00",
        "18:00",
        &["2026-11-23T02:15:00Z", "2026-11-23T12:15:00Z"],
    );
    assert_edges(
        "UTC",
        &["mon"],
        "08:00",
        "24:00",
        &["2026-11-23T08:00:00Z", "2026-11-24T00:00:00Z"],
    );
}

#[test]
fn long_after_and_long_before_any_table_the_rules_still_hold() {
    // 2150-07-06 is a Monday in summer time, 1950-07-03 a Monday in a Berlin without it.
    assert_edges(
        "Europe/Berlin",
        &["mon"],
        "08:00",
        "18:00",
        &["2150-07-06T06:00:00Z", "2150-07-06T16:00:00Z"],
    );
    assert_edges(
        "Europe/Berlin",
        &["mon"],
        "08:00",
        "18:00",
        &["1950-07-03T07:00:00Z", "1950-07-03T17:00:00Z"],
    );
}

#[test]
fn a_whole_day_is_open_without_a_seam() {
    let mut images = headquarters("America/New_York");
    images.push(schedule("hours", &EVERY_DAY, "00:00", "00:00"));
    images.push(grant(
        "g1",
        "allow",
        ("group", "staff"),
        ("door", "front"),
        Some("hours"),
    ));
    let index = loaded(&images);
    let first = "2026-10-30T00:00:00Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    for quarter in 0..(5 * 96) {
        assert!(
            index
                .check("acme", "anna", "front", first + quarter * 900_000)
                .is_allowed(),
            "{quarter}"
        );
    }
}
