"""Accounts inside a change: who signs in with which address, and with which password. `store.py` has them for everybody else."""

from __future__ import annotations

import hashlib

from pymongo.asynchronous.client_session import AsyncClientSession

from py_service.errors import Problem
from py_service.permissions.change import Plan, View, Write
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo

COLLECTION = "accounts"
NO_PASSWORD = ""  # nobody's: only a mail to its address opens such an account
HELD_MAX = 10


async def find_account(view: View, email: str) -> Document | None:
    """Whoever's it is: addresses are unique over all organizations."""
    found: Document | None = await view.mongo.database[COLLECTION].find_one({"_id": email}, session=view.session)
    return found


async def accounts_of(view: View, person: str) -> list[Document]:
    """A person's account; more than one only where an older version made it."""
    holder = {"holder": holder_of(view.organization, person)}
    return await view.mongo.database[COLLECTION].find(holder, session=view.session).limit(HELD_MAX).to_list()


async def is_free(mongo: Mongo, account: Document, session: AsyncClientSession | None = None) -> bool:
    """Whether nobody signs in with it any more: its person is deleted, or its organization archived."""
    organization = str(account["org"])
    person = await read_object(mongo, organization, "person", str(account["person"]), session)
    if person is None or person.get("ended_at") is not None:
        return True
    theirs = await read_object(mongo, organization, "organization", organization, session)
    return theirs is not None and theirs.get("archived_at") is not None and not theirs["active"]


async def move_account(view: View, person: str, email: str | None) -> Plan | None:
    """What becomes of a person's account whose address is `email` from now on; None: there is none, or it is signed in with that already.

    It goes along, without its password: whoever chose that had the old address, which may have been somebody else's. A mail to the new one
    sets another. Without an address the account ends, and where somebody else signs in with the new one, it ends too: who does is told to
    nobody but whoever has that address's mail.
    """
    held = [account for account in await accounts_of(view, person) if account["_id"] != email]
    if not held:
        return None
    plan = Plan(writes=[Write(COLLECTION, str(account["_id"]), None) for account in held])
    if email is not None:
        standing = await find_account(view, email)
        if (
            standing is None
            or (standing["org"], standing["person"]) == (view.organization, person)
            or await is_free(view.mongo, standing, view.session)
        ):
            plan.writes.append(account_write(email, new_account(view.organization, person, NO_PASSWORD)))
    return plan


async def take_account(view: View, person: str, email: str, password: str) -> Write:
    """The account with which this person signs in from now on, or again. Raises Problem 409 `email_taken`: somebody else does."""
    standing = await find_account(view, email)
    own = standing is not None and (standing["org"], standing["person"]) == (view.organization, person)
    if standing is not None and not own and not await is_free(view.mongo, standing, view.session):
        raise Problem(409, "email_taken", "There is an account with this e-mail address.")
    return account_write(email, new_account(view.organization, person, password))


def holder_of(organization: str, person: str) -> str:
    """What an account is found by from its person."""
    return f"{organization}:{person}"


def new_account(organization: str, person: str, password: str) -> Document:
    """`password` is the encoded argon2id hash."""
    return {"org": organization, "person": person, "holder": holder_of(organization, person), "password": password}


def account_write(email: str, account: Document) -> Write:
    """Replaces the whole account. INVARIANT: a sign-in writes the account too, so of it and this one sees the other."""
    return Write(COLLECTION, email, {**account, "_id": email})


def password_mark(password: str) -> str:
    """Stands for the password that an account has now, and tells nothing of it: the SHA-256 of its salted hash."""
    return hashlib.sha256(password.encode()).hexdigest()
