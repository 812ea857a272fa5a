"""The rules of tidiness, each a function from a file's text to complaints. No files are read here, so that each rule can be shown to bite.

Rust functions are held to the same length by clippy (`too-many-lines-threshold` in clippy.toml).
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

FILE_LINES_WARN = 400
FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 60  # a screen
REASON_CHARACTERS_MIN = 8

# A drawer without a noun collects whatever nobody placed.
DRAWERS = frozenset({"utils", "util", "helpers", "helper", "common", "misc"})

# Each pattern is written so that it doesn't match its own source.
PACKAGE_HOST = re.compile(r"\b(?:py(?:pi|thonhosted)|npmj[s]|crate[s]|debia[n]|registry\.npmj[s])\.(?:org|com|io)\b")
MACHINE_PATH = re.compile(r"(?<![\w.*])/(?:work|farm|root|tmp|home)/[a-z]")
UNFINISHED = re.compile(r"\b(?:TO(?:DO)|FIX(?:ME)|XX(?:X)|HA(?:CK)|TB(?:D))\b")
LOADED_WORDS = re.compile(r"\b(?:black[-]?list|white[-]?list|sanit(?:y).check|dumm(?:y)|obviousl(?:y)|trivia(?:lly))\w*", re.IGNORECASE)

# Words are whole; these are the abbreviations that creep in most often.
ABBREVIATIONS = frozenset(
    {
        "cfg",
        "ctx",
        "mgr",
        "req",
        "resp",
        "usr",
        "pwd",
        "passwd",
        "svc",
        "idx",
        "cnt",
        "num",
        "msg",
        "btn",
        "tmp",
        "perm",
        "perms",
        "auth",
        "cmd",
        "conf",
        "ts",
    }
)
# Names that others chose: fixtures, keyword arguments and methods of libraries.
NAMES_OF_OTHERS = frozenset({"tmp_path", "tmp_path_factory", "argon2_cffi", "status_msg"})
RUST_DECLARATION = re.compile(r"\b(?:let(?:\s+mut)?|fn|struct|enum|mod|const|static|trait|type)\s+([A-Za-z_]\w*)")


def file_length(text: str) -> int:
    """Lines of a file."""
    return text.count("\n") + (not text.endswith("\n"))


def long_functions(text: str) -> Iterator[tuple[str, int]]:
    """Qualified names of the Python functions that don't fit a screen, with their lines."""
    yield from _long_functions(ast.parse(text), "")


def _long_functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{child.name}"
            lines = (child.end_lineno or child.lineno) - child.lineno + 1
            if not isinstance(child, ast.ClassDef) and lines > FUNCTION_LINES_MAX:
                yield name, lines
            yield from _long_functions(child, f"{name}.")
        else:
            yield from _long_functions(child, prefix)


def is_drawer(path: Path) -> bool:
    """Whether a file, or a folder above it, is named like a drawer."""
    return any(part.split(".")[0] in DRAWERS for part in path.parts)


def opens_with_documentation(path: Path, text: str) -> bool:
    """Whether a Python module has a docstring, a Rust module a `//!` before its first item."""
    if path.suffix in {".py", ".pyi"}:
        return bool(ast.get_docstring(ast.parse(text)))
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#![", "#!/", "    ", ")]")):
            return line.startswith("//!") and len(line.strip("/! ")) > 0
    return False


def forbidden_phrases(text: str) -> Iterator[str]:
    """Unfinished work, loaded words, package hosts and paths of one machine, each with its line number."""
    rules = (("unfinished", UNFINISHED), ("word", LOADED_WORDS), ("package host", PACKAGE_HOST), ("machine path", MACHINE_PATH))
    for number, line in enumerate(text.splitlines(), 1):
        for kind, pattern in rules:
            if found := pattern.search(line):
                yield f"{number}: {kind}: {found.group(0)}"


def abbreviated_names(path: Path, text: str) -> Iterator[str]:
    """Names in which a word is cut short."""
    names = _python_names(text) if path.suffix in {".py", ".pyi"} else set(RUST_DECLARATION.findall(text))
    for name in sorted(names - NAMES_OF_OTHERS):
        words = set(re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().split("_"))
        if cut := words & ABBREVIATIONS:
            yield f"{name} ({', '.join(sorted(cut))})"


def _python_names(text: str) -> set[str]:
    """Names that this file gives: definitions, arguments, assigned variables. What it merely uses is somebody else's choice."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def careless_suppressions(text: str, *, reasons: bool) -> Iterator[str]:
    """`noqa` and `type: ignore` comments that name no rule or, where `reasons` are asked for, say nothing behind it."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        for part in re.finditer(r"(?:noqa|type: ignore)(?P<rule>(?::\s*[A-Z]+\d+|\[[\w, -]+\]))?(?P<rest>.*)", token.string):
            if not part["rule"] or (reasons and len(part["rest"].strip(" #,:-")) < REASON_CHARACTERS_MIN):
                yield f"{token.start[0]}: {token.string}"
