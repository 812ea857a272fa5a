"""The codes that docs/protocols/http.md lists are those that the code answers with: status and code, neither more nor less."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from py_service.errors import KEY_REFUSALS
from py_service.stores.kinds import OBJECT_COLLECTIONS
from tests.boundary.project_files import project_files, read

HTTP, DOCUMENTS = Path("docs/protocols/http.md"), Path("docs/protocols/documents.md")
DECISION, TOKEN = Path("core_rs/crates/permissions/src/decision.rs"), Path("core_rs/crates/tokens/src/error.rs")
LISTED = re.compile(r"\b([45]\d\d)(?: also:)? ((?:`[a-z_<>]+`(?:, | or | and )?)+)")
CODE_IN_RUST = re.compile(r'=> "([a-z_]+)"')
NOT_REFUSALS = {"granted", "stores_unavailable", "door_unknown"}  # of a decision: allowed, 503 and 404
MAKES_A_PROBLEM = ("Problem", "super().__init__")  # a kind of Problem calls its base
Codes = set[tuple[int, str]]

# Where the code isn't written beside `Problem(`: the expression there, and what it stands for.
COMPUTED: dict[str, str] = {
    "decision.reason": "a refusal",
    "answer.reason or 'no_grant'": "a refusal",
    "cause": "person_suspended or organization_suspended, both refusals",
    "code": "a token's code",
    "key_refusal": "one of KEY_REFUSALS",
    "f'{kind}_unknown'": "404 for every kind of object",
}


def listed() -> Codes:
    """As the protocol has them: its section of codes, which leaves the 422 of the directory to that section."""
    directory, _, codes = read(HTTP).partition("## Codes")
    return {code for code in _codes(directory) if code[0] == 422} | _codes(codes) | {(403, reason) for reason in refusals()}


def _codes(text: str) -> Codes:
    return {(int(status), code) for status, codes in LISTED.findall(text) for code in re.findall(r"`([a-z_<>]+)`", codes)}


def refusals() -> set[str]:
    """What a decision refuses with, in the core's words."""
    return set(CODE_IN_RUST.findall(read(DECISION).partition("#[cfg(test)]")[0])) - NOT_REFUSALS


def raised() -> tuple[Codes, set[str]]:
    """Status and code of every Problem that is made, and the expressions whose codes are not written there."""
    found: Codes = set()
    computed: set[str] = set()
    for path in project_files():
        if path.suffix != ".py" or not path.is_relative_to("py_service"):
            continue
        for call in ast.walk(ast.parse(read(path))):
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) in MAKES_A_PROBLEM and len(call.args) >= 2):
                continue
            status, code = call.args[:2]
            if not isinstance(status, ast.Constant):
                assert ast.unparse(call.func) != "Problem", f"{path}: a status that is not written there"
                continue  # the base of another exception
            if isinstance(code, ast.Constant):
                found.add((int(str(status.value)), str(code.value)))
            else:
                computed.add(ast.unparse(code))
    return found, computed


def test_the_codes_of_the_protocol_are_those_of_the_code() -> None:
    found, computed = raised()
    assert computed == set(COMPUTED), "a code that is computed somewhere: say here what it can be"
    tokens = {code for code in CODE_IN_RUST.findall(read(TOKEN)) if code.startswith("token_")}
    found |= {(401, code) for code in (*tokens, *KEY_REFUSALS)} | {(403, reason) for reason in refusals()} | {(404, "<object>_unknown")}
    found -= {(404, f"{kind}_unknown") for kind in OBJECT_COLLECTIONS if kind != "door"}
    found.add((404, "door_unknown"))
    assert found - listed() == set(), "not in docs/protocols/http.md"
    assert listed() - found == set(), "in docs/protocols/http.md, and never answered"


def test_the_reasons_of_a_decision_are_those_of_the_core() -> None:
    tables = [read(DOCUMENTS).partition(title)[2].partition("\n\n")[0] for title in ("## Order of `check`", "## Stateful rules")]
    named = {
        reason
        for table in tables
        for line in table.splitlines()
        if line.startswith("|")
        for reason in re.findall(r"`([a-z_]+)`", line.rpartition(" | ")[2])
    }
    assert {reason for reason in refusals() | NOT_REFUSALS if reason not in ("granted", "role_missing")} - named == set()
    assert named - refusals() - NOT_REFUSALS == set()
