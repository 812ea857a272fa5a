"""Problem documents (RFC 9457): the one place where an exception becomes an answer.

What an unexpected exception was goes to the log with the request's id, never to the client.
"""

from __future__ import annotations

import msgspec

from py_service.errors import Problem, StoreUnavailable, stores_unavailable
from py_service.exchange import Response
from py_service.telemetry import logger

_ENCODER = msgspec.json.Encoder()
_CONTENT_TYPE = "application/problem+json"
_LOG = logger("edge")


class MethodNotAllowed(Problem):
    """405 with the methods that the path has (RFC 9110 section 15.5.6)."""

    def __init__(self, allowed: list[str]) -> None:
        super().__init__(405, "method_not_allowed", "This path has no such method.")
        self.allow = ", ".join(allowed)


def answer_to(error: Exception, request_id: str) -> Response:
    """The answer to whatever went wrong. Never raises and never shows an unexpected exception."""
    if isinstance(error, Problem):
        try:
            return _encoded(error, request_id)
        except Exception as unencodable:  # noqa: BLE001  a member that isn't JSON is our mistake, so it is answered as one
            error = unencodable
    if isinstance(error, StoreUnavailable):
        return _encoded(stores_unavailable(), request_id)
    _LOG.error("request failed", request_id=request_id, error=type(error).__name__, exc_info=error)
    return _encoded(Problem(500, "internal", "Something went wrong on our side. The request id finds it in our log."), request_id)


def _encoded(problem: Problem, request_id: str) -> Response:
    # The fixed members come last, so that no handler's extra member can replace them.
    document: dict[str, object] = {
        **problem.members,
        "type": f"/problems/{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "request_id": request_id,
    }
    return Response(problem.status, _ENCODER.encode(document), _headers(problem), _CONTENT_TYPE)


def _headers(problem: Problem) -> dict[str, str]:
    headers: dict[str, str] = {}
    if problem.retry_after_seconds is not None:
        headers["retry-after"] = str(problem.retry_after_seconds)
    if isinstance(problem, MethodNotAllowed):
        headers["allow"] = problem.allow
    if problem.status == 401:  # RFC 6750 section 3: a challenge, and the error only when a token was shown
        shown = problem.code.startswith(("token_", "api_key_")) and problem.code != "token_missing"
        headers["www-authenticate"] = 'Bearer error="invalid_token"' if shown else "Bearer"
    return headers
