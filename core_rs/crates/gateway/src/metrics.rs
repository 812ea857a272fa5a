//! Counters and gauges, and their Prometheus text. No labels that a client could choose.
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// One set per gateway, shared by all threads.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Metrics {
    pub connections: AtomicI64,
    pub locks: AtomicI64,
    pub topics: AtomicI64,
    pub connections_opened: AtomicU64,
    pub connections_refused: AtomicU64,
    pub authentications_failed: AtomicU64,
    pub events_received: AtomicU64,
    pub events_delivered: AtomicU64,
    pub topic_reads: AtomicU64,
    pub commands_delivered: AtomicU64,
    pub commands_without_lock: AtomicU64,
    pub reports_forwarded: AtomicU64,
    pub reports_stored: AtomicU64,
    pub uplink_dropped: AtomicU64,
    pub slow_consumers: AtomicU64,
    pub bus_losses: AtomicU64,
    pub keys_failures: AtomicU64,
}

impl Metrics {
    /// Prometheus text, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let gauges = [
            ("connections", &self.connections),
            ("locks", &self.locks),
            ("topics", &self.topics),
        ];
        for (name, value) in gauges {
            let _ = writeln!(
                text,
                "# TYPE nexkey_gateway_{name} gauge\nnexkey_gateway_{name} {}",
                value.load(Relaxed)
            );
        }
        for (name, value) in self.counters() {
            let _ = writeln!(
                text,
                "# TYPE nexkey_gateway_{name}_total counter\nnexkey_gateway_{name}_total {}",
                value.load(Relaxed)
            );
        }
        text
    }

    fn counters(&self) -> [(&'static str, &AtomicU64); 14] {
        [
            ("connections_opened", &self.connections_opened),
            ("connections_refused", &self.connections_refused),
            ("authentications_failed", &self.authentications_failed),
            ("events_received", &self.events_received),
            ("events_delivered", &self.events_delivered),
            ("topic_reads", &self.topic_reads),
            ("commands_delivered", &self.commands_delivered),
            ("commands_without_lock", &self.commands_without_lock),
            ("reports_forwarded", &self.reports_forwarded),
            ("reports_stored", &self.reports_stored),
            ("uplink_dropped", &self.uplink_dropped),
            ("slow_consumers", &self.slow_consumers),
            ("bus_losses", &self.bus_losses),
            ("keys_failures", &self.keys_failures),
        ]
    }
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
