//! Images as they arrive: one bounded JSON array of them. Their documents live in `documents`.
use crate::documents::{
    AreaDocument, CalendarDocument, DeviceDocument, DoorDocument, GrantDocument, GroupDocument,
    Malformed, OrganizationDocument, PersonDocument, ScheduleDocument, SiteDocument,
};
use crate::identifier::Identifier;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Longest snapshot, in bytes of JSON.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Longest change record, in bytes of JSON: what one document of the store can hold.
pub const CHANGE_BYTES_MAX: usize = 16 << 20;

/// One image: a document, or `None` for a tombstone.
#[derive(Debug)]
pub enum Image {
    /// The organization itself.
    Organization(Option<OrganizationDocument>),
    /// A site.
    Site(Identifier, Option<SiteDocument>),
    /// An area.
    Area(Identifier, Option<AreaDocument>),
    /// A door.
    Door(Identifier, Option<DoorDocument>),
    /// A device.
    Device(Identifier, Option<DeviceDocument>),
    /// A person.
    Person(Identifier, Option<PersonDocument>),
    /// A group.
    Group(Identifier, Option<GroupDocument>),
    /// A schedule.
    Schedule(Identifier, Option<ScheduleDocument>),
    /// A calendar.
    Calendar(Identifier, Option<CalendarDocument>),
    /// A grant.
    Grant(Identifier, Option<GrantDocument>),
}

#[derive(Deserialize)]
struct RawImage<'a> {
    kind: Cow<'a, str>,
    id: Identifier,
    #[serde(borrow)]
    document: &'a RawValue,
}

/// Reads a JSON array of images of one organization.
///
/// # Errors
/// When a byte of it is not as the protocol says; nothing of it may be used then.
pub fn parse(organization: &str, images: &[u8], bytes_max: usize) -> Result<Vec<Image>, Malformed> {
    if images.len() > bytes_max {
        return Err(Malformed);
    }
    let raw: Vec<RawImage<'_>> = serde_json::from_slice(images).map_err(|_| Malformed)?;
    raw.into_iter()
        .map(|image| typed(organization, image))
        .collect()
}

fn typed(organization: &str, image: RawImage<'_>) -> Result<Image, Malformed> {
    let RawImage { kind, id, document } = image;
    Ok(match &*kind {
        "organization" if id.as_str() == organization => Image::Organization(read(document)?),
        "site" => Image::Site(id, read(document)?),
        "area" => Image::Area(id, read(document)?),
        "door" => Image::Door(id, read(document)?),
        "device" => Image::Device(id, read(document)?),
        "person" => Image::Person(id, read(document)?),
        "group" => Image::Group(id, read(document)?),
        "schedule" => Image::Schedule(id, read(document)?),
        "calendar" => Image::Calendar(id, read(document)?),
        "grant" => Image::Grant(id, read(document)?),
        _ => return Err(Malformed),
    })
}

fn read<'a, T: Deserialize<'a>>(document: &'a RawValue) -> Result<Option<T>, Malformed> {
    serde_json::from_str(document.get()).map_err(|_| Malformed)
}
