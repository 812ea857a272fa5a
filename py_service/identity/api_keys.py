"""Make, change, rotate and revoke API keys. Changes like any other: once one has returned, no process takes what it ended.

A key does what its scopes say, never more than whoever sets them may do at that moment. It stands on its own from then on: it doesn't end
with the roles of its maker. Keys are managed by persons only: no key can have the scope to make another.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from py_service.errors import Problem, unknown
from py_service.identity.api_key import make_key, read_key
from py_service.permissions.change import Plan, View
from py_service.permissions.match import check_match
from py_service.permissions.text import clean_name, clean_names
from py_service.stores.mongo import Document

KIND = "api_key"
PERMISSION = "keys.write"
LIFE_MS_DEFAULT = 365 * 86_400_000
LIFE_MS_MAX = 5 * 365 * 86_400_000
# Persons, schedules, roles and the organization are at no site: whatever these allow is asked for everywhere.
EVERYWHERE_ONLY = frozenset({"organization.read", "organization.write", "persons.write", "roles.write", "schedules.write"})
SECRETS_MAX = 2  # as the core takes them: the one in use, and during a rotation the one before


@dataclass(frozen=True, slots=True)
class MakeKey:
    """`values`: name, scopes, sites, expires_at (ms or None). `result`: the document, and in `key` what is shown once."""

    identifier: str | None
    values: Document
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require(PERMISSION, None)
        identifier = self.identifier or f"key_{secrets.token_hex(8)}"
        if await view.find_ended_or_not(KIND, identifier) is not None:
            raise Problem(409, "id_taken", "There is, or was, an API key with this id.")
        expires_at = self.values["expires_at"]
        document: Document = {
            **self.values, "id": identifier, "active": True, "created_at": view.at_ms, "secrets": [],
            "expires_at": view.at_ms + LIFE_MS_DEFAULT if expires_at is None else expires_at,
            "created_by": None if view.actor is None else view.actor.subject,
        }  # fmt: skip
        document["name"] = clean_name(str(document["name"]))
        await _settle(view, document, known_sites=())
        _check_scopes(document)
        _check_end(view, document)
        return _with_new_secret(view, document, "api_key_created")


@dataclass(frozen=True, slots=True)
class ChangeKey:
    """`values`: the fields that were sent. `if_match`: the revision that the caller has seen, or None for any."""

    key: str
    values: Document
    if_match: int | None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.require(PERMISSION, None)
        before = await view.get(KIND, self.key)
        check_match(before, self.if_match)
        after = {**before, **self.values}
        clean_names(after, self.values)
        await _settle(view, after, known_sites=before["sites"] or ())
        if "scopes" in self.values or "sites" in self.values:
            _check_scopes(after)
        if "expires_at" in self.values:  # one that has expired keeps nobody from renaming the key, or giving it less
            _check_end(view, after)
        if after == before:
            return Plan(result=before)
        return view.written(KIND, after, "api_key_changed", changed=sorted(self.values))


@dataclass(frozen=True, slots=True)
class RotateKey:
    """A second secret; those before end after `overlap_ms`, 0 for at once. `result` as of `MakeKey`, `if_match` as of `ChangeKey`."""

    key: str
    overlap_ms: int
    if_match: int | None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.require(PERMISSION, None)
        document = await view.get(KIND, self.key)
        check_match(document, self.if_match)
        if document["expires_at"] <= view.at_ms:
            raise Problem(422, "validity_invalid", "This API key has expired, and so would its new secret have: move its end first.")
        live = [secret for secret in document["secrets"] if secret["ends_at"] is None or secret["ends_at"] > view.at_ms]
        if self.overlap_ms == 0:
            live = []
        if len(live) >= SECRETS_MAX:
            raise Problem(409, "rotation_under_way", "Two secrets live: wait until the older ends, or rotate with overlap_seconds 0.")
        ends_at = view.at_ms + self.overlap_ms
        kept = [{**secret, "ends_at": ends_at} for secret in live]
        return _with_new_secret(view, {**document, "secrets": kept}, "api_key_rotated")


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """For good. To repeat it is safe."""

    key: str
    if_match: int | None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.require(PERMISSION, None)
        document = await view.find_ended_or_not(KIND, self.key)
        if document is None:
            raise unknown(KIND)
        if document.get("ended_at") is not None:
            return Plan()
        check_match(document, self.if_match)
        return view.ended(KIND, document, "api_key_revoked")


async def _settle(view: View, document: Document, known_sites: Collection[str]) -> None:
    """Puts it in order. Raises Problem 403 for more than the caller may do, 404 for sites that aren't here, 422.

    `known_sites` are those of the key before: one that was deleted since gives nothing, and keeps nobody from changing the key.
    """
    document["scopes"] = sorted(set(document["scopes"]))
    sites: list[str] | None = document["sites"]
    if sites is not None:
        document["sites"] = sites = sorted(set(sites))
        await view.get_many("site", [site for site in sites if site not in known_sites])
    for scope in document["scopes"]:
        for site in [None] if sites is None else sites:
            view.require(scope, site)


def _check_scopes(document: Document) -> None:
    """Raises Problem 422 for scopes with which nothing could ever be done at the key's sites."""
    lost = [scope for scope in document["scopes"] if scope in EVERYWHERE_ONLY]
    if document["sites"] is not None and lost:
        detail = f"Holds everywhere or not at all, so a key for some sites can't have it: {', '.join(lost)}."
        raise Problem(422, "scope_everywhere_only", detail, members={"scopes": lost})


def _check_end(view: View, document: Document) -> None:
    if not view.at_ms < document["expires_at"] <= view.at_ms + LIFE_MS_MAX:
        raise Problem(422, "validity_invalid", "An API key expires after now, and within five years.")


def _with_new_secret(view: View, document: Document, what: str) -> Plan:
    text = make_key(view.organization, str(document["id"]))
    made = read_key(text)
    if made is None:
        raise ValueError("a key that was just made isn't one")
    secret = {"hash": made.secret_hash, "created_at": view.at_ms, "ends_at": None}
    plan = view.written(KIND, {**document, "secrets": [*document["secrets"], secret]}, what)
    plan.result = {**(plan.result or {}), "key": text}
    return plan
