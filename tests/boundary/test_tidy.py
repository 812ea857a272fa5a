"""The tree keeps itself tidy: sizes, names, words. The second half shows that each rule bites."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.boundary import tidy_rules
from tests.boundary.project_files import CODE_SUFFIXES, project_files, read

# Functions longer than a screen, each with the reason why it reads better whole: "<file>:<qualified name>".
LONG_FUNCTIONS: dict[str, str] = {}
# Files that hold words or hosts that aren't ours to choose.
WORDS_OF_OTHERS = {
    Path("LICENSE"): "the licence's own text",
    Path("Cargo.lock"): "cargo writes the source of every crate",
}

FILES = tuple(project_files())
CODE = tuple(path for path in FILES if path.suffix in CODE_SUFFIXES)
PYTHON = tuple(path for path in CODE if path.suffix in {".py", ".pyi"})
MODULES = tuple(path for path in CODE if path.suffix != ".lua")


def test_the_walk_finds_the_project() -> None:
    """Without this, an empty list would pass every rule below."""
    assert {Path("Makefile"), Path("py_service/errors.py"), Path("core_rs/src/lib.rs"), Path(".ci/run")} <= set(FILES)
    assert not [path for path in FILES if {".venv", "target", ".git"} & set(path.parts)]


def test_files_stay_small() -> None:
    lengths = {path: tidy_rules.file_length(read(path)) for path in CODE}
    for path, lines in lengths.items():
        if tidy_rules.FILE_LINES_WARN < lines <= tidy_rules.FILE_LINES_MAX:
            warnings.warn(f"{path} has {lines} lines: split it, or know why not", stacklevel=1)
    assert not {str(path): lines for path, lines in lengths.items() if lines > tidy_rules.FILE_LINES_MAX}


def test_functions_fit_a_screen() -> None:
    found = {f"{path}:{name}": lines for path in PYTHON for name, lines in tidy_rules.long_functions(read(path))}
    assert not {name: lines for name, lines in found.items() if name not in LONG_FUNCTIONS}
    assert not set(LONG_FUNCTIONS) - set(found), "listed, but short or gone"


def test_no_drawers() -> None:
    assert not [str(path) for path in FILES if tidy_rules.is_drawer(path)]


def test_every_module_opens_with_what_lives_in_it() -> None:
    assert not [str(path) for path in MODULES if not tidy_rules.opens_with_documentation(path, read(path))]


def test_no_unfinished_work_hosts_or_machine_paths() -> None:
    assert not [
        f"{path}:{complaint}" for path in FILES if path not in WORDS_OF_OTHERS for complaint in tidy_rules.forbidden_phrases(read(path))
    ]


def test_names_are_whole_words() -> None:
    assert not [f"{path}: {name}" for path in MODULES for name in tidy_rules.abbreviated_names(path, read(path))]


def test_every_suppression_gives_its_reason() -> None:
    """In tests the rule's name is enough: they take apart answers whose shape only they assert."""
    careless = tidy_rules.careless_suppressions
    assert not [f"{path}:{line}" for path in PYTHON for line in careless(read(path), reasons=path.parts[0] != "tests")]


# --- each rule bites ------------------------------------------------------------------------


def test_a_long_function_is_found_with_its_class() -> None:
    body = "\n".join("        x = 1" for _ in range(tidy_rules.FUNCTION_LINES_MAX))
    assert list(tidy_rules.long_functions(f"class Lane:\n    def run(self):\n{body}\n")) == [
        ("Lane.run", tidy_rules.FUNCTION_LINES_MAX + 1)
    ]
    assert not list(tidy_rules.long_functions("class Lane:\n    def run(self):\n        return 1\n"))


@pytest.mark.parametrize("name", ["py_service/utils.py", "tests/helpers/doors.py", "core_rs/crates/common/src/lib.rs"])
def test_a_drawer_is_found(name: str) -> None:
    assert tidy_rules.is_drawer(Path(name))
    assert not tidy_rules.is_drawer(Path("py_service/unlock/committer.py"))


@pytest.mark.parametrize(
    ("name", "text", "documented"),
    [
        ("a.py", '"""Doors."""\n', True),
        ("a.py", "DOOR = 1\n", False),
        ("a.rs", "#![no_std]\n//! Doors.\n", True),
        ("a.rs", "use std::fmt;\n//! Doors.\n", False),
        ("a.rs", "//!\n", False),
        ("a.rs", "", False),
    ],
)
def test_a_module_without_documentation_is_found(name: str, text: str, documented: bool) -> None:
    assert tidy_rules.opens_with_documentation(Path(name), text) is documented


@pytest.mark.parametrize(
    "line",
    [
        "# TO" + "DO later",
        "index = https://py" + "pi.org/simple",
        "cd /" + "work/main",
        "open('/" + "tmp/x')",
        "a white" + "list",
        "FIX" + "ME",
    ],
)
def test_a_forbidden_phrase_is_found(line: str) -> None:
    assert len(list(tidy_rules.forbidden_phrases(f"first\n{line}\n"))) == 1


@pytest.mark.parametrize("line", ["/var/lib/nexkey", "the work/main folder", "~/.cache", "tests/root/a"])
def test_an_ordinary_line_passes(line: str) -> None:
    assert not list(tidy_rules.forbidden_phrases(line))


def test_a_name_cut_short_is_found() -> None:
    assert list(tidy_rules.abbreviated_names(Path("a.py"), "def read_cfg(reqBody): usr_name = 1\n")) == [
        "read_cfg (cfg)",
        "reqBody (req)",
        "usr_name (usr)",
    ]
    assert list(tidy_rules.abbreviated_names(Path("a.rs"), "let mut ctx = 1; struct CmdQueue;")) == ["CmdQueue (cmd)", "ctx (ctx)"]
    assert not list(tidy_rules.abbreviated_names(Path("a.py"), "def f(tmp_path): return response.msg\n"))


@pytest.mark.parametrize(
    "comment", ["# noqa", "# noqa: S101", "# type: ignore", "# type: ignore[arg-type]", "# type: ignore[arg-type]  # why"]
)
def test_a_suppression_without_a_reason_is_found(comment: str) -> None:
    assert len(list(tidy_rules.careless_suppressions(f"x = 1  {comment}\n", reasons=True))) == 1
    reasoned = "x = 1  # type: ignore[arg-type]  # each value was read by its field's type\n"
    assert not list(tidy_rules.careless_suppressions(reasoned, reasons=True))


def test_a_suppression_of_everything_is_found_in_tests_too() -> None:
    assert len(list(tidy_rules.careless_suppressions("x = 1  # type: ignore\ny = 2  # type: ignore[misc]\n", reasons=False))) == 1
