//! What was revoked lately: a token that was decided before opens no connection again, though its signature still holds.
//! Tokens live 5 minutes, so nothing has to be remembered for longer.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::identity::{Identity, SubjectKey};

/// Longer than any token lives, with room for clocks.
pub const KEPT_MS: i64 = 330_000;
/// How far the clocks of who issues tokens and of this gateway may be apart; `KEPT_MS` is a token's life and this.
const CLOCKS_MS: i64 = 30_000;
/// More than this in five minutes: the oldest half is forgotten early, and tokens that may be older than what was forgotten are refused.
const REMEMBERED_MAX: usize = if cfg!(test) { 200 } else { 200_000 };

/// Revisions and not moments: no clock, and no time that a commit took, lets a token of before pass for one of after.
#[derive(Clone, Copy)]
struct Cut {
    revision: u64,
    heard_at_ms: i64,
}

#[derive(Default)]
struct State {
    subjects: HashMap<SubjectKey, Cut, foldhash::fast::RandomState>,
    organizations: HashMap<Arc<str>, Cut, foldhash::fast::RandomState>,
    since_ms: i64,
}

/// Shared by all threads.
#[derive(Default)]
pub struct Revocations {
    state: Mutex<State>,
}

impl Revocations {
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
    cut.heard_at_ms = heard_at_ms;
}

impl State {
    /// Forgets what has run out, but looks only when there is much.
    fn make_room(&mut self, now_ms: i64) {
        if self.subjects.len().saturating_add(self.organizations.len()) < REMEMBERED_MAX {
            return;
        }
        for kept_ms in [KEPT_MS, KEPT_MS / 2, 0] {
            let fresh = |cut: &Cut| now_ms.saturating_sub(cut.heard_at_ms) < kept_ms;
            self.subjects.retain(|_, cut| fresh(cut));
            self.organizations.retain(|_, cut| fresh(cut));
            if kept_ms < KEPT_MS {
                let forgotten_before_ms = now_ms.saturating_sub(kept_ms).saturating_add(CLOCKS_MS);
                self.since_ms = self.since_ms.max(forgotten_before_ms);
            }
            if self.subjects.len() < REMEMBERED_MAX {
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "revocations_tests.rs"]
mod tests;
