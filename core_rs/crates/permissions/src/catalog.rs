//! The writer's side: what the images say, indexed both ways, so that a change touches only what it changes.
//!
//! Readers never see it. `apply` takes images in and settles what they touched into the next `State`.
use crate::documents::{
    CalendarDocument, Effect, GrantDocument, PlaceName, ScheduleDocument, Subject,
};
use crate::identifier::Identifier;
use crate::model::{Extras, Grant, GroupRule, Person, PersonRule, ScheduleLink, State, Validity};
use crate::schedule::{Holidays, Schedule};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Numbers for names, in order of first mention. A name keeps its number for good.
#[derive(Debug)]
pub struct Handles<K>(Table<K, u32>);

impl<K> Default for Handles<K> {
    fn default() -> Self {
        Self(Table::default())
    }
}

impl<K: Hash + Eq + Clone> Handles<K> {
    /// The number of `name`, new or known. (Four thousand million names don't fit into memory.)
    pub fn of(&mut self, name: &K) -> u32 {
        if let Some(handle) = self.0.get(name) {
            return *handle;
        }
        let handle = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(name.clone(), handle);
        handle
    }
}

/// Sets by key; an empty set is not kept.
#[derive(Debug)]
pub struct Links<K, V>(Table<K, BTreeSet<V>>);

impl<K, V> Default for Links<K, V> {
    fn default() -> Self {
        Self(Table::default())
    }
}

impl<K: Hash + Eq, V: Ord> Links<K, V> {
    /// Adds a link.
    pub fn add(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().insert(value);
    }

    /// Takes a link out.
    pub fn remove(&mut self, key: &K, value: &V) {
        if let Some(values) = self.0.get_mut(key) {
            values.remove(value);
            if values.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// All that `key` is linked to, ascending.
    pub fn of(&self, key: &K) -> impl Iterator<Item = &V> {
        self.0.get(key).into_iter().flatten()
    }
}

#[derive(Debug)]
struct ListedGrant {
    subject: SubjectHandle,
    place: u32,
    grant: Arc<Grant>,
}

#[derive(Clone, Debug)]
enum SubjectHandle {
    Person(Identifier),
    Group(u32),
}

/// What is to be settled after all images of a record are in.
#[derive(Debug, Default)]
pub struct Touched {
    /// Places whose rules or doors changed.
    pub places: BTreeSet<u32>,
    /// Groups whose inclusion changed.
    pub groups: BTreeSet<u32>,
    /// Persons whose own grants changed.
    pub persons: BTreeSet<Identifier>,
    /// Schedules to compile again.
    pub schedules: BTreeSet<u32>,
}

/// The documents that readers don't need as such, and every way back from what they name.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Names of groups.
    pub groups: Handles<Identifier>,
    /// Names of doors, areas and sites.
    pub places: Handles<PlaceName>,
    /// Names of schedules.
    pub schedules: Handles<Identifier>,
    /// Doors of a site or an area.
    pub doors_in: Links<u32, u32>,
    /// Set when the organization was replaced or dropped: a writer that waited must look again.
    pub retired: bool,
    group_includes: Table<u32, Vec<u32>>,
    included_in: Links<u32, u32>,
    grants: Table<Identifier, ListedGrant>,
    grants_of_group: Links<u32, Identifier>,
    grants_of_person: Links<Identifier, Identifier>,
    group_grants_at: Links<u32, Identifier>,
    calendars: Table<Identifier, Arc<[i64]>>,
    schedule_documents: Table<u32, ScheduleDocument>,
    schedules_by_calendar: Links<Identifier, u32>,
}

impl Catalog {
    /// Takes a group in, or out.
    pub fn put_group(
        &mut self,
        id: &Identifier,
        includes: Option<Vec<Identifier>>,
        touched: &mut Touched,
    ) {
        let group = self.groups.of(id);
        for included in self.group_includes.remove(&group).unwrap_or_default() {
            self.included_in.remove(&included, &group);
        }
        if let Some(includes) = includes {
            let handles: Vec<u32> = includes
                .iter()
                .map(|included| self.groups.of(included))
                .collect();
            for included in &handles {
                self.included_in.add(*included, group);
            }
            self.group_includes.insert(group, handles);
        }
        touched.groups.insert(group);
    }

    /// Takes a grant in, or out.
    pub fn put_grant(
        &mut self,
        id: &Identifier,
        document: Option<GrantDocument>,
        touched: &mut Touched,
    ) {
        if let Some(old) = self.grants.remove(id) {
            Self::touch_listing(&old, touched);
            match &old.subject {
                SubjectHandle::Person(person) => self.grants_of_person.remove(person, id),
                SubjectHandle::Group(group) => {
                    self.grants_of_group.remove(group, id);
                    self.group_grants_at.remove(&old.place, id);
                }
            }
        }
        let Some(document) = document else { return };
        let listed = self.listed(id, document);
        match &listed.subject {
            SubjectHandle::Person(person) => self.grants_of_person.add(person.clone(), id.clone()),
            SubjectHandle::Group(group) => {
                self.grants_of_group.add(*group, id.clone());
                self.group_grants_at.add(listed.place, id.clone());
            }
        }
        Self::touch_listing(&listed, touched);
        self.grants.insert(id.clone(), listed);
    }

    fn listed(&mut self, id: &Identifier, document: GrantDocument) -> ListedGrant {
        let GrantDocument {
            effect,
            subject,
            place,
            schedule,
            valid_from,
            valid_until,
            pass,
        } = document;
        let schedule = schedule.map(|id| ScheduleLink {
            handle: self.schedules.of(&id),
            id,
        });
        ListedGrant {
            subject: match subject {
                Subject::Person(person) => SubjectHandle::Person(person),
                Subject::Group(group) => SubjectHandle::Group(self.groups.of(&group)),
            },
            place: self.places.of(&place),
            grant: Arc::new(Grant {
                id: id.clone(),
                denies: effect == Effect::Deny,
                validity: Validity::new(valid_from, valid_until),
                schedule,
                pass: pass.map(Box::new),
            }),
        }
    }

    fn touch_listing(listed: &ListedGrant, touched: &mut Touched) {
        match &listed.subject {
            SubjectHandle::Person(person) => touched.persons.insert(person.clone()),
            SubjectHandle::Group(_) => touched.places.insert(listed.place),
        };
    }

    /// Takes a schedule in, or out.
    pub fn put_schedule(
        &mut self,
        id: &Identifier,
        document: Option<ScheduleDocument>,
        touched: &mut Touched,
    ) {
        let handle = self.schedules.of(id);
        if let Some(ScheduleDocument {
            calendar: Some(calendar),
            ..
        }) = self.schedule_documents.remove(&handle)
        {
            self.schedules_by_calendar.remove(&calendar, &handle);
        }
        if let Some(document) = document {
            if let Some(calendar) = &document.calendar {
                self.schedules_by_calendar.add(calendar.clone(), handle);
            }
            self.schedule_documents.insert(handle, document);
        }
        touched.schedules.insert(handle);
    }

    /// Takes a calendar in, or out.
    pub fn put_calendar(
        &mut self,
        id: &Identifier,
        document: Option<CalendarDocument>,
        touched: &mut Touched,
    ) {
        match document {
            Some(document) => self.calendars.insert(id.clone(), document.dates.into()),
            None => self.calendars.remove(id),
        };
        touched.schedules.extend(self.schedules_by_calendar.of(id));
    }

    /// The rules that one person holds alone, sorted by place.
    pub fn rules_of_person(&self, person: &str) -> Box<[PersonRule]> {
        // Asked for every person of a snapshot, most of whom have none.
        let Some(ids) = self.grants_of_person.0.get(person) else {
            return Box::default();
        };
        let listed = ids.iter().filter_map(|id| self.grants.get(id));
        let mut rules: Vec<PersonRule> = listed
            .map(|listed| PersonRule {
                place: listed.place,
                grant: Arc::clone(&listed.grant),
            })
            .collect();
        rules.sort_by_key(|rule| rule.place);
        rules.into()
    }

    /// The schedule as `check` asks it, with what its calendar says today.
    pub fn compiled(&self, handle: u32) -> Option<Schedule> {
        let document = self.schedule_documents.get(&handle)?;
        let holidays = match &document.calendar {
            None => Holidays::None,
            Some(calendar) => self
                .calendars
                .get(calendar)
                .map_or(Holidays::Missing, |days| Holidays::Days(Arc::clone(days))),
        };
        Some(Schedule {
            week: Arc::new(document.week.clone()),
            holiday_windows: document.holiday_windows.clone(),
            exceptions: document.exceptions.clone().into(),
            holidays,
        })
    }

    /// Places whose rules may be others because one of `groups` is.
    pub fn places_behind(&self, groups: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut reached: HashSet<u32> = groups.iter().copied().collect();
        let mut waiting: Vec<u32> = groups.iter().copied().collect();
        let mut places = BTreeSet::new();
        while let Some(group) = waiting.pop() {
            let grants = self
                .grants_of_group
                .of(&group)
                .filter_map(|id| self.grants.get(id));
            places.extend(grants.map(|listed| listed.place));
            waiting.extend(
                self.included_in
                    .of(&group)
                    .copied()
                    .filter(|outer| reached.insert(*outer)),
            );
        }
        places
    }

    /// The rules for groups at a place, nesting closed over, sorted by group.
    pub fn rules_at(&self, place: u32, closures: &mut Closures) -> Arc<[GroupRule]> {
        let mut rules = Vec::new();
        for listed in self
            .group_grants_at
            .of(&place)
            .filter_map(|id| self.grants.get(id))
        {
            if let SubjectHandle::Group(group) = listed.subject {
                let members = closures
                    .0
                    .entry(group)
                    .or_insert_with(|| self.closure(group));
                rules.extend(members.iter().map(|group| GroupRule {
                    group: *group,
                    grant: Arc::clone(&listed.grant),
                }));
            }
        }
        rules.sort_by_key(|rule| rule.group);
        rules.into()
    }

    /// A group and all that it includes, as far as they exist. A cycle ends where it meets itself.
    fn closure(&self, group: u32) -> Box<[u32]> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![group];
        while let Some(group) = waiting.pop() {
            if let Some(includes) = self.group_includes.get(&group)
                && reached.insert(group)
            {
                waiting.extend(includes);
            }
        }
        reached.into_iter().collect()
    }

    /// Gives a person that exists the rules of now.
    pub fn settle_person(&self, id: &Identifier, state: &mut State) {
        if let Some(person) = state.persons.get(id.as_str()) {
            let extras = Extras {
                rules: self.rules_of_person(id.as_str()),
                roles: person.roles().into(),
                pin: person.pin(),
            };
            let settled = Person {
                extras: extras.kept(),
                ..Person::clone(person)
            };
            state.persons.insert(Arc::new(settled));
        }
    }
}

/// Closures of groups, remembered while one record is settled.
#[derive(Debug, Default)]
pub struct Closures(Table<u32, Box<[u32]>>);
