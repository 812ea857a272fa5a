//! Frames as data: what clients may say, what the gateway says, in both encodings. No socket, no state.
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_websockets::Message;

/// A frame from a client may have this many bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// A topic may have this many bytes.
pub const TOPIC_BYTES_MAX: usize = 8 * 1024;
/// Identifiers of commands and processes may have this many bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// A report (base64url of a COSE message of at most 1,024 bytes) may have this many characters.
pub const REPORT_CHARACTERS_MAX: usize = 1_400;

/// How frames are written, chosen by the subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `nexkey.v1.json`, text frames.
    Json,
    /// `nexkey.v1.msgpack`, binary frames.
    Msgpack,
}

impl Encoding {
    /// The encoding of a subprotocol.
    #[must_use]
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        match name {
            "nexkey.v1.json" => Some(Self::Json),
            "nexkey.v1.msgpack" => Some(Self::Msgpack),
            _ => None,
        }
    }

    /// The subprotocol of the encoding.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "nexkey.v1.json",
            Self::Msgpack => "nexkey.v1.msgpack",
        }
    }

    /// A WebSocket message of these bytes.
    #[must_use]
    pub fn message(self, bytes: Vec<u8>) -> Message {
        match self {
            Self::Json => Message::text(Bytes::from(bytes)),
            Self::Msgpack => Message::binary(Bytes::from(bytes)),
        }
    }
}

/// A place in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Changes when Redis was emptied or restarted.
    pub epoch: Arc<str>,
    /// Counts from 1 without holes.
    pub offset: u64,
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotRecovered {
    /// The client named no position.
    NoPosition,
    /// The position is of another life of Redis.
    EpochChanged,
    /// The stream no longer reaches back that far.
    TooOld,
    /// More than a replay may carry.
    TooMany,
    /// The connection didn't read fast enough.
    SlowConsumer,
}

/// What a client said, with everything bounded.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// The first frame, and again to prolong.
    Authenticate { token: String },
    /// Wants a topic.
    Subscribe {
        topic: String,
        position: Option<Position>,
    },
    /// Wants it no more.
    Unsubscribe { topic: String },
    /// A lock has a command in its hands.
    Received { command: String },
    /// A lock reports, signed.
    Report {
        number: u64,
        command: Option<String>,
        report: String,
    },
    /// Asks for a pong.
    Ping,
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Not the encoding, a field missing, of the wrong type or too long.
    Malformed,
    /// No such `type`.
    TypeUnknown,
}

#[derive(Deserialize)]
struct RawFrame {
    #[serde(rename = "type")]
    kind: String,
    token: Option<String>,
    topic: Option<String>,
    position: Option<Position>,
    command: Option<String>,
    number: Option<u64>,
    report: Option<String>,
}

impl ClientFrame {
    /// Reads a frame of at most `FRAME_BYTES_MAX` bytes.
    ///
    /// # Errors
    /// `FrameError`, and nothing has happened.
    pub fn decode(encoding: Encoding, bytes: &[u8]) -> Result<Self, FrameError> {
        let raw: RawFrame = match encoding {
            Encoding::Json => serde_json::from_slice(bytes).map_err(|_| FrameError::Malformed)?,
            Encoding::Msgpack => rmp_serde::from_slice(bytes).map_err(|_| FrameError::Malformed)?,
        };
        match raw.kind.as_str() {
            "authenticate" => Ok(Self::Authenticate {
                token: raw.token.ok_or(FrameError::Malformed)?,
            }),
            "subscribe" => Ok(Self::Subscribe {
                topic: bounded(raw.topic, TOPIC_BYTES_MAX)?,
                position: raw.position,
            }),
            "unsubscribe" => Ok(Self::Unsubscribe {
                topic: bounded(raw.topic, TOPIC_BYTES_MAX)?,
            }),
            "received" => Ok(Self::Received {
                command: bounded(raw.command, NAME_BYTES_MAX)?,
            }),
            "report" => Ok(Self::Report {
                number: raw.number.ok_or(FrameError::Malformed)?,
                command: raw
                    .command
                    .map(|command| bounded(Some(command), NAME_BYTES_MAX))
                    .transpose()?,
                report: bounded(raw.report, REPORT_CHARACTERS_MAX)?,
            }),
            "ping" => Ok(Self::Ping),
            _ => Err(FrameError::TypeUnknown),
        }
    }
}

fn bounded(text: Option<String>, bytes_max: usize) -> Result<String, FrameError> {
    text.filter(|text| !text.is_empty() && text.len() <= bytes_max)
        .ok_or(FrameError::Malformed)
}

/// What the gateway says, except events, which are encoded once for everybody (`event.rs`).
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ServerFrame<'a> {
    Authenticated {
        subject: &'a str,
        kind: &'a str,
        expires_at: i64,
        connection: &'a str,
    },
    Subscribed {
        topic: &'a str,
        position: &'a Position,
        recovered: bool,
        reason: Option<NotRecovered>,
    },
    Unsubscribed {
        topic: &'a str,
    },
    Gap {
        topic: &'a str,
        position: &'a Position,
        reason: NotRecovered,
    },
    Command {
        command: &'a str,
        message: &'a str,
        expires_at: i64,
    },
    Stored {
        number: u64,
    },
    AskHold,
    Pong,
    Error {
        code: &'a str,
        detail: &'a str,
    },
}

impl ServerFrame<'_> {
    /// The frame on the wire. None can't happen for these types; the frame is left out then.
    #[must_use]
    pub fn encode(&self, encoding: Encoding) -> Option<Message> {
        let bytes = match encoding {
            Encoding::Json => serde_json::to_vec(self).ok()?,
            Encoding::Msgpack => rmp_serde::to_vec_named(self).ok()?,
        };
        Some(encoding.message(bytes))
    }
}

/// Why the gateway ends a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// No `authenticate` in time.
    AuthenticationTimeout,
    /// The token was refused, with the code of the refusal.
    AuthenticationFailed(&'static str),
    /// The token ran out and wasn't renewed.
    AuthenticationExpired,
    /// The subject's tokens were revoked.
    AccessRevoked,
    /// The first frame was something else, or the frames weren't WebSocket messages of the chosen encoding.
    ProtocolError,
    /// The client doesn't read.
    SlowConsumer,
    /// The gateway goes away.
    Draining { reconnect_after_ms: u64 },
    /// Redis is away, and with it every word of a revoke.
    BusUnavailable,
    /// More than `FRAME_BYTES_MAX`.
    FrameTooLarge,
    /// The same lock connected again.
    Replaced,
    /// Nothing was heard for too long.
    Silence,
}

impl Close {
    /// The close code and reason of the protocol.
    #[must_use]
    pub fn code_and_reason(&self) -> (u16, String) {
        match self {
            Self::AuthenticationTimeout => (4001, "authentication_timeout".into()),
            Self::AuthenticationFailed(code) => (4002, format!("authentication_failed {code}")),
            Self::AuthenticationExpired => (4003, "authentication_expired".into()),
            Self::AccessRevoked => (4004, "access_revoked".into()),
            Self::ProtocolError => (4005, "protocol_error".into()),
            Self::SlowConsumer => (4006, "slow_consumer".into()),
            Self::Draining { reconnect_after_ms } => (
                4007,
                format!("draining reconnect_after_ms={reconnect_after_ms}"),
            ),
            Self::BusUnavailable => (4008, "bus_unavailable".into()),
            Self::FrameTooLarge => (4009, "frame_too_large".into()),
            Self::Replaced => (4010, "replaced".into()),
            Self::Silence => (1001, "silence".into()),
        }
    }
}

/// Is it an identifier of the documents (`[a-z0-9_-]{1,64}`)? Nothing else may become part of a key.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
        })
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
