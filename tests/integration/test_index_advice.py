"""What the store has counted is read right: the embedded store keeps a profile; what only a MongoDB counts is given in its form."""

from __future__ import annotations

import asyncio
import base64
import datetime
import os
import struct
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import bson
import msgspec
import pytest
import pytest_asyncio
from bson.int64 import Int64

from py_service.stores.index_advice import Present, Read, Report, advise, judge_indexes
from py_service.stores.indexes import INDEXES, make_indexes
from py_service.stores.mongo import Mongo
from py_service.stores.query_shape import Shape, shape_of
from tests.e2e.proxy import Line, TcpProxy, decoded_command, whole_message
from tests.integration.store_server import store_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
SINCE = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
SECRET = "nobody-may-read-this"  # a value in a query, which must not be told


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with store_server(tmp_path_factory.mktemp("advice-store")) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mongo(url: str) -> AsyncIterator[Mongo]:
    made = Mongo(url, "advice", 5_000)
    await make_indexes(made.database)
    yield made
    await made.close()


def told(report: Report) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(one.what, one.collection, one.fields) for one in report.advice}


async def test_a_store_as_the_service_makes_it_needs_no_advice(mongo: Mongo) -> None:
    report = await advise(mongo.database)
    assert report.advice == []
    assert len(report.notes) == 2, "no counts and no profile here, and both are said"
    assert report.verdict == "every declared index is there; no query was profiled"


async def test_what_is_missing_undeclared_or_scanned_is_told_without_a_value(mongo: Mongo) -> None:
    database = mongo.database
    await database["grants"].drop_index("listed_1_by_name_1")
    await database["doors"].create_index([("site", 1), ("name", -1)])
    await database["persons"].insert_one({"_id": "acme:p", "org": "acme", "name": "P"})
    await database.command("profile", 2)
    await database["persons"].find({"name": SECRET, "created_at": {"$gte": 5}}).sort("email", 1).to_list()
    await database["persons"].find({"org": "acme"}).to_list()
    await database["persons"].update_one({"phone": SECRET}, {"$set": {"phone": None}})
    await database["persons"].delete_many({"_id": "acme:nobody"})
    await database["persons"].find({"$or": [{"nick": SECRET}, {"born": {"$gte": 5}, "died": None}]}).to_list()
    await database["leases"].update_one({"_id": "worker", "holder": SECRET}, {"$set": {"until": 5}})  # declared so for this store
    # As MongoDB's profiler writes it (manual, "Database Profiler Output"): the plan is named.
    for wanted, plan, milliseconds in (({"wing": SECRET}, "COLLSCAN", 41), ({"org": "a"}, "IXSCAN { org: 1 }", 1)):
        command = {"find": "doors", "filter": wanted}
        entry = {"op": "query", "ns": "advice.doors", "command": command, "millis": milliseconds, "planSummary": plan}
        await database["system.profile"].insert_one(entry)
    taken = {"findAndModify": "doors", "query": {"taken": SECRET}, "sort": {"at": 1}, "update": {"$set": {"taken": 1}}}
    entry = {"op": "command", "ns": "advice.doors", "command": taken, "millis": 3, "planSummary": "COLLSCAN", "docsExamined": 5}
    await database["system.profile"].insert_one(entry)
    for read in (101, 900):  # the find was before the profiler was on, and goes on
        entry = {
            "op": "getmore", "ns": "advice.doors", "command": {"getMore": 1, "collection": "doors"}, "millis": 2, "planSummary": "COLLSCAN",
            "originatingCommand": {"find": "doors", "filter": {"floor": SECRET}}, "docsExamined": read, "nreturned": 1,
        }  # fmt: skip
        await database["system.profile"].insert_one(entry)
    await database.command("profile", 0)
    report = await advise(database)
    assert told(report) == {
        ("scan", "persons", ()), ("scan", "doors", ("taken", "at")), ("scan", "doors", ("floor",)),
        ("missing", "grants", ("listed", "by_name")), ("undeclared", "doors", ("site", "name:-1")),
        ("scan", "persons", ("name", "email", "created_at")), ("scan", "persons", ("phone",)), ("scan", "doors", ("wing",)),
    }  # fmt: skip
    assert SECRET.encode() not in msgspec.json.encode(report)
    detail = {one.fields: one.detail for one in report.advice if one.what == "scan"}
    assert detail["wing",] == "read whole 1 times, 41 ms in all"
    assert detail[()].endswith("; its $or is served only when each part is: (nick) or (died, born)")
    assert detail["floor",] == "read whole 1 times, 4 ms in all; at worst 900 documents read for 1 found"
    assert detail["taken", "at"] == "read whole 1 times, 3 ms in all; at worst 5 documents read for 0 found"
    assert report.profiled == 10 and report.verdict == "every declared index is there, and no query scans"


def as_declared(collection: str, fields: tuple[str, ...], uses: int = 7) -> Present:
    (index,) = (index for index in INDEXES if (index.collection, index.fields) == (collection, fields))
    options = frozenset(name for name, wanted in (("unique", index.unique), ("sparse", index.sparse)) if wanted)
    return Present(collection, fields, options, uses, SINCE)


ALL = [as_declared(index.collection, index.fields) for index in INDEXES]
LISTED, KEYS, DUE = ("grants", ("listed", "by_name")), ("journal", ("keys",)), ("outbox", ("due_at",))
USED = {(index.collection, index.fields): index for index in ALL}
NEVER = "not used once since 2026-11-01"


@pytest.mark.parametrize(
    ("changed", "added", "expected"),
    [
        ({}, [Present("persons", ("_id",), uses=0, since=SINCE)], None),
        ({LISTED: as_declared(*LISTED, uses=0)}, [], ("unused", *LISTED, f"{NEVER}; it is paid for at every write")),
        ({KEYS: as_declared(*KEYS, uses=0)}, [], None),
        ({KEYS: replace(USED[KEYS], options=frozenset({"sparse"}))}, [], ("differs", *KEYS, "declared sparse and unique, and is sparse")),
        ({KEYS: replace(USED[KEYS], options=frozenset({"unique"}))}, [], ("differs", *KEYS, "declared sparse and unique, and is unique")),
        ({LISTED: replace(USED[LISTED], options=frozenset({"unique"}), uses=0)}, [],
            ("differs", *LISTED, "declared neither unique nor sparse, and is unique")),
        ({DUE: replace(USED[DUE], options=frozenset({"sparse", "expireAfterSeconds"}))}, [],
            ("differs", *DUE, "declared sparse, and is expireAfterSeconds and sparse")),
        ({}, [replace(USED[DUE], options=frozenset({"partialFilterExpression"}))], ("undeclared", *DUE, "; used 7 times since")),
        ({}, [Present("doors", ("site",), frozenset({"unique"}), 0, SINCE)],
            ("undeclared", "doors", ("site",), "it is unique, and refuses what the service may write")),
        ({}, [Present("doors", ("org:-1",), frozenset(), 1, SINCE)], ("undeclared", "doors", ("org:-1",), "used 1 times")),
    ],
)  # fmt: skip
async def test_indexes_are_judged_by_their_uses_and_options(
    changed: dict[tuple[str, tuple[str, ...]], Present], added: list[Present], expected: tuple[str, str, tuple[str, ...], str] | None
) -> None:
    report = Report([], [])
    judge_indexes([*(USED | changed).values(), *added], report)
    if expected is None:
        assert report == Report([], [])
    else:
        (one,) = report.advice
        assert (one.what, one.collection, one.fields) == expected[:3] and expected[3] in one.detail, one


class CountingProxy(TcpProxy):
    """As if the store counted, as MongoDB does (manual, "$indexStats"): each index was used 7 times, and those of `UNUSED` never."""

    UNUSED = ("doors org_1", "journal keys_1")

    async def answer(self, line: Line) -> None:
        while (message := await whole_message(line.server[0])) is not None:
            answer = decoded_command(message) or {}
            cursor = answer.get("cursor", {})
            counted = [stats for stats in cursor.get("firstBatch", []) if "accesses" in stats]
            for stats in counted:
                used = f"{cursor['ns'].partition('.')[2]} {stats['name']}" not in self.UNUSED
                stats["accesses"] = {"ops": Int64(7 if used else 0), "since": SINCE}
            if counted:
                body = bson.encode(answer)
                _, request, responding_to, opcode = struct.unpack_from("<iiii", message)
                message = struct.pack("<iiiiIB", 21 + len(body), request, responding_to, opcode, 0, 0) + body
            line.client[1].write(message)
            await line.client[1].drain()


async def nexkey(url: str, *words: str) -> tuple[int, str, str]:
    """Exit status, and what was printed and complained of."""
    known = os.environ | {"NEXKEY_MONGO_URL": url, "NEXKEY_MONGO_DATABASE": "command", "COLUMNS": "220"}
    known["NEXKEY_MASTER_KEY"] = base64.b64encode(bytes(32)).decode()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "py_service", *words, env=known, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, complained = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, printed.decode(), complained.decode()


async def nexkey_indexes_advise(url: str, *words: str) -> tuple[int, str]:
    """Exit status, and what was printed. Raises AssertionError for any complaint."""
    status, printed, complained = await nexkey(url, "indexes", "advise", *words)
    assert not complained, complained
    return status, printed


async def test_a_store_that_is_away_is_no_fault_of_what_is_in_it() -> None:
    """Of every operator's command, so that an alarm can tell the two."""
    commands = [["indexes", "advise", "--json"], ["journal", "verify", "--json"], ["organization", "list", "--json"], ["key", "rotate"]]
    answers = await asyncio.gather(*(nexkey("mongodb://127.0.0.1:9/?directConnection=true", *words) for words in commands))
    for words, (status, printed, complained) in zip(commands, answers, strict=True):
        assert status == 3, (words, printed, complained)
        if "--json" in words:
            told = msgspec.json.decode(printed)
            assert (told["status"], told["code"], complained) == (503, "stores_unavailable", "")
        else:
            assert complained.startswith("nexkey: stores_unavailable: ") and not printed


async def test_the_command_tells_it_as_a_table_and_as_json(mongo: Mongo, url: str) -> None:
    database = mongo.client["command"]
    await make_indexes(database)
    async with CountingProxy() as proxy:
        through = proxy.aim(url)
        status, printed = await nexkey_indexes_advise(through, "--json")
        assert (status, [one["what"] for one in msgspec.json.decode(printed)["advice"]]) == (0, ["unused"])
        await database["grants"].drop_index("listed_1_by_name_1")
        await database["sessions"].drop_index("family_1")
        await database["sessions"].create_index([("family", 1)], unique=True)
        await database["persons"].insert_one({"_id": "acme:p", "org": "acme", "name": "P"})
        await database.command("profile", 2)
        await database["persons"].find({"name": SECRET}).to_list()
        # As MongoDB's profiler writes it (manual, "Database Profiler Output").
        for plan, wanted, read in (
            ("COLLSCAN", {"wing": SECRET}, {"docsExamined": 1_200, "nreturned": 3}),
            ("COLLSCAN", {"wing": SECRET}, {"docsExamined": 1_200, "nreturned": 1_100}),
            ("IXSCAN { org: 1 }", {"org": "acme"}, {"docsExamined": 900, "nreturned": 3}),
        ):
            command = {"find": "doors", "filter": wanted}
            entry = {"op": "query", "ns": "command.doors", "command": command, "millis": 2, "planSummary": plan, **read}
            await database["system.profile"].insert_one(entry)
        await database.command("profile", 0)
        answers = await asyncio.gather(nexkey_indexes_advise(through), nexkey_indexes_advise(through, "--json"))
    (table_status, table), (json_status, printed) = answers
    assert (table_status, json_status) == (1, 1)
    report = msgspec.json.decode(printed, type=Report)
    assert [(one.what, one.collection, one.fields) for one in report.advice] == [
        ("differs", "sessions", ("family",)), ("missing", "grants", ("listed", "by_name")),
        ("scan", "doors", ("wing",)), ("scan", "persons", ("name",)), ("unused", "doors", ("org",)),
    ]  # fmt: skip
    assert report.advice[2].detail == "read whole 2 times, 4 ms in all; at worst 1200 documents read for 3 found"
    assert report.worst == Read("doors", ("wing",), 1_200, 3)
    assert report.notes == []
    for one in report.advice:
        (row,) = (line for line in table.splitlines() if one.what in line and f" {one.collection} " in line)
        assert ", ".join(one.fields) in row and one.detail in row, table
    assert "worst: doors (wing): 1200 documents read for 3 found" in table
    assert SECRET not in table + printed


@pytest.mark.parametrize(
    ("wanted", "sort", "expected"),
    [
        ({"a": 1, "b": {"$in": [1]}, "c": {"$gt": 1, "$lt": 2}}, {"d": -1}, Shape("x", ("a", "b"), ("d",), ("c",))),
        ({"$and": [{"a": 1}, {"b": {"$gte": 2}}]}, {}, Shape("x", ("a",), (), ("b",))),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"$natural": 1}, Shape("x", others=("$or",))),
        ({"$and": [{"$nor": [{"a": 1}]}, {"a": 1}], "$comment": "c"}, {}, Shape("x", ("a",), others=("$nor",))),
        ({"a": {"inner": 1}}, {}, Shape("x", ("a",))),
        ({}, {}, Shape("x")),
    ],
)
async def test_the_shape_of_a_query(wanted: Mapping[str, Any], sort: Mapping[str, Any], expected: Shape) -> None:
    assert shape_of("x", wanted, sort) == expected
