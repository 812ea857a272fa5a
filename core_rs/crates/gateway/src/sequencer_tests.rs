//! The sequencer against a model of Redis: whatever happens, and in whatever order, nobody misses an event without being told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
use proptest::prelude::*;

use super::*;

#[path = "sequencer_model.rs"]
mod model;
use model::{Step, World, body};

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_misses_an_event_without_being_told(steps in proptest::collection::vec(anything(), 1..120)) {
        let mut world = World::default();
        world.run(&steps);
        world.settle();
        let end = Position { epoch: world.epoch_name().into(), offset: world.last };
        for client in world.subscribers.values() {
            prop_assert_eq!(client.at.as_ref(), Some(&end), "everybody ends at the end");
        }
    }

    #[test]
    fn what_the_stream_still_has_is_never_reported_as_missing(steps in proptest::collection::vec(harmless(), 1..120)) {
        let mut world = World::default();
        world.run(&steps);
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

#[test]
fn a_message_that_the_read_does_not_confirm_starts_no_second_read() {
    for forged in [Step::Forged(50), Step::Flush] {
        let mut world = live_world();
        world.publish(1);
        world.step(&forged); // an offset that was never given out, or a message of the epoch before
        if matches!(forged, Step::Forged(_)) {
            world.channel.pop_front();
        } else {
            world.step(&Step::BusLost);
            world.step(&Step::BusBack);
            world.step(&Step::Execute);
            world.step(&Step::Answer);
            let (epoch, body) = ("epoch0".to_owned(), Bytes::new());
            world
                .channel
                .push_back((epoch, BusEvent { offset: 1, body }));
        }
        let before = world.reads;
        world.step(&Step::Arrive);
        for _ in 0..5 {
            world.step(&Step::Execute);
            world.step(&Step::Answer);
        }
        assert_eq!(world.reads - before, 1, "{forged:?}");
    }
}

#[test]
fn a_repeated_message_costs_nothing() {
    let mut world = live_world();
    world.publish(2);
    let before = world.reads;
    world.step(&Step::Arrive);
    world.step(&Step::Arrive);
    assert_eq!(world.reads, before);
}
