"""The command `nexkey`: what can be started, and with which words. Reads settings, hands over, turns refusals into exit statuses.
The commands for daily work have their table in `commands/`.

0 done   1 something failed   2 a setting or an argument is wrong, and is named   3 the service or its stores aren't reachable
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console

from py_service.commands.words import add_commands
from py_service.errors import NOT_REACHABLE, SettingsError, exit_status
from py_service.settings import Settings, read_settings

if TYPE_CHECKING:
    from py_service.simulators.run import Caller

application = typer.Typer(
    name="nexkey", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Cloud access control."
)
simulate = typer.Typer(no_args_is_help=True, help="Simulated locks and phones: real clients over the real protocols.")
application.add_typer(simulate, name="simulate")
key = typer.Typer(no_args_is_help=True, help="The keys that sign.")
application.add_typer(key, name="key")
organization = typer.Typer(
    no_args_is_help=True,
    help="Your organization: show, change. For the operator: create, rename, suspend, resume, archive, list, appoint-owner.",
)
application.add_typer(organization, name="organization")
journal = typer.Typer(no_args_is_help=True, help="The journal of all decisions and changes.")
application.add_typer(journal, name="journal")
indexes = typer.Typer(no_args_is_help=True, help="The indexes of the store.")
application.add_typer(indexes, name="indexes")

WRONG_SETTING = 2
Answer = TypeVar("Answer")

Api = Annotated[str, typer.Option(help="Address of the HTTP API.")]
Gateway = Annotated[str, typer.Option(help="Address of the gateway.")]
DemoPath = Annotated[Path, typer.Option("--demo", help="demo.json of a data folder that `nexkey up --demo` made.")]
Moves = Annotated[Path | None, typer.Option(help="Append a JSON line each time that a bolt moves.")]
State = Annotated[Path | None, typer.Option(help="Folder where locks keep numbers and unsent reports over a restart.")]

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]

API_URL = "http://127.0.0.1:8080"
GATEWAY_URL = "ws://127.0.0.1:8081/v1/realtime"


def main() -> None:
    """Entry point of the package."""
    try:
        application()
    except SettingsError as error:
        typer.echo(f"nexkey: {error}", err=True)
        sys.exit(WRONG_SETTING)


@application.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Seed a believable organization, run its locks and phones, show what happens.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Folder that keeps everything; NEXKEY_DATA_FOLDER else.")] = None,
) -> None:
    """Run everything on this machine: stores where no URL is set, api, gateway, worker. Ctrl-C stops it."""
    settings = read_settings()
    if data is not None:
        settings = replace(settings, data_folder=data)
    if demo:
        from py_service.demo.stage import run_up_demo

        sys.exit(run_up_demo(settings, Console()))
    from py_service.supervise.up import run_up

    sys.exit(run_up(settings, Console()))


@application.command()
def mailbox(
    number: Annotated[int | None, typer.Argument(help="The mail to print; a table of all else.", min=1)] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that keeps everything; NEXKEY_DATA_FOLDER else.")] = None,
) -> None:
    """Mails that were kept on this machine, because no mail server is set. Their links are as good as passwords."""
    from py_service.mail.mailbox import read_mailbox
    from py_service.mail.mailer import MAILBOX_FOLDER
    from py_service.mail.screen import mail_table

    found = read_mailbox((data or read_settings().data_folder) / MAILBOX_FOLDER)
    if number is None:
        Console().print(mail_table(found) if found else "no mail")
        return
    if number > len(found):
        raise typer.BadParameter(f"there are {len(found)}")
    mail = found[number - 1]
    typer.echo(f"Date: {mail.date}\nTo: {mail.to}\nSubject: {mail.subject}\n\n{mail.text}", nl=False)


@application.command()
def demo() -> None:
    """One round of the main job in a folder of its own; exit status 0 only if every outcome was the right one."""
    from py_service.demo.stage import run_demo

    console = Console() if sys.stdout.isatty() else Console(width=180)
    sys.exit(run_demo(read_settings(), console))


@application.command()
def api() -> None:
    """Run one api process with its workers."""
    from py_service.supervise.serve import run_api

    run_api(read_settings())


@application.command()
def gateway() -> None:
    """Run one gateway process."""
    from py_service.supervise.serve import run_gateway

    run_gateway(read_settings())


@application.command()
def worker() -> None:
    """Run one worker process."""
    from py_service.supervise.serve import run_worker
    from py_service.worker import run

    run_worker(read_settings(), run)


@key.command()
def rotate(as_json: AsJson = False) -> None:
    """Publish the next key for access tokens. It signs two minutes later; until then nothing changes for anybody."""
    from py_service.rotate import rotate_access_key

    made = _operate(rotate_access_key, as_json=as_json)
    signs_from = _utc(made.activate_at)
    _tell(f"{made.kid} signs from {signs_from}", as_json, kid=made.kid, signs_from=signs_from)


@organization.command("create")
def create_organization(
    name: Annotated[str, typer.Option(help="What people call it.")],
    owner_email: Annotated[str, typer.Option(help="The first owner signs in with it.")],
    owner_name: Annotated[str, typer.Option(help="The first owner's name.")] = "Owner",
    identifier: Annotated[str | None, typer.Option("--id", help="1 to 64 of a-z, 0-9, _ and -, for good; made from the name else.")] = None,
    as_json: AsJson = False,
) -> None:
    """Found an organization with its first owner. The owner's password is asked for, or read from standard input."""
    from py_service import organizations
    from py_service.directory.organization import identifier_of_name
    from py_service.errors import Problem

    password = _owners_password()
    try:
        chosen = identifier or identifier_of_name(name)
    except Problem as problem:
        raise typer.BadParameter(problem.detail) from None
    wanted = organizations.NewOrganization(chosen, name, owner_email, owner_name, password)
    changed = _operate(lambda settings: organizations.found_organization(settings, wanted), as_json=as_json)
    told = f"{chosen} stands, at revision {changed.revision}; {owner_email} can sign in"
    _tell(told, as_json, id=chosen, name=name, state="active", revision=changed.revision)


@organization.command("appoint-owner")
def appoint_owner(
    identifier: Annotated[str, typer.Argument(help="The organization's id.")],
    email: Annotated[str, typer.Option(help="Whoever has this address becomes an owner; nobody has: somebody new.")],
    name: Annotated[str, typer.Option(help="The name of somebody new.")] = "Owner",
    as_json: AsJson = False,
) -> None:
    """Let somebody in again when no owner can sign in. Their password is asked for, or read from standard input; sessions end."""
    from py_service import organizations

    password = _owners_password()
    changed = _operate(lambda settings: organizations.appoint_owner(settings, identifier, email, name, password), as_json=as_json)
    _tell(f"{email} owns {identifier} and can sign in", as_json, id=identifier, owner_email=email, revision=changed.revision)


def _owners_password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("password of the owner", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


@organization.command("rename")
def rename_organization(
    identifier: Annotated[str, typer.Argument(help="Its id, which stays.")],
    name: Annotated[str, typer.Option(help="What people call it from now on.")],
    as_json: AsJson = False,
) -> None:
    """Give an organization another name, unless it is archived."""
    from py_service import organizations

    changed = _operate(lambda settings: organizations.rename_organization(settings, identifier, name), as_json=as_json)
    stored = str((changed.result or {})["name"])
    _tell(f"{identifier} is called {stored}", as_json, id=identifier, name=stored, revision=changed.revision)


@organization.command("suspend")
def suspend_organization(identifier: Annotated[str, typer.Argument(help="Its id.")], as_json: AsJson = False) -> None:
    """Refuse everything in an organization, and end its connections, until it is resumed."""
    from py_service import organizations

    changed = _operate(lambda settings: organizations.set_organization_state(settings, identifier, active=False), as_json=as_json)
    by_when = _utc(changed.effective_by_ms)
    told = f"{identifier} is suspended; no lock moves after {by_when}"
    _tell(told, as_json, id=identifier, state="suspended", revision=changed.revision, effective_by=by_when)


@organization.command("resume")
def resume_organization(identifier: Annotated[str, typer.Argument(help="Its id.")], as_json: AsJson = False) -> None:
    """Let an organization be again what it was."""
    from py_service import organizations

    changed = _operate(lambda settings: organizations.set_organization_state(settings, identifier, active=True), as_json=as_json)
    _tell(f"{identifier} is active", as_json, id=identifier, state="active", revision=changed.revision)


@organization.command("archive")
def archive_organization(identifier: Annotated[str, typer.Argument(help="Its id.")], as_json: AsJson = False) -> None:
    """End a suspended organization for good. It is kept, with its journal; nothing brings it back."""
    from py_service import organizations

    changed = _operate(lambda settings: organizations.archive_organization(settings, identifier), as_json=as_json)
    _tell(f"{identifier} is archived", as_json, id=identifier, state="archived", revision=changed.revision)


@organization.command("list")
def list_organizations(as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs.")] = False) -> None:
    """Every organization, by id."""
    import msgspec
    from rich.table import Table

    from py_service import organizations

    found = _operate(organizations.list_organizations, as_json=as_json)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    table = Table("id", "name", "state", "revision")
    for one in found:
        table.add_row(one.id, one.name, one.state, str(one.revision))
    Console().print(table)


@journal.command("verify")
def verify(as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs.")] = False) -> None:
    """Read every log from its first document: none may be missing, altered or cut off. Status 1: one is; 3: MongoDB isn't reachable."""
    import msgspec
    from rich.table import Table

    from py_service.journal.verify import verify_journal

    found = _operate(verify_journal, as_json=as_json)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        table = Table("log", "documents", "events", "fault")
        for one in found:
            table.add_row(one.log, str(one.documents), str(one.events), one.fault or "")
        Console().print(table)
    sys.exit(1 if any(one.fault is not None for one in found) else 0)


@indexes.command("advise")
def advise(as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False) -> None:
    """Indexes that are missing, different, undeclared or unused; queries that read a whole collection; and which read most for what it
    found. Status 1: an index is missing or different, or there is a scan; 3: MongoDB isn't reachable."""
    import msgspec
    from rich.table import Table

    from py_service.stores.index_advice import URGENT, advise_indexes

    report = _operate(advise_indexes, as_json=as_json)
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        table = Table("what", "collection", "fields", "why")
        for one in report.advice:
            table.add_row(one.what, one.collection, ", ".join(one.fields), one.detail)
        Console().print(table if report.advice else report.verdict)
        if report.worst is not None:
            Console().print(f"worst: {report.worst.collection} ({', '.join(report.worst.fields)}): {report.worst}")
        for note in report.notes:
            Console().print(f"note: {note}")
    sys.exit(1 if URGENT & {one.what for one in report.advice} else 0)


def _operate(work: Callable[[Settings], Coroutine[object, object, Answer]], *, as_json: bool = False) -> Answer:
    """What an operator's command does to the stores. A refusal is named on standard error, with `as_json` on standard output as the API
    would: exit status 1, or 3 when a store isn't reachable."""
    import asyncio

    import msgspec

    from py_service.errors import Problem
    from py_service.telemetry import configure_logging

    settings = read_settings()
    configure_logging("warning", settings.environment)  # what is printed is the answer
    try:
        return asyncio.run(work(settings))
    except Problem as problem:
        if as_json:
            typer.echo(msgspec.json.encode({"status": problem.status, "code": problem.code, "detail": problem.detail}).decode())
        else:
            typer.echo(f"nexkey: {problem.code}: {problem.detail}", err=True)
        sys.exit(exit_status(problem.status))


def _tell(text: str, as_json: bool, **fields: object) -> None:
    """What was done: for people, or for programs."""
    import msgspec

    typer.echo(msgspec.json.encode(fields).decode() if as_json else text)


def _utc(milliseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


@application.command()
def version(as_json: AsJson = False) -> None:
    """Versions of package and core."""
    from importlib.metadata import version as package_version

    from py_service import _core_rs

    package, core, profile = package_version("nexkey"), _core_rs.__version__, _core_rs.__build_profile__
    _tell(f"nexkey {package}, core {core} ({profile})", as_json, nexkey=package, core=core, build_profile=profile)


@simulate.command()
def lock(
    demo: DemoPath,
    name: Annotated[str, typer.Option("--lock", help="Which one, e.g. lock-berlin-main-entrance.")],
    api: Api = API_URL,
    gateway: Gateway = GATEWAY_URL,
    moves: Moves = None,
    state: State = None,
) -> None:
    """One lock of the demonstration, until it is stopped."""
    _simulate_locks(demo, name, api, gateway, moves, state, walking=False)


@simulate.command()
def fleet(
    demo: DemoPath,
    api: Api = API_URL,
    gateway: Gateway = GATEWAY_URL,
    moves: Moves = None,
    state: State = None,
    walking: Annotated[bool, typer.Option("--walking", help="People open and close the doors after they were unlocked.")] = False,
) -> None:
    """All locks of the demonstration in one process, until it is stopped."""
    _simulate_locks(demo, None, api, gateway, moves, state, walking=walking)


@simulate.command()
def phone(
    doors: Annotated[list[str] | None, typer.Argument(help="Doors to unlock; none: list them.")] = None,
    demo: Annotated[Path | None, typer.Option("--demo", help="demo.json, to sign in as one of its cast.")] = None,
    part: Annotated[str, typer.Option("--as", help="Who of the cast: owner, facility, employee, night_guard, ...")] = "owner",
    email: Annotated[str | None, typer.Option(help="Sign in as this e-mail; the password is asked for.")] = None,
    wait: Annotated[int, typer.Option(min=0, max=10, help="Seconds to wait for the lock's answer.")] = 2,
    api: Api = API_URL,
) -> None:
    """Sign in, list doors or unlock them, print every phase. Exit status 0 only if all of them opened."""
    import asyncio

    import httpx

    from py_service.simulators.phone import PhoneError
    from py_service.simulators.run import Caller, run_phone

    if email is not None:
        caller = Caller(email, typer.prompt("password", hide_input=True))
    elif demo is not None:
        caller = _caller(demo, part)
    else:
        raise typer.BadParameter("--demo or --email is needed")
    try:
        opened = asyncio.run(run_phone(api, caller, doors or [], wait))
    except (PhoneError, httpx.HTTPError) as error:
        typer.echo(f"nexkey: {type(error).__name__} {error}", err=True)
        sys.exit(exit_status(error.status) if isinstance(error, PhoneError) else NOT_REACHABLE)
    sys.exit(0 if opened else 1)


@simulate.command()
def phones(
    demo: DemoPath,
    pause: Annotated[float, typer.Option(min=0.05, help="Seconds between two unlocks of a phone, on average.")] = 4.0,
    api: Api = API_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print what they were told as JSON lines, for programs.")] = False,
) -> None:
    """The demonstration's phones, asking at one door after the other until they are stopped."""
    from py_service.demo.seed import load_demo_file
    from py_service.simulators.run import Caller, run_phones, until_stopped

    made = load_demo_file(demo)
    organization = made.account("owner").organization
    callers = [Caller(account.email, account.password, account.name) for account in made.accounts if account.organization == organization]
    until_stopped(run_phones(api, callers, pause, as_json=as_json))


def _simulate_locks(demo: Path, name: str | None, api: str, gateway: str, moves: Path | None, state: Path | None, *, walking: bool) -> None:
    from py_service.demo.seed import load_demo_file
    from py_service.simulators.fleet import FleetOptions
    from py_service.simulators.run import run_fleet, until_stopped

    organization, locks = load_demo_file(demo).locks()
    chosen = [lock for lock in locks if name in (None, lock.lock)]
    if not chosen:
        raise typer.BadParameter(f"there is no lock {name} in {demo}")
    until_stopped(run_fleet(chosen, FleetOptions(api, gateway, organization, moves, state, walking)))


def _caller(demo: Path, part: str) -> Caller:
    from py_service.demo.seed import load_demo_file
    from py_service.simulators.run import Caller

    for account in load_demo_file(demo).accounts:
        if account.part == part:
            return Caller(account.email, account.password, account.name)
    raise typer.BadParameter(f"nobody plays {part}")


add_commands(application, organization)
