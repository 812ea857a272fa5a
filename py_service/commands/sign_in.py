"""`nexkey login` and `nexkey logout`."""

from __future__ import annotations

import ipaddress

import httpx
import msgspec
import typer

from py_service.commands.call import Call, Caller, NotReachable
from py_service.commands.carry_out import DONE, asked_for, document_of
from py_service.commands.credentials import Credentials, SignIn
from py_service.commands.show import show_problem
from py_service.errors import NOT_REACHABLE, exit_status


def login(credentials: Credentials, email: str) -> int:
    """The exit status. Asks for the password, and keeps the sign-in. Raises SettingsError."""
    if not is_private(credentials.url):
        typer.echo(f"nexkey: {credentials.url} isn't https: whoever is on the way can read the password", err=True)
    try:
        with Caller(credentials) as caller:
            # Without a key: there is nobody yet whose it could be. A second sign-in would be a second session.
            answer = caller.open_call(Call("POST", "/v1/sign-in", body={"email": email, "password": asked_for("password")}), {})
    except NotReachable as error:
        typer.echo(f"nexkey: {error}", err=True)
        return NOT_REACHABLE
    if answer.status_code != 200:
        return refused(answer)
    try:
        made = msgspec.json.decode(answer.content, type=SignIn)
    except msgspec.DecodeError:
        return refused(answer)
    with credentials.locked():
        credentials.keep(credentials.url, made, last=True)
    typer.echo(f"signed in at {credentials.url} as {made.person} of {made.organization}")
    return DONE


def logout(credentials: Credentials) -> int:
    """The exit status. The sign-in is forgotten here, whatever the service says. Raises SettingsError."""
    sign_in = credentials.sign_in()
    url = credentials.url
    try:
        with credentials.locked(), Caller(credentials) as caller:
            credentials.keep(url, None)
            answer = caller.open_call(Call("POST", "/v1/sign-out", body={"refresh_token": sign_in.refresh_token}), {})
    except NotReachable as error:
        typer.echo(f"nexkey: forgotten here; the session ends by itself, as the service didn't hear of it: {error}", err=True)
        return NOT_REACHABLE
    if answer.status_code != 204:
        return refused(answer)
    typer.echo(f"signed out at {url}")
    return DONE


def refused(answer: httpx.Response) -> int:
    document = document_of(answer)
    if document is None:
        typer.echo(f"nexkey: status {answer.status_code}, and an answer that isn't the API's: is this its address?", err=True)
    else:
        show_problem(answer.status_code, document)
    return exit_status(answer.status_code)


def is_private(url: str) -> bool:
    """Whether nobody on the way can read along: TLS, or this machine."""
    parsed = httpx.URL(url)
    try:
        local = ipaddress.ip_address(parsed.host).is_loopback
    except ValueError:
        local = parsed.host == "localhost"
    return local or parsed.scheme == "https"
