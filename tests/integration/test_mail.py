"""Mail on the real embedded server and a real mail server: sent at least once, tried again, given up and told, never in clear."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from py_service.errors import Problem, SettingsError
from py_service.mail import mailer
from py_service.mail.letter import TRIED_FOR_MS, Letter
from py_service.mail.mailbox import KEPT_MAX, LocalMailbox, read_mailbox
from py_service.mail.message import Mail, MailRefused, MailWaits
from py_service.mail.outbox import GIVEN_UP_KEPT_MS, Outbox
from py_service.mail.postman import Postman
from py_service.mail.quiet import ADDRESS_MAX, ADDRESS_MS, SAME_MAX, SAME_MS, delete_forgotten_counts, letter_writes
from py_service.mail.smtp import SmtpMailer
from py_service.settings import Settings
from py_service.stores.mongo import Document, Mongo
from tests.integration.store_server import free_port, identity_store_url, mongo
from tests.unit.identity_support import NOW_MS, Clock

__all__ = ["identity_store_url", "mongo"]

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # of the mail server, which has it from the start
SENDER = "Nexkey <keys@nexkey.example>"
MAIL = Mail("ada@acme.example", "Zutritt für Ada", "Hallo Ada,\n\nhttps://keys.example/x#secret\n")


@dataclass
class Carrier:
    """A mailer that does what it is told, one after the other, and then takes everything."""

    does: list[Exception] = field(default_factory=list)
    taken: list[Mail] = field(default_factory=list)

    async def send(self, mail: Mail) -> None:
        if self.does:
            raise self.does.pop(0)
        self.taken.append(mail)


class Room:
    """An outbox with a postman. Letters about `gone` have nothing to say any more."""

    def __init__(self, mongo: Mongo) -> None:
        self.clock = Clock()
        self.carrier = Carrier()
        self.outbox = Outbox(mongo.database)
        self.letters = mongo.database["outbox"]
        self.postman = Postman(self.outbox, self.carrier, {"greeting": self.write}, lambda: True, self.clock)

    async def write(self, letter: Letter) -> Mail | None:
        return None if letter.about == "gone" else Mail(letter.to, letter.about, "text")

    def letter(self, about: str = "a", **changed: object) -> Letter:
        return Letter(**({"kind": "greeting", "org": "acme", "about": about, "to": "ada@acme.example", "made_at": NOW_MS} | changed))  # type: ignore[arg-type]  # fields by name

    async def left(self) -> list[Document]:
        return await self.letters.find({}).to_list()


@pytest.fixture
def room(mongo: Mongo) -> Room:
    return Room(mongo)


async def test_what_waits_is_sent_once_and_gone(room: Room) -> None:
    for about in ("a", "b", "gone"):
        await room.outbox.put(room.letter(about))
    assert await room.postman.send_due() == 3
    assert sorted(mail.subject for mail in room.carrier.taken) == ["a", "b"]
    assert await room.left() == []
    assert await room.postman.send_due() == 0


async def test_what_was_not_taken_is_tried_again_each_time_later(room: Room) -> None:
    room.carrier.does = [MailWaits("away")] * 3
    await room.outbox.put(room.letter())
    for pause_ms in (5_000, 15_000, 45_000):
        assert await room.postman.send_due() == 1
        room.clock.now_ms += pause_ms - 1
        assert await room.postman.send_due() == 0
        room.clock.now_ms += 1
    assert await room.postman.send_due() == 1
    assert len(room.carrier.taken) == 1


@pytest.mark.parametrize("because", ["refused", "a day"])
async def test_what_is_given_up_is_told_and_kept_to_be_looked_at(room: Room, because: str) -> None:
    room.carrier.does = [MailRefused("550") if because == "refused" else MailWaits("away")]
    await room.outbox.put(room.letter())
    room.clock.now_ms += 0 if because == "refused" else TRIED_FOR_MS
    with structlog.testing.capture_logs() as logged:
        await room.postman.send_due()
    [line] = logged
    assert (line["event"], line["log_level"]) == ("mail_given_up", "error")
    assert "ada@acme.example" not in str(line)
    [letter] = await room.left()
    assert letter["given_up_at"] == room.clock.now_ms
    room.clock.now_ms += GIVEN_UP_KEPT_MS
    assert await room.postman.send_due() == 0
    assert await room.outbox.delete_forgotten(room.clock.now_ms) == 0
    assert await room.outbox.delete_forgotten(room.clock.now_ms + 1) == 1


async def test_its_like_are_quiet_for_a_while_after_it_was_sent(room: Room) -> None:
    for _ in range(3):
        await room.outbox.put(room.letter(id="one", quiet_ms=1_000))
    await room.postman.send_due()
    await room.outbox.put(room.letter(id="one", quiet_ms=1_000))
    assert await room.postman.send_due() == 0
    assert len(room.carrier.taken) == 1
    assert await room.outbox.delete_forgotten(NOW_MS + 1_001) == 1
    await room.outbox.put(room.letter(id="one", quiet_ms=1_000))
    assert await room.postman.send_due() == 1


async def test_one_that_was_given_up_is_quiet_no_longer_than_one_that_was_sent(room: Room) -> None:
    room.carrier.does = [MailRefused("550")]
    await room.outbox.put(room.letter(id="one", quiet_ms=1_000))
    await room.postman.send_due()
    await room.outbox.put(room.letter(id="one", quiet_ms=1_000))
    assert await room.postman.send_due() == 0, "quiet"
    assert await room.outbox.delete_forgotten(NOW_MS + 1_001) == 1
    [kept] = await room.left()
    assert (kept["given_up_at"], kept["because"], kept["forget_at"]) == (NOW_MS, "550", NOW_MS + GIVEN_UP_KEPT_MS)
    await room.outbox.put(room.letter(id="one", quiet_ms=1_000))
    assert await room.postman.send_due() == 1
    assert len(room.carrier.taken) == 1
    assert await room.left() != []


async def write(mongo: Mongo, letter: Letter) -> None:
    """As the lane of changes does it."""
    async with mongo.session() as session, mongo.transaction(session):
        for collection, identifier, document in await letter_writes(mongo.database, session, letter):
            await mongo.database[collection].replace_one({"_id": identifier}, document, upsert=True, session=session)
        await session.commit_transaction()


async def refused_for(mongo: Mongo, letter: Letter) -> int:
    """Seconds until it would be taken."""
    with pytest.raises(Problem) as raised:
        await write(mongo, letter)
    assert (raised.value.status, raised.value.code) == (429, "letters_too_many")
    assert raised.value.retry_after_seconds is not None
    return raised.value.retry_after_seconds


async def test_an_address_is_sent_few_letters_about_one_thing_and_a_bounded_number_a_day(room: Room, mongo: Mongo) -> None:
    for number in range(SAME_MAX):
        await write(mongo, room.letter(f"pass_a.{number}", made_at=NOW_MS + 1_000 * number))
    assert await refused_for(mongo, room.letter("pass_a.9", made_at=NOW_MS + 1_000 * SAME_MAX)) == 600 - SAME_MAX
    assert len(await room.left()) == SAME_MAX, "nothing of it is written"
    await write(mongo, room.letter("pass_a.9", made_at=NOW_MS + SAME_MS))
    for number in range(ADDRESS_MAX - SAME_MAX - 1):
        await write(mongo, room.letter(f"pass_b{number}.1", made_at=NOW_MS + SAME_MS))
    late = NOW_MS + ADDRESS_MS - 1
    assert await refused_for(mongo, room.letter("pass_c.1", made_at=late)) == 1
    await write(mongo, room.letter("pass_c.1", made_at=late, to="ben@acme.example"))
    await write(mongo, room.letter("pass_c.1", made_at=late, org="other"))
    await write(mongo, room.letter("pass_c.1", made_at=late + 1))
    assert await delete_forgotten_counts(mongo.database, late + 1 + ADDRESS_MS) == 2
    assert await delete_forgotten_counts(mongo.database, late + 2 + ADDRESS_MS) == 1


async def test_one_that_dies_after_sending_sends_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(letter: Letter, now_ms: int) -> None:
        raise Problem(503, "stores_unavailable", "away")

    await room.outbox.put(room.letter())
    with monkeypatch.context() as patched:
        patched.setattr(room.outbox, "sent", dies)
        with pytest.raises(Problem):
            await room.postman.send_due()
    assert await room.postman.send_due() == 1
    assert len(room.carrier.taken) == 2, "at least once"


async def test_a_store_that_is_away_is_waited_for() -> None:
    away = Mongo("mongodb://127.0.0.1:9/?directConnection=true", "mail", 200)
    room = Room(away)
    for call in (room.outbox.put(room.letter()), room.outbox.due(NOW_MS), room.outbox.sent(room.letter(), NOW_MS)):
        with pytest.raises(Problem):
            await call
    running = asyncio.create_task(room.postman.run())
    await asyncio.sleep(0.5)
    assert not running.done()
    running.cancel()
    await away.close()


# --- the local mailbox -----------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_mailbox_keeps_mails_whole_private_and_in_order(tmp_path: Path) -> None:
    mailbox = LocalMailbox(tmp_path / "mail", SENDER)
    await mailbox.send(MAIL)
    await mailbox.send(Mail("ben@acme.example", "Second", "text\n"))
    first, second = read_mailbox(tmp_path / "mail")
    assert (first.number, first.to, first.subject, first.text) == (1, MAIL.to, MAIL.subject, MAIL.text)
    assert second.subject == "Second"
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "mail").iterdir()} == {0o600}
    assert (tmp_path / "mail").stat().st_mode & 0o777 == 0o700
    assert read_mailbox(tmp_path / "none") == []


async def test_the_mailbox_is_bounded(tmp_path: Path) -> None:
    for number in range(KEPT_MAX + 3):
        (tmp_path / f"{number:020}-0.eml").write_bytes(b"Subject: old\n\n")
    await LocalMailbox(tmp_path, SENDER).send(MAIL)
    kept = names(tmp_path)
    assert (len(kept), kept[0]) == (KEPT_MAX, f"{4:020}-0.eml")


@pytest.mark.parametrize(
    "mail", [Mail("a@b.example\nBcc: eve@evil.example", "x", "x"), Mail("a@b.example", "x\r\nBcc: eve@evil.example", "x")]
)
async def test_no_line_is_smuggled_into_a_header(tmp_path: Path, mail: Mail) -> None:
    with pytest.raises(MailRefused):
        await LocalMailbox(tmp_path, SENDER).send(mail)
    assert names(tmp_path) == []


# --- SMTP -------------------------------------------------------------------------------------


class Server:
    """A mail server that keeps what it takes, and refuses addresses that begin with `no` for good, with `later` for now.

    `shown`: the passwords that it heard.
    """

    def __init__(self) -> None:
        self.taken: list[tuple[bool, Envelope]] = []
        self.shown: list[bytes] = []

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name for it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("no"):
            return "550 5.1.1 no such user: secret"
        if address.startswith("later"):
            return "450 4.2.1 not now: secret"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name for it
        self.taken.append((server.transport is not None and server.transport.get_extra_info("sslcontext") is not None, envelope))
        return "250 taken"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For the name by which the server is asked."""
    return certified(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(scope="module")
def certificate_of_another(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certified(tmp_path_factory.mktemp("other"), "mail.other.example")


def certified(folder: Path, host: str) -> tuple[Path, Path]:
    """A key and a certificate that vouches for itself."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(made)]
    subprocess.run(["openssl", "req", *options, *subject], check=True, capture_output=True)
    return key, made


@contextlib.contextmanager
def mail_server(
    keeper: Server, tls: ssl.SSLContext | None, *, login: tuple[bytes, bytes] | None = None, scheme: str = "smtp"
) -> Iterator[int]:
    """`tls`: what it offers by STARTTLS; as `smtps`, what it begins with."""

    def authenticated(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        shown = (getattr(data, "login", b""), getattr(data, "password", b""))
        keeper.shown.append(shown[1])
        return AuthResult(success=shown == login, handled=False)  # `handled` would leave the refusal unsaid, and the client waiting for it

    options: dict[str, Any] = {"ssl_context" if scheme == "smtps" else "tls_context": tls} if tls else {}
    if login:
        # It doesn't count what it begins with as encrypted; and one whose STARTTLS somebody on the line took out still asks for a login.
        asks_anyway = scheme == "smtps" or tls is None
        options |= {"authenticator": authenticated, "auth_required": True, "auth_require_tls": not asks_anyway}
    controller = Controller(keeper, "localhost", free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@pytest.fixture
def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's side; clients trust its certificate."""
    key, made = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    return served_with(key, made)


def served_with(key: Path, made: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made, key)
    return context


def _bytes(envelope: Envelope) -> bytes:
    assert isinstance(envelope.content, bytes)
    return envelope.content


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_mail_goes_out_encrypted_with_a_login(trusted: ssl.SSLContext, scheme: str) -> None:
    """By STARTTLS (RFC 3207), or with TLS from the first byte on (RFC 8314)."""
    server = Server()
    with mail_server(server, trusted, login=(b"us er", b"p:w@d"), scheme=scheme) as port:
        await SmtpMailer.at(f"{scheme}://us%20er:p%3Aw%40d@localhost:{port}", SENDER).send(MAIL)
        with pytest.raises(MailWaits, match="SMTPAuthenticationError"):
            await SmtpMailer.at(f"{scheme}://user:wrong@localhost:{port}", SENDER).send(MAIL)
    assert server.shown[0] == b"p:w@d" and set(server.shown[1:]) == {b"wrong"}
    [(encrypted, envelope)] = server.taken
    assert encrypted
    assert (envelope.mail_from, envelope.rcpt_tos) == ("keys@nexkey.example", ["ada@acme.example"])
    message = email.message_from_bytes(_bytes(envelope), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert (message["Subject"], message["Auto-Submitted"], message["From"]) == (MAIL.subject, "auto-generated", SENDER)
    assert message["Message-ID"].endswith("@nexkey.example>")
    assert message.get_content().replace("\r\n", "\n") == MAIL.text


async def test_without_starttls_nothing_goes_out_unless_it_was_said(certificate: tuple[Path, Path]) -> None:
    server = Server()
    with mail_server(server, None) as port:
        with pytest.raises(MailWaits):
            await SmtpMailer.at(f"smtp://localhost:{port}", SENDER).send(MAIL)
        assert server.taken == []
        await SmtpMailer.at(f"smtp://localhost:{port}?starttls=no", SENDER).send(MAIL)
    assert [encrypted for encrypted, _ in server.taken] == [False]


async def test_where_starttls_was_taken_out_nobody_hears_the_password() -> None:
    server = Server()
    with mail_server(server, None, login=(b"user", b"password")) as port:
        with pytest.raises(MailWaits):
            await SmtpMailer.at(f"smtp://user:password@localhost:{port}", SENDER).send(MAIL)
        assert (server.shown, server.taken) == ([], [])
        mailer = SmtpMailer("localhost", port, "user", "password", tls=False, start_tls=False, sender=SENDER)
        await mailer.send(MAIL)
    assert server.shown == [b"password"], "the server does take one that is shown to it"


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("wrong", ["nobody vouches", "another name"])
async def test_a_server_that_is_not_proved_hears_neither_mail_nor_password(
    certificate: tuple[Path, Path], certificate_of_another: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, scheme: str, wrong: str
) -> None:
    """Its certificate is trusted by nobody here, or trusted and of another host."""
    key, made = certificate if wrong == "nobody vouches" else certificate_of_another
    if wrong == "another name":
        monkeypatch.setenv("SSL_CERT_FILE", str(made))
    server = Server()
    with (
        mail_server(server, served_with(key, made), login=(b"user", b"password"), scheme=scheme) as port,
        pytest.raises(MailWaits, match="SSLCertVerificationError"),
    ):
        await SmtpMailer.at(f"{scheme}://user:password@localhost:{port}", SENDER).send(MAIL)
    assert (server.shown, server.taken) == ([], [])


@pytest.mark.parametrize(("to", "refusal"), [("nobody@acme.example", MailRefused), ("later@acme.example", MailWaits)])
async def test_what_a_server_says_decides_whether_it_is_tried_again(to: str, refusal: type[Exception]) -> None:
    server = Server()
    with mail_server(server, None) as port, pytest.raises(refusal) as told:
        await SmtpMailer.at(f"smtp://localhost:{port}?starttls=no", SENDER).send(Mail(to, "x", "y"))
    assert "secret" not in str(told.value)


async def test_a_server_that_is_away_is_waited_for() -> None:
    with pytest.raises(MailWaits):
        await SmtpMailer.at(f"smtp://localhost:{free_port()}", SENDER).send(MAIL)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost", "smtp://", "smtp://localhost:0", "smtp://localhost:x", "smtp://localhost/path", "smtp://localhost?starttls=yes",
        "smtp://user:password@localhost?starttls=no", "smtps://localhost?starttls=no", "localhost:25", "smtp://localhost#x",
    ],
)  # fmt: skip
def test_an_address_that_is_wrong_stops_the_start_and_is_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="NEXKEY_SMTP_URL") as refused:
        SmtpMailer.at(url, SENDER)
    assert "password@localhost?" not in str(refused.value)


def test_which_carrier(tmp_path: Path) -> None:
    local = Settings(data_folder=tmp_path)
    assert isinstance(mailer.make_mailer(local), LocalMailbox)
    assert isinstance(mailer.make_mailer(Settings(smtp_url="smtps://mail.example")), SmtpMailer)
    assert "p4ss" not in repr(mailer.make_mailer(Settings(smtp_url="smtp://u:p4ss@mail.example")))
    with pytest.raises(SettingsError, match="NEXKEY_SMTP_URL"):
        mailer.make_mailer(Settings(environment="production"))
