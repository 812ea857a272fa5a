//! A snapshot that arrives in parts: documents as they stand in the store, of any kind, in any order.
//!
//! INVARIANT: nothing of it is seen before all of it is in, and one refused part refuses the whole.
use crate::apply::{settle, take_in};
use crate::bson::Document;
use crate::catalog::{Catalog, Touched};
use crate::documents::Malformed;
use crate::images::{BATCH_BYTES_MAX, Image, stored};
use crate::model::State;
use crate::snapshot_error::SnapshotError;
use crate::zone::Zones;
use std::sync::Arc;

/// Longest snapshot, in bytes of documents; a million persons with ten groups each are 1.1 GB as they are stored.
const LOAD_BYTES_MAX: u64 = 64 << 30;

/// An organization on its way into memory.
#[derive(Debug)]
pub struct SnapshotLoad {
    organization: Box<str>,
    catalog: Catalog,
    next: State,
    touched: Touched,
    zones: Arc<Zones>,
    bytes: u64,
    refused: bool,
}

impl SnapshotLoad {
    /// Nothing in it yet.
    pub(crate) fn new(organization: &str, revision: i64, zones: Arc<Zones>) -> Self {
        let next = State {
            revision,
            ..State::default()
        };
        Self {
            organization: organization.into(),
            catalog: Catalog::default(),
            next,
            touched: Touched::default(),
            zones,
            bytes: 0,
            refused: false,
        }
    }

    /// Takes in whole stored documents of one kind, one after the other as BSON; how many of them have not ended.
    ///
    /// # Errors
    /// `SnapshotMalformed` when one is not as the protocol says, or another organization's; then the load is lost.
    pub fn add(&mut self, kind: &str, documents: &[u8]) -> Result<usize, SnapshotError> {
        let added = self.add_all(kind, documents);
        self.refused |= added.is_err();
        added.map_err(|_| SnapshotError::SnapshotMalformed)
    }

    fn add_all(&mut self, kind: &str, mut documents: &[u8]) -> Result<usize, Malformed> {
        self.bytes = self.bytes.saturating_add(documents.len() as u64);
        if self.refused || documents.len() > BATCH_BYTES_MAX || self.bytes > LOAD_BYTES_MAX {
            return Err(Malformed);
        }
        let mut taken = 0;
        while let Some(document) = Document::take(&mut documents)? {
            if let Some(image) = stored(&self.organization, kind, document)? {
                self.take_in(image);
                taken += 1;
            }
        }
        Ok(taken)
    }

    pub(crate) fn take_in(&mut self, image: Image) {
        take_in(
            &mut self.catalog,
            &mut self.next,
            image,
            &mut self.touched,
            &self.zones,
        );
    }

    /// What it is, settled.
    pub(crate) fn finish(self) -> Result<(Box<str>, State, Catalog), SnapshotError> {
        let Self {
            organization,
            catalog,
            mut next,
            touched,
            refused,
            ..
        } = self;
        if refused {
            return Err(SnapshotError::SnapshotMalformed);
        }
        settle(&catalog, &mut next, touched);
        Ok((organization, next, catalog))
    }
}
