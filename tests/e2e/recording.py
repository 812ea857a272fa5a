"""A proxy before MongoDB that writes down every query that passes, so that a test can ask the server how it would run it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.proxy import TcpProxy, decoded_command, whole_message

if TYPE_CHECKING:
    from py_service.stores.mongo import Document
    from tests.e2e.proxy import Line

_QUERIES = {"updates": "q", "deletes": "q"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A query as it was sent, values and all. `kind` is what is left of it without the values: two of one kind have one plan.

    Only what values begin with (an organization, mostly) stays in it, so that none hides behind another that looks at less.
    """

    collection: str
    command: str
    filter: Document
    sort: Document
    limited: bool

    @property
    def kind(self) -> str:
        told = {name: _kind(value, beginnings=name != "_id") for name, value in self.filter.items()}
        return json.dumps([self.collection, self.command, told, list(self.sort), self.limited], sort_keys=True)


def _kind(value: object, *, beginnings: bool) -> object:
    if isinstance(value, dict):
        return {name: _kind(inner, beginnings=beginnings) for name, inner in value.items()}
    if isinstance(value, list):
        kinds = {json.dumps(_kind(inner, beginnings=beginnings)) for inner in value}
        return sorted(kinds)
    return value.partition(":")[0] if beginnings and isinstance(value, str) else type(value).__name__


class RecordingProxy(TcpProxy):
    """`seen`: the first query of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Sent] = {}

    async def ask(self, line: Line) -> None:
        while (message := await whole_message(line.client[0])) is not None:
            command = decoded_command(message)
            for query in queries_of(command or {}):
                self.seen.setdefault(query.kind, query)
            line.server[1].write(message)
            await line.server[1].drain()


def queries_of(command: Document) -> list[Sent]:
    """Every filter of a command that looks for documents. Raises ValueError for one that this can't judge."""
    if "find" in command:
        return [Sent(command["find"], "find", command["filter"], dict(command.get("sort") or {}), "limit" in command)]
    for name, key in _QUERIES.items():
        if name in command:
            verb = name.removesuffix("s")
            return [Sent(command[verb], verb, statement[key], {}, False) for statement in command[name]]
    if [next(iter(stage), "") for stage in command.get("pipeline", ())] == ["$indexStats"]:
        return []  # what the store counted, and no document
    if judged := {"aggregate", "findAndModify", "findandmodify", "count", "distinct", "mapReduce"} & command.keys():
        raise ValueError(f"{judged}: say here how its plan is found")
    return []
