//! API keys: what stands, what they may do, and where.
#![allow(clippy::unwrap_used)]
mod organization;
use nexkey_permissions::PermissionIndex;
use organization::*;
use serde_json::{Value, json};

fn with(changed: Value) -> PermissionIndex {
    let mut images = headquarters("UTC");
    images.push(api_key("k1", changed));
    loaded(&images)
}

fn shown(index: &PermissionIndex, which: &str, at_ms: i64) -> Option<&'static str> {
    index.authenticate(ORGANIZATION, "api_key:k1", at_ms, &which.repeat(64))
}

#[test]
fn a_key_stands_for_who_knows_its_secret_until_it_expires() {
    let index = with(json!({}));
    assert_eq!(shown(&index, "a", 0), None);
    assert_eq!(shown(&index, "a", 999), None);
    assert_eq!(shown(&index, "a", 1_000), Some("api_key_expired"));
    assert_eq!(shown(&index, "b", 0), Some("api_key_unknown"));
    assert_eq!(
        shown(&index, "b", 1_000),
        Some("api_key_unknown"),
        "nothing is told to who doesn't know the secret"
    );
    for wrong in ["", "a", &"A".repeat(64), &"a".repeat(63), &"a".repeat(65)] {
        assert_eq!(
            index.authenticate(ORGANIZATION, "api_key:k1", 0, wrong),
            Some("api_key_unknown")
        );
    }
    for nobody in [
        "api_key:",
        "api_key:k2",
        "api_key:anna",
        "api_key:api_key:k1",
    ] {
        assert_eq!(
            index.authenticate(ORGANIZATION, nobody, 0, &"a".repeat(64)),
            Some("api_key_unknown"),
            "{nobody}"
        );
    }
    assert_eq!(
        index.authenticate("other", "api_key:k1", 0, &"a".repeat(64)),
        Some("stores_unavailable")
    );
}

#[test]
fn a_key_that_is_switched_off_or_gone_stands_no_more() {
    let index = with(json!({"active": false}));
    assert_eq!(shown(&index, "a", 0), Some("api_key_inactive"));
    assert_eq!(
        answer(&index.check_role(ORGANIZATION, "api_key:k1", "persons.read", None, 0)),
        ("unknown_credential", None)
    );
    let index = with(json!({}));
    index
        .apply(ORGANIZATION, 2, &bytes(&[tombstone("api_key", "k1")]))
        .unwrap();
    assert_eq!(shown(&index, "a", 0), Some("api_key_unknown"));
    let index = with(json!({}));
    index
        .apply(ORGANIZATION, 2, &bytes(&[organization(false)]))
        .unwrap();
    assert_eq!(shown(&index, "a", 0), Some("organization_suspended"));
    assert_eq!(
        shown(&index, "b", 0),
        Some("api_key_unknown"),
        "who doesn't know the secret learns nothing of the organization"
    );
    assert_eq!(
        answer(&index.check_role(ORGANIZATION, "api_key:k1", "persons.read", None, 0)),
        ("organization_suspended", None)
    );
}

#[test]
fn two_secrets_stand_during_a_rotation_and_the_older_one_ends() {
    let index = with(json!({"secrets": [secret("a", Some(100)), secret("b", None)]}));
    assert_eq!(
        (shown(&index, "a", 99), shown(&index, "b", 99)),
        (None, None)
    );
    assert_eq!(shown(&index, "a", 100), Some("api_key_unknown"));
    assert_eq!(shown(&index, "b", 100), None);
}

#[test]
fn a_key_may_do_what_its_scopes_say_where_they_say_it() {
    let index = with(json!({"scopes": ["grants.write", "events.read"], "sites": ["hq", "lab"]}));
    let ask = |permission: &str, site: Option<&str>, now_ms: i64| {
        let decision = index.check_role(ORGANIZATION, "api_key:k1", permission, site, now_ms);
        let (reason, rule) = answer(&decision);
        (reason, rule.map(str::to_owned))
    };
    let granted = ("granted", Some("k1".to_owned()));
    assert_eq!(ask("grants.write", Some("hq"), 0), granted);
    assert_eq!(ask("events.read", Some("lab"), 999), granted);
    for (permission, site) in [
        ("grants.write", None),
        ("grants.write", Some("dock")),
        ("persons.read", Some("hq")),
        ("grants", Some("hq")),
        ("owner", None),
    ] {
        assert_eq!(ask(permission, site, 0), ("role_missing", None));
    }
    assert_eq!(ask("grants.write", Some("hq"), 1_000), ("expired", None));
    let everywhere = with(json!({}));
    assert!(
        everywhere
            .check_role(ORGANIZATION, "api_key:k1", "persons.read", None, 0)
            .is_allowed()
    );
}

#[test]
fn a_key_reaches_its_sites() {
    let reached = |index: &PermissionIndex, permission: &str, now_ms: i64| {
        let (decision, sites) = index.reach(ORGANIZATION, "api_key:k1", permission, now_ms);
        let named = |sites: Vec<nexkey_permissions::Identifier>| {
            sites
                .iter()
                .map(|site| site.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        (decision.reason.as_str(), sites.map(named))
    };
    let some = with(json!({"sites": ["hq"]}));
    assert_eq!(
        reached(&some, "persons.read", 0),
        ("granted", Some(vec!["hq".to_owned()]))
    );
    assert_eq!(
        reached(&some, "persons.write", 0),
        ("role_missing", Some(vec![]))
    );
    assert_eq!(
        reached(&some, "persons.read", 1_000),
        ("expired", Some(vec![]))
    );
    assert_eq!(
        reached(&with(json!({})), "persons.read", 0),
        ("granted", None)
    );
    assert_eq!(
        reached(&with(json!({"sites": []})), "persons.read", 0),
        ("granted", Some(vec![]))
    );
}

#[test]
fn no_key_opens_a_door() {
    let mut images = headquarters("UTC");
    images.extend([
        door("front", "unlocked", false),
        api_key("k1", json!({"scopes": ["doors.write", "grants.write"]})),
    ]);
    let index = loaded(&images);
    let decision = index.check(ORGANIZATION, "api_key:k1", "front", 0);
    assert_eq!(answer(&decision), ("unknown_credential", None));
    assert!(
        index
            .doors_of(ORGANIZATION, "api_key:k1", 0, "", None, 10)
            .is_empty()
    );
}
