"""The local mailbox: a folder of `.eml` files, for one machine. `nexkey mailbox` shows it."""

from __future__ import annotations

import asyncio
import email
import email.policy
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from py_service.mail.message import Mail, MailWaits, message_of
from py_service.stores.private_file import write_private

KEPT_MAX = 1_000


class LocalMailbox:
    """Keeps the last 1,000 mails, each readable for its owner only: their links are as good as passwords."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Raises MailRefused, MailWaits."""
        content = message_of(mail, self._sender).as_bytes()
        try:
            await asyncio.to_thread(self._write, content)
        except OSError as error:
            raise MailWaits(type(error).__name__) from None

    def _write(self, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._folder / f"{time.time_ns():020}-{secrets.token_hex(4)}.eml", content)
        for old in _files(self._folder)[:-KEPT_MAX]:
            old.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """A mail of the folder. `number`: 1 is the eldest that is kept."""

    number: int
    date: str
    to: str
    subject: str
    text: str


def read_mailbox(folder: Path) -> list[ReceivedMail]:
    """All of them, the eldest first."""
    found: list[ReceivedMail] = []
    for number, path in enumerate(_files(folder), 1):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        body = message.get_body(("plain",))
        text = "" if body is None else str(body.get_content()).replace("\r\n", "\n")
        found.append(ReceivedMail(number, str(message["Date"]), str(message["To"]), str(message["Subject"]), text))
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.eml"))
