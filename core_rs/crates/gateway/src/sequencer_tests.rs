//! The sequencer against a model of Redis: whatever happens, and in whatever order, nobody misses an event without being told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Publish,
    PublishLost,
    PublishTwice,
    Trim(u64),
    Delete(u64),
    Flush,
    Arrive,
    Subscribe(Option<u64>),
    SubscribeForeign(u64),
    Leave(u64),
    Execute,
    Answer,
    BusLost,
    BusBack,
    Forged(u64),
}

/// Steps that lose nothing for good.
fn harmless() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Publish),
        2 => Just(Step::PublishLost),
        2 => Just(Step::PublishTwice),
        8 => Just(Step::Arrive),
        2 => proptest::option::of(0..12_u64).prop_map(Step::Subscribe),
        1 => (0..6_u64).prop_map(Step::Leave),
        5 => Just(Step::Execute),
        5 => Just(Step::Answer),
        1 => Just(Step::BusLost),
        2 => Just(Step::BusBack),
    ]
}

fn anything() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => harmless(),
        1 => (1..8_u64).prop_map(Step::Trim),
        1 => (1..12_u64).prop_map(Step::Delete),
        1 => Just(Step::Flush),
        1 => (0..12_u64).prop_map(Step::SubscribeForeign),
        1 => (5..500_u64).prop_map(Step::Forged),
    ]
}

#[derive(Default)]
struct World {
    epoch: u64,
    last: u64,
    stream: BTreeMap<u64, Bytes>,
    channel: VecDeque<(String, BusEvent)>,
    connected: bool,
    sequencer: Sequencer,
    wanted: Option<(u64, u64)>,
    executed: Option<(u64, Snapshot)>,
    subscribers: BTreeMap<u64, Client>,
    next_subscriber: u64,
    gaps: usize,
    not_recovered: usize,
    reads: usize,
}

struct Client {
    asked: Option<Position>,
    at: Option<Position>,
}

fn body(epoch: &str, offset: u64) -> Bytes {
    format!("{epoch}:{offset}").into()
}

impl World {
    fn epoch_name(&self) -> String {
        format!("epoch{}", self.epoch)
    }

    fn publish(&mut self, copies: usize) {
        self.last += 1;
        let epoch = self.epoch_name();
        let event = BusEvent {
            offset: self.last,
            body: body(&epoch, self.last),
        };
        self.stream.insert(self.last, event.body.clone());
        if self.connected {
            self.channel
                .extend(std::iter::repeat_n((epoch, event), copies));
        }
    }

    fn step(&mut self, step: &Step) {
        let mut effects = Vec::new();
        match step {
            Step::Publish => self.publish(1),
            Step::PublishLost => self.publish(0),
            Step::PublishTwice => self.publish(2),
            Step::Trim(keep) => self.stream.retain(|offset, _| offset + keep > self.last),
            Step::Delete(back) => drop(self.stream.remove(&self.last.saturating_sub(*back))),
            Step::Flush => {
                (self.epoch, self.last) = (self.epoch + 1, 0);
                self.stream.clear();
            }
            Step::Arrive => {
                if let Some((epoch, event)) = self.channel.pop_front() {
                    self.sequencer.live(&epoch, event, &mut effects);
                }
            }
            Step::Subscribe(back) => {
                let epoch = self.epoch_name();
                let position = back.map(|back| Position {
                    epoch: epoch.into(),
                    offset: self.last.saturating_sub(back),
                });
                self.subscribe(position, &mut effects);
            }
            Step::SubscribeForeign(offset) => {
                self.subscribe(
                    Some(Position {
                        epoch: "another".into(),
                        offset: *offset,
                    }),
                    &mut effects,
                );
            }
            Step::Leave(subscriber) => {
                self.subscribers.remove(subscriber);
                self.sequencer.leave(*subscriber);
            }
            Step::Execute => self.execute(),
            Step::Answer => {
                if let Some((ticket, snapshot)) = self.executed.take() {
                    self.sequencer.snapshot(ticket, &snapshot, &mut effects);
                }
            }
            Step::BusLost => {
                (self.connected, self.wanted, self.executed) = (false, None, None);
                self.channel.clear();
                self.sequencer.bus_lost();
            }
            Step::BusBack => {
                if !self.connected {
                    self.connected = true;
                    self.sequencer.channel_ready(&mut effects);
                }
            }
            Step::Forged(offset) => {
                if self.connected {
                    let event = BusEvent {
                        offset: self.last + offset,
                        body: Bytes::new(),
                    };
                    self.channel.push_back((self.epoch_name(), event));
                }
            }
        }
        self.check(effects);
    }

    fn subscribe(&mut self, position: Option<Position>, effects: &mut Vec<Effect>) {
        let subscriber = self.next_subscriber;
        self.next_subscriber += 1;
        self.subscribers.insert(
            subscriber,
            Client {
                asked: position.clone(),
                at: None,
            },
        );
        self.sequencer.subscribe(subscriber, position, effects);
    }

    fn execute(&mut self) {
        if let Some((ticket, after)) = self.wanted.take() {
            let newer = self.stream.iter().filter(|(offset, _)| **offset > after);
            let events = newer
                .map(|(offset, body)| BusEvent {
                    offset: *offset,
                    body: body.clone(),
                })
                .collect();
            let snapshot = Snapshot {
                epoch: self.epoch_name().into(),
                last: self.last,
                events,
                truncated: false,
            };
            self.executed = Some((ticket, snapshot));
        }
    }

    fn check(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Read { ticket, after } => {
                    assert!(
                        self.wanted.is_none() && self.executed.is_none(),
                        "one read at a time, for all waiters"
                    );
                    self.wanted = Some((ticket, after));
                    self.reads += 1;
                }
                Effect::Live { position, body } => {
                    self.subscribers
                        .values_mut()
                        .for_each(|client| client.gets(&position, &body, true));
                }
                Effect::Replay {
                    subscriber,
                    position,
                    body,
                } => {
                    if let Some(client) = self.subscribers.get_mut(&subscriber) {
                        assert!(client.at.is_some(), "an event before `subscribed`");
                        client.gets(&position, &body, false);
                    }
                }
                Effect::Gap { position, .. } => {
                    self.gaps += 1;
                    let live = self
                        .subscribers
                        .values_mut()
                        .filter(|client| client.at.is_some());
                    live.for_each(|client| client.at = Some(position.clone()));
                }
                Effect::Subscribed {
                    subscriber,
                    position,
                    missed,
                } => {
                    let client = self.subscribers.get_mut(&subscriber).unwrap();
                    assert!(client.at.is_none(), "subscribed twice");
                    match missed {
                        None => assert_eq!(
                            client.asked.as_ref(),
                            Some(&position),
                            "recovered means: from where it asked"
                        ),
                        Some(NotRecovered::NoPosition) => assert!(client.asked.is_none()),
                        Some(_) => self.not_recovered += 1,
                    }
                    client.at = Some(position);
                }
            }
        }
    }

    /// Everything that is under way arrives, and the bus is lost and found once, which is when lost tails are noticed.
    fn settle(&mut self) {
        self.step(&Step::BusLost);
        self.step(&Step::BusBack);
        for _ in 0..20 {
            self.step(&Step::Execute);
            self.step(&Step::Answer);
            self.step(&Step::Arrive);
        }
        assert!(self.wanted.is_none(), "reads without end");
    }
}

impl Client {
    fn gets(&mut self, position: &Position, text: &Bytes, live: bool) {
        let Some(at) = &mut self.at else {
            assert!(live, "replay to somebody who isn't subscribed");
            return;
        };
        assert_eq!(
            (&at.epoch, at.offset + 1),
            (&position.epoch, position.offset),
            "a hole, a repetition or another epoch"
        );
        assert_eq!(
            text,
            &body(&position.epoch, position.offset),
            "another event in its place"
        );
        *at = position.clone();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_misses_an_event_without_being_told(steps in proptest::collection::vec(anything(), 1..120)) {
        let mut world = World::default();
        steps.iter().for_each(|step| world.step(step));
        world.settle();
        let end = Position { epoch: world.epoch_name().into(), offset: world.last };
        for client in world.subscribers.values() {
            prop_assert_eq!(client.at.as_ref(), Some(&end), "everybody ends at the end");
        }
    }

    #[test]
    fn what_the_stream_still_has_is_never_reported_as_missing(steps in proptest::collection::vec(harmless(), 1..120)) {
        let mut world = World::default();
        steps.iter().for_each(|step| world.step(step));
        world.settle();
        prop_assert_eq!((world.gaps, world.not_recovered), (0, 0));
    }
}

fn live_world() -> World {
    let mut world = World::default();
    world.step(&Step::BusBack);
    world.step(&Step::Subscribe(None));
    world.step(&Step::Execute);
    world.step(&Step::Answer);
    world
}

#[test]
fn one_read_serves_all_waiters() {
    let mut world = live_world();
    (0..5).for_each(|_| world.publish(1));
    (0..5).for_each(|_| world.step(&Step::Arrive));
    let before = world.reads;
    (1..=4).for_each(|back| world.step(&Step::Subscribe(Some(back))));
    world.step(&Step::Execute);
    world.step(&Step::Answer);
    world.step(&Step::Execute);
    world.step(&Step::Answer);
    assert_eq!(
        world.reads - before,
        2,
        "one for the first, one for all who came while it was under way"
    );
    assert!(world.subscribers.values().all(|client| client.at.is_some()));
}

#[test]
fn messages_that_arrive_during_a_read_are_bounded_and_read_again() {
    let mut world = live_world();
    world.step(&Step::Subscribe(Some(3)));
    world.step(&Step::PublishLost);
    world.step(&Step::Publish);
    world.step(&Step::Arrive); // a hole: a read is under way
    world.step(&Step::Execute);
    for _ in 0..HELD_MESSAGES_MAX + 10 {
        world.step(&Step::Publish);
        world.step(&Step::Arrive);
    }
    assert_eq!(world.sequencer.held.len(), HELD_MESSAGES_MAX);
    world.step(&Step::Answer);
    world.step(&Step::Execute);
    world.step(&Step::Answer);
    world.settle();
    assert_eq!(world.gaps, 0);
}

#[test]
fn reasons_are_told_apart() {
    let events = (51..=60)
        .map(|offset| BusEvent {
            offset,
            body: body("epoch", offset),
        })
        .collect();
    let mut snapshot = Snapshot {
        epoch: "epoch".into(),
        last: 60,
        events,
        truncated: false,
    };
    let at = |epoch: &str, offset| Position {
        epoch: epoch.into(),
        offset,
    };
    let missed =
        |snapshot: &Snapshot, position| Coverage::of(snapshot).missed(snapshot, Some(&position));
    assert_eq!(missed(&snapshot, at("epoch", 50)), None);
    assert_eq!(missed(&snapshot, at("epoch", 60)), None);
    assert_eq!(
        missed(&snapshot, at("epoch", 49)),
        Some(NotRecovered::TooOld)
    );
    assert_eq!(
        missed(&snapshot, at("epoch", 61)),
        Some(NotRecovered::EpochChanged)
    );
    assert_eq!(
        missed(&snapshot, at("other", 55)),
        Some(NotRecovered::EpochChanged)
    );
    snapshot.truncated = true;
    assert_eq!(
        missed(&snapshot, at("epoch", 49)),
        Some(NotRecovered::TooMany)
    );
    snapshot.events.remove(4);
    assert_eq!(
        missed(&snapshot, at("epoch", 54)),
        Some(NotRecovered::TooMany)
    );
    assert_eq!(missed(&snapshot, at("epoch", 55)), None);
}
