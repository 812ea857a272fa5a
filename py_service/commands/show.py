"""An answer for people: what it says, then its rows as a table. What others wrote can't move a terminal's cursor."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import segno
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from py_service.commands.verb import Shape

MOMENT = re.compile(r"^([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?Z$")
PIPED_WIDTH = 240  # a program that reads lines wants them whole
PROBLEM_MEMBERS = frozenset({"type", "title", "status", "code", "detail", "request_id"})


def show(shape: Shape, answer: Mapping[str, Any]) -> None:
    """On standard output."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    fields = tuple(name for name in answer if name != shape.rows) if shape.fields is None else shape.fields
    told = [(name, plain(answer[name])) for name in fields if name in answer]
    if told:
        listed = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in told:
            listed.add_row(Text(name.replace("_", " ")), Text(value))
        console.print(listed)
    if shape.scanned is not None and console.is_terminal and isinstance(link := answer.get(shape.scanned), str):
        segno.make(link).terminal(compact=True)
    if shape.rows is not None:
        console.print(_table(shape.columns, answer.get(shape.rows) or ()))
    for name, columns in shape.beside:
        if answer.get(name):
            console.print(Text(f"{name.replace('_', ' ')}:"))
            console.print(_table(columns, answer[name]))
    if answer.get("next_cursor"):
        console.print(Text(f"more: --cursor {plain(answer['next_cursor'])}"), soft_wrap=True)


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(Text(name.replace("_", " ")), overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(row.get(name))) for name in columns))
    return table


def plain(value: object) -> str:
    """One value in one line, for reading and not for programs. Nothing is an empty text; what can't be printed is replaced."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ("; " if any(isinstance(one, dict) for one in value) else ", ").join(plain(one) for one in value)
    if isinstance(value, dict):
        return " ".join(name if found is True else plain(found) for name, found in value.items() if found not in (None, False, []))
    text = MOMENT.sub(r"\1 \2Z", value) if isinstance(value, str) else str(value)
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def show_problem(status: int, problem: Mapping[str, Any]) -> None:
    """On standard error: its code, its detail, whatever else it tells, and how to find it in the service's log."""
    typer.echo(f"nexkey: {plain(problem.get('code', status))}: {plain(problem.get('detail', ''))}", err=True)
    for name in problem.keys() - PROBLEM_MEMBERS:
        typer.echo(f"  {plain(name)}: {plain(problem[name])}", err=True)
    typer.echo(f"  status {status}, request {plain(problem.get('request_id', 'unknown'))}", err=True)
