"""One request and its answer, as the rooms see them: no RSGI, no sockets.

The edge makes a `Request`, finds the `Route`, and encodes the `Response`. Rooms name their routes; `app` collects them.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import msgspec

from py_service.errors import Problem

if TYPE_CHECKING:
    from py_service._core_rs import Claims

    Principal: TypeAlias = "Claims | ShownKey"

BodyType = TypeVar("BodyType")
_KEY = re.compile(r"[\x21-\x7e]{1,128}\Z")


@dataclass(slots=True, frozen=True)
class ShownKey:
    """An API key that was shown, in the words of a token's claims: its subject is `api_key:<id>`, its session the SHA-256 of its secret."""

    organization: str
    subject: str
    session: str
    issued_at_ms: int


@dataclass(slots=True)
class Request:
    """A request whose route is known and whose body is whole.

    `headers` has lower-case names. `received_ns` is `time.perf_counter_ns()` at arrival. `claims` is set on routes with
    `access="person"`, after the token was verified and stood against the index.
    """

    method: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    received_ns: int
    claims: Principal | None = None

    def arrived_ms(self, now_ms: int) -> int:
        """The arrival in Unix milliseconds, by the clock that says `now_ms`. It lies before all that was looked at for the request."""
        return now_ms - -(-(time.perf_counter_ns() - self.received_ns) // 1_000_000)

    def caller(self) -> Principal:
        """A person's verified claims, or an API key that stands. Only reached on routes that ask for one."""
        if self.claims is None:
            raise Problem(401, "token_missing", "This needs an access token.")
        return self.claims

    def person(self) -> Claims:
        """The verified claims of a person. Raises Problem 403 for an API key: the edge has refused it before."""
        caller = self.caller()
        if isinstance(caller, ShownKey):
            raise person_needed()
        return caller


@dataclass(slots=True)
class Response:
    """`body` is encoded JSON, or empty."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


Handler = Callable[[Request], Awaitable[Response]]
Quota = Literal["none", "sign-in", "open", "unlock", "request"]
AnswerHeader = Literal["Content-Security-Policy", "Referrer-Policy", "Vary", "X-Content-Type-Options"]
RequestHeader = Literal["If-Match", "If-None-Match", "Idempotency-Key", "Prefer", "X-Nexkey-Assertion"]


@dataclass(slots=True, frozen=True)
class Media:
    """An answer that isn't JSON of ours, by its content type."""

    content_type: str


@dataclass(slots=True, frozen=True)
class Operation:
    """What a route is to whoever calls it. The OpenAPI document and its tests are made from this, so it says what the handler does.

    `body`: the type that is decoded. `answers`: by status the type that is encoded; None: no body.
    `query`: parameters and their types; those in `needed` have to be there. `headers`: those that this operation reads.
    `permission`: what a role of the caller's has to include (docs/protocols/documents.md); None: no role is asked for.
    `api_keys`: whether API keys may ask; None: where a role's permission is needed.
    `by_lane`: whether what isn't a GET is a change that the lane carries out.
    `codes`: further problems, as "409 in_use". Those that follow from the route, the body and the parameters aren't repeated here.
    `members`: by status, what else such a problem may tell. `etag`: its answers carry an ETag. `tells`: further headers that
    its answers always carry; those that follow from the route aren't repeated here.
    `example`: a body that is taken, where the examples of its fields don't make one; `shows`: likewise members of answers, by status.
    `detail`: what else a reader has to know.
    """

    summary: str
    tag: str
    answers: Mapping[int, Any]
    body: Any = None
    body_needed: bool = True
    query: Mapping[str, Any] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    headers: tuple[RequestHeader, ...] = ()
    permission: str | None = None
    by_lane: bool = True
    codes: tuple[str, ...] = ()
    members: Mapping[int, Any] = field(default_factory=dict)
    shows: Mapping[int, Mapping[str, object]] = field(default_factory=dict)
    etag: bool = False
    tells: tuple[AnswerHeader, ...] = ()
    api_keys: bool | None = None
    example: Mapping[str, object] | None = None
    detail: str = ""


@dataclass(slots=True, frozen=True)
class Route:
    """`pattern` has whole-segment parameters in braces: `/v1/doors/{door}/unlock`.

    `access`: "anyone" (the handler proves what it needs) or "person" (bearer token, verified before the handler runs).
    `fenced`: the edge brings the organization's permissions up to the store's revision before the handler runs, and checks the
    token against them. The unlock is not fenced at the edge: its commit group is.
    `body_bytes_max`: 0 means that a body is refused. `about`: what is told of it.
    `own_key`: the room itself makes repeats with an Idempotency-Key safe (the unlock, in its commit group); else the edge does.
    `own_quota`: what a request takes from when that isn't its kind's. "sign-in" is for what could be guessed at: few for each address.
    """

    method: Literal["GET", "POST", "DELETE", "PATCH", "PUT"]
    pattern: str
    handler: Handler
    access: Literal["anyone", "person"] = "person"
    fenced: bool = True
    body_bytes_max: int = 65_536
    own_key: bool = False
    own_quota: Quota | None = None
    about: Operation = field(kw_only=True)

    @property
    def takes_api_keys(self) -> bool:
        """What roles are asked for is open to API keys too; what is a person's own (to unlock, /v1/me) isn't."""
        by_role = self.about.permission is not None
        return self.access == "person" and (by_role if self.about.api_keys is None else self.about.api_keys)

    @property
    def keyed(self) -> bool:
        """Whether a repeat with its Idempotency-Key gets the first answer. Who is nobody yet has no keys of their own."""
        return self.method == "POST" and self.access == "person"

    @property
    def quota(self) -> Quota:
        """What a request takes from: its person's, or, where nobody is known yet, its client address's."""
        return self.own_quota or ("request" if self.access == "person" else "open")

    @property
    def headers(self) -> tuple[RequestHeader, ...]:
        """Those that are read on this route: the operation's own, and what the edge makes of the route."""
        key: RequestHeader = "Idempotency-Key"
        return (*self.about.headers, key) if self.keyed and key not in self.about.headers else self.about.headers


def person_needed() -> Problem:
    """What an API key hears where only persons have something to do."""
    return Problem(403, "person_needed", "This is a person's own: an API key can't do it.")


def match_unsupported() -> Problem:
    """What a request with an If-Match hears on a route that doesn't read it."""
    return Problem(400, "if_match_unsupported", "This operation takes no If-Match: nothing was done.")


def key_of(value: str | None) -> str | None:
    """An Idempotency-Key. Raises Problem 400 `header_invalid`."""
    if value is not None and _KEY.match(value) is None:
        raise Problem(400, "header_invalid", "Idempotency-Key takes 1 to 128 visible ASCII characters.")
    return value


def moment(milliseconds: int) -> datetime.datetime:
    """A time for an answer; msgspec writes it as RFC 3339 in UTC."""
    return datetime.datetime.fromtimestamp(milliseconds / 1_000, datetime.UTC)


def moment_or_none(milliseconds: int | None) -> datetime.datetime | None:
    """None stays None."""
    return None if milliseconds is None else moment(milliseconds)


_ENCODER = msgspec.json.Encoder()


def encoded(status: int, value: object, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer from a msgspec struct (or plain data)."""
    return Response(status, _ENCODER.encode(value), headers or {})


def decoded(decoder: msgspec.json.Decoder[BodyType], body: bytes) -> BodyType:
    """Decode a body. Raises Problem 400 `body_malformed` (not JSON) or `field_invalid` (names the field)."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(400, "field_invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "body_malformed", f"The body is not valid JSON: {error}") from None
