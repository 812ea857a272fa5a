"""`nexkey mailbox`: a table of the mails that were kept here, and one of them by its number."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from py_service.cli import application
from py_service.mail.mailbox import LocalMailbox
from py_service.mail.message import Mail


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mailbox = LocalMailbox(tmp_path / "mail", "Nexkey <nexkey@localhost>")
    for number in (1, 2):
        asyncio.run(mailbox.send(Mail(f"{number}@acme.example", f"[bold]Subject[/bold] {number}", f"Text {number}\n")))
    return tmp_path


def test_all_of_them_in_a_table_and_nothing_of_what_they_say(folder: Path) -> None:
    told = CliRunner().invoke(application, ["mailbox", "--data", str(folder)], env={"COLUMNS": "160"})
    assert told.exit_code == 0
    assert [line.split()[0] for line in told.output.splitlines()] == ["number", "1", "2"]
    assert "2@acme.example" in told.output
    assert "[bold]Subject[/bold] 2" in told.output, "not markup"
    assert "Text" not in told.output


def test_one_by_its_number(folder: Path) -> None:
    told = CliRunner().invoke(application, ["mailbox", "2", "--data", str(folder)])
    assert told.exit_code == 0
    assert told.output.endswith("\n\nText 2\n")
    assert "To: 2@acme.example\n" in told.output


@pytest.mark.parametrize("number", ["3", "0", "x"])
def test_there_is_no_such_mail(folder: Path, number: str) -> None:
    assert CliRunner().invoke(application, ["mailbox", number, "--data", str(folder)]).exit_code == 2


def test_no_mail(tmp_path: Path) -> None:
    told = CliRunner().invoke(application, ["mailbox", "--data", str(tmp_path)])
    assert (told.exit_code, told.output) == (0, "no mail\n")
