//! Doors with the mode `unlocked`, and at which of them nobody has to ask: their locks hold the bolt back.
use crate::check::{Hearing, Silent, not_locked_down};
use crate::documents::DoorMode;
use crate::identifier::Identifier;
use crate::model::{Door, State};

/// How a door stands at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Why its bolt is to be held back: the schedule by which its mode is `unlocked`, or the door itself when that is its own mode. `None`: it isn't.
    pub open_by: Option<Identifier>,
    /// Whether it may come to that by its modes, at another time or without a lockdown.
    pub may_open: bool,
    /// The revision of the permissions that say so.
    pub revision: i64,
}

/// How this door stands at `now_ms`.
///
/// It isn't held in a lockdown, nor where persons are counted: whoever doesn't ask would be missed, inside or outside.
pub fn standing(state: &State, door: &Door, now_ms: i64) -> Standing {
    let may_open = may_be_unlocked(door) && !counts_persons(state, door);
    let stands = may_open && state.active && not_locked_down(state, door, &mut Silent).is_ok();
    Standing {
        open_by: if stands {
            unlocked_by(state, door, now_ms)
        } else {
            None
        },
        may_open,
        revision: state.revision,
    }
}

/// The locks of all doors one of whose modes is `unlocked`.
pub fn locks_with_mode_unlocked(state: &State) -> Vec<Identifier> {
    let mut locks = Vec::new();
    state.doors.for_each(|door| {
        if may_be_unlocked(door) {
            locks.extend(state.record_of(door).and_then(|record| record.lock));
        }
    });
    locks
}

/// Whether a door is open to every valid person at `now_ms` by its mode.
pub fn is_unlocked(state: &State, door: &Door, now_ms: i64) -> bool {
    may_be_unlocked(door) && Hearing::new(state, door, now_ms).mode() == DoorMode::Unlocked
}

/// Whether one of its modes is `unlocked`.
pub fn may_be_unlocked(door: &Door) -> bool {
    let scheduled = door.terms.iter().flat_map(|terms| &terms.modes);
    door.mode == DoorMode::Unlocked
        || scheduled
            .into_iter()
            .any(|(_, mode)| *mode == DoorMode::Unlocked)
}

fn unlocked_by(state: &State, door: &Door, now_ms: i64) -> Option<Identifier> {
    let (mode, schedule) = Hearing::new(state, door, now_ms).mode_and_schedule();
    let named = schedule.and_then(|schedule| state.schedules.get(schedule));
    (mode == DoorMode::Unlocked).then(|| named.map_or(&door.id, |named| &named.id).clone())
}

fn counts_persons(state: &State, door: &Door) -> bool {
    let counts = |area: Option<u32>| {
        area.and_then(|area| state.place(area))
            .is_some_and(|place| place.terms.is_some())
    };
    let terms = door.terms.as_deref();
    terms.is_some_and(|terms| counts(terms.enters) || counts(terms.leaves))
}
