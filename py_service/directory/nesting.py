"""How groups include one another: never in a circle, and no chain of them longer than what a person can follow."""

from __future__ import annotations

from py_service.errors import Problem
from py_service.permissions.change import View
from py_service.permissions.listing import listed_key
from py_service.stores.mongo import Document

GROUP_DEPTH_MAX = 16
GROUPS_AROUND_MAX = 10_000  # read inside the transaction of a change, each way


async def check_group(view: View, after: Document, before: Document | None) -> None:
    """No group includes itself, however far around, and none stands in a chain that is too long, above and below it taken together."""
    after["includes"] = sorted(set(after["includes"]))
    if set(after["includes"]) <= set(before["includes"] if before is not None else ()):
        return  # nothing is longer than it was
    below = await _below(view, after)
    if before is not None:  # else nothing can name it yet
        await _check_above(view, str(after["id"]), below)


async def _below(view: View, group: Document) -> int:
    """Of the longest chain that begins here, how many groups it has below this one. Raises Problem 422."""
    known: dict[str, list[str]] = {}
    own, front, depth = str(group["id"]), set(group["includes"]), 0
    while front:
        depth += 1
        if own in front:
            raise Problem(422, "group_cycle", "The group would include itself.")
        _check_depth(depth)
        unread = sorted(front - known.keys())
        known.update({name: [] for name in unread})
        _check_count(len(known))
        known.update({str(document["id"]): document["includes"] for document in await view.find_many("group", unread)})
        # A group that was met before counts again: the longest way to it is what counts.
        front = {str(name) for each in front for name in known[each]}
    return depth


async def _check_above(view: View, own: str, depth: int) -> None:
    front = {own}
    while front:
        keys = [listed_key(view.organization, "group", name) for name in sorted(front)]
        front = {str(document["id"]) for document in await view.listed_any("group", keys, GROUPS_AROUND_MAX + 1)}
        _check_count(len(front))
        if front:
            depth += 1
            _check_depth(depth)


def _check_depth(depth: int) -> None:
    if depth > GROUP_DEPTH_MAX:
        raise Problem(422, "group_too_deep", f"Groups would be nested deeper than {GROUP_DEPTH_MAX}.")


def _check_count(count: int) -> None:
    if count > GROUPS_AROUND_MAX:
        raise Problem(422, "group_too_deep", f"More than {GROUPS_AROUND_MAX} groups are around this one.")
