//! The keys in memory, by holder and `kid`. Readers take a snapshot and wait for nobody; writers take turns and copy one small table.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ed25519_dalek::{SigningKey, VerifyingKey};
use hashbrown::HashMap;

use crate::error::KeyRingError;
use crate::holder::Holder;
use crate::jws;
use crate::seal::Seed;

/// Active and verifying keys of one holder; a rotation needs two.
const KEYS_PER_HOLDER_MAX: usize = 16;
/// Command keys are spread over so many tables, so that loading those of 10,000 organizations stays cheap.
const TABLES: usize = 64;

/// A key pair. The private half is zeroed when the last reader lets go of it.
#[expect(
    clippy::struct_field_names,
    reason = "a key has an id in every document"
)]
pub(crate) struct Key {
    pub(crate) key_id: String,
    pub(crate) signing: SigningKey,
    pub(crate) verifying: VerifyingKey,
    /// The encoded JWT header of what it signs.
    pub(crate) header: String,
}

impl Key {
    pub(crate) fn new(key_id: &str, seed: &Seed) -> Self {
        let signing = SigningKey::from_bytes(seed);
        Self {
            key_id: key_id.into(),
            verifying: signing.verifying_key(),
            signing,
            header: jws::header(key_id),
        }
    }
}

/// The keys of one holder.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    pub(crate) active: Option<Arc<Key>>,
    pub(crate) all: Vec<Arc<Key>>,
}

impl Keys {
    pub(crate) fn find(&self, key_id: &str) -> Option<&Arc<Key>> {
        self.all.iter().find(|key| key.key_id == key_id)
    }

    fn insert(&mut self, key: Key) -> Result<(), KeyRingError> {
        match self.find(&key.key_id) {
            // Loading what is there again changes nothing; a second key under one name never replaces the first.
            Some(held) if held.verifying == key.verifying => Ok(()),
            Some(_) => Err(KeyRingError::KeyExists),
            None if self.all.len() >= KEYS_PER_HOLDER_MAX => Err(KeyRingError::KeysTooMany),
            None => {
                self.all.push(Arc::new(key));
                Ok(())
            }
        }
    }

    fn activate(&mut self, key_id: &str) -> Result<(), KeyRingError> {
        self.active = Some(self.find(key_id).ok_or(KeyRingError::KeyUnknown)?.clone());
        Ok(())
    }

    fn retire(&mut self, key_id: &str) -> Result<(), KeyRingError> {
        let place = self
            .all
            .iter()
            .position(|key| key.key_id == key_id)
            .ok_or(KeyRingError::KeyUnknown)?;
        self.all.swap_remove(place);
        self.active.take_if(|active| active.key_id == key_id);
        Ok(())
    }
}

type Table = HashMap<String, Arc<Keys>, foldhash::fast::FixedState>;

/// The keys of all holders.
pub(crate) struct KeyTable {
    access: ArcSwap<Keys>,
    commands: [ArcSwap<Table>; TABLES],
    turn: Mutex<()>,
}

/// What a writer does to the keys of one holder.
pub(crate) enum Change<'a> {
    Insert(Box<Key>),
    Activate(&'a str),
    Retire(&'a str),
}

impl KeyTable {
    pub(crate) fn new() -> Self {
        Self {
            access: ArcSwap::default(),
            commands: std::array::from_fn(|_| ArcSwap::default()),
            turn: Mutex::new(()),
        }
    }

    /// The token keys, as of now.
    pub(crate) fn access(&self) -> arc_swap::Guard<Arc<Keys>> {
        self.access.load()
    }

    /// The keys of `holder`, as of now.
    pub(crate) fn of(&self, holder: Holder<'_>) -> Arc<Keys> {
        match holder {
            Holder::Access => self.access.load_full(),
            Holder::Command(organization) => self
                .table(organization)
                .and_then(|table| table.load().get(organization).cloned())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn change(
        &self,
        holder: Holder<'_>,
        change: Change<'_>,
    ) -> Result<(), KeyRingError> {
        // The lock guards no data, only the turn: a writer that panicked has swapped nothing in.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Keys::clone(&self.of(holder));
        match change {
            Change::Insert(key) => keys.insert(*key)?,
            Change::Activate(key_id) => keys.activate(key_id)?,
            Change::Retire(key_id) => keys.retire(key_id)?,
        }
        match holder {
            Holder::Access => self.access.store(Arc::new(keys)),
            Holder::Command(organization) => {
                if let Some(table) = self.table(organization) {
                    let mut next = Table::clone(&table.load());
                    next.insert(organization.into(), Arc::new(keys));
                    table.store(Arc::new(next));
                }
            }
        }
        Ok(())
    }

    fn table(&self, organization: &str) -> Option<&ArcSwap<Table>> {
        // FNV-1a: only has to spread; the caller's organizations are known to the service, not chosen by a stranger.
        let hash = organization.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        self.commands.get(hash as usize % TABLES)
    }
}
