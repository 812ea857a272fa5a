//! Presence on the bus: one lease per gateway, and which gateway holds which lock. One task of one thread writes all of it, so that a
//! lock that goes and comes back quickly ends up with the route that is true. A route is removed only if it still names this gateway.
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;

use crate::identity::SubjectKey;
use crate::locks::Locks;

const ROUTES_KEY: &str = "nk:routes";
const LEASE_MS: u64 = 3_000;
const LEASE_EVERY: Duration = Duration::from_secs(1);
/// Every so many leases, routes that are missing are written again: another gateway may have removed or taken one for a connection that was dead.
const LEASES_PER_REPAIR: u64 = 10;
const BATCH_ROUTES_MAX: usize = 256;

/// KEYS: routes. ARGV: field, this gateway, organization, lock. Tells the gateway that had the lock before.
const TAKE: &str = r"
local before = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if before and before ~= ARGV[2] then
  redis.call('PUBLISH', 'nk:gateway:' .. before, cjson.encode({type = 'replaced', org = ARGV[3], lock = ARGV[4]}))
end
return 1
";
const REMOVE: &str = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end return 0";

/// Locks whose route has to be looked at.
#[derive(Default)]
pub struct Routes {
    changed: Mutex<HashMap<SubjectKey, (), foldhash::fast::RandomState>>,
    wake: Notify,
}

impl Routes {
    /// A lock came or went.
    pub fn changed(&self, key: SubjectKey) {
        self.lock().insert(key, ());
        self.wake.notify_one();
    }

    fn take(&self) -> Vec<SubjectKey> {
        self.lock().drain().map(|(key, ())| key).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SubjectKey, (), foldhash::fast::RandomState>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes leases and routes until the bus fails.
///
/// # Errors
/// Those of Redis.
pub async fn run(
    connection: &mut MultiplexedConnection,
    gateway: &str,
    locks: &Locks,
    routes: &Routes,
) -> RedisResult<()> {
    lease(connection, gateway).await?;
    write_all(connection, gateway, &locks.keys(), "HSET").await?;
    flush(connection, gateway, locks, routes).await?;
    let mut ticks = tokio::time::interval(LEASE_EVERY);
    let mut leases = 0_u64;
    loop {
        tokio::select! {
            () = routes.wake.notified() => flush(connection, gateway, locks, routes).await?,
            _ = ticks.tick() => {
                lease(connection, gateway).await?;
                leases = leases.wrapping_add(1);
                if leases.is_multiple_of(LEASES_PER_REPAIR) {
                    write_all(connection, gateway, &locks.keys(), "HSETNX").await?;
                }
            }
        }
    }
}

/// Writes the routes that changed, as they are now.
///
/// # Errors
/// Those of Redis; what isn't written is kept for the time when the bus is back.
pub async fn flush(
    connection: &mut MultiplexedConnection,
    gateway: &str,
    locks: &Locks,
    routes: &Routes,
) -> RedisResult<()> {
    let changed = routes.take();
    let mut batches = changed.chunks(BATCH_ROUTES_MAX);
    while let Some(batch) = batches.next() {
        let mut pipeline = redis::pipe();
        for key in batch {
            let script = if locks.holds(key) { TAKE } else { REMOVE };
            pipeline
                .cmd("EVAL")
                .arg(script)
                .arg(1)
                .arg(ROUTES_KEY)
                .arg(field(key))
                .arg(gateway);
            pipeline.arg(&*key.organization).arg(&*key.subject).ignore();
        }
        let written: RedisResult<()> = pipeline.query_async(connection).await;
        if let Err(error) = written {
            batch
                .iter()
                .chain(batches.flatten())
                .for_each(|key| routes.changed(key.clone()));
            return Err(error);
        }
    }
    Ok(())
}

/// Gives the lease back: nothing is sent here any more.
///
/// # Errors
/// Those of Redis; the lease runs out then.
pub async fn release(connection: &mut MultiplexedConnection, gateway: &str) -> RedisResult<()> {
    redis::cmd("DEL")
        .arg(lease_key(gateway))
        .query_async(connection)
        .await
}

async fn lease(connection: &mut MultiplexedConnection, gateway: &str) -> RedisResult<()> {
    redis::cmd("SET")
        .arg(lease_key(gateway))
        .arg("1")
        .arg("PX")
        .arg(LEASE_MS)
        .query_async(connection)
        .await
}

async fn write_all(
    connection: &mut MultiplexedConnection,
    gateway: &str,
    keys: &[SubjectKey],
    command: &str,
) -> RedisResult<()> {
    for batch in keys.chunks(BATCH_ROUTES_MAX) {
        let mut pipeline = redis::pipe();
        for key in batch {
            pipeline
                .cmd(command)
                .arg(ROUTES_KEY)
                .arg(field(key))
                .arg(gateway)
                .ignore();
        }
        let () = pipeline.query_async(connection).await?;
    }
    Ok(())
}

fn lease_key(gateway: &str) -> String {
    format!("nk:gateway:{gateway}")
}

/// Identifiers have no `/`, so this is one field per lock.
fn field(key: &SubjectKey) -> String {
    format!("{}/{}", key.organization, key.subject)
}
