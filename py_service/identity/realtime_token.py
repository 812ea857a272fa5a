"""A token for the gateway: short, useless at the api, and with the topics that this person may watch."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from py_service.errors import not_standing
from py_service.exchange import Request, moment
from py_service.identity.messages import RealtimeToken
from py_service.identity.needs import ClockMs, Permissions, TokenSigner
from py_service.identity.tokens import ACCESS_TOKEN_MS

if TYPE_CHECKING:
    from py_service._core_rs import Claims


class RealtimeTokens:
    def __init__(self, signer: TokenSigner, permissions: Permissions, clock_ms: ClockMs) -> None:
        self._signer = signer
        self._permissions = permissions
        self._clock_ms = clock_ms

    def make(self, claims: Claims, request: Request) -> RealtimeToken:
        """Everybody may watch themselves; the organization only who has `events.read` everywhere in it.

        INVARIANT: the revision is read before the caller and the right are looked at. Whoever takes either has the gateways refuse
        tokens of earlier revisions, so also this one, however long this process stands still before it is signed. Raises Problem 401, 403.
        """
        organization, person = claims.organization, claims.subject
        revision = max(0, self._permissions.index.revision(organization))
        cause = self._permissions.index.authenticate(organization, person, claims.issued_at_ms, claims.session)
        if cause is not None:
            raise not_standing(cause)
        topics = [f"organizations/{organization}/persons/{person}/events"]
        now_ms = self._clock_ms()
        issued_at_ms = request.arrived_ms(now_ms)
        expires_at_ms = issued_at_ms + ACCESS_TOKEN_MS
        if self._watches_all(organization, person, now_ms):
            topics.append(f"organizations/{organization}/events")
            if not self._watches_all(organization, person, expires_at_ms):
                # Nobody says a word when a validity ends by the clock: the token ends with it. A right that is over stays over meanwhile.
                moments = range(now_ms, expires_at_ms + 1)
                over = bisect.bisect_left(moments, True, key=lambda at_ms: not self._watches_all(organization, person, at_ms))
                expires_at_ms = moments[over]
        token = self._signer.sign_access_token(
            "gateway", organization, person, "person", claims.session, topics, issued_at_ms, expires_at_ms, revision
        )
        return RealtimeToken(token, moment(expires_at_ms), topics)

    def _watches_all(self, organization: str, person: str, at_ms: int) -> bool:
        return self._permissions.index.check_role(organization, person, "events.read", None, at_ms).allowed
