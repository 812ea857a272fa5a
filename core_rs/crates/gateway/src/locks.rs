//! Which lock is connected where, and which commands wait for its word. Shared by all threads, so that one
//! of them can take commands off the bus for every lock. Keyed by (organization, lock) as the token said it.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hashbrown::HashMap;

use crate::identity::SubjectKey;
use crate::outbox::Outbox;
use crate::protocol::{Close, ServerFrame};

/// Commands whose answer is awaited, per lock. Beyond it the oldest answers go to the stream instead of the waiting process.
const COMMANDS_PER_LOCK_MAX: usize = 256;
/// How long after its expiry a command's answer still goes to the process that sent it, in milliseconds.
const ANSWER_AFTER_EXPIRY_MS: i64 = 30_000;

struct Awaited {
    command: Box<str>,
    reply_to: Arc<str>,
    until_ms: i64,
}

struct Connected {
    connection: u64,
    outbox: Arc<Outbox>,
    awaited: Vec<Awaited>,
}

/// The locks of this gateway.
#[derive(Default)]
pub struct Locks {
    connected: Mutex<HashMap<SubjectKey, Connected, foldhash::fast::RandomState>>,
}

/// A command as it came over the bus.
pub struct Command<'a> {
    /// Its identifier.
    pub id: &'a str,
    /// The process that waits.
    pub reply_to: &'a str,
    /// base64url of the signed command.
    pub message: &'a str,
    /// When it is void.
    pub expires_at_ms: i64,
}

impl Locks {
    /// A lock has connected. An earlier connection of it is closed, and what it had been sent is still awaited.
    pub fn connect(&self, key: SubjectKey, connection: u64, outbox: Arc<Outbox>) {
        let mut connected = self.lock();
        let awaited = match connected.remove(&key) {
            Some(earlier) => {
                earlier.outbox.close(Close::Replaced);
                earlier.awaited
            }
            None => Vec::new(),
        };
        connected.insert(
            key,
            Connected {
                connection,
                outbox,
                awaited,
            },
        );
    }

    /// A connection has ended. False when the lock has another one by now.
    pub fn disconnect(&self, key: &SubjectKey, connection: u64) -> bool {
        let mut connected = self.lock();
        let is_this = connected
            .get(key)
            .is_some_and(|entry| entry.connection == connection);
        if is_this {
            connected.remove(key);
        }
        is_this
    }

    /// Another gateway has the lock now.
    pub fn replaced(&self, key: &SubjectKey) {
        if let Some(entry) = self.lock().get(key) {
            entry.outbox.close(Close::Replaced);
        }
    }

    /// Is the lock connected here?
    #[must_use]
    pub fn holds(&self, key: &SubjectKey) -> bool {
        self.lock().contains_key(key)
    }

    /// All locks that are connected here.
    #[must_use]
    pub fn keys(&self) -> Vec<SubjectKey> {
        self.lock().keys().cloned().collect()
    }

    /// Hands a command to its lock and remembers who waits. False when the lock isn't here.
    pub fn command(&self, key: &SubjectKey, command: &Command<'_>, now_ms: i64) -> bool {
        let mut connected = self.lock();
        let Some(entry) = connected.get_mut(key) else {
            return false;
        };
        entry.awaited.retain(|awaited| awaited.until_ms > now_ms);
        if entry.awaited.len() >= COMMANDS_PER_LOCK_MAX {
            entry.awaited.remove(0);
        }
        entry.awaited.push(Awaited {
            command: command.id.into(),
            reply_to: command.reply_to.into(),
            until_ms: command
                .expires_at_ms
                .min(now_ms.saturating_add(ANSWER_AFTER_EXPIRY_MS))
                .saturating_add(ANSWER_AFTER_EXPIRY_MS),
        });
        let frame = ServerFrame::Command {
            command: command.id,
            message: command.message,
            expires_at: command.expires_at_ms,
        };
        entry.outbox.frame(&frame, Instant::now());
        true
    }

    /// Tells a lock that its report is in the journal.
    pub fn stored(&self, key: &SubjectKey, number: u64) {
        if let Some(entry) = self.lock().get(key) {
            entry
                .outbox
                .frame(&ServerFrame::Stored { number }, Instant::now());
        }
    }

    /// Tells a lock to ask whether its door is to be held open. Only a hint: what holds it is signed.
    pub fn ask_hold(&self, key: &SubjectKey) {
        if let Some(entry) = self.lock().get(key) {
            entry.outbox.frame(&ServerFrame::AskHold, Instant::now());
        }
    }

    /// The process that waits for this command of this lock.
    #[must_use]
    pub fn reply_to(&self, key: &SubjectKey, command: &str, now_ms: i64) -> Option<Arc<str>> {
        let connected = self.lock();
        let awaited = connected
            .get(key)?
            .awaited
            .iter()
            .find(|awaited| &*awaited.command == command && awaited.until_ms > now_ms)?;
        Some(awaited.reply_to.clone())
    }

    /// The same, once: a repeated report finds nobody and goes to the stream.
    #[must_use]
    pub fn take_reply_to(&self, key: &SubjectKey, command: &str, now_ms: i64) -> Option<Arc<str>> {
        let mut connected = self.lock();
        let awaited = &mut connected.get_mut(key)?.awaited;
        let index = awaited
            .iter()
            .position(|awaited| &*awaited.command == command && awaited.until_ms > now_ms)?;
        Some(awaited.swap_remove(index).reply_to)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SubjectKey, Connected, foldhash::fast::RandomState>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
