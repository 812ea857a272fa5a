"""Who is asking: each cause of a 401 has its code, and what the fence does to a token."""

from __future__ import annotations

import pytest

from py_service.errors import stores_unavailable
from tests.unit.edge_support import make_edge


@pytest.mark.parametrize(
    ("authorization", "code", "challenge"),
    [
        (None, "token_missing", "Bearer"),
        ("", "token_malformed", 'Bearer error="invalid_token"'),
        ("Bearer", "token_malformed", 'Bearer error="invalid_token"'),
        ("Bearer ", "token_malformed", 'Bearer error="invalid_token"'),
        ("Basic YTpi", "token_malformed", 'Bearer error="invalid_token"'),
        ("Bearer nonsense", "token_malformed", 'Bearer error="invalid_token"'),
        *(
            (f"Bearer {code}", code, 'Bearer error="invalid_token"')
            for code in (
                "token_algorithm",
                "token_signature",
                "token_expired",
                "token_not_yet_valid",
                "token_audience",
                "token_issuer",
                "token_too_long",
                "token_key_unknown",
            )
        ),
        ("Bearer good,lock", "token_audience", 'Bearer error="invalid_token"'),
    ],
)
@pytest.mark.parametrize("path", [("GET", "/v1/me"), ("POST", "/v1/doors/d1/unlock")])
async def test_each_cause_has_its_code(path: tuple[str, str], authorization: str | None, code: str, challenge: str) -> None:
    edge = await make_edge()
    headers: dict[str, str | None] = {} if authorization is None else {"authorization": authorization}
    exchange = await edge.ask(*path, token=None, headers=headers)
    assert (exchange.status, exchange.problem()["code"]) == (401, code)
    assert exchange.headers["www-authenticate"] == challenge
    assert edge.calls == 0


async def test_scheme_in_any_case_and_claims_reach_the_handler() -> None:
    edge = await make_edge()
    exchange = await edge.ask("GET", "/v1/me", token=None, headers={"authorization": "bEARER good"})
    assert exchange.status == 200
    assert edge.last is not None
    assert edge.last.person().subject == "ada"


async def test_fenced_route_brings_permissions_up_first() -> None:
    edge = await make_edge()
    await edge.ask("GET", "/v1/me")
    assert edge.permissions.current_calls == 1


async def test_unfenced_route_stays_in_memory() -> None:
    edge = await make_edge()
    exchange = await edge.ask("POST", "/v1/doors/d1/unlock")
    assert exchange.status == 200
    assert edge.permissions.current_calls == 0


async def test_unfenced_refusal_from_old_memory_is_asked_again() -> None:
    edge = await make_edge()
    edge.permissions.causes = ["token_revoked", None]
    exchange = await edge.ask("POST", "/v1/doors/d1/unlock")
    assert exchange.status == 200
    assert edge.permissions.current_calls == 1


@pytest.mark.parametrize("cause", ["token_revoked", "person_unknown", "something_new"])
@pytest.mark.parametrize("path", [("GET", "/v1/me"), ("POST", "/v1/doors/d1/unlock")])
async def test_revoked_token(path: tuple[str, str], cause: str) -> None:
    edge = await make_edge()
    edge.permissions.causes = [cause]
    exchange = await edge.ask(*path)
    assert (exchange.status, exchange.problem()["code"]) == (401, "token_revoked")
    assert edge.calls == 0


@pytest.mark.parametrize("cause", ["person_suspended", "organization_suspended"])
async def test_suspended(cause: str) -> None:
    edge = await make_edge()
    edge.permissions.causes = [cause]
    exchange = await edge.ask("GET", "/v1/me")
    assert (exchange.status, exchange.problem()["code"]) == (403, cause)
    assert edge.calls == 0
    # The unlock room journals the attempt of a suspended person, so it gets to see it.
    fence_reads = edge.permissions.current_calls
    assert (await edge.ask("POST", "/v1/doors/d1/unlock")).status == 200
    assert edge.permissions.current_calls == fence_reads  # the room's own fence is enough


async def test_organization_that_is_not_loaded_is_no_allow() -> None:
    edge = await make_edge()
    edge.permissions.causes = ["stores_unavailable"]
    for path in (("GET", "/v1/me"), ("POST", "/v1/doors/d1/unlock")):
        exchange = await edge.ask(*path)
        assert (exchange.status, exchange.problem()["code"]) == (503, "stores_unavailable")
        assert exchange.headers["retry-after"] == "1"
    assert edge.calls == 0


async def test_fence_that_fails_is_no_allow() -> None:
    edge = await make_edge()
    edge.permissions.failure = stores_unavailable()
    exchange = await edge.ask("GET", "/v1/me")
    assert (exchange.status, exchange.problem()["code"]) == (503, "stores_unavailable")
    assert edge.calls == 0


async def test_unknown_key_is_looked_for_once() -> None:
    edge = await make_edge()
    exchange = await edge.ask("GET", "/v1/me", token="good-after-reload")
    assert (exchange.status, edge.reloads) == (200, 1)


async def test_unknown_key_when_it_may_not_look_again() -> None:
    edge = await make_edge()
    edge.reload_answer = False
    exchange = await edge.ask("GET", "/v1/me", token="good-after-reload")
    assert (exchange.status, exchange.problem()["code"]) == (401, "token_key_unknown")


async def test_other_refusals_do_not_reload_keys() -> None:
    edge = await make_edge()
    await edge.ask("GET", "/v1/me", token="token_signature")
    assert edge.reloads == 0


async def test_a_key_goes_to_whoever_carries_out_once_and_past_the_fence_first() -> None:
    """A repeat is answered without the fence of a change: the edge's own has to be passed."""
    edge = await make_edge()
    key: dict[str, str | None] = {"idempotency-key": "k-1"}
    body = b'{"name":"a"}'
    assert (await edge.ask("POST", "/v1/grants", body=body)).status == 201
    assert (edge.permissions.current_calls, edge.keys) == (0, [])
    assert (await edge.ask("POST", "/v1/grants", body=body, headers=key)).status == 201
    assert (edge.permissions.current_calls, edge.keys, edge.calls) == (1, ["k-1"], 2)
    edge.permissions.causes = ["person_suspended"]
    refused = await edge.ask("POST", "/v1/grants", body=body, headers=key)
    assert (refused.status, refused.problem()["code"], edge.keys) == (403, "person_suspended", ["k-1"])


async def test_keys_that_the_edge_leaves_alone() -> None:
    """The unlock's are its room's own; other methods and those who haven't signed in have none."""
    edge = await make_edge()
    key: dict[str, str | None] = {"idempotency-key": "k-1"}
    assert (await edge.ask("POST", "/v1/sign-in", body=b'{"name":"a"}', token=None, headers=key)).status == 201
    assert (await edge.ask("POST", "/v1/doors/d1/unlock", headers=key)).status == 200
    assert (await edge.ask("DELETE", "/v1/doors/d1", headers=key)).status == 204
    assert (edge.keys, edge.calls) == ([], 3)


@pytest.mark.parametrize("key", ["", "a" * 129, "two words", "a\tb"])
async def test_a_bad_key_is_refused_before_anything_is_done(key: str) -> None:
    edge = await make_edge()
    for path, token in (("/v1/grants", "good"), ("/v1/sign-in", None)):
        exchange = await edge.ask("POST", path, body=b'{"name":"a"}', token=token, headers={"idempotency-key": key})
        assert (exchange.status, exchange.problem()["code"]) == (400, "header_invalid")
    assert (edge.calls, edge.keys, edge.permissions.current_calls) == (0, [], 0)
