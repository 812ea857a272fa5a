//! The keys that tokens are verified with: fetched by a thread of its own, at the start, every minute and when a token names an unknown one.
//! A failed fetch keeps the keys that are there; without keys nobody is authenticated.
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use nexkey_tokens::{Claims, GatewayVerifier};
use tokio::sync::watch;

use crate::log;
use crate::metrics::{Metrics, count};

const AUDIENCE: &str = "gateway";
const FETCH_EVERY: Duration = Duration::from_secs(60);
const RETRY_EVERY: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
const FETCHES_APART: Duration = Duration::from_secs(1);
const WAIT_FOR_KEYS: Duration = Duration::from_secs(3);
const JWKS_BYTES_MAX: u64 = 256 * 1024;

/// Verifies tokens with the keys of the moment.
pub struct Keys {
    verifier: ArcSwapOption<GatewayVerifier>,
    wanted: SyncSender<()>,
    fetched: watch::Receiver<u64>,
}

impl Keys {
    /// Starts the thread that fetches. It ends with the process.
    #[must_use]
    pub fn start(jwks_url: String, metrics: Arc<Metrics>) -> Arc<Self> {
        let (wanted, requests) = sync_channel(1);
        let (announce, fetched) = watch::channel(0);
        let keys = Arc::new(Self {
            verifier: ArcSwapOption::empty(),
            wanted,
            fetched,
        });
        let shared = Arc::clone(&keys);
        std::thread::spawn(move || {
            fetch_forever(&jwks_url, &shared, &requests, &announce, &metrics);
        });
        keys
    }

    /// Have keys been fetched?
    #[must_use]
    pub fn are_there(&self) -> bool {
        self.verifier.load().is_some()
    }

    /// Verifies a token; when its key is unknown, fetches once and verifies again.
    ///
    /// # Errors
    /// The stable code of the refusal.
    pub async fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, &'static str> {
        match self.verify_now(token, now_ms) {
            Err("token_key_unknown" | "keys_unavailable") => {}
            settled => return settled,
        }
        let mut fetched = self.fetched.clone();
        fetched.mark_unchanged();
        let _ = self.wanted.try_send(()); // full: a fetch is asked for already
        let _ = tokio::time::timeout(WAIT_FOR_KEYS, fetched.changed()).await;
        self.verify_now(token, now_ms)
    }

    fn verify_now(&self, token: &str, now_ms: i64) -> Result<Claims, &'static str> {
        let verifier = self.verifier.load();
        let verifier = verifier.as_ref().ok_or("keys_unavailable")?;
        verifier
            .verify(token, AUDIENCE, now_ms)
            .map_err(nexkey_tokens::TokenError::code)
    }
}

fn fetch_forever(
    jwks_url: &str,
    keys: &Keys,
    requests: &Receiver<()>,
    announce: &watch::Sender<u64>,
    metrics: &Metrics,
) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(FETCH_TIMEOUT))
        .max_redirects(0)
        .build()
        .into();
    let mut failing = false;
    loop {
        let started = Instant::now();
        let verifier = fetch(&agent, jwks_url);
        let failed = verifier.is_none();
        if let Some(verifier) = verifier {
            keys.verifier.store(Some(Arc::new(verifier)));
        } else {
            count(&metrics.keys_failures);
        }
        if failed != failing {
            log::line(
                if failed {
                    "keys_failed"
                } else {
                    "keys_fetched"
                },
                0,
            );
            failing = failed;
        }
        announce.send_modify(|generation| *generation = generation.wrapping_add(1));
        let pause = if failed { RETRY_EVERY } else { FETCH_EVERY };
        if requests.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        std::thread::sleep(FETCHES_APART.saturating_sub(started.elapsed()));
    }
}

fn fetch(agent: &ureq::Agent, jwks_url: &str) -> Option<GatewayVerifier> {
    let mut response = agent.get(jwks_url).call().ok()?;
    if response.status() != 200 {
        return None;
    }
    let body = response
        .body_mut()
        .with_config()
        .limit(JWKS_BYTES_MAX)
        .read_to_vec()
        .ok()?;
    GatewayVerifier::from_jwks(&body).ok()
}
