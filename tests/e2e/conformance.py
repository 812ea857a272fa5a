"""Answers held against the document of the service that gives them: status, headers, content type, schema, and the code of a problem."""

from __future__ import annotations

import re
from typing import Any

import httpx
import jsonschema_rs

from tests.e2e.running import Service

Document = dict[str, Any]
OF_HTTP = {"content-type", "content-length", "content-encoding", "date", "server", "connection", "transfer-encoding"}  # and of its server
OF_EVERY_ANSWER = {"x-request-id", "cache-control"}
NOT_OF_AN_OPERATION = {404: "route_unknown", 405: "method_not_allowed"}


class Conformance:
    """Made of the document of the service that is asked. Validators are compiled when they are first needed."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.checked = 0
        self._patterns = [
            (re.compile("/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/"))), path)
            for path in sorted(document["paths"], key=lambda path: "{" in path)
        ]
        self._validators: dict[tuple[str, str, int], jsonschema_rs.Validator] = {}

    async def hook(self, answer: httpx.Response) -> None:
        """For `event_hooks` of a client: raises AssertionError for an answer that the document doesn't know."""
        await answer.aread()
        self.check(answer)

    def check(self, answer: httpx.Response) -> None:
        """Raises AssertionError that says what the document doesn't know."""
        self.checked += 1
        request = answer.request
        name = f"{request.method} {request.url.path} -> {answer.status_code} {answer.text[:300]}"
        path = next((path for pattern, path in self._patterns if pattern.fullmatch(request.url.path)), None)
        methods = {} if path is None else self.document["paths"][path]
        operation = methods.get(request.method.lower())
        if path is None or operation is None:
            assert answer.json()["code"] == NOT_OF_AN_OPERATION.get(answer.status_code), name
            own = OF_EVERY_ANSWER | ({"allow"} if answer.status_code == 405 else set())
            assert set(answer.headers) - OF_HTTP == own, name
            return
        documented = operation["responses"].get(str(answer.status_code))
        if documented is None and answer.status_code == 404 and answer.json()["code"] == "route_unknown":
            return  # an id that makes another path of it
        assert documented is not None, f"not in the document: {name}"
        response = self.resolved(documented)
        self._check_headers(response, answer, name)
        self._check_content(operation, response, answer, name)

    def _check_headers(self, response: Document, answer: httpx.Response, name: str) -> None:
        """Both ways: what has to be there is, nothing else is, and each says what it may say."""
        described = {header.lower(): self.resolved(found) for header, found in response["headers"].items()}
        missing = {header for header, found in described.items() if found["required"]} - set(answer.headers)
        assert not missing, f"without {missing}: {name}"
        untold = set(answer.headers) - OF_HTTP - described.keys()
        assert not untold, f"the document doesn't know {untold}: {name}"
        for header in described.keys() & set(answer.headers):
            schema, sent = described[header]["schema"], answer.headers.get_list(header)
            assert len(sent) == 1, f"{header} more than once: {name}"
            value = int(sent[0]) if schema["type"] == "integer" else sent[0]
            assert jsonschema_rs.is_valid(schema, value), f"{header}: {value} is not in the document: {name}"
        # Where the document says "sometimes", the protocol (docs/protocols/http.md) says when.
        if answer.status_code == 409:
            in_flight = answer.json()["code"] == "idempotency_key_in_flight"
            assert ("retry-after" in answer.headers) == in_flight, name
        assert "idempotent-replayed" not in answer.headers or "idempotency-key" in answer.request.headers, name

    def _check_content(self, operation: Document, response: Document, answer: httpx.Response, name: str) -> None:
        content = response.get("content", {})
        sent = answer.headers.get("content-type")
        if not content:
            assert sent is None and not answer.content, name
            return
        assert sent in content, f"{sent} is not in the document: {name}"
        schema = content[sent]["schema"]
        if schema == {"type": "string"}:
            return
        key = (operation["operationId"], sent, answer.status_code)
        if key not in self._validators:
            rooted = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": self.document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator({**rooted, "allOf": [schema]}, validate_formats=True)
        faults = [f"{error.instance_path}: {error.message}" for error in self._validators[key].iter_errors(answer.json())]
        assert faults == [], f"{faults}: {name}"

    def resolved(self, found: Document) -> Document:
        """What a reference names; anything else as it is."""
        if "$ref" not in found:
            return found
        target: Any = self.document
        for part in found["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        resolved: Document = target
        return resolved


async def conformance_of(service: Service) -> Conformance:
    """By the document that this service gives out."""
    async with service.client(connections=1) as client:
        return Conformance((await client.get("/v1/openapi.json")).json())
