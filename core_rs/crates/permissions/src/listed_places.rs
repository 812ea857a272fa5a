//! The way from a group to the places that allow it something, kept in step with the rules that places are about to get.
//!
//! It is gathered by group and written once for each: a group may be listed at every door, and its list is shared with whoever still reads.
use crate::grant::GroupRule;
use crate::model::State;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// By group: places that begin (or cease) to list an allow rule for it.
#[derive(Debug, Default)]
pub struct ListedPlaces(BTreeMap<u32, Vec<(u32, bool)>>);

type Groups = SmallVec<[u32; 8]>;

impl ListedPlaces {
    /// What the rules of `place` become. INVARIANT: places come in ascending order, each once.
    pub fn note(&mut self, place: u32, before: &[GroupRule], after: &[GroupRule]) {
        let (before, after) = (allowed_groups(before), allowed_groups(after));
        self.note_all(place, false, &before, &after);
        self.note_all(place, true, &after, &before);
    }

    fn note_all(&mut self, place: u32, listed: bool, groups: &Groups, others: &Groups) {
        for group in groups {
            if others.binary_search(group).is_err() {
                self.0.entry(*group).or_default().push((place, listed));
            }
        }
    }

    /// Writes what was noted.
    pub fn write(self, next: &mut State) {
        for (group, changes) in self.0 {
            next.places_of_group.update(group, |places| {
                *places = Arc::new(with_changes(places, &changes));
            });
        }
    }
}

/// Ascending, each once.
fn allowed_groups(rules: &[GroupRule]) -> Groups {
    let allows = rules.iter().filter(|rule| !rule.grant.denies());
    let mut groups: Groups = allows.map(|rule| rule.group).collect();
    groups.dedup();
    groups
}

/// Both are ascending.
fn with_changes(places: &[u32], changes: &[(u32, bool)]) -> Vec<u32> {
    let mut written = Vec::with_capacity(places.len() + changes.len());
    let mut rest = places;
    for (place, listed) in changes {
        let (before, from) = rest.split_at(rest.partition_point(|other| other < place));
        written.extend_from_slice(before);
        written.extend(listed.then_some(*place));
        rest = from.strip_prefix(&[*place]).unwrap_or(from);
    }
    written.extend_from_slice(rest);
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::GrantLink;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Rules = BTreeSet<(u32, bool)>;

    fn rules_of(told: &Rules) -> Vec<GroupRule> {
        let rule = |(group, denies): &(u32, bool)| GroupRule {
            group: *group,
            grant: GrantLink::new(1, *denies),
        };
        told.iter().map(rule).collect()
    }

    proptest! {
        /// Places get rules and get others, some places in each round; a group lists those that allow it at the end.
        #[test]
        fn a_group_lists_the_places_that_allow_it(rounds in prop::collection::vec(prop::collection::btree_map(0u32..12, prop::collection::btree_set((0u32..4, any::<bool>()), 0..5), 0..12), 1..6)) {
            let (mut state, mut standing) = (State::default(), BTreeMap::<u32, Rules>::new());
            for round in rounds {
                let mut listed = ListedPlaces::default();
                for (place, rules) in round {
                    let before = standing.insert(place, rules.clone()).unwrap_or_default();
                    listed.note(place, &rules_of(&before), &rules_of(&rules));
                }
                listed.write(&mut state);
                for group in 0..4 {
                    let allows = standing.iter().filter(|(_, rules)| rules.contains(&(group, false)));
                    let expected: Vec<u32> = allows.map(|(place, _)| *place).collect();
                    let told = state.places_of_group.get(group).map(|places| places.to_vec());
                    prop_assert_eq!(told.unwrap_or_default(), expected);
                }
            }
        }
    }
}
