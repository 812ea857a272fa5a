"""Mail through a server: SMTP with STARTTLS or TLS (RFC 3207, RFC 8314)."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import Self

import aiosmtplib

from py_service.errors import SettingsError
from py_service.mail.message import Mail, MailRefused, MailWaits, message_of
from py_service.settings import PORT_MAX

SECONDS_MAX = 10.0
PORTS = {"smtp": 587, "smtps": 465}
PERMANENT = range(500, 600)  # RFC 5321, 4.2.1


@dataclass(frozen=True, slots=True, repr=False)
class SmtpMailer:
    """`start_tls` False: nothing is encrypted; for a server on the same machine."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    start_tls: bool
    sender: str

    @classmethod
    def at(cls, url: str, sender: str) -> Self:
        """`smtp://[user:password@]host[:port][?starttls=no]` or `smtps://...`. Raises SettingsError, which doesn't show the URL."""
        wrong = SettingsError("NEXKEY_SMTP_URL: takes smtp://user:password@host:587 or smtps://user:password@host:465")
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
            asked = urllib.parse.parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise wrong from None
        plain = asked == {"starttls": ["no"]}
        if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/") or parts.fragment or (asked and not plain):
            raise wrong
        if (port is not None and not 1 <= port <= PORT_MAX) or (plain and (parts.scheme == "smtps" or parts.password)):
            raise wrong  # no password goes over a line that anybody reads
        username, password = (None if text is None else urllib.parse.unquote(text) for text in (parts.username, parts.password))
        tls = parts.scheme == "smtps"
        return cls(parts.hostname, port or PORTS[parts.scheme], username, password, tls, not tls and not plain, sender)

    async def send(self, mail: Mail) -> None:
        """Raises MailRefused, MailWaits."""
        message = message_of(mail, self.sender)
        try:
            await aiosmtplib.send(
                message, recipients=[mail.to], hostname=self.host, port=self.port, username=self.username, password=self.password,
                use_tls=self.tls, start_tls=self.start_tls, timeout=SECONDS_MAX,
            )  # fmt: skip
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _told(error.recipients[0].code if error.recipients else 0, error) from None
        except aiosmtplib.SMTPDataError as error:
            raise _told(error.code, error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            # Also a login or a sender that the server refuses: that is ours to mend, and the mail waits for it.
            raise MailWaits(_types_of(error)) from None


def _types_of(error: Exception) -> str:
    """With what lies behind it: that no connection was made says less than that the certificate was another host's."""
    behind = error.__cause__
    return type(error).__name__ if behind is None else f"{type(error).__name__}: {type(behind).__name__}"


def _told(code: int, error: Exception) -> Exception:
    """By the code alone: a server's text may repeat what was sent."""
    because = f"{type(error).__name__} {code}"
    return MailRefused(because) if code in PERMANENT else MailWaits(because)
