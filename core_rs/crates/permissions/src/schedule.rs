//! Schedules, compiled: minutes of the site's wall clock by day. Time zones live in `zone`, documents in `images`.
//!
//! An instant is inside a window when the wall clock shows a time in it. So a window that opens in a spring gap opens at
//! the gap's end, and in an autumn fold both passes of an hour count. A window belongs to the day on which it starts.
use crate::zone::WallClock;
use std::sync::Arc;

const DAY_MINUTES: i64 = 1_440;

/// Half-open minutes since the midnight at which the window's day begins; `end` passes 1440 when it reaches the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start: i64,
    end: i64,
}

impl Window {
    /// From `"HH:MM"` times; `end` at or before `start` is on the next day. `None` when a time is not well formed.
    #[must_use]
    pub fn parse(start: &str, end: &str) -> Option<Self> {
        let start = minute_of_day(start).filter(|minute| *minute < DAY_MINUTES)?;
        let end = minute_of_day(end)?;
        Some(Self {
            start,
            end: if end > start { end } else { end + DAY_MINUTES },
        })
    }
}

/// `"00:00"` to `"24:00"` in minutes.
fn minute_of_day(text: &str) -> Option<i64> {
    let &[hour_tens, hour_ones, b':', minute_tens, minute_ones] = text.as_bytes() else {
        return None;
    };
    let hours = decimal(&[hour_tens, hour_ones])?;
    let minutes = decimal(&[minute_tens, minute_ones])?;
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= DAY_MINUTES).then_some(total)
}

/// Days since 1970-01-01 of `"YYYY-MM-DD"`.
#[must_use]
pub fn parse_date(text: &str) -> Option<i64> {
    let (year, rest) = text.as_bytes().split_at_checked(4)?;
    let &[b'-', month_tens, month_ones, b'-', day_tens, day_ones] = rest else {
        return None;
    };
    let year = i16::try_from(decimal(year)?).ok()?;
    let month = i8::try_from(decimal(&[month_tens, month_ones])?).ok()?;
    let day = i8::try_from(decimal(&[day_tens, day_ones])?).ok()?;
    let date = jiff::civil::Date::new(year, month, day).ok()?;
    Some(i64::from(
        jiff::civil::date(1970, 1, 1).until(date).ok()?.get_days(),
    ))
}

fn decimal(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

/// The windows that start on one day: sorted, merged, so at most 720 however many were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayWindows(Box<[Window]>);

impl DayWindows {
    /// Sorts and merges.
    #[must_use]
    pub fn new(mut windows: Vec<Window>) -> Self {
        windows.sort_unstable_by_key(|window| window.start);
        let mut merged: Vec<Window> = Vec::with_capacity(windows.len());
        for window in windows {
            match merged.last_mut() {
                Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
                _ => merged.push(window),
            }
        }
        Self(merged.into())
    }

    fn holds(&self, minute: i64) -> bool {
        self.0
            .iter()
            .any(|window| (window.start..window.end).contains(&minute))
    }
}

/// Whether the schedule names a calendar, and what that says.
#[derive(Clone, Debug)]
pub enum Holidays {
    /// No calendar is named.
    None,
    /// A calendar is named that does not exist: the schedule is never open.
    Missing,
    /// Sorted days since 1970-01-01.
    Days(Arc<[i64]>),
}

/// A schedule as `check` asks it.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// By weekday, Monday first.
    pub week: Arc<[DayWindows; 7]>,
    /// What holds on a day of the calendar.
    pub holiday_windows: DayWindows,
    /// Sorted by day; replaces both of the above.
    pub exceptions: Arc<[(i64, DayWindows)]>,
    /// The calendar.
    pub holidays: Holidays,
}

impl Schedule {
    /// Is it open at this time of the wall clock?
    #[must_use]
    pub fn is_open(&self, wall: WallClock) -> bool {
        !matches!(self.holidays, Holidays::Missing)
            && (self
                .day_windows(wall.day)
                .is_some_and(|windows| windows.holds(wall.minute))
                || self
                    .day_windows(wall.day - 1)
                    .is_some_and(|windows| windows.holds(wall.minute + DAY_MINUTES)))
    }

    /// Is its calendar there, if it has one?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !matches!(self.holidays, Holidays::Missing)
    }

    /// Is the day one of its calendar?
    #[must_use]
    pub fn is_holiday(&self, day: i64) -> bool {
        matches!(&self.holidays, Holidays::Days(days) if days.binary_search(&day).is_ok())
    }

    fn day_windows(&self, day: i64) -> Option<&DayWindows> {
        if let Ok(place) = self
            .exceptions
            .binary_search_by_key(&day, |(date, _)| *date)
        {
            return self.exceptions.get(place).map(|(_, windows)| windows);
        }
        if self.is_holiday(day) {
            return Some(&self.holiday_windows);
        }
        // 1970-01-01 was a Thursday.
        usize::try_from((day + 3).rem_euclid(7))
            .ok()
            .and_then(|weekday| self.week.get(weekday))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates_are_strict() {
        assert_eq!(
            Window::parse("22:00", "06:00"),
            Some(Window {
                start: 1_320,
                end: 1_800
            })
        );
        assert_eq!(
            Window::parse("00:00", "24:00"),
            Some(Window {
                start: 0,
                end: 1_440
            })
        );
        assert_eq!(
            Window::parse("08:00", "08:00"),
            Some(Window {
                start: 480,
                end: 1_920
            })
        );
        for (start, end) in [
            ("24:00", "24:00"),
            ("8:00", "18:00"),
            ("08:60", "18:00"),
            ("08:00", "24:01"),
            ("08:00", "18.00"),
            ("", ""),
            ("0٣:0", "18:00"),
        ] {
            assert_eq!(Window::parse(start, end), None, "{start} {end}");
        }
        assert_eq!(parse_date("1970-01-02"), Some(1));
        assert_eq!(parse_date("2028-02-29"), Some(21_243));
        for wrong in [
            "2026-02-29",
            "2026-13-01",
            "26-01-01",
            "2026-1-01",
            "2026/01/01",
            "2026-01-011",
            "",
            "äö-01-01",
        ] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn windows_merge() {
        let window = |start, end| Window { start, end };
        let merged = DayWindows::new(vec![
            window(600, 700),
            window(0, 100),
            window(100, 200),
            window(650, 660),
        ]);
        assert_eq!(*merged.0, [window(0, 200), window(600, 700)]);
        assert!(merged.holds(199) && !merged.holds(200) && merged.holds(600) && !merged.holds(700));
    }
}
