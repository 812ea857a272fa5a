//! The outgoing queue of one connection: bounded by bytes and by seconds, filled from any thread, emptied by the connection.
//! Events may be given up, with an explicit gap per topic; everything else is sent or the connection ends.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio_websockets::Message;

use crate::event::EncodedEvent;
use crate::protocol::{Close, Encoding, NotRecovered, Position, ServerFrame};

/// Bytes that may wait for one connection.
pub const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// How long the oldest frame may wait.
pub const BEHIND_MAX: Duration = Duration::from_secs(10);
/// A second overflow within this time ends the connection.
pub const GAP_FORGIVEN_AFTER: Duration = Duration::from_secs(60);

enum Frame {
    Event(Arc<EncodedEvent>),
    Kept(Message),
}

struct Queued {
    frame: Frame,
    bytes: usize,
    at: Instant,
}

struct State {
    queue: VecDeque<Queued>,
    bytes: usize,
    gap_at: Option<Instant>,
    close: Option<Close>,
}

/// Shared by the connection and by everybody who sends to it.
pub struct Outbox {
    encoding: Encoding,
    state: Mutex<State>,
    waker: AtomicWaker,
}

impl Outbox {
    /// An empty queue.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            gap_at: None,
            close: None,
        };
        Self {
            encoding,
            state: Mutex::new(state),
            waker: AtomicWaker::new(),
        }
    }

    /// How this connection wants its frames.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Queues an event by reference. May be given up later, never silently.
    pub fn event(&self, event: &Arc<EncodedEvent>, now: Instant) {
        let bytes = event.queue_bytes();
        self.push(Queued {
            frame: Frame::Event(event.clone()),
            bytes,
            at: now,
        });
    }

    /// Queues a frame that is never dropped or merged.
    pub fn frame(&self, frame: &ServerFrame<'_>, now: Instant) {
        if let Some(message) = frame.encode(self.encoding) {
            let bytes = message.as_payload().len().saturating_add(64);
            self.push(Queued {
                frame: Frame::Kept(message),
                bytes,
                at: now,
            });
        }
    }

    /// Ends the connection; the first reason stands. What is queued and kept is still written, if the client reads it.
    pub fn close(&self, close: Close) {
        let mut state = self.lock();
        state.close.get_or_insert(close);
        drop(state);
        self.waker.wake();
    }

    /// The next message to write.
    #[must_use]
    pub fn next(&self) -> Option<Message> {
        let mut state = self.lock();
        let queued = state.queue.pop_front()?;
        state.bytes = state.bytes.saturating_sub(queued.bytes);
        drop(state);
        Some(match queued.frame {
            Frame::Event(event) => event.message(self.encoding),
            Frame::Kept(message) => message,
        })
    }

    /// Why the connection is to end, if it is.
    #[must_use]
    pub fn closing(&self) -> Option<Close> {
        self.lock().close.clone()
    }

    /// When the oldest frame will have waited too long.
    #[must_use]
    pub fn behind_at(&self) -> Option<Instant> {
        self.lock()
            .queue
            .front()
            .and_then(|queued| queued.at.checked_add(BEHIND_MAX))
    }

    /// The oldest frame has waited too long.
    pub fn behind(&self, now: Instant) {
        self.overflow(&mut self.lock(), now);
    }

    /// Who is woken by new frames and by a close.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    fn push(&self, queued: Queued) {
        let mut state = self.lock();
        if state.close.is_some() {
            return;
        }
        let now = queued.at;
        state.bytes = state.bytes.saturating_add(queued.bytes);
        state.queue.push_back(queued);
        if state.bytes > QUEUE_BYTES_MAX {
            self.overflow(&mut state, now);
        }
        drop(state);
        self.waker.wake();
    }

    /// Gives up every queued event for one `gap` per topic; the second time soon after, or when that frees nothing, the connection ends.
    fn overflow(&self, state: &mut State, now: Instant) {
        let again = state
            .gap_at
            .is_some_and(|at| now.saturating_duration_since(at) < GAP_FORGIVEN_AFTER);
        let droppable = |queued: &Queued| matches!(queued.frame, Frame::Event(_));
        if again || !state.queue.iter().any(droppable) {
            state.close.get_or_insert(Close::SlowConsumer);
        }
        // With a close, no gap: the client resumes from the last event that it got.
        let tell = state.close.is_none();
        let mut told: Vec<Arc<str>> = Vec::new(); // a connection has few topics
        let mut kept = VecDeque::new();
        while let Some(queued) = state.queue.pop_back() {
            match queued.frame {
                Frame::Kept(_) => kept.push_front(queued),
                Frame::Event(event) if tell && !told.contains(&event.topic) => {
                    // In the place of the topic's last event, so that a `subscribed` behind it stays behind it.
                    told.push(Arc::clone(&event.topic));
                    if let Some(gap) = self.gap(&event.topic, &event.position, now) {
                        kept.push_front(gap);
                    }
                }
                Frame::Event(_) => {}
            }
        }
        state.gap_at = Some(now);
        state.bytes = kept.iter().map(|queued| queued.bytes).sum();
        state.queue = kept;
        self.waker.wake();
    }

    fn gap(&self, topic: &str, position: &Position, now: Instant) -> Option<Queued> {
        let message = ServerFrame::Gap {
            topic,
            position,
            reason: NotRecovered::SlowConsumer,
        }
        .encode(self.encoding)?;
        Some(Queued {
            bytes: message.as_payload().len().saturating_add(64),
            frame: Frame::Kept(message),
            at: now,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
