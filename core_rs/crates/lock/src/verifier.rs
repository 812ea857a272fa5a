//! The lock's law, in its order (docs/protocols/tokens.md). One organization, one lock, one pinned key. What the lock does then, and what it answers, is its firmware's.

use alloc::string::String;

use ed25519_dalek::VerifyingKey;

use crate::cbor::is_identifier;
use crate::clock::{Clock, Reading};
use crate::command::{Action, Command};
use crate::cose::{Envelope, Kind, Unopened};
use crate::hold::Hold;
use crate::memory::Memory;
use crate::refusal::{ClaimsInvalid, Refusal};
use crate::time::SignedTime;

/// Most ids that a lock may be told to remember.
pub const MEMORY_COMMANDS_MAX: usize = 65_536;

/// Verifies door commands and time answers for one lock. `monotonic_ms` is the lock's tick: milliseconds that never go back and count on in its sleep.
pub struct LockVerifier {
    organization: String,
    lock: String,
    key_id: String,
    key: VerifyingKey,
    clock: Clock,
    memory: Memory,
    hold: Hold,
}

impl LockVerifier {
    /// A lock that starts: it knows no time, and refuses every command until it is told.
    ///
    /// # Errors
    /// [`ClaimsInvalid`] when a name is not an identifier, the key is not a sound Ed25519 key, or the memory is not of 1 to 65,536 commands.
    pub fn new(
        organization: &str,
        lock: &str,
        key_id: &str,
        public_key: &[u8],
        memory_commands_max: usize,
    ) -> Result<Self, ClaimsInvalid> {
        let key = public_key.try_into().map_err(|_| ClaimsInvalid)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| ClaimsInvalid)?;
        let sound = !key.is_weak()
            && is_identifier(organization)
            && is_identifier(lock)
            && !key_id.is_empty()
            && (1..=MEMORY_COMMANDS_MAX).contains(&memory_commands_max);
        if !sound {
            return Err(ClaimsInvalid);
        }
        Ok(Self {
            organization: organization.into(),
            lock: lock.into(),
            key_id: key_id.into(),
            key,
            clock: Clock::default(),
            memory: Memory::new(memory_commands_max),
            hold: Hold::default(),
        })
    }

    /// Asks for the time. The nonce is fresh and random, 16 to 32 bytes; only the latest one can be answered, once.
    ///
    /// # Errors
    /// [`Refusal::TimeNonce`] for a nonce of another length, [`Refusal::ClockUnsure`] when the tick went back.
    pub fn begin_time(&mut self, nonce: &[u8], monotonic_ms: u64) -> Result<(), Refusal> {
        self.clock.ask(nonce, monotonic_ms)
    }

    /// Takes a time answer, and says how unsure the lock is after it, in milliseconds.
    ///
    /// # Errors
    /// The refusals named `Time...`, and [`Refusal::ClockUnsure`] when the tick went back.
    pub fn accept_time(&mut self, message: &[u8], monotonic_ms: u64) -> Result<u64, Refusal> {
        let envelope = Envelope::open(Kind::Time, message).map_err(|_| Refusal::TimeMalformed)?;
        if envelope.key_id != self.key_id {
            return Err(Refusal::TimeSignature);
        }
        let payload = envelope.verify(&self.key).ok_or(Refusal::TimeSignature)?;
        let time = SignedTime::decode(payload).ok_or(Refusal::TimeMalformed)?;
        if time.organization != self.organization || time.lock != self.lock {
            return Err(Refusal::TimeMalformed);
        }
        self.clock.answer(time.now_ms, &time.nonce, monotonic_ms)
    }

    /// The earliest that it can be, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Refusal::ClockUnsure`] before the first answer.
    pub fn now_ms(&self, monotonic_ms: u64) -> Result<i64, Refusal> {
        self.clock.read(monotonic_ms).map(|reading| reading.now_ms)
    }

    /// How much later than [`Self::now_ms`] it may be, in milliseconds.
    ///
    /// # Errors
    /// [`Refusal::ClockUnsure`] before the first answer.
    pub fn uncertainty_ms(&self, monotonic_ms: u64) -> Result<u64, Refusal> {
        self.clock
            .read(monotonic_ms)
            .map(|reading| reading.uncertainty_ms)
    }

    /// The command to let somebody in, when it is to be obeyed now. Its id is remembered before it is returned.
    ///
    /// # Errors
    /// The refusals named `Command...`, [`Refusal::ClockUnsure`] and [`Refusal::MemoryFull`].
    pub fn verify(&mut self, message: &[u8], monotonic_ms: u64) -> Result<Command, Refusal> {
        let (command, reading) = self.current(message, Action::Unlock, monotonic_ms)?;
        self.memory
            .remember(&command.id, command.expires_at_ms, &reading)?;
        Ok(command)
    }

    /// A lease that this lock has asked for, to keep its bolt back for as long as [`Self::holds`] says so. Its id is that of the hold.
    ///
    /// # Errors
    /// The refusals named `Command...` and [`Refusal::ClockUnsure`].
    pub fn take_lease(&mut self, message: &[u8], monotonic_ms: u64) -> Result<Command, Refusal> {
        let (lease, _) = self.current(message, Action::Hold, monotonic_ms)?;
        self.hold.renew(&lease)?;
        Ok(lease)
    }

    /// A command of this action, for this lock, that is alive at this tick.
    fn current(
        &mut self,
        message: &[u8],
        action: Action,
        monotonic_ms: u64,
    ) -> Result<(Command, Reading), Refusal> {
        let command = self.authenticate(message)?;
        if command.organization != self.organization || command.lock != self.lock {
            return Err(Refusal::CommandWrongLock);
        }
        if command.action != action.as_str() {
            return Err(Refusal::CommandActionUnknown);
        }
        let (reading, first_ms) = self.clock.read_surely(monotonic_ms)?;
        if command.issued_at_ms < first_ms {
            return Err(Refusal::CommandBeforeStart);
        }
        if command.issued_at_ms
            > reading
                .now_ms
                .saturating_add_unsigned(reading.uncertainty_ms)
        {
            return Err(Refusal::CommandNotYetValid);
        }
        if reading.now_ms >= command.expires_at_ms {
            return Err(Refusal::CommandExpired);
        }
        if !command.lives_briefly() {
            return Err(Refusal::CommandLifetime);
        }
        Ok((command, reading))
    }

    /// Whether the bolt is to be kept back at this tick: the latest lease is not over, was not released, and the lock is sure of the time.
    ///
    /// INVARIANT: what was found over stays over, also when the next time answer puts the clock back a little: the next hold has another id.
    pub fn holds(&mut self, monotonic_ms: u64) -> bool {
        let reading = self.clock.read_surely(monotonic_ms);
        let stands = reading.is_ok_and(|(reading, _)| self.hold.stands_at(reading.now_ms));
        if !stands {
            self.hold.release();
        }
        stands
    }

    /// Ends the hold now: the service gave no further lease.
    pub const fn release_hold(&mut self) {
        self.hold.release();
    }

    /// The claims of a message that the pinned key has signed; they are not read before that is known.
    fn authenticate(&self, message: &[u8]) -> Result<Command, Refusal> {
        let envelope =
            Envelope::open(Kind::Command, message).map_err(|unopened| match unopened {
                Unopened::Malformed => Refusal::CommandMalformed,
                Unopened::Algorithm => Refusal::CommandAlgorithm,
            })?;
        if envelope.key_id != self.key_id {
            return Err(Refusal::CommandKeyUnknown);
        }
        let payload = envelope
            .verify(&self.key)
            .ok_or(Refusal::CommandSignature)?;
        Command::decode(payload).ok_or(Refusal::CommandMalformed)
    }
}
