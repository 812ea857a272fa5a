//! API keys: principals of their own, named `api_key:<id>` wherever a person could be named (":" can't occur in an identifier).
//!
//! A key may do what its scopes say, at its sites, until it expires. It opens no door: `check` knows persons only.
use crate::decision::Reason;
use crate::documents::Malformed;
use crate::identifier::Identifier;
use crate::map::{Keyed, Map};
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;

/// In front of a key's identifier, where a subject is named.
const SUBJECT_PREFIX: &str = "api_key:";
/// Live secrets of one key: the one in use, and during a rotation the one before.
const SECRETS_MAX: usize = 2;
const HASH_BYTES: usize = 32;
/// What only owners, who are persons, may do.
const OWNER: &str = "owner";

/// A hash as it is stored: 64 characters of lower-case hexadecimal.
fn hash(text: &str) -> Option<[u8; HASH_BYTES]> {
    if text.len() != 2 * HASH_BYTES {
        return None;
    }
    let mut bytes = [0; HASH_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = (digit(high)? << 4) | digit(low)?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// Equal, in a time that doesn't depend on where they differ.
fn same(left: &[u8; HASH_BYTES], right: &[u8; HASH_BYTES]) -> bool {
    let difference = left
        .iter()
        .zip(right)
        .fold(0, |difference, (left, right)| difference | (left ^ right));
    black_box(difference) == 0
}

/// A secret of a key; only its SHA-256 is known anywhere.
#[derive(Debug, Deserialize)]
pub struct Secret {
    #[serde(deserialize_with = "read_hash")]
    hash: [u8; HASH_BYTES],
    /// First millisecond at which it no longer stands; `None`: with its key.
    #[serde(deserialize_with = "Option::deserialize")]
    ends_at: Option<i64>,
}

fn read_hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; HASH_BYTES], D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    hash(&text).ok_or_else(|| de::Error::custom("not a hash"))
}

#[derive(Deserialize)]
struct RawApiKey {
    scopes: Vec<Box<str>>,
    #[serde(deserialize_with = "Option::deserialize")]
    sites: Option<Vec<Identifier>>,
    expires_at: i64,
    active: bool,
    secrets: Vec<Secret>,
}

/// An API key.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawApiKey")]
pub struct ApiKeyDocument(Arc<Facts>);

/// What both the image and the readers' record say.
#[derive(Debug)]
struct Facts {
    scopes: Box<[Box<str>]>,
    sites: Option<Box<[Identifier]>>,
    expires_at_ms: i64,
    active: bool,
    secrets: Box<[Secret]>,
}

impl TryFrom<RawApiKey> for ApiKeyDocument {
    type Error = Malformed;

    fn try_from(raw: RawApiKey) -> Result<Self, Malformed> {
        let owns = raw.scopes.iter().any(|scope| &**scope == OWNER);
        if owns || raw.secrets.is_empty() || raw.secrets.len() > SECRETS_MAX {
            return Err(Malformed);
        }
        Ok(Self(Arc::new(Facts {
            scopes: raw.scopes.into(),
            sites: raw.sites.map(Into::into),
            expires_at_ms: raw.expires_at,
            active: raw.active,
            secrets: raw.secrets.into(),
        })))
    }
}

/// What readers see of one.
#[derive(Clone, Debug)]
pub struct ApiKey {
    id: Identifier,
    facts: Arc<Facts>,
}

impl ApiKey {
    /// From its image.
    #[must_use]
    pub fn new(id: Identifier, document: ApiKeyDocument) -> Self {
        Self {
            id,
            facts: document.0,
        }
    }

    /// Every live secret is compared, whichever it is.
    fn knows(&self, shown: &[u8; HASH_BYTES], now_ms: i64) -> bool {
        self.facts.secrets.iter().fold(false, |known, secret| {
            let live = secret.ends_at.is_none_or(|ends_at| now_ms < ends_at);
            known | (same(&secret.hash, shown) & live)
        })
    }
}

impl Keyed for ApiKey {
    fn key(&self) -> &str {
        self.id.as_str()
    }
}

/// The key that a subject is; `None` for a person.
#[must_use]
pub fn key_named(subject: &str) -> Option<&str> {
    subject.strip_prefix(SUBJECT_PREFIX)
}

/// Why a secret (its hash, in hexadecimal) shown at `now_ms` doesn't stand for the key; `None` when it does.
///
/// What the key and its organization are like is told only to who knows its secret.
#[must_use]
pub fn authenticate_key(
    keys: &Map<ApiKey>,
    organization_active: bool,
    key: &str,
    now_ms: i64,
    shown: &str,
) -> Option<&'static str> {
    let known = keys
        .get(key)
        .zip(hash(shown))
        .filter(|(key, shown)| key.knows(shown, now_ms));
    match known {
        None => Some("api_key_unknown"),
        Some(_) if !organization_active => Some("organization_suspended"),
        Some((key, _)) if !key.facts.active => Some("api_key_inactive"),
        Some((key, _)) if now_ms >= key.facts.expires_at_ms => Some("api_key_expired"),
        Some(_) => None,
    }
}

/// Why not.
pub type Refusal = (Reason, Option<Identifier>);
/// The key, and its sites; `None` is everywhere.
pub type Scope<'a> = (&'a Identifier, Option<&'a [Identifier]>);

/// The key, if it may do `permission` anywhere at `now_ms`, and its sites; `None` is everywhere.
///
/// # Errors
/// The refusal.
pub fn key_scope<'a>(
    keys: &'a Map<ApiKey>,
    key: &str,
    permission: &str,
    now_ms: i64,
) -> Result<Scope<'a>, Refusal> {
    let key = keys
        .get(key)
        .filter(|key| key.facts.active)
        .ok_or((Reason::UnknownCredential, None))?;
    if now_ms >= key.facts.expires_at_ms {
        return Err((Reason::Expired, None));
    }
    if !key.facts.scopes.iter().any(|scope| &**scope == permission) {
        return Err((Reason::RoleMissing, None));
    }
    Ok((&key.id, key.facts.sites.as_deref()))
}
