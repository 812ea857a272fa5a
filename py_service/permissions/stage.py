"""Stages: what an import that is all or nothing makes is written batch by batch, and shows as a whole, in one revision, or never.

An object that came with a stage has its number in `staged`. It counts from the revision on in which the organization's `stages_live`
reaches that number (docs/decisions/0008-imports.md). One import of an organization stages at a time, so one number says it for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from py_service.stores.mongo import Mongo

STAGED_KINDS = ("person", "group", "grant")


def is_staged(document: Mapping[str, Any]) -> bool:
    """Whether it came with a stage, live or not."""
    return bool(document.get("staged"))


def stages_live(organization: Mapping[str, Any] | None) -> int:
    """Of the organization's document: the number up to which stages are live."""
    return 0 if organization is None else int(organization.get("stages_live") or 0)


def next_stage(organization: Mapping[str, Any]) -> int:
    """The first number that no import of it was given: not even one that was undone."""
    return max(stages_live(organization), int(organization.get("stages_given") or 0)) + 1


async def read_live(mongo: Mongo, organization: str, session: AsyncClientSession | None = None) -> int:
    """The same, from the store; it only grows. Read before objects are listed, it shows no part of a stage that goes live meanwhile."""
    return stages_live(await mongo.database["organizations"].find_one({"_id": organization}, session=session))


def is_live(document: Mapping[str, Any], live: int) -> bool:
    """Whether it came with no stage, or with one up to this number."""
    return int(document.get("staged") or 0) <= live
