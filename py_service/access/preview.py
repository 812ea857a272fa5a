"""What proposed changes would alter, without doing them: who gains which door, who loses which, and why before and after.

A change is proposed as the request that would carry it out. The same handlers decode it, the same plans check it and say what it writes,
and the core holds the permissions as they are against those that would follow.
What doesn't live here: how changes are tried (`permissions/trial.py`), and what is compared (the core's `preview`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from py_service._core_rs import Decision, PermissionIndex, SnapshotError
from py_service.access.preview_messages import PREVIEW, Altered, Answer, PreviewRequest, PreviewResult, Proposed
from py_service.errors import Problem, stores_unavailable
from py_service.exchange import Request, Response, Route, decoded, encoded, match_unsupported, moment
from py_service.permissions.change import Actor, Change
from py_service.permissions.image import encode_images
from py_service.permissions.trial import Captured, Trial, TryChanges, of_change
from py_service.permissions.validity import check_moment
from py_service.stores.mongo import now_ms, store_errors

PERMISSION = "persons.read"
PAIRS_MAX = 1_000_000
TRIES_MAX = 5
TRY_AGAIN_SECONDS = 0.02
WAITING_MAX = 8

_PREVIEW = msgspec.json.Decoder(PreviewRequest)


class AccessPreview:
    """The route of previews. `proposed` are the routes that changes may name, made on a lane that only captures them."""

    def __init__(self, index: PermissionIndex, try_changes: TryChanges, proposed: Sequence[Route]) -> None:
        self._index = index
        self._try = try_changes
        self._proposed = [route for route in proposed if route.method != "GET"]
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    def routes(self) -> list[Route]:
        return [Route("POST", "/v1/access/preview", self.preview, body_bytes_max=262_144, about=PREVIEW)]

    async def preview(self, request: Request) -> Response:
        """POST /v1/access/preview"""
        claims = request.caller()
        decision, sites = self._index.reach(claims.organization, claims.subject, PERMISSION, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {PERMISSION}.")
        asked = decoded(_PREVIEW, request.body)
        changes = [await self._change(request, number, proposed) for number, proposed in enumerate(asked.changes)]
        at_ms = now_ms() if asked.at is None else int(asked.at.timestamp() * 1_000)
        check_moment(at_ms)
        if self._waiting >= WAITING_MAX:
            raise Problem(503, "overloaded", "Too many previews wait.", retry_after_seconds=1)
        self._waiting += 1
        try:
            async with self._one_at_a_time:  # a large one takes a core for a second: never two of them
                return await self._compare(Actor.of(claims), changes, at_ms, sites, asked.limit)
        finally:
            self._waiting -= 1

    async def _compare(self, actor: Actor, changes: list[Change], at_ms: int, sites: list[str] | None, limit: int) -> Response:
        for _ in range(TRIES_MAX):
            async with store_errors():
                trial = await self._try(actor, changes)
            try:
                # The interpreter is let go of meanwhile: unlocks go on.
                gained, lost, gained_total, lost_total, complete = await asyncio.to_thread(
                    self._index.preview, actor.organization, trial.revision, _encoded(trial), at_ms, sites, limit, PAIRS_MAX
                )
            except SnapshotError as error:
                if error.code == "change_malformed":
                    raise Problem(422, "object_invalid", "The permissions can't take this in the form in which it was sent.") from None
                await asyncio.sleep(TRY_AGAIN_SECONDS)  # another change came between, or hasn't come to this process yet
                continue
            result = PreviewResult(
                gained=[_altered(*one) for one in gained],
                lost=[_altered(*one) for one in lost],
                gained_total=gained_total,
                lost_total=lost_total,
                complete=complete,
                at=moment(at_ms),
                revision=trial.revision,
            )
            return encoded(200, result)
        raise stores_unavailable("The permissions changed all the while; ask again.")

    async def _change(self, request: Request, number: int, proposed: Proposed) -> Change:
        """What the operation's own handler would hand to the lane. Raises Problem as that handler would."""
        found = self._route(proposed)
        if found is None:
            detail = f"{proposed.method} {proposed.path} is no change that can be previewed."
            raise of_change(number, Problem(422, "not_previewable", detail))
        route, parameters = found
        if proposed.body is not None and route.body_bytes_max == 0:
            raise of_change(number, Problem(400, "field_invalid", "This operation takes no body."))
        if proposed.if_match is not None and "If-Match" not in route.headers:
            raise of_change(number, match_unsupported())
        body = b"" if proposed.body is None else msgspec.json.encode(proposed.body)
        headers = {} if proposed.if_match is None else {"if-match": proposed.if_match}
        asked = Request(
            proposed.method, proposed.path, parameters, {}, headers, body, request.request_id, request.received_ns, request.claims
        )  # fmt: skip
        try:
            await route.handler(asked)
        except Captured as captured:
            return captured.change
        except Problem as problem:
            raise of_change(number, problem) from None
        raise AssertionError(f"{route.pattern} answered without a change")

    def _route(self, proposed: Proposed) -> tuple[Route, Mapping[str, str]] | None:
        for route in self._proposed:
            parameters = _parameters(route.pattern, proposed.path)
            if route.method == proposed.method and parameters is not None:
                return route, parameters
        return None


def _parameters(pattern: str, path: str) -> Mapping[str, str] | None:
    """By name; None when the path isn't one of this pattern. Identifiers have no character that a path would encode."""
    wanted, given = pattern.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    parameters: dict[str, str] = {}
    for part, value in zip(wanted, given, strict=True):
        if part.startswith("{"):
            parameters[part[1:-1]] = value
        elif part != value:
            return None
    return parameters


def _encoded(trial: Trial) -> bytes:
    return encode_images(trial.images)


def _altered(person: str, door: str, before: Decision, after: Decision) -> Altered:
    return Altered(person, door, Answer(before.allowed, before.reason, before.rule), Answer(after.allowed, after.reason, after.rule))
