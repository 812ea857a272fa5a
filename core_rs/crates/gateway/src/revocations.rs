//! What was revoked lately: a token that was issued before opens no connection again, though its signature still holds.
//! Tokens live 5 minutes, so nothing has to be remembered for longer.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::identity::SubjectKey;

/// Longer than any token lives, with room for clocks.
const REMEMBERED_MS: i64 = 330_000;
/// More than this in five minutes: the oldest half is forgotten early, which its tokens' expiry makes up for.
const REMEMBERED_MAX: usize = 200_000;

#[derive(Clone, Copy)]
struct Cut {
    valid_after_ms: i64,
    heard_at_ms: i64,
}

#[derive(Default)]
struct State {
    subjects: HashMap<SubjectKey, Cut, foldhash::fast::RandomState>,
    organizations: HashMap<Arc<str>, Cut, foldhash::fast::RandomState>,
}

/// Shared by all threads.
#[derive(Default)]
pub struct Revocations {
    state: Mutex<State>,
}

impl Revocations {
    /// Tokens of `subject` that were issued before `valid_after_ms` are void.
    pub fn revoke(&self, organization: &str, subject: &str, valid_after_ms: i64, now_ms: i64) {
        let mut state = self.lock();
        state.make_room(now_ms);
        let key = SubjectKey {
            organization: organization.into(),
            subject: subject.into(),
        };
        let cut = state.subjects.entry(key).or_insert(Cut {
            valid_after_ms,
            heard_at_ms: now_ms,
        });
        cut.valid_after_ms = cut.valid_after_ms.max(valid_after_ms);
        cut.heard_at_ms = now_ms;
    }

    /// Tokens of the organization that were issued until now are void.
    pub fn suspend(&self, organization: &str, now_ms: i64) {
        let mut state = self.lock();
        state.make_room(now_ms);
        state.organizations.insert(
            organization.into(),
            Cut {
                valid_after_ms: now_ms,
                heard_at_ms: now_ms,
            },
        );
    }

    /// Was a token that was issued at `issued_at_ms` revoked since?
    #[must_use]
    pub fn is_revoked(&self, key: &SubjectKey, issued_at_ms: i64) -> bool {
        let state = self.lock();
        let cut = |cut: Option<&Cut>| cut.is_some_and(|cut| issued_at_ms < cut.valid_after_ms);
        cut(state.subjects.get(key)) || cut(state.organizations.get(&key.organization))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what has run out, but looks only when there is much.
    fn make_room(&mut self, now_ms: i64) {
        if self.subjects.len().saturating_add(self.organizations.len()) < REMEMBERED_MAX {
            return;
        }
        for kept_ms in [REMEMBERED_MS, REMEMBERED_MS / 2, 0] {
            let fresh = |cut: &Cut| now_ms.saturating_sub(cut.heard_at_ms) < kept_ms;
            self.subjects.retain(|_, cut| fresh(cut));
            self.organizations.retain(|_, cut| fresh(cut));
            if self.subjects.len() < REMEMBERED_MAX {
                return;
            }
        }
    }
}
