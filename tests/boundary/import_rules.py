"""Import rules that import-linter can't say: inner modules of outside packages, files outside `py_service`, and the flow inside a room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# The embedded store is under GPL-2.0: it is started as a process of its own and never imported, by nothing in this tree.
PROCESS_ONLY = ("secantus", "_secantus_server", "_secantus_storage")
WEB_SERVER_PROTOCOL = "granian.rsgi"
OUTSIDE_THE_SERVICE = ("tests", "benchmarks", "loadtests")


def imported_modules(text: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, also inside functions; `from a import b` counts as `a` and `a.b`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _is_import_call(node.func) and node.args and isinstance(node.args[0], ast.Constant):
            yield node.lineno, str(node.args[0].value)


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    return name in {"import_module", "__import__"}


def _is(name: str, role: str) -> bool:
    """Whether a file plays this part in its room: `handlers`, or one of several, as `plan_handlers`."""
    return name == role or name.endswith(f"_{role}")


def within(module: str, package: str) -> bool:
    """Whether `module` is `package` or lies in it."""
    return module == package or module.startswith(f"{package}.")


def broken_rules(path: Path, text: str) -> Iterator[str]:
    """What a file imports and may not."""
    for line, module in imported_modules(text):
        if any(within(module, package) for package in PROCESS_ONLY):
            yield f"{path}:{line}: {module} is only started as a process, never imported"
        if within(module, WEB_SERVER_PROTOCOL) and path.parts[:2] != ("py_service", "edge"):
            yield f"{path}:{line}: only the edge knows {WEB_SERVER_PROTOCOL}"
        if path.parts[0] == "py_service" and any(within(module, folder) for folder in OUTSIDE_THE_SERVICE):
            yield f"{path}:{line}: the service does not import {module}"
        if (
            path.parts[0] == "py_service"
            and path.stem != "app"
            and not _is(path.stem, "handlers")
            and _is(module.split(".")[-1], "handlers")
        ):
            yield f"{path}:{line}: the flow runs from handlers to verbs; only app knows {module}"
        if _is(path.stem, "messages") and within(module, "pymongo"):
            yield f"{path}:{line}: messages are what travels, not what is stored"
