//! The realtime gateway: sockets on one side, the bus in Redis on the other. It decides nothing, signs nothing and can't open anything;
//! docs/protocols/realtime.md is its contract.
//!
//! Layout, outside in:
//! - `server` threads and listeners, `handshake` HTTP, `place` who may be a connection, `connection` one socket, `session` one conversation, `drain` the end;
//! - `protocol` frames, `event` one event encoded once, `outbox` the bounded queue of one connection;
//! - `hub` the topics of one thread, `sequencer` the order of one topic (pure logic), `shard` one thread's state, `shared` what threads share;
//! - `bus` the link to Redis, `bus_messages` what comes in, `topic_read` refill and replay, `uplink` what locks say, `routes` leases and routes;
//! - `identity` who somebody is, `keys` the keys of tokens, `revocations` what was revoked lately, `cuts` what Redis keeps of it, `locks` who is connected;
//! - `config`, `metrics`, `log`, `clock`, `error`.
//!
//! Not here: Python, the database, permissions, signatures.

mod bus;
mod bus_messages;
mod clock;
mod config;
mod connection;
mod cuts;
mod drain;
mod error;
mod event;
mod handshake;
mod hub;
mod identity;
mod keys;
mod locks;
mod log;
mod metrics;
mod outbox;
mod place;
mod protocol;
mod revocations;
mod routes;
mod sequencer;
mod server;
mod session;
mod shard;
mod shared;
mod topic_read;
mod uplink;

pub use error::GatewayError;
pub use server::run;
