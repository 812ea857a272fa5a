//! The permission index: who may pass which door now, and why not.
//!
//! No network, no clock, no environment, no Python: `now` is passed in. The way of a change is `images` (with
//! `documents`, and `bson` for a snapshot, which `load` gathers) -> `catalog` -> `apply` -> a new `model::State`; the way of a question is `index` -> `check` or `roles`.
//! `schedule` and `zone` know weeks and time zones, `map` and `slots` are the persistent collections below it all.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod api_keys;
mod apply;
mod area_terms;
mod bson;
mod catalog;
mod check;
mod decision;
mod documents;
mod explain;
mod explain_state;
mod found;
mod give_back;
mod grant;
mod groups;
mod identifier;
mod images;
mod index;
mod listed_places;
mod load;
mod map;
mod model;
mod needs;
mod person;
mod preview;
mod roles;
mod schedule;
mod sessions;
mod settle;
mod slots;
mod snapshot_error;
mod standing;
mod states;
mod trial;
mod zone;

pub use area_terms::AreaTerms;
pub use decision::{Choice, Decision, Needs, Reason};
pub use documents::{AntiPassback, DoorMode};
pub use explain::{Explanation, Listed, Step};
pub use explain_state::StatefulRule;
pub use found::FoundPair;
pub use give_back::give_back;
pub use identifier::{IDENTIFIER_BYTES_MAX, Identifier};
pub use index::{PermissionIndex, tzdata_version};
pub use load::SnapshotLoad;
pub use model::{Device, DoorRecord};
pub use preview::{Altered, PAIRS_MAX, Preview, Question};
pub use roles::roles;
pub use settle::{Asking, Settled};
pub use snapshot_error::SnapshotError;
pub use standing::Standing;
pub use states::{Moved, Record, Records, Taken, records_from_json, records_to_json};
pub use zone::is_zone;
