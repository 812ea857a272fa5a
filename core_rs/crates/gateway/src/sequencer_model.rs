//! A model of Redis around one sequencer, and of clients that believe nothing: what the property tests drive.
use std::collections::{BTreeMap, VecDeque};

use super::super::*;

#[derive(Clone, Debug)]
pub enum Step {
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

#[derive(Default)]
pub struct World {
    pub epoch: u64,
    pub last: u64,
    pub stream: BTreeMap<u64, Bytes>,
    pub channel: VecDeque<(String, BusEvent)>,
    pub connected: bool,
    pub sequencer: Sequencer,
    pub wanted: Option<(u64, u64)>,
    pub executed: Option<(u64, Snapshot)>,
    pub subscribers: BTreeMap<u64, Client>,
    pub next_subscriber: u64,
    pub gaps: usize,
    pub not_recovered: usize,
    pub reads: usize,
}

pub struct Client {
    pub asked: Option<Position>,
    pub at: Option<Position>,
}

pub fn body(epoch: &str, offset: u64) -> Bytes {
    format!("{epoch}:{offset}").into()
}

impl World {
    pub fn epoch_name(&self) -> String {
        format!("epoch{}", self.epoch)
    }

    pub fn publish(&mut self, copies: usize) {
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

    pub fn step(&mut self, step: &Step) {
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
            Step::BusLost => self.lose_bus(),
            Step::BusBack => self.find_bus(&mut effects),
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

    fn lose_bus(&mut self) {
        (self.connected, self.wanted, self.executed) = (false, None, None);
        self.channel.clear();
        self.sequencer.bus_lost();
    }

    fn find_bus(&mut self, effects: &mut Vec<Effect>) {
        if !self.connected {
            self.connected = true;
            self.sequencer.channel_ready(effects);
        }
    }

    /// One step after the other.
    pub fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    pub fn subscribe(&mut self, position: Option<Position>, effects: &mut Vec<Effect>) {
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

    pub fn execute(&mut self) {
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

    pub fn check(&mut self, effects: Vec<Effect>) {
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
    pub fn settle(&mut self) {
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
    pub fn gets(&mut self, position: &Position, text: &Bytes, live: bool) {
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
