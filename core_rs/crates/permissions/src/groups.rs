//! The direct groups of a person, as few bytes as most persons need.

/// Handles that fit.
const FEW: usize = 14;
/// Fills what is free. No group has it as its short handle.
const FREE: u16 = u16::MAX;

/// Sorted short handles; or none of them, because they are kept beside the record.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    few: [u16; FEW],
    beside: bool,
}

impl Groups {
    /// From sorted handles; `None` when there are too many of them, or one is too large.
    #[must_use]
    pub fn new(handles: &[u32]) -> Option<Self> {
        let mut few = [FREE; FEW];
        if handles.len() > FEW {
            return None;
        }
        for (slot, handle) in few.iter_mut().zip(handles) {
            *slot = u16::try_from(*handle).ok().filter(|short| *short != FREE)?;
        }
        Some(Self { few, beside: false })
    }

    /// They are kept elsewhere.
    #[must_use]
    pub fn beside() -> Self {
        Self {
            few: [FREE; FEW],
            beside: true,
        }
    }

    /// Is this one of them? `None`: they are kept elsewhere. All are looked at, at once and without a branch.
    #[inline]
    #[must_use]
    pub fn is_in(&self, handle: u32) -> Option<bool> {
        if self.beside {
            return None;
        }
        let short = u16::try_from(handle).unwrap_or(FREE);
        let found: u8 = self.few.iter().map(|group| u8::from(*group == short)).sum();
        Some(found > 0 && short != FREE)
    }

    /// All that are kept here, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.few
            .into_iter()
            .take_while(|group| *group != FREE)
            .map(u32::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_is_found_and_nothing_else(handles in prop::collection::btree_set(0u32..70_000, 0..18), other in 0u32..70_000) {
            let handles: Vec<u32> = handles.into_iter().collect();
            let fits = handles.len() <= FEW && handles.iter().all(|handle| *handle < u32::from(FREE));
            let groups = Groups::new(&handles);
            prop_assert_eq!(groups.is_some(), fits);
            if let Some(groups) = groups {
                prop_assert_eq!(groups.iter().collect::<Vec<_>>(), handles.clone());
                for wanted in handles.iter().copied().chain([other, u32::from(FREE), u32::MAX]) {
                    prop_assert_eq!(groups.is_in(wanted), Some(handles.contains(&wanted)));
                }
            }
        }
    }

    #[test]
    fn elsewhere_is_no_answer() {
        assert_eq!(Groups::beside().is_in(7), None);
        assert_eq!(Groups::beside().iter().count(), 0);
    }
}
