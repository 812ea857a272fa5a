"""The border of the permission index: types, reasons, errors with codes, and threads. Rules are tested in the crate and by the twin."""

import json
import re
import threading
import time
import typing

import bson
import pytest

from py_service._core_rs import (
    CoreError,
    Decision,
    DeviceAssertionError,
    PermissionIndex,
    Settlement,
    SnapshotError,
    TokenError,
    give_back,
)
from tests.boundary.project_files import read
from tests.boundary.test_problem_codes import CODE_IN_RUST, DECISION, DOCUMENTS

Image = dict[str, object]
ORGANIZATION = "acme"
ALWAYS: Image = {"valid_from": None, "valid_until": None}


def image(kind: str, identifier: str, **document: object) -> Image:
    return {"kind": kind, "id": identifier, "document": document}


def person(groups: list[str], **changed: object) -> Image:
    return image("person", "anna", **{"state": "active", "groups": groups, "roles": [], "tokens_valid_after": 0, **ALWAYS, **changed})


def grant(identifier: str, group: str) -> Image:
    return image("grant", identifier, effect="allow", group=group, door="front", schedule=None, **ALWAYS)


def tombstone(kind: str, identifier: str) -> Image:
    return {"kind": kind, "id": identifier, "document": None}


def encoded(*images: Image) -> bytes:
    return json.dumps(images).encode()


@pytest.fixture
def index() -> PermissionIndex:
    loaded = PermissionIndex()
    loaded.load(
        ORGANIZATION,
        1,
        encoded(
            image("organization", ORGANIZATION, active=True),
            image("site", "hq", time_zone="Europe/Berlin", locked_down=False),
            image("door", "front", name="Vordertür", site="hq", area=None, lock="lock-1", mode="locked", locked_down=False),
            image("device", "lock-1", door="front", public_key="_" * 42 + "8", active=True),
            image("group", "odd", includes=[]),
            image("group", "even", includes=[]),
            person(["odd"], roles=[{"role": "reception", "sites": ["hq"]}]),
            grant("grant-odd", "odd"),
        ),
    )
    return loaded


def test_a_decision_is_small_frozen_and_says_why(index: PermissionIndex) -> None:
    decision = index.check(ORGANIZATION, "anna", "front", 0)
    assert (decision.allowed, decision.reason, decision.rule, decision.revision) == (True, "granted", "grant-odd", 1)
    refused = index.check(ORGANIZATION, "anna", "back", 0)
    assert (refused.allowed, refused.reason, refused.rule, refused.revision) == (False, "door_unknown", None, 1)
    for name in ("allowed", "reason", "rule", "revision", "anything"):
        with pytest.raises(AttributeError):
            setattr(decision, name, True)
    assert "granted" in repr(decision)


def test_reasons_are_shared_strings(index: PermissionIndex) -> None:
    first, second = (index.check(ORGANIZATION, "anna", "front", now_ms).reason for now_ms in (0, 1))
    assert first is second


def test_every_refusal_of_the_first_steps_crosses_the_border_by_its_name(index: PermissionIndex) -> None:
    assert index.check("other", "anna", "front", 0).reason == "stores_unavailable"
    assert index.check("other", "anna", "front", 0).revision == -1
    assert index.check(ORGANIZATION, "ben", "front", 0).reason == "unknown_credential"
    changes: list[tuple[Image, str, str | None]] = [
        (person([]), "no_grant", None),
        (person(["odd"], valid_from=1), "not_yet_valid", None),
        (person(["odd"], valid_until=0), "expired", None),
        (person(["odd"], state="suspended"), "person_suspended", None),
        (image("site", "hq", time_zone="Europe/Berlin", locked_down=True), "site_locked_down", "hq"),
        (image("organization", ORGANIZATION, active=False), "organization_suspended", None),
    ]
    for revision, (change, reason, rule) in enumerate(changes, start=2):
        assert index.apply(ORGANIZATION, revision, encoded(change))
        decision = index.check(ORGANIZATION, "anna", "front", 0)
        assert (decision.allowed, decision.reason, decision.rule) == (False, reason, rule)


def test_the_document_names_every_reason_and_no_other() -> None:
    order = read(DOCUMENTS).partition("## Order of `check`")[2].partition("## Roles")[0]
    cells = [line.rpartition(" | ")[2] for line in order.splitlines() if line.startswith("| ")]
    told = {word for cell in cells for word in re.findall(r"`([a-z_]+)`", cell)}
    assert told | {"role_missing"} == set(CODE_IN_RUST.findall(read(DECISION)))


STATEFUL_REFUSALS: list[tuple[Image, Image, bool | None, str]] = [
    ({"mode": "card_and_pin"}, {}, None, "pin_needed"),
    ({"mode": "card_and_pin"}, {}, False, "pin_wrong"),
    ({"mode": "card_and_pin"}, {"pin.anna": {"wrong": 5, "wrong_since": 0}}, True, "rate_limited"),
    ({"enters": "vault"}, {"area.vault": {"count": 1}, "inside.vault.anna": {"entered_at": 0}}, None, "anti_passback"),
    ({"enters": "vault"}, {"area.vault": {"count": 1}}, None, "occupancy_full"),
    ({"two_persons_seconds": 30}, {}, None, "second_person_needed"),
    ({"site": "annex"}, {"pass.once": {"used": 1}}, None, "pass_used_up"),
]


@pytest.mark.parametrize(("terms", "records", "pin", "reason"), STATEFUL_REFUSALS)
def test_every_stateful_refusal_crosses_the_border_by_its_name(
    index: PermissionIndex, terms: Image, records: Image, pin: bool | None, reason: str
) -> None:
    door: Image = {"site": "hq", "area": None, "mode": "locked", "locked_down": False, **terms}
    once: Image = {"id": "once", "given_by": None, "counts": [{"pass": "once", "uses": 1}]}
    vault = image("area", "vault", site="hq", locked_down=False, anti_passback="hard", occupancy_max=1)
    used = image("grant", "used", effect="allow", person="anna", site="annex", schedule=None, **ALWAYS, **{"pass": once})
    annex = image("site", "annex", time_zone="UTC", locked_down=False)
    always = image("grant", "always", effect="allow", group="odd", site="hq", schedule=None, **ALWAYS)
    back = image("door", "back", **door)
    assert index.apply(ORGANIZATION, 2, encoded(vault, annex, used, back, always))
    decision = index.check(ORGANIZATION, "anna", "back", 1)
    assert decision.allowed and decision.stateful
    first = index.settle(ORGANIZATION, "anna", "back", decision, pin, 1, b"{}", 1, "home")
    assert first.missing and not first.allowed and first.reason == "stores_unavailable"
    known = json.dumps({key: records.get(key, {}) for key in first.missing}).encode()
    settled = index.settle(ORGANIZATION, "anna", "back", decision, pin, 1, known, 1, "home")
    assert (settled.missing, settled.allowed, settled.reason, settled.taken) == ([], False, reason, None)
    for name in Settlement.__dict__.keys() - object.__dict__.keys():
        with pytest.raises(AttributeError):
            setattr(settled, name, True)


@pytest.mark.parametrize(
    "records", [b"", b"[]", b'{"pass.x":{"used":-1}}', b'{"pass.x":{"used":4294967296}}', b'{"pass.x":7}', b"{" * 100_000]
)
def test_records_that_are_malformed_are_an_error_and_never_a_grant(index: PermissionIndex, records: bytes) -> None:
    decision = index.check(ORGANIZATION, "anna", "front", 0)
    asked: list[typing.Callable[[], Settlement]] = [
        lambda: index.settle(ORGANIZATION, "anna", "front", decision, None, 0, records, 0, "home"),
        lambda: give_back("anna", "front", 0, b"{}", records),
        lambda: give_back("anna", "front", 0, b"[" + records, b"{}"),
    ]
    for ask in asked:
        with pytest.raises(SnapshotError) as refusal:
            ask()
        assert refusal.value.code == "records_malformed"


def test_names_may_be_any_text(index: PermissionIndex) -> None:
    for name in ("", "\0", "ä" * 10_000, "anna\n", "acme:anna", "\U0001f6aa"):
        assert index.check(ORGANIZATION, name, "front", 0).reason == "unknown_credential"
        assert index.check(ORGANIZATION, "anna", name, 0).reason == "door_unknown"
        assert index.check(name, "anna", "front", 0).reason == "stores_unavailable"
    with pytest.raises(UnicodeEncodeError):
        index.check(ORGANIZATION, "\ud800", "front", 0)


def test_times_beyond_64_bits_are_errors_and_never_decisions(index: PermissionIndex) -> None:
    for now_ms in (2**63, -(2**63) - 1):
        with pytest.raises(OverflowError):
            index.check(ORGANIZATION, "anna", "front", now_ms)
    with pytest.raises(TypeError):
        index.check(ORGANIZATION, "anna", "front", typing.cast("int", 1.5))


@pytest.mark.parametrize(
    ("revision", "images", "code"),
    [
        (2, b"{", "change_malformed"),
        (2, b"\xff\xfe", "change_malformed"),
        (2, b'[{"kind":"person","id":"Anna","document":null}]', "change_malformed"),
        (2, b"[" * 100_000, "change_malformed"),
        (3, b"[]", "revision_gap"),
    ],
)
def test_errors_carry_their_code_and_change_nothing(index: PermissionIndex, revision: int, images: bytes, code: str) -> None:
    with pytest.raises(SnapshotError) as refusal:
        index.apply(ORGANIZATION, revision, images)
    assert refusal.value.code == code
    assert isinstance(refusal.value, CoreError)
    assert code in str(refusal.value)
    assert "Anna" not in str(refusal.value)
    assert index.revision(ORGANIZATION) == 1
    assert index.check(ORGANIZATION, "anna", "front", 0).allowed


def test_loads_and_changes_without_their_organization(index: PermissionIndex) -> None:
    with pytest.raises(SnapshotError) as malformed:
        index.load(ORGANIZATION, 2, b"null")
    assert malformed.value.code == "snapshot_malformed"
    with pytest.raises(SnapshotError) as old:
        index.load(ORGANIZATION, 0, b"[]")
    assert old.value.code == "revision_old"
    with pytest.raises(SnapshotError) as unknown:
        index.apply("other", 1, b"[]")
    assert unknown.value.code == "organization_unknown"
    assert not index.apply(ORGANIZATION, 1, b"[]")
    index.drop(ORGANIZATION)
    assert index.revision(ORGANIZATION) == -1
    assert index.check(ORGANIZATION, "anna", "front", 0).reason == "stores_unavailable"


def stored(*images: Image, organization: str = ORGANIZATION) -> bytes:
    """Documents as the driver hands them over."""
    return b"".join(
        bson.encode(
            {"_id": f"{organization}:{image['id']}", "org": organization, "id": image["id"], **typing.cast("Image", image["document"])}
        )
        for image in images
    )


def test_a_load_from_the_store_is_seen_when_it_is_finished(index: PermissionIndex) -> None:
    load = index.begin_load(ORGANIZATION, 4)
    assert load.add("organization", stored(image("organization", ORGANIZATION, active=True))) == 1
    assert load.add("site", stored(image("site", "hq", time_zone="Europe/Berlin", locked_down=False))) == 1
    ended = person(["even"])
    typing.cast("Image", ended["document"])["ended_at"] = bson.Int64(1)
    ben = image("person", "ben", state="active", groups=["even"], roles=[], tokens_valid_after=bson.Int64(2**40), **ALWAYS)
    assert load.add("person", stored(ended, ben)) == 1
    assert load.add("group", b"") == 0
    assert (index.revision(ORGANIZATION), index.authenticate(ORGANIZATION, "anna", 0, "s1")) == (1, None)
    load.finish()
    assert (index.revision(ORGANIZATION), index.authenticate(ORGANIZATION, "anna", 0, "s1")) == (4, "person_unknown")
    assert [index.authenticate(ORGANIZATION, "ben", at_ms, "s1") for at_ms in (2**40 - 1, 2**40)] == ["token_revoked", None]
    with pytest.raises(SnapshotError) as finished:
        load.finish()
    assert finished.value.code == "snapshot_malformed"


@pytest.mark.parametrize(
    ("kind", "documents"),
    [
        ("person", stored(person(["odd"]))[:-1]),
        ("person", stored(person(["odd"])) + b"\0"),
        ("person", stored(person(["odd"]), organization="other")),
        ("person", stored(person(["odd"], state="happy"))),
        ("person", stored(person(["odd"], valid_until=1.5))),
        ("person", bson.encode({"id": "anna"})),
        ("castle", stored(person(["odd"]))),
        ("organization", stored(image("organization", "other", active=True))),
        ("floor", b"\xff" * 64),
    ],
)
def test_one_refused_document_loses_the_load_and_nothing_else(index: PermissionIndex, kind: str, documents: bytes) -> None:
    load = index.begin_load(ORGANIZATION, 2)
    load.add("organization", stored(image("organization", ORGANIZATION, active=False)))
    for attempt in (lambda: load.add(kind, documents), lambda: load.add("person", b""), load.finish):
        with pytest.raises(SnapshotError) as refusal:
            attempt()
        assert refusal.value.code == "snapshot_malformed"
    assert index.revision(ORGANIZATION) == 1
    assert index.check(ORGANIZATION, "anna", "front", 0).allowed


def test_an_older_load_from_the_store_replaces_nothing(index: PermissionIndex) -> None:
    with pytest.raises(SnapshotError) as negative:
        index.begin_load(ORGANIZATION, -1)
    assert negative.value.code == "snapshot_malformed"
    load = index.begin_load(ORGANIZATION, 1)
    assert index.apply(ORGANIZATION, 2, b"[]")
    with pytest.raises(SnapshotError) as old:
        load.finish()
    assert (old.value.code, index.revision(ORGANIZATION)) == ("revision_old", 2)
    assert index.check(ORGANIZATION, "anna", "front", 0).allowed


def test_the_interpreter_is_free_while_a_batch_is_decoded(index: PermissionIndex) -> None:
    """Another thread asks meanwhile. Held, it would have no answer between the beginning and the end of the call."""
    batch = stored(person(["odd"])) * 100_000
    asked: list[float] = []
    finished = threading.Event()

    def ask() -> None:
        while not finished.is_set():
            asked.append(time.perf_counter())
            assert index.check(ORGANIZATION, "anna", "front", 0).allowed

    thread = threading.Thread(target=ask)
    thread.start()
    load = index.begin_load(ORGANIZATION, 2)
    began = time.perf_counter()
    assert load.add("person", batch) == 100_000
    ended = time.perf_counter()
    finished.set()
    thread.join()
    middle = [at for at in asked if began + (ended - began) / 4 < at < ended - (ended - began) / 4]
    assert len(middle) > 10


def test_records_roles_and_tokens(index: PermissionIndex) -> None:
    door = index.door(ORGANIZATION, "front")
    assert door is not None
    assert (door.id, door.name, door.site, door.area, door.lock) == ("front", "Vordertür", "hq", None, "lock-1")
    device = index.device(ORGANIZATION, "lock-1")
    assert device is not None
    assert (device.id, device.door, device.active, device.public_key) == ("lock-1", "front", True, b"\xff" * 32)
    assert index.door(ORGANIZATION, "back") is None
    assert index.device("other", "lock-1") is None
    assert index.check_role(ORGANIZATION, "anna", "grants.write", "hq", 0).allowed
    refused = index.check_role(ORGANIZATION, "anna", "grants.write", None, 0)
    assert (refused.allowed, refused.reason) == (False, "role_missing")
    assert index.authenticate(ORGANIZATION, "anna", 0, "s1") is None
    assert index.authenticate(ORGANIZATION, "ben", 0, "s1") == "person_unknown"


def test_doors_of_is_limited(index: PermissionIndex) -> None:
    [(door, decision)] = index.doors_of(ORGANIZATION, "anna", 0, "", None, 10)
    assert door.id == "front"
    assert isinstance(decision, Decision)
    assert decision.allowed
    identifier, site = door.id, door.site
    assert [len(index.doors_of(ORGANIZATION, "anna", 0, after, None, 10)) for after in ("", identifier[:-1], identifier)] == [1, 1, 0]
    assert [len(index.doors_of(ORGANIZATION, "anna", 0, "", sites, 10)) for sites in ([], ["elsewhere"], ["elsewhere", site])] == [0, 0, 1]
    assert index.doors_of(ORGANIZATION, "anna", 0, "", None, 0) == []
    with pytest.raises(OverflowError):
        index.doors_of(ORGANIZATION, "anna", 0, "", None, -1)


def test_explain_tells_the_steps_and_the_local_time(index: PermissionIndex) -> None:
    told = json.loads(index.explain(ORGANIZATION, "anna", "front", 1_792_888_200_000))
    assert told.keys() == {
        "allowed",
        "reason",
        "rule",
        "revision",
        "local_time",
        "steps",
        "rules",
        "rules_left_out",
        "state",
        "stateful_rules",
    }
    assert (told["state"], told["stateful_rules"]) == ("none", [])
    assert told["local_time"] == "2026-10-25T02:30:00+02:00[Europe/Berlin]"
    assert [step.keys() for step in told["steps"]] == [{"step", "passed", "detail"}] * len(told["steps"])
    assert [step["step"] for step in told["steps"]] == [
        "organization_loaded",
        "organization_active",
        "person_known",
        "door_known",
        "lockdown",
        "person_active",
        "person_valid",
        "door_mode",
        "deny_rules",
        "allow_rules",
        "grant_valid",
        "schedule_open",
    ]
    assert [rule.keys() for rule in told["rules"]] == [{"grant", "effect", "schedule", "verdict"}] * len(told["rules"])
    assert told["rule"] in [rule["grant"] for rule in told["rules"] if rule["verdict"] == "holds"] and told["rules_left_out"] == 0
    absent = json.loads(index.explain("other", "anna", "front", 0))
    assert (absent["rules"], absent["rules_left_out"]) == ([], 0)
    assert (absent["allowed"], absent["reason"], absent["revision"], absent["local_time"]) == (False, "stores_unavailable", -1, None)
    assert absent["steps"] == [{"step": "organization_loaded", "passed": False, "detail": ""}]


def test_exceptions_form_the_tree_of_the_stub() -> None:
    assert issubclass(DeviceAssertionError, TokenError)
    assert issubclass(TokenError, CoreError)
    assert CoreError.__module__ == "py_service._core_rs"


def test_readers_see_whole_revisions_while_a_writer_applies(index: PermissionIndex) -> None:
    """Each record moves Anna to the other group and the grant with her: between the two she would be refused."""
    revisions = 600
    wrong: list[tuple[str, str | None, int]] = []
    answers = 0
    finished = threading.Event()

    def read() -> None:
        nonlocal answers
        while not finished.is_set():
            decision = index.check(ORGANIZATION, "anna", "front", 0)
            if decision.rule != ("grant-odd" if decision.revision % 2 else "grant-even"):
                wrong.append((decision.reason, decision.rule, decision.revision))
            answers += 1

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for revision in range(2, revisions + 1):
        now, before = ("odd", "even") if revision % 2 else ("even", "odd")
        assert index.apply(
            ORGANIZATION, revision, encoded(tombstone("grant", f"grant-{before}"), person([now]), grant(f"grant-{now}", now))
        )
    finished.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert answers > 0
    assert index.revision(ORGANIZATION) == revisions
