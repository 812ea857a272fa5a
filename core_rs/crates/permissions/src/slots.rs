//! A persistent vector by handle: a trie of chunks that are shared until they are written. It knows nothing of permissions.
use std::sync::Arc;

const LEVEL_BITS: u32 = 5;
/// Values of one chunk, which is what one write copies, and chunks below one node.
const BRANCHES: usize = 1 << LEVEL_BITS;

#[derive(Debug)]
enum Node<T> {
    Chunk(Arc<[Option<T>; BRANCHES]>),
    Branch(Arc<[Option<Node<T>>; BRANCHES]>),
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Chunk(values) => Self::Chunk(Arc::clone(values)),
            Self::Branch(children) => Self::Branch(Arc::clone(children)),
        }
    }
}

impl<T> Node<T> {
    fn empty(shift: u32) -> Self {
        if shift == 0 {
            Self::Chunk(Arc::new(std::array::from_fn(|_| None)))
        } else {
            Self::Branch(Arc::new(std::array::from_fn(|_| None)))
        }
    }
}

/// Values by handle; a handle that was never written reads as `None`.
#[derive(Debug)]
pub struct Slots<T> {
    root: Node<T>,
    /// Bits of a handle that the nodes below the root's children consume.
    shift: u32,
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            shift: self.shift,
        }
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            root: Node::empty(0),
            shift: 0,
        }
    }
}

fn branch_of(handle: u32, shift: u32) -> usize {
    handle.checked_shr(shift).unwrap_or(0) as usize & (BRANCHES - 1)
}

impl<T> Slots<T> {
    /// The value at `handle`.
    #[inline]
    pub fn get(&self, handle: u32) -> Option<&T> {
        let (mut node, mut shift) = (&self.root, self.shift);
        if self.is_beyond(handle) {
            return None;
        }
        loop {
            match node {
                Node::Branch(children) => {
                    node = children.get(branch_of(handle, shift))?.as_ref()?;
                    shift = shift.saturating_sub(LEVEL_BITS);
                }
                Node::Chunk(values) => return values.get(branch_of(handle, 0))?.as_ref(),
            }
        }
    }

    fn is_beyond(&self, handle: u32) -> bool {
        handle
            .checked_shr(self.shift + LEVEL_BITS)
            .is_some_and(|rest| rest > 0)
    }
}

impl<T: Clone> Slots<T> {
    /// Writes (or empties) the value at `handle`.
    pub fn set(&mut self, handle: u32, value: Option<T>) {
        if value.is_some() || self.get(handle).is_some() {
            self.change(handle, |slot| *slot = value);
        }
    }

    /// Changes the value at `handle`, from its default when there is none.
    pub fn update(&mut self, handle: u32, change: impl FnOnce(&mut T))
    where
        T: Default,
    {
        self.change(handle, |slot| change(slot.get_or_insert_default()));
    }

    fn change(&mut self, handle: u32, change: impl FnOnce(&mut Option<T>)) {
        while self.is_beyond(handle) {
            let mut children = std::array::from_fn(|_| None);
            children[0] = Some(self.root.clone());
            self.root = Node::Branch(Arc::new(children));
            self.shift += LEVEL_BITS;
        }
        change_below(&mut self.root, handle, self.shift, change);
    }
}

/// INVARIANT: a shared node is never changed, only replaced by a changed copy.
fn change_below<T: Clone>(
    node: &mut Node<T>,
    handle: u32,
    shift: u32,
    change: impl FnOnce(&mut Option<T>),
) {
    match node {
        Node::Branch(children) => {
            let below = shift.saturating_sub(LEVEL_BITS);
            if let Some(child) = Arc::make_mut(children).get_mut(branch_of(handle, shift)) {
                let child = child.get_or_insert_with(|| Node::empty(below));
                change_below(child, handle, below, change);
            }
        }
        Node::Chunk(values) => {
            if let Some(slot) = Arc::make_mut(values).get_mut(branch_of(handle, 0)) {
                change(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn writes_leave_clones_alone() {
        let mut slots = Slots::default();
        slots.set(130, Some(1));
        let earlier = slots.clone();
        slots.set(130, Some(2));
        slots.set(0, Some(3));
        slots.update(7, |value| *value += 4);
        assert_eq!(
            (earlier.get(130), earlier.get(0), earlier.get(7)),
            (Some(&1), None, None)
        );
        assert_eq!(
            (slots.get(130), slots.get(0), slots.get(7)),
            (Some(&2), Some(&3), Some(&4))
        );
        slots.set(130, None);
        assert_eq!(
            (slots.get(130), slots.get(u32::MAX), slots.get(131)),
            (None, None, None)
        );
    }

    /// Handles of every size, so that the trie grows by all its levels.
    fn handle() -> impl Strategy<Value = u32> {
        (any::<u32>(), 0u32..32).prop_map(|(handle, shift)| handle >> shift)
    }

    proptest! {
        #[test]
        fn behaves_like_a_tree_map_and_leaves_clones_alone(steps in prop::collection::vec((handle(), prop::option::of(any::<u8>())), 0..200)) {
            let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
            let mut earlier = Vec::new();
            for (index, (handle, value)) in steps.iter().enumerate() {
                if index % 40 == 0 {
                    earlier.push((slots.clone(), model.clone()));
                }
                slots.set(*handle, *value);
                match value {
                    Some(value) => _ = model.insert(*handle, *value),
                    None => _ = model.remove(handle),
                }
            }
            earlier.push((slots, model));
            for (slots, model) in earlier {
                for (handle, _) in &steps {
                    for near in [*handle, handle.wrapping_add(1), handle.wrapping_sub(32)] {
                        prop_assert_eq!(slots.get(near), model.get(&near));
                    }
                }
            }
        }
    }
}
