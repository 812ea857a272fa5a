//! From one revision to the next: images in, the next `State` out. It cannot fail; what could was refused in `images`.
use crate::api_keys::ApiKey;
use crate::area_terms::AreaTerms;
use crate::catalog::{Catalog, Closures, Touched};
use crate::documents::{
    AreaDocument, DeviceDocument, DoorDocument, PersonDocument, PersonState, PlaceName,
    SiteDocument,
};
use crate::grant::{GroupRules, Validity};
use crate::identifier::Identifier;
use crate::images::Image;
use crate::listed_places::ListedPlaces;
use crate::model::{Device, Door, DoorNames, DoorTerms, Place, State};
use crate::person::{Extras, Person};
use crate::zone::Zones;
use smallvec::SmallVec;
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
            next.stages_live = document.as_ref().map_or(0, |document| document.stages_live);
            next.active = document.is_some_and(|document| document.active);
        }
        Image::Site(id, document) => put_site(catalog, next, id, document, touched, zones),
        Image::Area(id, document) => put_area(catalog, next, id, document, touched),
        Image::Door(id, document) => put_door(catalog, next, &id, document, touched),
        Image::Device(id, Some(document)) => {
            let DeviceDocument {
                door,
                active,
                public_key,
            } = document;
            next.devices.insert(Device {
                id,
                door,
                active,
                public_key,
            });
        }
        Image::Device(id, None) => _ = next.devices.remove(id.as_str()),
        Image::Person(id, Some(document)) => put_person(catalog, next, id, document),
        Image::Person(id, None) => _ = next.persons.remove(id.as_str()),
        Image::Group(id, document) => {
            catalog.put_group(&id, document.map(|document| document.includes), touched);
        }
        Image::Schedule(id, document) => catalog.put_schedule(&id, document, touched),
        Image::Calendar(id, document) => catalog.put_calendar(&id, document, touched),
        Image::Grant(id, document) => catalog.put_grant(&id, document, next, touched),
        Image::Session(id, document) => {
            catalog
                .ended_sessions
                .put(&mut next.ended_sessions, id, &document);
        }
        Image::ApiKey(id, Some(document)) => {
            next.api_keys.insert(ApiKey::new(id, document));
        }
        Image::ApiKey(id, None) => _ = next.api_keys.remove(id.as_str()),
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
    let place = catalog.place(&PlaceName::Site(id.clone()));
    let facts = document.map(|document| PlaceFacts {
        id,
        zone: zones.named(&document.time_zone),
        locked_down: document.locked_down,
        lockdown_revision: document.lockdown_revision,
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
    let place = catalog.place(&PlaceName::Area(id.clone()));
    let facts = document.map(|document| PlaceFacts {
        id,
        zone: None,
        locked_down: document.locked_down,
        lockdown_revision: document.lockdown_revision,
        terms: AreaTerms::of(&document),
    });
    put_place(next, place, facts, touched);
}

struct PlaceFacts {
    id: Identifier,
    zone: Option<Arc<crate::zone::Zone>>,
    locked_down: bool,
    lockdown_revision: i64,
    terms: Option<AreaTerms>,
}

/// A place that was there keeps its rules and doors: a lockdown of a site with thousands of them copies neither.
fn put_place(next: &mut State, handle: u32, facts: Option<PlaceFacts>, touched: &mut Touched) {
    let known = next.place(handle).filter(|_| facts.is_some());
    let (rules, doors) = known
        .map(|known| (known.rules.clone(), Arc::clone(&known.doors)))
        .unwrap_or_default();
    if known.is_none() {
        touched.places.insert(handle);
    }
    let Some(facts) = facts else {
        unlist(next, handle);
        next.set_place(handle, None);
        return;
    };
    let PlaceFacts {
        id,
        zone,
        locked_down,
        lockdown_revision,
        terms,
    } = facts;
    next.name_place(handle, &id);
    let place = Place {
        id,
        locked_down,
        lockdown_revision,
        zone,
        terms,
        rules,
        doors,
    };
    next.set_place(handle, Some(place));
}

/// A door that was there keeps its rules, and what it doesn't leave is not touched.
fn put_door(
    catalog: &mut Catalog,
    next: &mut State,
    id: &Identifier,
    document: Option<DoorDocument>,
    touched: &mut Touched,
) {
    let place = catalog.place(&PlaceName::Door(id.clone()));
    let known = next.doors.get(id.as_str());
    let rules = known.map(|known| known.rules.clone());
    let before = known.map(holders_of).unwrap_or_default();
    let door = document.map(|document| new_door(catalog, next, (id, place), document, touched));
    let after = door.as_ref().map(holders_of).unwrap_or_default();
    for left in before.iter().filter(|holder| !after.contains(holder)) {
        catalog.doors_in.remove(left, place);
        touched.places.insert(*left);
    }
    for joined in after.iter().filter(|holder| !before.contains(holder)) {
        catalog.doors_in.add(*joined, place);
        touched.places.insert(*joined);
    }
    match (door, rules) {
        (Some(door), Some(rules)) => next.doors.insert(Door { rules, ..door }),
        (Some(door), None) => {
            touched.places.insert(place);
            next.doors.insert(door);
        }
        (None, _) => {
            unlist(next, place);
            next.door_names.set(place, None);
            next.doors.remove(id.as_str());
        }
    }
}

/// Its site and its area, by their handles.
fn holders_of(door: &Door) -> SmallVec<[u32; 2]> {
    [Some(door.site_place), door.area_place]
        .into_iter()
        .flatten()
        .collect()
}

/// The door of a document, without rules; what it is called is written.
fn new_door(
    catalog: &mut Catalog,
    next: &mut State,
    (id, place): (&Identifier, u32),
    document: DoorDocument,
    touched: &mut Touched,
) -> Door {
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
        lockdown_revision,
    } = document;
    let modes = modes.into_iter().map(|scheduled| {
        let schedule = catalog.schedule(&scheduled.schedule, touched);
        (schedule, scheduled.mode)
    });
    let modes = modes.collect();
    let mut holder = |name: &PlaceName, id: &Identifier| {
        let handle = catalog.place(name);
        next.name_place(handle, id);
        handle
    };
    let site_place = holder(&PlaceName::Site(site.clone()), &site);
    let mut area_place =
        |area: Option<Identifier>| area.map(|area| holder(&PlaceName::Area(area.clone()), &area));
    let terms = DoorTerms {
        modes,
        enters: area_place(enters),
        leaves: area_place(leaves),
        two_persons_seconds,
    };
    let door = Door {
        id: id.clone(),
        place,
        site_place,
        area_place: area_place(area),
        mode,
        locked_down,
        lockdown_revision,
        rules: GroupRules::new(),
        terms: terms.asks_anything().then(|| Arc::new(terms)),
    };
    let name = name.into();
    next.door_names.set(
        place,
        Some(DoorNames {
            id: id.clone(),
            name,
            lock,
        }),
    );
    door
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
        staged,
    } = document;
    let groups = groups
        .iter()
        .map(|group| catalog.groups.of(group))
        .collect();
    let extras = Extras {
        validity: Validity::new(valid_from, valid_until),
        tokens_valid_after_ms: tokens_valid_after,
        rules: catalog.rules_of_person(id.as_str(), next),
        roles: roles.into(),
        pin,
        staged,
        ..Extras::default()
    };
    let suspended = state == PersonState::Suspended;
    next.persons
        .insert(Person::new(id, suspended, groups, extras));
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
    let mut listed = ListedPlaces::default();
    for place in places {
        settle_place(catalog, next, place, &mut closures, &mut listed);
    }
    listed.write(next);
    for person in persons {
        catalog.settle_person(&person, next);
    }
    for schedule in schedules {
        next.schedules
            .set(schedule, catalog.named_schedule(schedule));
    }
}

/// A place that says what it said is left as it is: to write it would copy its neighbours, too.
fn settle_place(
    catalog: &Catalog,
    next: &mut State,
    handle: u32,
    closures: &mut Closures,
    listed: &mut ListedPlaces,
) {
    if let Some(door) = next.door_at(handle) {
        let rules = catalog.rules_at(handle, closures, next);
        if rules == door.rules {
            return;
        }
        listed.note(handle, &door.rules, &rules);
        let settled = Door {
            rules,
            ..door.clone()
        };
        next.doors.insert(settled);
    } else if let Some(place) = next.place(handle) {
        let rules = catalog.rules_at(handle, closures, next);
        let doors = catalog.doors_in.of(&handle);
        if rules == place.rules && *doors == *place.doors {
            return;
        }
        listed.note(handle, &place.rules, &rules);
        let settled = Place {
            rules,
            doors: doors.into(),
            ..place.clone()
        };
        next.set_place(handle, Some(settled));
    }
}

/// A place that ceases to be there is listed for no group any more.
fn unlist(next: &mut State, place: u32) {
    let mut listed = ListedPlaces::default();
    listed.note(place, next.rules_at(place), &[]);
    listed.write(next);
}
