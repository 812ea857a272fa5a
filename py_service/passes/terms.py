"""What a pass may say: when it holds, and that one which was passed on says no more than the one it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_service.errors import Problem
from py_service.permissions.change import View
from py_service.permissions.text import clean_email, clean_name
from py_service.permissions.validity import check_validity
from py_service.stores.mongo import Document

DAY_MS = 86_400_000
WINDOW_MS_MAX = 366 * DAY_MS

LEFT_OUT = ("doors", "valid_until", "schedule", "uses")  # may be, of what is passed on

Terms = Mapping[str, Any]


def drafted(view: View, values: Document, parent: Terms | None) -> Document:
    """The terms that were sent, in order. What is left out is as the parent has it. Raises Problem 400, 422."""
    draft: Document = {**values, "name": clean_name(str(values["name"]))}
    draft["receiver"] = _receiver(values.get("receiver"))
    if draft["valid_from"] is None:
        draft["valid_from"] = view.at_ms if parent is None else max(view.at_ms, int(parent["valid_from"]))
    if parent is not None:
        draft |= {name: parent[name] for name in LEFT_OUT if draft[name] is None}
    draft["doors"] = sorted(set(draft["doors"]))
    check_window(draft)
    if draft["valid_until"] <= view.at_ms:
        raise Problem(422, "validity_invalid", "valid_until is over.")
    if parent is not None and (field := wider(draft, parent)) is not None:
        raise Problem(422, "pass_wider", f"{field}: what is passed on can't be wider than what it is passed on from.")
    return draft


def check_window(terms: Terms) -> None:
    """Of a pass both ends are there. Raises Problem 422 `validity_invalid`."""
    check_validity(terms)
    if terms["valid_until"] - terms["valid_from"] > WINDOW_MS_MAX:
        raise Problem(422, "validity_invalid", "A pass holds for 366 days at most.")


def wider(child: Terms, parent: Terms) -> str | None:
    """The first field in which `child` would give more than `parent`; None when it is as narrow or narrower in all of them.

    A schedule can't be compared with another one (both may change): below one that is limited by a schedule it is the same.
    """
    narrow = {
        "doors": set(child["doors"]) <= set(parent["doors"]),
        "valid_from": child["valid_from"] >= parent["valid_from"],
        "valid_until": child["valid_until"] <= parent["valid_until"],
        "schedule": parent["schedule"] in (None, child["schedule"]),
        "uses": parent["uses"] is None or (child["uses"] is not None and child["uses"] <= parent["uses"]),
        "passes_on_max": child["passes_on_max"] < parent["passes_on_max"],
    }
    return next((field for field, holds in narrow.items() if not holds), None)


def counts_of(document: Terms) -> list[Document]:
    """What a use of it counts against: its own uses and those of the passes it came from, as the core takes them."""
    own = [] if document["uses"] is None else [{"pass": document["id"], "uses": document["uses"]}]
    return own + list(document["counts_above"])


def _receiver(asked: Document | None) -> Document:
    given = {name: value for name, value in ({"link": True} if asked is None else asked).items() if value is not None}
    if len(given) != 1:
        raise Problem(400, "field_invalid", "receiver has exactly one of email, phone and link.")
    if "email" in given:
        given["email"] = clean_email(str(given["email"]))
    return given
