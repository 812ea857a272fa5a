//! The outgoing queue: what may be given up, how that is told, and when the connection ends.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use serde_json::{Value, json};

use super::*;

fn event(topic: &str, offset: u64, bytes: usize) -> Arc<EncodedEvent> {
    let body = format!("\"{}\"", "x".repeat(bytes));
    let position = Position {
        epoch: "epoch".into(),
        offset,
    };
    Arc::new(EncodedEvent::new(topic.into(), position, body.into()))
}

fn drained(outbox: &Outbox) -> Vec<Value> {
    let messages = std::iter::from_fn(|| outbox.next());
    messages
        .map(|message| serde_json::from_slice(message.as_payload()).unwrap())
        .collect()
}

fn fill(outbox: &Outbox, topic: &str, now: Instant) {
    (1..=5).for_each(|offset| outbox.event(&event(topic, offset, QUEUE_BYTES_MAX / 4), now));
}

#[test]
fn an_overflow_becomes_one_gap_per_topic_and_loses_no_command() {
    let (outbox, now) = (Outbox::new(Encoding::Json), Instant::now());
    outbox.frame(&ServerFrame::Stored { number: 7 }, now);
    outbox.event(&event("other", 41, 10), now);
    outbox.event(&event("other", 42, 10), now);
    fill(&outbox, "topic", now);
    assert_eq!(outbox.closing(), None);
    let frames = drained(&outbox);
    let told: Vec<_> = frames
        .iter()
        .map(|frame| (frame["type"].clone(), frame["position"]["offset"].clone()))
        .collect();
    let expected = [
        ("stored", json!(null)),
        ("gap", json!(42)),
        ("gap", json!(4)),
        ("event", json!(5)),
    ];
    assert_eq!(told, expected.map(|(kind, offset)| (json!(kind), offset)));
    assert_eq!(frames[1]["reason"], "slow_consumer");
}

#[test]
fn a_second_overflow_soon_after_ends_the_connection_and_a_late_one_is_forgiven() {
    for (later, close) in [
        (Duration::from_secs(59), Some(Close::SlowConsumer)),
        (Duration::from_secs(61), None),
    ] {
        let (outbox, now) = (Outbox::new(Encoding::Json), Instant::now());
        fill(&outbox, "topic", now);
        drained(&outbox);
        fill(&outbox, "topic", now + later);
        assert_eq!(outbox.closing(), close);
        let gaps = drained(&outbox)
            .iter()
            .filter(|frame| frame["type"] == "gap")
            .count();
        assert_eq!(gaps, usize::from(close.is_none()), "a close says enough");
    }
}

#[test]
fn ten_seconds_behind_is_an_overflow_too() {
    let (outbox, now) = (Outbox::new(Encoding::Json), Instant::now());
    assert_eq!(outbox.behind_at(), None);
    outbox.event(&event("topic", 1, 10), now);
    assert_eq!(outbox.behind_at(), Some(now + BEHIND_MAX));
    outbox.behind(now + BEHIND_MAX);
    assert_eq!(outbox.closing(), None);
    outbox.behind(now + BEHIND_MAX * 2);
    assert_eq!(outbox.closing(), Some(Close::SlowConsumer));
}

#[test]
fn a_lock_that_reads_nothing_is_closed_and_its_commands_are_still_there() {
    let (outbox, now) = (Outbox::new(Encoding::Json), Instant::now());
    let message = "m".repeat(4_000);
    let mut sent = 0;
    while outbox.closing().is_none() {
        outbox.frame(
            &ServerFrame::Command {
                command: "c",
                message: &message,
                expires_at: 0,
            },
            now,
        );
        sent += 1;
    }
    assert_eq!(outbox.closing(), Some(Close::SlowConsumer));
    assert_eq!(drained(&outbox).len(), sent);
}

#[test]
fn the_first_reason_to_close_stands_and_nothing_is_queued_after_it() {
    let outbox = Outbox::new(Encoding::Json);
    outbox.close(Close::AccessRevoked);
    outbox.close(Close::Replaced);
    outbox.event(&event("topic", 1, 10), Instant::now());
    assert_eq!(outbox.closing(), Some(Close::AccessRevoked));
    assert!(drained(&outbox).is_empty());
}

#[test]
fn a_gap_stands_where_the_events_stood() {
    let (outbox, now) = (Outbox::new(Encoding::Json), Instant::now());
    outbox.event(&event("topic", 5, 10), now);
    let position = Position {
        epoch: "epoch".into(),
        offset: 10,
    };
    let subscribed = ServerFrame::Subscribed {
        topic: "topic",
        position: &position,
        recovered: false,
        reason: None,
    };
    outbox.frame(&subscribed, now);
    outbox.behind(now);
    let frames = drained(&outbox);
    assert_eq!(
        (&frames[0]["type"], &frames[0]["position"]["offset"]),
        (&json!("gap"), &json!(5))
    );
    assert_eq!(
        (&frames[1]["type"], &frames[1]["position"]["offset"]),
        (&json!("subscribed"), &json!(10))
    );
}
