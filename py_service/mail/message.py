"""What a mail is, and what it is to carry one."""

from __future__ import annotations

import email.policy
import email.utils
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mail:
    """Plain text to one address."""

    to: str
    subject: str
    text: str


class MailRefused(Exception):
    """It will never be taken: the address is wrong, or the server refuses it for good. Says nothing of its content."""


class MailWaits(Exception):
    """It wasn't taken this time. Says nothing of its content."""


class Mailer(Protocol):
    """Who carries mails. To give one twice is to send it twice."""

    async def send(self, mail: Mail) -> None:
        """It was taken when this returns. Raises MailRefused, MailWaits."""
        ...


def message_of(mail: Mail, sender: str) -> EmailMessage:
    """RFC 5322. Lines of headers can't be smuggled in: a line feed in one raises MailRefused."""
    message = EmailMessage(policy=email.policy.SMTP)
    try:
        message["From"] = sender
        message["To"] = mail.to
        message["Subject"] = mail.subject
    except ValueError as error:
        raise MailRefused(type(error).__name__) from None
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid(domain=sender.rpartition("@")[2].strip("> ") or "localhost")
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
    message.set_content(mail.text)
    return message
