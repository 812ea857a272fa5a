"""The border of keys, tokens and the lock: types, errors with codes, bounds and threads. What is accepted is the vectors' question."""

import json
import threading

import pytest

from py_service._core_rs import (
    Claims,
    CoreError,
    DeviceAssertionError,
    DeviceKey,
    DoorCommand,
    KeyRing,
    KeyRingError,
    LockRefusal,
    LockVerifier,
    Report,
    ReportError,
    TokenError,
    check_device_key,
    verify_device_assertion,
    verify_report,
)

NOW_MS = 1_795_420_800_000
NONCE = b"n" * 16


@pytest.fixture
def ring() -> KeyRing:
    made = KeyRing(bytes(32))
    made.generate("access", "", "a1")
    made.activate("access", "", "a1")
    made.generate("command", "acme", "acme.1")
    made.activate("command", "acme", "acme.1")
    return made


def sign(ring: KeyRing, *, audience: str = "api", kind: str = "person", topics: tuple[str, ...] = (), life_ms: int = 300_000) -> str:
    return ring.sign_access_token(audience, "acme", "ada", kind, "s1", topics, NOW_MS, NOW_MS + life_ms)


def lock_of(ring: KeyRing, memory_commands_max: int = 8) -> LockVerifier:
    return LockVerifier("acme", "lock-1", "acme.1", ring.public_key("command", "acme", "acme.1"), memory_commands_max)


def test_claims_cross_the_border_whole(ring: KeyRing) -> None:
    topics = ("organizations/acme/events", "organizations/acme/persons/ada/events")
    claims = ring.verify_access_token(sign(ring, audience="gateway", topics=topics), "gateway", NOW_MS)
    assert isinstance(claims, Claims)
    assert (claims.organization, claims.subject, claims.kind, claims.session, claims.key_id) == ("acme", "ada", "person", "s1", "a1")
    assert (claims.issued_at_ms, claims.expires_at_ms, claims.topics) == (NOW_MS, NOW_MS + 300_000, list(topics))


def test_nothing_of_an_answer_can_be_changed(ring: KeyRing) -> None:
    claims = ring.verify_access_token(sign(ring), "api", NOW_MS)
    with pytest.raises(AttributeError):
        claims.subject = "eve"  # type: ignore[misc]  # the test is that this fails
    claims.topics.append("organizations/acme/events")
    assert claims.topics == []


@pytest.mark.parametrize("raised", [DeviceAssertionError, KeyRingError, LockRefusal, ReportError, TokenError])
def test_every_refusal_is_a_core_error(raised: type[CoreError]) -> None:
    assert issubclass(raised, CoreError)
    assert raised.__module__ == "py_service._core_rs"


def test_errors_carry_a_code_and_no_secret(ring: KeyRing) -> None:
    token = sign(ring)
    with pytest.raises(TokenError) as refused:
        ring.verify_access_token(token, "gateway", NOW_MS)
    assert refused.value.code == "token_audience"
    assert token[:20] not in str(refused.value)
    assert "acme" not in repr(ring) and "object" in repr(ring)


@pytest.mark.parametrize(
    ("master_key", "purpose", "organization", "key_id", "code"),
    [
        (bytes(31), "access", "", "a1", "master_key_invalid"),
        (bytes(32), "door", "acme", "acme.1", "key_purpose"),
        (bytes(32), "access", "acme", "a1", "key_purpose"),
        (bytes(32), "command", "", "acme.1", "key_purpose"),
        (bytes(32), "command", "acme", "umbrella.1", "key_id_invalid"),
        (bytes(32), "access", "", 'a"1', "key_id_invalid"),
    ],
)
def test_keys_are_named_strictly(master_key: bytes, purpose: str, organization: str, key_id: str, code: str) -> None:
    with pytest.raises(KeyRingError) as refused:
        KeyRing(master_key).generate(purpose, organization, key_id)
    assert refused.value.code == code


def test_a_sealed_key_moves_to_another_process(ring: KeyRing) -> None:
    first, second = KeyRing(b"m" * 32), KeyRing(b"m" * 32)
    sealed = first.generate("access", "", "a7")
    assert isinstance(sealed, bytes)
    assert first.active_key_id("access", "") is None
    second.load("access", "", "a7", sealed)
    second.activate("access", "", "a7")
    first.activate("access", "", "a7")
    assert first.verify_access_token(sign(second), "api", NOW_MS).key_id == "a7"
    with pytest.raises(KeyRingError) as refused:
        ring.load("access", "", "a7", sealed)
    assert refused.value.code == "key_sealed_wrongly"


def test_sealed_content_moves_to_another_process_and_nowhere_else(ring: KeyRing) -> None:
    first, second = KeyRing(b"m" * 32), KeyRing(b"m" * 32)
    sealed = first.seal("idempotency", "acme", "acme:1", b"an answer")
    assert b"answer" not in sealed
    assert second.open("idempotency", "acme", "acme:1", sealed) == b"an answer"
    elsewhere = [(ring, "acme", "acme:1", sealed), (second, "umbrella", "acme:1", sealed), (second, "acme", "acme:2", sealed)]
    for holder, organization, name, content in [*elsewhere, (second, "acme", "acme:1", sealed[:-1]), (second, "acme", "acme:1", b"")]:
        with pytest.raises(KeyRingError) as refused:
            holder.open("idempotency", organization, name, content)
        assert refused.value.code == "key_sealed_wrongly"
    with pytest.raises(KeyRingError) as too_long:
        first.seal("idempotency", "acme", "acme:1", bytes(2**20 + 1))
    assert too_long.value.code == "content_too_long"


def test_rotation_and_retirement(ring: KeyRing) -> None:
    old = sign(ring)
    ring.generate("access", "", "a2")
    ring.activate("access", "", "a2")
    assert ring.active_key_id("access", "") == "a2"
    assert ring.verify_access_token(old, "api", NOW_MS).key_id == "a1"
    assert {key["kid"] for key in json.loads(ring.jwks())["keys"]} == {"a1", "a2"}
    ring.retire("access", "", "a1")
    assert [key["kid"] for key in json.loads(ring.jwks())["keys"]] == ["a2"]
    with pytest.raises(TokenError) as refused:
        ring.verify_access_token(old, "api", NOW_MS)
    assert refused.value.code == "token_key_unknown"


def test_what_would_be_refused_is_not_signed(ring: KeyRing) -> None:
    for change in ({"life_ms": 301_000}, {"life_ms": 0}, {"kind": "robot"}, {"topics": ("organizations/acme/events",)}):
        with pytest.raises(KeyRingError) as refused:
            sign(ring, **change)
        assert refused.value.code == "claims_invalid"
    with pytest.raises(KeyRingError) as refused:
        ring.sign_command("acme", "lock-1", "front", "unlock", "id", NOW_MS, NOW_MS + 5_001)
    assert refused.value.code == "claims_invalid"
    with pytest.raises(KeyRingError) as refused:
        ring.sign_command("umbrella", "lock-1", "front", "unlock", "id", NOW_MS, NOW_MS + 1)
    assert refused.value.code == "key_unknown"
    with pytest.raises(KeyRingError) as refused:
        ring.sign_time("acme", "lock-1", b"short", NOW_MS)
    assert refused.value.code == "claims_invalid"


def test_a_command_goes_from_ring_to_lock_to_report(ring: KeyRing) -> None:
    lock, device = lock_of(ring), DeviceKey.generate()
    lock.begin_time(NONCE, 100)
    assert lock.accept_time(ring.sign_time("acme", "lock-1", NONCE, NOW_MS), 130) == 33
    assert (lock.now_ms(130), lock.uncertainty_ms(20_130)) == (NOW_MS, 36)
    message = ring.sign_command("acme", "lock-1", "front", "unlock", "log:000000000001:000", NOW_MS + 5, NOW_MS + 4_005)
    command = lock.verify(message, 140)
    assert isinstance(command, DoorCommand)
    assert (command.id, command.door, command.action) == ("log:000000000001:000", "front", "unlock")
    assert (command.issued_at_ms, command.expires_at_ms) == (NOW_MS + 5, NOW_MS + 4_005)
    signed = device.sign_report("lock-1", 1, "outcome", command.id, "done", None, NOW_MS + 50)
    report = verify_report(device.public_key, signed, "lock-1")
    assert isinstance(report, Report)
    assert (report.lock, report.number, report.kind, report.command) == ("lock-1", 1, "outcome", command.id)
    assert (report.result, report.reason, report.at_ms) == ("done", None, NOW_MS + 50)


def test_a_lock_without_time_says_so(ring: KeyRing) -> None:
    lock = lock_of(ring)
    for ask in (lock.now_ms, lock.uncertainty_ms):
        with pytest.raises(LockRefusal) as refused:
            ask(0)
        assert refused.value.code == "clock_unsure"


@pytest.mark.parametrize(
    ("organization", "lock", "key_id", "public_key", "memory"),
    [
        ("", "lock-1", "acme.1", None, 8),
        ("acme", "Lock 1", "acme.1", None, 8),
        ("acme", "lock-1", "", None, 8),
        ("acme", "lock-1", "acme.1", bytes(31), 8),
        ("acme", "lock-1", "acme.1", b"\x01" + bytes(31), 8),  # of small order: everything would be signed by it
        ("acme", "lock-1", "acme.1", None, 0),
        ("acme", "lock-1", "acme.1", None, 65_537),
    ],
)
def test_a_lock_is_set_up_strictly(ring: KeyRing, organization: str, lock: str, key_id: str, public_key: bytes | None, memory: int) -> None:
    pinned = ring.public_key("command", "acme", "acme.1") if public_key is None else public_key
    with pytest.raises(LockRefusal) as refused:
        LockVerifier(organization, lock, key_id, pinned, memory)
    assert refused.value.code == "lock_configuration"


def test_devices_sign_nothing_that_would_be_refused() -> None:
    device = DeviceKey.from_seed(b"s" * 32)
    assert device.seed() == b"s" * 32
    assert "seed" not in repr(device)
    with pytest.raises(DeviceAssertionError):
        device.sign_assertion("acme", "lock-1", NOW_MS, NOW_MS + 61_000)
    with pytest.raises(DeviceAssertionError):
        device.sign_assertion('ac"me', "lock-1", NOW_MS, NOW_MS + 1_000)
    for kind, command, result, reason in (
        ("outcome", None, "done", None),
        ("outcome", "id", "perhaps", None),
        ("door", None, "open?", None),
        ("rumour", "id", "done", None),
        ("outcome", "id", "refused", "Because of"),
    ):
        with pytest.raises(ReportError):
            device.sign_report("lock-1", 1, kind, command, result, reason, NOW_MS)
    with pytest.raises(KeyRingError):
        DeviceKey.from_seed(b"short")


# Of another length, and those whose holder proves nothing: of small order (y = 0, 1 and -1; an order of 8), not on the curve (y = 2), and
# y = 3 with the prime added to it, which is on the curve.
UNSOUND = [
    b"", bytes(31), bytes(33), bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f",
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    b"\x02" + bytes(31), b"\xf0" + b"\xff" * 30 + b"\x7f",
]  # fmt: skip


def test_a_key_that_proves_something() -> None:
    check_device_key(DeviceKey.generate().public_key)
    check_device_key(b"\x03" + bytes(31))


def test_an_assertion_under_a_key_that_is_none() -> None:
    assertion = DeviceKey.generate().sign_assertion("acme", "lock-1", NOW_MS, NOW_MS + 60_000)
    for public_key in UNSOUND:
        with pytest.raises(DeviceAssertionError) as never:
            check_device_key(public_key)
        assert never.value.code == "token_key_unknown"
        with pytest.raises(DeviceAssertionError) as refused:
            verify_device_assertion(public_key, assertion, "acme", "lock-1", NOW_MS)
        assert refused.value.code == "token_key_unknown"


def test_wrong_types_are_the_callers_mistake(ring: KeyRing) -> None:
    with pytest.raises(TypeError):
        ring.verify_access_token(b"bytes", "api", NOW_MS)  # type: ignore[arg-type]  # the test is that this fails
    with pytest.raises(OverflowError):
        ring.verify_access_token("token", "api", 2**63)
    with pytest.raises(OverflowError):
        lock_of(ring).begin_time(NONCE, -1)


def test_threads_share_a_ring_and_a_lock(ring: KeyRing) -> None:
    lock = lock_of(ring, 1_000)
    lock.begin_time(NONCE, 0)
    lock.accept_time(ring.sign_time("acme", "lock-1", NONCE, NOW_MS), 0)
    messages = [ring.sign_command("acme", "lock-1", "front", "unlock", f"id{n}", NOW_MS + 1, NOW_MS + 5_001) for n in range(100)]
    tokens = [sign(ring) for _ in range(20)]
    opened: list[str] = []
    verified: list[str] = []

    def work() -> None:
        for message in messages:
            try:
                opened.append(lock.verify(message, 10).id)
            except LockRefusal as refused:
                assert refused.code == "command_replayed"
        verified.extend(ring.verify_access_token(token, "api", NOW_MS).subject for token in tokens)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(opened) == sorted(f"id{n}" for n in range(100)), "each command opens once, whoever asks"
    assert verified == ["ada"] * 80
