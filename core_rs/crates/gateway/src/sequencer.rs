//! The order of one topic: live offsets, holes, refill from the stream, replay to those who resume, release.
//! Pure logic: no socket, no clock, no Redis. What has to be done comes out as effects, in the order in which it has to be done.
//!
//! INVARIANT: between two `Gap`s a subscriber sees, after its `Subscribed`, every offset of one epoch exactly once, in order.
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::{NotRecovered, Position};

/// Messages that may wait for a read of the stream; what exceeds it is read from the stream again.
pub const HELD_MESSAGES_MAX: usize = 4_096;
/// Events that a resume or a refill may replay.
pub const REPLAY_EVENTS_MAX: u64 = 1_000;

/// Names one subscriber of the topic.
pub type Subscriber = u64;

/// One event as it travels on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusEvent {
    /// Counts from 1 within the epoch.
    pub offset: u64,
    /// JSON, unchecked.
    pub body: Bytes,
}

/// What one atomic read of the topic found.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The epoch at the moment of the read.
    pub epoch: Arc<str>,
    /// The last offset given out.
    pub last: u64,
    /// The newest events after the offset that was asked for, in ascending order.
    pub events: Vec<BusEvent>,
    /// Older events were there and were left out, because they were too many or too large.
    pub truncated: bool,
}

/// What the owner of the sequencer has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read the topic atomically: at least what follows `after`. Answer with `snapshot` and the same ticket.
    Read { ticket: u64, after: u64 },
    /// Give the event to every live subscriber.
    Live { position: Position, body: Bytes },
    /// Tell every live subscriber that events are missing before what follows `position`.
    Gap {
        position: Position,
        reason: NotRecovered,
    },
    /// The subscriber is live from here on. The next event it gets follows `position`.
    Subscribed {
        subscriber: Subscriber,
        position: Position,
        missed: Option<NotRecovered>,
    },
    /// Give the event to this subscriber only.
    Replay {
        subscriber: Subscriber,
        position: Position,
        body: Bytes,
    },
}

struct Waiter {
    subscriber: Subscriber,
    position: Option<Position>,
    /// The read that is under way reaches back to its position.
    asked: bool,
}

struct Held {
    epoch: Arc<str>,
    event: BusEvent,
}

/// The state of one topic in one thread.
#[derive(Default)]
pub struct Sequencer {
    /// Up to where every live subscriber has everything. None before the first read.
    head: Option<Position>,
    /// The channel is subscribed: what is published from now on arrives, unless the bus is lost.
    ready: bool,
    /// The ticket of the read that is under way.
    reading: Option<u64>,
    tickets: u64,
    waiting: Vec<Waiter>,
    held: VecDeque<Held>,
    /// How many of `held` had arrived when the read was asked for: the read must have seen them.
    held_before_read: usize,
    /// Messages were thrown away while reading, so one more read is needed.
    overflowed: bool,
}

impl Sequencer {
    /// Somebody wants the topic, from `position` on or from now on.
    pub fn subscribe(
        &mut self,
        subscriber: Subscriber,
        position: Option<Position>,
        effects: &mut Vec<Effect>,
    ) {
        if let (true, None, Some(head)) = (self.ready, self.reading, &self.head) {
            let missed = match &position {
                None => Some(Some(NotRecovered::NoPosition)),
                Some(position) if position == head => Some(None),
                Some(_) => None,
            };
            if let Some(missed) = missed {
                effects.push(Effect::Subscribed {
                    subscriber,
                    position: head.clone(),
                    missed,
                });
                return;
            }
        }
        self.waiting.push(Waiter {
            subscriber,
            position,
            asked: false,
        });
        self.read(effects);
    }

    /// A subscriber went away before it was live.
    pub fn leave(&mut self, subscriber: Subscriber) {
        self.waiting
            .retain(|waiter| waiter.subscriber != subscriber);
    }

    /// The channel of the topic is subscribed. Whatever was published before is in the stream.
    pub fn channel_ready(&mut self, effects: &mut Vec<Effect>) {
        self.ready = true;
        self.reading = None;
        self.held.clear();
        self.read(effects);
    }

    /// The bus is gone: anything may have been missed until the next `channel_ready`.
    pub fn bus_lost(&mut self) {
        self.ready = false;
        self.reading = None;
        self.held.clear();
    }

    /// A message came in on the channel.
    pub fn live(&mut self, epoch: &str, event: BusEvent, effects: &mut Vec<Effect>) {
        if !self.ready {
            return; // the read that follows `channel_ready` sees it
        }
        if self.reading.is_some() {
            self.hold(epoch, event);
            return;
        }
        match &self.head {
            Some(head) if &*head.epoch == epoch && event.offset <= head.offset => {}
            Some(head)
                if &*head.epoch == epoch && event.offset == head.offset.saturating_add(1) =>
            {
                let position = Position {
                    epoch: head.epoch.clone(),
                    offset: event.offset,
                };
                self.head = Some(position.clone());
                effects.push(Effect::Live {
                    position,
                    body: event.body,
                });
            }
            _ => {
                self.hold(epoch, event);
                self.read(effects);
            }
        }
    }

    /// The answer to `Effect::Read`. An answer to an older ticket is ignored.
    pub fn snapshot(&mut self, ticket: u64, snapshot: &Snapshot, effects: &mut Vec<Effect>) {
        if self.reading != Some(ticket) {
            return;
        }
        self.reading = None;
        let coverage = Coverage::of(snapshot);
        self.catch_up(snapshot, &coverage, effects);
        let head = Position {
            epoch: snapshot.epoch.clone(),
            offset: snapshot.last,
        };
        self.head = Some(head.clone());
        for waiter in std::mem::take(&mut self.waiting) {
            let missed = coverage.missed(snapshot, waiter.position.as_ref());
            if waiter.asked || matches!(missed, None | Some(NotRecovered::NoPosition)) {
                release(waiter, missed, &head, snapshot, effects);
            } else {
                self.waiting.push(waiter); // came too late for this read, which didn't reach back far enough for it
            }
        }
        if !self.waiting.is_empty() {
            self.read(effects);
        }
        self.release_held(effects);
    }

    /// Brings the live subscribers up to the snapshot, or tells them that it can't be done.
    fn catch_up(&self, snapshot: &Snapshot, coverage: &Coverage, effects: &mut Vec<Effect>) {
        let Some(head) = &self.head else { return };
        match coverage.missed(snapshot, Some(head)) {
            None => effects.extend(
                snapshot
                    .events
                    .iter()
                    .filter(|event| event.offset > head.offset)
                    .map(|event| Effect::Live {
                        position: Position {
                            epoch: snapshot.epoch.clone(),
                            offset: event.offset,
                        },
                        body: event.body.clone(),
                    }),
            ),
            Some(reason) => {
                effects.push(Effect::Gap {
                    position: Position {
                        epoch: snapshot.epoch.clone(),
                        offset: snapshot.last,
                    },
                    reason,
                });
            }
        }
    }

    /// Passes on what arrived during the read. A message that was there before the read and that the read didn't
    /// confirm is not of this stream (an old epoch, or an offset that was never given out) and must not start the next read.
    fn release_held(&mut self, effects: &mut Vec<Effect>) {
        let held = std::mem::take(&mut self.held);
        let before = std::mem::take(&mut self.held_before_read);
        if std::mem::take(&mut self.overflowed) {
            self.read(effects);
        }
        for message in held.into_iter().skip(before) {
            self.live(&message.epoch, message.event, effects);
        }
    }

    fn hold(&mut self, epoch: &str, event: BusEvent) {
        if self.held.len() >= HELD_MESSAGES_MAX {
            self.overflowed = true;
            return;
        }
        let epoch = match &self.head {
            Some(head) if &*head.epoch == epoch => head.epoch.clone(),
            _ => Arc::from(epoch),
        };
        self.held.push_back(Held { epoch, event });
    }

    /// Asks for one read on behalf of everybody who needs one, unless one is under way or the channel isn't there yet.
    fn read(&mut self, effects: &mut Vec<Effect>) {
        if !self.ready || self.reading.is_some() {
            return;
        }
        self.waiting
            .iter_mut()
            .for_each(|waiter| waiter.asked = true);
        let wanted = self
            .waiting
            .iter()
            .filter_map(|waiter| waiter.position.as_ref());
        let same_epoch = wanted.filter(|position| {
            self.head
                .as_ref()
                .is_none_or(|head| head.epoch == position.epoch)
        });
        let after = same_epoch
            .chain(self.head.as_ref())
            .map(|position| position.offset)
            .min();
        self.tickets = self.tickets.wrapping_add(1);
        self.reading = Some(self.tickets);
        self.held_before_read = self.held.len();
        effects.push(Effect::Read {
            ticket: self.tickets,
            after: after.unwrap_or(u64::MAX),
        });
    }
}

/// Which events of a snapshot are there without a hole.
struct Coverage {
    /// Everything from this offset to the last is there.
    from: u64,
}

impl Coverage {
    fn of(snapshot: &Snapshot) -> Self {
        let mut from = snapshot.last.saturating_add(1);
        for event in snapshot.events.iter().rev() {
            if event.offset.checked_add(1) != Some(from) {
                break;
            }
            from = event.offset;
        }
        Self { from }
    }

    /// Why somebody at `position` can't be brought up to the snapshot; None when it can.
    fn missed(&self, snapshot: &Snapshot, position: Option<&Position>) -> Option<NotRecovered> {
        let Some(position) = position else {
            return Some(NotRecovered::NoPosition);
        };
        if position.epoch != snapshot.epoch || position.offset > snapshot.last {
            return Some(NotRecovered::EpochChanged);
        }
        if position.offset.saturating_add(1) >= self.from {
            return None;
        }
        let too_many =
            snapshot.truncated || snapshot.last.saturating_sub(position.offset) > REPLAY_EVENTS_MAX;
        Some(if too_many {
            NotRecovered::TooMany
        } else {
            NotRecovered::TooOld
        })
    }
}

fn release(
    waiter: Waiter,
    missed: Option<NotRecovered>,
    head: &Position,
    snapshot: &Snapshot,
    effects: &mut Vec<Effect>,
) {
    let subscriber = waiter.subscriber;
    let (Some(start), None) = (waiter.position, missed) else {
        effects.push(Effect::Subscribed {
            subscriber,
            position: head.clone(),
            missed,
        });
        return;
    };
    let after = start.offset;
    effects.push(Effect::Subscribed {
        subscriber,
        position: start,
        missed: None,
    });
    let newer = snapshot.events.iter().filter(|event| event.offset > after);
    effects.extend(newer.map(|event| Effect::Replay {
        subscriber,
        position: Position {
            epoch: snapshot.epoch.clone(),
            offset: event.offset,
        },
        body: event.body.clone(),
    }));
}

#[cfg(test)]
#[path = "sequencer_tests.rs"]
mod tests;
