//! The hold: a bolt that is kept back by leases, each a signed command of a few seconds, until one isn't renewed (docs/protocols/tokens.md).

use alloc::string::String;

use crate::command::Command;
use crate::refusal::Refusal;

/// The latest lease that was taken.
#[derive(Default)]
pub(crate) struct Hold {
    lease: Option<Lease>,
    released: bool,
}

struct Lease {
    hold: String,
    issued_at_ms: i64,
    expires_at_ms: i64,
}

impl Hold {
    /// Takes a lease. The same one again changes nothing; an older one is a replay, and so is any of a hold that is over.
    pub(crate) fn renew(&mut self, lease: &Command) -> Result<(), Refusal> {
        let replayed = self.lease.as_ref().is_some_and(|held| {
            lease.issued_at_ms < held.issued_at_ms || (self.released && lease.id == held.hold)
        });
        if replayed {
            return Err(Refusal::CommandReplayed);
        }
        self.lease = Some(Lease {
            hold: lease.id.clone(),
            issued_at_ms: lease.issued_at_ms,
            expires_at_ms: lease.expires_at_ms,
        });
        self.released = false;
        Ok(())
    }

    /// Whether the bolt is kept back at this time. `now` is the earliest that it can be, as for every command.
    pub(crate) fn stands_at(&self, now_ms: i64) -> bool {
        let lease = self.lease.as_ref().filter(|_| !self.released);
        lease.is_some_and(|lease| now_ms < lease.expires_at_ms)
    }

    pub(crate) const fn release(&mut self) {
        self.released = true;
    }
}
