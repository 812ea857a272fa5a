//! The one engine that decides: the steps of the protocol in their order; the first that refuses is the reason.
//!
//! `explain` runs the same engine and listens to its steps; a silent listener costs nothing.
use crate::decision::{Decision, Reason};
use crate::documents::DoorMode;
use crate::identifier::Identifier;
use crate::model::{Door, Grant, GroupRule, Person, State};
use crate::zone::WallClock;
use std::cell::OnceCell;

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

type Outcome = (Reason, Option<Identifier>);

/// May `person` pass `door` at `now_ms`?
pub fn decide(
    state: &State,
    person: &str,
    door: &str,
    now_ms: i64,
    listener: &mut impl Listener,
) -> Decision {
    let (reason, rule) =
        outcome_of(state, person, door, now_ms, listener).unwrap_or_else(|early| early);
    Decision {
        reason,
        rule,
        revision: state.revision,
    }
}

/// The steps in order. `Err` is the answer of a step before the rules, `Ok` the answer of the rules.
fn outcome_of(
    state: &State,
    person: &str,
    door: &str,
    now_ms: i64,
    listener: &mut impl Listener,
) -> Result<Outcome, Outcome> {
    let person = person_by_id(state, person, listener)?;
    let door = state.doors.get(door);
    listener.step("door_known", door.is_some(), String::new);
    let door = door.ok_or((Reason::DoorUnknown, None))?;
    not_locked_down(state, door, listener)?;
    person_stands(person, now_ms, listener)?;
    if door.mode == DoorMode::Unlocked {
        listener.step("door_mode", true, || {
            "unlocked for every valid person".into()
        });
        return Err((Reason::Granted, Some(door.id.clone())));
    }
    listener.step("door_mode", true, || "locked: a grant is needed".into());
    let mut hearing = Hearing::new(state, door, now_ms);
    hear_rules(state, person, door, &mut hearing);
    Ok(hearing.outcome(listener))
}

/// The steps before the door: organization active, person known.
pub fn person_by_id<'a>(
    state: &'a State,
    person: &str,
    listener: &mut impl Listener,
) -> Result<&'a Person, Outcome> {
    listener.step("organization_active", state.active, String::new);
    if !state.active {
        return Err((Reason::OrganizationSuspended, None));
    }
    let person = state.persons.get(person);
    listener.step("person_known", person.is_some(), String::new);
    person
        .map(AsRef::as_ref)
        .ok_or((Reason::UnknownCredential, None))
}

fn not_locked_down(
    state: &State,
    door: &Door,
    listener: &mut impl Listener,
) -> Result<(), Outcome> {
    let area = state
        .area_of(door)
        .map(|area| (Reason::AreaLockedDown, &area.id, area.locked_down));
    let site = state
        .site_of(door)
        .map(|site| (Reason::SiteLockedDown, &site.id, site.locked_down));
    let holders = [
        Some((Reason::DoorLockedDown, &door.id, door.locked_down)),
        area,
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
    let begun = person.validity.has_begun(now_ms);
    let over = person.validity.is_over(now_ms);
    listener.step("person_valid", begun && !over, String::new);
    match (begun, over) {
        (false, _) => Err((Reason::NotYetValid, None)),
        (_, true) => Err((Reason::Expired, None)),
        _ => Ok(()),
    }
}

/// Lets every rule be heard that concerns this person at this door: on the door, its area, its site.
pub fn hear_rules<'a>(
    state: &'a State,
    person: &'a Person,
    door: &'a Door,
    hearing: &mut Hearing<'a>,
) {
    let area = state.area_of(door).map(|area| &*area.rules);
    let site = state.site_of(door).map(|site| &*site.rules);
    let places = [
        (Some(door.place), Some(&*door.rules)),
        (door.area_place, area),
        (Some(door.site_place), site),
    ];
    for (place, rules) in places {
        if let (Some(place), Some(rules)) = (place, rules) {
            hear_group_rules(person, rules, hearing);
            let first = person.rules().partition_point(|rule| rule.place < place);
            let own = person
                .rules()
                .iter()
                .skip(first)
                .take_while(|rule| rule.place == place);
            own.for_each(|rule| hearing.hear(&rule.grant));
        }
    }
}

/// Below this many rules the list is walked, above it is searched for each group of the person.
const WALKED_RULES_MAX: usize = 16;

fn hear_group_rules<'a>(person: &Person, rules: &'a [GroupRule], hearing: &mut Hearing<'a>) {
    if rules.len() <= WALKED_RULES_MAX {
        let concerned = rules
            .iter()
            .filter(|rule| person.groups.binary_search(&rule.group).is_ok());
        concerned.for_each(|rule| hearing.hear(&rule.grant));
        return;
    }
    for group in &person.groups {
        let first = rules.partition_point(|rule| rule.group < *group);
        let concerned = rules
            .iter()
            .skip(first)
            .take_while(|rule| rule.group == *group);
        concerned.for_each(|rule| hearing.hear(&rule.grant));
    }
}

/// The rules that were heard, each class by its smallest grant, so that the answer doesn't depend on their order.
pub struct Hearing<'a> {
    state: &'a State,
    door: &'a Door,
    now_ms: i64,
    /// Looked at once, and only when a schedule asks. `None`: the site or its zone is unknown.
    wall_clock: OnceCell<Option<WallClock>>,
    denied: Option<&'a Grant>,
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
            wall_clock: OnceCell::new(),
            denied: None,
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

    fn hear(&mut self, grant: &'a Grant) {
        let over = grant.validity.is_over(self.now_ms);
        if over || !grant.validity.has_begun(self.now_ms) {
            if !grant.denies {
                keep_smaller(
                    if over {
                        &mut self.over
                    } else {
                        &mut self.not_yet
                    },
                    grant,
                );
            }
            return;
        }
        let class = match (grant.denies, self.ask_schedule(grant)) {
            // Nobody can say whether it is closed: what takes access away holds then, what gives it doesn't.
            (true, Schedule::Open | Schedule::Unknown) => &mut self.denied,
            (true, Schedule::Holiday | Schedule::Closed) => return,
            (false, Schedule::Open) => &mut self.open,
            (false, Schedule::Holiday) => &mut self.holiday,
            (false, Schedule::Closed | Schedule::Unknown) => &mut self.closed,
        };
        keep_smaller(class, grant);
    }

    fn ask_schedule(&self, grant: &Grant) -> Schedule {
        let Some(link) = &grant.schedule else {
            return Schedule::Open;
        };
        let (state, door, now_ms) = (self.state, self.door, self.now_ms);
        let wall_clock = self
            .wall_clock
            .get_or_init(|| Some(state.site_of(door)?.zone.as_ref()?.wall_clock(now_ms)));
        match (state.schedules.get(link.handle), wall_clock) {
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
        listener.step("allow_rules", self.heard_allow(), String::new);
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
            (None, Some(grant)) => (Reason::Holiday, schedule_of(grant)),
            (None, None) => (Reason::OutsideSchedule, self.closed.and_then(schedule_of)),
        }
    }

    fn schedule_detail(&self) -> String {
        let grant = self.open.or(self.holiday).or(self.closed);
        let schedule = grant.and_then(schedule_of);
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

fn schedule_of(grant: &Grant) -> Option<Identifier> {
    grant.schedule.as_ref().map(|link| link.id.clone())
}

fn keep_smaller<'a>(kept: &mut Option<&'a Grant>, grant: &'a Grant) {
    if kept.is_none_or(|kept| grant.id < kept.id) {
        *kept = Some(grant);
    }
}
