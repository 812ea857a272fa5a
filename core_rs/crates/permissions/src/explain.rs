//! A decision in all its steps, for people: `explain`, and the doors a person holds rules on.
use crate::check::{Hearing, Listener, SETTLED, Silent, decide, decide_found, for_each_rule};
use crate::decision::{Decision, Reason};
use crate::explain_state::{StatefulRule, rules_now, unknown_rules};
use crate::grant::Grant;
use crate::identifier::Identifier;
use crate::model::{Door, DoorRecord, State};
use crate::person::Person;
use crate::settle::{Asking, Settled, settle};
use crate::standing::is_unlocked;
use crate::states::Records;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// One step of a decision.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub step: &'static str,
    /// Whether it let the person pass.
    pub passed: bool,
    /// What it found, in words and identifiers.
    pub detail: String,
}

/// Rules that an explanation tells at most.
pub const RULES_TOLD_MAX: usize = 1_000;

/// One rule that concerns the person at the door.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// The grant.
    pub grant: String,
    /// `allow` or `deny`.
    pub effect: &'static str,
    /// Its schedule.
    pub schedule: Option<String>,
    /// What it comes to at that moment.
    pub verdict: &'static str,
}

/// A decision with the way to it.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Whether the person may pass.
    pub allowed: bool,
    /// The reason's code.
    pub reason: &'static str,
    /// What settled it.
    pub rule: Option<String>,
    /// The revision, or -1.
    pub revision: i64,
    /// Local time at the door's site (RFC 9557), when door, site and zone are known.
    pub local_time: Option<String>,
    /// The steps in order; the first that isn't passed is the last.
    pub steps: Vec<Step>,
    /// Every rule that concerns this person at this door, by grant, also where an earlier step has settled it.
    pub rules: Vec<Rule>,
    /// How many there are beyond `RULES_TOLD_MAX`.
    pub rules_left_out: usize,
    /// What stands in the store counts, too: `none` of it here; `read`; or `unknown`, and this is what memory alone says.
    pub state: &'static str,
    /// The rules that ask for it.
    pub stateful_rules: Vec<StatefulRule>,
}

impl Explanation {
    /// As a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Listener for Vec<Step> {
    fn step(&mut self, step: &'static str, passed: bool, detail: impl FnOnce() -> String) {
        self.push(Step {
            step,
            passed,
            detail: detail(),
        });
    }
}

/// Explains what `check` answers.
#[must_use]
pub fn explain(state: Option<&State>, person: &str, door: &str, now_ms: i64) -> Explanation {
    explain_decision(state, person, door, now_ms).0
}

/// Explains what an unlock comes to at this moment; or the keys of records that have to be read for it.
///
/// # Errors
/// Keys to read.
pub fn explain_now(
    state: Option<&State>,
    asking: Asking<'_>,
    records: &Records,
) -> Result<Explanation, BTreeSet<String>> {
    let (mut told, decision) = explain_decision(state, asking.person, asking.door, asking.now_ms);
    let (Some(state), Some(needs)) = (state, &decision.needs) else {
        return Ok(told);
    };
    let rules = rules_now(state, asking, &decision, needs, records);
    let (reason, rule) = match settle(state, asking, &decision, records) {
        Settled::Missing(keys) => return Err(keys),
        Settled::Done { reason, rule, .. } => (reason, rule),
    };
    told.stateful_rules = rules?;
    told.state = "read";
    told.allowed = reason == Reason::Granted;
    told.reason = reason.as_str();
    told.rule = rule.map(|rule| rule.as_str().to_owned());
    told.steps.retain(|step| step.step != SETTLED);
    if decision.is_allowed() || told.allowed {
        let refusing = told
            .stateful_rules
            .iter()
            .filter(|rule| !told.allowed && rule.verdict == told.reason);
        let refusing: Vec<String> = refusing
            .map(|rule| format!("{} of {}: {}", rule.rule, rule.of, rule.detail))
            .collect();
        let detail = || {
            if refusing.is_empty() {
                needs.to_string()
            } else {
                refusing.join("; ")
            }
        };
        told.steps.step(SETTLED, told.allowed, detail);
    }
    Ok(told)
}

fn explain_decision(
    state: Option<&State>,
    person: &str,
    door: &str,
    now_ms: i64,
) -> (Explanation, Decision) {
    let mut steps = Vec::new();
    steps.step("organization_loaded", state.is_some(), String::new);
    let decision = state.map_or_else(Decision::unavailable, |state| {
        decide(state, person, door, now_ms, &mut steps)
    });
    let (rules, rules_left_out) = state
        .and_then(|state| rules_of(state, person, door, now_ms))
        .unwrap_or_default();
    let zone = state.and_then(|state| state.site_of(state.doors.get(door)?)?.zone.as_ref());
    let needs = decision.needs.as_deref();
    let told = Explanation {
        allowed: decision.is_allowed(),
        reason: decision.reason.as_str(),
        rule: decision.rule.as_ref().map(|rule| rule.as_str().to_owned()),
        revision: decision.revision,
        local_time: zone.map(|zone| zone.local_time(now_ms)),
        steps,
        rules,
        rules_left_out,
        state: if needs.is_some() { "unknown" } else { "none" },
        stateful_rules: needs.map_or_else(Vec::new, |needs| unknown_rules(door, needs)),
    };
    (told, decision)
}

fn rules_of(state: &State, person: &str, door: &str, now_ms: i64) -> Option<(Vec<Rule>, usize)> {
    let (person, door) = (state.person(person)?, state.doors.get(door)?);
    let hearing = Hearing::new(state, door, now_ms);
    let mut rules: BTreeMap<&Identifier, Rule> = BTreeMap::new();
    for_each_rule(state, person, door, |grant| {
        rules.entry(&grant.id).or_insert_with(|| Rule {
            grant: grant.id.as_str().to_owned(),
            effect: if grant.denies { "deny" } else { "allow" },
            schedule: schedule_id(state, grant),
            verdict: hearing.verdict(grant).as_str(),
        });
    });
    let left_out = rules.len().saturating_sub(RULES_TOLD_MAX);
    Some((rules.into_values().take(RULES_TOLD_MAX).collect(), left_out))
}

fn schedule_id(state: &State, grant: &Grant) -> Option<String> {
    let named = state.schedules.get(grant.schedule?)?;
    Some(named.id.as_str().to_owned())
}

/// Persons who may pass `door` now, by identifier, after `after`. Asks `check` of everybody: it can't differ from it.
#[must_use]
pub fn persons_at(
    state: &State,
    door: &str,
    now_ms: i64,
    after: &str,
    limit: usize,
) -> Vec<(String, Decision)> {
    let mut found: BinaryHeap<&str> = BinaryHeap::new();
    let Some(at) = state.doors.get(door) else {
        return Vec::new();
    };
    state.persons.for_each(|person| {
        let id = person.id.as_str();
        let comes =
            id > after && (found.len() < limit || found.peek().is_some_and(|last| id < *last));
        if comes && decide_found(state, person, at, now_ms).is_allowed() {
            found.push(id);
            if found.len() > limit {
                found.pop();
            }
        }
    });
    let named = found.into_sorted_vec().into_iter();
    named
        .map(|id| (id.to_owned(), decide(state, id, door, now_ms, &mut Silent)))
        .collect()
}

/// Which doors are listed.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// From after this identifier.
    pub after: &'a str,
    /// At one of these (`None`: at any).
    pub sites: Option<&'a [String]>,
    /// So many at most.
    pub limit: usize,
}

/// Doors on which a person holds any allow rule, with the decision right now, by identifier.
#[must_use]
pub fn doors_of(
    state: &State,
    person: &str,
    now_ms: i64,
    listed: Listed<'_>,
) -> Vec<(DoorRecord, Decision)> {
    state.person(person).map_or_else(Vec::new, |person| {
        let doors = doors_with_allow_rule(state, person);
        decided(state, person, now_ms, doors, listed)
    })
}

/// The same with the doors that are unlocked for everybody now, if that lets this person in.
#[must_use]
pub fn doors_open_to(
    state: &State,
    person: &str,
    now_ms: i64,
    listed: Listed<'_>,
) -> Vec<(DoorRecord, Decision)> {
    state.person(person).map_or_else(Vec::new, |person| {
        let mut doors = doors_with_allow_rule(state, person);
        state.doors.for_each(|door| {
            if is_unlocked(state, door, now_ms)
                && decide_found(state, person, door, now_ms).is_allowed()
            {
                doors.insert(&door.id, door);
            }
        });
        decided(state, person, now_ms, doors, listed)
    })
}

fn decided(
    state: &State,
    person: &Person,
    now_ms: i64,
    doors: BTreeMap<&Identifier, &Door>,
    listed: Listed<'_>,
) -> Vec<(DoorRecord, Decision)> {
    let told = doors
        .into_values()
        .filter(|door| door.id.as_str() > listed.after)
        .filter_map(|door| Some((state.record_of(door)?, door)))
        .filter(|(record, _)| {
            let is_there = |sites: &[String]| sites.iter().any(|site| site == record.site.as_str());
            listed.sites.is_none_or(is_there)
        });
    told.take(listed.limit)
        .map(|(record, door)| (record, decide_found(state, person, door, now_ms)))
        .collect()
}

/// Doors on which a person holds any allow rule, by identifier.
pub fn doors_with_allow_rule<'a>(
    state: &'a State,
    person: &Person,
) -> BTreeMap<&'a Identifier, &'a Door> {
    let of_groups = person.groups().flat_map(|group| {
        let places = state.places_of_group.get(group).into_iter();
        places
            .flat_map(|places| places.iter())
            .filter(move |place| gives(state, group, **place))
    });
    let own = person
        .rules()
        .iter()
        .filter(|rule| state.allows(rule.grant))
        .map(|rule| &rule.place);
    let mut doors = BTreeMap::new();
    for place in of_groups.chain(own) {
        let inside = state
            .place(*place)
            .map(|place| &*place.doors)
            .unwrap_or_default();
        for door in inside
            .iter()
            .chain([place])
            .filter_map(|door| state.door_at(*door))
        {
            doors.insert(&door.id, door);
        }
    }
    doors
}

/// Whether a place that lists an allow rule for this group lists one that shows.
fn gives(state: &State, group: u32, place: u32) -> bool {
    let rules = state.rules_at(place);
    let first = rules.partition_point(|rule| rule.group < group);
    let mut own = rules
        .iter()
        .skip(first)
        .take_while(|rule| rule.group == group);
    own.any(|rule| state.allows(rule.grant))
}
