"""Calls of the commands: whose token goes where, how a sign-in is renewed, what is repeated and with which key, what is printed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from py_service import cli
from py_service.commands import bring_in
from py_service.commands.call import Call, Caller, NotReachable
from py_service.commands.carry_out import DONE, REFUSED, call_of, told
from py_service.commands.credentials import Credentials, SignIn
from py_service.commands.membership import changed, set_membership
from py_service.commands.show import plain
from py_service.commands.sign_in import is_private, refused
from py_service.commands.table import VERBS
from py_service.commands.verb import Verb
from py_service.errors import NOT_REACHABLE, SettingsError
from py_service.permissions.change import Changed

URL = "https://nexkey.example"
Answer = httpx.Response | Exception


class Service:
    """Answers in the order of `answers`, and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("idempotency-key") for request in self.asked]

    @property
    def bearers(self) -> list[str]:
        return [request.headers.get("authorization", "").removeprefix("Bearer ") for request in self.asked]


def sign_in(name: str, seconds: float) -> SignIn:
    return SignIn(f"access-{name}", datetime.now(UTC) + timedelta(seconds=seconds), f"refresh-{name}", "ada", "acme")


def signed_in(folder: Path, *, seconds: float = 300, url: str = URL, **more: str) -> Credentials:
    """Credentials with a sign-in that lasts so long."""
    credentials = Credentials({"XDG_CONFIG_HOME": str(folder), "NEXKEY_API_URL": url, **more})
    with credentials.locked():
        credentials.keep(url, sign_in("first", seconds))
    return credentials


def asked(credentials: Credentials, service: Callable[[httpx.Request], httpx.Response], call: Call) -> httpx.Response:
    with Caller(credentials, httpx.MockTransport(service)) as caller:
        return caller.call(call)


def ok(**body: object) -> httpx.Response:
    return httpx.Response(200, json=body)


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": "No.", "request_id": "r-1"}, headers=headers)


def verb(noun: str, name: str) -> Verb:
    return next(one for one in VERBS if (one.noun, one.verb) == (noun, name))


def test_a_sign_in_is_for_its_address_alone(tmp_path: Path) -> None:
    signed_in(tmp_path)
    service = Service(ok())
    with pytest.raises(SettingsError, match=r"nobody is signed in at https://other\.example"):
        asked(Credentials({"XDG_CONFIG_HOME": str(tmp_path), "NEXKEY_API_URL": "https://other.example"}), service, Call("GET", "/v1/me"))
    assert service.asked == []


def test_a_token_of_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    service = Service(problem(401, "token_expired"))
    credentials = signed_in(tmp_path, NEXKEY_TOKEN="from-outside")
    assert asked(credentials, service, Call("GET", "/v1/me")).status_code == 401
    assert service.bearers == ["from-outside"]  # and it isn't renewed: nobody here could


@pytest.mark.parametrize("token", ["a b", "a\nb", "t\u00f6ken", "\x1b[2J"])
def test_a_token_that_cannot_be_one_is_named(token: str) -> None:
    with pytest.raises(SettingsError, match=r"^NEXKEY_TOKEN: not a token$"):
        Credentials({"NEXKEY_TOKEN": token})


@pytest.mark.parametrize("url", ["nexkey.example", "ftp://a", "https://", "https://a:b@c", "https://a?b=c", "https://a:port", "//a"])
def test_an_address_that_cannot_be_one_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^NEXKEY_API_URL: http"):
        _ = Credentials({"NEXKEY_API_URL": url, "XDG_CONFIG_HOME": str(tmp_path)}).url


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    credentials = signed_in(tmp_path)
    file = tmp_path / "nexkey" / "sign-ins.json"
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    with pytest.raises(SettingsError, match="others may read it"):
        credentials.sign_in()
    file.chmod(0o600)
    file.write_text("{")
    with pytest.raises(SettingsError, match="can't be read"):
        credentials.sign_in()


def test_a_sign_in_that_ends_is_renewed_and_kept(tmp_path: Path) -> None:
    credentials = signed_in(tmp_path, seconds=10)
    renewed = httpx.Response(200, content=msgspec.json.encode(sign_in("second", 300)))
    service = Service(renewed, ok(person="ada"))
    assert asked(credentials, service, Call("GET", "/v1/me")).status_code == 200
    assert msgspec.json.decode(service.asked[0].content) == {"refresh_token": "refresh-first"}
    assert service.bearers == ["", "access-second"]
    assert credentials.sign_in().refresh_token == "refresh-second"


def test_a_token_that_is_refused_is_renewed_once(tmp_path: Path) -> None:
    renewed = httpx.Response(200, content=msgspec.json.encode(sign_in("second", 300)))
    service = Service(problem(401, "token_revoked"), renewed, ok())
    assert asked(signed_in(tmp_path), service, Call("POST", "/v1/groups", body={"name": "a"})).status_code == 200
    assert service.keys[0] == service.keys[2] is not None
    ended = Service(problem(401, "token_revoked"), problem(401, "refresh_token_reused"))
    assert asked(signed_in(tmp_path), ended, Call("GET", "/v1/me")).json()["code"] == "token_revoked"
    assert len(ended.asked) == 2


def test_two_commands_renew_a_sign_in_once(tmp_path: Path) -> None:
    """A refresh token that is used twice ends the session."""
    signed_in(tmp_path, seconds=1)
    used: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/v1/refresh":
            return ok(bearer=request.headers["authorization"])
        used.append(msgspec.json.decode(request.content)["refresh_token"])
        time.sleep(0.05)
        return httpx.Response(200, content=msgspec.json.encode(sign_in("second", 300)))

    answers: list[httpx.Response] = []

    def command() -> None:
        credentials = Credentials({"XDG_CONFIG_HOME": str(tmp_path), "NEXKEY_API_URL": URL})
        answers.append(asked(credentials, service, Call("GET", "/v1/me")))

    threads = [threading.Thread(target=command) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert used == ["refresh-first"]
    assert [answer.json() for answer in answers] == [{"bearer": "Bearer access-second"}] * 4


@pytest.mark.parametrize("lost", [httpx.ReadError("cut"), httpx.RemoteProtocolError("cut"), httpx.ReadTimeout("late"), httpx.Response(502)])
def test_a_lost_answer_is_asked_for_again_with_the_same_key(lost: Answer, tmp_path: Path) -> None:
    service = Service(lost, ok(id="g"))
    assert asked(signed_in(tmp_path), service, Call("POST", "/v1/groups", body={"name": "a"})).json() == {"id": "g"}
    assert service.keys[0] == service.keys[1] is not None
    assert service.asked[0].content == service.asked[1].content
    twice = Service(lost, lost)
    with pytest.raises(NotReachable, match="lost twice"):
        asked(signed_in(tmp_path), twice, Call("POST", "/v1/groups", body={"name": "a"}))


def test_what_is_under_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("py_service.commands.call.time.sleep", waited.append)
    busy = problem(409, "idempotency_key_in_flight", **{"retry-after": "2"})
    service = Service(httpx.ReadError("cut"), busy, busy, ok(id="g"))
    assert asked(signed_in(tmp_path), service, Call("POST", "/v1/groups", body={"name": "a"})).json() == {"id": "g"}
    assert waited == [2.0, 2.0]
    assert len(set(service.keys)) == 1


def test_a_change_without_a_key_is_not_repeated(tmp_path: Path) -> None:
    service = Service(httpx.ReadError("cut"))
    with pytest.raises(NotReachable, match="isn't known whether anything was done"):
        asked(signed_in(tmp_path), service, Call("PATCH", "/v1/persons/p", body={"name": "a"}))
    assert len(service.asked) == 1


def test_a_group_is_joined_by_who_changes_a_person_last(tmp_path: Path) -> None:
    """Somebody else changes the person between reading and writing: it is read again, and what they wrote stays."""

    def person(tag: str, *groups: str) -> httpx.Response:
        return httpx.Response(200, json={"id": "p", "groups": list(groups)}, headers={"etag": tag})

    service = Service(person('"1"', "a"), problem(412, "changed_meanwhile"), person('"2"', "a", "b"), person('"3"', "a", "b", "c"))
    with Caller(signed_in(tmp_path), httpx.MockTransport(service)) as caller:
        assert changed(caller, "c", "/v1/persons/p", member=True).headers["etag"] == '"3"'
    assert [request.headers.get("if-match") for request in service.asked] == [None, '"1"', None, '"2"']
    assert msgspec.json.decode(service.asked[3].content) == {"groups": ["a", "b", "c"]}
    already = Service(person('"3"', "a"))
    with Caller(signed_in(tmp_path), httpx.MockTransport(already)) as caller:
        assert changed(caller, "a", "/v1/persons/p", member=True).status_code == 200
        already.answers = [person('"3"', "a", "b"), person('"4"', "b")]
        assert changed(caller, "a", "/v1/persons/p", member=False).headers["etag"] == '"4"'
    assert msgspec.json.decode(already.asked[-1].content) == {"groups": ["b"]}


@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60), bytes_max=st.integers(12, 40), characters_max=st.integers(1, 20))
def test_a_file_is_its_parts(text: str, bytes_max: int, characters_max: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bring_in, "PART_BYTES_MAX", bytes_max)
        patched.setattr(bring_in, "PART_CHARACTERS_MAX", characters_max)
        parts = list(bring_in.parts_of(text))
    assert "".join(parts) == text
    assert all(0 < len(part) <= characters_max and len(msgspec.json.encode(part)) <= bytes_max for part in parts)


def test_a_large_file_fits_into_the_parts_that_there_are() -> None:
    parts = list(bring_in.parts_of("\u00e4,b\n" * 5_000_000))
    assert len(parts) <= 64
    assert all(len(msgspec.json.encode({"text": part})) <= 1_048_576 and len(part) <= 1_000_000 for part in parts)


def test_nobody_there(tmp_path: Path) -> None:
    service = Service(httpx.ConnectError("refused"))
    with pytest.raises(NotReachable, match=r"nothing answers at https://nexkey\.example"):
        asked(signed_in(tmp_path), service, Call("POST", "/v1/groups", body={"name": "a"}))
    assert len(service.asked) == 1


def test_every_post_has_a_key_of_its_own_and_nothing_else_has_one(tmp_path: Path) -> None:
    service = Service(ok(), ok(), ok())
    for method in ("POST", "POST", "GET"):
        asked(signed_in(tmp_path), service, Call(method, "/v1/groups"))
    first, second, none = service.keys
    assert first and second and first != second and none is None


def test_words_become_a_call_and_what_is_not_given_is_not_sent() -> None:
    made = call_of(verb("person", "add"), {"name": "Nora", "email": None, "groups": [], "valid_from": "2027-01-01T08:00:00Z"}, {})
    assert (made.path, made.body) == ("/v1/persons", {"name": "Nora", "valid_from": "2027-01-01T08:00:00Z"})
    made = call_of(verb("door", "list"), {"limit": 5, "site": "berlin", "cursor": None}, {})
    assert (made.path, made.query, made.body) == ("/v1/doors", {"limit": "5", "site": "berlin"}, None)
    attempt = "unlocks-6bf1c2a09d3e4f58:000000000042:000"
    assert call_of(verb("event", "attempt"), {"attempt": attempt}, {}).path == f"/v1/attempts/{attempt.replace(':', '%3A')}"
    assert call_of(verb("door", "unlock"), {"door": "d", "pin": False}, {}).body is None


NO_IDS = ["p-0002/sessions", "p-0002%2Fsessions", "", "..", ".", "a b", "a?x", "a#x", "A", "a\n", "a" * 97, "\u00e4"]


@pytest.mark.parametrize("text", NO_IDS)
def test_what_cannot_be_an_id_is_in_no_path(text: str) -> None:
    """The service decodes a path before it splits it: an encoded slash would be another operation's."""
    for each in [one for one in VERBS if "{" in one.path]:
        (parameter,) = [one for one in each.takes if one.place == "path"]
        with pytest.raises(SettingsError, match=f"^{parameter.option.upper()}: .* is no id"):
            call_of(each, {parameter.key: text, "clear": list(each.cleared)}, {})


@pytest.mark.parametrize(("group", "person", "named"), [("g", "p/roles", "PERSON"), ("g/h", "p", "GROUP")])
def test_what_cannot_be_an_id_joins_no_group(group: str, person: str, named: str) -> None:
    with pytest.raises(SettingsError, match=f"^{named}: "):
        set_membership(group, person, member=True, as_json=False)


@pytest.mark.parametrize(
    ("state", "waited", "status"),
    [("unlocked", True, DONE), ("unlocked.failed", True, REFUSED), ("unconfirmed", True, REFUSED), ("commanded", True, REFUSED),
     ("commanded", False, DONE), ("unlocked.failed", False, REFUSED)],
)  # fmt: skip
def test_an_unlock_is_done_when_the_door_opened(state: str, waited: bool, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ok(
        id="a", door="d", state=state, reason=None, phases=[{"phase": "committed", "ok": True, "reason": None, "milliseconds": 4.2}]
    )
    assert told(verb("door", "unlock"), answer, as_json=False, waited=waited) == status
    assert state in capsys.readouterr().out


@pytest.mark.parametrize("answer", [problem(503, "stores_unavailable"), httpx.Response(503, text="<html>")])
def test_what_cannot_be_reached_has_refused_nothing(answer: httpx.Response) -> None:
    for as_json in (True, False):
        assert told(verb("door", "list"), answer, as_json=as_json, waited=False) == NOT_REACHABLE
    assert refused(answer) == NOT_REACHABLE
    assert refused(problem(429, "too_many_requests")) == REFUSED


def test_json_is_the_answer_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    exact = '{"items": [{"id":"a",  "name":"\\u00c5"}],"next_cursor":null}'
    assert told(verb("door", "list"), httpx.Response(200, text=exact), as_json=True, waited=False) == DONE
    assert capsys.readouterr().out == exact + "\n"
    assert told(verb("door", "list"), problem(403, "role_missing"), as_json=True, waited=False) == REFUSED
    printed = capsys.readouterr()
    assert msgspec.json.decode(printed.out)["code"] == "role_missing" and printed.err == ""


def test_a_problem_is_told_with_code_detail_and_what_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    answer = httpx.Response(
        409, json={"code": "in_use", "detail": "Still named.", "request_id": "r-1", "used_by": [{"kind": "grant", "id": "g"}]}
    )
    assert told(verb("group", "remove"), answer, as_json=False, waited=False) == REFUSED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "nexkey: in_use: Still named.", "  used_by: grant g", "  status 409, request r-1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("noun", "name", "detail", "lines"),
    [
        ("person", "add", "Invalid RFC3339 encoded datetime - at `$.valid_until`",
            ["nexkey: field_invalid: Invalid RFC3339 encoded datetime - at --until", "  --until: Until when, e.g. 2027-01-31T18:00:00Z."]),
        ("door", "change", "Invalid enum value 'open' - at `$.mode`",
            ["nexkey: field_invalid: Invalid enum value 'open' - at --mode", "  --mode: locked, unlocked, first_person_in or "]),
        ("person", "add", "Expected `str` of length >= 1 - at `$.groups[...]`",
            ["nexkey: field_invalid: Expected `str` of length >= 1 - at --group", "  --group: A group that "]),
        ("person", "add", "Expected `str` of length >= 1 - at `$.name`",
            ["nexkey: field_invalid: Expected `str` of length >= 1 - at NAME", "  NAME: Their name."]),
        ("pass", "add", "Expected `str` - at `$.receiver.email`",
            ["nexkey: field_invalid: Expected `str` - at --email", "  --email: "]),
        ("person", "add", "Something - at `$.unknown`", ["nexkey: field_invalid: Something - at `$.unknown`"]),
    ],
)  # fmt: skip
def test_a_refusal_speaks_of_the_option_that_was_given(
    noun: str, name: str, detail: str, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = httpx.Response(400, json={"code": "field_invalid", "detail": detail, "request_id": "r-1"})
    assert told(verb(noun, name), answer, as_json=False, waited=False) == REFUSED
    said = capsys.readouterr().err.splitlines()
    assert [line[: len(told_)] for line, told_ in zip(said, lines, strict=False)] == lines
    assert len(said) == len(lines) + 1 and "status 400" in said[-1]
    assert told(verb(noun, name), answer, as_json=True, waited=False) == REFUSED
    assert msgspec.json.decode(capsys.readouterr().out)["detail"] == detail


CHANGED = Changed(7, 1_790_000_000_000, None)
RENAMED = Changed(8, 1_790_000_000_000, {"id": "acme", "name": "Acme Works"})
EFFECTIVE_BY = "2026-09-21T14:13:20+00:00"


@pytest.mark.parametrize(
    ("words", "came_to", "text", "fields"),
    [
        (["organization", "create", "--name", "Acme", "--owner-email", "a@b.example"], CHANGED, "acme stands, at revision 7; ",
            {"id": "acme", "name": "Acme", "state": "active", "revision": 7}),
        (["organization", "rename", "acme", "--name", " Acme Works "], RENAMED,
            "acme is called Acme Works", {"id": "acme", "name": "Acme Works", "revision": 8}),
        (["organization", "suspend", "acme"], CHANGED, "acme is suspended; no lock moves after ",
            {"id": "acme", "state": "suspended", "revision": 7, "effective_by": EFFECTIVE_BY}),
        (["organization", "resume", "acme"], CHANGED, "acme is active", {"id": "acme", "state": "active", "revision": 7}),
        (["organization", "appoint-owner", "acme", "--email", "a@b.example"], CHANGED, "a@b.example owns acme and can sign in",
            {"id": "acme", "owner_email": "a@b.example", "revision": 7}),
        (["key", "rotate"], SimpleNamespace(kid="access.2", activate_at=1_790_000_000_000), "access.2 signs from ",
            {"kid": "access.2", "signs_from": EFFECTIVE_BY}),
    ],
)  # fmt: skip
def test_an_operators_command_tells_people_and_programs(
    words: list[str], came_to: object, text: str, fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_operate", lambda work, *, as_json: came_to)
    shown = CliRunner().invoke(cli.application, words, input="a long enough password\n")
    assert shown.exit_code == 0 and shown.output.startswith(text), shown.output
    told_ = CliRunner().invoke(cli.application, [*words, "--json"], input="a long enough password\n")
    assert (told_.exit_code, msgspec.json.decode(told_.output)) == (0, fields)


def test_versions_are_told_to_programs() -> None:
    told_ = msgspec.json.decode(CliRunner().invoke(cli.application, ["version", "--json"]).output)
    assert told_.keys() == {"nexkey", "core", "build_profile"} and all(told_.values())


@pytest.mark.parametrize("answer", [httpx.Response(200, text="<html>"), httpx.Response(302, json={}), httpx.Response(200, json=[1])])
def test_an_answer_that_is_not_the_apis(answer: httpx.Response, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(verb("door", "list"), answer, as_json=True, waited=False) == REFUSED
    printed = capsys.readouterr()
    assert printed.out == "" and "is this its address?" in printed.err


def test_rows_are_a_table_and_a_page_names_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "d-1", "name": "Front [bold]door[/]", "site": "s", "area": None, "mode": "locked", "lock": None, "locked_down": True},
        {"id": "d-2", "name": "Back\x1b[2J\u202edoor", "site": "s", "area": "a", "mode": "locked", "lock": None, "locked_down": False},
    ]
    assert told(verb("door", "list"), ok(items=rows, next_cursor="abc"), as_json=False, waited=False) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "name", "site", "area", "mode", "lock", "locked", "down"]
    assert "Front [bold]door[/]" in lines[1] and lines[1].rstrip().endswith("yes")
    assert "\x1b" not in lines[2] and "\u202e" not in lines[2]
    assert lines[-1] == "more: --cursor abc"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), ([], ""), (["a", "b\n"], "a, b\ufffd"), ({"a": [1]}, "1"), (1.5, "1.5"),
     ([{"kind": "grant", "id": "g\x00"}, {"kind": "door"}], "grant g\ufffd; door"), ({"link": True, "email": None}, "link"),
     ([{"days": ["mon", "tue"], "start": "08:00", "end": "18:00"}], "mon, tue 08:00 18:00"), ([{"role": "owner", "sites": None}], "owner"),
     ("2026-11-24T04:29:15.607000Z", "2026-11-24 04:29:15Z"), ("at 2026-11-24T04:29:15Z", "at 2026-11-24T04:29:15Z")],
)  # fmt: skip
def test_one_value_is_one_line(value: object, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    ("url", "private"),
    [("https://a.example", True), ("http://a.example", False), ("http://127.0.0.1:8080", True), ("http://[::1]:8080", True),
     ("http://localhost:1", True), ("http://10.0.0.1", False)],
)  # fmt: skip
def test_a_password_in_the_clear_is_noticed(url: str, private: bool) -> None:
    assert is_private(url) == private


def test_what_is_not_given_is_not_sent_and_what_is_cleared_is_empty() -> None:
    words = {"person": "p", "name": None, "email": None, "groups": [], "valid_until": "2027-01-01T08:00:00Z", "clear": ["from", "group"]}
    made = call_of(verb("person", "change"), words | {"If_Match": "1804"}, {})
    assert made.body == {"valid_until": "2027-01-01T08:00:00Z", "valid_from": None, "groups": []}
    assert (made.method, made.path, made.headers) == ("PATCH", "/v1/persons/p", {"If-Match": '"1804"'})
    assert call_of(verb("door", "change"), {"door": "d", "sharing": False}, {}).body == {"sharing": False}
    assert call_of(verb("door", "change"), {"door": "d", "sharing": True, "If_Match": "*"}, {}).headers == {"If-Match": "*"}
    roles = call_of(verb("role", "set"), {"person": "p", "roles": ["owner", "reception:berlin,munich"]}, {}).body
    assert roles == {"roles": [{"role": "owner", "sites": None}, {"role": "reception", "sites": ["berlin", "munich"]}]}
    assert call_of(verb("role", "set"), {"person": "p", "roles": [], "clear": ["role"]}, {}).body == {"roles": []}
    assert call_of(verb("person", "pin"), {"person": "p", "clear": ["pin"]}, {}).body == {"pin": None}


@pytest.mark.parametrize(
    ("noun", "name", "words", "said"),
    [
        ("person", "change", {"person": "p"}, "nothing to change"),
        ("person", "change", {"person": "p", "clear": ["name"]}, "--clear: takes email"),
        ("person", "change", {"person": "p", "email": "a@b.example", "clear": ["email"]}, "--email was given, too"),
        ("role", "set", {"person": "p", "roles": []}, "--role: is needed"),
        ("schedule", "change", {"schedule": "s", "windows": "[{"}, "--windows: takes JSON"),
    ],
)
def test_words_that_do_not_make_a_change_are_refused(noun: str, name: str, words: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        call_of(verb(noun, name), words, {})
