//! What a lock knows of the time: signed answers to its own questions, carried on by its tick. Who signed an answer is `verifier`'s question.
//!
//! A question (a nonce) is asked at tick `b`, its answer says `S` and arrives at tick `r`. `S` was taken after `b`, because nobody knew the nonce before, and
//! before `r`. So the true time at `r` is in `[S, S + (r - b)]`: `now = S` is the earliest it can be, and the round trip is how much later it may be.
//! Whoever delays an answer makes the lock unsure, or at most 1,000 ms slow; whoever replays or reorders answers meets a nonce that isn't asked any more.

use alloc::vec::Vec;

use crate::refusal::Refusal;

/// Above this a lock refuses commands.
pub const UNCERTAINTY_MS_MAX: u64 = 1_000;
/// Shortest nonce: 128 bits can't be guessed.
pub const NONCE_BYTES_MIN: usize = 16;
/// Longest nonce.
pub const NONCE_BYTES_MAX: usize = 32;
/// A tick and a signed time are cut to whole milliseconds, each by less than one.
const GRANULARITY_MS: u64 = 2;
/// 100 ppm of true time: a clock that is slow by that much shows 9,999 ticks in 10,000 ms, so the drift is one millisecond in 9,999 ticks.
const TICKS_PER_DRIFT_MS: u64 = 9_999;

pub(crate) fn is_nonce(nonce: &[u8]) -> bool {
    (NONCE_BYTES_MIN..=NONCE_BYTES_MAX).contains(&nonce.len())
}

/// The time at one tick: the true time is in `[now - drift, now + uncertainty]`.
#[expect(
    clippy::struct_field_names,
    reason = "the unit stands last in every name"
)]
pub(crate) struct Reading {
    pub(crate) now_ms: i64,
    pub(crate) uncertainty_ms: u64,
    drift_ms: u64,
}

struct Question {
    nonce: Vec<u8>,
    asked_at_tick: u64,
}

struct Fix {
    at_tick: u64,
    now_ms: i64,
    uncertainty_ms: u64,
}

#[derive(Default)]
pub(crate) struct Clock {
    question: Option<Question>,
    fix: Option<Fix>,
    /// The first time since start, never changed: what is older was issued to a lock that no longer remembers.
    first_ms: Option<i64>,
    latest_tick: u64,
}

impl Clock {
    /// Asks. Only the latest question can be answered.
    pub(crate) fn ask(&mut self, nonce: &[u8], tick: u64) -> Result<(), Refusal> {
        if !is_nonce(nonce) {
            return Err(Refusal::TimeNonce);
        }
        self.advance(tick)?;
        self.question = Some(Question {
            nonce: nonce.to_vec(),
            asked_at_tick: tick,
        });
        Ok(())
    }

    /// Takes an answer whose signature holds.
    pub(crate) fn answer(&mut self, told_ms: i64, nonce: &[u8], tick: u64) -> Result<u64, Refusal> {
        self.advance(tick)?;
        // A wrong answer leaves the question open: otherwise one forged frame would cancel it.
        let question = self
            .question
            .take_if(|question| question.nonce == nonce)
            .ok_or(Refusal::TimeNonce)?;
        let round_trip_ms = tick.saturating_sub(question.asked_at_tick);
        let told_uncertainty_ms = round_trip_ms
            .saturating_add(drift_ms(round_trip_ms))
            .saturating_add(GRANULARITY_MS);
        let told_latest_ms = told_ms.saturating_add_unsigned(told_uncertainty_ms);

        // INVARIANT: `now - drift` never falls, so that what was certainly expired stays expired, whatever is told.
        let earliest_ms = self.read(tick).ok().map_or(i64::MIN, |held| {
            held.now_ms.saturating_sub_unsigned(held.drift_ms)
        });
        if told_latest_ms < earliest_ms {
            return Err(Refusal::TimeBackwards);
        }
        // The later of the two is still the earliest that it can be; how unsure the lock is, the round trip alone says, even if it knew better.
        let (now_ms, uncertainty_ms) = (told_ms.max(earliest_ms), told_uncertainty_ms);
        self.fix = Some(Fix {
            at_tick: tick,
            now_ms,
            uncertainty_ms,
        });
        self.first_ms.get_or_insert(told_ms);
        Ok(uncertainty_ms)
    }

    /// The time at `tick`; unsure before the first answer and when the tick lies before it.
    pub(crate) fn read(&self, tick: u64) -> Result<Reading, Refusal> {
        let fix = self.fix.as_ref().ok_or(Refusal::ClockUnsure)?;
        let elapsed_ms = tick.checked_sub(fix.at_tick).ok_or(Refusal::ClockUnsure)?;
        let drift_ms = drift_ms(elapsed_ms);
        Ok(Reading {
            now_ms: fix.now_ms.saturating_add_unsigned(elapsed_ms),
            uncertainty_ms: fix.uncertainty_ms.saturating_add(drift_ms),
            drift_ms,
        })
    }

    /// The time at `tick`, good enough to obey a command, and the first time since start.
    pub(crate) fn read_surely(&mut self, tick: u64) -> Result<(Reading, i64), Refusal> {
        self.advance(tick)?;
        let reading = self.read(tick)?;
        match self.first_ms {
            Some(first_ms) if reading.uncertainty_ms <= UNCERTAINTY_MS_MAX => {
                Ok((reading, first_ms))
            }
            _ => Err(Refusal::ClockUnsure),
        }
    }

    /// A tick that goes backwards is a restart that nobody told us of: with it the time would go back as well.
    fn advance(&mut self, tick: u64) -> Result<(), Refusal> {
        if tick < self.latest_tick {
            return Err(Refusal::ClockUnsure);
        }
        self.latest_tick = tick;
        Ok(())
    }
}

fn drift_ms(elapsed_ms: u64) -> u64 {
    elapsed_ms.div_ceil(TICKS_PER_DRIFT_MS)
}
