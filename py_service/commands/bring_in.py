"""`nexkey import add`: a file is put in parts, started, and watched until every row is settled."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import typer

from py_service.commands.call import Call, Caller, NotReachable
from py_service.commands.carry_out import DONE, REFUSED, told
from py_service.commands.credentials import Credentials
from py_service.commands.table import IMPORT
from py_service.commands.verb import Verb
from py_service.errors import NOT_REACHABLE, SettingsError

PART_BYTES_MAX = 1_000_000  # of JSON, quotes and all: what the API takes in one body is 48 KiB more
PART_CHARACTERS_MAX = 900_000
FORMATS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
PAUSE_SECONDS = 0.5
OVER = frozenset({"ended", "refused", "stopped"})
SHOWN = Verb("import", "add", "GET", "/v1/imports/{import}", "", IMPORT)


def bring_in(file: Path, kind: str, *, all_or_nothing: bool, watch: bool, as_json: bool) -> int:
    """The exit status: done when every row was applied. Raises SettingsError for a file that can't be read."""
    form = FORMATS.get(file.suffix.lower())
    if form is None:
        raise SettingsError(f"{file}: its name has to end in {', '.join(FORMATS)}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    try:
        with Caller(Credentials()) as caller:
            wanted = {"kind": kind, "format": form, "all_or_nothing": all_or_nothing}
            answer = _started(caller, wanted, text)
            if watch and not answer.is_error:
                answer = _watched(caller, answer.json()["id"])
    except NotReachable as error:
        typer.echo(f"nexkey: {error}", err=True)
        return NOT_REACHABLE
    status = told(SHOWN, answer, as_json=as_json, waited=False)
    if status != DONE or not watch:
        return status
    made = answer.json()
    return DONE if made["state"] == "ended" and made["rows_refused"] == 0 else REFUSED


def parts_of(text: str) -> Iterator[str]:
    """Pieces that each fit into one body. It doesn't matter where they are cut."""
    begin = 0
    while begin < len(text):
        size = min(PART_CHARACTERS_MAX, len(text) - begin)
        while (length := len(msgspec.json.encode(text[begin : begin + size]))) > PART_BYTES_MAX:
            size = size * PART_BYTES_MAX // length
        yield text[begin : begin + size]
        begin += size


def _started(caller: Caller, wanted: dict[str, Any], text: str) -> httpx.Response:
    """The first answer that is a problem, or the last."""
    answer = caller.call(Call("POST", "/v1/imports", body=wanted))
    if answer.is_error:
        return answer
    one = f"/v1/imports/{answer.json()['id']}"
    for number, part in enumerate(parts_of(text), 1):
        answer = caller.call(Call("PUT", f"{one}/parts/{number}", body={"text": part}))
        if answer.is_error:
            return answer
    return caller.call(Call("POST", f"{one}/start"))


def _watched(caller: Caller, identifier: str) -> httpx.Response:
    """Until it is over, or somebody has seen enough: it goes on without being watched."""
    while True:
        answer = caller.call(Call("GET", f"/v1/imports/{identifier}"))
        made = answer.json() if not answer.is_error else {"state": "ended"}
        if made["state"] in OVER:
            return answer
        if sys.stderr.isatty():
            settled = made["rows_applied"] + made["rows_refused"]
            typer.echo(f"\r{made['state']}: {settled} of {made['rows_read'] or '?'} rows", nl=False, err=True)
        try:
            time.sleep(PAUSE_SECONDS)
        except KeyboardInterrupt:
            typer.echo(f"\nnexkey: it goes on: nexkey import show {identifier}", err=True)
            return answer
