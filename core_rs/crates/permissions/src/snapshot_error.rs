//! Why permissions were not taken in, as codes.

/// Why a snapshot or a change record was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The snapshot is not as the protocol says.
    #[error("the snapshot is not well formed")]
    SnapshotMalformed,
    /// The record is not as the protocol says.
    #[error("the change record is not well formed")]
    ChangeMalformed,
    /// Records between are missing.
    #[error("change records before this one are missing")]
    RevisionGap,
    /// The snapshot is older than what is in memory.
    #[error("a newer revision is already in memory")]
    RevisionOld,
    /// The organization isn't loaded.
    #[error("the organization is not loaded")]
    OrganizationUnknown,
}

impl SnapshotError {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SnapshotMalformed => "snapshot_malformed",
            Self::ChangeMalformed => "change_malformed",
            Self::RevisionGap => "revision_gap",
            Self::RevisionOld => "revision_old",
            Self::OrganizationUnknown => "organization_unknown",
        }
    }
}
