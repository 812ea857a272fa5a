//! What comes in on the channels: events of topics, revokes, and what is meant for the locks of this gateway.
use std::rc::Rc;

use bytes::Bytes;
use serde::Deserialize;

use crate::clock;
use crate::identity::SubjectKey;
use crate::locks::Command;
use crate::metrics::count;
use crate::protocol::NAME_BYTES_MAX;
use crate::shard::Shard;

/// In front of a topic.
pub const TOPIC_CHANNEL: &str = "nk:topic:";
const CONTROL_CHANNEL: &str = "nk:control";
/// In front of a gateway's name.
const GATEWAY_CHANNEL: &str = "nk:gateway:";

/// A lock's whole frame stays below what a lock may be asked to read.
const COMMAND_CHARACTERS_MAX: usize = 4_096;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Control {
    Revoked {
        org: String,
        subject: String,
        revision: u64,
    },
    OrganizationSuspended {
        org: String,
        revision: u64,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ForGateway {
    Command {
        org: String,
        lock: String,
        command: String,
        reply_to: String,
        message: String,
        expires_at: i64,
    },
    Stored {
        org: String,
        lock: String,
        number: u64,
    },
    AskHold {
        org: String,
        lock: String,
    },
    Replaced {
        org: String,
        lock: String,
    },
}

/// The channels of the thread itself. Commands are the first thread's work, for the locks of all threads.
#[must_use]
pub fn own_channels(shard: &Shard) -> Vec<String> {
    let mut channels = vec![CONTROL_CHANNEL.to_owned()];
    if shard.index == 0 {
        channels.push(format!(
            "{GATEWAY_CHANNEL}{}",
            shard.shared.config.gateway_id
        ));
    }
    channels
}

/// Handles one message. What isn't of the expected form is dropped: nothing here may be forced by bad input.
pub fn handle(shard: &Rc<Shard>, channel: &str, payload: &Bytes) {
    if let Some(topic) = channel.strip_prefix(TOPIC_CHANNEL) {
        let wishes = shard.hub.borrow_mut().message(topic, payload);
        shard.wish(wishes);
    } else if channel == CONTROL_CHANNEL {
        control(shard, payload);
    } else if let Ok(message) = serde_json::from_slice(payload) {
        for_gateway(shard, message);
    }
}

/// A word of a revoke, from the channel or from the stream that keeps it.
pub fn control(shard: &Shard, payload: &[u8]) {
    match serde_json::from_slice(payload) {
        Ok(Control::Revoked {
            org,
            subject,
            revision,
        }) => shard.hear_revoke(&org, &subject, revision),
        Ok(Control::OrganizationSuspended { org, revision }) => {
            shard.hear_suspension(&org, revision);
        }
        Err(_) => {}
    }
}

fn for_gateway(shard: &Shard, message: ForGateway) {
    let locks = &shard.shared.locks;
    match message {
        ForGateway::Command {
            org,
            lock,
            command,
            reply_to,
            message,
            expires_at,
        } => {
            if command.len() > NAME_BYTES_MAX
                || reply_to.len() > NAME_BYTES_MAX
                || message.len() > COMMAND_CHARACTERS_MAX
            {
                return;
            }
            let key = key(&org, &lock);
            let command = Command {
                id: &command,
                reply_to: &reply_to,
                message: &message,
                expires_at_ms: expires_at,
            };
            if locks.command(&key, &command, clock::now_ms()) {
                count(&shard.shared.metrics.commands_delivered);
            } else {
                count(&shard.shared.metrics.commands_without_lock);
                shard.shared.routes.changed(key); // whoever sent it here had a route that isn't true
            }
        }
        ForGateway::Stored { org, lock, number } => locks.stored(&key(&org, &lock), number),
        ForGateway::AskHold { org, lock } => locks.ask_hold(&key(&org, &lock)),
        ForGateway::Replaced { org, lock } => locks.replaced(&key(&org, &lock)),
    }
}

fn key(organization: &str, lock: &str) -> SubjectKey {
    SubjectKey {
        organization: organization.into(),
        subject: lock.into(),
    }
}
