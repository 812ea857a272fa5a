//! What a change would alter: who gains a door and who loses one, found by asking `check` before and after it.
//!
//! Only pairs of a person and a door are asked that the change can make a difference to: all doors of the persons that it touches, and
//! all persons of the doors that it touches. A pair without an allow rule, at a door that is never unlocked, is refused either way.
use crate::check::{Silent, decide};
use crate::decision::Decision;
use crate::explain::doors_with_allow_rule;
use crate::grant::{Grant, GrantLink};
use crate::identifier::Identifier;
use crate::model::{Door, State};
use crate::person::Person;
use crate::standing::may_be_unlocked;
use crate::trial::Touch;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most pairs that one preview asks about: about half a second of one core.
pub const PAIRS_MAX: u64 = 1_000_000;

/// A pair whose answer changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// The person.
    pub person: Identifier,
    /// The door.
    pub door: Identifier,
    /// The answer as it is.
    pub before: Decision,
    /// The answer as it would be.
    pub after: Decision,
}

/// Who would gain, and who would lose.
#[derive(Debug, Default)]
pub struct Preview {
    /// Let in afterwards and not before, by person and door: the first of them.
    pub gained: Vec<Altered>,
    /// Let in before and not afterwards.
    pub lost: Vec<Altered>,
    /// How many gain, whether they are listed or not.
    pub gained_total: u64,
    /// How many lose.
    pub lost_total: u64,
    /// False when there were more pairs to ask about than are asked: then the totals are too small, and the lists any of them.
    pub complete: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// When.
    pub now_ms: i64,
    /// Only doors of these sites; `None`: all.
    pub sites: Option<&'a [String]>,
    /// How many of each are listed.
    pub limit: usize,
    /// How many pairs are asked about.
    pub pairs_max: u64,
}

/// Holds two states against each other. `touch` has to name all that can make a difference between them.
#[must_use]
pub fn compare(before: &State, after: &State, touch: Touch, question: Question<'_>) -> Preview {
    let mut comparison = Comparison {
        states: [before, after],
        question,
        pairs: 0,
        gained: Kept::default(),
        lost: Kept::default(),
    };
    let Touch {
        everything,
        mut persons,
        places,
        schedules,
    } = touch;
    persons.extend(comparison.persons_under(&schedules));
    comparison.add_receivers(&mut persons);
    let doors = comparison.doors_touched(everything, &places, &schedules, &persons);
    let free = comparison.free_doors(&persons);
    for person in &persons {
        comparison.ask_everywhere(person, &free);
    }
    comparison.ask_everybody(&doors, &persons);
    comparison.finish()
}

type Doors = BTreeMap<u32, Identifier>;

struct Comparison<'a> {
    states: [&'a State; 2],
    question: Question<'a>,
    pairs: u64,
    gained: Kept,
    lost: Kept,
}

impl<'a> Comparison<'a> {
    /// Persons who hold a rule of their own under one of these schedules.
    fn persons_under(&self, schedules: &BTreeSet<u32>) -> BTreeSet<Identifier> {
        let mut found = BTreeSet::new();
        if schedules.is_empty() {
            return found;
        }
        let before = self.before();
        before.persons.for_each(|person| {
            let mut grants = grants_of(before, person);
            if grants.any(|grant| is_under(grant.schedule, schedules)) {
                found.insert(person.id.clone());
            }
        });
        found
    }

    /// Whoever was given a pass by one of them may pass only where the giver may, and so on for whom they gave one.
    fn add_receivers(&self, persons: &mut BTreeSet<Identifier>) {
        if persons.is_empty() {
            return;
        }
        let mut receivers: HashMap<Identifier, Vec<Identifier>> = HashMap::new();
        let before = self.before();
        before.persons.for_each(|person| {
            for giver in grants_of(before, person).filter_map(giver_of) {
                let known = receivers.entry(giver.clone()).or_default();
                known.push(person.id.clone());
            }
        });
        let mut waiting: Vec<Identifier> = persons.iter().cloned().collect();
        while let Some(giver) = waiting.pop() {
            for receiver in receivers.remove(&giver).unwrap_or_default() {
                if persons.insert(receiver.clone()) {
                    waiting.push(receiver);
                }
            }
        }
    }

    /// Doors that are touched themselves, or through their area, one that they lead into, their site, a schedule, or who gave a pass for
    /// them.
    fn doors_touched(
        &self,
        everything: bool,
        places: &BTreeSet<u32>,
        schedules: &BTreeSet<u32>,
        persons: &BTreeSet<Identifier>,
    ) -> Doors {
        let mut found = Doors::new();
        for state in self.states {
            for place in places {
                for door in doors_at(state, *place) {
                    found.insert(door.place, door.id.clone());
                }
            }
            let holders = places.iter().any(|place| state.place(*place).is_some());
            if everything || holders || !schedules.is_empty() || !persons.is_empty() {
                let mut concerned = Concerned {
                    state,
                    schedules,
                    persons,
                    places: HashMap::new(),
                };
                state.doors.for_each(|door| {
                    let enters = || {
                        door.enters_another()
                            .is_some_and(|area| places.contains(&area))
                    };
                    if everything || enters() || concerned.is(door) {
                        found.insert(door.place, door.id.clone());
                    }
                });
            }
        }
        found
    }

    /// Doors that may be open for everybody, before or after. Only asked for when there is somebody to ask about.
    fn free_doors(&self, persons: &BTreeSet<Identifier>) -> BTreeSet<Identifier> {
        let mut found = BTreeSet::new();
        if !persons.is_empty() {
            for state in self.states {
                state.doors.for_each(|door| {
                    if may_be_unlocked(door) {
                        found.insert(door.id.clone());
                    }
                });
            }
        }
        found
    }

    fn ask_everywhere(&mut self, person: &Identifier, free: &BTreeSet<Identifier>) {
        if self
            .states
            .iter()
            .all(|state| state.person(person.as_str()).is_none())
        {
            return;
        }
        let mut doors: BTreeSet<&Identifier> = free.iter().collect();
        for state in self.states {
            if let Some(person) = state.person(person.as_str()) {
                doors.extend(doors_with_allow_rule(state, person).into_keys());
            }
        }
        for door in doors {
            self.ask(person, door);
        }
    }

    /// Everybody whose record is the same in both states, at the doors that are touched.
    fn ask_everybody(&mut self, doors: &Doors, asked: &BTreeSet<Identifier>) {
        if doors.is_empty() {
            return;
        }
        let states = self.states;
        let is_free = |door: &u32| {
            let records = states.map(|state| state.door_at(*door));
            records.into_iter().flatten().any(may_be_unlocked)
        };
        let free: BTreeSet<u32> = doors.keys().copied().filter(is_free).collect();
        let mut of_groups: HashMap<u32, Vec<u32>> = HashMap::new();
        self.before().persons.for_each(|person| {
            let hidden = !states.iter().any(|state| state.shows(person.staged()));
            if hidden || self.is_full() || asked.contains(&person.id) {
                return;
            }
            let mut candidates = free.clone();
            for group in person.groups() {
                let of_group = of_groups
                    .entry(group)
                    .or_insert_with(|| doors_of_group(states, group, doors));
                candidates.extend(of_group.iter().copied());
            }
            candidates.extend(own_doors(states, person, doors));
            for door in candidates {
                if let Some(door) = doors.get(&door) {
                    self.ask(&person.id, door);
                }
            }
        });
    }

    fn ask(&mut self, person: &Identifier, door: &Identifier) {
        if self.is_full() || !self.is_within(door) {
            return;
        }
        self.pairs = self.pairs.saturating_add(1);
        let (person_id, door_id, now_ms) = (person.as_str(), door.as_str(), self.question.now_ms);
        let [before, after] = self
            .states
            .map(|state| decide(state, person_id, door_id, now_ms, &mut Silent));
        let kept = match (before.is_allowed(), after.is_allowed()) {
            (false, true) => &mut self.gained,
            (true, false) => &mut self.lost,
            _ => return,
        };
        kept.keep(
            (person.clone(), door.clone()),
            (before, after),
            self.question.limit,
        );
    }

    fn is_within(&self, door: &Identifier) -> bool {
        let Some(sites) = self.question.sites else {
            return true;
        };
        let mut at = self.states.iter().filter_map(|state| {
            let door = state.doors.get(door.as_str())?;
            state.place_name(door.site_place)
        });
        at.any(|site| sites.iter().any(|known| known == site.as_str()))
    }

    fn is_full(&self) -> bool {
        self.pairs >= self.question.pairs_max
    }

    fn before(&self) -> &'a State {
        let [before, _] = self.states;
        before
    }

    fn finish(self) -> Preview {
        Preview {
            complete: !self.is_full(),
            gained_total: self.gained.total,
            lost_total: self.lost.total,
            gained: self.gained.listed(),
            lost: self.lost.listed(),
        }
    }
}

/// Pairs by person and door: the smallest of all that were seen.
#[derive(Default)]
struct Kept {
    total: u64,
    smallest: BTreeMap<(Identifier, Identifier), (Decision, Decision)>,
}

impl Kept {
    fn keep(
        &mut self,
        pair: (Identifier, Identifier),
        decisions: (Decision, Decision),
        limit: usize,
    ) {
        self.total = self.total.saturating_add(1);
        self.smallest.insert(pair, decisions);
        if self.smallest.len() > limit {
            self.smallest.pop_last();
        }
    }

    fn listed(self) -> Vec<Altered> {
        let altered = self.smallest.into_iter();
        altered
            .map(|((person, door), (before, after))| Altered {
                person,
                door,
                before,
                after,
            })
            .collect()
    }
}

/// Whether a door's answer hangs on one of these schedules, or on one of these persons as the giver of a pass to a group.
struct Concerned<'a> {
    state: &'a State,
    schedules: &'a BTreeSet<u32>,
    persons: &'a BTreeSet<Identifier>,
    /// Areas and sites, which many doors share.
    places: HashMap<u32, bool>,
}

impl Concerned<'_> {
    fn is(&mut self, door: &Door) -> bool {
        let modes = door.terms.iter().flat_map(|terms| &terms.modes);
        if modes
            .into_iter()
            .any(|(schedule, _)| self.schedules.contains(schedule))
            || door.rules.iter().any(|rule| self.hangs_on(rule.grant))
        {
            return true;
        }
        let outer = [
            Some(door.site_place),
            door.area_place,
            door.enters_another(),
        ];
        outer
            .into_iter()
            .flatten()
            .any(|place| self.is_place(place))
    }

    fn is_place(&mut self, handle: u32) -> bool {
        if let Some(known) = self.places.get(&handle) {
            return *known;
        }
        let place = self.state.place(handle);
        let concerned =
            place.is_some_and(|place| place.rules.iter().any(|rule| self.hangs_on(rule.grant)));
        self.places.insert(handle, concerned);
        concerned
    }

    fn hangs_on(&self, link: GrantLink) -> bool {
        let grant = self.state.grants.get(link.handle());
        grant.is_some_and(|grant| {
            is_under(grant.schedule, self.schedules)
                || giver_of(grant).is_some_and(|giver| self.persons.contains(giver))
        })
    }
}

fn grants_of<'a>(state: &'a State, person: &'a Person) -> impl Iterator<Item = &'a Grant> {
    let rules = person.rules().iter();
    rules.filter_map(|rule| state.grants.get(rule.grant.handle()))
}

fn is_under(schedule: Option<u32>, schedules: &BTreeSet<u32>) -> bool {
    schedule.is_some_and(|schedule| schedules.contains(&schedule))
}

fn giver_of(grant: &Grant) -> Option<&Identifier> {
    grant.pass.as_ref()?.given_by.as_ref()
}

/// The door at this place, or the doors in it.
fn doors_at(state: &State, place: u32) -> impl Iterator<Item = &Door> {
    let inside = state.place(place).map(|place| &*place.doors);
    let handles = inside.unwrap_or_default().iter().copied().chain([place]);
    handles.filter_map(|door| state.door_at(door))
}

/// Those of the touched doors that allow a group something, in either state.
fn doors_of_group(states: [&State; 2], group: u32, doors: &Doors) -> Vec<u32> {
    let mut found = BTreeSet::new();
    for state in states {
        let places = state.places_of_group.get(group);
        for place in places.into_iter().flat_map(|places| places.iter()) {
            found.extend(touched_at(state, *place, doors));
        }
    }
    found.into_iter().collect()
}

/// Those of the touched doors on which a person holds an allow rule alone.
fn own_doors(states: [&State; 2], person: &Person, doors: &Doors) -> BTreeSet<u32> {
    let allowing = person.rules().iter().filter(|rule| !rule.grant.denies());
    let places: BTreeSet<u32> = allowing.map(|rule| rule.place).collect();
    let mut found = BTreeSet::new();
    for state in states {
        for place in &places {
            found.extend(touched_at(state, *place, doors));
        }
    }
    found
}

fn touched_at<'a>(
    state: &'a State,
    place: u32,
    doors: &'a Doors,
) -> impl Iterator<Item = u32> + 'a {
    doors_at(state, place)
        .map(|door| door.place)
        .filter(|door| doors.contains_key(door))
}
