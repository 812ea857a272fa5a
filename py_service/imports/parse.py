"""From a file's text to rows: NDJSON (one JSON object a line) and CSV (RFC 4180, with a header). Any text gives rows or a Problem."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Literal

import msgspec

from py_service.errors import Problem
from py_service.imports.document import ROWS_MAX
from py_service.imports.rows import Row

ROW_CHARACTERS_MAX = 32_768
BYTE_ORDER_MARK = "\ufeff"
LIST_SEPARATOR = ";"
TOO_LONG = f"The row is longer than {ROW_CHARACTERS_MAX} characters."


def read_rows(form: Literal["ndjson", "csv"], row_type: type[msgspec.Struct], text: str) -> Iterator[Row]:
    """Row by row; one that is wrong in itself has its problem. Empty lines are passed over.

    Raises Problem 422 `import_file_invalid` (with `line`) for a file that can't be told apart into rows, and `import_too_many_rows`.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    for row in _read_ndjson(row_type, text) if form == "ndjson" else _read_csv(row_type, text):
        if row.number > ROWS_MAX:
            raise Problem(422, "import_too_many_rows", f"A file has {ROWS_MAX} rows at most.", members={"line": row.line})
        yield row


def _read_ndjson(row_type: type[msgspec.Struct], text: str) -> Iterator[Row]:
    decoder = msgspec.json.Decoder(row_type)
    number = 0
    for index, line in enumerate(io.StringIO(text, newline="\n")):
        stripped = line.strip(" \t\r\n")
        if not stripped:
            continue
        number += 1
        if len(stripped) > ROW_CHARACTERS_MAX:
            yield _malformed(number, index + 1, TOO_LONG)
            continue
        try:
            yield Row(number, index + 1, decoder.decode(stripped))
        except msgspec.ValidationError as error:
            yield _invalid(number, index + 1, error)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            yield _malformed(number, index + 1, f"This is not a JSON object: {error}")


def _read_csv(row_type: type[msgspec.Struct], text: str) -> Iterator[Row]:
    records = _records(text)
    header = next(records, None)
    if header is None:
        raise _file_invalid(1, "The first line has to name the columns.")
    columns, lists = _columns(row_type, *header), list_fields(row_type)
    for number, (line, cells) in enumerate(records, 1):
        if len(cells) != len(columns):
            yield _malformed(number, line, f"The row has {len(cells)} cells, and there are {len(columns)} columns.")
        elif sum(map(len, cells)) > ROW_CHARACTERS_MAX:
            yield _malformed(number, line, TOO_LONG)
        else:
            try:
                yield Row(number, line, msgspec.convert(_named(columns, lists, cells), row_type))
            except msgspec.ValidationError as error:
                yield _invalid(number, line, error)


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line where it begins. One wrong quote moves the borders of all that follow, so it refuses the file."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _file_invalid(line, f"This is not CSV from line {line} on: {error}.") from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _columns(row_type: type[msgspec.Struct], line: int, cells: list[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    known = msgspec.structs.fields(row_type)
    if strange := sorted(set(columns) - {field.encode_name for field in known}):
        raise _file_invalid(line, f"There is no column {strange[0][:64]!r}. Known: {', '.join(field.encode_name for field in known)}.")
    if len(set(columns)) != len(columns):
        raise _file_invalid(line, "A column is named twice.")
    if missing := [field.encode_name for field in known if field.required and field.encode_name not in columns]:
        raise _file_invalid(line, f"The column {missing[0]} is needed.")
    return columns


def list_fields(row_type: type[msgspec.Struct]) -> set[str]:
    """Fields whose cells hold several values."""
    info = msgspec.inspect.type_info(row_type)
    assert isinstance(info, msgspec.inspect.StructType)
    return {field.encode_name for field in info.fields if isinstance(field.type, msgspec.inspect.ListType)}


def _named(columns: list[str], lists: set[str], cells: list[str]) -> dict[str, object]:
    """An empty cell is a field that wasn't sent."""
    named: dict[str, object] = {}
    for column, cell in zip(columns, cells, strict=True):
        if value := cell.strip():
            named[column] = [part for each in value.split(LIST_SEPARATOR) if (part := each.strip())] if column in lists else value
    return named


def _malformed(number: int, line: int, detail: str) -> Row:
    return Row(number, line, None, Problem(422, "row_malformed", detail))


def _invalid(number: int, line: int, error: msgspec.ValidationError) -> Row:
    return Row(number, line, None, Problem(400, "field_invalid", str(error)))


def _file_invalid(line: int, detail: str) -> Problem:
    return Problem(422, "import_file_invalid", detail, members={"line": line})
