"""The table as commands of `nexkey`: a group for each noun, a command for each verb, an option for each parameter.

What carries them out is imported when it is needed: `nexkey api` has no use for it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from py_service.commands.table import NOUNS, VERBS
from py_service.commands.verb import Kind, Parameter, Verb

TYPES: dict[Kind, Any] = {"text": str, "number": int, "many": list[str], "flag": bool, "switch": bool, "json": str, "roles": list[str]}
AS_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="The API's answer as it is: one JSON document.")],
)
WAIT = inspect.Parameter(
    "wait",
    inspect.Parameter.KEYWORD_ONLY,
    default=2,
    annotation=Annotated[int, typer.Option(min=0, max=10, help="Seconds to wait for the lock's answer.")],
)


def add_commands(application: typer.Typer, organization: typer.Typer) -> None:
    """All of the table, and those that are more than one call. `organization`: has commands of the operator's, too."""
    groups = {noun: typer.Typer(no_args_is_help=True, help=help_) for noun, help_ in NOUNS.items()}
    for noun, group in groups.items():
        if noun != "organization":
            application.add_typer(group, name=noun)
    groups["organization"] = organization
    for verb in VERBS:
        groups[verb.noun].command(verb.verb)(command_of(verb))
    groups["group"].command("join")(join)
    groups["group"].command("leave")(leave)
    groups["import"].command("add")(bring_in)
    application.command("login")(login)
    application.command("logout")(logout)
    application.command("whoami")(command_of(Verb("", "whoami", "GET", "/v1/me", "Who is signed in, and with which roles.")))


def command_of(verb: Verb) -> Callable[..., None]:
    """A function that Typer reads the words from."""

    def command(**words: Any) -> None:
        from py_service.commands.carry_out import carry_out

        as_json, wait = words.pop("as_json"), words.pop("wait", None)
        sys.exit(carry_out(verb, words, as_json=as_json, wait=wait))

    command.__name__ = f"{verb.noun}_{verb.verb}".strip("_")
    command.__doc__ = verb.help
    more = [*([WAIT] if verb.waits else []), *([clear_of(verb)] if verb.cleared else []), AS_JSON]
    words = [word_of(verb, parameter) for parameter in verb.takes if not (parameter.asked and parameter.needed)]
    command.__signature__ = inspect.Signature([*words, *more])  # type: ignore[attr-defined]  # what Typer reads
    return command


def word_of(verb: Verb, parameter: Parameter) -> inspect.Parameter:
    """An argument or an option, as Typer reads it."""
    kind = TYPES[parameter.kind]
    option = (
        typer.Argument(help=parameter.help, metavar=parameter.option.upper())
        if parameter.argument
        else typer.Option(f"--{parameter.option}/--no-{parameter.option}", help=parameter.help)
        if parameter.kind == "switch"
        else typer.Option(f"--{parameter.option}", help=parameter.help)
    )
    needed = parameter.needed and parameter.option not in verb.cleared
    default: Any = False if parameter.kind == "flag" else inspect.Parameter.empty if needed else None
    hint = kind if needed or parameter.kind == "flag" else kind | None
    return inspect.Parameter(parameter.key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, option])


def clear_of(verb: Verb) -> inspect.Parameter:
    """The option that empties fields."""
    help_ = f"Empty this: {', '.join(verb.cleared)}; may be given more than once."
    hint = Annotated[list[str] | None, typer.Option("--clear", help=help_)]
    return inspect.Parameter("clear", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)


Group = Annotated[str, typer.Argument(help="The group's id.")]
Person = Annotated[str, typer.Argument(help="The person's id.")]
Json = Annotated[bool, typer.Option("--json", help="The API's answer as it is: one JSON document.")]


def join(group: Group, person: Person, as_json: Json = False) -> None:
    """Put a person into a group."""
    from py_service.commands.membership import set_membership

    sys.exit(set_membership(group, person, member=True, as_json=as_json))


def leave(group: Group, person: Person, as_json: Json = False) -> None:
    """Take a person out of a group."""
    from py_service.commands.membership import set_membership

    sys.exit(set_membership(group, person, member=False, as_json=as_json))


def bring_in(
    file: Annotated[Path, typer.Argument(help="CSV or NDJSON, by the end of its name; its columns are the fields of `add`.")],
    kind: Annotated[str, typer.Option(help="What its rows are: persons, groups or grants.")],
    all_or_nothing: Annotated[bool, typer.Option("--all-or-nothing", help="One row that is refused refuses all.")] = False,
    watch: Annotated[bool, typer.Option(help="Wait until every row is settled. Exit status 0 only if all were applied.")] = True,
    as_json: Json = False,
) -> None:
    """Bring in a file."""
    from py_service.commands.bring_in import bring_in as carry_in

    sys.exit(carry_in(file, kind, all_or_nothing=all_or_nothing, watch=watch, as_json=as_json))


def login(
    email: Annotated[str, typer.Argument(help="Sign in as this e-mail; the password is asked for, or read from standard input.")],
    api: Annotated[str | None, typer.Option(help="Address of the HTTP API; NEXKEY_API_URL, or the last one, else.")] = None,
) -> None:
    """Sign in, and keep the sign-in for the commands after this one."""
    from py_service.commands.credentials import Credentials, checked_url
    from py_service.commands.sign_in import login as sign_in

    sys.exit(sign_in(Credentials(url=None if api is None else checked_url(api, "--api")), email))


def logout() -> None:
    """End the session, and forget it."""
    from py_service.commands.credentials import Credentials
    from py_service.commands.sign_in import logout as sign_out

    sys.exit(sign_out(Credentials()))
