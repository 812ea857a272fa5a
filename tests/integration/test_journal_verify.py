"""A log is told to be whole only when it is: whichever document is gone or altered, the first fault is named."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from bson.binary import Binary

from py_service.journal.event import journal_id
from py_service.journal.log import FIRST_HASH, Head, next_document
from py_service.journal.verify import WINDOW, Verified, read_ends, verify_log, verify_logs
from py_service.stores.mongo import Document, Mongo
from tests.integration.store_server import store_server

DOCUMENTS = 2 * WINDOW + 3


def written(log: str) -> list[Document]:
    head, made = Head(0, FIRST_HASH), []
    for number in range(1, DOCUMENTS + 1):
        made.append(next_document(log, head, number, [], [{"kind": "authorized", "org": "acme", "at": number}]))
        head = Head(number, bytes(made[-1]["hash"]))
    return made


async def verified_log(mongo: Mongo, log: str) -> Verified:
    return await verify_log(mongo, log, (await read_ends(mongo))[log])


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
        verified = await verified_log(mongo, "whole")
        return verified.documents, verified.events, verified.fault

    assert runner.run(told()) == (DOCUMENTS, DOCUMENTS, None)


@pytest.mark.parametrize("count", [1, WINDOW + 1])
@pytest.mark.parametrize("gone", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, DOCUMENTS - 1])
def test_a_document_that_is_gone_is_missed(store: tuple[asyncio.Runner, Mongo], gone: int, count: int) -> None:
    """Also the last one of those that are read at once, and more than are: what comes after it is looked for."""
    runner, mongo = store
    log = f"gone-{gone}-{count}"
    cut = {journal_id(log, number) for number in range(gone, min(gone + count, DOCUMENTS))}

    async def told() -> tuple[int, str | None]:
        await mongo.database["journal"].insert_many([one for one in written(log) if one["_id"] not in cut])
        verified = await verified_log(mongo, log)
        return verified.documents, verified.fault

    assert runner.run(told()) == (gone - 1, f"a gap at {journal_id(log, gone)}")


@pytest.mark.parametrize(
    ("seq", "more", "marks", "fault"),
    [
        (DOCUMENTS, {"closed": {"seq": DOCUMENTS}}, {"ends": DOCUMENTS}, None),
        (DOCUMENTS, {"closed": {"seq": DOCUMENTS + 1}}, {}, f"it ends at {DOCUMENTS}, and was {DOCUMENTS + 1} long"),
        (DOCUMENTS, {"closed": None}, {"ends": DOCUMENTS + 2}, f"it ends at {DOCUMENTS}, and was {DOCUMENTS + 2} long"),
        (DOCUMENTS, {"closed": {"seq": 5}}, {}, "it goes on behind 5, where it was closed"),
        (DOCUMENTS, {"predecessor": "as it was"}, {}, None),
        (DOCUMENTS, {"predecessor": "altered"}, {}, f"it follows {journal_id('before', 3)}, which isn't as it was"),
        (DOCUMENTS, {"predecessor": "gone"}, {}, f"it follows {journal_id('before', 9)}, which isn't as it was"),
    ],
)
def test_ends_are_held_against_what_was_noted_of_them(
    store: tuple[asyncio.Runner, Mongo], seq: int, more: Document, marks: dict[str, int], fault: str | None
) -> None:
    """How long a log was is known to whoever closed, projected or followed it."""
    runner, mongo = store

    async def told() -> str | None:
        for collection in ("journal", "logs", "projections"):
            await mongo.database[collection].delete_many({})
        before = written("before")[:3]
        await mongo.database["journal"].insert_many([*before, *written("ends")[:seq]])
        last = {"as it was": (3, before[-1]["hash"]), "altered": (3, Binary(b"x" * 32)), "gone": (9, Binary(b"x" * 32))}
        if "predecessor" in more:
            number, digest = last[more["predecessor"]]
            more["predecessor"] = {"log": "before", "seq": number, "hash": digest}
        await mongo.database["logs"].insert_many([{"_id": "before", "closed": None}, {"_id": "ends", **more}])
        await mongo.database["projections"].insert_one({"_id": "events", "logs": marks})
        whole, one = await verify_logs(mongo)
        assert (whole.log, whole.documents, whole.fault) == ("before", 3, None)
        return one.fault

    assert runner.run(told()) == fault


def test_documents_of_a_log_that_nobody_registered_are_told(store: tuple[asyncio.Runner, Mongo]) -> None:
    runner, mongo = store

    async def told() -> list[Verified]:
        for collection in ("journal", "logs", "projections"):
            await mongo.database[collection].delete_many({})
        await mongo.database["journal"].insert_many([*written("hidden")[:2], {"_id": "known:1"}, *written("known")[:2]])
        await mongo.database["logs"].insert_one({"_id": "known", "closed": None})
        return await verify_logs(mongo)

    lost = "it is in the journal, and isn't registered"
    assert runner.run(told()) == [Verified("hidden", 0, 0, lost), Verified("known:1", 0, 0, lost), Verified("known", 2, 2, None)]


def test_the_command_tells_what_is_wrong(store: tuple[asyncio.Runner, Mongo]) -> None:
    runner, mongo = store

    def verify(*words: str) -> tuple[int, str]:
        host, port = runner.run(_address(mongo))
        known = {name: value for name, value in os.environ.items() if not name.startswith("NEXKEY_")}
        known |= {"NEXKEY_MONGO_URL": f"mongodb://{host}:{port}/?directConnection=true", "NEXKEY_MONGO_DATABASE": "verify"}
        done = subprocess.run(
            [sys.executable, "-m", "py_service", "journal", "verify", *words],
            env=known,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    async def write(gone: int | None) -> None:
        await mongo.database["logs"].delete_many({})
        await mongo.database["journal"].delete_many({})
        await mongo.database["logs"].insert_one({"_id": "told", "closed": None})
        await mongo.database["journal"].insert_many([one for one in written("told")[:9] if one["_id"] != journal_id("told", gone or 0)])

    runner.run(write(None))
    status, printed = verify("--json")
    assert (status, msgspec.json.decode(printed)) == (0, [{"log": "told", "documents": 9, "events": 9, "fault": None}])
    runner.run(write(4))
    status, printed = verify()
    assert status == 1 and "a gap at" in printed


async def _address(mongo: Mongo) -> tuple[str, int]:
    address = await mongo.client.address
    assert address is not None
    return str(address[0]), int(address[1] or 0)


@pytest.mark.parametrize("altered", [1, WINDOW, DOCUMENTS])
def test_a_document_that_was_altered_is_told(store: tuple[asyncio.Runner, Mongo], altered: int) -> None:
    runner, mongo = store
    log = f"altered-{altered}"

    async def told() -> tuple[int, str | None]:
        documents = written(log)
        documents[altered - 1]["events"][0]["kind"] = "denied"
        await mongo.database["journal"].insert_many(documents)
        verified = await verified_log(mongo, log)
        return verified.documents, verified.fault

    assert runner.run(told()) == (altered - 1, f"{journal_id(log, altered)} was altered")
