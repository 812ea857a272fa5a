"""Types of the compiled core. Hand-written; stubtest holds it against the extension.

All times are integers in milliseconds since the Unix epoch and are named `*_ms`.
The core reads no clock: `now_ms` is always an argument.
"""

from collections.abc import Sequence
from typing import Final, final

__version__: Final[str]
__build_profile__: Final[str]  # "release" or "debug"

# --- errors (core_rs/src/errors.rs is the only map) ---------------------------------------

class CoreError(Exception):
    """Root of everything the core raises. `code` is stable and part of the API."""

    code: str

class TokenError(CoreError):
    """Codes: token_malformed, token_algorithm, token_key_unknown, token_signature, token_expired,
    token_not_yet_valid, token_audience, token_issuer, token_too_long."""

class DeviceAssertionError(TokenError):
    """A device assertion that was refused; same codes."""

class KeyRingError(CoreError):
    """Codes: key_unknown, key_sealed_wrongly, key_purpose, key_id_invalid, key_exists, keys_too_many, key_seed_invalid, master_key_invalid,
    claims_invalid, content_too_long, randomness_missing."""

class SnapshotError(CoreError):
    """Codes: snapshot_malformed, change_malformed, revision_gap, revision_old, organization_unknown, records_malformed."""

class LockRefusal(CoreError):
    """Why the lock-side verifier refused. Codes: command_malformed, command_algorithm, command_key_unknown,
    command_signature, command_wrong_lock, command_expired, command_not_yet_valid, command_before_start,
    command_replayed, command_action_unknown, command_lifetime, memory_full, clock_unsure, time_malformed, time_nonce, time_signature,
    time_backwards; lock_configuration from the constructor."""

class ReportError(CoreError):
    """Codes: report_malformed, report_signature, report_algorithm, report_wrong_lock."""

class GatewayError(CoreError):
    """Codes: gateway_config, gateway_bind, gateway_failed."""

# --- permissions --------------------------------------------------------------------------

@final
class Decision:
    """Outcome of one check. `reason` is "granted" or one of the refusal reasons of docs/protocols/documents.md."""

    @property
    def allowed(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def rule(self) -> str | None: ...  # id of the grant, schedule, lockdown holder that settled it
    @property
    def revision(self) -> int: ...
    @property
    def stateful(self) -> bool: ...  # only what would be so far: `settle` has the last word

@final
class Settlement:
    """A decision settled with what was used and who is where; or, while `missing` is not empty, the keys to read for it."""

    @property
    def missing(self) -> list[str]: ...
    @property
    def allowed(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def rule(self) -> str | None: ...
    @property
    def taken(self) -> bytes | None: ...  # JSON: what a grant took (documents.md, `taken`)
    @property
    def records(self) -> bytes: ...  # JSON: records to write, by key

def give_back(person: str, door: str, at_ms: int, taken: bytes, records: bytes) -> Settlement:
    """Undo what the grant of `at_ms` took, because the door did not open. Raises SnapshotError(records_malformed)."""

@final
class DoorRecord:
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def area(self) -> str | None: ...
    @property
    def lock(self) -> str | None: ...

@final
class Standing:
    """How a door stands at a moment. `open_by`: why its bolt is to be held back, the schedule by which its mode is `unlocked`, or the door
    when that is its own mode; None in a lockdown, and where persons are counted. `may_open`: it may come to that by its modes."""

    @property
    def open_by(self) -> str | None: ...
    @property
    def may_open(self) -> bool: ...
    @property
    def revision(self) -> int: ...

@final
class DeviceRecord:
    @property
    def id(self) -> str: ...
    @property
    def door(self) -> str | None: ...
    @property
    def active(self) -> bool: ...
    @property
    def public_key(self) -> bytes: ...  # Ed25519, 32 bytes

@final
class SnapshotLoad:
    """A snapshot on its way into an index (`PermissionIndex.begin_load`). Nobody sees it before `finish`. Safe to call from any thread."""

    def add(self, kind: str, documents: bytes) -> int:
        """Takes stored documents of one kind, concatenated as BSON (what `find_raw_batches` yields), and says how many of them have not
        ended. At most 48 MiB at once. Decodes with the interpreter released.
        Raises SnapshotError(snapshot_malformed), also for a document of another organization; then the load is lost."""
    def finish(self) -> None:
        """Replaces the organization by what was added, once. Raises SnapshotError: snapshot_malformed when an `add` was refused (or after
        a `finish`), revision_old when what is in memory is newer; nothing is changed then."""

@final
class PermissionIndex:
    """The permissions of many organizations, in memory. Safe to share between threads; readers never wait for a writer."""

    def __new__(cls) -> PermissionIndex: ...
    @property
    def tzdata_version(self) -> str: ...
    def load(self, organization: str, revision: int, images: bytes) -> None:
        """Replace an organization by a snapshot: JSON array of images (docs/protocols/documents.md), as of `revision`.
        Images that are superseded by records applied later are the caller's business. Raises SnapshotError."""
    def begin_load(self, organization: str, revision: int) -> SnapshotLoad:
        """Begins what `load` does at once, from documents as they stand in the store, in parts.
        Raises SnapshotError(snapshot_malformed) for a negative revision."""
    def apply(self, organization: str, revision: int, images: bytes) -> bool:
        """Apply change record `revision`. True when applied, False when it was already in. Releases the interpreter; readers are answered
        by the revision before until all of it is in.
        Raises SnapshotError(revision_gap) when records between are missing (nothing is changed then)."""
    def validate(self, organization: str, images: bytes) -> None:
        """Raises SnapshotError(change_malformed) for images that `apply` would refuse. Asked before they are written for good."""
    def preview(
        self, organization: str, revision: int, images: bytes, now_ms: int, sites: Sequence[str] | None, limit: int, pairs_max: int
    ) -> tuple[list[tuple[str, str, Decision, Decision]], list[tuple[str, str, Decision, Decision]], int, int, bool]:
        """Who would gain a door, and who would lose one, by these images (as of `revision`, at `now_ms`, at doors of `sites` or of all).

        (gained, lost, how many gain, how many lose, complete): the lists hold (person, door, decision before, decision after), the first
        `limit` by person and door. Not complete when there were more than `pairs_max` pairs to ask about (1,000,000 at most). Nothing is
        changed. Takes up to seconds with the interpreter released: not for the event loop's thread.
        Raises SnapshotError(revision_old, revision_gap) when memory isn't at `revision`, organization_unknown, change_malformed."""
    def knows_time_zone(self, name: str) -> bool:
        """Whether the compiled tz database has a zone of exactly this name."""
    def drop(self, organization: str) -> None:
        """Forget an organization: every check in it is refused with `stores_unavailable` until it is loaded again."""
    def revision(self, organization: str) -> int:
        """Revision in memory, or -1 when the organization is not loaded."""
    def check(self, organization: str, person: str, door: str, now_ms: int) -> Decision: ...
    def settle(
        self, organization: str, person: str, door: str, decision: Decision, pin: bool | None, now_ms: int, records: bytes,
        issued_at_ms: int, session: str,
    ) -> Settlement:  # fmt: skip
        """Settle a `stateful` decision of the same person, door and moment (single use, anti-passback, occupancy, two persons,
        first person in, PIN). `records`: JSON, by key; `{}` for one that isn't in the store. `pin`: whether it is right; None: none given.
        `issued_at_ms`, `session`: of the token that was shown, as in `authenticate`. Raises SnapshotError(records_malformed)."""
    def pin(self, organization: str, person: str) -> bytes | None:
        """The keyed hash of a person's PIN, 32 bytes; None when there is none."""
    def authenticate(self, organization: str, subject: str, at_ms: int, session: str) -> str | None:
        """None when what `subject` shows stands; else the reason code.

        A person shows a token of `session` that was issued at `at_ms`: `token_revoked`, `person_suspended`, `person_unknown`. An API key
        (`api_key:<id>`) shows its secret at that moment, `session` is the secret's SHA-256 in hexadecimal: `api_key_unknown`,
        `api_key_inactive`, `api_key_expired`. Both: `organization_suspended`, `stores_unavailable`."""
    def check_role(self, organization: str, subject: str, permission: str, site: str | None, now_ms: int) -> Decision:
        """May `subject`, a person or an API key, do `permission` (e.g. "grants.write") at `site` (None: for the whole organization) now?
        Whoever is suspended, or not valid now, has no roles."""
    def reach(self, organization: str, subject: str, permission: str, now_ms: int) -> tuple[Decision, list[str] | None]:
        """Where `subject` may do `permission` now: the decision as if any one site would do, and the sites, sorted; None is everywhere."""
    def explain(self, organization: str, person: str, door: str, now_ms: int) -> bytes:
        """JSON, as `Explanation` of access/messages.py. Of memory alone: `state` says whether the store has the last word."""
    def explain_now(
        self, organization: str, person: str, door: str, pin: bool | None, now_ms: int, records: bytes
    ) -> tuple[bytes | None, list[str]]:
        """The same with what the store knows, and the same answer as `check` and `settle` come to: `pin` and `records` as in `settle`.
        Or None and the keys of records to read for it. Raises SnapshotError(records_malformed)."""
    def doors_of(
        self, organization: str, person: str, now_ms: int, after: str, sites: Sequence[str] | None, limit: int
    ) -> list[tuple[DoorRecord, Decision]]:
        """Doors on which the person holds any allow rule, with the decision at that moment: by id, from after `after`, at one of `sites`
        (None: at any), `limit` at most."""
    def doors_open_to(
        self, organization: str, person: str, now_ms: int, after: str, sites: Sequence[str] | None, limit: int
    ) -> list[tuple[DoorRecord, Decision]]:
        """The same with the doors whose mode is `unlocked` at that moment, if that lets this person in. Looks at every door."""
    def persons_at(self, organization: str, door: str, now_ms: int, after: str, limit: int) -> list[tuple[str, Decision]]:
        """Persons who may pass the door at that moment, by id, from after `after`. Looks at everybody, with the interpreter released."""
    def door(self, organization: str, door: str) -> DoorRecord | None: ...
    def standing(self, organization: str, door: str, now_ms: int) -> Standing | None:
        """How the door stands at that moment; None: there is no such door."""
    def locks_with_mode_unlocked(self, organization: str) -> list[str]:
        """The locks of all doors one of whose modes is `unlocked`. Looks at every door, with the interpreter released."""
    def device(self, organization: str, device: str) -> DeviceRecord | None: ...

def roles() -> list[tuple[str, list[str]]]:
    """Every role with the permissions that it includes, the mightiest first; permissions in the order of their names."""

# --- keys and tokens ----------------------------------------------------------------------

@final
class Claims:
    @property
    def organization(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def kind(self) -> str: ...  # "person" or "lock"
    @property
    def session(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def issued_at_ms(self) -> int: ...
    @property
    def expires_at_ms(self) -> int: ...
    @property
    def topics(self) -> list[str]: ...

@final
class Report:
    """What a lock signed."""

    @property
    def lock(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def kind(self) -> str: ...  # "outcome" or "door"
    @property
    def command(self) -> str | None: ...  # event id of the command it answers
    @property
    def result(self) -> str: ...  # outcome: "done", "refused", "expired"; door: a BACnet door state
    @property
    def reason(self) -> str | None: ...
    @property
    def at_ms(self) -> int: ...

@final
class KeyRing:
    """Signing keys by purpose and `kid`. Private halves never leave the core and are zeroed on drop.

    Purposes: "access" (token keys, organization ""), "command" (one per organization).
    """

    def __new__(cls, master_key: bytes) -> KeyRing: ...  # 32 bytes; AES-256-GCM
    def generate(self, purpose: str, organization: str, key_id: str) -> bytes:
        """Make a key, keep it (not yet active), and return it sealed for storage.

        Sealed: nonce + ciphertext; purpose, organization and kid are bound as AAD.
        `key_id` is `[A-Za-z0-9_.-]{1,80}`, that of a command key `<organization>.<n>`. Raises KeyRingError."""
    def load(self, purpose: str, organization: str, key_id: str, sealed: bytes) -> None: ...
    def activate(self, purpose: str, organization: str, key_id: str) -> None:
        """Sign with this key from now on; older keys still verify until retired."""
    def retire(self, purpose: str, organization: str, key_id: str) -> None: ...
    def public_key(self, purpose: str, organization: str, key_id: str) -> bytes: ...
    def active_key_id(self, purpose: str, organization: str) -> str | None: ...
    def jwks(self) -> bytes:
        """JSON Web Key Set (RFC 7517, RFC 8037) of the access keys."""
    def sign_access_token(
        self,
        audience: str,
        organization: str,
        subject: str,
        kind: str,
        session: str,
        topics: Sequence[str],
        issued_at_ms: int,
        expires_at_ms: int,
        revision: int = 0,
    ) -> str:
        """A JWT. Only with audience "gateway": `topics`, and the organization's `revision` that it was decided on. Raises KeyRingError."""
    def verify_access_token(self, token: str, audience: str, now_ms: int) -> Claims:
        """Raises TokenError. Verified tokens are cached by keyed hash; expiry and the key's standing are checked on every hit."""
    def sign_command(
        self, organization: str, lock: str, door: str, action: str, command_id: str, issued_at_ms: int, expires_at_ms: int
    ) -> bytes:
        """COSE_Sign1 (RFC 9052) over a CWT (RFC 8392). Raises KeyRingError."""
    def sign_time(self, organization: str, lock: str, nonce: bytes, now_ms: int) -> bytes: ...
    def seal(self, purpose: str, organization: str, name: str, content: bytes) -> bytes:
        """Seal content of at most 1 MiB for storage: XAES-256-GCM (c2sp.org/XAES-256-GCM) under the master key, a random nonce of 24 bytes
        in front; purpose, organization and name are bound as AAD. Any number of contents may be sealed. Raises KeyRingError."""
    def open(self, purpose: str, organization: str, name: str, sealed: bytes) -> bytes:
        """What was sealed under exactly these names. Raises KeyRingError(key_sealed_wrongly)."""

def check_device_key(public_key: bytes) -> None:
    """Whether a device can ever prove itself with it: 32 bytes, a point in its one encoding, not of small order.

    Raises DeviceAssertionError."""

def verify_device_assertion(public_key: bytes, assertion: str, organization: str, device: str, now_ms: int) -> None:
    """A device proves itself: JWT, EdDSA, `iss` and `sub` the device, `org`, aud "nexkey-device", at most 60 s long.

    Raises DeviceAssertionError."""

def verify_report(public_key: bytes, report: bytes, lock: str) -> Report:
    """Raises ReportError."""

# --- what runs at the door ------------------------------------------------------------------

@final
class DoorCommand:
    @property
    def id(self) -> str: ...
    @property
    def door(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def issued_at_ms(self) -> int: ...
    @property
    def expires_at_ms(self) -> int: ...

@final
class LockVerifier:
    """The verifier that firmware embeds (crate `nexkey-lock`), with one pinned organization key. `monotonic_ms` is the lock's own tick."""

    def __new__(cls, organization: str, lock: str, key_id: str, public_key: bytes, memory_commands_max: int) -> LockVerifier: ...
    def begin_time(self, nonce: bytes, monotonic_ms: int) -> None:
        """Ask with a fresh random nonce of 16 to 32 bytes; only the latest can be answered, once.

        Raises LockRefusal(time_nonce, clock_unsure)."""
    def accept_time(self, message: bytes, monotonic_ms: int) -> int:
        """Uncertainty in ms after this answer. Raises LockRefusal(time_*)."""
    def now_ms(self, monotonic_ms: int) -> int:
        """The earliest that it can be. Raises LockRefusal(clock_unsure) before the first answer."""
    def uncertainty_ms(self, monotonic_ms: int) -> int:
        """How much later than `now_ms` it may be. Raises LockRefusal(clock_unsure) before the first answer."""
    def verify(self, command: bytes, monotonic_ms: int) -> DoorCommand:
        """A command to let somebody in. Raises LockRefusal. Its id is remembered before it is returned, until it expires."""
    def take_lease(self, lease: bytes, monotonic_ms: int) -> DoorCommand:
        """A lease that was asked for, to keep the bolt back while `holds` says so; its id is that of the hold. Raises LockRefusal."""
    def holds(self, monotonic_ms: int) -> bool:
        """Whether the bolt is to be kept back at this tick, by the latest hold."""
    def release_hold(self) -> None:
        """End the hold now: no lease of it begins it again."""

@final
class DeviceKey:
    """A device's own key: signs its assertions and its reports."""

    @staticmethod
    def generate() -> DeviceKey: ...
    @staticmethod
    def from_seed(seed: bytes) -> DeviceKey: ...
    def seed(self) -> bytes: ...
    @property
    def public_key(self) -> bytes: ...
    def sign_assertion(self, organization: str, device: str, issued_at_ms: int, expires_at_ms: int) -> str: ...
    def sign_report(self, lock: str, number: int, kind: str, command: str | None, result: str, reason: str | None, at_ms: int) -> bytes: ...

# --- gateway --------------------------------------------------------------------------------

def run_gateway(config: bytes) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `config` is JSON (docs/protocols/realtime.md). The interpreter is released once, for good.
    Raises GatewayError."""
