"""A log is told to be whole only when it is: whichever document is gone or altered, the first fault is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from py_service.journal.event import journal_id
from py_service.journal.log import FIRST_HASH, Head, next_document
from py_service.journal.verify import WINDOW, verify_log
from py_service.stores.mongo import Document, Mongo
from tests.integration.identity_support import store_server

DOCUMENTS = 2 * WINDOW + 3


def written(log: str) -> list[Document]:
    head, made = Head(0, FIRST_HASH), []
    for number in range(1, DOCUMENTS + 1):
        made.append(next_document(log, head, number, [], [{"kind": "authorized", "org": "acme", "at": number}]))
        head = Head(number, bytes(made[-1]["hash"]))
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Mongo]]:
    with store_server(tmp_path_factory.mktemp("verify-store")) as url, asyncio.Runner() as runner:
        mongo = Mongo(url, "verify", 5_000)
        yield runner, mongo
        runner.run(mongo.close())


def test_a_whole_log_holds(store: tuple[asyncio.Runner, Mongo]) -> None:
    runner, mongo = store

    async def told() -> tuple[int, int, str | None]:
        await mongo.database["journal"].insert_many(written("whole"))
        verified = await verify_log(mongo, "whole")
        return verified.documents, verified.events, verified.fault

    assert runner.run(told()) == (DOCUMENTS, DOCUMENTS, None)


@pytest.mark.parametrize("gone", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, DOCUMENTS - 1])
def test_a_document_that_is_gone_is_missed(store: tuple[asyncio.Runner, Mongo], gone: int) -> None:
    """Also the last one of those that are read at once: what comes after it is looked for."""
    runner, mongo = store
    log = f"gone-{gone}"

    async def told() -> tuple[int, str | None]:
        await mongo.database["journal"].insert_many([one for one in written(log) if one["_id"] != journal_id(log, gone)])
        verified = await verify_log(mongo, log)
        return verified.documents, verified.fault

    assert runner.run(told()) == (gone - 1, f"a gap at {journal_id(log, gone)}")


@pytest.mark.parametrize("altered", [1, WINDOW, DOCUMENTS])
def test_a_document_that_was_altered_is_told(store: tuple[asyncio.Runner, Mongo], altered: int) -> None:
    runner, mongo = store
    log = f"altered-{altered}"

    async def told() -> tuple[int, str | None]:
        documents = written(log)
        documents[altered - 1]["events"][0]["kind"] = "denied"
        await mongo.database["journal"].insert_many(documents)
        verified = await verify_log(mongo, log)
        return verified.documents, verified.fault

    assert runner.run(told()) == (altered - 1, f"{journal_id(log, altered)} was altered")
