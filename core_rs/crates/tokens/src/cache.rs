//! Tokens whose signature was found good, so that it isn't computed again. It answers only "these bytes were signed by that key"; whether the token stands
//! (audience, times, the key itself) is asked at every use by `ring`. A failed verification never gets here.
//!
//! A token is known by its SipHash-2-4-128 under a key drawn at start: who doesn't know the key can't aim at a place, and a foreign token
//! meets one of 65,536 places by chance of 2^-112.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use siphasher::sip128::SipHasher24;

use crate::claims::Claims;
use crate::keys::Key;

const SHARDS: usize = 64;
/// Two generations of these in every shard: 65,536 tokens in all.
const GENERATION_TOKENS_MAX: usize = 512;

/// A token whose signature was found good, with the very key that did.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) claims: Arc<Claims>,
    pub(crate) key: Arc<Key>,
}

type Generation = HashMap<u128, Verified, foldhash::fast::FixedState>;

/// Young and old: a full young generation becomes the old one, and what nobody asked for meanwhile is forgotten.
#[derive(Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

impl Shard {
    fn get(&mut self, place: u128) -> Option<Verified> {
        if let Some(verified) = self.young.get(&place) {
            return Some(verified.clone());
        }
        let verified = self.old.remove(&place)?;
        self.put(place, verified.clone());
        Some(verified)
    }

    fn put(&mut self, place: u128, verified: Verified) {
        if self.young.len() >= GENERATION_TOKENS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, verified);
    }
}

/// Bounded, sharded, evicting.
pub(crate) struct VerifiedTokens {
    hasher: SipHasher24,
    shards: [Mutex<Shard>; SHARDS],
}

impl VerifiedTokens {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self {
            hasher: SipHasher24::new_with_key(key),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Where `token` is kept.
    pub(crate) fn place(&self, token: &str) -> u128 {
        self.hasher.hash(token.as_bytes()).as_u128()
    }

    pub(crate) fn get(&self, place: u128) -> Option<Verified> {
        // A shard is whole between any two of its lines: a poisoned one is as good as any.
        self.shard(place)?
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(place)
    }

    pub(crate) fn put(&self, place: u128, verified: Verified) {
        if let Some(shard) = self.shard(place) {
            shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .put(place, verified);
        }
    }

    pub(crate) fn forget(&self, place: u128) {
        if let Some(shard) = self.shard(place) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.remove(&place);
            shard.old.remove(&place);
        }
    }

    fn shard(&self, place: u128) -> Option<&Mutex<Shard>> {
        self.shards.get((place % SHARDS as u128) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::SubjectKind;
    use crate::seal::Seed;

    fn verified() -> Verified {
        let claims = Claims {
            audience: "api".into(),
            organization: "o".into(),
            subject: "s".into(),
            kind: SubjectKind::Person,
            session: "x".into(),
            key_id: "k".into(),
            issued_at_ms: 0,
            expires_at_ms: 1000,
            topics: vec![],
            revision: 0,
        };
        Verified {
            claims: Arc::new(claims),
            key: Arc::new(Key::new("k", &Seed::default())),
        }
    }

    fn held(tokens: &VerifiedTokens) -> usize {
        tokens
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap())
            .map(|shard| shard.young.len() + shard.old.len())
            .sum()
    }

    #[test]
    fn holds_at_most_its_bound() {
        let tokens = VerifiedTokens::new(&[7; 16]);
        let sample = verified();
        for number in 0..200_000_u32 {
            tokens.put(tokens.place(&number.to_string()), sample.clone());
        }
        assert!(held(&tokens) <= SHARDS * GENERATION_TOKENS_MAX * 2);
        assert!(held(&tokens) > SHARDS * GENERATION_TOKENS_MAX / 2);
    }

    #[test]
    fn keeps_what_is_asked_for() {
        let tokens = VerifiedTokens::new(&[7; 16]);
        let sample = verified();
        let wanted = tokens.place("wanted");
        tokens.put(wanted, sample.clone());
        for number in 0..200_000_u32 {
            tokens.put(tokens.place(&number.to_string()), sample.clone());
            if number % 1000 == 0 {
                assert!(tokens.get(wanted).is_some(), "forgotten after {number}");
            }
        }
        assert!(
            tokens.get(tokens.place("0")).is_none(),
            "what nobody asks for is forgotten"
        );
    }

    #[test]
    fn forgets_on_demand_in_both_generations() {
        let tokens = VerifiedTokens::new(&[7; 16]);
        let place = tokens.place("wanted");
        tokens.put(place, verified());
        tokens.forget(place);
        assert!(tokens.get(place).is_none());
    }

    #[test]
    fn another_key_gives_another_place() {
        assert_ne!(
            VerifiedTokens::new(&[1; 16]).place("token"),
            VerifiedTokens::new(&[2; 16]).place("token")
        );
    }
}
