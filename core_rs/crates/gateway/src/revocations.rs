//! What was revoked lately: a token that was decided before opens no connection again, though its signature still holds.
//! Tokens live 5 minutes, so nothing has to be remembered for longer.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::identity::{Identity, SubjectKey};

/// Longer than any token lives, with room for clocks.
pub const KEPT_MS: i64 = 330_000;
/// More than this in five minutes are kept by organization: of each, tokens are void that were decided before the latest of its cuts.
const REMEMBERED_MAX: usize = 200_000;

/// Revisions and not moments: no clock, and no time that a commit took, lets a token of before pass for one of after.
#[derive(Clone, Copy)]
struct Cut {
    revision: u64,
    heard_at_ms: i64,
}

struct State {
    remembered_max: usize,
    subjects: HashMap<SubjectKey, Cut, foldhash::fast::RandomState>,
    organizations: HashMap<Arc<str>, Cut, foldhash::fast::RandomState>,
    since_ms: i64,
}

/// Shared by all threads.
pub struct Revocations {
    state: Mutex<State>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::remembering(REMEMBERED_MAX)
    }
}

impl Revocations {
    /// So many subjects apart.
    fn remembering(remembered_max: usize) -> Self {
        let state = State {
            remembered_max,
            subjects: HashMap::default(),
            organizations: HashMap::default(),
            since_ms: 0,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Tokens of `subject` that were decided before that revision are void.
    pub fn revoke(&self, organization: &str, subject: &str, revision: u64, now_ms: i64) {
        let mut state = self.lock();
        state.make_room(now_ms);
        let key = SubjectKey {
            organization: organization.into(),
            subject: subject.into(),
        };
        note(state.subjects.entry(key), revision, now_ms);
    }

    /// Tokens of the organization that were decided before that revision are void.
    pub fn suspend(&self, organization: &str, revision: u64, now_ms: i64) {
        let mut state = self.lock();
        state.make_room(now_ms);
        note(
            state.organizations.entry(organization.into()),
            revision,
            now_ms,
        );
    }

    /// What was revoked before that moment is forgotten: tokens that were issued before it are not taken.
    pub fn known_since(&self, since_ms: i64) {
        let mut state = self.lock();
        state.since_ms = state.since_ms.max(since_ms);
    }

    /// Was the token revoked since it was decided, or may it have been?
    #[must_use]
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        let state = self.lock();
        let cut = |cut: Option<&Cut>| cut.is_some_and(|cut| identity.revision < cut.revision);
        identity.issued_at_ms < state.since_ms
            || cut(state.subjects.get(&identity.key))
            || cut(state.organizations.get(&identity.key.organization))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note<Key: std::hash::Hash + Eq>(
    entry: hashbrown::hash_map::Entry<'_, Key, Cut, foldhash::fast::RandomState>,
    revision: u64,
    heard_at_ms: i64,
) {
    let cut = entry.or_insert(Cut {
        revision,
        heard_at_ms,
    });
    cut.revision = cut.revision.max(revision);
    cut.heard_at_ms = cut.heard_at_ms.max(heard_at_ms);
}

impl State {
    /// Forgets what has run out, but looks only when there is much; what is too much even then is kept by organization.
    fn make_room(&mut self, now_ms: i64) {
        if self.subjects.len() < self.remembered_max
            && self.organizations.len() < self.remembered_max
        {
            return;
        }
        let fresh = |cut: &Cut| now_ms.saturating_sub(cut.heard_at_ms) < KEPT_MS;
        self.subjects.retain(|_, cut| fresh(cut));
        self.organizations.retain(|_, cut| fresh(cut));
        if self.subjects.len() < self.remembered_max {
            return;
        }
        for (key, cut) in self.subjects.drain() {
            let entry = self.organizations.entry(key.organization);
            note(entry, cut.revision, cut.heard_at_ms);
        }
    }
}

#[cfg(test)]
#[path = "revocations_tests.rs"]
mod tests;
