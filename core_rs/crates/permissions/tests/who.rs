//! Who may pass a door: the same answers as `check`, in pages.
#![allow(clippy::unwrap_used)]
mod organization;
use nexkey_permissions::PermissionIndex;
use organization::*;

const NOW_MS: i64 = 1_764_000_000_000;

#[test]
fn everybody_whom_check_lets_in_and_nobody_else() {
    let mut images = headquarters("Europe/Berlin");
    images.push(grant(
        "g1",
        "allow",
        ("group", "staff"),
        ("door", "front"),
        None,
    ));
    let names: Vec<String> = (0..300).map(|number| format!("p{number:03}")).collect();
    images.push(person("anna", "suspended", &["staff"]));
    for (number, name) in names.iter().enumerate() {
        let state = if number % 7 == 0 {
            "suspended"
        } else {
            "active"
        };
        let groups: &[&str] = if number % 3 == 0 { &["staff"] } else { &[] };
        images.push(person(name, state, groups));
    }
    let index: PermissionIndex = loaded(&images);
    let expected: Vec<String> = names
        .iter()
        .filter(|name| {
            index
                .check(ORGANIZATION, name, "front", NOW_MS)
                .is_allowed()
        })
        .cloned()
        .collect();
    assert_eq!(
        expected.len(),
        85,
        "every third without every seventh of them"
    );
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = index.persons_at(ORGANIZATION, "front", NOW_MS, &after, 20);
        assert!(page.len() <= 20);
        assert!(page.iter().all(|(_, decision)| decision.is_allowed()));
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        found.extend(page.into_iter().map(|(name, _)| name));
    }
    assert_eq!(found, expected);
    assert!(
        index
            .persons_at(ORGANIZATION, "nowhere", NOW_MS, "", 20)
            .is_empty()
    );
    assert!(
        index
            .persons_at("other", "front", NOW_MS, "", 20)
            .is_empty()
    );
    assert!(
        index
            .persons_at(ORGANIZATION, "front", NOW_MS, "", 0)
            .is_empty()
    );
}
