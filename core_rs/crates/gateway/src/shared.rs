//! What all threads of a gateway share.
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::watch;

use crate::config::Config;
use crate::keys::Keys;
use crate::locks::Locks;
use crate::metrics::Metrics;
use crate::revocations::Revocations;
use crate::routes::Routes;

/// One per gateway.
pub struct Shared {
    /// As given.
    pub config: Config,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// For tokens.
    pub keys: Arc<Keys>,
    /// Connected locks.
    pub locks: Locks,
    /// Their routes on the bus.
    pub routes: Routes,
    /// What was revoked lately.
    pub revocations: Revocations,
    /// Sockets that are open: connections, handshakes, and what is closing.
    pub sockets: AtomicUsize,
    /// Threads whose bus is there. A person is served by any of them, so the gateway is ready when all have it.
    pub buses_there: AtomicUsize,
    /// Becomes true once, when the gateway has to go.
    pub draining: watch::Sender<bool>,
}

impl Shared {
    /// Starts fetching keys.
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        let metrics = Arc::new(Metrics::default());
        let keys = Keys::start(config.jwks_url.clone(), Arc::clone(&metrics));
        Arc::new(Self {
            config,
            metrics,
            keys,
            locks: Locks::default(),
            routes: Routes::default(),
            revocations: Revocations::default(),
            sockets: AtomicUsize::new(0),
            buses_there: AtomicUsize::new(0),
            draining: watch::channel(false).0,
        })
    }

    /// Has the drain begun?
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}
