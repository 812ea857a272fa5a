"""The golden vectors, read from Python: the core answers as they say, and a peer (`cryptography`, `cbor2`) agrees on the valid ones.

The peer shares no code with the core: it takes a message apart by the standards alone, and builds good and bad ones of its own.
"""

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import TypedDict

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from py_service._core_rs import (
    CoreError,
    DeviceAssertionError,
    DeviceKey,
    KeyRing,
    KeyRingError,
    LockRefusal,
    LockVerifier,
    ReportError,
    TokenError,
    verify_device_assertion,
    verify_report,
)

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
COMMAND_TYPE = "application/nexkey-command+cwt"
TIME_TYPE = "application/nexkey-time+cwt"
REPORT_TYPE = "application/nexkey-report+cwt"


class Case(TypedDict, total=False):
    """One case of any of the files; a file's cases hold the fields that it needs."""

    name: str
    code: str | None
    token: str
    assertion: str
    audience: str
    now_ms: int
    claims: dict[str, object]
    lock: str
    message: str
    report: dict[str, object]
    memory_commands_max: int
    steps: list["Step"]
    master_key: str
    purpose: str
    organization: str
    key_id: str
    sealed: str


class Step(TypedDict, total=False):
    do: str
    tick: int
    nonce: str
    message: str
    code: str | None
    uncertainty_ms: int
    command: dict[str, object]


class Key(TypedDict):
    kid: str
    sealed: str
    seed: str
    public_key: str


class Signed(TypedDict):
    issued_at_ms: int
    expires_at_ms: int
    assertion: str


class Document(TypedDict):
    cases: list[Case]
    key: Key
    jwks: dict[str, object]
    master_key: str
    organization: str
    lock: str
    device: str
    key_id: str
    seed: str
    public_key: str
    context: str
    signed: Signed


@functools.cache
def document(name: str) -> Document:
    loaded: Document = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    assert len(loaded["cases"]) > 10, "a file that lost its cases proves nothing"
    return loaded


def cases(name: str) -> list[object]:
    return [pytest.param(case, id=case["name"]) for case in document(name)["cases"]]


def accepted(name: str) -> list[object]:
    return [pytest.param(case, id=case["name"]) for case in document(name)["cases"] if case["code"] is None]


def fields(answer: object, names: object) -> dict[str, object]:
    assert isinstance(names, dict)
    return {name: getattr(answer, name) for name in names}


def access_ring() -> KeyRing:
    loaded = document("access_token")
    ring = KeyRing(bytes.fromhex(loaded["master_key"]))
    ring.load("access", "", loaded["key"]["kid"], bytes.fromhex(loaded["key"]["sealed"]))
    return ring


def command_lock(memory_commands_max: int = 4) -> LockVerifier:
    loaded = document("command")
    public_key = bytes.fromhex(loaded["public_key"])
    return LockVerifier(loaded["organization"], loaded["lock"], loaded["key_id"], public_key, memory_commands_max)


# --- the core answers as the vectors say -----------------------------------------------------


@pytest.mark.parametrize("case", cases("access_token"))
def test_access_token(case: Case) -> None:
    ring = access_ring()
    for _ in range(2):  # the second answer comes from the cache
        if case["code"] is None:
            claims = ring.verify_access_token(case["token"], case["audience"], case["now_ms"])
            assert fields(claims, case["claims"]) == case["claims"]
        else:
            with pytest.raises(TokenError) as refused:
                ring.verify_access_token(case["token"], case["audience"], case["now_ms"])
            assert refused.value.code == case["code"]


@pytest.mark.parametrize("case", cases("device_assertion"))
def test_device_assertion(case: Case) -> None:
    loaded = document("device_assertion")
    arguments = (bytes.fromhex(loaded["public_key"]), case["assertion"], loaded["organization"], loaded["device"], case["now_ms"])
    if case["code"] is None:
        verify_device_assertion(*arguments)
    else:
        with pytest.raises(DeviceAssertionError) as refused:
            verify_device_assertion(*arguments)
        assert refused.value.code == case["code"]


@pytest.mark.parametrize("case", cases("report"))
def test_report(case: Case) -> None:
    public_key = bytes.fromhex(document("report")["public_key"])
    message = bytes.fromhex(case["message"])
    if case["code"] is None:
        assert fields(verify_report(public_key, message, case["lock"]), case["report"]) == case["report"]
    else:
        with pytest.raises(ReportError) as refused:
            verify_report(public_key, message, case["lock"])
        assert refused.value.code == case["code"]


@pytest.mark.parametrize("case", cases("sealed"))
def test_sealed_key(case: Case) -> None:
    def load() -> bytes:
        ring = KeyRing(bytes.fromhex(case["master_key"]))
        ring.load(case["purpose"], case["organization"], case["key_id"], bytes.fromhex(case["sealed"]))
        return ring.public_key(case["purpose"], case["organization"], case["key_id"])

    if case["code"] is None:
        assert load() == bytes.fromhex(document("sealed")["public_key"])
    else:
        with pytest.raises(KeyRingError) as refused:
            load()
        assert refused.value.code == case["code"]


@pytest.mark.parametrize("case", [*cases("command"), *cases("time")])
def test_script_of_a_lock(case: Case) -> None:
    lock = command_lock(case["memory_commands_max"])
    assert case["steps"]
    for step in case["steps"]:
        code = step["code"]
        if code is None:
            assert run(lock, step) == step.get("command", step.get("uncertainty_ms", step.get("holds")))
        else:
            with pytest.raises(LockRefusal) as refused:
                run(lock, step)
            assert refused.value.code == code


def run(lock: LockVerifier, step: Step) -> object:
    match step["do"]:
        case "begin_time":
            lock.begin_time(bytes.fromhex(step["nonce"]), step["tick"])
            return None
        case "accept_time":
            return lock.accept_time(bytes.fromhex(step["message"]), step["tick"])
        case "take_lease":
            return fields(lock.take_lease(bytes.fromhex(step["message"]), step["tick"]), step.get("command", {}))
        case "holds":
            return lock.holds(step["tick"])
        case "release_hold":
            lock.release_hold()
            return None
        case "verify":
            return fields(lock.verify(bytes.fromhex(step["message"]), step["tick"]), step.get("command", {}))
        case other:
            raise AssertionError(other)


def test_every_code_of_the_stub_has_a_vector() -> None:
    expected = {step["code"] for name in ("command", "time") for case in document(name)["cases"] for step in case["steps"]} | {
        case["code"] for name in ("access_token", "device_assertion", "report", "sealed") for case in document(name)["cases"]
    }
    for error in (TokenError, LockRefusal, ReportError):
        listed = [word.strip(".,:;") for word in stub_of(error).replace("\n", " ").split() if "_" in word]
        assert len(listed) > 3
        assert not set(listed) - expected - {"lock_configuration"}, error.__name__  # of a constructor, not of a message


def stub_of(error: type[CoreError]) -> str:
    """The docstring of an error in the stub: the list of its codes."""
    stub = Path(__file__).resolve().parents[2] / "py_service" / "_core_rs.pyi"
    body = stub.read_text(encoding="utf-8").partition(f"class {error.__name__}(")[2]
    return body.partition("Codes:")[2].partition('"""')[0]


# --- the peer --------------------------------------------------------------------------------


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def peer_key(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))


def peer_reads_jwt(token: str, public_key: bytes) -> tuple[dict[str, object], dict[str, object]]:
    signed, _, signature = token.rpartition(".")
    Ed25519PublicKey.from_public_bytes(public_key).verify(unpadded(signature), signed.encode())
    header, _, payload = signed.partition(".")
    return json.loads(unpadded(header)), json.loads(unpadded(payload))


def peer_signs_jwt(header: dict[str, object], payload: dict[str, object], key: Ed25519PrivateKey) -> str:
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(payload).encode())}"
    return f"{signed}.{encoded(key.sign(signed.encode()))}"


def peer_reads_cose(message: bytes, public_key: bytes) -> tuple[dict[int, object], dict[int, object]]:
    tagged = cbor2.loads(message)
    assert isinstance(tagged, cbor2.CBORTag) and tagged.tag == 18
    protected, unprotected, payload, signature = tagged.value
    assert unprotected == {}
    Ed25519PublicKey.from_public_bytes(public_key).verify(signature, cbor2.dumps(["Signature1", protected, b"", payload]))
    claims: dict[int, object] = cbor2.loads(payload)
    assert cbor2.dumps(claims, canonical=True) == payload, "deterministic encoding"
    header: dict[int, object] = cbor2.loads(protected)
    return header, claims


def peer_signs_cose(header: dict[int, object], claims: dict[int, object], key: Ed25519PrivateKey) -> bytes:
    protected, payload = cbor2.dumps(header), cbor2.dumps(claims, canonical=True)
    signature = key.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


@pytest.mark.parametrize("case", accepted("access_token"))
def test_peer_accepts_an_access_token(case: Case) -> None:
    header, payload = peer_reads_jwt(case["token"], bytes.fromhex(document("access_token")["key"]["public_key"]))
    assert header == {"alg": "EdDSA", "kid": "a1", "typ": "JWT"}
    assert (payload["iss"], payload["aud"], payload["exp"]) == ("nexkey", case["audience"], case["claims"]["expires_at_ms"] // 1000)  # type: ignore[operator]  # a number in JSON
    names = {"org": "organization", "sub": "subject", "knd": "kind", "sid": "session", "iat_ms": "issued_at_ms"}
    assert {name: payload[short] for short, name in names.items()} == {name: case["claims"][name] for name in names.values()}


def test_peer_accepts_a_device_assertion() -> None:
    loaded = document("device_assertion")
    signed = loaded["signed"]
    made = DeviceKey.from_seed(bytes.fromhex(loaded["seed"])).sign_assertion(
        "acme", "lock-1", signed["issued_at_ms"], signed["expires_at_ms"]
    )
    assert made == signed["assertion"]
    header, payload = peer_reads_jwt(made, bytes.fromhex(loaded["public_key"]))
    assert header == {"alg": "EdDSA", "typ": "JWT"}
    seconds = signed["issued_at_ms"] // 1000
    assert payload == {"iss": "lock-1", "sub": "lock-1", "org": "acme", "aud": "nexkey-device", "iat": seconds, "exp": seconds + 60}


@pytest.mark.parametrize("name", ["command", "time"])
def test_peer_accepts_what_locks_accept(name: str) -> None:
    loaded = document(name)
    public_key = bytes.fromhex(loaded["public_key"])
    steps = [step for case in loaded["cases"] for step in case["steps"] if step["code"] is None and "message" in step]
    assert len(steps) > 10
    for step in steps:
        header, claims = peer_reads_cose(bytes.fromhex(step["message"]), public_key)
        content_type = TIME_TYPE if step["do"] == "accept_time" else COMMAND_TYPE
        assert header == {1: -8, 3: content_type, 4: loaded["key_id"].encode()}
        assert (claims[1], claims[3]) == ("acme", "lock-1")
        if step["do"] != "accept_time":
            command = step["command"]
            assert claims == {
                1: "acme",
                3: "lock-1",
                4: seconds_of(command["expires_at_ms"]),
                6: seconds_of(command["issued_at_ms"]),
                7: str(command["id"]).encode(),
                -70001: command["action"],
                -70002: command["door"],
            }


def seconds_of(at_ms: object) -> float:
    assert isinstance(at_ms, int)
    return at_ms / 1000


@pytest.mark.parametrize("case", accepted("report"))
def test_peer_accepts_a_report(case: Case) -> None:
    header, claims = peer_reads_cose(bytes.fromhex(case["message"]), bytes.fromhex(document("report")["public_key"]))
    report = case["report"]
    assert header == {1: -8, 3: REPORT_TYPE}
    expected: dict[int, object] = {1: report["lock"], 6: seconds_of(report["at_ms"]), -70003: report["number"], -70004: report["kind"]}
    expected |= {-70005: report["command"], -70006: report["result"], -70007: report["reason"]}
    assert claims == {label: value for label, value in expected.items() if value is not None}


def test_peer_refuses_the_wrong_signatures() -> None:
    """So that an accepting peer means something: the vectors whose signature is wrong are refused by it as well."""
    public_key = bytes.fromhex(document("report")["public_key"])
    wrong = [case for case in document("report")["cases"] if case["code"] == "report_signature"]
    assert len(wrong) >= 8
    for case in wrong:
        with pytest.raises(InvalidSignature):
            peer_reads_cose(bytes.fromhex(case["message"]), public_key)


@pytest.mark.parametrize("case", accepted("sealed"))
def test_peer_opens_a_sealed_key(case: Case) -> None:
    bound = bytes.fromhex(document("sealed")["context"])
    for part in (case["purpose"], case["organization"], case["key_id"]):
        bound += len(part).to_bytes(8, "big") + part.encode()
    sealed = bytes.fromhex(case["sealed"])
    seed = AESGCM(bytes.fromhex(case["master_key"])).decrypt(sealed[:12], sealed[12:], bound)
    assert seed == bytes.fromhex(document("sealed")["seed"])


# --- a signature that only a strict verifier refuses ---------------------------------------------

ORDER = 2**252 + 27742317777372353535851937790883648493


def small_order_signature(content: bytes, seed: str) -> bytes:
    """Signed by the right key with the identity as commitment: S = H(R, A, M) a. A verifier by RFC 8032 takes it, a strict one doesn't."""
    public_key = peer_key(seed).public_key().public_bytes_raw()
    digest = hashlib.sha512(bytes.fromhex(seed)).digest()
    secret = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    commitment = (1).to_bytes(32, "little")
    challenge = int.from_bytes(hashlib.sha512(commitment + public_key + content).digest(), "little")
    signature = commitment + (challenge * secret % ORDER).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(public_key).verify(signature, content)  # a lenient verifier takes it
    return signature


def test_a_token_with_a_small_order_commitment_is_refused() -> None:
    case = document("access_token")["cases"][0]
    signed = case["token"].rpartition(".")[0]
    signature = small_order_signature(signed.encode(), document("access_token")["key"]["seed"])
    with pytest.raises(TokenError) as refused:
        access_ring().verify_access_token(f"{signed}.{encoded(signature)}", case["audience"], case["now_ms"])
    assert refused.value.code == "token_signature"


def test_a_report_with_a_small_order_commitment_is_refused() -> None:
    loaded = document("report")
    protected, unprotected, payload, _ = cbor2.loads(bytes.fromhex(loaded["cases"][0]["message"])).value
    signature = small_order_signature(cbor2.dumps(["Signature1", protected, b"", payload]), loaded["seed"])
    message = cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, payload, signature]))
    with pytest.raises(ReportError) as refused:
        verify_report(bytes.fromhex(loaded["public_key"]), message, "lock-1")
    assert refused.value.code == "report_signature"


# --- what the peer builds ----------------------------------------------------------------------

NOW_MS = 1_795_420_800_000
NONCE = bytes(range(16))


def told_lock() -> LockVerifier:
    """A lock that a peer told the time, `NOW_MS` at tick 0."""
    lock = command_lock()
    lock.begin_time(NONCE, 0)
    header: dict[int, object] = {1: -8, 3: TIME_TYPE, 4: b"acme.1"}
    claims: dict[int, object] = {1: "acme", 3: "lock-1", 6: NOW_MS / 1000, 10: NONCE}
    assert lock.accept_time(peer_signs_cose(header, claims, peer_key(document("time")["seed"])), 0) == 2
    return lock


PEER_HEADER: dict[int, object] = {1: -8, 3: COMMAND_TYPE, 4: b"acme.1"}
PEER_CLAIMS: dict[int, object] = {
    1: "acme",
    3: "lock-1",
    4: (NOW_MS + 4_001) / 1000,
    6: (NOW_MS + 1) / 1000,
    7: b"log:000000000001:000",
    -70001: "unlock",
    -70002: "front",
}


def test_a_lock_obeys_a_command_that_a_peer_built() -> None:
    message = peer_signs_cose(PEER_HEADER, PEER_CLAIMS, peer_key(document("command")["seed"]))
    command = told_lock().verify(message, 10)
    assert (command.id, command.door, command.action, command.issued_at_ms) == ("log:000000000001:000", "front", "unlock", NOW_MS + 1)


@pytest.mark.parametrize(
    ("header", "claims", "code"),
    [
        ({1: -7}, {}, "command_algorithm"),
        ({3: TIME_TYPE}, {}, "command_malformed"),
        ({4: b"acme.9"}, {}, "command_key_unknown"),
        ({}, {3: "lock-2"}, "command_wrong_lock"),
        ({}, {1: "umbrella"}, "command_wrong_lock"),
        ({}, {-70001: "lock"}, "command_action_unknown"),
        ({}, {6: (NOW_MS - 1) / 1000}, "command_before_start"),
        ({}, {4: (NOW_MS + 10) / 1000}, "command_expired"),
        ({}, {4: (NOW_MS + 5_002) / 1000}, "command_lifetime"),
        ({}, {6: (NOW_MS + 14) / 1000}, "command_not_yet_valid"),
        ({}, {4: 1_795_420_804}, "command_malformed"),
        ({}, {4: True}, "command_malformed"),
        ({}, {8: {1: 2}}, "command_malformed"),
    ],
)
def test_a_lock_refuses_what_a_peer_built_wrong(header: dict[int, object], claims: dict[int, object], code: str) -> None:
    message = peer_signs_cose(PEER_HEADER | header, PEER_CLAIMS | claims, peer_key(document("command")["seed"]))
    with pytest.raises(LockRefusal) as refused:
        told_lock().verify(message, 10)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("header", "payload", "code"),
    [
        ({}, {}, None),
        ({"alg": "none"}, {}, "token_algorithm"),
        ({"kid": "a2"}, {}, "token_key_unknown"),
        ({"x5u": "somewhere"}, {}, "token_malformed"),
        ({}, {"exp": NOW_MS // 1000 + 301}, "token_malformed"),
        ({}, {"iss": "somebody"}, "token_issuer"),
        ({}, {"aud": "gateway"}, "token_audience"),
        ({}, {"iat": NOW_MS // 1000 - 100, "iat_ms": NOW_MS - 100_000, "exp": NOW_MS // 1000}, "token_expired"),
    ],
)
def test_tokens_that_a_peer_built(header: dict[str, object], payload: dict[str, object], code: str | None) -> None:
    seconds = NOW_MS // 1000
    claims: dict[str, object] = {"iss": "nexkey", "aud": "api", "org": "acme", "sub": "ada", "knd": "person", "sid": "s1"}
    claims |= {"iat": seconds, "exp": seconds + 300, "iat_ms": NOW_MS}
    key = peer_key(document("access_token")["key"]["seed"])
    token = peer_signs_jwt({"alg": "EdDSA", "kid": "a1", "typ": "JWT"} | header, claims | payload, key)
    if code is None:
        assert access_ring().verify_access_token(token, "api", NOW_MS).subject == "ada"
    else:
        with pytest.raises(TokenError) as refused:
            access_ring().verify_access_token(token, "api", NOW_MS)
        assert refused.value.code == code
