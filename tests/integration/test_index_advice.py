"""What the store has counted is read right: the embedded store keeps a profile; what only a MongoDB counts is given in its form."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from py_service.stores.index_advice import Advice, Report, Uses, advise, judge_indexes
from py_service.stores.indexes import INDEXES, make_indexes
from py_service.stores.mongo import Mongo
from py_service.stores.query_shape import Shape, shape_of
from tests.integration.identity_support import store_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
SINCE = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
SECRET = "nobody-may-read-this"  # a value in a query, which must not be told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mongo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mongo]:
    with store_server(tmp_path_factory.mktemp("advice-store")) as url:
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


async def test_what_is_missing_undeclared_or_scanned_is_told_without_a_value(mongo: Mongo) -> None:
    database = mongo.database
    await database["grants"].drop_index("listed_1_by_name_1")
    await database["doors"].create_index([("site", 1), ("name", 1)])
    await database["persons"].insert_one({"_id": "acme:p", "org": "acme", "name": "P"})
    await database.command("profile", 2)
    await database["persons"].find({"name": SECRET, "created_at": {"$gte": 5}}).sort("email", 1).to_list()
    await database["persons"].find({"org": "acme"}).to_list()
    await database["persons"].update_one({"phone": SECRET}, {"$set": {"phone": None}})
    await database["persons"].delete_many({"_id": "acme:nobody"})
    # As MongoDB's profiler writes it (manual, "Database Profiler Output"): the plan is named.
    for wanted, plan, milliseconds in (({"wing": SECRET}, "COLLSCAN", 41), ({"org": "a"}, "IXSCAN { org: 1 }", 1)):
        command = {"find": "doors", "filter": wanted}
        entry = {"op": "query", "ns": "advice.doors", "command": command, "millis": milliseconds, "planSummary": plan}
        await database["system.profile"].insert_one(entry)
    await database.command("profile", 0)
    report = await advise(database)
    assert told(report) == {
        ("missing", "grants", ("listed", "by_name")), ("undeclared", "doors", ("site", "name")),
        ("scan", "persons", ("name", "email", "created_at")), ("scan", "persons", ("phone",)), ("scan", "doors", ("wing",)),
    }  # fmt: skip
    assert SECRET.encode() not in msgspec.json.encode(report)
    assert next(one.detail for one in report.advice if one.fields == ("wing",)) == "read whole 1 times, 41 ms in all"


async def test_what_was_never_used_is_told_where_uses_are_counted() -> None:
    present: dict[tuple[str, tuple[str, ...]], Uses] = {(index.collection, index.fields): Uses(7, SINCE) for index in INDEXES}
    present["persons", ("_id",)] = Uses(0, SINCE)
    report = Report([], [])
    judge_indexes(present, report)
    assert report == Report([], [])
    judge_indexes(present | {("grants", ("listed", "by_name")): Uses(0, SINCE)}, report)
    assert report.advice == [
        Advice("unused", "grants", ("listed", "by_name"), "not used once since 2026-11-01; it is paid for at every write")
    ]


@pytest.mark.parametrize(
    ("wanted", "sort", "expected"),
    [
        ({"a": 1, "b": {"$in": [1]}, "c": {"$gt": 1, "$lt": 2}}, {"d": -1}, Shape("x", ("a", "b"), ("d",), ("c",))),
        ({"$and": [{"a": 1}, {"b": {"$gte": 2}}]}, {}, Shape("x", ("a",), (), ("b",))),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"$natural": 1}, Shape("x")),
        ({"a": {"inner": 1}}, {}, Shape("x", ("a",))),
        ({}, {}, Shape("x")),
    ],
)
async def test_the_shape_of_a_query(wanted: Mapping[str, Any], sort: Mapping[str, Any], expected: Shape) -> None:
    assert shape_of("x", wanted, sort) == expected
