//! A persistent vector by handle: chunks that are shared until they are written. It knows nothing of permissions.
use std::sync::Arc;

/// Slots of one chunk: what one write copies, beside one pointer per chunk.
const CHUNK_SLOTS: usize = 64;

/// Values by handle; a handle that was never written reads as `None`.
#[derive(Debug)]
pub struct Slots<T> {
    chunks: Arc<Vec<Chunk<T>>>,
}

type Chunk<T> = Arc<Vec<Option<Arc<T>>>>;

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: Arc::clone(&self.chunks),
        }
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
        }
    }
}

impl<T> Slots<T> {
    /// The value at `handle`.
    pub fn get(&self, handle: u32) -> Option<&Arc<T>> {
        let (chunk, slot) = place_of(handle);
        self.chunks.get(chunk)?.get(slot)?.as_ref()
    }

    /// Writes (or empties) the value at `handle`.
    pub fn set(&mut self, handle: u32, value: Option<Arc<T>>) {
        let (chunk, slot) = place_of(handle);
        let chunks = Arc::make_mut(&mut self.chunks);
        while chunks.len() <= chunk {
            chunks.push(Arc::new(vec![None; CHUNK_SLOTS]));
        }
        if let Some(target) = chunks
            .get_mut(chunk)
            .and_then(|chunk| Arc::make_mut(chunk).get_mut(slot))
        {
            *target = value;
        }
    }
}

fn place_of(handle: u32) -> (usize, usize) {
    let handle = handle as usize;
    (handle / CHUNK_SLOTS, handle % CHUNK_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_leave_clones_alone() {
        let mut slots = Slots::default();
        slots.set(130, Some(Arc::new(1)));
        let earlier = slots.clone();
        slots.set(130, Some(Arc::new(2)));
        slots.set(0, Some(Arc::new(3)));
        assert_eq!(earlier.get(130).map(|value| **value), Some(1));
        assert_eq!(earlier.get(0), None);
        assert_eq!(slots.get(130).map(|value| **value), Some(2));
        slots.set(130, None);
        assert_eq!(slots.get(130), None);
        assert_eq!(slots.get(u32::MAX), None);
    }
}
