//! One thread's part of the gateway: its topics, its connections, its link to the bus. Everything in here stays on its thread;
//! no borrow of a `RefCell` lives over an await.
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use nexkey_tokens::SubjectKind;
use tokio::sync::{Notify, mpsc};

use crate::clock;
use crate::hub::{Hub, Read, Wishes};
use crate::identity::{Identity, SubjectKey};
use crate::metrics::count;
use crate::outbox::Outbox;
use crate::protocol::Close;
use crate::shared::Shared;
use crate::uplink::{UPLINK_MESSAGES_MAX, Uplink};

/// Without Redis for this long, persons are disconnected: the gateway can't hear of a revoke.
pub const BUS_AWAY_MAX: Duration = Duration::from_secs(1);

type Map<Key, Value> = HashMap<Key, Value, foldhash::fast::RandomState>;

struct Authenticated {
    key: SubjectKey,
    kind: SubjectKind,
    revision: u64,
    outbox: Arc<Outbox>,
}

/// One per thread.
pub struct Shard {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// 0 is the one that takes commands off the bus and writes routes.
    pub index: usize,
    /// The topics of this thread.
    pub hub: RefCell<Hub>,
    /// Topics whose channel has to be looked at.
    pub changed: RefCell<HashSet<Arc<str>>>,
    /// Reads that wait to be made.
    pub reads: RefCell<Vec<Read>>,
    /// Wakes the bus for `changed` and `reads`.
    pub wake_bus: Notify,
    /// To the api.
    pub uplink: mpsc::Sender<Uplink>,
    /// Taken by the bus while it is there.
    pub uplinks: tokio::sync::Mutex<mpsc::Receiver<Uplink>>,
    bus_heard_at: Cell<Instant>,
    bus_up: Cell<bool>,
    cuts_known: Cell<bool>,
    connections: RefCell<Map<u64, Arc<Outbox>>>,
    authenticated: RefCell<Map<u64, Authenticated>>,
    by_subject: RefCell<Map<SubjectKey, Vec<u64>>>,
}

impl Shard {
    /// Without connections; the bus counts as just lost.
    #[must_use]
    pub fn new(shared: Arc<Shared>, index: usize) -> Rc<Self> {
        let (uplink, uplinks) = mpsc::channel(UPLINK_MESSAGES_MAX);
        let hub = RefCell::new(Hub::new(Arc::clone(&shared.metrics)));
        Rc::new(Self {
            shared,
            index,
            hub,
            changed: RefCell::default(),
            reads: RefCell::default(),
            wake_bus: Notify::new(),
            uplink,
            uplinks: tokio::sync::Mutex::new(uplinks),
            bus_heard_at: Cell::new(Instant::now()),
            bus_up: Cell::new(false),
            cuts_known: Cell::new(false),
            connections: RefCell::default(),
            authenticated: RefCell::default(),
            by_subject: RefCell::default(),
        })
    }

    /// Hands the hub's wishes to the bus.
    pub fn wish(&self, wishes: Wishes) {
        if wishes == Wishes::default() {
            return;
        }
        self.changed.borrow_mut().extend(wishes.changed);
        self.reads.borrow_mut().extend(wishes.reads);
        self.wake_bus.notify_one();
    }

    /// Sends to the api; what doesn't fit is repeated by the lock.
    pub fn send_up(&self, uplink: Uplink) {
        if self.uplink.try_send(uplink).is_err() {
            count(&self.shared.metrics.uplink_dropped);
        }
    }

    /// A connection is open.
    pub fn opened(&self, connection: u64, outbox: Arc<Outbox>) {
        self.connections.borrow_mut().insert(connection, outbox);
        count(&self.shared.metrics.connections_opened);
    }

    /// A connection is gone.
    pub fn closed(&self, connection: u64) {
        self.connections.borrow_mut().remove(&connection);
        let Some(entry) = self.authenticated.borrow_mut().remove(&connection) else {
            return;
        };
        let mut by_subject = self.by_subject.borrow_mut();
        if let Some(connections) = by_subject.get_mut(&entry.key) {
            connections.retain(|known| *known != connection);
            if connections.is_empty() {
                by_subject.remove(&entry.key);
            }
        }
    }

    /// A connection is authenticated, for the first time or again.
    pub fn authenticated(&self, connection: u64, identity: &Identity, outbox: &Arc<Outbox>) {
        let entry = Authenticated {
            key: identity.key.clone(),
            kind: identity.kind,
            revision: identity.revision,
            outbox: Arc::clone(outbox),
        };
        if self
            .authenticated
            .borrow_mut()
            .insert(connection, entry)
            .is_none()
        {
            self.by_subject
                .borrow_mut()
                .entry(identity.key.clone())
                .or_default()
                .push(connection);
        }
    }

    /// Ends the subject's connections whose token was decided before that revision.
    fn revoke(&self, organization: &str, subject: &str, revision: u64) {
        let key = SubjectKey {
            organization: organization.into(),
            subject: subject.into(),
        };
        let by_subject = self.by_subject.borrow();
        let authenticated = self.authenticated.borrow();
        for connection in by_subject.get(&key).into_iter().flatten() {
            if let Some(entry) = authenticated
                .get(connection)
                .filter(|entry| entry.revision < revision)
            {
                entry.outbox.close(Close::AccessRevoked);
            }
        }
    }

    /// Ends every connection of the organization whose token was decided before that revision.
    fn suspend(&self, organization: &str, revision: u64) {
        let authenticated = self.authenticated.borrow();
        authenticated
            .values()
            .filter(|entry| entry.revision < revision && &*entry.key.organization == organization)
            .for_each(|entry| entry.outbox.close(Close::AccessRevoked));
    }

    /// The bus answered.
    pub fn bus_heard(&self, up: bool) {
        if up {
            self.bus_heard_at.set(Instant::now());
        }
        match (self.bus_up.replace(up), up) {
            (false, true) => {
                self.shared.buses_there.fetch_add(1, Relaxed);
            }
            (true, false) => {
                self.shared.buses_there.fetch_sub(1, Relaxed);
            }
            _ => {}
        }
    }

    /// Has the bus been away for too long to serve persons?
    #[must_use]
    pub fn bus_is_away(&self) -> bool {
        !self.cuts_known.get() || self.bus_heard_at.get().elapsed() >= BUS_AWAY_MAX
    }

    /// Has this thread read what was revoked before it was there? Until then nobody is let in.
    #[must_use]
    pub fn knows_cuts(&self) -> bool {
        self.cuts_known.get()
    }

    /// What Redis keeps of the cuts was read; it has forgotten those of before `since_ms`.
    pub fn cuts_read(&self, since_ms: i64) {
        self.shared.revocations.known_since(since_ms);
        self.cuts_known.set(true);
    }

    /// Disconnects persons while the bus is away. Runs as long as the thread.
    pub async fn watch_bus(&self) {
        loop {
            tokio::time::sleep(BUS_AWAY_MAX / 10).await;
            if self.bus_is_away() {
                let authenticated = self.authenticated.borrow();
                let persons = authenticated
                    .values()
                    .filter(|entry| entry.kind == SubjectKind::Person);
                persons.for_each(|entry| entry.outbox.close(Close::BusUnavailable));
            }
        }
    }

    /// Every open connection's queue.
    #[must_use]
    pub fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.connections.borrow().values().cloned().collect()
    }

    /// Is a token of this subject revoked?
    #[must_use]
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        self.shared.revocations.is_revoked(identity)
    }

    /// Remembers a revoke for tokens that come later, and ends the connections of now.
    pub fn hear_revoke(&self, organization: &str, subject: &str, revision: u64) {
        self.shared
            .revocations
            .revoke(organization, subject, revision, clock::now_ms());
        self.revoke(organization, subject, revision);
    }

    /// The same for a whole organization.
    pub fn hear_suspension(&self, organization: &str, revision: u64) {
        self.shared
            .revocations
            .suspend(organization, revision, clock::now_ms());
        self.suspend(organization, revision);
    }
}
