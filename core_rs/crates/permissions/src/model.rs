//! What readers see: one immutable state per revision. `catalog` builds it, `check` asks it; nothing here changes in place.
//!
//! Handles are numbers for names, given once by the catalog and never again while the organization stays loaded.
use crate::documents::{AntiPassback, DoorMode, HeldRole, PassTerms};
use crate::identifier::Identifier;
use crate::map::{Keyed, Map};
use crate::schedule::Schedule;
use crate::slots::Slots;
use crate::zone::Zone;
use smallvec::SmallVec;
use std::sync::Arc;

/// Half-open validity in milliseconds; a missing bound is the type's own.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    from_ms: i64,
    until_ms: i64,
}

impl Validity {
    /// From bounds that may be missing.
    #[must_use]
    pub fn new(from_ms: Option<i64>, until_ms: Option<i64>) -> Self {
        Self {
            from_ms: from_ms.unwrap_or(i64::MIN),
            until_ms: until_ms.unwrap_or(i64::MAX),
        }
    }

    /// Has it begun?
    #[must_use]
    pub fn has_begun(self, now_ms: i64) -> bool {
        now_ms >= self.from_ms
    }

    /// Is it over?
    #[must_use]
    pub fn is_over(self, now_ms: i64) -> bool {
        now_ms >= self.until_ms && self.until_ms != i64::MAX
    }
}

/// A grant without its subject and place: those say where it is listed.
#[derive(Debug)]
pub struct Grant {
    /// Its identifier.
    pub id: Identifier,
    /// Takes instead of gives.
    pub denies: bool,
    /// When it holds at all.
    pub validity: Validity,
    /// When it is open; `None` is always.
    pub schedule: Option<ScheduleLink>,
    /// What narrows it, when it came out of a pass.
    pub pass: Option<Box<PassTerms>>,
}

/// A schedule by name and by handle; the handle may lead to nothing (yet).
#[derive(Clone, Debug)]
pub struct ScheduleLink {
    /// Its identifier.
    pub id: Identifier,
    /// Where `State::schedules` has it.
    pub handle: u32,
}

/// A grant for a group, listed at its place. Nesting is closed over: every group that is included has its own entry.
#[derive(Clone, Debug)]
pub struct GroupRule {
    /// Handle of the group.
    pub group: u32,
    /// The grant.
    pub grant: Arc<Grant>,
}

/// A grant for one person, listed at the person.
#[derive(Clone, Debug)]
pub struct PersonRule {
    /// Handle of the place.
    pub place: u32,
    /// The grant.
    pub grant: Arc<Grant>,
}

/// Direct groups that fit into the record of a person; more are kept beside it.
pub const GROUPS_INLINE: usize = 12;

/// A person: everything `check` needs of one, in one record of two cache lines, in the order in which it is needed.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Person {
    /// Identifier.
    pub id: Identifier,
    /// When the person is valid.
    pub validity: Validity,
    /// Sorted handles of direct groups.
    pub groups: SmallVec<[u32; GROUPS_INLINE]>,
    /// What few persons have.
    pub extras: Option<Box<Extras>>,
    /// Tokens issued before are revoked.
    pub tokens_valid_after_ms: i64,
    /// Suspended persons pass nowhere.
    pub suspended: bool,
}

/// What most persons don't have: grants of their own, and roles.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Sorted by place.
    pub rules: Box<[PersonRule]>,
    /// What the person may administer.
    pub roles: Box<[HeldRole]>,
    /// Keyed hash of the PIN.
    pub pin: Option<[u8; 32]>,
}

impl Extras {
    /// Kept only when there is something to keep.
    #[must_use]
    pub fn kept(self) -> Option<Box<Self>> {
        let any = !self.rules.is_empty() || !self.roles.is_empty() || self.pin.is_some();
        any.then(|| Box::new(self))
    }
}

impl Person {
    /// The rules that concern this person alone, sorted by place.
    #[must_use]
    pub fn rules(&self) -> &[PersonRule] {
        self.extras
            .as_ref()
            .map(|extras| &*extras.rules)
            .unwrap_or_default()
    }

    /// What the person may administer.
    #[must_use]
    pub fn roles(&self) -> &[HeldRole] {
        self.extras
            .as_ref()
            .map(|extras| &*extras.roles)
            .unwrap_or_default()
    }

    /// Keyed hash of the PIN.
    #[must_use]
    pub fn pin(&self) -> Option<[u8; 32]> {
        self.extras.as_ref().and_then(|extras| extras.pin)
    }
}

/// A door; what `check` needs comes first and together.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Door {
    /// Identifier.
    pub id: Identifier,
    /// Handle of the door as a place.
    pub place: u32,
    /// Handle of its site, which may not exist.
    pub site_place: u32,
    /// Handle of its area, which may not exist.
    pub area_place: Option<u32>,
    /// Rules on the door itself, sorted by group.
    pub rules: Arc<[GroupRule]>,
    /// Its mode.
    pub mode: DoorMode,
    /// Whether the door itself is locked down.
    pub locked_down: bool,
    /// What most doors don't have.
    pub terms: Option<Arc<DoorTerms>>,
    /// What people call it.
    pub name: Arc<str>,
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
    /// The first whose schedule is open holds.
    pub modes: Box<[(ScheduleLink, DoorMode)]>,
    /// Handle of the area into which it leads.
    pub enters: Option<u32>,
    /// Handle of the area out of which it leads.
    pub leaves: Option<u32>,
    /// Two persons have to ask within so many seconds.
    pub two_persons_seconds: Option<u32>,
}

/// What an area asks of who enters it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaTerms {
    /// Whether somebody who is inside may enter again.
    pub anti_passback: AntiPassback,
    /// For `Timed`: for how long not.
    pub anti_passback_minutes: u32,
    /// How many may be inside.
    pub occupancy_max: Option<u32>,
}

/// A site or an area: what its doors share.
#[derive(Clone, Debug)]
pub struct Place {
    /// Identifier.
    pub id: Identifier,
    /// Whether its doors are locked down.
    pub locked_down: bool,
    /// The time zone, of a site, when it is known.
    pub zone: Option<Arc<Zone>>,
    /// Of an area: what it asks of who enters; `None`: nobody counts.
    pub terms: Option<AreaTerms>,
    /// Rules on all its doors, sorted by group.
    pub rules: Arc<[GroupRule]>,
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

impl Keyed for Person {
    fn key(&self) -> &str {
        self.id.as_str()
    }
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
    /// Persons.
    pub persons: Map<Person>,
    /// Doors by identifier.
    pub doors: Map<Door>,
    /// The same doors by their handle as a place.
    pub doors_by_place: Slots<Door>,
    /// Devices.
    pub devices: Map<Device>,
    /// Sites and areas that exist.
    pub places: Slots<Place>,
    /// Schedules that exist.
    pub schedules: Slots<Schedule>,
    /// By handle of a group: places that list an allow rule for it, ascending.
    pub places_of_group: Slots<Vec<u32>>,
}

impl State {
    /// The area of a door, when it exists.
    #[must_use]
    pub fn area_of(&self, door: &Door) -> Option<&Place> {
        self.places.get(door.area_place?).map(AsRef::as_ref)
    }

    /// The site of a door, when it exists.
    #[must_use]
    pub fn site_of(&self, door: &Door) -> Option<&Place> {
        self.places.get(door.site_place).map(AsRef::as_ref)
    }
}

// INVARIANT: the record of a person stays as long as two cache lines.
const _: () = assert!(size_of::<Person>() <= 128);
