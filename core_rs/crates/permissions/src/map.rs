//! A persistent hash map of records by identifier: a trie over hash bits whose leaves are small open tables of the records themselves.
//!
//! The upper nodes are few and stay in the processor's caches; the record is found where its hash says, or beside it, so a lookup costs about
//! one cache miss. A write copies one leaf and the nodes above it, a clone costs one reference count, and readers never see a later write.
//! It knows nothing of permissions.
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Bits of the hash that one level consumes, from the lowest; the place in a leaf comes from the upper half.
const LEVEL_BITS: u32 = 5;
const BRANCHES: usize = 1 << LEVEL_BITS;
/// A leaf splits above this many records, unless the hash has no bits left.
const LEAF_RECORDS_MAX: usize = 128;
/// A leaf grows when a record would be so many slots away from where its hash says.
const DISTANCE_MAX: usize = 5;
/// It doesn't grow beyond this many slots a record: hashes that are equal stay together whatever is tried.
const SLOTS_PER_RECORD_MAX: usize = 3;

/// A record that knows its own identifier.
pub trait Keyed: Clone {
    /// The identifier the record is found by.
    fn key(&self) -> &str;
}

/// Records at or after the slot that their hash says, with no free slot between; from the last slot it goes on at the first.
type Slots<T> = Arc<[Option<T>]>;

#[derive(Debug)]
enum Node<T> {
    Leaf(Slots<T>),
    Branch(Arc<[Node<T>; BRANCHES]>),
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(slots) => Self::Leaf(Arc::clone(slots)),
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
    #[inline]
    pub fn get(&self, key: &str) -> Option<&T> {
        let hash = self.hasher.hash_one(key);
        let (mut node, mut shift) = (&self.root, 0);
        loop {
            match node {
                Node::Branch(children) => {
                    node = children.get(branch_of(hash, shift))?;
                    shift += LEVEL_BITS;
                }
                Node::Leaf(slots) => return record_in(slots, hash, key),
            }
        }
    }

    /// Visits every record once, in no order.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a T)) {
        let mut nodes = vec![&self.root];
        while let Some(node) = nodes.pop() {
            match node {
                Node::Branch(children) => nodes.extend(children.iter()),
                Node::Leaf(slots) => slots.iter().flatten().for_each(&mut visit),
            }
        }
    }

    /// Puts a record in the place of the one with the same key.
    pub fn insert(&mut self, record: T) {
        let hash = self.hasher.hash_one(record.key());
        insert_below(&mut self.root, &self.hasher, record, hash, 0);
    }

    /// Takes the record of `key` out; true when there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let hash = self.hasher.hash_one(key);
        let there = self.get(key).is_some();
        if there {
            remove_below(&mut self.root, &self.hasher, hash, key, 0);
        }
        there
    }
}

fn branch_of(hash: u64, shift: u32) -> usize {
    usize::try_from(hash.checked_shr(shift).unwrap_or(0)).unwrap_or(0) & (BRANCHES - 1)
}

/// Where a record of this hash belongs, of `length` slots.
#[inline]
fn place_of(hash: u64, length: usize) -> usize {
    usize::try_from(((hash >> 32) * length as u64) >> 32).unwrap_or(0)
}

#[inline]
fn record_in<'a, T: Keyed>(slots: &'a [Option<T>], hash: u64, key: &str) -> Option<&'a T> {
    let first = place_of(hash, slots.len());
    let (before, from) = slots.split_at_checked(first)?;
    for slot in from.iter().chain(before) {
        match slot {
            Some(record) if record.key() == key => return Some(record),
            Some(_) => {}
            None => return None,
        }
    }
    None
}

/// The slot of `key`, or else the free one that it would get, and how far that is from where it belongs.
fn seek<T: Keyed>(slots: &[Option<T>], hash: u64, key: &str) -> Option<(usize, usize)> {
    let length = slots.len();
    let mut at = place_of(hash, length);
    for distance in 0..length {
        match slots.get(at) {
            Some(Some(record)) if record.key() != key => {}
            Some(Some(_)) => return Some((at, 0)), // it stays where it is, however far that may be
            _ => return Some((at, distance)),
        }
        at = if at + 1 == length { 0 } else { at + 1 };
    }
    None
}

/// INVARIANT: a shared node is never changed, only replaced by a changed copy.
fn insert_below<T: Keyed>(
    node: &mut Node<T>,
    hasher: &RandomState,
    record: T,
    hash: u64,
    shift: u32,
) {
    match node {
        Node::Branch(children) => {
            let children = Arc::make_mut(children);
            if let Some(child) = children.get_mut(branch_of(hash, shift)) {
                insert_below(child, hasher, record, hash, shift + LEVEL_BITS);
            }
        }
        Node::Leaf(slots) => {
            if let Some((at, distance)) = seek(slots, hash, record.key())
                && distance < DISTANCE_MAX
                && let Some(slot) = Arc::make_mut(slots).get_mut(at)
            {
                *slot = Some(record);
                return;
            }
            let kept = slots
                .iter()
                .flatten()
                .filter(|other| other.key() != record.key());
            let records = kept.cloned().chain([record.clone()]).collect();
            *node = node_of(records, hasher, shift);
        }
    }
}

/// A new node of records that share the bits below `shift`. Should all of them share the next bits too, the next level splits them.
fn node_of<T: Keyed>(records: Vec<T>, hasher: &RandomState, shift: u32) -> Node<T> {
    let known: Vec<(u64, T)> = records
        .into_iter()
        .map(|record| (hasher.hash_one(record.key()), record))
        .collect();
    if known.len() <= LEAF_RECORDS_MAX || shift >= u64::BITS {
        return Node::Leaf(slots_of(&known));
    }
    let mut parts: [Vec<T>; BRANCHES] = std::array::from_fn(|_| Vec::new());
    for (hash, record) in known {
        if let Some(part) = parts.get_mut(branch_of(hash, shift)) {
            part.push(record);
        }
    }
    Node::Branch(Arc::new(
        parts.map(|part| node_of(part, hasher, shift + LEVEL_BITS)),
    ))
}

/// A leaf with as many slots as it takes for every record to be near where it belongs.
fn slots_of<T: Keyed>(records: &[(u64, T)]) -> Slots<T> {
    let (count, mut length) = (records.len(), records.len() + records.len() / 2);
    loop {
        let slots = placed(records, length);
        let crowded = length < count * SLOTS_PER_RECORD_MAX;
        match slots {
            Some((farthest, slots)) if farthest < DISTANCE_MAX || !crowded => return slots.into(),
            _ => length += length / 4 + 1,
        }
    }
}

fn placed<T: Keyed>(records: &[(u64, T)], length: usize) -> Option<(usize, Vec<Option<T>>)> {
    let mut slots: Vec<Option<T>> = std::iter::repeat_with(|| None).take(length).collect();
    let mut farthest = 0;
    for (hash, record) in records {
        let (at, distance) = seek(&slots, *hash, record.key())?;
        *slots.get_mut(at)? = Some(record.clone());
        farthest = farthest.max(distance);
    }
    Some((farthest, slots))
}

fn remove_below<T: Keyed>(
    node: &mut Node<T>,
    hasher: &RandomState,
    hash: u64,
    key: &str,
    shift: u32,
) {
    match node {
        Node::Branch(children) => {
            if let Some(child) = Arc::make_mut(children).get_mut(branch_of(hash, shift)) {
                remove_below(child, hasher, hash, key, shift + LEVEL_BITS);
            }
        }
        Node::Leaf(slots) => {
            let kept = slots.iter().flatten().filter(|record| record.key() != key);
            *node = node_of(kept.cloned().collect(), hasher, shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
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
                    map.insert(Record(key.clone(), value));
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
        let records = |count: u32| -> Vec<(u64, Record)> {
            (0..count)
                .map(|number| (7, Record(format!("k{number}"), number)))
                .collect()
        };
        let slots = slots_of(&records(100));
        assert!(slots.len() <= 100 * SLOTS_PER_RECORD_MAX + 100);
        for number in 0..100 {
            let found = record_in(&slots, 7, &format!("k{number}"));
            assert_eq!(found.map(|record| record.1), Some(number));
        }
        assert!(record_in(&slots, 7, "k100").is_none());
        let full = placed(&records(3), 3).unwrap().1;
        assert!(record_in(&full, 7, "k3").is_none());
        assert_eq!(seek(&full, 7, "k3"), None);
    }

    /// What a lookup walks past, and what the room for it costs.
    #[test]
    fn records_are_near_where_they_belong() {
        let mut map = Map::default();
        for number in 0..20_000 {
            map.insert(Record(format!("k{number}"), number));
        }
        let (mut nodes, mut slots, mut walked) = (vec![&map.root], 0, 0);
        while let Some(node) = nodes.pop() {
            match node {
                Node::Branch(children) => nodes.extend(children.iter()),
                Node::Leaf(leaf) => {
                    slots += leaf.len();
                    for record in leaf.iter().flatten() {
                        let hash = map.hasher.hash_one(record.key());
                        let (at, _) = seek(leaf, hash, record.key()).unwrap();
                        walked += (at + leaf.len() - place_of(hash, leaf.len())) % leaf.len();
                    }
                }
            }
        }
        assert!(slots < 20_000 * 2, "{slots} slots");
        assert!(walked < 20_000, "{walked} steps");
    }
}
