//! What memory can't know: how often a pass was used, who is inside, who asked first. One engine, and no I/O.
//!
//! The caller reads the states that are missing, in the transaction that carries the decision, and writes those that changed.
//! INVARIANT: a refusal changes nothing but the count of wrong PINs and who asked first.
use crate::check::{Silent, decide};
use crate::decision::{Choice, Decision, Needs, Reason};
use crate::documents::{AntiPassback, Malformed};
use crate::identifier::Identifier;
use crate::model::{AreaTerms, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Wrong PINs after which nobody is heard for a while.
pub const WRONG_PINS_MAX: u32 = 5;
/// For how long, in milliseconds.
pub const WRONG_PINS_MS: i64 = 600_000;

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
    /// Of a person in an area: when they entered; absent: they are outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<i64>,
    /// Of a door: who asked first, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_person: Option<Identifier>,
    /// See `first_person`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<i64>,
    /// Of a door: the day on which a first person opened it for everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_day: Option<i64>,
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

/// What one grant took: told in the event, and given back if the door didn't open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taken {
    /// Passes that were used, once each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<Identifier>,
    /// The area that was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered: Option<Identifier>,
    /// The area that was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Identifier>,
    /// The area that was entered by somebody who was inside (soft anti-passback).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_back: Option<Identifier>,
    /// Who asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_person: Option<Identifier>,
    /// Whether this opened the door for everybody today.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opened_for_all: bool,
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

/// The answer, or what has to be read for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Keys whose records are not among those that were given (`Record::default()` stands for one that isn't in the store).
    Missing(BTreeSet<String>),
    /// The final answer, what it took, and the records that changed.
    Done {
        /// `Granted`, or why not.
        reason: Reason,
        /// What settled it.
        rule: Option<Identifier>,
        /// What it took, of a grant.
        taken: Box<Taken>,
        /// Records to write.
        changed: Records,
    },
}

/// Who asks for which door, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The person.
    pub person: &'a str,
    /// The door.
    pub door: &'a str,
    /// Whether the PIN that was given is right; `None`: none was given.
    pub pin: Option<bool>,
    /// The clock of the commit group.
    pub now_ms: i64,
}

type Refused = (Reason, Option<Identifier>);

/// Undoes what a grant of `at_ms` took, when the door didn't open. What others did since stays.
#[must_use]
pub fn give_back(asking: Asking<'_>, taken: &Taken, records: &Records) -> Settled {
    let state = State::default();
    let mut desk = Desk {
        state: &state,
        records,
        changed: Records::new(),
        missing: BTreeSet::new(),
        now_ms: asking.now_ms,
    };
    desk.undo(asking, taken);
    if !desk.missing.is_empty() {
        return Settled::Missing(desk.missing);
    }
    done(Reason::Granted, None, Taken::default(), desk.changed)
}

/// Settles `decision`, which was made for the same person, door and moment.
#[must_use]
pub fn settle(
    state: &State,
    asking: Asking<'_>,
    decision: &Decision,
    records: &Records,
) -> Settled {
    let Some(needs) = &decision.needs else {
        return done(
            decision.reason,
            decision.rule.clone(),
            Taken::default(),
            Records::new(),
        );
    };
    let mut desk = Desk {
        state,
        records,
        changed: Records::new(),
        missing: BTreeSet::new(),
        now_ms: asking.now_ms,
    };
    let mut taken = Taken::default();
    let outcome = desk.ask(asking, decision, needs, &mut taken);
    if !desk.missing.is_empty() {
        return Settled::Missing(desk.missing);
    }
    match outcome {
        Ok(rule) => done(Reason::Granted, rule, taken, desk.changed),
        Err((reason, rule)) => {
            desk.changed.retain(|key, _| {
                key.starts_with("pin.")
                    || reason == Reason::SecondPersonNeeded && key.starts_with("door.")
            });
            done(reason, rule, Taken::default(), desk.changed)
        }
    }
}

fn done(reason: Reason, rule: Option<Identifier>, taken: Taken, changed: Records) -> Settled {
    Settled::Done {
        reason,
        rule,
        taken: Box::new(taken),
        changed,
    }
}

/// Works on copies of records; remembers which were changed, and which weren't there.
struct Desk<'a> {
    state: &'a State,
    records: &'a Records,
    changed: Records,
    missing: BTreeSet<String>,
    now_ms: i64,
}

impl Desk<'_> {
    fn read(&mut self, key: &str) -> Record {
        if let Some(record) = self.changed.get(key).or_else(|| self.records.get(key)) {
            return record.clone();
        }
        self.missing.insert(key.to_owned());
        Record::default()
    }

    fn write(&mut self, key: String, record: Record) {
        self.changed.insert(key, record);
    }

    fn ask(
        &mut self,
        asking: Asking<'_>,
        decision: &Decision,
        needs: &Needs,
        taken: &mut Taken,
    ) -> Result<Option<Identifier>, Refused> {
        let mut rule = decision.rule.clone();
        let open_for_all = self.is_open_for_all(asking.door, needs);
        if !decision.is_allowed() {
            if !open_for_all {
                return Err((decision.reason, rule));
            }
            rule = Identifier::new(asking.door);
        }
        if needs.pin {
            self.hear_pin(asking)?;
        }
        let used = self.take(asking.person, needs, open_for_all, taken)?;
        if open_for_all {
            return Ok(rule);
        }
        if needs.two_persons_seconds.is_some() {
            self.hear_two(asking, needs, taken)?;
        }
        if let Some(day) = needs.first_person_day {
            let key = format!("door.{}", asking.door);
            let record = Record {
                opened_day: Some(day),
                ..self.read(&key)
            };
            self.write(key, record);
            taken.opened_for_all = true;
        }
        Ok(used.or(rule))
    }

    fn is_open_for_all(&mut self, door: &str, needs: &Needs) -> bool {
        needs
            .first_person_day
            .is_some_and(|day| self.read(&format!("door.{door}")).opened_day == Some(day))
    }

    /// Five wrong ones, and nobody is heard for ten minutes: four digits are soon guessed else.
    fn hear_pin(&mut self, asking: Asking<'_>) -> Result<(), Refused> {
        let key = format!("pin.{}", asking.person);
        let mut record = self.read(&key);
        let lately = record
            .wrong_since
            .is_some_and(|since| asking.now_ms.saturating_sub(since) < WRONG_PINS_MS);
        if !lately {
            record.wrong = 0;
            record.wrong_since = None;
        }
        if record.wrong >= WRONG_PINS_MAX {
            return Err((Reason::RateLimited, None));
        }
        match asking.pin {
            None => Err((Reason::PinNeeded, None)),
            Some(true) => {
                if record.wrong > 0 {
                    self.write(key, Record::default());
                }
                Ok(())
            }
            Some(false) => {
                record.wrong += 1;
                record.wrong_since = record.wrong_since.or(Some(asking.now_ms));
                self.write(key, record);
                Err((Reason::PinWrong, None))
            }
        }
    }

    /// Anti-passback, occupancy, uses; the grant that was used, when one is limited.
    fn take(
        &mut self,
        person: &str,
        needs: &Needs,
        open_for_all: bool,
        taken: &mut Taken,
    ) -> Result<Option<Identifier>, Refused> {
        if let Some(area) = &needs.leaves {
            self.leave(area, person, taken);
        }
        if let Some((area, terms)) = &needs.enters {
            self.enter(area, *terms, person, taken)?;
        }
        if open_for_all || needs.choices.is_empty() {
            return Ok(None);
        }
        for choice in &needs.choices {
            if self.use_up(choice, taken) {
                return Ok(Some(choice.rule.clone()));
            }
        }
        let first = needs.choices.first();
        Err((Reason::PassUsedUp, first.map(|choice| choice.rule.clone())))
    }

    fn is_inside(&mut self, area: &Record, inside_key: &str) -> Option<i64> {
        let entered_at = self.read(inside_key).entered_at?;
        area.reset_at
            .is_none_or(|reset_at| entered_at > reset_at)
            .then_some(entered_at)
    }

    /// Leaving is never refused.
    fn leave(&mut self, area: &Identifier, person: &str, taken: &mut Taken) {
        let (area_key, inside_key) = keys_of(area, person);
        let mut record = self.read(&area_key);
        if self.is_inside(&record, &inside_key).is_some() {
            record.count = record.count.saturating_sub(1);
            self.write(area_key, record);
            self.write(inside_key, Record::default());
            taken.left = Some(area.clone());
        }
    }

    fn enter(
        &mut self,
        area: &Identifier,
        terms: AreaTerms,
        person: &str,
        taken: &mut Taken,
    ) -> Result<(), Refused> {
        let (area_key, inside_key) = keys_of(area, person);
        let mut record = self.read(&area_key);
        let inside_since = self.is_inside(&record, &inside_key);
        if let Some(since) = inside_since {
            let lasts_ms = i64::from(terms.anti_passback_minutes) * 60_000;
            match terms.anti_passback {
                AntiPassback::Off => {}
                AntiPassback::Soft => taken.passed_back = Some(area.clone()),
                AntiPassback::Timed if self.now_ms.saturating_sub(since) >= lasts_ms => {}
                AntiPassback::Timed | AntiPassback::Hard => {
                    return Err((Reason::AntiPassback, Some(area.clone())));
                }
            }
        } else {
            if terms
                .occupancy_max
                .is_some_and(|limit| record.count >= limit)
            {
                return Err((Reason::OccupancyFull, Some(area.clone())));
            }
            record.count += 1;
            self.write(area_key, record);
        }
        let inside = Record {
            entered_at: Some(self.now_ms),
            ..Record::default()
        };
        self.write(inside_key, inside);
        taken.entered = Some(area.clone());
        Ok(())
    }

    fn use_up(&mut self, choice: &Choice, taken: &mut Taken) -> bool {
        let passes: Vec<(String, Record)> = choice
            .counts
            .iter()
            .map(|(pass, _)| {
                let key = format!("pass.{}", pass.as_str());
                let record = self.read(&key);
                (key, record)
            })
            .collect();
        let left = passes
            .iter()
            .zip(&choice.counts)
            .all(|((_, record), (_, uses))| record.used < *uses);
        if left {
            for (key, record) in passes {
                let used = record.used + 1;
                self.write(key, Record { used, ..record });
            }
            taken
                .passes
                .extend(choice.counts.iter().map(|(pass, _)| pass.clone()));
        }
        left
    }

    /// The first to ask is remembered and refused; the second opens, if the first still may, and both have come in.
    fn hear_two(
        &mut self,
        asking: Asking<'_>,
        needs: &Needs,
        taken: &mut Taken,
    ) -> Result<(), Refused> {
        let key = format!("door.{}", asking.door);
        let record = self.read(&key);
        let waits_ms = i64::from(needs.two_persons_seconds.unwrap_or_default()) * 1_000;
        let waiting = record.first_person.clone().zip(record.first_at);
        let first = waiting.filter(|(first, at_ms)| {
            first.as_str() != asking.person
                && asking.now_ms.saturating_sub(*at_ms).saturating_abs() <= waits_ms
        });
        if let Some((first, _)) = first
            && self.first_comes_along(&first, asking, taken)
        {
            let record = Record {
                first_person: None,
                first_at: None,
                ..record
            };
            self.write(key, record);
            taken.first_person = Some(first);
            return Ok(());
        }
        let record = Record {
            first_person: Identifier::new(asking.person),
            first_at: Some(asking.now_ms),
            ..record
        };
        self.write(key, record);
        Err((Reason::SecondPersonNeeded, Identifier::new(asking.door)))
    }

    fn undo(&mut self, asking: Asking<'_>, taken: &Taken) {
        for pass in &taken.passes {
            let key = format!("pass.{}", pass.as_str());
            let record = self.read(&key);
            let used = record.used.saturating_sub(1);
            self.write(key, Record { used, ..record });
        }
        let first = taken.first_person.as_ref().map(Identifier::as_str);
        for person in [Some(asking.person), first].into_iter().flatten() {
            if let Some(area) = &taken.entered {
                let (area_key, inside_key) = keys_of(area, person);
                let record = self.read(&area_key);
                // Whoever was inside before (soft anti-passback) is inside still.
                let entered_now = self.is_inside(&record, &inside_key) == Some(asking.now_ms);
                if entered_now && taken.passed_back.is_none() {
                    let count = record.count.saturating_sub(1);
                    self.write(area_key, Record { count, ..record });
                    self.write(inside_key, Record::default());
                }
            }
        }
        if let Some(area) = &taken.left {
            let (area_key, inside_key) = keys_of(area, asking.person);
            let record = self.read(&area_key);
            if self.is_inside(&record, &inside_key).is_none() {
                let count = record.count.saturating_add(1);
                self.write(area_key, Record { count, ..record });
                let entered_at = Some(asking.now_ms);
                self.write(
                    inside_key,
                    Record {
                        entered_at,
                        ..Record::default()
                    },
                );
            }
        }
        if taken.opened_for_all {
            let key = format!("door.{}", asking.door);
            let record = self.read(&key);
            self.write(
                key,
                Record {
                    opened_day: None,
                    ..record
                },
            );
        }
    }

    /// What the first person needs is asked now: a grant that was taken meanwhile is gone, a pass is used, an area entered.
    fn first_comes_along(
        &mut self,
        first: &Identifier,
        asking: Asking<'_>,
        taken: &mut Taken,
    ) -> bool {
        let decision = decide(
            self.state,
            first.as_str(),
            asking.door,
            self.now_ms,
            &mut Silent,
        );
        if !decision.is_allowed() {
            return false;
        }
        let Some(needs) = &decision.needs else {
            return true;
        };
        let before = self.changed.clone();
        let mut own = Taken::default();
        let comes = self.take(first.as_str(), needs, false, &mut own).is_ok();
        if comes {
            taken.passes.append(&mut own.passes);
        } else {
            self.changed = before;
        }
        comes
    }
}

fn keys_of(area: &Identifier, person: &str) -> (String, String) {
    let area = area.as_str();
    (format!("area.{area}"), format!("inside.{area}.{person}"))
}
