//! What an area asks of who enters it, when anybody counts there.
use crate::documents::{AntiPassback, AreaDocument};

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

impl AreaTerms {
    /// `timed` without a number of minutes holds for good, as `hard` does.
    #[must_use]
    pub fn of(document: &AreaDocument) -> Option<Self> {
        let AreaDocument {
            anti_passback,
            anti_passback_minutes,
            occupancy_max,
            ..
        } = *document;
        let counted = anti_passback != AntiPassback::Off || occupancy_max.is_some();
        counted.then_some(Self {
            anti_passback,
            anti_passback_minutes: anti_passback_minutes.unwrap_or(u32::MAX),
            occupancy_max,
        })
    }
}
