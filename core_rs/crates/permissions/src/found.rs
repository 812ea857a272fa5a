//! Pairs of a person and a door that were looked up once, by their records instead of their identifiers.
use crate::check::decide_found;
use crate::decision::Decision;
use crate::model::{Door, State};
use crate::person::Person;

/// A person and a door of one revision. To ask of them again takes no identifier and no hash.
#[derive(Clone, Copy, Debug)]
pub struct FoundPair<'a> {
    state: &'a State,
    person: &'a Person,
    door: &'a Door,
}

impl<'a> FoundPair<'a> {
    /// `None` when there is no such person or door.
    #[must_use]
    pub fn new(state: &'a State, person: &str, door: &str) -> Option<Self> {
        Some(Self {
            state,
            person: state.person(person)?,
            door: state.doors.get(door)?,
        })
    }

    /// What `check` answers.
    #[must_use]
    pub fn decide(&self, now_ms: i64) -> Decision {
        decide_found(self.state, self.person, self.door, now_ms)
    }
}
