//! The writer's side: what the images say, indexed both ways, so that a change touches only what it changes.
//!
//! Readers never see it. `apply` takes images in and settles what they touched into the next `State`.
use crate::documents::{
    CalendarDocument, Effect, GrantDocument, PlaceName, ScheduleDocument, Subject,
};
use crate::grant::{Grant, GrantLink, GroupRule, GroupRules, Validity};
use crate::identifier::Identifier;
use crate::model::{NamedSchedule, State, holder_handle};
use crate::person::PersonRule;
use crate::schedule::{Holidays, Schedule};
use crate::sessions::Forgetting;
use smallvec::SmallVec;
use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Numbers for names, in order of first mention. A name keeps its number for good.
#[derive(Clone, Debug)]
pub struct Handles<K>(Table<K, u32>);

impl<K> Default for Handles<K> {
    fn default() -> Self {
        Self(Table::default())
    }
}

impl<K: Hash + Eq + Clone> Handles<K> {
    /// The number of `name`, new or known. (Two thousand million names don't fit into memory.)
    pub fn of(&mut self, name: &K) -> u32 {
        if let Some(handle) = self.0.get(name) {
            return *handle;
        }
        let handle = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(name.clone(), handle);
        handle
    }
}

/// Sets of handles by key; an empty set is not kept.
#[derive(Clone, Debug)]
pub struct Links<K>(Table<K, SmallVec<[u32; 2]>>);

impl<K> Default for Links<K> {
    fn default() -> Self {
        Self(Table::default())
    }
}

impl<K: Hash + Eq> Links<K> {
    /// Adds a link.
    pub fn add(&mut self, key: K, value: u32) {
        let values = self.0.entry(key).or_default();
        if let Err(place) = values.binary_search(&value) {
            values.insert(place, value);
        }
    }

    /// Takes a link out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, value: u32)
    where
        K: Borrow<Q>,
    {
        if let Some(values) = self.0.get_mut(key) {
            if let Ok(place) = values.binary_search(&value) {
                values.remove(place);
            }
            if values.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// All that `key` is linked to, ascending.
    pub fn of<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> &[u32]
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map(AsRef::as_ref).unwrap_or_default()
    }
}

/// Who a grant is for and where it holds; what else it says is in `State::grants`.
#[derive(Clone, Debug)]
struct ListedGrant {
    subject: SubjectHandle,
    place: u32,
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
    /// Groups that came, went, or include others than before.
    pub groups: BTreeSet<u32>,
    /// Persons whose own grants changed.
    pub persons: BTreeSet<Identifier>,
    /// Schedules to compile again.
    pub schedules: BTreeSet<u32>,
}

/// The documents that readers don't need as such, and every way back from what they name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Names of groups.
    pub groups: Handles<Identifier>,
    /// When ended sessions may be forgotten.
    pub ended_sessions: Forgetting,
    /// Doors of a site or an area.
    pub doors_in: Links<u32>,
    /// Set when the organization was replaced or dropped: a writer that waited must look again.
    pub retired: bool,
    doors: Handles<Identifier>,
    areas_and_sites: Handles<PlaceName>,
    schedules: Handles<Identifier>,
    schedule_names: Vec<Identifier>,
    /// Ascending, each once, so that what says the same is known to.
    group_includes: Table<u32, Box<[u32]>>,
    included_in: Links<u32>,
    grants: Table<Identifier, u32>,
    /// By handle; `None` is free.
    listed_grants: Vec<Option<ListedGrant>>,
    free_grants: Vec<u32>,
    grants_of_group: Links<u32>,
    grants_of_person: Links<Identifier>,
    group_grants_at: Links<u32>,
    calendars: Table<Identifier, Arc<[i64]>>,
    schedule_documents: Table<u32, ScheduleDocument>,
    schedules_by_calendar: Links<Identifier>,
}

impl Catalog {
    /// The handle of a place.
    pub fn place(&mut self, name: &PlaceName) -> u32 {
        match name {
            PlaceName::Door(id) => self.doors.of(id),
            PlaceName::Area(_) | PlaceName::Site(_) => holder_handle(self.areas_and_sites.of(name)),
        }
    }

    /// The handle of a schedule. One that is named for the first time is settled, so that readers know its name.
    pub fn schedule(&mut self, id: &Identifier, touched: &mut Touched) -> u32 {
        let handle = self.schedules.of(id);
        if handle as usize == self.schedule_names.len() {
            self.schedule_names.push(id.clone());
            touched.schedules.insert(handle);
        }
        handle
    }

    /// Takes a group in, or out. One that includes what it included touches nothing: what it is called decides nothing.
    pub fn put_group(
        &mut self,
        id: &Identifier,
        includes: Option<Vec<Identifier>>,
        touched: &mut Touched,
    ) {
        let group = self.groups.of(id);
        let includes = includes.map(|includes| self.known_groups(&includes));
        if self.group_includes.get(&group) == includes.as_ref() {
            return;
        }
        for included in self.group_includes.remove(&group).unwrap_or_default() {
            self.included_in.remove(&included, group);
        }
        if let Some(includes) = includes {
            for included in &includes {
                self.included_in.add(*included, group);
            }
            self.group_includes.insert(group, includes);
        }
        touched.groups.insert(group);
    }

    fn known_groups(&mut self, ids: &[Identifier]) -> Box<[u32]> {
        let handles: BTreeSet<u32> = ids.iter().map(|id| self.groups.of(id)).collect();
        handles.into_iter().collect()
    }

    /// Takes a grant in, or out.
    pub fn put_grant(
        &mut self,
        id: &Identifier,
        document: Option<GrantDocument>,
        next: &mut State,
        touched: &mut Touched,
    ) {
        let known = self.grants.get(id).copied();
        if let Some(handle) = known {
            self.unlist(handle, touched);
        }
        match (known, document) {
            (_, Some(document)) => {
                let handle = known.unwrap_or_else(|| self.new_grant(id));
                let (grant, listed) = self.listed(id, document, touched);
                self.list(handle, listed, touched);
                next.grants.set(handle, Some(grant));
            }
            (Some(handle), None) => {
                // INVARIANT: all that had it in a rule was touched just now, so no rule of the next state has it.
                self.grants.remove(id);
                self.free_grants.push(handle);
                next.grants.set(handle, None);
            }
            (None, None) => {}
        }
    }

    fn new_grant(&mut self, id: &Identifier) -> u32 {
        let handle = self.free_grants.pop().unwrap_or_else(|| {
            self.listed_grants.push(None);
            u32::try_from(self.listed_grants.len() - 1).unwrap_or(u32::MAX)
        });
        self.grants.insert(id.clone(), handle);
        handle
    }

    fn unlist(&mut self, handle: u32, touched: &mut Touched) {
        let listed = self.listed_grants.get_mut(handle as usize);
        let Some(old) = listed.and_then(Option::take) else {
            return;
        };
        Self::touch_listing(&old, touched);
        match &old.subject {
            SubjectHandle::Person(person) => self.grants_of_person.remove(person, handle),
            SubjectHandle::Group(group) => {
                self.grants_of_group.remove(group, handle);
                self.group_grants_at.remove(&old.place, handle);
            }
        }
    }

    fn list(&mut self, handle: u32, listed: ListedGrant, touched: &mut Touched) {
        match &listed.subject {
            SubjectHandle::Person(person) => self.grants_of_person.add(person.clone(), handle),
            SubjectHandle::Group(group) => {
                self.grants_of_group.add(*group, handle);
                self.group_grants_at.add(listed.place, handle);
            }
        }
        Self::touch_listing(&listed, touched);
        if let Some(slot) = self.listed_grants.get_mut(handle as usize) {
            *slot = Some(listed);
        }
    }

    fn listed(
        &mut self,
        id: &Identifier,
        document: GrantDocument,
        touched: &mut Touched,
    ) -> (Grant, ListedGrant) {
        let GrantDocument {
            effect,
            subject,
            place,
            schedule,
            valid_from,
            valid_until,
            pass,
            staged,
        } = document;
        let listed = ListedGrant {
            subject: match subject {
                Subject::Person(person) => SubjectHandle::Person(person),
                Subject::Group(group) => SubjectHandle::Group(self.groups.of(&group)),
            },
            place: self.place(&place),
        };
        let grant = Grant {
            id: id.clone(),
            denies: effect == Effect::Deny,
            validity: Validity::new(valid_from, valid_until),
            schedule: schedule.map(|id| self.schedule(&id, touched)),
            pass: pass.map(Arc::new),
            staged,
        };
        (grant, listed)
    }

    fn grant_at(&self, handle: u32) -> Option<&ListedGrant> {
        self.listed_grants.get(handle as usize)?.as_ref()
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
        let handle = self.schedule(id, touched);
        if let Some(ScheduleDocument {
            calendar: Some(calendar),
            ..
        }) = self.schedule_documents.remove(&handle)
        {
            self.schedules_by_calendar.remove(&calendar, handle);
        }
        if let Some(document) = document {
            if let Some(calendar) = &document.calendar {
                self.schedules_by_calendar.add(calendar.clone(), handle);
            }
            self.schedule_documents.insert(handle, document);
        }
        touched.schedules.insert(handle);
    }

    /// Takes a calendar in, or out. One with the days that it had touches nothing.
    pub fn put_calendar(
        &mut self,
        id: &Identifier,
        document: Option<CalendarDocument>,
        touched: &mut Touched,
    ) {
        let dates: Option<Arc<[i64]>> = document.map(|document| document.dates.into());
        if self.calendars.get(id) == dates.as_ref() {
            return;
        }
        match dates {
            Some(dates) => _ = self.calendars.insert(id.clone(), dates),
            None => _ = self.calendars.remove(id),
        }
        touched.schedules.extend(self.schedules_by_calendar.of(id));
    }

    /// The rules that one person holds alone, sorted by place.
    pub fn rules_of_person(&self, person: &str, state: &State) -> Box<[PersonRule]> {
        let rule = |handle: &u32| {
            Some(PersonRule {
                place: self.grant_at(*handle)?.place,
                grant: link_to(*handle, state)?,
            })
        };
        let handles = self.grants_of_person.of(person);
        let mut rules: Vec<PersonRule> = handles.iter().filter_map(rule).collect();
        rules.sort_by_key(|rule| rule.place);
        rules.into()
    }

    /// A schedule as readers know it: its name, and what it and its calendar say today.
    pub fn named_schedule(&self, handle: u32) -> Option<NamedSchedule> {
        Some(NamedSchedule {
            id: self.schedule_names.get(handle as usize)?.clone(),
            schedule: self.compiled(handle),
        })
    }

    fn compiled(&self, handle: u32) -> Option<Schedule> {
        let document = self.schedule_documents.get(&handle)?;
        let holidays = match &document.calendar {
            None => Holidays::None,
            Some(calendar) => self
                .calendars
                .get(calendar)
                .map_or(Holidays::Missing, |days| Holidays::Days(Arc::clone(days))),
        };
        Some(Schedule {
            week: Arc::clone(&document.week),
            holiday_windows: document.holiday_windows.clone(),
            exceptions: Arc::clone(&document.exceptions),
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
                .iter()
                .filter_map(|handle| self.grant_at(*handle));
            places.extend(grants.map(|listed| listed.place));
            waiting.extend(
                self.included_in
                    .of(&group)
                    .iter()
                    .copied()
                    .filter(|outer| reached.insert(*outer)),
            );
        }
        places
    }

    /// The rules for groups at a place, nesting closed over, sorted by group.
    pub fn rules_at(&self, place: u32, closures: &mut Closures, state: &State) -> GroupRules {
        let mut rules = GroupRules::new();
        for handle in self.group_grants_at.of(&place) {
            let Some(ListedGrant {
                subject: SubjectHandle::Group(group),
                ..
            }) = self.grant_at(*handle)
            else {
                continue;
            };
            let members = closures
                .0
                .entry(*group)
                .or_insert_with(|| self.closure(*group));
            if let Some(grant) = link_to(*handle, state) {
                rules.extend(members.iter().map(|group| GroupRule {
                    group: *group,
                    grant,
                }));
            }
        }
        rules.sort_by_key(|rule| rule.group);
        rules.shrink_to_fit();
        rules
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
            let settled = person.with_rules(self.rules_of_person(id.as_str(), state));
            state.persons.insert(settled);
        }
    }
}

fn link_to(handle: u32, state: &State) -> Option<GrantLink> {
    let grant = state.grants.get(handle)?;
    Some(GrantLink::new(handle, grant.denies))
}

/// Closures of groups, remembered while one record is settled.
#[derive(Debug, Default)]
pub struct Closures(Table<u32, Box<[u32]>>);
