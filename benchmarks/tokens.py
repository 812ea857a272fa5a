"""Sign and verify from Python: microseconds, the ratio to the crate's own benchmark in the same run, and a peer built on `cryptography`.

The crate's benchmark (`cargo bench -p nexkey-tokens`) is run first. Both sides are told by their best round, which a busy machine disturbs
least. Every operation from Python may take 1.5 times as long as in the crate. Each answer is checked before it is timed.
`--quick` measures for a shorter time.
"""

import argparse
import base64
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from py_service import _core_rs
from py_service._core_rs import DeviceKey, KeyRing, LockVerifier, verify_report

ROOT = Path(__file__).resolve().parent.parent
NOW_MS = 1_795_420_800_000
RATIO_MAX = 1.5
CALLS = 200  # of one round
NONCE = bytes(16)

Operation = Callable[[], object]


def crate_microseconds(quick: bool) -> dict[str, float]:
    """Best sample of every operation in the crate's own benchmark."""
    seconds = ("0.5", "1") if quick else ("1", "3")
    command = ["cargo", "bench", "-q", "-p", "nexkey-tokens", "--bench", "tokens", "--"]
    command += ["--warm-up-time", seconds[0], "--measurement-time", seconds[1], "--noplot"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    described = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True, capture_output=True)
    results = Path(json.loads(described.stdout)["target_directory"]) / "criterion"
    found: dict[str, float] = {}
    for sample in results.glob("*/new/sample.json"):
        content = json.loads(sample.read_text(encoding="utf-8"))
        title = json.loads(sample.with_name("benchmark.json").read_text(encoding="utf-8"))["title"]
        found[title] = min(spent / calls for spent, calls in zip(content["times"], content["iters"], strict=True)) / 1_000
    return found


def best_microseconds(rounds: Iterable[Iterable[Operation]]) -> float:
    """Mean of one call in the best of the rounds."""
    best = float("inf")
    for operations in rounds:
        calls = list(operations)
        began = time.perf_counter_ns()
        for call in calls:
            call()
        best = min(best, (time.perf_counter_ns() - began) / len(calls))
    return best / 1_000


class Bench:
    """The operations, each checked once."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.ring = KeyRing(bytes(32))
        self.ring.generate("access", "", "access.1")
        self.ring.activate("access", "", "access.1")
        self.ring.generate("command", "acme", "acme.1")
        self.ring.activate("command", "acme", "acme.1")
        self.device = DeviceKey.generate()
        self.session = 0

    def sign(self) -> str:
        self.session += 1
        session = f"session-{self.session:016}"
        return self.ring.sign_access_token("api", "acme", "person-000042", "person", session, (), NOW_MS, NOW_MS + 300_000)

    def verify(self, token: str) -> str:
        return self.ring.verify_access_token(token, "api", NOW_MS).subject

    def lock(self) -> LockVerifier:
        lock = LockVerifier("acme", "lock-1", "acme.1", self.ring.public_key("command", "acme", "acme.1"), CALLS)
        lock.begin_time(NONCE, 0)
        lock.accept_time(self.ring.sign_time("acme", "lock-1", NONCE, NOW_MS), 0)
        return lock

    def command(self, number: int) -> bytes:
        return self.ring.sign_command("acme", "lock-1", "front", "unlock", f"log-1:000000000007:{number:03}", NOW_MS + 1, NOW_MS + 5_001)

    def report(self) -> bytes:
        return self.device.sign_report("lock-1", 41, "outcome", "log-1:000000000007:003", "done", None, NOW_MS)

    def check(self) -> None:
        """Right answers first."""
        assert self.verify(self.sign()) == "person-000042"
        assert self.lock().verify(self.command(3), 10).id == "log-1:000000000007:003"
        assert verify_report(self.device.public_key, self.report(), "lock-1").number == 41

    def repeated(self, operation: Operation) -> float:
        return best_microseconds([operation] * CALLS for _ in range(self.rounds))

    def measure(self) -> dict[str, float]:
        verify, now = self.ring.verify_access_token, NOW_MS
        token = self.sign()
        self.verify(token)
        report, public_key = self.report(), self.device.public_key
        fresh = ([_verification(verify, self.sign()) for _ in range(CALLS)] for _ in range(self.rounds))
        commands = [self.command(number) for number in range(CALLS // 4)]
        return {
            "access token: sign": self.repeated(self.sign),
            "access token: verify uncached": best_microseconds(fresh),
            "access token: verify cached": cached_microseconds(verify, token, now, self.rounds),
            "command: sign": self.repeated(lambda: self.command(3)),
            "command: verify at the lock": best_microseconds(at_the_lock(self.lock(), commands) for _ in range(self.rounds)),
            "report: sign": self.repeated(self.report),
            "report: verify": self.repeated(lambda: verify_report(public_key, report, "lock-1")),
        }


def _verification(verify: Callable[[str, str, int], object], token: str) -> Operation:
    return lambda: verify(token, "api", NOW_MS)


def at_the_lock(lock: LockVerifier, commands: list[bytes]) -> list[Operation]:
    """Each command once; a lock refuses it the second time."""

    def one(message: bytes) -> Operation:
        return lambda: lock.verify(message, 10)

    return [one(message) for message in commands]


def cached_microseconds(verify: Callable[[str, str, int], object], token: str, now_ms: int, rounds: int) -> float:
    """The call itself, without a lambda around it: here that would be a tenth of the figure."""
    best = float("inf")
    for _ in range(rounds * 4):
        began = time.perf_counter_ns()
        for _ in range(1_000):
            verify(token, "api", now_ms)
        best = min(best, (time.perf_counter_ns() - began) / 1_000)
    return best / 1_000


def peer_microseconds(rounds: int) -> dict[str, float]:
    """The least that a service in Python would do: `json`, base64 and Ed25519 of `cryptography`; a JWT library does more."""
    key = Ed25519PrivateKey.generate()
    public_key = key.public_key()
    claims = {"iss": "nexkey", "aud": "api", "org": "acme", "sub": "person-000042", "knd": "person", "sid": "session-0000000000000042"}
    times = {"iat": NOW_MS // 1_000, "exp": NOW_MS // 1_000 + 300, "iat_ms": NOW_MS}

    def sign() -> str:
        header = {"alg": "EdDSA", "kid": "access.1", "typ": "JWT"}
        signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims | times))
        return (signed + b"." + base64.urlsafe_b64encode(key.sign(signed)).rstrip(b"=")).decode()

    token = sign()

    def verify() -> object:
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        assert json.loads(unpadded(header))["alg"] == "EdDSA"
        public_key.verify(unpadded(signature), signed.encode())
        found = json.loads(unpadded(payload))
        assert found["aud"] == "api" and found["iat"] - 5 <= NOW_MS // 1_000 < found["exp"]
        return found["sub"]

    assert verify() == "person-000042"
    return {
        "access token: sign": best_microseconds([sign] * CALLS for _ in range(rounds)),
        "access token: verify uncached": best_microseconds([verify] * CALLS for _ in range(rounds)),
    }


def unpadded(text: str) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def main() -> int:
    """0 when every ratio is within the limit, 1 when one isn't, 2 when nothing can be measured."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="measure for a shorter time")
    quick = arguments.parse_args().quick
    if _core_rs.__build_profile__ != "release":
        print("refused: the core is a debug build")
        return 2
    rounds = 20 if quick else 100
    bench = Bench(rounds)
    bench.check()
    crate, core, peer = crate_microseconds(quick), bench.measure(), peer_microseconds(rounds)
    versions = f"cryptography {metadata.version('cryptography')}"
    print(f"core {_core_rs.__version__}, Python {platform.python_version()}, {versions}")
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; best round, microseconds")
    print(f"{'operation':<32}{'Python':>9}{'crate':>9}{'ratio':>7}{'peer':>9}")
    worst = 0.0
    for name, spent in core.items():
        ratio = spent / crate[name]
        worst = max(worst, ratio)
        print(f"{name:<32}{spent:9.2f}{crate[name]:9.2f}{ratio:7.2f}{peer.get(name, float('nan')):9.2f}")
    print(f"limit: ratio {RATIO_MAX}: {'met' if worst <= RATIO_MAX else 'MISSED'}")
    return 0 if worst <= RATIO_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
