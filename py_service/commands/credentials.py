"""Who is signed in, and where: a token from the environment, or sign-ins in a file that only its owner can read.

    NEXKEY_API_URL   the API; else that of the last `nexkey login`, else the one on this machine
    NEXKEY_TOKEN     an access token or an API key; nothing is read from the file then

A sign-in belongs to the address where it was made and is never sent to another. A refresh token is good once, so two commands that
run at the same time must not both use it: whoever renews a sign-in holds a lock, and looks first whether it was renewed meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec

from py_service.errors import SettingsError
from py_service.stores.private_file import write_private

API_URL = "http://127.0.0.1:8080"
OTHERS_MAY = 0o077
RENEWED_BEFORE = timedelta(seconds=30)  # of its end: a request takes a while, and clocks differ


class SignIn(msgspec.Struct):
    """The answer to a sign-in or a refresh, as the API gives it."""

    access_token: str
    expires_at: datetime
    refresh_token: str
    person: str
    organization: str

    @property
    def ends(self) -> bool:
        """Whether it is over, or nearly."""
        return datetime.now(UTC) > self.expires_at - RENEWED_BEFORE


class SignIns(msgspec.Struct):
    """By address of the API. `last`: where the last `nexkey login` was."""

    last: str = API_URL
    sign_ins: dict[str, SignIn] = msgspec.field(default_factory=dict)


class Credentials:
    """Raises SettingsError, from wherever: an address or a token that can't be one, a file that others can read."""

    def __init__(self, environment: Mapping[str, str] = os.environ, url: str | None = None) -> None:
        folder = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or Path.home()) / ".config")
        self._file = folder / "nexkey" / "sign-ins.json"
        self._url = url or environment.get("NEXKEY_API_URL")
        self.token = environment.get("NEXKEY_TOKEN") or None
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise SettingsError("NEXKEY_TOKEN: not a token")

    @property
    def url(self) -> str:
        """Where the API is, without a slash at the end."""
        return checked_url(self._url or self._read().last, "NEXKEY_API_URL")

    def sign_in(self) -> SignIn:
        """What the file has for this address. Raises SettingsError when there is none."""
        found = self._read().sign_ins.get(self.url)
        if found is None:
            raise SettingsError(f"NEXKEY_TOKEN: nobody is signed in at {self.url}: `nexkey login`, or set it")
        return found

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def keep(self, url: str, sign_in: SignIn | None, *, last: bool = False) -> None:
        """None forgets it. Inside `locked`."""
        known = self._read()
        if sign_in is None:
            known.sign_ins.pop(url, None)
        else:
            known.sign_ins[url] = sign_in
        if last:
            known.last = url
        write_private(self._file, msgspec.json.encode(known))

    def _read(self) -> SignIns:
        try:
            if self._file.stat().st_mode & OTHERS_MAY:
                raise SettingsError(f"{self._file}: others may read it; it must have mode 0600")
            return msgspec.json.decode(self._file.read_bytes(), type=SignIns)
        except FileNotFoundError:
            return SignIns()
        except (OSError, msgspec.DecodeError) as error:
            raise SettingsError(f"{self._file}: can't be read ({error}); `nexkey login` makes it anew once it is gone") from None


def checked_url(text: str, where: str) -> str:
    """Raises SettingsError that names `where` it came from."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise SettingsError(f"{where}: http(s)://<host>[:<port>] is needed")
    return str(url).rstrip("/")
