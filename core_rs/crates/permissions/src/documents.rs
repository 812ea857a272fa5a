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
use std::sync::Arc;

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
    /// Stages up to this one are live: what was imported all or nothing shows from there on.
    #[serde(default)]
    pub stages_live: u32,
}

/// A site.
#[derive(Debug, Deserialize)]
pub struct SiteDocument {
    /// IANA name of its time zone.
    pub time_zone: String,
    /// Whether all its doors are locked down.
    pub locked_down: bool,
    /// The revision of the latest lockdown that began, also when it is over.
    #[serde(default)]
    pub lockdown_revision: i64,
}

/// An area.
#[derive(Debug, Deserialize)]
pub struct AreaDocument {
    /// Whether all its doors are locked down.
    pub locked_down: bool,
    /// The revision of the latest lockdown that began, also when it is over.
    #[serde(default)]
    pub lockdown_revision: i64,
    /// Whether somebody who is inside may enter again.
    #[serde(default)]
    pub anti_passback: AntiPassback,
    /// For `timed`: for how long not.
    #[serde(default)]
    pub anti_passback_minutes: Option<u32>,
    /// How many may be inside.
    #[serde(default)]
    pub occupancy_max: Option<u32>,
}

/// Whether somebody who is inside may enter again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AntiPassback {
    /// Nobody asks.
    #[default]
    Off,
    /// May, and it is noted.
    Soft,
    /// May not before leaving.
    Hard,
    /// May not for some minutes.
    Timed,
}

/// Door mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoorMode {
    /// A grant is needed.
    Locked,
    /// Held open for every valid person of the organization.
    Unlocked,
    /// Like `Locked` until somebody with a grant has come that day, then like `Unlocked`.
    FirstPersonIn,
    /// A grant and the person's PIN are needed.
    CardAndPin,
}

/// A mode that holds while a schedule is open.
#[derive(Clone, Debug, Deserialize)]
pub struct ScheduledMode {
    /// The schedule.
    pub schedule: Identifier,
    /// The mode.
    pub mode: DoorMode,
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
    /// Its mode while none of `modes` holds.
    pub mode: DoorMode,
    /// The first whose schedule is open holds.
    #[serde(default)]
    pub modes: Vec<ScheduledMode>,
    /// The area into which it leads.
    #[serde(default)]
    pub enters: Option<Identifier>,
    /// The area out of which it leads.
    #[serde(default)]
    pub leaves: Option<Identifier>,
    /// Two persons have to ask within so many seconds.
    #[serde(default)]
    pub two_persons_seconds: Option<u32>,
    /// Whether it is locked down itself.
    pub locked_down: bool,
    /// The revision of the latest lockdown that began, also when it is over.
    #[serde(default)]
    pub lockdown_revision: i64,
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
    bytes_of(&text).ok_or_else(|| de::Error::custom("not a public key"))
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
    /// A keyed hash of the PIN; without one no PIN is right.
    #[serde(default, deserialize_with = "pin")]
    pub pin: Option<[u8; 32]>,
    /// The stage that it came with; 0: with none.
    #[serde(default)]
    pub staged: u32,
}

fn pin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    text.map(|text| bytes_of(&text).ok_or_else(|| de::Error::custom("not a hash")))
        .transpose()
}

fn bytes_of(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
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
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawSchedule")]
pub struct ScheduleDocument {
    /// By weekday, Monday first. Shared with what readers see, as the exceptions are: a calendar may have thousands of schedules.
    pub week: Arc<[DayWindows; 7]>,
    /// The calendar it follows.
    pub calendar: Option<Identifier>,
    /// What holds on its days.
    pub holiday_windows: DayWindows,
    /// Sorted by day, one per day.
    pub exceptions: Arc<[(i64, DayWindows)]>,
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
            week: Arc::new(week.map(DayWindows::new)),
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
    #[serde(default)]
    pass: Option<PassTerms>,
    #[serde(default)]
    staged: u32,
}

/// What narrows a grant that came out of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PassTerms {
    /// The pass.
    pub id: Identifier,
    /// Who gave it: it opens nothing that this person couldn't open at that moment. `None`: a manager did.
    #[serde(deserialize_with = "required")]
    pub given_by: Option<Identifier>,
    /// What each use counts against: the pass itself and those that it was passed on from, as far as they are limited.
    pub counts: Vec<UseLimit>,
}

/// A pass, and how often it may be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct UseLimit {
    /// The pass.
    pub pass: Identifier,
    /// How often.
    pub uses: u32,
}

/// Most passes that one use counts against.
pub const COUNTS_MAX: usize = 8;

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
    /// What narrows it, when it came out of a pass.
    pub pass: Option<PassTerms>,
    /// The stage that it came with; 0: with none.
    pub staged: u32,
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
            pass,
            staged,
            ..
        } = raw;
        if pass.as_ref().is_some_and(|pass| {
            pass.counts.len() > COUNTS_MAX || !matches!(subject, Subject::Person(_))
        }) {
            return Err(Malformed);
        }
        Ok(Self {
            effect,
            subject,
            place,
            schedule,
            valid_from,
            valid_until,
            pass,
            staged,
        })
    }
}
