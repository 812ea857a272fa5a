"""Who may import whom. The layers stand in pyproject.toml (import-linter, run by `make check`); here is what they can't say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.boundary.import_rules import broken_rules, imported_modules
from tests.boundary.project_files import ROOT, project_files, read

PYTHON = tuple(path for path in project_files() if path.suffix == ".py")


def test_nothing_imports_what_it_may_not() -> None:
    assert not [broken for path in PYTHON for broken in broken_rules(path, read(path))]


def test_every_part_of_the_service_stands_in_a_layer() -> None:
    """A part that no layer names would be free to import everything."""
    contracts = tomllib.loads(read(Path("pyproject.toml")))["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")
    named = {name.strip(" ()") for layer in layers["layers"] for name in layer.split("|")}
    parts = {
        path.relative_to(ROOT / "py_service").parts[0].removesuffix(".py") for path in (ROOT / "py_service").glob("*") if is_part(path)
    }
    assert layers["exhaustive"] is True
    assert not parts - named
    assert {"errors", "settings", "exchange"} <= parts


def is_part(path: Path) -> bool:
    """A module or package directly under py_service."""
    return path.name != "__init__.py" and (path.suffix == ".py" or (path / "__init__.py").exists())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("py_service/unlock/handlers.py", "from granian.rsgi import Scope"),
        ("py_service/unlock/handlers.py", "from granian import rsgi"),
        ("py_service/stores/embedded.py", "def start():\n    import secantus.server"),
        ("benchmarks/a.py", "from importlib import import_module\nimport_module('secantus')"),
        ("py_service/cli.py", "from tests.unit import doors"),
        ("py_service/unlock/decide.py", "from py_service.unlock.handlers import unlock"),
        ("py_service/unlock/messages.py", "from pymongo import UpdateOne"),
    ],
)
def test_a_broken_rule_is_found(name: str, text: str) -> None:
    assert list(broken_rules(Path(name), text))


def test_what_is_allowed_passes() -> None:
    assert not list(broken_rules(Path("py_service/edge/server.py"), "from granian.rsgi import Scope"))
    assert not list(broken_rules(Path("py_service/app.py"), "from py_service.unlock.handlers import unlock\nfrom granian import Granian"))
    assert [module for _, module in imported_modules("from a import b")] == ["a", "a.b"]
