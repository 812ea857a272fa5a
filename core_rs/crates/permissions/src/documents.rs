//! The documents of images, strict JSON into typed values. What they mean together is decided in `catalog`.
//!
//! Everything that narrows access is required, if only as `null`: a document that lost its window or its lockdown on the
//! way is refused as a whole instead of being read as "always". Fields that the index has no use for are ignored.
use crate::identifier::Identifier;
use crate::schedule::{DayWindows, Window, parse_date};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;

/// What is wrong with a list of images. It deliberately says nothing of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the images are not well formed")]
pub struct Malformed;

/// A field that may be `null` but not be missing.
fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// The organization.
#[derive(Debug, Deserialize)]
pub struct OrganizationDocument {
    /// Whether anything is allowed in it.
    pub active: bool,
}

/// A site.
#[derive(Debug, Deserialize)]
pub struct SiteDocument {
    /// IANA name of its time zone.
    pub time_zone: String,
    /// Whether all its doors are locked down.
    pub locked_down: bool,
}

/// An area.
#[derive(Debug, Deserialize)]
pub struct AreaDocument {
    /// Whether all its doors are locked down.
    pub locked_down: bool,
}

/// Door mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DoorMode {
    /// A grant is needed.
    Locked,
    /// Held open for every valid person of the organization.
    Unlocked,
}

/// A door.
#[derive(Debug, Deserialize)]
pub struct DoorDocument {
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Its site.
    pub site: Identifier,
    /// Its area.
    #[serde(deserialize_with = "required")]
    pub area: Option<Identifier>,
    /// The device that moves it.
    #[serde(default)]
    pub lock: Option<Identifier>,
    /// Its mode.
    pub mode: DoorMode,
    /// Whether it is locked down itself.
    pub locked_down: bool,
}

/// A device.
#[derive(Debug, Deserialize)]
pub struct DeviceDocument {
    /// The door it moves.
    #[serde(default)]
    pub door: Option<Identifier>,
    /// Whether it may speak at all.
    pub active: bool,
    /// Ed25519.
    #[serde(deserialize_with = "public_key")]
    pub public_key: [u8; 32],
}

fn public_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| de::Error::custom("not a public key"))
}

/// Whether a person may pass at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonState {
    /// May.
    Active,
    /// May not.
    Suspended,
}

/// A role somebody holds.
#[derive(Clone, Debug, Deserialize)]
pub struct HeldRole {
    /// Which.
    pub role: Identifier,
    /// Where; `None` is everywhere.
    #[serde(deserialize_with = "required")]
    pub sites: Option<Vec<Identifier>>,
}

/// A person.
#[derive(Debug, Deserialize)]
pub struct PersonDocument {
    /// Active or suspended.
    pub state: PersonState,
    /// First millisecond of validity.
    #[serde(deserialize_with = "required")]
    pub valid_from: Option<i64>,
    /// First millisecond after it.
    #[serde(deserialize_with = "required")]
    pub valid_until: Option<i64>,
    /// Direct groups.
    pub groups: Vec<Identifier>,
    /// What they may administer.
    #[serde(default)]
    pub roles: Vec<HeldRole>,
    /// Tokens issued before this millisecond are revoked.
    pub tokens_valid_after: i64,
}

/// A group.
#[derive(Debug, Deserialize)]
pub struct GroupDocument {
    /// Groups whose members are members of this one.
    pub includes: Vec<Identifier>,
}

#[derive(Deserialize)]
struct RawWindow {
    days: Option<Vec<Weekday>>, // only weekly windows have them, and they must
    start: String,
    end: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

#[derive(Deserialize)]
struct RawException {
    date: String,
    windows: Vec<RawWindow>,
}

#[derive(Deserialize)]
struct RawSchedule {
    windows: Vec<RawWindow>,
    #[serde(deserialize_with = "required")]
    calendar: Option<Identifier>,
    #[serde(default)]
    holiday_windows: Vec<RawWindow>,
    exceptions: Vec<RawException>,
}

/// A schedule, its times parsed.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawSchedule")]
pub struct ScheduleDocument {
    /// By weekday, Monday first.
    pub week: [DayWindows; 7],
    /// The calendar it follows.
    pub calendar: Option<Identifier>,
    /// What holds on its days.
    pub holiday_windows: DayWindows,
    /// Sorted by day, one per day.
    pub exceptions: Vec<(i64, DayWindows)>,
}

impl TryFrom<RawSchedule> for ScheduleDocument {
    type Error = Malformed;

    fn try_from(raw: RawSchedule) -> Result<Self, Malformed> {
        let mut week: [Vec<Window>; 7] = Default::default();
        for given in &raw.windows {
            let window = Window::parse(&given.start, &given.end).ok_or(Malformed)?;
            for day in given.days.as_ref().ok_or(Malformed)? {
                week.get_mut(*day as usize).ok_or(Malformed)?.push(window);
            }
        }
        // Two exceptions for one date add up.
        let mut exceptions = std::collections::BTreeMap::<i64, Vec<Window>>::new();
        for given in &raw.exceptions {
            exceptions
                .entry(parse_date(&given.date).ok_or(Malformed)?)
                .or_default()
                .extend(windows(&given.windows)?);
        }
        Ok(Self {
            week: week.map(DayWindows::new),
            calendar: raw.calendar,
            holiday_windows: DayWindows::new(windows(&raw.holiday_windows)?),
            exceptions: exceptions
                .into_iter()
                .map(|(day, windows)| (day, DayWindows::new(windows)))
                .collect(),
        })
    }
}

fn windows(given: &[RawWindow]) -> Result<Vec<Window>, Malformed> {
    given
        .iter()
        .map(|window| Window::parse(&window.start, &window.end).ok_or(Malformed))
        .collect()
}

/// A calendar: sorted days since 1970-01-01.
#[derive(Debug, Deserialize)]
pub struct CalendarDocument {
    /// Its days.
    #[serde(deserialize_with = "dates")]
    pub dates: Vec<i64>,
}

fn dates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    let given = Vec::<Cow<'de, str>>::deserialize(deserializer)?;
    let mut days = given
        .iter()
        .map(|date| parse_date(date))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| de::Error::custom("not a date"))?;
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// Whether a grant gives or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Gives access.
    Allow,
    /// Takes it, whatever else is given.
    Deny,
}

#[derive(Deserialize)]
struct RawGrant {
    effect: Effect,
    #[serde(default)]
    person: Option<Identifier>,
    #[serde(default)]
    group: Option<Identifier>,
    #[serde(default)]
    door: Option<Identifier>,
    #[serde(default)]
    area: Option<Identifier>,
    #[serde(default)]
    site: Option<Identifier>,
    #[serde(deserialize_with = "required")]
    schedule: Option<Identifier>,
    #[serde(deserialize_with = "required")]
    valid_from: Option<i64>,
    #[serde(deserialize_with = "required")]
    valid_until: Option<i64>,
}

/// Who a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One person.
    Person(Identifier),
    /// Everybody of a group.
    Group(Identifier),
}

/// Where a grant holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PlaceName {
    /// One door.
    Door(Identifier),
    /// All doors of an area.
    Area(Identifier),
    /// All doors of a site.
    Site(Identifier),
}

/// A grant.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawGrant")]
pub struct GrantDocument {
    /// Gives or takes.
    pub effect: Effect,
    /// Who.
    pub subject: Subject,
    /// Where.
    pub place: PlaceName,
    /// When, weekly.
    pub schedule: Option<Identifier>,
    /// First millisecond of validity.
    pub valid_from: Option<i64>,
    /// First millisecond after it.
    pub valid_until: Option<i64>,
}

impl TryFrom<RawGrant> for GrantDocument {
    type Error = Malformed;

    fn try_from(raw: RawGrant) -> Result<Self, Malformed> {
        let subject = match (raw.person, raw.group) {
            (Some(person), None) => Subject::Person(person),
            (None, Some(group)) => Subject::Group(group),
            _ => return Err(Malformed),
        };
        let place = match (raw.door, raw.area, raw.site) {
            (Some(door), None, None) => PlaceName::Door(door),
            (None, Some(area), None) => PlaceName::Area(area),
            (None, None, Some(site)) => PlaceName::Site(site),
            _ => return Err(Malformed),
        };
        let RawGrant {
            effect,
            schedule,
            valid_from,
            valid_until,
            ..
        } = raw;
        Ok(Self {
            effect,
            subject,
            place,
            schedule,
            valid_from,
            valid_until,
        })
    }
}
