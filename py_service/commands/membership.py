"""`nexkey group join` and `leave`: a person's list of groups is read, changed and written back, if nobody changed it meanwhile."""

from __future__ import annotations

import httpx
import typer

from py_service.commands.call import Call, Caller, NotReachable
from py_service.commands.carry_out import in_path, told
from py_service.commands.credentials import Credentials
from py_service.commands.verb import Shape, Verb
from py_service.errors import NOT_REACHABLE

SHAPE = Shape(("id", "name", "groups", "effective_by"))
CHANGED = Verb("group", "join", "PATCH", "/v1/persons/{person}", "", SHAPE)
TRIES = 5


def set_membership(group: str, person: str, *, member: bool, as_json: bool) -> int:
    """The exit status. Raises SettingsError."""
    path = f"/v1/persons/{in_path('person', person, 'PERSON')}"
    try:
        with Caller(Credentials()) as caller:
            answer = changed(caller, in_path("group", group, "GROUP"), path, member=member)
    except NotReachable as error:
        typer.echo(f"nexkey: {error}", err=True)
        return NOT_REACHABLE
    return told(CHANGED, answer, as_json=as_json, waited=False)


def changed(caller: Caller, group: str, path: str, *, member: bool) -> httpx.Response:
    """The last answer: of the person as they are, of the change, or a problem."""
    answer = caller.call(Call("GET", path))
    for _ in range(TRIES):
        if answer.is_error or (group in answer.json()["groups"]) == member:
            break
        groups = [one for one in answer.json()["groups"] if one != group] + ([group] if member else [])
        answer = caller.call(Call("PATCH", path, body={"groups": groups}, headers={"If-Match": answer.headers["etag"]}))
        if answer.status_code != 412:
            break
        answer = caller.call(Call("GET", path))
    return answer
