"""The table of queries against the table of indexes: what MongoDB's manual says of an index that serves a query, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from py_service.stores.indexes import INDEXES
from py_service.stores.queries import BY_SHAPE, QUERIES, Query
from py_service.stores.query_shape import Shape
from tests.e2e.query_judge import complaints_about
from tests.e2e.recording import Sent

FIELDS = {(index.collection, index.name): index.fields for index in INDEXES} | {
    (shape.collection, "_id_"): ("_id",) for _, shape in BY_SHAPE
}


def why_not(fields: tuple[str, ...], shape: Shape) -> str | None:
    """Equality first, then the order, then ranges: else the index isn't entered, or what is found has to be sorted."""
    first = fields[0]
    if first not in (*shape.equal, *shape.ranges):
        return "its first field is not asked for"
    behind = [field for field in fields if field not in shape.equal]
    if shape.order and tuple(behind[: len(shape.order)]) != shape.order:
        return "it doesn't give the order"
    if shape.order and fields[: len(fields) - len(behind)] != tuple(field for field in fields if field in shape.equal):
        return "equality doesn't come first"
    return None


def test_every_row_names_an_index_that_is_made_and_can_serve_it() -> None:
    for (command, shape), row in BY_SHAPE.items():
        if row.index:
            fields = FIELDS.get((shape.collection, row.index))
            assert fields is not None, f"{command} {shape}: there is no {row.index}"
            assert why_not(fields, shape) is None, f"{command} {shape}: {row.index}: {why_not(fields, shape)}"
        else:
            assert not shape.fields and row.across


@pytest.mark.parametrize(
    ("fields", "shape", "why"),
    [
        (("a", "b"), Shape("x", ("a",), ("b",), ("b",)), None),
        (("a", "b"), Shape("x", ("b",)), "its first field is not asked for"),
        (("a", "b"), Shape("x", (), ("b",), ("a",)), "it doesn't give the order"),
        (("a", "c", "b"), Shape("x", ("a",), ("b",)), "it doesn't give the order"),
        (("a",), Shape("x", ("a",), ("b",)), "it doesn't give the order"),
        (("a", "b", "c"), Shape("x", ("a", "c"), ("b",)), "equality doesn't come first"),
    ],
)
def test_an_index_that_cannot_serve_is_told(fields: tuple[str, ...], shape: Shape, why: str | None) -> None:
    assert why_not(fields, shape) == why


def test_no_query_is_declared_twice_and_no_index_serves_none() -> None:
    assert len(BY_SHAPE) == sum(len(list(row.shapes())) for row in QUERIES)
    served = {(shape.collection, row.index) for (_, shape), row in BY_SHAPE.items()}
    assert {(index.collection, index.name) for index in INDEXES} <= served


OF_MONGODB: list[tuple[str, dict[str, Any], list[str]]] = [  # as its manual, "Explain Results", has them
    ("by its id", {"stage": "IDHACK"}, []),
    ("by its id, from 8.0 on", {"stage": "EXPRESS_IXSCAN", "keyPattern": "{ _id: 1 }", "indexName": "_id_"}, []),
    ("read whole", {"queryPlan": {"stage": "COLLSCAN"}, "slotBasedPlan": {}}, ["reads the whole collection"]),
    ("sorted", {"stage": "SORT", "inputStage": {"stage": "FETCH", "inputStage": {"stage": "IDHACK"}}}, ["sorts what it found"]),
    ("another index", {"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "indexName": "a_1"}}, ["goes by a_1, and _id_ is declared"]),
]


@pytest.mark.parametrize(("name", "plan", "expected"), OF_MONGODB, ids=[case[0] for case in OF_MONGODB])
def test_plans_in_the_form_of_a_mongodb_are_read(name: str, plan: dict[str, Any], expected: list[str]) -> None:
    """What is forgiven to the embedded server is not to MongoDB; and a plan that was turned down is no matter."""
    explained = {"queryPlanner": {"winningPlan": plan, "rejectedPlans": [{"stage": "COLLSCAN"}]}, "serverInfo": {"host": "db1"}}
    sent = Sent("leases", "update", {"_id": "worker", "token": 1}, {}, False)
    row = Query("update", "leases", "_id token", "", "", "_id_", embedded="COLLSCAN")
    (shape,) = row.shapes()
    found = complaints_about(sent, explained, {"acme"}, {("update", shape): row})
    assert [one.rpartition(": ")[2] for one in found] == expected, name
