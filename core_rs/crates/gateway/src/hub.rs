//! The topics of one thread: who listens to what, and the sequencer of each. No socket and no Redis: what the bus has to do comes out as
//! wishes (topics whose channel has to be looked at, reads to make), what subscribers get goes into their outboxes.
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::event::EncodedEvent;
use crate::metrics::{Metrics, count};
use crate::outbox::Outbox;
use crate::protocol::{NotRecovered, Position, ServerFrame};
use crate::sequencer::{BusEvent, Effect, Sequencer, Snapshot};

type Map<Key, Value> = HashMap<Key, Value, foldhash::fast::RandomState>;

/// A read of a topic's stream that the bus has to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The topic, whole.
    pub topic: Arc<str>,
    /// Which life of the topic in this thread asks.
    pub incarnation: u64,
    /// Goes back with the answer.
    pub ticket: u64,
    /// What follows this offset is wanted.
    pub after: u64,
}

/// What the bus has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Topics that came or went: their channel has to be subscribed or given up.
    pub changed: Vec<Arc<str>>,
    /// Streams to read.
    pub reads: Vec<Read>,
}

struct Topic {
    name: Arc<str>,
    incarnation: u64,
    sequencer: Sequencer,
    /// Everybody who wants the topic; those that are not live yet wait in the sequencer.
    subscribers: Map<u64, Subscriber>,
}

struct Subscriber {
    outbox: Arc<Outbox>,
    live: bool,
}

/// All topics of a thread.
pub struct Hub {
    topics: Map<Arc<str>, Topic>,
    incarnations: u64,
    metrics: Arc<Metrics>,
}

impl Hub {
    /// No topics.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            topics: Map::default(),
            incarnations: 0,
            metrics,
        }
    }

    /// A connection wants a topic. It isn't subscribed to it yet.
    pub fn subscribe(
        &mut self,
        connection: u64,
        outbox: Arc<Outbox>,
        name: &str,
        position: Option<Position>,
    ) -> Wishes {
        let mut wishes = Wishes::default();
        if !self.topics.contains_key(name) {
            wishes.changed.push(self.open(name));
        }
        let Some(topic) = self.topics.get_mut(name) else {
            return wishes;
        };
        topic.subscribers.insert(
            connection,
            Subscriber {
                outbox,
                live: false,
            },
        );
        let mut effects = Vec::new();
        topic
            .sequencer
            .subscribe(connection, position, &mut effects);
        topic.apply(effects, &mut wishes, &self.metrics);
        wishes
    }

    /// A connection wants a topic no more.
    pub fn unsubscribe(&mut self, connection: u64, name: &str) -> Wishes {
        let mut wishes = Wishes::default();
        let Some(topic) = self.topics.get_mut(name) else {
            return wishes;
        };
        topic.subscribers.remove(&connection);
        topic.sequencer.leave(connection);
        if topic.subscribers.is_empty() {
            wishes.changed.push(topic.name.clone());
            self.topics.remove(name);
            self.metrics.topics.fetch_sub(1, Relaxed);
        }
        wishes
    }

    /// The incarnation of a topic that somebody wants.
    #[must_use]
    pub fn incarnation(&self, name: &str) -> Option<u64> {
        self.topics.get(name).map(|topic| topic.incarnation)
    }

    /// All topics that somebody wants.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        self.topics.keys().cloned().collect()
    }

    /// The channel of the topic is subscribed.
    pub fn channel_ready(&mut self, name: &str, incarnation: u64) -> Wishes {
        self.drive(name, Some(incarnation), Sequencer::channel_ready)
    }

    /// A message of a topic's channel: `<epoch> <offset> <body>`. What isn't that is counted out: the next offset shows the hole.
    pub fn message(&mut self, name: &str, payload: &Bytes) -> Wishes {
        let Some((epoch, event)) = parse_message(payload) else {
            return Wishes::default();
        };
        count(&self.metrics.events_received);
        self.drive(name, None, |sequencer, effects| {
            sequencer.live(epoch, event, effects);
        })
    }

    /// The answer to a read.
    pub fn snapshot(&mut self, read: &Read, snapshot: &Snapshot) -> Wishes {
        count(&self.metrics.topic_reads);
        self.drive(&read.topic, Some(read.incarnation), |sequencer, effects| {
            sequencer.snapshot(read.ticket, snapshot, effects);
        })
    }

    /// The bus is gone; every channel has to be subscribed anew.
    pub fn bus_lost(&mut self) {
        for topic in self.topics.values_mut() {
            topic.sequencer.bus_lost();
        }
    }

    fn open(&mut self, name: &str) -> Arc<str> {
        self.incarnations = self.incarnations.wrapping_add(1);
        let name: Arc<str> = name.into();
        let topic = Topic {
            name: name.clone(),
            incarnation: self.incarnations,
            sequencer: Sequencer::default(),
            subscribers: Map::default(),
        };
        self.topics.insert(name.clone(), topic);
        self.metrics.topics.fetch_add(1, Relaxed);
        name
    }

    fn drive(
        &mut self,
        name: &str,
        incarnation: Option<u64>,
        step: impl FnOnce(&mut Sequencer, &mut Vec<Effect>),
    ) -> Wishes {
        let mut wishes = Wishes::default();
        if let Some(topic) = self.topics.get_mut(name)
            && incarnation.is_none_or(|incarnation| incarnation == topic.incarnation)
        {
            let mut effects = Vec::new();
            step(&mut topic.sequencer, &mut effects);
            topic.apply(effects, &mut wishes, &self.metrics);
        }
        wishes
    }
}

impl Topic {
    fn apply(&mut self, effects: Vec<Effect>, wishes: &mut Wishes, metrics: &Metrics) {
        let now = Instant::now();
        let mut replayed: Map<u64, Arc<EncodedEvent>> = Map::default();
        for effect in effects {
            match effect {
                Effect::Read { ticket, after } => {
                    wishes.reads.push(Read {
                        topic: self.name.clone(),
                        incarnation: self.incarnation,
                        ticket,
                        after,
                    });
                }
                Effect::Live { position, body } => self.deliver(position, body, now, metrics),
                Effect::Gap { position, reason } => {
                    let frame = ServerFrame::Gap {
                        topic: &self.name,
                        position: &position,
                        reason,
                    };
                    self.subscribers
                        .values()
                        .filter(|subscriber| subscriber.live)
                        .for_each(|subscriber| subscriber.outbox.frame(&frame, now));
                }
                Effect::Subscribed {
                    subscriber,
                    position,
                    missed,
                } => self.go_live(subscriber, &position, missed, now),
                Effect::Replay {
                    subscriber,
                    position,
                    body,
                } => {
                    let fresh =
                        || Arc::new(EncodedEvent::new(self.name.clone(), position.clone(), body));
                    let event = replayed.entry(position.offset).or_insert_with(fresh);
                    if let Some(subscriber) = self.subscribers.get(&subscriber) {
                        subscriber.outbox.event(event, now);
                        count(&metrics.events_delivered);
                    }
                }
            }
        }
    }

    fn deliver(&self, position: Position, body: Bytes, now: Instant, metrics: &Metrics) {
        let event = Arc::new(EncodedEvent::new(self.name.clone(), position, body));
        let mut delivered = 0;
        for subscriber in self
            .subscribers
            .values()
            .filter(|subscriber| subscriber.live)
        {
            subscriber.outbox.event(&event, now);
            delivered += 1;
        }
        metrics.events_delivered.fetch_add(delivered, Relaxed);
    }

    fn go_live(
        &mut self,
        subscriber: u64,
        position: &Position,
        missed: Option<NotRecovered>,
        now: Instant,
    ) {
        if let Some(subscriber) = self.subscribers.get_mut(&subscriber) {
            subscriber.live = true;
            let frame = ServerFrame::Subscribed {
                topic: &self.name,
                position,
                recovered: missed.is_none(),
                reason: missed,
            };
            subscriber.outbox.frame(&frame, now);
        }
    }
}

fn parse_message(payload: &Bytes) -> Option<(&str, BusEvent)> {
    let first = payload.iter().position(|byte| *byte == b' ')?;
    let after_first = payload.get(first.checked_add(1)?..)?;
    let second = after_first.iter().position(|byte| *byte == b' ')?;
    let epoch = std::str::from_utf8(payload.get(..first)?).ok()?;
    let offset = std::str::from_utf8(after_first.get(..second)?)
        .ok()?
        .parse()
        .ok()?;
    let body = payload.slice_ref(after_first.get(second.checked_add(1)?..)?);
    Some((epoch, BusEvent { offset, body }))
}
