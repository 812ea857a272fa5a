//! Images tried on a copy: the state that they would make, and what they touch. What is in memory stays as it is.
use crate::apply::{settle, take_in};
use crate::catalog::{Catalog, Touched};
use crate::documents::PlaceName;
use crate::identifier::Identifier;
use crate::images::Image;
use crate::model::State;
use crate::zone::Zones;
use std::collections::BTreeSet;

/// What images can make a difference to. Whatever `check` answers otherwise hangs on one of these.
#[derive(Debug, Default)]
pub struct Touch {
    /// The organization itself: every door.
    pub everything: bool,
    /// Persons who are given, or whose own grants are.
    pub persons: BTreeSet<Identifier>,
    /// Handles of doors, areas and sites that are given, or whose rules change.
    pub places: BTreeSet<u32>,
    /// Handles of schedules that are given, or whose calendar is.
    pub schedules: BTreeSet<u32>,
}

/// The state after `images`, as `apply` would make it. `catalog` is a copy of the writer's.
pub fn trial(
    catalog: &mut Catalog,
    state: &State,
    images: Vec<Image>,
    zones: &Zones,
) -> (State, Touch) {
    let mut next = state.clone();
    let mut touch = Touch::default();
    let (mut rules, mut structure) = (Touched::default(), Touched::default());
    for image in images {
        let touched = match &image {
            Image::Grant(..) | Image::Group(..) | Image::Schedule(..) | Image::Calendar(..) => {
                &mut rules
            }
            // A door's area and site are settled with it, and are what they were for every other door.
            _ => &mut structure,
        };
        touch.note(catalog, &image);
        take_in(catalog, &mut next, image, touched, zones);
    }
    rules
        .places
        .append(&mut catalog.places_behind(&rules.groups));
    touch.places.extend(&rules.places);
    touch.persons.extend(rules.persons.iter().cloned());
    touch.schedules.extend(&rules.schedules);
    rules.places.append(&mut structure.places);
    rules.schedules.append(&mut structure.schedules);
    settle(catalog, &mut next, rules);
    (next, touch)
}

impl Touch {
    fn note(&mut self, catalog: &mut Catalog, image: &Image) {
        let place = match image {
            Image::Organization(_) => {
                self.everything = true;
                return;
            }
            Image::Person(id, _) => {
                self.persons.insert(id.clone());
                return;
            }
            Image::Door(id, _) => PlaceName::Door(id.clone()),
            Image::Area(id, _) => PlaceName::Area(id.clone()),
            Image::Site(id, _) => PlaceName::Site(id.clone()),
            _ => return,
        };
        self.places.insert(catalog.place(&place));
    }
}
