"""The parts that rows of the table are made of."""

from __future__ import annotations

from py_service.commands.verb import OBJECT, Clears, Kind, Parameter, Shape, Verb


def given(name: str, help_: str, kind: Kind = "text", *, needed: bool = False, word: str = "", clears: Clears = "") -> Parameter:
    """An option that goes into the body."""
    return Parameter(name, "body", help_, kind, needed=needed, word=word, clears=clears)


def secret(name: str, help_: str, *, clears: Clears = "") -> Parameter:
    """What has to be in the body and is never a word of the command line."""
    return Parameter(name, "body", help_, needed=True, asked=True, clears=clears)


def asked_by(name: str, help_: str, *, needed: bool = False) -> Parameter:
    """An option that goes into the query."""
    return Parameter(name, "query", help_, needed=needed)


def which(name: str) -> Parameter:
    """The argument that names an object of the path."""
    return Parameter(name, "path", "Its id.", argument=True, needed=True)


def called(help_: str = "What people call it.") -> Parameter:
    """The argument that names what is made."""
    return Parameter("name", "body", help_, argument=True, needed=True)


PAGE = (
    Parameter("limit", "query", "How many at most (200).", "number"),
    Parameter("cursor", "query", "Where the page before ended."),
)
BY_TIME = (*PAGE, asked_by("sort", "created_at, or -created_at: the last first."))
BY_NAME = (*PAGE, asked_by("sort", "name, or -name from the end."), asked_by("name", "Only names that begin so."))
ID = given("id", "1 to 64 of a-z, 0-9, _ and -, for good; made up else.")
UNTIL = "Until when, e.g. 2027-01-31T18:00:00Z."
SPAN = (
    given("valid_from", "From when, e.g. 2027-01-01T08:00:00Z.", word="from"),
    given("valid_until", UNTIL, word="until"),
)
IF_MATCH = Parameter(
    "If-Match", "header", "Only if its `revision` is still this one; exit status 1 (changed_meanwhile) else.", word="if-match"
)
AT = asked_by("at", "At which moment, e.g. 2027-01-01T08:00:00Z; now else.")


def listing(noun: str, path: str, columns: tuple[str, ...], *filters: str | Parameter) -> Verb:
    """A list in the order of names; its filters go together, and with `--name`."""
    takes = (*BY_NAME, *(one if isinstance(one, Parameter) else asked_by(one, f"Only those of this {one}.") for one in filters))
    return Verb(noun, "list", "GET", path, f"List {path.removeprefix('/v1/')}.", Shape((), "items", columns), takes)


def narrowed(*filters: str) -> tuple[Parameter, ...]:
    """Filters of a list."""
    return tuple(asked_by(name, f"Only those of this {name}.") for name in filters)


def standard(noun: str, path: str, *, removed: str, parameter: str = "") -> tuple[Verb, Verb]:
    """To show one and to end one. `parameter`: of the path, where it isn't the noun."""
    parameter = parameter or noun
    one = f"{path}/{{{parameter}}}"
    return (
        Verb(noun, "show", "GET", one, f"Show one {noun}.", takes=(which(parameter),)),
        Verb(noun, "remove", "DELETE", one, removed, takes=(which(parameter), IF_MATCH)),
    )


def change(noun: str, path: str, *fields: Parameter, parameter: str = "", shape: Shape = OBJECT) -> Verb:
    """To change what is given, and leave the rest as it is."""
    parameter = parameter or noun
    return Verb(
        noun, "change", "PATCH", f"{path}/{{{parameter}}}", f"Change what is given of one {noun}; the rest stays as it is.", shape,
        (which(parameter), *fields, IF_MATCH),
    )  # fmt: skip
