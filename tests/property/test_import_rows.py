"""Files of imports: whatever the text, rows or one Problem; and what was written comes back, in NDJSON and in CSV."""

from __future__ import annotations

import csv
import datetime
import io
import string
from typing import Literal, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_service.access.rows import GrantRow
from py_service.directory.rows import GroupRow, PersonRow
from py_service.errors import Problem
from py_service.imports import parse
from py_service.imports.messages import ImportFormat
from py_service.imports.parse import BYTE_ORDER_MARK, ROW_CHARACTERS_MAX, list_fields, read_rows
from py_service.imports.rows import Row

FORMATS = get_args(ImportFormat)
TYPES: list[type[msgspec.Struct]] = [PersonRow, GroupRow, GrantRow]
REFUSED_ROWS = {"row_malformed", "field_invalid"}
IDENTIFIERS = st.text(string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=64)
# What a cell gives back as it was: it is trimmed, and commas, quotes and line breaks are quoted.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).map(str.strip).filter(bool)
PIECES = st.sampled_from(
    [
        "id",
        "name",
        "groups",
        "email",
        ",",
        ";",
        '"',
        '""',
        "\n",
        "\r\n",
        "\r",
        "\0",
        "\ufeff",
        "\ud800",
        "{",
        "}",
        "[",
        "null",
        '{"name":"A"}',
        "é",
    ]
)
TEXTS = st.text(max_size=200) | st.lists(PIECES | st.text(max_size=6), max_size=60).map("".join)
PERSONS = st.builds(
    PersonRow,
    name=NAMES,
    id=st.none() | IDENTIFIERS,
    email=st.none() | st.emails(),
    kind=st.sampled_from(["employee", "guest"]),
    valid_until=st.none() | st.datetimes(timezones=st.just(datetime.UTC)),
    groups=st.lists(IDENTIFIERS, max_size=2),
    group_names=st.lists(NAMES.filter(lambda name: ";" not in name), max_size=2),
)


def all_of(form: Literal["ndjson", "csv"], row_type: type[msgspec.Struct], text: str) -> list[Row]:
    return list(read_rows(form, row_type, text))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("row_type", TYPES)
@given(text=TEXTS, header=st.sampled_from(["", "name\n", "id,name\n", "person,door\n"]))
@settings(max_examples=100, deadline=None)
def test_any_text_is_rows_or_a_problem(form: Literal["ndjson", "csv"], row_type: type[msgspec.Struct], text: str, header: str) -> None:
    rows: list[Row] = []
    try:
        for row in read_rows(form, row_type, header + text):
            rows.append(row)  # noqa: PERF402 - those before a Problem count, too
    except Problem as problem:
        assert problem.code == "import_file_invalid" and form == "csv"
        assert isinstance(problem.members["line"], int)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    for row in rows:
        assert (row.value is None) == (row.problem is not None)
        assert row.problem is None or row.problem.code in REFUSED_ROWS
        assert row.value is None or type(row.value) is row_type


@given(persons=st.lists(PERSONS, max_size=4), mark=st.booleans(), ending=st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=60, deadline=None)
def test_what_was_written_comes_back(persons: list[PersonRow], mark: bool, ending: str) -> None:
    start = BYTE_ORDER_MARK if mark else ""
    lines = "".join(msgspec.json.encode(person).decode() + ending for person in persons)
    assert [row.value for row in all_of("ndjson", PersonRow, start + lines)] == persons
    fields, lists = PersonRow.__struct_fields__, list_fields(PersonRow)
    assert lists == {"groups", "group_names"}
    written = io.StringIO()
    # The writer of Python 3.11 leaves a "\r" without quotes where it ends no line of its own.
    if "\\r" in lines:
        writer = csv.writer(written, lineterminator=ending, quoting=csv.QUOTE_ALL)
    else:
        writer = csv.writer(written, lineterminator=ending)
    writer.writerow(fields)
    for person in persons:
        plain = msgspec.to_builtins(person)
        writer.writerow([";".join(plain[name]) if name in lists else plain[name] for name in fields])
    assert [row.value for row in all_of("csv", PersonRow, start + written.getvalue())] == persons


def test_a_row_has_a_longest_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded before it is parsed; and so is the number of rows."""
    long = "a" * ROW_CHARACTERS_MAX
    for form, text in (("ndjson", f'{{"name":"{long}"}}\n{{"name":"A"}}\n'), ("csv", f"id,name\n{long},{long}\na,A\n")):
        rows = all_of(form, GroupRow, text)  # type: ignore[arg-type]
        assert [row.problem and row.problem.code for row in rows] == ["row_malformed", None]
    with pytest.raises(Problem) as deep:
        all_of("csv", GroupRow, 'name\n"' + "a\n" * 100_000)
    assert deep.value.members == {"line": 2}
    assert all_of("ndjson", GroupRow, "[" * 30_000)[0].problem is not None
    monkeypatch.setattr(parse, "ROWS_MAX", 3)
    assert len(all_of("ndjson", GroupRow, "{}\n" * 3)) == 3
    with pytest.raises(Problem) as many:
        all_of("ndjson", GroupRow, "{}\n" * 4)
    assert many.value.code == "import_too_many_rows"
