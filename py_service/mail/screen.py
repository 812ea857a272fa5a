"""The local mailbox on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from py_service.mail.mailbox import ReceivedMail


def mail_table(mails: Sequence[ReceivedMail]) -> Table:
    """One line each, the latest last. What others wrote is shown as it is, never as markup."""
    table = Table("number", "date", "to", "subject", box=None, pad_edge=False)
    for mail in mails:
        table.add_row(str(mail.number), *(Text(text) for text in (mail.date, mail.to, mail.subject)))
    return table
