"""Whatever the document allows, and much that it doesn't, sent to the running service: no server error, and no answer that isn't in it.

Seeded: the same document gives the same requests. `make schemathesis` sends more of them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import bson
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.e2e.described import made_objects, operations
from tests.e2e.running import QUOTA, Service, running_service

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


@dataclass(slots=True)
class Run:
    """What was sent and how it was answered: `statuses` by operation, `faults` by operation and mode."""

    url: str
    headers: Callable[[], dict[str, str]]
    known: dict[str, str]
    document: dict[str, Any]
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def everything(self) -> None:
        """Every operation; those that delete come last, so that the others find what they name."""
        schema = schemathesis.openapi.from_dict(self.document, config=schemathesis.Config.from_dict(CONFIGURATION))
        results = list(schema.get_all_operations())
        found = [result.ok() for result in results if isinstance(result, Ok)]
        assert len(found) == len(results)
        with requests.Session() as session:
            session.trust_env = False
            for operation in sorted(found, key=lambda each: each.method == "delete"):
                described = self.document["paths"][operation.path][operation.method]
                named = {parameter["name"] for parameter in described["parameters"] if parameter["in"] == "path"}
                own = {name: self.known[name] for name in named if name in self.known}
                self._send(session, operation, GenerationMode.POSITIVE, own)
                if own and THOROUGH:
                    self._send(session, operation, GenerationMode.POSITIVE, {})
                if described["parameters"] or "requestBody" in described:
                    self._send(session, operation, GenerationMode.NEGATIVE, {})

    def _send(self, session: requests.Session, operation: Any, mode: GenerationMode, own: dict[str, str]) -> None:
        secured = bool(self.document["paths"][operation.path][operation.method]["security"])
        statuses = self.statuses.setdefault(operation.label, Counter())

        @seed(SEED)
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate],
            report_multiple_bugs=False,
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode, path_parameters=own or None))
        def sent(case: Case[Any]) -> None:
            answer = case.call(base_url=self.url, headers=self.headers() if secured else None, session=session)
            statuses[answer.status_code] += 1
            case.validate_response(answer, excluded_checks=LEFT_OUT)

        try:
            sent()
        except Unsatisfiable:
            return  # there is nothing in it that could be wrong
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.faults[f"{operation.label} {mode.name.lower()}"] = str(error)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(
        tmp_path_factory.mktemp("schemathesis"), locks=False, doors=4, persons=12, sign_ins_per_minute_max=QUOTA
    ) as running:  # fmt: skip
        yield running


async def of_organization(service: Service, organization: str) -> dict[str, list[bytes]]:
    """Every document of one organization, byte for byte."""
    found: dict[str, list[bytes]] = {}
    for collection in await service.database.list_collection_names():
        documents = await service.database[collection].find({"org": organization}).to_list()
        found[collection] = sorted(bson.encode(document) for document in documents)
    return found


@pytest.mark.timeout(HOURS_MAX * 3_600)
async def test_no_request_makes_the_service_fail_or_answer_what_is_not_documented(service: Service) -> None:
    began = time.monotonic()
    async with service.client() as http:
        document = (await http.get("/v1/openapi.json")).json()
        known: dict[str, str] = {"organization": service.demo.id}
        await made_objects(http, operations(document), service.owner(), known)
        known["attempt"] = (await http.post(f"/v1/doors/{service.demo.doors()[0]}/unlock", headers=service.owner())).json()["id"]
        neighbour = await of_organization(service, service.neighbour.id)
        run = Run(service.url, service.owner, known, document)
        await asyncio.to_thread(run.everything)
        total = sum(run.statuses.values(), Counter[int]())
        print(f"\n{total.total()} requests in {time.monotonic() - began:.0f} s: {dict(sorted(total.items()))}")
        assert run.faults == {}, "\n\n".join(f"--- {name}\n{fault}" for name, fault in run.faults.items())
        assert set(run.statuses) == {described.name for described in operations(document)}
        assert not [status for status in total if status >= 500]
        reached = [name for name, statuses in run.statuses.items() if any(status < 300 for status in statuses)]
        assert len(reached) > 0.7 * len(run.statuses), sorted(set(run.statuses) - set(reached))
        still = await http.get("/v1/persons", headers=service.owner())
        assert still.status_code == 200, "the owner has locked themselves out: what came after was refused for nothing"
    assert await of_organization(service, service.neighbour.id) == neighbour
