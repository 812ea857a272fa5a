//! The ids that a lock has acted on and that could still be played again. Bounded: when full it refuses, it never forgets a live one.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::clock::Reading;
use crate::refusal::Refusal;

pub(crate) struct Memory {
    places: Vec<Remembered>,
    commands_max: usize,
}

struct Remembered {
    id: Box<str>,
    expires_at_ms: i64,
}

impl Memory {
    pub(crate) fn new(commands_max: usize) -> Self {
        // Reserved at once: a lock that starts has the memory that it promises.
        Self {
            places: Vec::with_capacity(commands_max),
            commands_max,
        }
    }

    /// Takes `id` in, once.
    pub(crate) fn remember(
        &mut self,
        id: &str,
        expires_at_ms: i64,
        reading: &Reading,
    ) -> Result<(), Refusal> {
        if self.places.iter().any(|place| *place.id == *id) {
            return Err(Refusal::CommandReplayed);
        }
        // INVARIANT: what is forgotten can't be accepted again. The clock never falls below `now - drift`, and drift is part of the uncertainty.
        self.places.retain(|place| {
            reading.now_ms
                < place
                    .expires_at_ms
                    .saturating_add_unsigned(reading.uncertainty_ms)
        });
        if self.places.len() >= self.commands_max {
            return Err(Refusal::MemoryFull);
        }
        self.places.push(Remembered {
            id: id.into(),
            expires_at_ms,
        });
        Ok(())
    }
}
