//! What managers and API keys may do, and whether a token still stands. Doors are decided in `check`.
use crate::api_keys::{Refusal, Scope, authenticate_key, key_named, key_scope};
use crate::check::{Silent, person_by_id, person_stands};
use crate::decision::{Decision, Reason};
use crate::documents::HeldRole;
use crate::identifier::Identifier;
use crate::model::State;

/// Everything that a role can allow. `owner` is what only owners may do: make and unmake owners.
const PERMISSIONS: [&str; 15] = [
    "devices.write",
    "doors.read",
    "doors.write",
    "events.read",
    "grants.write",
    "keys.write",
    "lockdown.write",
    "organization.read",
    "organization.write",
    "owner",
    "persons.read",
    "persons.write",
    "roles.write",
    "schedules.write",
    "sites.write",
];
const OWNERS_ONLY: &str = "owner";

/// The roles that don't hold everything, with what they allow.
const LIMITED_ROLES: [(&str, &[&str]); 4] = [
    (
        "site_manager",
        &[
            "doors.read",
            "doors.write",
            "events.read",
            "grants.write",
            "lockdown.write",
            "persons.read",
            "persons.write",
            "schedules.write",
        ],
    ),
    ("reception", &["doors.read", "grants.write", "persons.read"]),
    ("auditor", &["doors.read", "events.read", "persons.read"]),
    ("installer", &["devices.write", "doors.read"]),
];

/// Does the role include the permission? The table of the protocol.
fn includes(role: &str, permission: &str) -> bool {
    match role {
        "owner" => true,
        "admin" => permission != OWNERS_ONLY,
        _ => LIMITED_ROLES
            .iter()
            .any(|(name, allowed)| *name == role && allowed.contains(&permission)),
    }
}

/// Every role with what it allows, the mightiest first; permissions in the order of their names.
#[must_use]
pub fn roles() -> Vec<(&'static str, Vec<&'static str>)> {
    let whole = ["owner", "admin"].into_iter();
    let limited = LIMITED_ROLES.iter().map(|(name, _)| *name);
    whole
        .chain(limited)
        .map(|role| {
            let allowed = PERMISSIONS
                .into_iter()
                .filter(|permission| includes(role, permission));
            (role, allowed.collect())
        })
        .collect()
}

fn reaches(sites: Option<&[Identifier]>, site: Option<&str>) -> bool {
    match (sites, site) {
        (None, _) => true,
        (Some(sites), Some(site)) => sites.iter().any(|named| named.as_str() == site),
        (Some(_), None) => false,
    }
}

/// May `subject`, a person or an API key, do `permission` at `site` (`None`: for the whole organization) now?
/// The rule is the smallest role that says so, or the key.
///
/// A suspended organization has no managers, and whoever is not valid (yet, or any more) has no roles.
#[must_use]
pub fn check_role(
    state: &State,
    subject: &str,
    permission: &str,
    site: Option<&str>,
    now_ms: i64,
) -> Decision {
    let answer = match key_named(subject) {
        Some(key) => role_of_key(state, key, permission, site, now_ms),
        None => role_of_person(state, subject, permission, site, now_ms),
    };
    let (reason, rule) = answer.unwrap_or_else(|refusal| refusal);
    Decision {
        reason,
        rule,
        revision: state.revision,
        needs: None,
    }
}

type Answer = Result<(Reason, Option<Identifier>), (Reason, Option<Identifier>)>;

fn scope_of_key<'a>(
    state: &'a State,
    key: &str,
    permission: &str,
    now_ms: i64,
) -> Result<Scope<'a>, Refusal> {
    if !state.active {
        return Err((Reason::OrganizationSuspended, None));
    }
    key_scope(&state.api_keys, key, permission, now_ms)
}

fn role_of_key(
    state: &State,
    key: &str,
    permission: &str,
    site: Option<&str>,
    now_ms: i64,
) -> Answer {
    let (key, sites) = scope_of_key(state, key, permission, now_ms)?;
    if reaches(sites, site) {
        Ok((Reason::Granted, Some(key.clone())))
    } else {
        Err((Reason::RoleMissing, None))
    }
}

fn role_of_person(
    state: &State,
    person: &str,
    permission: &str,
    site: Option<&str>,
    now_ms: i64,
) -> Answer {
    person_by_id(state, person, &mut Silent).and_then(|person| {
        person_stands(person, now_ms, &mut Silent)?;
        let holding = person.roles().iter().filter(|held| {
            includes(held.role.as_str(), permission) && reaches(held.sites.as_deref(), site)
        });
        let role = holding
            .map(|held| &held.role)
            .min()
            .ok_or((Reason::RoleMissing, None))?;
        Ok((Reason::Granted, Some(role.clone())))
    })
}

/// Where `subject` may do `permission` now: the decision as if any one site would do, and the sites; `None` is everywhere.
#[must_use]
pub fn reach(
    state: &State,
    subject: &str,
    permission: &str,
    now_ms: i64,
) -> (Decision, Option<Vec<Identifier>>) {
    let answer = match key_named(subject) {
        Some(key) => scope_of_key(state, key, permission, now_ms)
            .map(|(key, sites)| (key.clone(), sites.map(<[Identifier]>::to_vec))),
        None => reach_of_person(state, subject, permission, now_ms),
    };
    let (reason, rule, sites) = match answer {
        Ok((role, sites)) => (Reason::Granted, Some(role), sites),
        Err((reason, rule)) => (reason, rule, Some(Vec::new())),
    };
    let decision = Decision {
        reason,
        rule,
        revision: state.revision,
        needs: None,
    };
    (decision, sites)
}

type Reached = (Identifier, Option<Vec<Identifier>>);

fn reach_of_person(
    state: &State,
    person: &str,
    permission: &str,
    now_ms: i64,
) -> Result<Reached, (Reason, Option<Identifier>)> {
    person_by_id(state, person, &mut Silent).and_then(|person| {
        person_stands(person, now_ms, &mut Silent)?;
        let holding: Vec<&HeldRole> = person
            .roles()
            .iter()
            .filter(|held| includes(held.role.as_str(), permission))
            .collect();
        let role = holding.iter().map(|held| &held.role).min();
        let role = role.ok_or((Reason::RoleMissing, None))?.clone();
        if holding.iter().any(|held| held.sites.is_none()) {
            return Ok((role, None));
        }
        let mut sites: Vec<Identifier> = holding
            .iter()
            .filter_map(|held| held.sites.as_ref())
            .flatten()
            .cloned()
            .collect();
        sites.sort_unstable();
        sites.dedup();
        Ok((role, Some(sites)))
    })
}

/// Why what `subject` shows does not stand (any more); `None` when it does.
///
/// A person shows a token of a session that was issued at `at_ms`; an API key its secret, at that moment: `session` is its hash.
#[must_use]
pub fn authenticate(
    state: &State,
    subject: &str,
    at_ms: i64,
    session: &str,
) -> Option<&'static str> {
    if let Some(key) = key_named(subject) {
        return authenticate_key(&state.api_keys, state.active, key, at_ms, session);
    }
    if !state.active {
        return Some("organization_suspended");
    }
    match state.person(subject) {
        None => Some("person_unknown"),
        Some(person) if person.suspended => Some("person_suspended"),
        Some(person) if at_ms < person.tokens_valid_after_ms() => Some("token_revoked"),
        Some(_) if state.ended_sessions.get(session).is_some() => Some("token_revoked"),
        Some(_) => None,
    }
}
