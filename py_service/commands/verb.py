"""What a command is: one call of the API, what it takes, and what is shown of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Literal

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Place = Literal["path", "query", "body", "header"]
Kind = Literal["text", "number", "many", "flag", "switch", "json", "roles"]  # switch: --name or --no-name; roles: name:site,site
Clears = Literal["", "null", "list"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """`name` is the API's (with a dot: a field of a field); `word` the option's, where that differs. What isn't given isn't sent.

    One that is `asked` for is never a word of the command line, which others could read: the flag makes the command ask for it;
    where it is `needed` it always is. `clears`: what `--clear` makes of it, null or an empty list.
    """

    name: str
    place: Place
    help: str
    kind: Kind = "text"
    argument: bool = False
    needed: bool = False
    word: str = ""
    asked: bool = False
    clears: Clears = ""

    @property
    def key(self) -> str:
        """By which its value is handed on: a name in Python."""
        name = self.name.replace(".", "_").replace("-", "_")
        return f"{name}_" if iskeyword(name) else name

    @property
    def option(self) -> str:
        return self.word or self.name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Shape:
    """What people see of an answer: `fields` of it (None: all), then a table of what is in `rows`, then one of each list in `beside`
    that isn't empty, under its name. `scanned`: a field with a link, which a terminal shows as a QR code, too."""

    fields: tuple[str, ...] | None = None
    rows: str | None = None
    columns: tuple[str, ...] = ()
    scanned: str | None = None
    beside: tuple[tuple[str, tuple[str, ...]], ...] = ()


OBJECT = Shape()


@dataclass(frozen=True, slots=True)
class Verb:
    """`nexkey <noun> <verb>`: one call. `waits`: takes `--wait`, the seconds for a lock's answer.

    `done`: states of the answer that count as success, where it has one.
    """

    noun: str
    verb: str
    method: Method
    path: str
    help: str
    shape: Shape = OBJECT
    takes: tuple[Parameter, ...] = ()
    waits: bool = False
    done: frozenset[str] = field(default_factory=frozenset)

    @property
    def cleared(self) -> dict[str, Parameter]:
        """What `--clear` takes, by the option's word."""
        return {parameter.option: parameter for parameter in self.takes if parameter.clears}

    @property
    def listed(self) -> bool:
        """Whether its answer comes in pages."""
        return any(parameter.name == "cursor" for parameter in self.takes)
