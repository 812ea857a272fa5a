//! A persistent hash map of shared records by identifier: a radix trie over hash bits, copied along one path per write.
//!
//! A clone costs one reference count. Readers keep a clone and never see a later write. It knows nothing of permissions.
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Bits of the hash that one level consumes.
const LEVEL_BITS: u32 = 6;
const BRANCHES: usize = 1 << LEVEL_BITS;
/// A leaf splits above this many records, unless the hash has no bits left.
const LEAF_RECORDS_MAX: usize = 40;

/// A record that knows its own identifier.
pub trait Keyed {
    /// The identifier the record is found by.
    fn key(&self) -> &str;
}

#[derive(Debug)]
struct Entry<T> {
    hash: u64,
    record: Arc<T>,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            hash: self.hash,
            record: Arc::clone(&self.record),
        }
    }
}

#[derive(Debug)]
enum Node<T> {
    Leaf(Arc<[Entry<T>]>),
    Branch(Arc<[Node<T>; BRANCHES]>),
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(Arc::clone(entries)),
            Self::Branch(children) => Self::Branch(Arc::clone(children)),
        }
    }
}

/// The map. The hash is seeded per map, so that chosen identifiers can't crowd one leaf.
#[derive(Debug)]
pub struct Map<T> {
    root: Node<T>,
    hasher: RandomState,
}

impl<T> Clone for Map<T> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            hasher: self.hasher.clone(),
        }
    }
}

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self {
            root: Node::Leaf(Arc::new([])),
            hasher: RandomState::default(),
        }
    }
}

impl<T: Keyed> Map<T> {
    /// The record of `key`.
    pub fn get(&self, key: &str) -> Option<&Arc<T>> {
        let hash = self.hasher.hash_one(key);
        let mut node = &self.root;
        let mut shift = 0;
        loop {
            match node {
                Node::Branch(children) => {
                    node = children.get(branch_of(hash, shift))?;
                    shift += LEVEL_BITS;
                }
                Node::Leaf(entries) => {
                    return entries
                        .iter()
                        .find(|entry| entry.hash == hash && entry.record.key() == key)
                        .map(|entry| &entry.record);
                }
            }
        }
    }

    /// Visits every record once, in no order.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a Arc<T>)) {
        let mut nodes = vec![&self.root];
        while let Some(node) = nodes.pop() {
            match node {
                Node::Branch(children) => nodes.extend(children.iter()),
                Node::Leaf(entries) => entries.iter().for_each(|entry| visit(&entry.record)),
            }
        }
    }

    /// Puts a record in the place of the one with the same key.
    pub fn insert(&mut self, record: Arc<T>) {
        let entry = Entry {
            hash: self.hasher.hash_one(record.key()),
            record,
        };
        insert_below(&mut self.root, entry, 0);
    }

    /// Takes the record of `key` out; true when there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let hash = self.hasher.hash_one(key);
        self.get(key).is_some() && remove_below(&mut self.root, hash, key, 0)
    }
}

fn branch_of(hash: u64, shift: u32) -> usize {
    usize::try_from(hash.checked_shr(shift).unwrap_or(0)).unwrap_or(0) & (BRANCHES - 1)
}

/// INVARIANT: a shared node is never changed, only replaced by a changed copy.
fn insert_below<T: Keyed>(node: &mut Node<T>, entry: Entry<T>, shift: u32) {
    match node {
        Node::Branch(children) => {
            let children = Arc::make_mut(children);
            if let Some(child) = children.get_mut(branch_of(entry.hash, shift)) {
                insert_below(child, entry, shift + LEVEL_BITS);
            }
        }
        Node::Leaf(entries) => {
            let known = entries.iter().position(|other| {
                other.hash == entry.hash && other.record.key() == entry.record.key()
            });
            if let Some(place) = known {
                if let Some(slot) = Arc::make_mut(entries).get_mut(place) {
                    *slot = entry;
                }
                return;
            }
            let grown: Vec<Entry<T>> = entries.iter().cloned().chain([entry]).collect();
            *node = if grown.len() > LEAF_RECORDS_MAX && shift < u64::BITS {
                split(&grown, shift)
            } else {
                Node::Leaf(grown.into())
            };
        }
    }
}

/// One level more. Should all records share the next bits, their leaf stays too full and the next insert splits it.
fn split<T>(entries: &[Entry<T>], shift: u32) -> Node<T> {
    Node::Branch(Arc::new(std::array::from_fn(|branch| {
        Node::Leaf(
            entries
                .iter()
                .filter(|entry| branch_of(entry.hash, shift) == branch)
                .cloned()
                .collect(),
        )
    })))
}

fn remove_below<T: Keyed>(node: &mut Node<T>, hash: u64, key: &str, shift: u32) -> bool {
    match node {
        Node::Branch(children) => Arc::make_mut(children)
            .get_mut(branch_of(hash, shift))
            .is_some_and(|child| remove_below(child, hash, key, shift + LEVEL_BITS)),
        Node::Leaf(entries) => {
            let kept: Arc<[Entry<T>]> = entries
                .iter()
                .filter(|entry| entry.hash != hash || entry.record.key() != key)
                .cloned()
                .collect();
            let removed = kept.len() < entries.len();
            *entries = kept;
            removed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug)]
    struct Record(String, u32);

    impl Keyed for Record {
        fn key(&self) -> &str {
            &self.0
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_tree_map_and_leaves_clones_alone(steps in prop::collection::vec((0u32..400, any::<bool>(), any::<u32>()), 0..1_500)) {
            let mut map = Map::default();
            let mut model = BTreeMap::new();
            let mut earlier = Vec::new();
            for (index, (key, put, value)) in steps.into_iter().enumerate() {
                if index % 100 == 0 {
                    earlier.push((map.clone(), model.clone()));
                }
                let key = format!("k{key}");
                if put {
                    map.insert(Arc::new(Record(key.clone(), value)));
                    model.insert(key, value);
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key).is_some());
                }
            }
            earlier.push((map, model));
            for (map, model) in earlier {
                for key in 0u32..400 {
                    let key = format!("k{key}");
                    prop_assert_eq!(map.get(&key).map(|record| record.1), model.get(&key).copied());
                }
            }
        }
    }

    #[test]
    fn equal_hashes_share_a_leaf_without_end() {
        let mut node = Node::Leaf(Arc::new([]));
        for number in 0..40 {
            insert_below(
                &mut node,
                Entry {
                    hash: 7,
                    record: Arc::new(Record(format!("k{number}"), number)),
                },
                0,
            );
        }
        assert!(remove_below(&mut node, 7, "k39", 0));
        assert!(!remove_below(&mut node, 7, "k39", 0));
    }
}
