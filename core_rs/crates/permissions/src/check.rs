//! The one engine that decides: the steps of the protocol in their order; the first that refuses is the reason.
//!
//! `explain` runs the same engine and listens to its steps; a silent listener costs nothing.
use crate::decision::{Choice, Decision, Needs, Reason};
use crate::documents::DoorMode;
use crate::grant::{Grant, GrantLink, GroupRule};
use crate::identifier::Identifier;
use crate::model::{Door, Place, State};
use crate::person::Person;
use crate::zone::WallClock;
use std::cell::{Cell, OnceCell};

/// The step that only the store can take; memory says what for.
pub const SETTLED: &str = "settled_with_the_store";

/// Hears of every step that is taken.
pub trait Listener {
    /// A step, whether it was passed, and words about it that are only made when somebody listens.
    fn step(&mut self, step: &'static str, passed: bool, detail: impl FnOnce() -> String);
}

/// Listens to nothing.
pub struct Silent;

impl Listener for Silent {
    #[inline]
    fn step(&mut self, _: &'static str, _: bool, _: impl FnOnce() -> String) {}
}

/// What somebody may pass by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything that is theirs.
    All,
    /// What a manager gave to them by name, or to a group of theirs: nothing that came out of a pass.
    Own,
}

/// What one rule comes to at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in force: it allows, or it denies.
    Holds,
    /// Its validity begins later.
    NotYetValid,
    /// Its validity has ended.
    Expired,
    /// Its schedule is closed because of a holiday.
    Holiday,
    /// Its schedule is closed, or can't be told.
    OutsideSchedule,
    /// It came from a pass whose giver may not pass.
    GiverMayNot,
}

impl Verdict {
    /// Its code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Holiday => "holiday",
            Self::OutsideSchedule => "outside_schedule",
            Self::GiverMayNot => "giver_may_not",
        }
    }
}

type Outcome = (Reason, Option<Identifier>);

/// May `person` pass `door` at `now_ms`?
pub fn decide(
    state: &State,
    person: &str,
    door: &str,
    now_ms: i64,
    listener: &mut impl Listener,
) -> Decision {
    decide_by(state, person, door, now_ms, Rights::All, listener)
}

/// Like `decide`, by these rights.
pub fn decide_by(
    state: &State,
    person: &str,
    door: &str,
    now_ms: i64,
    rights: Rights,
    listener: &mut impl Listener,
) -> Decision {
    let mut needs = None;
    let outcome = person_by_id(state, person, listener).and_then(|person| {
        let door = state.doors.get(door);
        listener.step("door_known", door.is_some(), String::new);
        let door = door.ok_or((Reason::DoorUnknown, None))?;
        outcome_of(state, person, door, now_ms, rights, &mut needs, listener)
    });
    decision(state, outcome, needs)
}

/// The same of a person and a door that were found before.
pub fn decide_found(state: &State, person: &Person, door: &Door, now_ms: i64) -> Decision {
    let mut needs = None;
    let shown = || Some(person).filter(|person| state.shows(person.staged()));
    let outcome = active_person(state, shown, &mut Silent).and_then(|person| {
        outcome_of(
            state,
            person,
            door,
            now_ms,
            Rights::All,
            &mut needs,
            &mut Silent,
        )
    });
    decision(state, outcome, needs)
}

fn decision(
    state: &State,
    outcome: Result<Outcome, Outcome>,
    needs: Option<Box<Needs>>,
) -> Decision {
    let (reason, rule) = outcome.unwrap_or_else(|early| early);
    Decision {
        reason,
        rule,
        revision: state.revision,
        needs,
    }
}

/// The steps from the door on, in order. `Err` is the answer of a step before the rules, `Ok` the answer of the rules.
fn outcome_of(
    state: &State,
    person: &Person,
    door: &Door,
    now_ms: i64,
    rights: Rights,
    needs: &mut Option<Box<Needs>>,
    listener: &mut impl Listener,
) -> Result<Outcome, Outcome> {
    not_locked_down(state, door, listener)?;
    person_stands(person, now_ms, listener)?;
    let mut hearing = Hearing {
        rights,
        ..Hearing::new(state, door, now_ms)
    };
    let mode = hearing.mode();
    listener.step("door_mode", true, || mode_detail(mode).into());
    if mode == DoorMode::Unlocked {
        let outcome = (Reason::Granted, Some(door.id.clone()));
        *needs = hearing.needs(mode, &outcome, listener);
        return Err(outcome);
    }
    for_each_rule(state, person, door, |grant| hearing.hear(grant));
    let outcome = hearing.outcome(listener);
    *needs = hearing.needs(mode, &outcome, listener);
    Ok(outcome)
}

const fn mode_detail(mode: DoorMode) -> &'static str {
    match mode {
        DoorMode::Locked => "locked: a grant is needed",
        DoorMode::Unlocked => "unlocked for every valid person",
        DoorMode::FirstPersonIn => {
            "first person in: a grant is needed until somebody with one has come today"
        }
        DoorMode::CardAndPin => "card and PIN: a grant and the PIN are needed",
    }
}

/// The steps before the door: organization active, person known.
pub fn person_by_id<'a>(
    state: &'a State,
    person: &str,
    listener: &mut impl Listener,
) -> Result<&'a Person, Outcome> {
    active_person(state, || state.person(person), listener)
}

fn active_person<'a>(
    state: &State,
    find: impl FnOnce() -> Option<&'a Person>,
    listener: &mut impl Listener,
) -> Result<&'a Person, Outcome> {
    listener.step("organization_active", state.active, String::new);
    if !state.active {
        return Err((Reason::OrganizationSuspended, None));
    }
    let person = find();
    listener.step("person_known", person.is_some(), String::new);
    person.ok_or((Reason::UnknownCredential, None))
}

/// The step of the lockdown: of the door, of its area and the area that it enters, of its site.
pub fn not_locked_down<'a>(
    state: &'a State,
    door: &'a Door,
    listener: &mut impl Listener,
) -> Result<(), Outcome> {
    let of_area = |area: &'a Place| (Reason::AreaLockedDown, &area.id, area.locked_down);
    let site = state
        .site_of(door)
        .map(|site| (Reason::SiteLockedDown, &site.id, site.locked_down));
    let holders = [
        Some((Reason::DoorLockedDown, &door.id, door.locked_down)),
        state.area_of(door).map(of_area),
        state.area_behind(door).map(of_area),
        site,
    ];
    let lockdown = holders
        .into_iter()
        .flatten()
        .find(|(_, _, locked_down)| *locked_down);
    listener.step("lockdown", lockdown.is_none(), || {
        lockdown.map_or_else(String::new, |(reason, id, _)| {
            format!("{} by {}", reason.as_str(), id.as_str())
        })
    });
    lockdown.map_or(Ok(()), |(reason, id, _)| Err((reason, Some(id.clone()))))
}

/// Active, and valid now.
pub fn person_stands(
    person: &Person,
    now_ms: i64,
    listener: &mut impl Listener,
) -> Result<(), Outcome> {
    listener.step("person_active", !person.suspended, String::new);
    if person.suspended {
        return Err((Reason::PersonSuspended, None));
    }
    let begun = person.validity().has_begun(now_ms);
    let over = person.validity().is_over(now_ms);
    listener.step("person_valid", begun && !over, String::new);
    match (begun, over) {
        (false, _) => Err((Reason::NotYetValid, None)),
        (_, true) => Err((Reason::Expired, None)),
        _ => Ok(()),
    }
}

/// Every rule that concerns this person at this door: on the door, its area, its site, as far as it shows; and of the area that it leads
/// into those that deny, as that area is what they keep somebody out of. INVARIANT: each leads to a grant of the state.
pub fn for_each_rule<'a>(
    state: &'a State,
    person: &'a Person,
    door: &'a Door,
    mut heard: impl FnMut(&'a Grant),
) {
    let mut hear_of = |link: GrantLink| {
        let grant = state.grants.get(link.handle());
        debug_assert!(grant.is_some(), "a rule without its grant");
        let shown = grant.filter(|grant| state.shows(grant.staged));
        shown.into_iter().for_each(&mut heard);
    };
    let area = state.area_of(door).map(|area| &*area.rules);
    let site = state.site_of(door).map(|site| &*site.rules);
    let places = [
        (Some(door.place), Some(&*door.rules)),
        (door.area_place, area),
        (Some(door.site_place), site),
    ];
    for (place, rules) in places {
        if let (Some(place), Some(rules)) = (place, rules) {
            for_each_rule_at(person, place, rules, &mut hear_of);
        }
    }
    if let (Some(place), Some(behind)) = (door.enters_another(), state.area_behind(door)) {
        for_each_rule_at(person, place, &behind.rules, &mut |link: GrantLink| {
            if link.denies() {
                hear_of(link);
            }
        });
    }
}

/// The rules at one place, for the person's groups and for the person alone.
fn for_each_rule_at(
    person: &Person,
    place: u32,
    rules: &[GroupRule],
    hear_of: &mut impl FnMut(GrantLink),
) {
    for_each_group_rule(person, rules, hear_of);
    let first = person.rules().partition_point(|rule| rule.place < place);
    let own = person
        .rules()
        .iter()
        .skip(first)
        .take_while(|rule| rule.place == place);
    own.for_each(|rule| hear_of(rule.grant));
}

/// How often a pass may have been passed on: each level asks what its giver may.
const PASSED_ON_MAX: usize = 4;
/// Most givers that are asked for one decision; a pass beyond them is as if it weren't there. Who passes on to each other in
/// circles could keep a process busy for minutes else.
const GIVERS_ASKED_MAX: u32 = 1_024;
/// Most limited rules of one person at one door that are tried: somebody keeps the grants of passes that are used up until they end.
const CHOICES_MAX: usize = 512;
/// Below this many rules the list is walked, above it is searched for each group of the person.
const WALKED_RULES_MAX: usize = 16;

fn for_each_group_rule(person: &Person, rules: &[GroupRule], hear_of: &mut impl FnMut(GrantLink)) {
    if rules.len() <= WALKED_RULES_MAX {
        let concerned = rules.iter().filter(|rule| person.is_in(rule.group));
        concerned.for_each(|rule| hear_of(rule.grant));
        return;
    }
    for group in person.groups() {
        let first = rules.partition_point(|rule| rule.group < group);
        let concerned = rules
            .iter()
            .skip(first)
            .take_while(|rule| rule.group == group);
        concerned.for_each(|rule| hear_of(rule.grant));
    }
}

/// The rules that were heard, each class by its smallest grant, so that the answer doesn't depend on their order.
pub struct Hearing<'a> {
    state: &'a State,
    door: &'a Door,
    now_ms: i64,
    rights: Rights,
    givers_asked: Cell<u32>,
    /// Open rules whose uses are limited, and whether there is one whose uses aren't.
    limited: Vec<&'a Grant>,
    unlimited: bool,
    /// Looked at once, and only when a schedule asks. `None`: the site or its zone is unknown.
    wall_clock: OnceCell<Option<WallClock>>,
    denied: Option<&'a Grant>,
    /// A pass whose giver may not pass: as if it weren't there.
    withheld: Option<&'a Grant>,
    open: Option<&'a Grant>,
    holiday: Option<&'a Grant>,
    closed: Option<&'a Grant>,
    not_yet: Option<&'a Grant>,
    over: Option<&'a Grant>,
}

impl<'a> Hearing<'a> {
    /// Nothing heard yet.
    #[must_use]
    pub fn new(state: &'a State, door: &'a Door, now_ms: i64) -> Self {
        Self {
            state,
            door,
            now_ms,
            rights: Rights::All,
            givers_asked: Cell::new(0),
            limited: Vec::new(),
            unlimited: false,
            wall_clock: OnceCell::new(),
            denied: None,
            withheld: None,
            open: None,
            holiday: None,
            closed: None,
            not_yet: None,
            over: None,
        }
    }

    /// Was there any allow rule?
    #[must_use]
    pub fn heard_allow(&self) -> bool {
        self.open
            .or(self.holiday)
            .or(self.closed)
            .or(self.not_yet)
            .or(self.over)
            .is_some()
    }

    /// What one rule comes to.
    #[inline]
    pub fn verdict(&self, grant: &'a Grant) -> Verdict {
        if grant.validity.is_over(self.now_ms) {
            return Verdict::Expired;
        }
        if !grant.validity.has_begun(self.now_ms) {
            return Verdict::NotYetValid;
        }
        if !grant.denies && !self.giver_may(grant, &mut Vec::new()) {
            return Verdict::GiverMayNot;
        }
        match (grant.denies, self.ask_schedule(grant.schedule)) {
            // Nobody can say whether it is closed: what takes access away holds then, what gives it doesn't.
            (_, Schedule::Open) | (true, Schedule::Unknown) => Verdict::Holds,
            (_, Schedule::Holiday) => Verdict::Holiday,
            (_, Schedule::Closed) | (false, Schedule::Unknown) => Verdict::OutsideSchedule,
        }
    }

    /// Hears one rule.
    pub fn hear(&mut self, grant: &'a Grant) {
        let class = match self.verdict(grant) {
            Verdict::Holds if grant.denies => &mut self.denied,
            Verdict::Holds => {
                self.keep_open(grant);
                return;
            }
            Verdict::GiverMayNot => &mut self.withheld,
            _ if grant.denies => return,
            Verdict::Expired => &mut self.over,
            Verdict::NotYetValid => &mut self.not_yet,
            Verdict::Holiday => &mut self.holiday,
            Verdict::OutsideSchedule => &mut self.closed,
        };
        keep_smaller(class, grant);
    }

    /// A rule that isn't limited comes before one that is: nothing is used up without need.
    fn keep_open(&mut self, grant: &'a Grant) {
        let limited = grant
            .pass
            .as_ref()
            .is_some_and(|pass| !pass.counts.is_empty());
        if limited {
            self.limited.push(grant);
        }
        if !limited && !self.unlimited {
            self.unlimited = true;
            self.open = Some(grant);
        } else if limited != self.unlimited {
            keep_smaller(&mut self.open, grant);
        }
    }

    /// A pass opens nothing that its giver couldn't open now, and on nothing of theirs that is limited unless this use counts against
    /// it as well. Whoever made it as a manager gave it for good. `path`: the givers who are being asked already: none vouches for himself.
    fn giver_may(&self, grant: &Grant, path: &mut Vec<&'a str>) -> bool {
        let Some(pass) = &grant.pass else {
            return true;
        };
        if self.rights == Rights::Own {
            return false;
        }
        let Some(giver) = &pass.given_by else {
            return true;
        };
        let Some(giver) = self.state.person(giver.as_str()) else {
            return false;
        };
        let id = giver.id.as_str();
        self.givers_asked.set(self.givers_asked.get() + 1);
        if path.len() >= PASSED_ON_MAX
            || path.contains(&id)
            || self.givers_asked.get() > GIVERS_ASKED_MAX
            || person_stands(giver, self.now_ms, &mut Silent).is_err()
        {
            return false;
        }
        let (mut denied, mut open, mut passed_on) = (false, false, Vec::new());
        for_each_rule(self.state, giver, self.door, |held| {
            if held.validity.is_over(self.now_ms) || !held.validity.has_begun(self.now_ms) {
                return;
            }
            match (held.denies, self.ask_schedule(held.schedule)) {
                (true, Schedule::Open | Schedule::Unknown) => denied = true,
                (false, Schedule::Open) if counts_within(held, grant) => {
                    if held
                        .pass
                        .as_ref()
                        .is_some_and(|pass| pass.given_by.is_some())
                    {
                        passed_on.push(held);
                    } else {
                        open = true;
                    }
                }
                _ => {}
            }
        });
        if denied || open {
            return !denied;
        }
        path.push(id);
        let may = passed_on.into_iter().any(|held| self.giver_may(held, path));
        path.pop();
        may
    }

    /// The mode that holds now. Nobody can say of a schedule that isn't whole: then only a mode that asks for more holds.
    pub fn mode(&self) -> DoorMode {
        self.mode_and_schedule().0
    }

    /// The same, with the schedule by which it holds; none when it is the door's own.
    pub fn mode_and_schedule(&self) -> (DoorMode, Option<u32>) {
        let modes = self.door.terms.as_ref().map(|terms| &*terms.modes);
        let holding = modes.unwrap_or_default().iter().find(|(schedule, mode)| {
            let opens = matches!(mode, DoorMode::Unlocked | DoorMode::FirstPersonIn);
            match self.ask_schedule(Some(*schedule)) {
                Schedule::Open => true,
                Schedule::Unknown => !opens,
                Schedule::Holiday | Schedule::Closed => false,
            }
        });
        holding.map_or((self.door.mode, None), |(schedule, mode)| {
            (*mode, Some(*schedule))
        })
    }

    /// What memory can't know. A refusal needs nothing, unless a first person may have opened the door for everybody.
    fn needs(
        &self,
        mode: DoorMode,
        (reason, _): &Outcome,
        listener: &mut impl Listener,
    ) -> Option<Box<Needs>> {
        let granted = *reason == Reason::Granted;
        // Where nobody knows what day it is, nobody has come today.
        let day = if mode == DoorMode::FirstPersonIn && *reason != Reason::DeniedByRule {
            self.day()
        } else {
            None
        };
        let first = day.is_some();
        let counted = granted && !self.unlimited && mode != DoorMode::Unlocked;
        if self.door.terms.is_none()
            && !first
            && mode != DoorMode::CardAndPin
            && self.limited.is_empty()
        {
            return None;
        }
        if !granted && !first {
            return None;
        }
        let terms = self.door.terms.as_deref();
        let area = |handle: u32| {
            let place = self.state.place(handle)?;
            Some((place.id.clone(), place.terms?))
        };
        let needs = Needs {
            choices: if counted { self.choices() } else { Vec::new() },
            enters: terms.and_then(|terms| area(terms.enters?)),
            leaves: terms.and_then(|terms| Some(area(terms.leaves?)?.0)),
            two_persons_seconds: terms
                .and_then(|terms| terms.two_persons_seconds)
                .filter(|_| mode != DoorMode::Unlocked),
            first_person_day: day,
            pin: granted && mode == DoorMode::CardAndPin,
        };
        if needs == Needs::default() {
            return None;
        }
        if granted {
            listener.step(SETTLED, true, || needs.to_string());
        }
        Some(Box::new(needs))
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices: Vec<Choice> = self.limited.iter().map(|grant| choice_of(grant)).collect();
        choices.sort_unstable_by(|one, other| one.rule.cmp(&other.rule));
        choices.dedup_by(|one, other| one.rule == other.rule);
        choices.truncate(CHOICES_MAX);
        choices
    }

    fn day(&self) -> Option<i64> {
        let now_ms = self.now_ms;
        let zone = self.state.site_of(self.door)?.zone.as_ref()?;
        Some(zone.wall_clock(now_ms).day)
    }

    fn ask_schedule(&self, schedule: Option<u32>) -> Schedule {
        let Some(schedule) = schedule else {
            return Schedule::Open;
        };
        let (state, door, now_ms) = (self.state, self.door, self.now_ms);
        let wall_clock = self
            .wall_clock
            .get_or_init(|| Some(state.site_of(door)?.zone.as_ref()?.wall_clock(now_ms)));
        let named = state.schedules.get(schedule);
        match (named.and_then(|named| named.schedule.as_ref()), wall_clock) {
            (Some(schedule), Some(_)) if !schedule.is_whole() => Schedule::Unknown,
            (Some(schedule), Some(wall)) if schedule.is_open(*wall) => Schedule::Open,
            (Some(schedule), Some(wall)) if schedule.is_holiday(wall.day) => Schedule::Holiday,
            (Some(_), Some(_)) => Schedule::Closed,
            _ => Schedule::Unknown,
        }
    }

    /// The last four steps of the protocol.
    fn outcome(&self, listener: &mut impl Listener) -> Outcome {
        listener.step("deny_rules", self.denied.is_none(), || {
            self.denied
                .map_or_else(String::new, |grant| grant.id.as_str().to_owned())
        });
        if let Some(grant) = self.denied {
            return (Reason::DeniedByRule, Some(grant.id.clone()));
        }
        listener.step("allow_rules", self.heard_allow(), || {
            self.withheld.map_or_else(String::new, |grant| {
                format!("{}: whoever gave it may not pass", grant.id.as_str())
            })
        });
        if !self.heard_allow() {
            return (Reason::NoGrant, None);
        }
        let valid = self.open.or(self.holiday).or(self.closed);
        listener.step("grant_valid", valid.is_some(), String::new);
        if valid.is_none() {
            let (reason, grant) = if self.not_yet.is_some() {
                (Reason::NotYetValid, self.not_yet)
            } else {
                (Reason::Expired, self.over)
            };
            return (reason, grant.map(|grant| grant.id.clone()));
        }
        listener.step("schedule_open", self.open.is_some(), || {
            self.schedule_detail()
        });
        match (self.open, self.holiday) {
            (Some(grant), _) => (Reason::Granted, Some(grant.id.clone())),
            (None, Some(grant)) => (Reason::Holiday, self.schedule_of(grant)),
            (None, None) => {
                let closed = self.closed.and_then(|grant| self.schedule_of(grant));
                (Reason::OutsideSchedule, closed)
            }
        }
    }

    fn schedule_of(&self, grant: &Grant) -> Option<Identifier> {
        let named = self.state.schedules.get(grant.schedule?)?;
        Some(named.id.clone())
    }

    fn schedule_detail(&self) -> String {
        let grant = self.open.or(self.holiday).or(self.closed);
        let schedule = grant.and_then(|grant| self.schedule_of(grant));
        let words = if self.open.is_some() {
            "open"
        } else {
            "closed"
        };
        schedule.map_or_else(
            || "no schedule: always open".into(),
            |schedule| format!("{} is {words}", schedule.as_str()),
        )
    }
}

/// What a grant's schedule says of an instant at the door's site.
enum Schedule {
    /// Also: there is none.
    Open,
    /// Closed, on a day of its calendar.
    Holiday,
    Closed,
    /// Schedule, calendar, site or time zone is missing.
    Unknown,
}

/// Whether a use of `given` counts against everything that a use of `held` would count against.
fn counts_within(held: &Grant, given: &Grant) -> bool {
    let mut needed = held.pass.iter().flat_map(|pass| &pass.counts);
    needed.all(|needed| {
        let mut counted = given.pass.iter().flat_map(|pass| &pass.counts);
        counted.any(|limit| limit.pass == needed.pass)
    })
}

fn choice_of(grant: &Grant) -> Choice {
    let counts = grant.pass.as_ref().map(|pass| &*pass.counts);
    let counts = counts.unwrap_or_default().iter();
    Choice {
        rule: grant.id.clone(),
        counts: counts
            .map(|limit| (limit.pass.clone(), limit.uses))
            .collect(),
    }
}

fn keep_smaller<'a>(kept: &mut Option<&'a Grant>, grant: &'a Grant) {
    if kept.is_none_or(|kept| grant.id < kept.id) {
        *kept = Some(grant);
    }
}
