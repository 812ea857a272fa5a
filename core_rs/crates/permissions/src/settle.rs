//! What memory can't know: how often a pass was used, who is inside, who asked first. One engine, and no I/O.
//!
//! The caller reads the states that are missing, in the transaction that carries the decision, and writes those that changed.
//! INVARIANT: a refusal changes nothing but the count of wrong PINs and who asked first.
use crate::area_terms::AreaTerms;
use crate::check::{Rights, Silent, decide_by};
use crate::decision::{Choice, Decision, Needs, Reason};
use crate::documents::AntiPassback;
use crate::identifier::Identifier;
use crate::model::State;
use crate::roles::authenticate;
use crate::states::{Ledger, Moved, Record, Records, Taken, keys_of, move_ms, pass_key};
use std::collections::BTreeSet;

/// So many limited rules are read at first, and the others only when the passes of all of these are used up.
const CHOICES_AT_FIRST: usize = 64;

/// Wrong PINs after which nobody is heard for a while.
pub const WRONG_PINS_MAX: u32 = 5;
/// For how long, in milliseconds.
pub const WRONG_PINS_MS: i64 = 600_000;

/// Of those who keep a door open for everybody so many are counted: more would only meet each other at its record.
const OPENERS_MAX: u32 = 3;

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
    /// When the token was issued that they showed.
    pub issued_at_ms: i64,
    /// Its session.
    pub session: &'a str,
    /// Whether the PIN that was given is right; `None`: none was given.
    pub pin: Option<bool>,
    /// The clock of the commit group.
    pub now_ms: i64,
}

pub(crate) type Refused = (Reason, Option<Identifier>);

const NOT_BOTH: Refused = (Reason::SecondPersonNeeded, None);

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
    let mut desk = Desk::new(state, decision.revision, asking.now_ms, records);
    let mut taken = Taken::default();
    let outcome = desk.ask(asking, decision, needs, &mut taken);
    let Ledger {
        mut changed,
        missing,
        ..
    } = desk.ledger;
    if !missing.is_empty() {
        return Settled::Missing(missing);
    }
    match outcome {
        Ok(rule) => done(Reason::Granted, rule, taken, changed),
        Err((reason, rule)) => {
            changed.retain(|key, _| {
                key.starts_with("pin.")
                    || matches!(reason, Reason::SecondPersonNeeded | Reason::OccupancyFull)
                        && key.starts_with("door.")
            });
            done(reason, rule, Taken::default(), changed)
        }
    }
}

pub(crate) fn done(
    reason: Reason,
    rule: Option<Identifier>,
    taken: Taken,
    changed: Records,
) -> Settled {
    Settled::Done {
        reason,
        rule,
        taken: Box::new(taken),
        changed,
    }
}

/// Where one attempt is settled.
pub(crate) struct Desk<'a> {
    state: &'a State,
    /// On which the decision was made: memory may be ahead of it.
    revision: i64,
    pub(crate) ledger: Ledger<'a>,
    now_ms: i64,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(state: &'a State, revision: i64, now_ms: i64, records: &'a Records) -> Self {
        Self {
            state,
            revision,
            ledger: Ledger::new(records),
            now_ms,
        }
    }

    fn ask(
        &mut self,
        asking: Asking<'_>,
        decision: &Decision,
        needs: &Needs,
        taken: &mut Taken,
    ) -> Result<Option<Identifier>, Refused> {
        let open_for_all = self.is_open_for_all(asking.door, needs);
        if !decision.is_allowed() && !open_for_all {
            return Err((decision.reason, decision.rule.clone()));
        }
        if !self.has_all(asking, needs, open_for_all) {
            return Ok(None);
        }
        if needs.pin {
            self.hear_pin(asking)?;
        }
        taken.moved = self.go(asking.person, needs)?;
        if open_for_all {
            self.come_next(asking, decision, needs, taken);
            return Ok(Identifier::new(asking.door));
        }
        let used = if needs.two_persons_seconds.is_some() {
            self.hear_two(asking, needs, taken)?
        } else {
            self.use_one(needs, &mut taken.passes)?
        };
        if let Some(day) = needs.first_person_day {
            let key = door_key(asking.door);
            let record = Record {
                opened_day: Some(day),
                opened_revision: self.revision,
                openers: 1,
                ..self.ledger.read(&key)
            };
            self.ledger.write(key, record);
            taken.opened_for_all = true;
            taken.opened_day = Some(day);
            taken.opened_revision = self.revision;
        }
        Ok(used.or_else(|| decision.rule.clone()))
    }

    /// Whoever would have opened the door for everybody keeps it open, should those before them turn out to have found it shut.
    fn come_next(
        &mut self,
        asking: Asking<'_>,
        decision: &Decision,
        needs: &Needs,
        taken: &mut Taken,
    ) {
        let opens = decision.is_allowed() && needs.choices.is_empty();
        let key = door_key(asking.door);
        let record = self.ledger.read(&key);
        // Of a version that didn't count: one opened it.
        let openers = record.openers.max(1);
        if opens && needs.two_persons_seconds.is_none() && openers < OPENERS_MAX {
            taken.opened_for_all = true;
            taken.opened_day = needs.first_person_day;
            taken.opened_revision = record.opened_revision;
            let record = Record {
                openers: openers + 1,
                ..record
            };
            self.ledger.write(key, record);
        }
    }

    /// Asks for everything at once, so that nothing is decided on what isn't known yet and few rounds are needed.
    pub(crate) fn has_all(
        &mut self,
        asking: Asking<'_>,
        needs: &Needs,
        open_for_all: bool,
    ) -> bool {
        if needs.pin {
            self.ledger.read(&pin_key(asking.person));
        }
        if needs.two_persons_seconds.is_some() && !open_for_all {
            self.ledger.read(&door_key(asking.door));
        }
        self.has_all_of(asking.person, needs, open_for_all)
    }

    /// The part of it that a first person has to bring too.
    fn has_all_of(&mut self, person: &str, needs: &Needs, open_for_all: bool) -> bool {
        let entered = needs.enters.as_ref().map(|(area, _)| area);
        for area in entered.into_iter().chain(&needs.leaves) {
            let (area_key, inside_key) = keys_of(area, person);
            self.ledger.read(&area_key);
            self.ledger.read(&inside_key);
        }
        let choices = if open_for_all { &[] } else { &*needs.choices };
        self.read_passes(choices.iter().take(CHOICES_AT_FIRST));
        self.ledger.missing.is_empty()
    }

    fn read_passes<'c>(&mut self, choices: impl Iterator<Item = &'c Choice>) {
        for (pass, _) in choices.flat_map(|choice| &choice.counts) {
            self.ledger.read(&pass_key(pass));
        }
    }

    pub(crate) fn is_open_for_all(&mut self, door: &str, needs: &Needs) -> bool {
        needs.first_person_day.is_some_and(|day| {
            let record = self.ledger.read(&door_key(door));
            record.opened_day == Some(day) && self.is_since_lockdown(door, record.opened_revision)
        })
    }

    /// Whether what was decided on `revision` at a door came after its latest lockdown.
    fn is_since_lockdown(&self, door: &str, revision: i64) -> bool {
        let door = self.state.doors.get(door);
        door.is_none_or(|door| revision >= self.state.lockdown_revision(door))
    }

    /// Five wrong ones, and nobody is heard for ten minutes: four digits are soon guessed else.
    pub(crate) fn hear_pin(&mut self, asking: Asking<'_>) -> Result<(), Refused> {
        let key = pin_key(asking.person);
        let stored = self.ledger.read(&key);
        let lately = stored
            .wrong_since
            .is_some_and(|since| asking.now_ms.saturating_sub(since) < WRONG_PINS_MS);
        let (wrong, since) = if lately {
            (stored.wrong, stored.wrong_since)
        } else {
            (0, None)
        };
        if wrong >= WRONG_PINS_MAX {
            return Err((Reason::RateLimited, None));
        }
        match asking.pin {
            None => Err((Reason::PinNeeded, None)),
            Some(true) => {
                if stored != Record::default() {
                    self.ledger.write(key, Record::default());
                }
                Ok(())
            }
            Some(false) => {
                let record = Record {
                    wrong: wrong + 1,
                    wrong_since: since.or(Some(asking.now_ms)),
                    ..Record::default()
                };
                self.ledger.write(key, record);
                Err((Reason::PinWrong, None))
            }
        }
    }

    /// Out of one area and into another. Leaving is never refused.
    fn go(&mut self, person: &str, needs: &Needs) -> Result<Moved, Refused> {
        let mut moved = Moved::default();
        if let Some(area) = &needs.leaves {
            self.leave(area, person, &mut moved);
        }
        if let Some((area, terms)) = &needs.enters {
            self.enter(area, *terms, person, &mut moved)?;
        }
        Ok(moved)
    }

    pub(crate) fn leave(&mut self, area: &Identifier, person: &str, moved: &mut Moved) {
        let (area_key, inside_key) = keys_of(area, person);
        let record = self.ledger.read(&area_key);
        let Some(since) = self.ledger.inside_since(&record, &inside_key) else {
            return;
        };
        let left_at = Some(move_ms(
            &record,
            &self.ledger.read(&inside_key),
            self.now_ms,
        ));
        let count = record.count.saturating_sub(1);
        self.ledger.write(area_key, Record { count, ..record });
        let outside = Record {
            left_at,
            ..Record::default()
        };
        self.ledger.write(inside_key, outside);
        moved.left = Some(area.clone());
        moved.left_at = left_at;
        moved.left_inside_since = Some(since);
    }

    pub(crate) fn enter(
        &mut self,
        area: &Identifier,
        terms: AreaTerms,
        person: &str,
        moved: &mut Moved,
    ) -> Result<(), Refused> {
        let (area_key, inside_key) = keys_of(area, person);
        let record = self.ledger.read(&area_key);
        let inside = self.ledger.read(&inside_key);
        let entered_at = Some(move_ms(&record, &inside, self.now_ms));
        let inside_since = self.ledger.inside_since(&record, &inside_key);
        let mut count = record.count;
        if let Some(since) = inside_since {
            let lasts_ms = i64::from(terms.anti_passback_minutes) * 60_000;
            match terms.anti_passback {
                AntiPassback::Off => {}
                AntiPassback::Soft => moved.passed_back = Some(area.clone()),
                AntiPassback::Timed if self.now_ms.saturating_sub(since) >= lasts_ms => {}
                AntiPassback::Timed | AntiPassback::Hard => {
                    return Err((Reason::AntiPassback, Some(area.clone())));
                }
            }
        } else {
            let full = |limit| record.count >= limit;
            if terms.occupancy_max.is_some_and(full) {
                return Err((Reason::OccupancyFull, Some(area.clone())));
            }
            count = count.saturating_add(1);
        }
        // Written in any case: of an entry and a reset at the same time one is settled anew.
        let last_at = record.last_at.max(entered_at);
        let area_record = Record {
            count,
            last_at,
            ..record
        };
        self.ledger.write(area_key, area_record);
        let inside = Record {
            entered_at,
            ..inside
        };
        self.ledger.write(inside_key, inside);
        moved.entered = Some(area.clone());
        moved.entered_at = entered_at;
        moved.entered_inside_since = inside_since;
        Ok(())
    }

    /// The first grant whose passes all have a use left; `None` when one holds that isn't limited.
    fn use_one(
        &mut self,
        needs: &Needs,
        passes: &mut Vec<Identifier>,
    ) -> Result<Option<Identifier>, Refused> {
        for (position, choice) in needs.choices.iter().enumerate() {
            if position == CHOICES_AT_FIRST {
                self.read_passes(needs.choices.iter().skip(position));
            }
            if self.use_up(choice, passes) {
                return Ok(Some(choice.rule.clone()));
            }
        }
        let first = needs.choices.first().map(|choice| choice.rule.clone());
        first.map_or(Ok(None), |first| Err((Reason::PassUsedUp, Some(first))))
    }

    /// Whether each of its passes has a use left.
    pub(crate) fn has_uses(&mut self, choice: &Choice) -> bool {
        let mut counts = choice.counts.iter();
        counts.all(|(pass, uses)| self.ledger.read(&pass_key(pass)).used < *uses)
    }

    fn use_up(&mut self, choice: &Choice, passes: &mut Vec<Identifier>) -> bool {
        if !self.has_uses(choice) {
            return false;
        }
        // A pass that is named twice is used once.
        let mut counted = BTreeSet::new();
        for (pass, _) in &choice.counts {
            if counted.insert(pass) {
                let record = self.ledger.read(&pass_key(pass));
                let used = record.used.saturating_add(1);
                self.ledger.write(pass_key(pass), Record { used, ..record });
                passes.push(pass.clone());
            }
        }
        true
    }

    /// Who asked before, and when: somebody else, not too long ago, by a token that stands, and since the latest lockdown. A record without
    /// a token is of a version that didn't keep it.
    pub(crate) fn who_waits(
        &mut self,
        asking: Asking<'_>,
        needs: &Needs,
    ) -> Option<(Identifier, i64)> {
        let record = self.ledger.read(&door_key(asking.door));
        let waits_ms = i64::from(needs.two_persons_seconds.unwrap_or_default()) * 1_000;
        let waiting = record.first_person.zip(record.first_at);
        let shown = record.first_issued_at.zip(record.first_session);
        waiting.filter(|(first, at_ms)| {
            let stands = shown.is_some_and(|(issued_at_ms, session)| {
                authenticate(self.state, first.as_str(), issued_at_ms, &session).is_none()
            });
            first.as_str() != asking.person
                && asking.now_ms.saturating_sub(*at_ms).saturating_abs() <= waits_ms
                && stands
                && self.is_since_lockdown(asking.door, record.first_revision)
        })
    }

    /// The first to ask is remembered and refused; the second opens, if the first still may, and both have come in.
    /// The rule is the second's. Where there is no room for both that is the reason. Who can be nobody's second takes no first's place either.
    pub(crate) fn hear_two(
        &mut self,
        asking: Asking<'_>,
        needs: &Needs,
        taken: &mut Taken,
    ) -> Result<Option<Identifier>, Refused> {
        let key = door_key(asking.door);
        let record = self.ledger.read(&key);
        let own = self.decide_own(asking.person, asking.door);
        if !own.is_allowed() {
            // Who has no use left is told so.
            self.use_one(needs, &mut Vec::new())?;
            return Err((Reason::SecondPersonNeeded, Identifier::new(asking.door)));
        }
        let mut refused = (Reason::SecondPersonNeeded, Identifier::new(asking.door));
        if let Some((first, _)) = self.who_waits(asking, needs) {
            let before = self.ledger.changed.clone();
            let came = self.come_too(&first, record.first_with_pin, asking);
            if let Ok(moved) = came {
                let record = Record {
                    first_person: None,
                    first_at: None,
                    first_issued_at: None,
                    first_session: None,
                    first_revision: 0,
                    first_with_pin: false,
                    ..record
                };
                self.ledger.write(key, record);
                taken.first_person = Some(first);
                taken.first_moved = moved;
                return Ok(own.rule); // no use is counted: what has uses came out of a pass
            }
            self.ledger.changed = before;
            if let Err(full @ (Reason::OccupancyFull, _)) = came {
                refused = full;
            }
        }
        let record = Record {
            first_person: Identifier::new(asking.person),
            first_at: Some(asking.now_ms),
            first_issued_at: Some(asking.issued_at_ms),
            first_session: Some(asking.session.to_owned()),
            first_revision: self.revision,
            first_with_pin: needs.pin,
            ..record
        };
        self.ledger.write(key, record);
        Err(refused)
    }

    /// Two are two by what is their own: a link that somebody made, or was sent, may be opened by the same hand under another name.
    pub(crate) fn decide_own(&self, person: &str, door: &str) -> Decision {
        decide_by(
            self.state,
            person,
            door,
            self.now_ms,
            Rights::Own,
            &mut Silent,
        )
    }

    /// What the first needs is asked now: a grant that was taken meanwhile is gone, an area is entered, a PIN is needed.
    fn come_too(
        &mut self,
        first: &Identifier,
        with_pin: bool,
        asking: Asking<'_>,
    ) -> Result<Moved, Refused> {
        let person = first.as_str();
        let decision = self.decide_own(person, asking.door);
        if !decision.is_allowed() {
            return Err(NOT_BOTH);
        }
        let Some(needs) = &decision.needs else {
            return Ok(Moved::default());
        };
        if needs.pin && !with_pin || !self.has_all_of(person, needs, false) {
            return Err(NOT_BOTH);
        }
        self.go(person, needs)
    }
}

fn door_key(door: &str) -> String {
    format!("door.{door}")
}

pub(crate) fn pin_key(person: &str) -> String {
    format!("pin.{person}")
}
