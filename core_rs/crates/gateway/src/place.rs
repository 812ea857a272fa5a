//! A connection's place among those that `connections_max` allows. The gauge `connections` is the number of places taken, so what is
//! shown and what is refused can't disagree. Handshakes, requests for health and sockets that are closing have no place.
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::metrics::Metrics;

/// Given back when it is dropped, however the connection's task ends.
pub struct Place(Arc<Metrics>);

impl Place {
    /// One of `connections_max` places, over all threads. None when all are taken.
    #[must_use]
    pub fn take(metrics: &Arc<Metrics>, connections_max: usize) -> Option<Self> {
        let limit = i64::try_from(connections_max).unwrap_or(i64::MAX);
        // INVARIANT: the look and the increment are one step, so that threads can't share the last place.
        metrics
            .connections
            .fetch_update(Relaxed, Relaxed, |taken| {
                (taken < limit).then_some(taken.saturating_add(1))
            })
            .ok()?;
        Some(Self(Arc::clone(metrics)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
