//! What an answer looks like: the reasons of the protocol and the decision that carries one.
use crate::identifier::Identifier;

/// Why; the names are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Reason {
    Granted,
    StoresUnavailable,
    OrganizationSuspended,
    UnknownCredential,
    DoorUnknown,
    DoorLockedDown,
    AreaLockedDown,
    SiteLockedDown,
    PersonSuspended,
    NotYetValid,
    Expired,
    DeniedByRule,
    NoGrant,
    Holiday,
    OutsideSchedule,
    RoleMissing,
}

impl Reason {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 16] = [
        Self::Granted,
        Self::StoresUnavailable,
        Self::OrganizationSuspended,
        Self::UnknownCredential,
        Self::DoorUnknown,
        Self::DoorLockedDown,
        Self::AreaLockedDown,
        Self::SiteLockedDown,
        Self::PersonSuspended,
        Self::NotYetValid,
        Self::Expired,
        Self::DeniedByRule,
        Self::NoGrant,
        Self::Holiday,
        Self::OutsideSchedule,
        Self::RoleMissing,
    ];

    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::StoresUnavailable => "stores_unavailable",
            Self::OrganizationSuspended => "organization_suspended",
            Self::UnknownCredential => "unknown_credential",
            Self::DoorUnknown => "door_unknown",
            Self::DoorLockedDown => "door_locked_down",
            Self::AreaLockedDown => "area_locked_down",
            Self::SiteLockedDown => "site_locked_down",
            Self::PersonSuspended => "person_suspended",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::DeniedByRule => "denied_by_rule",
            Self::NoGrant => "no_grant",
            Self::Holiday => "holiday",
            Self::OutsideSchedule => "outside_schedule",
            Self::RoleMissing => "role_missing",
        }
    }
}

/// The answer of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `Granted`, or the first refusal in the order of the protocol.
    pub reason: Reason,
    /// What settled it: a grant, the schedule that is closed, the holder of a lockdown, the door that is unlocked, a role.
    pub rule: Option<Identifier>,
    /// The revision it was decided on; -1 when the organization isn't loaded.
    pub revision: i64,
}

impl Decision {
    /// Whether it may be.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.reason == Reason::Granted
    }

    /// The answer for an organization that isn't in memory.
    #[must_use]
    pub fn unavailable() -> Self {
        Self {
            reason: Reason::StoresUnavailable,
            rule: None,
            revision: -1,
        }
    }
}
