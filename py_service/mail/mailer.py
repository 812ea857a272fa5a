"""Which carrier of mails the settings name."""

from __future__ import annotations

from py_service.errors import SettingsError
from py_service.mail.mailbox import LocalMailbox
from py_service.mail.message import Mailer
from py_service.mail.smtp import SmtpMailer
from py_service.settings import Settings

MAILBOX_FOLDER = "mail"


def make_mailer(settings: Settings) -> Mailer:
    """A server when one is set, else the folder `mail` of the data folder. Raises SettingsError."""
    if settings.smtp_url is not None:
        return SmtpMailer.at(settings.smtp_url, settings.mail_from)
    if settings.environment == "production":
        raise SettingsError("NEXKEY_SMTP_URL: is needed in production; a folder reaches nobody")
    return LocalMailbox(settings.data_folder / MAILBOX_FOLDER, settings.mail_from)
