//! One client's conversation: authentication, subscriptions, a lock's words, and the deadlines of all that. No socket.
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nexkey_tokens::SubjectKind;

use crate::clock;
use crate::identity::Identity;
use crate::metrics::count;
use crate::outbox::Outbox;
use crate::protocol::{ClientFrame, Close, FrameError, Position, ServerFrame};
use crate::shard::Shard;
use crate::uplink::Uplink;

const AUTHENTICATE_WITHIN: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(20);
const SILENCE_MAX: Duration = Duration::from_secs(45);
const SUBSCRIPTIONS_MAX: usize = 100;

/// One per connection.
pub struct Session {
    shard: Rc<Shard>,
    connection: u64,
    name: String,
    outbox: Arc<Outbox>,
    identity: Option<Identity>,
    subscriptions: Vec<String>,
    opened_at: Instant,
    heard_at: Instant,
    pinged_at: Instant,
}

impl Session {
    /// Not authenticated yet.
    #[must_use]
    pub fn open(shard: Rc<Shard>, outbox: Arc<Outbox>) -> Self {
        let connection = clock::unique();
        shard.opened(connection, Arc::clone(&outbox));
        let now = Instant::now();
        let (name, subscriptions) = (format!("{connection:016x}"), Vec::new());
        Self {
            shard,
            connection,
            name,
            outbox,
            identity: None,
            subscriptions,
            opened_at: now,
            heard_at: now,
            pinged_at: now,
        }
    }

    /// Something came in, be it a pong.
    pub fn heard(&mut self) {
        self.heard_at = Instant::now();
    }

    /// When `on_deadline` wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let now = Instant::now();
        let Some(identity) = &self.identity else {
            return self.opened_at + AUTHENTICATE_WITHIN;
        };
        let left_ms =
            u64::try_from(identity.expires_at_ms.saturating_sub(clock::now_ms())).unwrap_or(0);
        let expires_at = now
            .checked_add(Duration::from_millis(left_ms))
            .unwrap_or(now);
        expires_at
            .min(self.heard_at + SILENCE_MAX)
            .min(self.pinged_at + PING_EVERY)
    }

    /// A deadline has passed. True when a ping is due.
    pub fn on_deadline(&mut self) -> bool {
        let now = Instant::now();
        match &self.identity {
            None if now >= self.opened_at + AUTHENTICATE_WITHIN => {
                self.outbox.close(Close::AuthenticationTimeout);
            }
            Some(identity) if clock::now_ms() >= identity.expires_at_ms => {
                self.outbox.close(Close::AuthenticationExpired);
            }
            _ if now >= self.heard_at + SILENCE_MAX => self.outbox.close(Close::Silence),
            _ if now >= self.pinged_at + PING_EVERY => {
                self.pinged_at = now;
                return true;
            }
            _ => {}
        }
        false
    }

    /// A text or binary frame came in.
    pub async fn frame(&mut self, bytes: &[u8]) {
        let frame = ClientFrame::decode(self.outbox.encoding(), bytes);
        match (frame, self.identity.is_some()) {
            (Ok(ClientFrame::Authenticate { token }), _) => self.authenticate(&token).await,
            (_, false) => self.outbox.close(Close::ProtocolError),
            (Err(FrameError::Malformed), true) => {
                self.refuse("frame_malformed", "not a frame of this protocol");
            }
            (Err(FrameError::TypeUnknown), true) => self.refuse("type_unknown", "no such type"),
            (Ok(frame), true) => self.authenticated_frame(frame),
        }
    }

    /// The connection is gone.
    pub fn end(&mut self) {
        for topic in std::mem::take(&mut self.subscriptions) {
            self.leave(&topic);
        }
        self.shard.closed(self.connection);
        if let Some(identity) = self
            .identity
            .take()
            .filter(|identity| identity.kind == SubjectKind::Lock)
        {
            let shared = &self.shard.shared;
            shared.metrics.locks.fetch_sub(1, Relaxed);
            if shared.locks.disconnect(&identity.key, self.connection) {
                shared.routes.changed(identity.key);
            }
        }
    }

    async fn authenticate(&mut self, token: &str) {
        let shared = Arc::clone(&self.shard.shared);
        let verified = shared.keys.verify(token, clock::now_ms()).await;
        let identity = verified
            .and_then(|claims| Identity::of(claims).ok_or("token_malformed"))
            .and_then(|identity| match &self.identity {
                Some(known) if known.key != identity.key || known.kind != identity.kind => {
                    Err("subject_changed")
                }
                _ => Ok(identity),
            });
        match identity {
            Err(code) => {
                count(&shared.metrics.authentications_failed);
                self.outbox.close(Close::AuthenticationFailed(code));
            }
            Ok(identity) if self.shard.is_revoked(&identity) => {
                self.outbox.close(Close::AccessRevoked);
            }
            Ok(identity)
                if !self.shard.knows_cuts()
                    || identity.kind == SubjectKind::Person && self.shard.bus_is_away() =>
            {
                self.outbox.close(Close::BusUnavailable);
            }
            Ok(identity) => self.admit(identity),
        }
    }

    /// INVARIANT: no await between the question whether the token is revoked and this, so that a revoke finds either the memory of it or the connection.
    fn admit(&mut self, identity: Identity) {
        self.shard
            .authenticated(self.connection, &identity, &self.outbox);
        let shared = &self.shard.shared;
        if self.identity.is_none() && identity.kind == SubjectKind::Lock {
            shared.metrics.locks.fetch_add(1, Relaxed);
            shared.locks.connect(
                identity.key.clone(),
                self.connection,
                Arc::clone(&self.outbox),
            );
            shared.routes.changed(identity.key.clone());
        }
        self.send(&ServerFrame::Authenticated {
            subject: &identity.key.subject,
            kind: identity.kind.as_str(),
            expires_at: identity.expires_at_ms,
            connection: &self.name,
        });
        let (kept, lost) = std::mem::take(&mut self.subscriptions)
            .into_iter()
            .partition(|topic| identity.may_subscribe(topic));
        self.subscriptions = kept;
        self.identity = Some(identity);
        for topic in lost {
            self.leave(&topic);
            self.refuse("topic_forbidden", &topic);
            self.send(&ServerFrame::Unsubscribed { topic: &topic });
        }
    }

    fn authenticated_frame(&mut self, frame: ClientFrame) {
        match frame {
            ClientFrame::Authenticate { .. } => {}
            ClientFrame::Subscribe { topic, position } => self.subscribe(&topic, position),
            ClientFrame::Unsubscribe { topic } => {
                self.subscriptions.retain(|known| *known != topic);
                self.leave(&topic);
                self.send(&ServerFrame::Unsubscribed { topic: &topic });
            }
            ClientFrame::Ping => self.send(&ServerFrame::Pong),
            ClientFrame::Received { command } => self.received(command),
            ClientFrame::Report {
                number,
                command,
                report,
            } => self.report(number, command, report),
        }
    }

    fn subscribe(&mut self, topic: &str, position: Option<Position>) {
        if !self
            .identity
            .as_ref()
            .is_some_and(|identity| identity.may_subscribe(topic))
        {
            self.refuse("topic_forbidden", topic);
            return;
        }
        if self.subscriptions.iter().any(|known| known == topic) {
            self.leave(topic); // again: from this position on
        } else if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            self.refuse("subscriptions_too_many", topic);
            return;
        } else {
            self.subscriptions.push(topic.to_owned());
        }
        let wishes = self.shard.hub.borrow_mut().subscribe(
            self.connection,
            Arc::clone(&self.outbox),
            topic,
            position,
        );
        self.shard.wish(wishes);
    }

    fn leave(&self, topic: &str) {
        let wishes = self
            .shard
            .hub
            .borrow_mut()
            .unsubscribe(self.connection, topic);
        self.shard.wish(wishes);
    }

    /// A receipt of a command that this lock wasn't sent here interests nobody.
    fn received(&self, command: String) {
        let Some(identity) = self.lock_identity() else {
            return;
        };
        if let Some(reply_to) =
            self.shard
                .shared
                .locks
                .reply_to(&identity.key, &command, clock::now_ms())
        {
            self.shard.send_up(Uplink::Received {
                lock: identity.key.clone(),
                command,
                reply_to,
            });
        }
    }

    fn report(&self, number: u64, command: Option<String>, report: String) {
        let Some(identity) = self.lock_identity() else {
            return;
        };
        let locks = &self.shard.shared.locks;
        let reply_to = command
            .as_ref()
            .and_then(|command| locks.take_reply_to(&identity.key, command, clock::now_ms()));
        self.shard.send_up(Uplink::Report {
            lock: identity.key.clone(),
            number,
            command,
            report,
            reply_to,
        });
    }

    fn lock_identity(&self) -> Option<&Identity> {
        let identity = self
            .identity
            .as_ref()
            .filter(|identity| identity.kind == SubjectKind::Lock);
        if identity.is_none() {
            self.refuse("type_unknown", "only a lock says this");
        }
        identity
    }

    fn refuse(&self, code: &str, detail: &str) {
        self.send(&ServerFrame::Error { code, detail });
    }

    fn send(&self, frame: &ServerFrame<'_>) {
        self.outbox.frame(frame, Instant::now());
    }
}
