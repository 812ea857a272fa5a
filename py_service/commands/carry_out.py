"""A command is carried out: its words become a call, the answer becomes lines and an exit status.

0 done   1 refused, or a problem   2 a word, a setting or a sign-in is wrong   3 the service or its stores (503) aren't reachable, or its
answer was lost
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import typer

from py_service.commands.call import Call, Caller, NotReachable
from py_service.commands.credentials import Credentials
from py_service.commands.show import show, show_problem
from py_service.commands.verb import Parameter, Verb
from py_service.errors import NOT_REACHABLE, SettingsError, exit_status
from py_service.identifiers import IN_PATHS

DONE, REFUSED = 0, 1  # 2: a word or a setting is wrong (Click, and cli.py)
Words = Mapping[str, Any]
FIELD = re.compile(r"`\$\.([a-z_.]+)[^`]*`")  # as msgspec says where something is


def carry_out(verb: Verb, words: Words, *, as_json: bool, wait: int | None = None) -> int:
    """The exit status. `words`: by the parameters' keys; None where nothing was given. Raises SettingsError."""
    headers = {} if wait is None else {"Prefer": f"wait={wait}"}
    try:
        with Caller(Credentials()) as caller:
            answer = caller.call(call_of(verb, words, headers))
    except NotReachable as error:
        typer.echo(f"nexkey: {error}", err=True)
        return NOT_REACHABLE
    return told(verb, answer, as_json=as_json, waited=bool(wait))


def call_of(verb: Verb, words: Words, headers: Mapping[str, str]) -> Call:
    """What isn't given isn't sent. Raises SettingsError."""
    path = verb.path
    query: dict[str, str] = {}
    body: dict[str, Any] = {}
    headers = dict(headers)
    cleared = cleared_of(verb, words)
    for parameter in verb.takes:
        value = words.get(parameter.key)
        if parameter.asked:
            given = parameter.name not in cleared and (parameter.needed or value is True)
        else:
            given = value is not None and value != []
        if not given:
            continue
        if parameter.place == "path":
            path = path.replace(f"{{{parameter.name}}}", in_path(parameter.name, str(value), parameter.option.upper()))
        elif parameter.place == "query":
            query[parameter.name] = str(value)
        elif parameter.place == "header":
            headers[parameter.name] = f'"{value}"' if str(value).isdigit() else str(value)
        else:
            *outer, name = parameter.name.split(".")
            place = body
            for one in outer:
                place = place.setdefault(one, {})
            place[name] = asked_for(name) if parameter.asked else read_value(parameter, value)
    body |= cleared
    if verb.method == "PATCH" and not body:
        raise SettingsError("nothing to change was given: see --help")
    return Call(verb.method, path, query, body or None, headers)


def in_path(name: str, text: str, word: str) -> str:
    """An identifier as it stands in a path. Raises SettingsError, which names the `word`, for what can't be one.

    Encoding isn't enough: the service decodes a path before it splits it, so that a slash in it would reach another operation.
    """
    try:
        return quote(msgspec.convert(text, IN_PATHS[name]), safe="")
    except msgspec.ValidationError:
        raise SettingsError(f"{word}: {text!r} is no id: it has other characters than a-z, 0-9, _ and -, none, or too many") from None


def cleared_of(verb: Verb, words: Words) -> dict[str, Any]:
    """Fields that are emptied, and to what. Raises SettingsError: for what can't be, is given too, or is needed and not given."""
    asked = set(words.get("clear") or ())
    if unknown := asked - verb.cleared.keys():
        raise SettingsError(f"--clear: takes {', '.join(verb.cleared)}, not {', '.join(sorted(unknown))}")
    for option, parameter in verb.cleared.items():
        given = words.get(parameter.key) not in (None, [])
        if given and option in asked:
            raise SettingsError(f"--clear {option}: --{option} was given, too")
        if parameter.needed and not parameter.asked and not given and option not in asked:
            raise SettingsError(f"--{option}: is needed; --clear {option} takes all away")
    found = (verb.cleared[option] for option in sorted(asked))
    return {parameter.name: None if parameter.clears == "null" else [] for parameter in found}


def read_value(parameter: Parameter, value: Any) -> Any:
    """As the API takes it. Raises SettingsError."""
    if parameter.kind == "json":
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise SettingsError(f"--{parameter.option}: takes JSON, as in the API's document") from None
    if parameter.kind == "roles":
        split = [role.partition(":") for role in value]
        return [{"role": role, "sites": sites.split(",") if colon else None} for role, colon, sites in split]
    return value


def asked_for(name: str) -> str:
    """A secret: asked for without an echo, or a line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(name, hide_input=True))
    return sys.stdin.readline().rstrip("\r\n")


def told(verb: Verb, answer: httpx.Response, *, as_json: bool, waited: bool) -> int:
    """With `as_json` the body as it came, also of a problem: one JSON document on standard output."""
    document = document_of(answer)
    if document is None:
        typer.echo(f"nexkey: status {answer.status_code}, and an answer that isn't the API's: is this its address?", err=True)
        return exit_status(answer.status_code)
    if as_json:
        typer.echo(answer.text)
    if answer.is_error:
        if not as_json:
            show_problem(answer.status_code, in_words_of(verb, document))
        return exit_status(answer.status_code)
    if not as_json:
        show(verb.shape, document)
    if not verb.done or document.get("state") in verb.done:
        return DONE
    return REFUSED if waited or document.get("state") != "commanded" else DONE


def in_words_of(verb: Verb, problem: dict[str, Any]) -> dict[str, Any]:
    """A problem that names a field of the body (`$.valid_until`), for who gave an option: under its word, with what it takes."""
    found = FIELD.search(str(problem.get("detail", "")))
    parameter = next((one for one in verb.takes if found is not None and one.place == "body" and one.name == found[1]), None)
    if found is None or parameter is None:
        return problem
    word = parameter.option.upper() if parameter.argument else f"--{parameter.option}"
    return problem | {"detail": FIELD.sub(word, str(problem["detail"])), word: parameter.help}


def document_of(answer: httpx.Response) -> dict[str, Any] | None:
    """The JSON object of an answer. None: it has none, so it isn't the API that answered."""
    try:
        found = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) and not answer.is_redirect else None
