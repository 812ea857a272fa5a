"""Carry out imports: in the worker, a batch of each in turn, never so fast that other changes and unlocks wait for long.

Where an import stands is in its document, written in the transaction of each batch: whoever takes it up goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import structlog

from py_service.errors import Problem
from py_service.imports.apply import ApplyBatch, CheckGoesOn
from py_service.imports.conclude import Conclude, GoLive, SayRead
from py_service.imports.document import is_unread
from py_service.imports.parse import read_rows
from py_service.imports.rows import Row, RowKind
from py_service.imports.store import find_import, find_staging, read_text, read_todo
from py_service.imports.undo import UndoBatch
from py_service.permissions.change import Actor, Change, Changed
from py_service.stores.mongo import Document, Mongo

BATCH_ROWS_FIRST, BATCH_ROWS_MIN, BATCH_ROWS_MAX = 100, 50, 200
SLOW_SECONDS, QUICK_SECONDS = 0.25, 0.12  # of a batch: more, and the next one is smaller; less, and it is larger
READ_AT_ONCE = 250  # rows that are read before others have their turn
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.01, 5.0
SLOW_PAUSES = 3  # pauses as long as the batch, when that was slow

logger = structlog.get_logger(__name__)


class Lane(Protocol):
    """The part of the lane of changes that this needs."""

    async def submit(self, organization: str, actor: Actor | None, change: Change) -> Changed: ...


@dataclass(slots=True)
class _Running:
    """`rows` stand behind `position`: how many were read from them and are settled."""

    rows: Iterator[Row]
    position: int


class ImportRunner:
    """One per worker process. `leads`: whether this worker is the one that works."""

    def __init__(
        self, mongo: Mongo, lane: Lane, kinds: Mapping[str, RowKind], leads: Callable[[], bool], check_goes_on: CheckGoesOn
    ) -> None:
        self._check_goes_on = check_goes_on
        self._mongo = mongo
        self._lane = lane
        self._kinds = kinds
        self._leads = leads
        self._running: dict[str, _Running] = {}
        self._rows_at_once = BATCH_ROWS_FIRST

    async def step(self) -> bool:
        """A batch of each import that isn't over; whether there was any. Raises Problem 503, pymongo errors: nothing is lost."""
        todo = await read_todo(self._mongo) if self._leads() else []
        turns = await self._turns(todo)
        names = {document["_id"] for document in turns}
        self._running = {name: running for name, running in self._running.items() if name in names}
        for document in turns:
            if self._leads():
                await self._advance(document)
        return bool(todo)

    async def _turns(self, todo: list[Document]) -> list[Document]:
        """Of those of an organization that are all or nothing one has a turn: the one that has a stage, or else any."""
        turns = {document["_id"]: document for document in todo if not document["all_or_nothing"]}
        whole: dict[str, list[Document]] = {}
        for document in todo:
            if document["all_or_nothing"]:
                whole.setdefault(document["org"], []).append(document)
        for organization, documents in whole.items():
            staging = next((document for document in documents if "stage" in document), None)
            turn = staging or await find_staging(self._mongo, organization) or documents[0]
            turns[turn["_id"]] = turn
        return list(turns.values())

    async def _advance(self, document: Document) -> None:
        identifier = str(document["_id"])
        try:
            if document["state"] == "undoing":
                await self._undo(document)
                return
            running = self._running.get(identifier) or await self._open(document)
            if running is None:
                return
            self._running[identifier] = running
            await self._apply(document, running)
        except Problem as problem:
            self._running.pop(identifier, None)  # read again from where the store says that it stands
            if problem.code == "conflict":
                return
            if problem.status == 503:  # the store was too slow: the next batch is smaller
                self._rows_at_once = max(BATCH_ROWS_MIN, self._rows_at_once // 2)
                raise
            logger.warning("import_stopped", organization=document["org"], code=problem.code)
            await self._say(document, Conclude(document["id"], "stopped", problem))
        except BaseException:
            self._running.pop(identifier, None)
            raise

    async def _open(self, document: Document) -> _Running | None:
        """Read the file, tell how long it is, and stand behind the last row that is settled. None: it is over, or has moved on."""
        text = await read_text(self._mongo, document)
        if is_unread(document):
            refused = await self._read(document, text)
            if refused is not None:
                await self._say(document, Conclude(document["id"], "refused", refused))
                return None
        running = _Running(self._rows(document, text), 0)
        while running.position < int(document["position"]):
            running.position += len(list(islice(running.rows, min(READ_AT_ONCE, int(document["position"]) - running.position))))
            await asyncio.sleep(0)
        return running

    async def _read(self, document: Document, text: str) -> Problem | None:
        """The whole file once, before anything of it is applied; why it is refused."""
        read, valid, rows = 0, 0, self._rows(document, text)
        try:
            while some := list(islice(rows, READ_AT_ONCE)):
                read += len(some)
                valid += sum(row.problem is None for row in some)
                await asyncio.sleep(0)
        except Problem as problem:
            return problem
        await self._say(document, SayRead(document["id"], read, valid))
        return None

    def _rows(self, document: Document, text: str) -> Iterator[Row]:
        return read_rows(document["format"], self._kinds[document["kind"]].row, text)

    async def _apply(self, document: Document, running: _Running) -> None:
        rows = list(islice(running.rows, self._rows_at_once))
        actor = None if document["actor"] is None else Actor(**document["actor"])
        if not rows and document["all_or_nothing"]:
            await self._lane.submit(document["org"], actor, GoLive(document["id"], self._check_goes_on))
            return
        if not rows:
            await self._say(document, Conclude(document["id"], "ended", None))
            return
        began = time.monotonic()
        change = ApplyBatch(document["id"], self._kinds[document["kind"]], rows, running.position, self._check_goes_on)
        await self._lane.submit(document["org"], actor, change)
        running.position += len(rows)
        seconds = time.monotonic() - began
        self._suit(seconds)
        await self._pause(seconds)

    async def _undo(self, document: Document) -> None:
        began = time.monotonic()
        change = UndoBatch(document["id"], self._kinds[document["kind"]].name, document["batches_to_undo"])
        await self._lane.submit(document["org"], None, change)
        await self._pause(time.monotonic() - began)

    @staticmethod
    async def _pause(seconds: float) -> None:
        # Half of the time belongs to others; more of it when commits are slow, as then others wait, too.
        pause_seconds = seconds * SLOW_PAUSES if seconds > SLOW_SECONDS else seconds
        await asyncio.sleep(min(max(pause_seconds, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX))

    def _suit(self, seconds: float) -> None:
        """The next batch is as large as the store is quick."""
        if seconds > SLOW_SECONDS:
            self._rows_at_once = max(BATCH_ROWS_MIN, self._rows_at_once // 2)
        elif seconds < QUICK_SECONDS:
            self._rows_at_once = min(BATCH_ROWS_MAX, self._rows_at_once * 5 // 4)

    async def _say(self, document: Document, change: Change) -> None:
        """A conclusion of the service's own. An import that was thrown away meanwhile needs none."""
        if await find_import(self._mongo, document["org"], document["id"]) is not None:
            await self._lane.submit(document["org"], None, change)
