//! Roles and tokens, as the protocol says.
#![allow(clippy::unwrap_used)]
mod organization;
use nexkey_permissions::{PermissionIndex, roles};
use organization::*;
use serde_json::{Value, json};

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn roles_hold_where_they_are_given() {
    let with_roles = |roles: Value| {
        image(
            "person",
            "anna",
            json!({"state": "active", "valid_from": null, "valid_until": null, "groups": [], "roles": roles, "tokens_valid_after": 0}),
        )
    };
    let index = loaded(&[
        organization(true),
        with_roles(
            json!([{"role": "site_manager", "sites": ["hq"]}, {"role": "auditor", "sites": null}]),
        ),
    ]);
    let ask = |permission: &str, site: Option<&str>| {
        index.check_role(ORGANIZATION, "anna", permission, site, 500)
    };
    assert_eq!(
        answer(&ask("grants.write", Some("hq"))),
        ("granted", Some("site_manager"))
    );
    assert_eq!(
        answer(&ask("grants.write", Some("lab"))),
        ("role_missing", None)
    );
    assert_eq!(answer(&ask("grants.write", None)), ("role_missing", None));
    assert_eq!(
        answer(&ask("events.read", None)),
        ("granted", Some("auditor"))
    );
    assert_eq!(
        answer(&ask("devices.write", Some("hq"))),
        ("role_missing", None)
    );
    assert_eq!(
        answer(&index.check_role(ORGANIZATION, "ben", "events.read", None, 500)),
        ("unknown_credential", None)
    );
    assert_eq!(
        answer(&index.check_role("other", "anna", "events.read", None, 500)),
        ("stores_unavailable", None)
    );
    for (role, permission, allowed) in [
        ("owner", "anything.write", true),
        ("owner", "owner", true),
        ("admin", "owner", false),
        ("site_manager", "doors.write", true),
        ("site_manager", "sites.write", false),
        ("admin", "devices.write", true),
        ("reception", "persons.read", true),
        ("reception", "persons.write", false),
        ("auditor", "grants.write", false),
        ("installer", "devices.write", true),
        ("installer", "events.read", false),
        ("janitor", "doors.read", false),
    ] {
        let index = loaded(&[
            organization(true),
            with_roles(json!([{"role": role, "sites": null}])),
        ]);
        assert_eq!(
            index
                .check_role(ORGANIZATION, "anna", permission, None, 500)
                .is_allowed(),
            allowed,
            "{role} {permission}"
        );
    }
    let suspended = loaded(&[organization(true), person("anna", "suspended", &[])]);
    assert_eq!(
        answer(&suspended.check_role(ORGANIZATION, "anna", "doors.read", None, 500)),
        ("person_suspended", None)
    );
}

#[test]
fn roles_end_with_their_person_and_their_organization() {
    let manager = |from: i64, until: i64| {
        image(
            "person",
            "anna",
            json!({"state": "active", "valid_from": from, "valid_until": until, "groups": [],
                   "roles": [{"role": "owner", "sites": null}], "tokens_valid_after": 0}),
        )
    };
    let index = loaded(&[organization(true), manager(100, 200)]);
    let ask = |now_ms: i64| {
        index
            .check_role(ORGANIZATION, "anna", "grants.write", None, now_ms)
            .reason
            .as_str()
    };
    assert_eq!(ask(99), "not_yet_valid");
    assert_eq!(ask(100), "granted");
    assert_eq!(ask(199), "granted");
    assert_eq!(ask(200), "expired");
    let suspended = loaded(&[organization(false), manager(100, 200)]);
    assert_eq!(
        answer(&suspended.check_role(ORGANIZATION, "anna", "grants.write", None, 150)),
        ("organization_suspended", None)
    );
}

#[test]
fn a_role_reaches_its_sites() {
    let index = loaded(&[
        organization(true),
        image(
            "person",
            "anna",
            json!({"state": "active", "valid_from": null, "valid_until": null, "groups": [],
                   "roles": [{"role": "site_manager", "sites": ["lab", "hq"]},
                             {"role": "reception", "sites": ["dock", "hq"]},
                             {"role": "auditor", "sites": null}],
                   "tokens_valid_after": 0}),
        ),
    ]);
    let ask = |person: &str, permission: &str| {
        let (decision, sites) = index.reach(ORGANIZATION, person, permission, 500);
        let sites = sites.map(|sites| {
            sites
                .iter()
                .map(|site| site.as_str().to_owned())
                .collect::<Vec<_>>()
        });
        (decision.reason.as_str(), sites)
    };
    let named = |sites: &[&str]| Some(sites.iter().map(|site| (*site).to_owned()).collect());
    assert_eq!(
        ask("anna", "grants.write"),
        ("granted", named(&["dock", "hq", "lab"]))
    );
    assert_eq!(
        ask("anna", "persons.write"),
        ("granted", named(&["hq", "lab"]))
    );
    assert_eq!(ask("anna", "events.read"), ("granted", None));
    assert_eq!(ask("anna", "devices.write"), ("role_missing", named(&[])));
    assert_eq!(
        ask("ben", "events.read"),
        ("unknown_credential", named(&[]))
    );
}

#[test]
fn a_token_stands_until_it_is_cut() {
    let index = PermissionIndex::new();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 5, "s1"),
        Some("stores_unavailable")
    );
    let cut = json!({"state": "active", "valid_from": null, "valid_until": null, "groups": [], "roles": [], "tokens_valid_after": 1_000});
    index
        .load(
            ORGANIZATION,
            1,
            &bytes(&[organization(true), image("person", "anna", cut)]),
        )
        .unwrap();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 999, "s1"),
        Some("token_revoked")
    );
    assert_eq!(index.authenticate(ORGANIZATION, "anna", 1_000, "s1"), None);
    assert_eq!(
        index.authenticate(ORGANIZATION, "ben", 1_000, "s1"),
        Some("person_unknown")
    );
    index
        .apply(ORGANIZATION, 2, &bytes(&[person("anna", "suspended", &[])]))
        .unwrap();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 1_000, "s1"),
        Some("person_suspended")
    );
    index
        .apply(ORGANIZATION, 3, &bytes(&[organization(false)]))
        .unwrap();
    assert_eq!(
        index.authenticate(ORGANIZATION, "anna", 1_000, "s1"),
        Some("organization_suspended")
    );
}

#[test]
fn the_table_that_is_shown_is_the_one_that_decides() {
    let table = roles();
    let (owner, everything) = table.first().unwrap();
    assert_eq!((*owner, everything.len()), ("owner", 15));
    assert!(everything.is_sorted());
    for (role, allowed) in &table {
        let person = image(
            "person",
            "anna",
            json!({"state": "active", "valid_from": null, "valid_until": null, "groups": [], "roles": [{"role": role, "sites": null}],
                   "tokens_valid_after": 0}),
        );
        let index = loaded(&[organization(true), person]);
        for permission in everything {
            let decided = index.check_role(ORGANIZATION, "anna", permission, None, 500);
            assert_eq!(
                decided.is_allowed(),
                allowed.contains(permission),
                "{role} {permission}"
            );
        }
    }
}
