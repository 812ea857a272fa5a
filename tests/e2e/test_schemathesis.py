"""Whatever the document allows, and much that it doesn't, sent to the running service: no server error, and no answer that isn't in it.

Seeded: the same document gives the same requests. `make schemathesis` sends more of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import httpx
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from py_service.mail.mailbox import read_mailbox
from tests.e2e.described import Described, made_objects, operations
from tests.e2e.running import QUOTA, Service, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "3"))  # of each operation in each mode
THOROUGH = EXAMPLES > 3  # with made up identifiers in paths, too: mostly 404, and tests/e2e/test_foreign_ids.py knows those
SEED = 20_261_124
HOURS_MAX = 3
# A schema can't say all of what a body has to be (one of door, area and site; a name without unseen characters).
CONFIGURATION = {
    # Who asks is said here in a header of its own; a made up one would be replaced by it.
    "generation": {"with-security-parameters": False},
    "checks": {"negative_data_rejection": {"expected-statuses": ["400", "401", "403", "404", "409", "412", "413", "415", "422", "429"]}},
}
LEFT_OUT: list[Any] = [positive_data_acceptance]
# Every other operation succeeds at least once.
WITHOUT_SUCCESS = {
    "GET /v1/devices/{device}/configuration": "a lock signs it: tests/e2e/test_lock_line.py",
    "POST /v1/devices/{device}/time": "a lock signs it: tests/e2e/test_lock_line.py",
    "POST /v1/devices/{device}/hold": "a lock signs it: tests/e2e/test_hold.py",
    "POST /v1/devices/{device}/token": "a lock signs it: tests/e2e/test_lock_line.py",
}
TAKEN = {"POST /v1/invitations", "POST /v1/persons"}  # twice with the example's address
INVITED = "una.vogt@nordlicht.example"
PASSWORD = "another password of 12 to 256 characters"


@dataclass(slots=True)
class Run:
    """What was sent and how it was answered: `statuses` by operation, `good` those of requests as the document has them, `faults` by
    operation and mode. `known`: what there is, by kind; `bodies`: by operation, in place of the document's example; `passed_on`: a
    pass that can be."""

    url: str
    headers: Callable[[], dict[str, str]]
    known: dict[str, str]
    bodies: dict[str, dict[str, str]]
    passed_on: str
    document: dict[str, Any]
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    good: dict[str, Counter[int]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def everything(self, *, deleting: bool) -> None:
        """All that delete, or all others. First each as its example says, so that they find what there is and what the others made; then
        what is made up. What was made last is deleted first: nothing names it."""
        schema = schemathesis.openapi.from_dict(self.document, config=schemathesis.Config.from_dict(CONFIGURATION))
        results = list(schema.get_all_operations())
        found = [result.ok() for result in results if isinstance(result, Ok)]
        assert len(found) == len(results)
        described = {each.name: each for each in operations(self.document)}
        chosen = [operation for operation in found if (operation.method == "delete") == deleting]
        if deleting:
            chosen.sort(key=lambda each: (-self._made_at(each.path), -each.path.count("/")))
        with requests.Session() as session:
            session.trust_env = False
            for operation in chosen:
                self._example(session, operation, described[operation.label])
            for operation in chosen:
                there = self._there(operation.label)
                own = {name: there[name] for name in re.findall(r"{(\w+)}", operation.path) if name in there}
                self._made_up(session, operation, GenerationMode.POSITIVE, own)
                if own and THOROUGH:
                    self._made_up(session, operation, GenerationMode.POSITIVE, {})
                if has_input(described[operation.label]):
                    self._made_up(session, operation, GenerationMode.NEGATIVE, {})

    def _there(self, name: str) -> dict[str, str]:
        """What this operation may name: only a pass that was accepted is passed on, and any other has a link to send."""
        return self.known | ({"pass": self.passed_on} if name == "POST /v1/passes/{pass}/pass-on" else {})

    def _made_at(self, path: str) -> int:
        """When the last object that is named in it was made, counted in objects."""
        kinds = list(self.known)
        return max((kinds.index(name) for name in re.findall(r"{(\w+)}", path) if name in kinds), default=-1)

    def _example(self, session: requests.Session, operation: Any, described: Described) -> None:
        """One request as the document's example, with what there is. Without input it is what would be made up."""
        if not has_input(described):
            return
        asking = described.good(self._there(described.name))
        body = self.bodies.get(described.name, {} if asking.body is None else asking.body)
        sent = {} if described.example is None else {"body": body, "media_type": "application/json"}
        case = operation.Case(path_parameters=asking.identifiers, query=asking.query, headers=asking.headers, **sent)
        with self._noticed(f"{operation.label} example"):
            self._send(session, case, operation, GenerationMode.POSITIVE)

    def _made_up(self, session: requests.Session, operation: Any, mode: GenerationMode, own: dict[str, str]) -> None:
        positive = mode is GenerationMode.POSITIVE

        @seed(SEED)
        @settings(
            max_examples=EXAMPLES - 1 if positive else EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode, path_parameters=own or None))
        def sent(case: Case[Any]) -> None:
            self._send(session, case, operation, mode)

        with self._noticed(f"{operation.label} {mode.name.lower()}"):
            try:
                sent()
            except Unsatisfiable:
                if positive:
                    raise
                # else there is nothing in it that could be wrong

    @contextlib.contextmanager
    def _noticed(self, what: str) -> Iterator[None]:
        """Whatever is wrong with one, the others are sent."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.faults[what] = f"{type(error).__name__} {error}"

    def _send(self, session: requests.Session, case: Case[Any], operation: Any, mode: GenerationMode) -> None:
        secured = bool(self.document["paths"][operation.path][operation.method]["security"])
        answer = case.call(base_url=self.url, headers=self.headers() if secured else None, session=session)
        self.statuses.setdefault(operation.label, Counter())[answer.status_code] += 1
        if mode is GenerationMode.POSITIVE:
            self.good.setdefault(operation.label, Counter())[answer.status_code] += 1
        case.validate_response(answer, excluded_checks=LEFT_OUT)


def has_input(described: Described) -> bool:
    return bool(described.operation["parameters"] or "requestBody" in described.operation)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(
        tmp_path_factory.mktemp("schemathesis"), locks=False, doors=4, persons=12, sign_ins_per_minute_max=QUOTA,
        operator_organization="nordlicht",
    ) as running:  # fmt: skip
        yield running


async def of_organization(service: Service, organization: str) -> dict[str, list[bytes]]:
    """Every document of one organization, byte for byte."""
    found: dict[str, list[bytes]] = {}
    for collection in await service.database.list_collection_names():
        documents = await service.database[collection].find({"org": organization}).to_list()
        found[collection] = sorted(bson.encode(document) for document in documents)
    return found


async def links_and_secrets(service: Service, http: httpx.AsyncClient) -> tuple[dict[str, dict[str, str]], str]:
    """Bodies with what an example can't know: links, tokens, passwords of this very service. And the pass that becomes the owner's."""
    owner, employee, facility = (service.made.account(part) for part in ("owner", "employee", "facility"))
    signed_in = await http.post("/v1/sign-in", json={"email": employee.email, "password": employee.password})
    assert (await http.post("/v1/password-reset", json={"email": facility.email})).status_code == 202
    until_tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wanted = {"name": "A pass", "doors": service.demo.doors()[:1], "valid_until": until_tomorrow, "uses": 9, "passes_on_max": 1}
    given = [(await http.post("/v1/passes", json=wanted, headers=service.owner())).json() for _ in range(2)]
    links = [one["link"].partition("#")[2] for one in given]
    invited = await http.post("/v1/invitations", json={"email": INVITED, "name": "Una Vogt"}, headers=service.owner())
    assert invited.status_code == 201, invited.text
    folder = service.stack.settings.data_folder / "mail"
    tokens: dict[str, str] = {}

    def mailed() -> bool:
        tokens.update({mail.to: mail.text.partition("#")[2].split()[0] for mail in read_mailbox(folder) if "#" in mail.text})
        return {INVITED, facility.email} <= tokens.keys()

    await until(mailed)
    bodies = {
        "POST /v1/sign-in": {"email": employee.email, "password": employee.password},
        "POST /v1/refresh": {"refresh_token": signed_in.json()["refresh_token"]},
        "POST /v1/operator/organizations": {"name": "Uferhof", "owner": {"email": "ute.hof@uferhof.example", "name": "Ute Hof"}},
        "POST /v1/invitations": {"email": "uli.brandt@nordlicht.example", "name": "Uli Brandt"},
        "POST /v1/invitations/accept": {"token": tokens[INVITED], "password": PASSWORD},
        "POST /v1/password-reset/confirm": {"token": tokens[facility.email], "password": PASSWORD},
        "POST /v1/passes/accept": {"token": links[0], "name": "Noor"},
        "POST /v1/me/passes": {"token": links[1]},
        "PATCH /v1/doors/{door}": {"name": "Roof door"},  # a mode that asks for a PIN by day would be in the way of the unlock
        "PUT /v1/me/password": {"old": owner.password, "new": PASSWORD},
    }
    return bodies, str(given[1]["id"])


async def to_delete(service: Service, http: httpx.AsyncClient, described: list[Described], known: dict[str, str]) -> None:
    """Objects that nothing else names, into `known` in the order in which they were made; and a session."""
    fresh = {kind: known[kind] for kind in ("organization", "person", "invitation", "attempt")}
    suspended = await http.post(f"/v1/operator/organizations/{known['organization']}/suspend", headers=service.owner())
    assert suspended.status_code == 200, suspended.text
    deleted = {each.path.rpartition("/")[0] for each in described if each.method == "DELETE"}
    await made_objects(http, [each for each in described if each.path in deleted and each.name not in TAKEN], service.owner(), fresh)
    owner = service.made.account("owner")
    assert (await http.post("/v1/sign-in", json={"email": owner.email, "password": PASSWORD})).status_code == 200
    fresh["session"] = (await http.get("/v1/me/sessions", headers=service.owner())).json()["items"][0]["id"]
    known.clear()
    known.update(fresh)


@pytest.mark.timeout(HOURS_MAX * 3_600)
async def test_no_request_makes_the_service_fail_or_answer_what_is_not_documented(service: Service) -> None:
    began = time.monotonic()
    async with service.client() as http:
        document = (await http.get("/v1/openapi.json")).json()
        described = operations(document)
        known: dict[str, str] = {}
        await made_objects(http, described, service.owner(), known)
        neighbour = await of_organization(service, service.neighbour.id)
        bodies, passed_on = await links_and_secrets(service, http)
        known["door"] = service.demo.doors()[0]  # which the owner may open
        known["attempt"] = (await http.post(f"/v1/doors/{known['door']}/unlock", headers=service.owner())).json()["id"]
        run = Run(service.url, service.owner, known, bodies, passed_on, document)
        await asyncio.to_thread(run.everything, deleting=False)
        await to_delete(service, http, described, known)
        await asyncio.to_thread(run.everything, deleting=True)
        total = sum(run.statuses.values(), Counter[int]())
        print(f"\n{total.total()} requests in {time.monotonic() - began:.0f} s: {dict(sorted(total.items()))}")
        assert run.faults == {}, "\n\n".join(f"--- {name}\n{fault}" for name, fault in run.faults.items())
        names = {each.name for each in described}
        assert {name for name, statuses in run.good.items() if statuses.total()} == names, "sent as the document has it"
        assert not [status for status in total if status >= 500]
        without = {name: dict(run.good[name]) for name in names if not any(status < 300 for status in run.good[name])}
        assert without.keys() == WITHOUT_SUCCESS.keys(), without
        still = await http.get("/v1/persons", headers=service.owner())
        assert still.status_code == 200, "the owner has locked themselves out: what came after was refused for nothing"
    assert await of_organization(service, service.neighbour.id) == neighbour
