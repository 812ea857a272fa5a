"""One call of the API: signed in, safe to repeat, repeated once when its answer was lost."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import httpx
import msgspec

from py_service.commands.credentials import Credentials, SignIn

TIMEOUT = httpx.Timeout(30.0, connect=5.0)  # an unlock waits 10 s at most for its lock
SAFE_TO_REPEAT = frozenset({"GET", "DELETE", "PUT"})  # and whatever has an Idempotency-Key
LOST = frozenset({502, 504})  # of a balancer whose api died meanwhile: the api itself never says so
IN_FLIGHT_TRIES = 10
PAUSE_SECONDS_MAX = 5.0


class NotReachable(Exception):
    """Nothing answers at that address, or the answer was lost twice: then it isn't known whether anything was done."""


@dataclass(frozen=True, slots=True)
class Call:
    """`body` None: none is sent."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Caller:
    """Calls as who is signed in. Close it after use."""

    def __init__(self, credentials: Credentials, transport: httpx.BaseTransport | None = None) -> None:
        self._credentials = credentials
        self.url = credentials.url
        # Named, so that a list of sessions shows which is which.
        agent = {"User-Agent": f"nexkey/{version('nexkey')}"}
        # Certificates are read only where they are needed: it takes longer than a command.
        secure = self.url.startswith("https:")
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT, transport=transport, headers=agent, verify=secure)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.close()

    def call(self, call: Call) -> httpx.Response:
        """The answer, whatever its status. Raises NotReachable, SettingsError."""
        headers = dict(call.headers)
        if call.method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        answer = self.open_call(call, headers | self._bearer())
        # A sign-in that was ended or renewed elsewhere while its access token looked good.
        if answer.status_code == 401 and self._credentials.token is None and self._renewed(always=True):
            answer = self.open_call(call, headers | self._bearer())
        return answer

    def open_call(self, call: Call, headers: Mapping[str, str]) -> httpx.Response:
        """The same for operations without a caller: `headers` are all that is sent."""
        content = None if call.body is None else msgspec.json.encode(call.body)
        typed = {} if content is None else {"Content-Type": "application/json"}
        request = self._http.build_request(call.method, call.path, params=call.query, content=content, headers={**headers, **typed})
        try:
            answer = self._http.send(request)
            if answer.status_code not in LOST:
                return answer
            cause = f"status {answer.status_code}"
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.ProxyError) as error:
            raise NotReachable(f"nothing answers at {self.url} ({error})") from None
        except httpx.TransportError as error:
            cause = str(error) or type(error).__name__
        if call.method not in SAFE_TO_REPEAT and "Idempotency-Key" not in headers:
            raise NotReachable(f"the answer was lost ({cause}); it isn't known whether anything was done")
        return self._repeated(request)

    def _repeated(self, request: httpx.Request) -> httpx.Response:
        """The same request with the same key. While the first is still under way somewhere, it is waited for."""
        tries = 0
        while True:
            tries += 1
            try:
                answer = self._http.send(request)
            except httpx.TransportError as error:
                raise _lost_twice(str(error) or type(error).__name__) from None
            if answer.status_code in LOST:
                raise _lost_twice(f"status {answer.status_code}")
            if tries == IN_FLIGHT_TRIES or answer.status_code != 409 or b"idempotency_key_in_flight" not in answer.content:
                return answer
            time.sleep(min(float(answer.headers.get("retry-after", "1")), PAUSE_SECONDS_MAX))

    def _bearer(self) -> dict[str, str]:
        if self._credentials.token is not None:
            return {"Authorization": f"Bearer {self._credentials.token}"}
        if self._credentials.sign_in().ends:
            self._renewed()
        return {"Authorization": f"Bearer {self._credentials.sign_in().access_token}"}

    def _renewed(self, *, always: bool = False) -> bool:
        """Whether there is a newer access token than before. `always`: also when the present one seems to last."""
        before = self._credentials.sign_in()
        with self._credentials.locked():
            present = self._credentials.sign_in()
            if present.access_token != before.access_token and not present.ends:
                return True  # somebody else was faster
            if not (present.ends or always):
                return True
            answer = self.open_call(Call("POST", "/v1/refresh", body={"refresh_token": present.refresh_token}), {})
            if answer.status_code != 200:
                return False
            self._credentials.keep(self.url, msgspec.json.decode(answer.content, type=SignIn))
            return True


def _lost_twice(cause: str) -> NotReachable:
    return NotReachable(f"the answer was lost twice ({cause}); it isn't known whether anything was done")
