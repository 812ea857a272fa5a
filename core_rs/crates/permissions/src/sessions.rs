//! Sessions that have ended: until the last access token of one has run out, whoever shows one of them is told that it is revoked.
//!
//! Only ends are known here, never beginnings: a session that nobody ended stands.
use crate::documents::Malformed;
use crate::identifier::Identifier;
use crate::map::{Keyed, Map};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct RawEndedSession {
    ended_at: i64,
    forget_at: i64,
}

/// The end of a session. It can't be taken back, so there is no tombstone of one.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawEndedSession")]
pub struct EndedSessionDocument {
    /// When, in ms. The only time that the index hears of: what was to be forgotten by then is forgotten now.
    pub ended_at: i64,
    /// No token of the session can live at this moment (ms), so nobody has to know of it any more.
    pub forget_at: i64,
}

impl TryFrom<RawEndedSession> for EndedSessionDocument {
    type Error = Malformed;

    fn try_from(raw: RawEndedSession) -> Result<Self, Malformed> {
        let RawEndedSession {
            ended_at,
            forget_at,
        } = raw;
        if ended_at < 0 || forget_at <= ended_at {
            return Err(Malformed); // it would be forgotten before it was known
        }
        Ok(Self {
            ended_at,
            forget_at,
        })
    }
}

/// What readers see of one.
#[derive(Clone, Debug)]
pub struct EndedSession {
    id: Identifier,
    forget_at_ms: i64,
}

impl Keyed for EndedSession {
    fn key(&self) -> &str {
        self.id.as_str()
    }
}

/// Readers' side: sessions by identifier.
pub type EndedSessions = Map<EndedSession>;

/// The writer's side: which to forget first.
#[derive(Clone, Debug, Default)]
pub struct Forgetting(BTreeSet<(i64, Identifier)>);

impl Forgetting {
    /// Takes an end in, and forgets what is due by then. An end that is heard of twice is kept for the longer of the two.
    pub fn put(
        &mut self,
        ended: &mut EndedSessions,
        id: Identifier,
        document: &EndedSessionDocument,
    ) {
        while let Some((forget_at_ms, _)) = self.0.first()
            && *forget_at_ms <= document.ended_at
            && let Some((_, due)) = self.0.pop_first()
        {
            ended.remove(due.as_str());
        }
        let known = ended.get(id.as_str()).map(|known| known.forget_at_ms);
        if let Some(known) = known {
            self.0.remove(&(known, id.clone()));
        }
        let forget_at_ms = document.forget_at.max(known.unwrap_or(document.forget_at));
        self.0.insert((forget_at_ms, id.clone()));
        ended.insert(EndedSession { id, forget_at_ms });
    }
}
