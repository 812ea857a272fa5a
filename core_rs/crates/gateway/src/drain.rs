//! The way out: on a signal nobody new is let in, everybody is asked to go, spread over the time there is, and the routes are taken down.
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::GatewayError;
use crate::protocol::Close;
use crate::shard::Shard;
use crate::shared::Shared;
use crate::{bus, clock, log, routes};

/// A client waits at most this long before it comes back: its disconnection was spread already.
const RECONNECT_SPREAD_MS: u64 = 1_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After the drain's time, closes that are under way get this long.
const GRACE: Duration = Duration::from_secs(2);
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts the drain when the process is told to stop.
///
/// # Errors
/// `GatewayError::Failed` when signals can't be caught.
pub fn on_signal(shared: Arc<Shared>) -> Result<(), GatewayError> {
    let failed = |_| GatewayError::Failed("signals");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::task::spawn_local(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::line("draining", shared.sockets.load(Relaxed) as u64);
        shared.draining.send_replace(true);
    });
    Ok(())
}

/// Asks every connection of this thread to go and waits until all threads' are gone or the time is over.
pub async fn run(shard: &Rc<Shard>) {
    let drain_ms = shard.shared.config.drain_seconds.saturating_mul(1_000);
    let started = Instant::now();
    for outbox in shard.outboxes() {
        // Three quarters of the time are for the closes, the rest for them to be answered.
        let at = started + Duration::from_millis(spread(drain_ms / 4 * 3));
        tokio::task::spawn_local(async move {
            sleep_until(at).await;
            outbox.close(Close::Draining {
                reconnect_after_ms: spread(RECONNECT_SPREAD_MS),
            });
        });
    }
    let end = started + Duration::from_millis(drain_ms) + GRACE;
    while shard.shared.sockets.load(Relaxed) > 0 && Instant::now() < end {
        sleep(LOOK_EVERY).await;
    }
}

/// Takes down the routes and the lease. Without Redis they run out, or are corrected by whoever gets the lock next.
pub async fn last_words(shard: &Shard) {
    if shard.index != 0 {
        return;
    }
    let gateway = &shard.shared;
    let goodbye = async {
        let mut connection = bus::connect(&gateway.config.redis_url).await?;
        routes::flush(
            &mut connection,
            &gateway.config.gateway_id,
            &gateway.locks,
            &gateway.routes,
        )
        .await?;
        routes::release(&mut connection, &gateway.config.gateway_id).await
    };
    let _ = timeout(LAST_WORDS_TIMEOUT, goodbye).await;
}

fn spread(below_ms: u64) -> u64 {
    clock::unique().checked_rem(below_ms).unwrap_or(0)
}
