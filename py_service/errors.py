"""The errors of the service and the problem each becomes.

Problem                      an answer with a stable code (docs/protocols/http.md, RFC 9457)
SettingsError                the start is refused; names the setting
StoreUnavailable             MongoDB or Redis didn't answer in time; becomes 503 `stores_unavailable`

What lives here: types and their meaning. What doesn't: the encoding (edge/problem.py).
"""

from __future__ import annotations


class Problem(Exception):
    """An answer that isn't a success. `code` is stable, `detail` is for people and holds no secret."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after_seconds: int | None = None,
        members: dict[str, object] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.members = members or {}


class SettingsError(Exception):
    """A setting is missing, unknown or out of range. The message starts with the setting's name."""


class StoreUnavailable(Exception):
    """A store didn't answer in the time it was given. Never an allow."""


def stores_unavailable(detail: str = "The store did not answer in time; nothing was changed or commanded.") -> Problem:
    """503 with `Retry-After`, for everything that needs MongoDB."""
    return Problem(503, "stores_unavailable", detail, retry_after_seconds=1)


def unknown(kind: str) -> Problem:
    """404 for an object that doesn't exist or is another organization's: the two look the same from outside."""
    return Problem(404, f"{kind}_unknown", f"There is no such {kind}.")


KEY_REFUSALS = {
    "api_key_malformed": "This is no API key: its form or its checksum isn't right.",
    "api_key_unknown": "There is no such API key, it was revoked, or its secret is another one.",
    "api_key_inactive": "This API key is switched off.",
    "api_key_expired": "This API key has expired.",
}


def not_standing(cause: str) -> Problem:
    """What the core's `PermissionIndex.authenticate` found against a token whose signature is good, or an API key, as the answer to it.

    401 `token_revoked` also for a person who is no longer there: the token outlived its person.
    """
    if cause == "stores_unavailable":
        return stores_unavailable()
    if cause in KEY_REFUSALS:
        key_refusal = cause
        return Problem(401, key_refusal, KEY_REFUSALS[key_refusal])
    if cause in ("person_suspended", "organization_suspended"):
        return Problem(403, cause, f"This {cause.removesuffix('_suspended')} is suspended.")
    return Problem(401, "token_revoked", "The token was revoked. Sign in again.")


NOT_REACHABLE = 3


def exit_status(status: int) -> int:
    """Of a command whose answer is a problem with this HTTP status: a service that can't reach its stores has refused nothing."""
    return NOT_REACHABLE if status == 503 else 1
