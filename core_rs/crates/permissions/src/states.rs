//! The records of what memory can't know, and the working copy on which a decision is settled.
use crate::documents::Malformed;
use crate::identifier::Identifier;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One state document, by its key: `pass.<id>`, `area.<id>`, `inside.<area>.<person>`, `door.<id>`, `pin.<person>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Of a pass: how often it was used.
    #[serde(skip_serializing_if = "is_default")]
    pub used: u32,
    /// Of an area: how many are inside.
    #[serde(skip_serializing_if = "is_default")]
    pub count: u32,
    /// Of an area: whoever entered before counts as outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<i64>,
    /// Of an area: the latest moment at which anybody entered. A reset is dated no earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<i64>,
    /// Of a person in an area: when they entered; absent: they are outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<i64>,
    /// Of a person in an area: when they left it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_at: Option<i64>,
    /// Of a door: who asked first, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_person: Option<Identifier>,
    /// See `first_person`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<i64>,
    /// See `first_person`: when the token was issued with which they asked. Without it they don't count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_issued_at: Option<i64>,
    /// See `first_person`: the session of that token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_session: Option<String>,
    /// See `first_person`: the revision on which they were decided. A lockdown that began later makes them ask anew.
    #[serde(skip_serializing_if = "is_default")]
    pub first_revision: i64,
    /// See `first_person`: whether the right PIN came with it.
    #[serde(skip_serializing_if = "is_default")]
    pub first_with_pin: bool,
    /// Of a door: the day on which a first person opened it for everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_day: Option<i64>,
    /// See `opened_day`: the revision on which that was decided. A lockdown that began later ends it.
    #[serde(skip_serializing_if = "is_default")]
    pub opened_revision: i64,
    /// Of a door: how many have come on that day who would each have opened it, as far as they are counted.
    #[serde(skip_serializing_if = "is_default")]
    pub openers: u32,
    /// Of a PIN: how often it was wrong.
    #[serde(skip_serializing_if = "is_default")]
    pub wrong: u32,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_since: Option<i64>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where a grant let one person go: told in the event, and undone if the door didn't open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Moved {
    /// The area that was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered: Option<Identifier>,
    /// As of when: no two moves of a person in an area have the same moment, so that the right one is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<i64>,
    /// Since when the person was inside it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered_inside_since: Option<i64>,
    /// The area that was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Identifier>,
    /// As of when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_at: Option<i64>,
    /// Since when the person had been inside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_inside_since: Option<i64>,
    /// The area that was entered by somebody who was inside (soft anti-passback).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_back: Option<Identifier>,
}

/// What one grant took: told in the event, and given back if the door didn't open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taken {
    /// Passes that were used, once each; at a door for two persons none is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<Identifier>,
    /// Where whoever asked went.
    #[serde(flatten)]
    pub moved: Moved,
    /// Who asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_person: Option<Identifier>,
    /// Where that person went.
    #[serde(skip_serializing_if = "is_default")]
    pub first_moved: Moved,
    /// Whether this opened the door for everybody today, or is one of those who came next and would have.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opened_for_all: bool,
    /// That day, in days since 1970-01-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_day: Option<i64>,
    /// The revision on which it was opened.
    #[serde(skip_serializing_if = "is_default")]
    pub opened_revision: i64,
}

impl Taken {
    /// From JSON.
    ///
    /// # Errors
    /// When it isn't what `to_json` writes.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(bytes).map_err(|_| Malformed)
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether there is anything to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The records by key.
pub type Records = BTreeMap<String, Record>;

/// Records from JSON.
///
/// # Errors
/// When a field is not of its form.
pub fn records_from_json(bytes: &[u8]) -> Result<Records, Malformed> {
    serde_json::from_slice(bytes).map_err(|_| Malformed)
}

/// Records as JSON.
#[must_use]
pub fn records_to_json(records: &Records) -> Vec<u8> {
    serde_json::to_vec(records).unwrap_or_default()
}

/// Works on copies of records; remembers which were changed, and which weren't there.
pub(crate) struct Ledger<'a> {
    records: &'a Records,
    pub(crate) changed: Records,
    pub(crate) missing: BTreeSet<String>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(records: &'a Records) -> Self {
        Self {
            records,
            changed: Records::new(),
            missing: BTreeSet::new(),
        }
    }

    pub(crate) fn read(&mut self, key: &str) -> Record {
        if let Some(record) = self.changed.get(key).or_else(|| self.records.get(key)) {
            return record.clone();
        }
        self.missing.insert(key.to_owned());
        Record::default()
    }

    pub(crate) fn write(&mut self, key: String, record: Record) {
        self.changed.insert(key, record);
    }

    /// Since when somebody is inside an area: whoever entered no later than its reset isn't.
    pub(crate) fn inside_since(&mut self, area: &Record, inside_key: &str) -> Option<i64> {
        let entered_at = self.read(inside_key).entered_at?;
        area.reset_at
            .is_none_or(|reset_at| entered_at > reset_at)
            .then_some(entered_at)
    }
}

/// The moment of a move that is made at `now_ms`: after every earlier one of the same person in the same area, and after the area's
/// reset, also by a clock that is behind.
pub(crate) fn move_ms(area: &Record, inside: &Record, now_ms: i64) -> i64 {
    let before = [area.reset_at, inside.entered_at, inside.left_at];
    let before = before.into_iter().flatten().max();
    before.map_or(now_ms, |before| now_ms.max(before.saturating_add(1)))
}

/// Keys of an area and of a person in it.
pub(crate) fn keys_of(area: &Identifier, person: &str) -> (String, String) {
    let area = area.as_str();
    (format!("area.{area}"), format!("inside.{area}.{person}"))
}

/// Key of a pass.
pub(crate) fn pass_key(pass: &Identifier) -> String {
    format!("pass.{}", pass.as_str())
}
