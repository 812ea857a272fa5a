//! A grant as readers see one: what it says, and the rules by which doors, areas, sites and persons list it.
use crate::documents::PassTerms;
use crate::identifier::Identifier;
use smallvec::SmallVec;
use std::sync::Arc;

/// Half-open validity in milliseconds; a missing bound is the type's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    from_ms: i64,
    until_ms: i64,
}

impl Validity {
    /// From ever, for ever.
    pub const ALWAYS: Self = Self {
        from_ms: i64::MIN,
        until_ms: i64::MAX,
    };

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
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its identifier.
    pub id: Identifier,
    /// When it holds at all.
    pub validity: Validity,
    /// What narrows it, when it came out of a pass.
    pub pass: Option<Arc<PassTerms>>,
    /// Handle of the schedule that says when it is open; `None` is always.
    pub schedule: Option<u32>,
    /// Takes instead of gives.
    pub denies: bool,
    /// The stage that it came with; 0: with none. `State::shows` says whether it counts.
    pub staged: u32,
}

/// A grant as rules name it: its handle, and whether it denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantLink(u32);

const DENIES: u32 = 1 << 31;

impl GrantLink {
    /// The grant at `handle`.
    #[must_use]
    pub fn new(handle: u32, denies: bool) -> Self {
        Self(if denies { handle | DENIES } else { handle })
    }

    /// Where `State::grants` has it.
    #[must_use]
    pub fn handle(self) -> u32 {
        self.0 & !DENIES
    }

    /// Takes instead of gives.
    #[must_use]
    pub fn denies(self) -> bool {
        self.0 & DENIES != 0
    }
}

/// A grant for a group, listed at its place. Nesting is closed over: every group that is included has its own entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRule {
    /// Handle of the group.
    pub group: u32,
    /// The grant.
    pub grant: GrantLink,
}

/// Rules of a place, sorted by group; four of them, which is what most doors have at most, stand in its record.
pub type GroupRules = SmallVec<[GroupRule; 4]>;
