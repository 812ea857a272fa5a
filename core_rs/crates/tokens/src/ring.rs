//! The key ring: makes, loads, rotates and retires signing keys, and signs and verifies with them. The only place in the service that holds private halves.

use std::fmt;
use std::sync::Arc;

use nexkey_lock::{Command, SignedTime};

use crate::cache::{Verified, VerifiedTokens};
use crate::claims::Claims;
use crate::content::{self, ContentSealer, Label};
use crate::error::{KeyRingError, TokenError};
use crate::holder::Holder;
use crate::jws::{self, Compact};
use crate::keys::{Change, Key, KeyTable};
use crate::seal::{Sealer, Seed};
use crate::{jwks, random};

/// Signing keys by purpose and `kid`. Purposes are `access` (organization empty) and `command` (one holder per organization).
/// Safe to share between threads; readers never wait for a writer.
pub struct KeyRing {
    sealer: Sealer,
    contents: ContentSealer,
    keys: KeyTable,
    verified: VerifiedTokens,
}

impl KeyRing {
    /// An empty ring. The master key is of 32 bytes.
    ///
    /// # Errors
    /// [`KeyRingError::MasterKey`] for another length, [`KeyRingError::Randomness`] when the system has none.
    pub fn new(master_key: &[u8]) -> Result<Self, KeyRingError> {
        let mut cache_key = [0; 16];
        random::fill(&mut cache_key)?;
        Ok(Self {
            sealer: Sealer::new(master_key)?,
            contents: ContentSealer::new(master_key)?,
            keys: KeyTable::new(),
            verified: VerifiedTokens::new(&cache_key),
        })
    }

    /// Makes a key, keeps it (not yet active), and returns it sealed for storage.
    ///
    /// # Errors
    /// [`KeyRingError`], among them [`KeyRingError::KeyExists`]: a `kid` never names two keys.
    pub fn generate(
        &self,
        purpose: &str,
        organization: &str,
        key_id: &str,
    ) -> Result<Vec<u8>, KeyRingError> {
        let mut seed = Seed::default();
        let mut nonce = [0; 12];
        random::fill(seed.as_mut_slice())?;
        random::fill(&mut nonce)?;
        self.adopt(purpose, organization, key_id, &seed, nonce)
    }

    /// The same with a given private half and nonce: for golden vectors. A nonce that comes twice gives the master key away.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_from_seed(
        &self,
        purpose: &str,
        organization: &str,
        key_id: &str,
        seed: [u8; 32],
        nonce: [u8; 12],
    ) -> Result<Vec<u8>, KeyRingError> {
        self.adopt(purpose, organization, key_id, &Seed::new(seed), nonce)
    }

    fn adopt(
        &self,
        purpose: &str,
        organization: &str,
        key_id: &str,
        seed: &Seed,
        nonce: [u8; 12],
    ) -> Result<Vec<u8>, KeyRingError> {
        let holder = Holder::parse(purpose, organization)?;
        holder.check_key_id(key_id)?;
        if self.keys.of(holder).find(key_id).is_some() {
            return Err(KeyRingError::KeyExists);
        }
        let sealed = self.sealer.seal(seed, nonce, holder, key_id)?;
        self.keys
            .change(holder, Change::Insert(Box::new(Key::new(key_id, seed))))?;
        Ok(sealed)
    }

    /// Takes in a key that was sealed before. It verifies from now on, and signs when it is activated.
    ///
    /// # Errors
    /// [`KeyRingError::SealedWrongly`] when it was sealed by another master key, or for another purpose, organization or `kid`.
    pub fn load(
        &self,
        purpose: &str,
        organization: &str,
        key_id: &str,
        sealed: &[u8],
    ) -> Result<(), KeyRingError> {
        let holder = Holder::parse(purpose, organization)?;
        holder.check_key_id(key_id)?;
        let seed = self.sealer.open(sealed, holder, key_id)?;
        self.keys
            .change(holder, Change::Insert(Box::new(Key::new(key_id, &seed))))
    }

    /// Signs with this key from now on; the others still verify until they are retired.
    ///
    /// # Errors
    /// [`KeyRingError::KeyUnknown`].
    pub fn activate(
        &self,
        purpose: &str,
        organization: &str,
        key_id: &str,
    ) -> Result<(), KeyRingError> {
        self.keys.change(
            Holder::parse(purpose, organization)?,
            Change::Activate(key_id),
        )
    }

    /// Forgets a key: what it signed is refused from now on, cached or not.
    ///
    /// # Errors
    /// [`KeyRingError::KeyUnknown`].
    pub fn retire(
        &self,
        purpose: &str,
        organization: &str,
        key_id: &str,
    ) -> Result<(), KeyRingError> {
        self.keys.change(
            Holder::parse(purpose, organization)?,
            Change::Retire(key_id),
        )
    }

    /// The public half.
    ///
    /// # Errors
    /// [`KeyRingError::KeyUnknown`].
    pub fn public_key(
        &self,
        purpose: &str,
        organization: &str,
        key_id: &str,
    ) -> Result<[u8; 32], KeyRingError> {
        let keys = self.keys.of(Holder::parse(purpose, organization)?);
        keys.find(key_id)
            .map(|key| key.verifying.to_bytes())
            .ok_or(KeyRingError::KeyUnknown)
    }

    /// The `kid` that signs at the moment.
    ///
    /// # Errors
    /// [`KeyRingError::Purpose`].
    pub fn active_key_id(
        &self,
        purpose: &str,
        organization: &str,
    ) -> Result<Option<String>, KeyRingError> {
        let keys = self.keys.of(Holder::parse(purpose, organization)?);
        Ok(keys.active.as_ref().map(|key| key.key_id.clone()))
    }

    /// The JSON Web Key Set of the token keys (RFC 7517, RFC 8037).
    #[must_use]
    pub fn jwks(&self) -> Vec<u8> {
        let keys = self.keys.access();
        jwks::encode(
            keys.all
                .iter()
                .map(|key| (key.key_id.as_str(), &key.verifying)),
        )
    }

    /// Signs an access token; `claims.key_id` is not read, the active key's is used.
    ///
    /// # Errors
    /// [`KeyRingError::KeyUnknown`] when no token key is active, [`KeyRingError::ClaimsInvalid`] when the claims break a limit of the protocol.
    pub fn sign_access_token(&self, claims: &Claims) -> Result<String, KeyRingError> {
        let keys = self.keys.access();
        let key = keys.active.as_ref().ok_or(KeyRingError::KeyUnknown)?;
        let payload = claims.encode().ok_or(KeyRingError::ClaimsInvalid)?;
        let token = jws::sign(&key.header, &payload, &key.signing);
        if token.len() > jws::TOKEN_BYTES_MAX {
            return Err(KeyRingError::ClaimsInvalid);
        }
        Ok(token)
    }

    /// The claims of `token`, when it is signed by one of our keys and stands for `audience` at `now_ms`.
    ///
    /// # Errors
    /// Every refusal of [`TokenError`].
    pub fn verify_access_token(
        &self,
        token: &str,
        audience: &str,
        now_ms: i64,
    ) -> Result<Arc<Claims>, TokenError> {
        if token.len() > jws::TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let place = self.verified.place(token);
        let keys = self.keys.access();
        if let Some(verified) = self.verified.get(place) {
            // INVARIANT: a hit spares the signature and nothing else; the key has to be the same object, not only of the same name.
            if keys
                .find(&verified.key.key_id)
                .is_some_and(|key| Arc::ptr_eq(key, &verified.key))
            {
                verified.claims.stand(audience, now_ms)?;
                return Ok(verified.claims);
            }
            self.verified.forget(place);
        }
        let compact = Compact::parse(token)?;
        let key_id = compact.key_id.as_deref().ok_or(TokenError::Malformed)?;
        let key = keys.find(key_id).ok_or(TokenError::KeyUnknown)?;
        let claims = Arc::new(Claims::decode(
            &compact.verify(&key.verifying)?,
            key.key_id.clone(),
        )?);
        claims.stand(audience, now_ms)?;
        self.verified.put(
            place,
            Verified {
                claims: claims.clone(),
                key: key.clone(),
            },
        );
        Ok(claims)
    }

    /// Signs a door command with the active command key of its organization: `COSE_Sign1` (RFC 9052) over a CWT (RFC 8392).
    ///
    /// # Errors
    /// [`KeyRingError::KeyUnknown`] when none is active, [`KeyRingError::ClaimsInvalid`] when the claims break a limit of the protocol.
    pub fn sign_command(&self, command: &Command) -> Result<Vec<u8>, KeyRingError> {
        let keys = self
            .keys
            .of(Holder::parse("command", &command.organization)?);
        let key = keys.active.as_ref().ok_or(KeyRingError::KeyUnknown)?;
        command
            .sign(&key.key_id, &key.signing)
            .map_err(|_| KeyRingError::ClaimsInvalid)
    }

    /// Signs the time for a lock that asked with a nonce.
    ///
    /// # Errors
    /// As [`Self::sign_command`].
    pub fn sign_time(&self, time: &SignedTime) -> Result<Vec<u8>, KeyRingError> {
        let keys = self.keys.of(Holder::parse("command", &time.organization)?);
        let key = keys.active.as_ref().ok_or(KeyRingError::KeyUnknown)?;
        time.sign(&key.key_id, &key.signing)
            .map_err(|_| KeyRingError::ClaimsInvalid)
    }

    /// Seals content for storage, bound to what it is for, whose it is and what it is called: XAES-256-GCM under the master key.
    ///
    /// # Errors
    /// [`KeyRingError::ContentTooLong`] above 1 MiB, [`KeyRingError::Randomness`] when the system has none.
    pub fn seal(
        &self,
        purpose: &str,
        organization: &str,
        name: &str,
        content: &[u8],
    ) -> Result<Vec<u8>, KeyRingError> {
        let mut nonce = [0; content::NONCE_BYTES];
        random::fill(&mut nonce)?;
        let label = Label {
            purpose,
            organization,
            name,
        };
        self.contents.seal(label, content, nonce)
    }

    /// Content that was sealed for exactly this purpose, organization and name.
    ///
    /// # Errors
    /// [`KeyRingError::SealedWrongly`] when it was not, or by another master key, or is damaged.
    pub fn open(
        &self,
        purpose: &str,
        organization: &str,
        name: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyRingError> {
        let label = Label {
            purpose,
            organization,
            name,
        };
        self.contents.open(label, sealed)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyRing(redacted)")
    }
}
