//! What readers see: one immutable state per revision. `catalog` builds it, `check` asks it; nothing here changes in place.
//!
//! Handles are numbers for names, given by the catalog. A name keeps its handle while the organization stays loaded; only the handle of a
//! grant that was taken is given again, and no rule of the same state has it then.
use crate::api_keys::ApiKey;
use crate::area_terms::AreaTerms;
use crate::documents::DoorMode;
use crate::grant::{Grant, GrantLink, GroupRule, GroupRules};
use crate::identifier::Identifier;
use crate::map::{Keyed, Map};
use crate::person::Person;
use crate::schedule::Schedule;
use crate::sessions::EndedSessions;
use crate::slots::Slots;
use crate::zone::Zone;
use smol_str::SmolStr;
use std::sync::Arc;

/// A door: what `check` needs of it, in two cache lines that the processor fetches as a pair. What people and devices call it is in `DoorNames`.
#[derive(Clone, Debug)]
#[repr(C, align(128))]
pub struct Door {
    /// Identifier.
    pub id: Identifier,
    /// Handle of the door as a place.
    pub place: u32,
    /// Handle of its site, which may not exist.
    pub site_place: u32,
    /// Handle of its area, which may not exist.
    pub area_place: Option<u32>,
    /// Its mode.
    pub mode: DoorMode,
    /// Whether the door itself is locked down.
    pub locked_down: bool,
    /// The revision of its own latest lockdown, also when that is over; 0: never.
    pub lockdown_revision: i64,
    /// Rules on the door itself, sorted by group.
    pub rules: GroupRules,
    /// What most doors don't have.
    pub terms: Option<Arc<DoorTerms>>,
}

impl Door {
    /// Handle of the area that it leads into, when that isn't its own.
    #[inline]
    #[must_use]
    pub fn enters_another(&self) -> Option<u32> {
        let enters = self.terms.as_ref()?.enters?;
        Some(enters).filter(|_| self.area_place != Some(enters))
    }
}

/// What a door is called, and what moves it.
#[derive(Clone, Debug)]
pub struct DoorNames {
    /// Identifier.
    pub id: Identifier,
    /// What people call it.
    pub name: SmolStr,
    /// The device that moves it.
    pub lock: Option<Identifier>,
}

/// A door as it is told to whoever asks for it.
#[derive(Clone, Debug)]
pub struct DoorRecord {
    /// Identifier.
    pub id: Identifier,
    /// What people call it.
    pub name: SmolStr,
    /// Its site.
    pub site: Identifier,
    /// Its area.
    pub area: Option<Identifier>,
    /// The device that moves it.
    pub lock: Option<Identifier>,
}

/// What most doors don't have: modes by schedule, areas that are counted, a second person.
#[derive(Clone, Debug)]
pub struct DoorTerms {
    /// Handles of schedules; the first that is open holds.
    pub modes: Box<[(u32, DoorMode)]>,
    /// Handle of the area into which it leads.
    pub enters: Option<u32>,
    /// Handle of the area out of which it leads.
    pub leaves: Option<u32>,
    /// Two persons have to ask within so many seconds.
    pub two_persons_seconds: Option<u32>,
}

impl DoorTerms {
    /// Is there anything in it?
    #[must_use]
    pub fn asks_anything(&self) -> bool {
        let areas = self.enters.is_some() || self.leaves.is_some();
        areas || !self.modes.is_empty() || self.two_persons_seconds.is_some()
    }
}

/// A site or an area: what its doors share.
#[derive(Clone, Debug)]
pub struct Place {
    /// Identifier.
    pub id: Identifier,
    /// Whether its doors are locked down.
    pub locked_down: bool,
    /// The revision of its latest lockdown, also when that is over; 0: never.
    pub lockdown_revision: i64,
    /// The time zone, of a site, when it is known.
    pub zone: Option<Arc<Zone>>,
    /// Of an area: what it asks of who enters; `None`: nobody counts.
    pub terms: Option<AreaTerms>,
    /// Rules on all its doors, sorted by group.
    pub rules: GroupRules,
    /// Handles of its doors, ascending.
    pub doors: Arc<[u32]>,
}

/// A device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Identifier.
    pub id: Identifier,
    /// The door it moves.
    pub door: Option<Identifier>,
    /// Whether it may speak.
    pub active: bool,
    /// Ed25519.
    pub public_key: [u8; 32],
}

impl Keyed for Door {
    fn key(&self) -> &str {
        self.id.as_str()
    }
}

impl Keyed for Device {
    fn key(&self) -> &str {
        self.id.as_str()
    }
}

/// One organization at one revision. INVARIANT: whoever holds it sees all of that revision and nothing of another.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The revision.
    pub revision: i64,
    /// Whether the organization exists and is active.
    pub active: bool,
    /// Stages up to this one are live.
    pub stages_live: u32,
    /// Persons, also those of a stage that isn't live: who asks of one asks `person`.
    pub persons: Map<Person>,
    /// Doors by identifier.
    pub doors: Map<Door>,
    /// By handle as a place: what the same doors are called.
    pub door_names: Slots<DoorNames>,
    /// Devices.
    pub devices: Map<Device>,
    /// API keys.
    pub api_keys: Map<ApiKey>,
    /// Sessions that ended lately.
    pub ended_sessions: EndedSessions,
    /// Sites and areas that exist, by `holder_number` of their handles.
    pub places: Slots<Place>,
    /// The names of all sites and areas that were ever named, by the same number.
    pub place_names: Slots<Identifier>,
    /// Schedules that were named, by handle.
    pub schedules: Slots<NamedSchedule>,
    /// Grants by handle.
    pub grants: Slots<Grant>,
    /// By handle of a group: places that list an allow rule for it, ascending.
    pub places_of_group: Slots<Arc<Vec<u32>>>,
}

/// A schedule by its name.
#[derive(Clone, Debug)]
pub struct NamedSchedule {
    /// Its identifier.
    pub id: Identifier,
    /// What it says; `None` when it doesn't exist (yet).
    pub schedule: Option<Schedule>,
}

/// The bit of a place's handle that says: an area or a site, which holds doors.
const HOLDER: u32 = 1 << 31;

/// The handle of the area or site of this number.
#[must_use]
pub fn holder_handle(number: u32) -> u32 {
    number | HOLDER
}

/// The number of an area or a site; `None` for a door.
fn holder_number(handle: u32) -> Option<u32> {
    (handle & HOLDER != 0).then_some(handle & !HOLDER)
}

impl State {
    /// Whether what came with this stage counts: an import that is all or nothing shows as a whole, in one revision, or never.
    #[inline]
    #[must_use]
    pub fn shows(&self, staged: u32) -> bool {
        staged <= self.stages_live
    }

    /// A person who is there for everybody.
    #[inline]
    #[must_use]
    pub fn person(&self, id: &str) -> Option<&Person> {
        self.persons
            .get(id)
            .filter(|person| self.shows(person.staged()))
    }

    /// What an area or a site is called that was ever named.
    #[must_use]
    pub fn place_name(&self, handle: u32) -> Option<&Identifier> {
        self.place_names.get(holder_number(handle)?)
    }

    /// The area or the site with this handle, when it exists.
    #[inline]
    #[must_use]
    pub fn place(&self, handle: u32) -> Option<&Place> {
        self.places.get(holder_number(handle)?)
    }

    /// Writes (or takes away) an area or a site.
    pub fn set_place(&mut self, handle: u32, place: Option<Place>) {
        if let Some(number) = holder_number(handle) {
            self.places.set(number, place);
        }
    }

    /// Remembers what an area or a site is called, also when it doesn't exist.
    pub fn name_place(&mut self, handle: u32, id: &Identifier) {
        if let Some(number) = holder_number(handle)
            && self.place_names.get(number).is_none()
        {
            self.place_names.set(number, Some(id.clone()));
        }
    }

    /// The area of a door, when it exists.
    #[inline]
    #[must_use]
    pub fn area_of(&self, door: &Door) -> Option<&Place> {
        self.place(door.area_place?)
    }

    /// The area that a door leads into, when it exists and isn't the door's own. What most doors don't have costs them no look-up.
    #[inline]
    #[must_use]
    pub fn area_behind(&self, door: &Door) -> Option<&Place> {
        self.place(door.enters_another()?)
    }

    /// The site of a door, when it exists.
    #[inline]
    #[must_use]
    pub fn site_of(&self, door: &Door) -> Option<&Place> {
        self.place(door.site_place)
    }

    /// The revision of the latest lockdown that held a door, by itself, its area, the one that it leads into, or its site; 0: never.
    #[must_use]
    pub fn lockdown_revision(&self, door: &Door) -> i64 {
        let holders = [
            self.area_of(door),
            self.area_behind(door),
            self.site_of(door),
        ];
        let of_holders = holders.into_iter().flatten();
        of_holders
            .map(|place| place.lockdown_revision)
            .fold(door.lockdown_revision, i64::max)
    }

    /// The rules that a door, an area or a site lists for groups; none when it doesn't exist.
    #[must_use]
    pub fn rules_at(&self, handle: u32) -> &[GroupRule] {
        let of_door = self.door_at(handle).map(|door| &*door.rules);
        of_door
            .or_else(|| self.place(handle).map(|place| &*place.rules))
            .unwrap_or_default()
    }

    /// Whether a rule gives something that shows.
    #[must_use]
    pub fn allows(&self, link: GrantLink) -> bool {
        let grant = self.grants.get(link.handle());
        !link.denies() && grant.is_some_and(|grant| self.shows(grant.staged))
    }

    /// The door with this handle, when it exists.
    #[must_use]
    pub fn door_at(&self, handle: u32) -> Option<&Door> {
        self.doors.get(self.door_names.get(handle)?.id.as_str())
    }

    /// A door as it is told.
    #[must_use]
    pub fn record_of(&self, door: &Door) -> Option<DoorRecord> {
        let names = self.door_names.get(door.place)?;
        let name_of = |handle: u32| self.place_name(handle).cloned();
        Some(DoorRecord {
            id: door.id.clone(),
            name: names.name.clone(),
            site: name_of(door.site_place)?,
            area: door.area_place.and_then(name_of),
            lock: names.lock.clone(),
        })
    }
}

// INVARIANT: the record of a door stays as long as two cache lines.
const _: () = assert!(size_of::<Option<Door>>() <= 128);
