"""Accounts inside a change: who signs in with which address, and with which password. `store.py` has them for everybody else."""

from __future__ import annotations

import hashlib

from py_service.permissions.change import View, Write
from py_service.stores.mongo import Document

COLLECTION = "accounts"


async def find_account(view: View, email: str) -> Document | None:
    """Whoever's it is: addresses are unique over all organizations."""
    found: Document | None = await view.mongo.database[COLLECTION].find_one({"_id": email}, session=view.session)
    return found


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
