//! From one revision to the next: images in, the next `State` out. It cannot fail; what could was refused in `images`.
use crate::catalog::{Catalog, Closures, Touched};
use crate::documents::{
    AntiPassback, AreaDocument, DeviceDocument, DoorDocument, PersonDocument, PersonState,
    PlaceName, ScheduledMode, SiteDocument,
};
use crate::identifier::Identifier;
use crate::images::Image;
use crate::model::{
    AreaTerms, Device, Door, DoorTerms, Extras, GROUPS_INLINE, GroupRule, Person, Place,
    ScheduleLink, State, Validity,
};
use crate::zone::Zones;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The state after `images`. The given one is left as it is for those who still read it.
pub fn apply(
    catalog: &mut Catalog,
    state: &State,
    revision: i64,
    images: Vec<Image>,
    zones: &Zones,
) -> State {
    let mut next = state.clone();
    let mut touched = Touched::default();
    for image in images {
        take_in(catalog, &mut next, image, &mut touched, zones);
    }
    settle(catalog, &mut next, touched);
    next.revision = revision;
    next
}

/// What one image says, as far as it can be said before all of them are in.
pub fn take_in(
    catalog: &mut Catalog,
    next: &mut State,
    image: Image,
    touched: &mut Touched,
    zones: &Zones,
) {
    match image {
        Image::Organization(document) => {
            next.active = document.is_some_and(|document| document.active);
        }
        Image::Site(id, document) => put_site(catalog, next, id, document, touched, zones),
        Image::Area(id, document) => put_area(catalog, next, id, document, touched),
        Image::Door(id, document) => put_door(catalog, next, id, document, touched),
        Image::Device(id, Some(document)) => {
            let DeviceDocument {
                door,
                active,
                public_key,
            } = document;
            next.devices.insert(Arc::new(Device {
                id,
                door,
                active,
                public_key,
            }));
        }
        Image::Device(id, None) => _ = next.devices.remove(id.as_str()),
        Image::Person(id, Some(document)) => put_person(catalog, next, id, document),
        Image::Person(id, None) => _ = next.persons.remove(id.as_str()),
        Image::Group(id, document) => {
            catalog.put_group(&id, document.map(|document| document.includes), touched);
        }
        Image::Schedule(id, document) => catalog.put_schedule(&id, document, touched),
        Image::Calendar(id, document) => catalog.put_calendar(&id, document, touched),
        Image::Grant(id, document) => catalog.put_grant(&id, document, touched),
    }
}

fn put_site(
    catalog: &mut Catalog,
    next: &mut State,
    id: Identifier,
    document: Option<SiteDocument>,
    touched: &mut Touched,
    zones: &Zones,
) {
    let place = catalog.places.of(&PlaceName::Site(id.clone()));
    let facts = document.map(|document| PlaceFacts {
        id,
        zone: zones.named(&document.time_zone),
        locked_down: document.locked_down,
        terms: None,
    });
    put_place(next, place, facts, touched);
}

fn put_area(
    catalog: &mut Catalog,
    next: &mut State,
    id: Identifier,
    document: Option<AreaDocument>,
    touched: &mut Touched,
) {
    let place = catalog.places.of(&PlaceName::Area(id.clone()));
    let facts = document.map(|document| PlaceFacts {
        id,
        zone: None,
        locked_down: document.locked_down,
        terms: area_terms(&document),
    });
    put_place(next, place, facts, touched);
}

/// `timed` without a number of minutes holds for good, as `hard` does.
fn area_terms(document: &AreaDocument) -> Option<AreaTerms> {
    let AreaDocument {
        anti_passback,
        anti_passback_minutes,
        occupancy_max,
        ..
    } = *document;
    let counted = anti_passback != AntiPassback::Off || occupancy_max.is_some();
    counted.then_some(AreaTerms {
        anti_passback,
        anti_passback_minutes: anti_passback_minutes.unwrap_or(u32::MAX),
        occupancy_max,
    })
}

struct PlaceFacts {
    id: Identifier,
    zone: Option<Arc<crate::zone::Zone>>,
    locked_down: bool,
    terms: Option<AreaTerms>,
}

/// A place that was there keeps its rules and doors: a lockdown of a site with thousands of them copies neither.
fn put_place(next: &mut State, handle: u32, facts: Option<PlaceFacts>, touched: &mut Touched) {
    let known = next.places.get(handle).filter(|_| facts.is_some());
    let (rules, doors) = known
        .map(|known| (Arc::clone(&known.rules), Arc::clone(&known.doors)))
        .unwrap_or_default();
    if known.is_none() {
        touched.places.insert(handle);
    }
    if facts.is_none() {
        list_groups(next, handle, &[]);
    }
    next.places.set(
        handle,
        facts.map(|facts| {
            let PlaceFacts {
                id,
                zone,
                locked_down,
                terms,
            } = facts;
            Arc::new(Place {
                id,
                locked_down,
                zone,
                terms,
                rules,
                doors,
            })
        }),
    );
}

fn put_door(
    catalog: &mut Catalog,
    next: &mut State,
    id: Identifier,
    document: Option<DoorDocument>,
    touched: &mut Touched,
) {
    let place = catalog.places.of(&PlaceName::Door(id.clone()));
    if let Some(old) = next.doors_by_place.get(place) {
        for outer in [Some(old.site_place), old.area_place].into_iter().flatten() {
            catalog.doors_in.remove(&outer, &place);
            touched.places.insert(outer);
        }
    }
    touched.places.insert(place);
    let Some(document) = document else {
        list_groups(next, place, &[]);
        next.doors_by_place.set(place, None);
        next.doors.remove(id.as_str());
        return;
    };
    let DoorDocument {
        name,
        site,
        area,
        lock,
        mode,
        modes,
        enters,
        leaves,
        two_persons_seconds,
        locked_down,
    } = document;
    let terms = door_terms(catalog, modes, enters, leaves, two_persons_seconds);
    let site_place = catalog.places.of(&PlaceName::Site(site.clone()));
    let area_place = area
        .as_ref()
        .map(|area| catalog.places.of(&PlaceName::Area(area.clone())));
    for outer in [Some(site_place), area_place].into_iter().flatten() {
        catalog.doors_in.add(outer, place);
        touched.places.insert(outer);
    }
    let rules = next
        .doors_by_place
        .get(place)
        .map(|old| Arc::clone(&old.rules))
        .unwrap_or_default();
    put_settled_door(
        next,
        Door {
            id,
            place,
            site_place,
            area_place,
            rules,
            mode,
            locked_down,
            terms,
            name: name.into(),
            site,
            area,
            lock,
        },
    );
}

fn door_terms(
    catalog: &mut Catalog,
    modes: Vec<ScheduledMode>,
    enters: Option<Identifier>,
    leaves: Option<Identifier>,
    two_persons_seconds: Option<u32>,
) -> Option<Arc<DoorTerms>> {
    let any =
        !modes.is_empty() || enters.is_some() || leaves.is_some() || two_persons_seconds.is_some();
    let mut area = |id: Option<Identifier>| id.map(|id| catalog.places.of(&PlaceName::Area(id)));
    let (enters, leaves) = (area(enters), area(leaves));
    let modes = modes.into_iter().map(|scheduled| {
        let link = ScheduleLink {
            handle: catalog.schedules.of(&scheduled.schedule),
            id: scheduled.schedule,
        };
        (link, scheduled.mode)
    });
    let terms = DoorTerms {
        modes: modes.collect(),
        enters,
        leaves,
        two_persons_seconds,
    };
    any.then(|| Arc::new(terms))
}

fn put_settled_door(next: &mut State, door: Door) {
    let door = Arc::new(door);
    next.doors_by_place.set(door.place, Some(Arc::clone(&door)));
    next.doors.insert(door);
}

fn put_person(catalog: &mut Catalog, next: &mut State, id: Identifier, document: PersonDocument) {
    let PersonDocument {
        state,
        valid_from,
        valid_until,
        groups,
        roles,
        tokens_valid_after,
        pin,
    } = document;
    let mut groups: SmallVec<[u32; GROUPS_INLINE]> = groups
        .iter()
        .map(|group| catalog.groups.of(group))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups.shrink_to_fit();
    let extras = Extras {
        rules: catalog.rules_of_person(id.as_str()),
        roles: roles.into(),
        pin,
    };
    next.persons.insert(Arc::new(Person {
        id,
        groups,
        validity: Validity::new(valid_from, valid_until),
        tokens_valid_after_ms: tokens_valid_after,
        extras: extras.kept(),
        suspended: state == PersonState::Suspended,
    }));
}

/// What the images mean together, once all of them are in.
pub fn settle(catalog: &Catalog, next: &mut State, touched: Touched) {
    let Touched {
        mut places,
        groups,
        persons,
        schedules,
    } = touched;
    if !groups.is_empty() {
        places.append(&mut catalog.places_behind(&groups));
    }
    let mut closures = Closures::default();
    for place in places {
        settle_place(catalog, next, place, &mut closures);
    }
    for person in persons {
        catalog.settle_person(&person, next);
    }
    for schedule in schedules {
        next.schedules
            .set(schedule, catalog.compiled(schedule).map(Arc::new));
    }
}

fn settle_place(catalog: &Catalog, next: &mut State, handle: u32, closures: &mut Closures) {
    if let Some(door) = next.doors_by_place.get(handle) {
        let settled = Door {
            rules: catalog.rules_at(handle, closures),
            ..Door::clone(door)
        };
        list_groups(next, handle, &settled.rules);
        put_settled_door(next, settled);
    } else if let Some(place) = next.places.get(handle) {
        let doors = catalog.doors_in.of(&handle).copied().collect();
        let settled = Place {
            rules: catalog.rules_at(handle, closures),
            doors,
            ..Place::clone(place)
        };
        list_groups(next, handle, &settled.rules);
        next.places.set(handle, Some(Arc::new(settled)));
    }
}

/// Keeps the way from a group to the places that allow it something in step with the rules a place is about to get.
fn list_groups(next: &mut State, place: u32, rules: &[GroupRule]) {
    let before = allowed_groups(rules_of(next, place));
    let after = allowed_groups(rules);
    for group in before.symmetric_difference(&after) {
        let mut places = next
            .places_of_group
            .get(*group)
            .map(|places| Vec::clone(places))
            .unwrap_or_default();
        match places.binary_search(&place) {
            Ok(found) if !after.contains(group) => _ = places.remove(found),
            Err(missing) if after.contains(group) => places.insert(missing, place),
            _ => {}
        }
        next.places_of_group.set(*group, Some(Arc::new(places)));
    }
}

fn rules_of(next: &State, place: u32) -> &[GroupRule] {
    let of_door = next.doors_by_place.get(place).map(|door| &*door.rules);
    of_door
        .or_else(|| next.places.get(place).map(|place| &*place.rules))
        .unwrap_or_default()
}

fn allowed_groups(rules: &[GroupRule]) -> BTreeSet<u32> {
    rules
        .iter()
        .filter(|rule| !rule.grant.denies)
        .map(|rule| rule.group)
        .collect()
}
