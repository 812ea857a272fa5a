//! Images as they arrive: one bounded JSON array of them, or documents as they stand in the store. What is in them lives in `documents`.
use crate::api_keys::ApiKeyDocument;
use crate::bson;
use crate::documents::{
    AreaDocument, CalendarDocument, DeviceDocument, DoorDocument, GrantDocument, GroupDocument,
    Malformed, OrganizationDocument, PersonDocument, ScheduleDocument, SiteDocument,
};
use crate::identifier::Identifier;
use crate::sessions::EndedSessionDocument;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Longest snapshot, in bytes of JSON.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Longest batch of stored documents, in bytes: what one message of the store can hold.
pub const BATCH_BYTES_MAX: usize = 48 << 20;
/// Longest change record, in bytes of JSON: what one document of the store can hold.
pub const CHANGE_BYTES_MAX: usize = 16 << 20;

/// The one kind whose stored documents all have ended.
const ENDED_SESSION: &str = "session";

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
    /// A session that has ended; that stays so.
    Session(Identifier, EndedSessionDocument),
    /// An API key.
    ApiKey(Identifier, Option<ApiKeyDocument>),
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
        .map(|RawImage { kind, id, document }| typed(organization, &kind, id, document))
        .collect()
}

/// The image of one stored document; `None` when the object has ended. Of a session it is the end that counts.
///
/// # Errors
/// When it is another organization's, or not as the protocol says.
pub fn stored(
    organization: &str,
    kind: &str,
    document: bson::Document<'_>,
) -> Result<Option<Image>, Malformed> {
    let (mut owner, mut id, mut ended) = (None, None, false);
    for element in document.elements() {
        let (name, value) = element?;
        match name {
            b"org" => owner = value.text(),
            b"id" => id = value.text().and_then(Identifier::new),
            b"ended_at" => ended = !value.is_null(),
            _ => {}
        }
    }
    if owner != Some(organization) {
        return Err(Malformed);
    }
    if ended && kind != ENDED_SESSION {
        return Ok(None);
    }
    typed(organization, kind, id.ok_or(Malformed)?, document).map(Some)
}

/// Where a document comes from.
trait Source<'a> {
    /// The document as a type; `None` for a tombstone.
    fn read<T: Deserialize<'a>>(self) -> Result<Option<T>, Malformed>;
}

impl<'a> Source<'a> for &'a RawValue {
    fn read<T: Deserialize<'a>>(self) -> Result<Option<T>, Malformed> {
        serde_json::from_str(self.get()).map_err(|_| Malformed)
    }
}

impl<'a> Source<'a> for bson::Document<'a> {
    fn read<T: Deserialize<'a>>(self) -> Result<Option<T>, Malformed> {
        self.typed().map(Some)
    }
}

fn typed<'a>(
    organization: &str,
    kind: &str,
    id: Identifier,
    document: impl Source<'a>,
) -> Result<Image, Malformed> {
    Ok(match kind {
        "organization" if id.as_str() == organization => Image::Organization(document.read()?),
        "site" => Image::Site(id, document.read()?),
        "area" => Image::Area(id, document.read()?),
        "door" => Image::Door(id, document.read()?),
        "device" => Image::Device(id, document.read()?),
        "person" => Image::Person(id, document.read()?),
        "group" => Image::Group(id, document.read()?),
        "schedule" => Image::Schedule(id, document.read()?),
        "calendar" => Image::Calendar(id, document.read()?),
        "grant" => Image::Grant(id, document.read()?),
        ENDED_SESSION => Image::Session(id, document.read()?.ok_or(Malformed)?),
        "api_key" => Image::ApiKey(id, document.read()?),
        _ => return Err(Malformed),
    })
}
