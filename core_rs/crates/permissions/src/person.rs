//! A person as readers see one: a record as long as a cache line, and beside it what most persons don't have.
use crate::documents::HeldRole;
use crate::grant::{GrantLink, Validity};
use crate::groups::Groups;
use crate::identifier::Identifier;
use crate::map::Keyed;
use std::sync::Arc;

/// A grant for one person, listed at the person.
#[derive(Clone, Copy, Debug)]
pub struct PersonRule {
    /// Handle of the place.
    pub place: u32,
    /// The grant.
    pub grant: GrantLink,
}

/// A person: what `check` needs of most persons, in one record that is a cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Person {
    /// Identifier.
    pub id: Identifier,
    groups: Groups,
    /// Suspended persons pass nowhere.
    pub suspended: bool,
    /// Came with a stage, which is beside the record.
    is_staged: bool,
    extras: Option<Arc<Extras>>,
}

/// What most persons don't have: bounds, grants of their own, roles, a PIN.
#[derive(Clone, Debug)]
pub struct Extras {
    /// When the person is valid.
    pub validity: Validity,
    /// Tokens issued before are revoked.
    pub tokens_valid_after_ms: i64,
    /// Sorted by place.
    pub rules: Box<[PersonRule]>,
    /// What the person may administer.
    pub roles: Box<[HeldRole]>,
    /// Keyed hash of the PIN.
    pub pin: Option<[u8; 32]>,
    /// The stage that the person came with; 0: with none.
    pub staged: u32,
    /// Sorted handles of direct groups, when they don't fit into the record.
    pub groups: Box<[u32]>,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            validity: Validity::ALWAYS,
            tokens_valid_after_ms: 0,
            rules: Box::default(),
            roles: Box::default(),
            pin: None,
            staged: 0,
            groups: Box::default(),
        }
    }
}

impl Extras {
    /// Kept only when there is something to keep.
    fn kept(self) -> Option<Arc<Self>> {
        let bounds = (self.validity, self.tokens_valid_after_ms) != (Validity::ALWAYS, 0);
        let lists = [
            self.rules.is_empty(),
            self.roles.is_empty(),
            self.groups.is_empty(),
        ];
        let any = bounds || self.staged != 0 || self.pin.is_some() || lists.contains(&false);
        any.then(|| Arc::new(self))
    }
}

impl Person {
    /// A person in these groups.
    #[must_use]
    pub fn new(id: Identifier, suspended: bool, mut groups: Vec<u32>, extras: Extras) -> Self {
        groups.sort_unstable();
        groups.dedup();
        let (groups, beside) = Groups::new(&groups).map_or_else(
            || (Groups::beside(), groups.into()),
            |groups| (groups, Box::default()),
        );
        let extras = Extras {
            groups: beside,
            ..extras
        };
        Self {
            id,
            groups,
            suspended,
            is_staged: extras.staged != 0,
            extras: extras.kept(),
        }
    }

    /// The same person with these rules of their own.
    #[must_use]
    pub fn with_rules(&self, rules: Box<[PersonRule]>) -> Self {
        let extras = self.extras.as_deref().cloned().unwrap_or_default();
        Self {
            extras: Extras { rules, ..extras }.kept(),
            ..self.clone()
        }
    }

    /// Is this one of the direct groups?
    #[inline]
    #[must_use]
    pub fn is_in(&self, group: u32) -> bool {
        self.groups
            .is_in(group)
            .unwrap_or_else(|| self.groups_beside().binary_search(&group).is_ok())
    }

    /// Handles of the direct groups, ascending.
    pub fn groups(&self) -> impl Iterator<Item = u32> {
        self.groups
            .iter()
            .chain(self.groups_beside().iter().copied())
    }

    fn groups_beside(&self) -> &[u32] {
        self.extras
            .as_ref()
            .map(|extras| &*extras.groups)
            .unwrap_or_default()
    }

    /// When the person is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.extras
            .as_ref()
            .map_or(Validity::ALWAYS, |extras| extras.validity)
    }

    /// Tokens issued before are revoked.
    #[must_use]
    pub fn tokens_valid_after_ms(&self) -> i64 {
        self.extras
            .as_ref()
            .map_or(0, |extras| extras.tokens_valid_after_ms)
    }

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

    /// The stage that the person came with; 0: with none. `State::shows` says whether it counts.
    #[inline]
    #[must_use]
    pub fn staged(&self) -> u32 {
        if !self.is_staged {
            return 0;
        }
        self.extras
            .as_ref()
            .map_or(u32::MAX, |extras| extras.staged)
    }

    /// Keyed hash of the PIN.
    #[must_use]
    pub fn pin(&self) -> Option<[u8; 32]> {
        self.extras.as_ref().and_then(|extras| extras.pin)
    }
}

impl Keyed for Person {
    fn key(&self) -> &str {
        self.id.as_str()
    }
}

// INVARIANT: the record of a person stays a cache line.
const _: () = assert!(size_of::<Option<Person>>() <= 64);
