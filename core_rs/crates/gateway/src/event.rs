//! One event on its way to many: encoded once per encoding, on first need, and shared by reference.
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_websockets::Message;

use crate::protocol::{Encoding, Position};

/// An event of a topic with its place in it.
pub struct EncodedEvent {
    /// The topic, whole.
    pub topic: Arc<str>,
    /// Where it stands.
    pub position: Position,
    body: Bytes,
    json: OnceLock<Message>,
    msgpack: OnceLock<Message>,
}

#[derive(Serialize)]
struct Frame<'a, Body> {
    r#type: &'static str,
    topic: &'a str,
    position: &'a Position,
    event: Body,
}

impl EncodedEvent {
    /// Nothing is encoded yet.
    #[must_use]
    pub fn new(topic: Arc<str>, position: Position, body: Bytes) -> Self {
        Self {
            topic,
            position,
            body,
            json: OnceLock::new(),
            msgpack: OnceLock::new(),
        }
    }

    /// The frame; its bytes are shared. A body that isn't JSON becomes `null`: the place in the order must stay filled.
    #[must_use]
    pub fn message(&self, encoding: Encoding) -> Message {
        match encoding {
            Encoding::Json => self.json.get_or_init(|| self.encode_json()).clone(),
            Encoding::Msgpack => self.msgpack.get_or_init(|| self.encode_msgpack()).clone(),
        }
    }

    /// Bytes that the event takes in a queue, about.
    #[must_use]
    pub fn queue_bytes(&self) -> usize {
        self.body
            .len()
            .saturating_add(self.topic.len())
            .saturating_add(128)
    }

    fn frame<Body>(&self, event: Body) -> Frame<'_, Body> {
        Frame {
            r#type: "event",
            topic: &self.topic,
            position: &self.position,
            event,
        }
    }

    fn encode_json(&self) -> Message {
        let body: Option<&RawValue> = serde_json::from_slice(&self.body).ok();
        Encoding::Json.message(serde_json::to_vec(&self.frame(body)).unwrap_or_default())
    }

    fn encode_msgpack(&self) -> Message {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        Encoding::Msgpack.message(rmp_serde::to_vec_named(&self.frame(body)).unwrap_or_default())
    }
}
