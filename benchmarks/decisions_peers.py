"""The same decisions by Casbin and by Cedar: 10,000 persons, 1,000 doors, 50,000 grants to groups and persons, and every answer compared.

    casbin            its RBAC model, a policy for each grant; it looks at all of them for each question
    casbin, by door   its FastEnforcer, which looks only at the policies of the door
    cedar             a policy for each grant, policies and entities parsed once
    cedar, by door    one policy; who may pass stands in an attribute of the door

No schedules, no time zones, no lockdowns: what all of them can say the same way. All are asked from Python, in one process, by identifiers
(strings). The slow ones are asked of a sample. `--quick` asks smaller samples.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import casbin  # type: ignore[import-untyped]  # it ships no types
import cedarpy
from casbin.model import FastModel, Model  # type: ignore[import-untyped]  # it ships no types

from py_service import _core_rs
from py_service._core_rs import PermissionIndex

ORGANIZATION = "acme"
NOW_MS = 1_795_608_000_000
PERSONS, DOORS, GROUPS = 10_000, 1_000, 1_000
GROUPS_PER_PERSON = 10
GROUP_GRANTS, PERSON_GRANTS = 30_000, 20_000
RATIO_MIN = 5.0  # how much faster than the fastest peer
CASBIN_MODEL = """
[request_definition]
r = sub, obj
[policy_definition]
p = sub, obj
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.obj == p.obj && g(r.sub, p.sub)
"""

Pair = tuple[str, str]
Ask = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Made:
    """Persons with their groups; grants as (group or person, door)."""

    persons: dict[str, list[str]]
    doors: list[str]
    group_grants: list[Pair]
    person_grants: list[Pair]


def make() -> Made:
    chance = random.Random(11)
    groups = [f"group-{number:04}" for number in range(GROUPS)]
    persons = {f"person-{number:05}": sorted(chance.sample(groups, GROUPS_PER_PERSON)) for number in range(PERSONS)}
    doors = [f"door-{number:04}" for number in range(DOORS)]
    names = list(persons)
    of_groups, of_persons = dict[Pair, None](), dict[Pair, None]()
    while len(of_groups) < GROUP_GRANTS:
        of_groups[chance.choice(groups), chance.choice(doors)] = None
    while len(of_persons) < PERSON_GRANTS:
        of_persons[chance.choice(names), chance.choice(doors)] = None
    return Made(persons, doors, list(of_groups), list(of_persons))


def ours(made: Made) -> Ask:
    always = {"effect": "allow", "schedule": None, "valid_from": None, "valid_until": None}
    bounds = {"state": "active", "roles": [], "tokens_valid_after": 0, "valid_from": None, "valid_until": None}
    site = {"id": "site", "time_zone": "Europe/Berlin", "locked_down": False}
    documents = [("organization", {"id": ORGANIZATION, "active": True}), ("site", site)]
    documents += [("group", {"id": f"group-{number:04}", "includes": []}) for number in range(GROUPS)]
    for door in made.doors:
        documents.append(
            ("door", {"id": door, "name": door, "site": "site", "area": None, "lock": None, "mode": "locked", "locked_down": False})
        )
    documents += [("person", {"id": person, "groups": groups, **bounds}) for person, groups in made.persons.items()]
    listed = [("group", *grant) for grant in made.group_grants] + [("person", *grant) for grant in made.person_grants]
    for number, (kind, subject, door) in enumerate(listed):
        documents.append(("grant", {"id": f"grant-{number:05}", kind: subject, "door": door, **always}))
    images = [{"kind": kind, "id": document["id"], "document": document} for kind, document in documents]
    index = PermissionIndex()
    index.load(ORGANIZATION, 0, json.dumps(images).encode())
    check = index.check
    return lambda person, door: check(ORGANIZATION, person, door, NOW_MS).allowed


def by_casbin(made: Made, enforcer: casbin.Enforcer) -> Ask:
    enforcer.enable_auto_save(False)
    enforcer.add_policies([[subject, door] for subject, door in (*made.group_grants, *made.person_grants)])
    enforcer.add_grouping_policies([[person, group] for person, groups in made.persons.items() for group in groups])
    return lambda person, door: bool(enforcer.enforce(person, door))


def with_rules(model: Model) -> Model:
    model.load_model_from_text(CASBIN_MODEL)
    return model


def _named(kind: str, identifier: str) -> dict[str, str]:
    return {"type": kind, "id": identifier}


def cedar_entities(made: Made, with_allowed: bool) -> cedarpy.Entities:
    """Persons in their groups, and doors; `with_allowed` says at each door who may pass."""
    allowed: dict[str, list[object]] = {door: [] for door in made.doors}
    for kind, grants in (("Group", made.group_grants), ("Person", made.person_grants)):
        for subject, door in grants if with_allowed else ():
            allowed[door].append({"__entity": _named(kind, subject)})
    entities: list[dict[str, object]] = [
        {"uid": _named("Group", f"group-{number:04}"), "attrs": {}, "parents": []} for number in range(GROUPS)
    ]
    for person, groups in made.persons.items():
        entities.append({"uid": _named("Person", person), "attrs": {}, "parents": [_named("Group", group) for group in groups]})
    entities += [{"uid": _named("Door", door), "attrs": {"allowed": names}, "parents": []} for door, names in allowed.items()]
    return cedarpy.Entities.from_json_str(json.dumps(entities))


def by_cedar(policies: str, entities: cedarpy.Entities) -> Ask:
    parsed = cedarpy.PolicySet.from_str(policies)

    def ask(person: str, door: str) -> bool:
        request = {"principal": f'Person::"{person}"', "action": 'Action::"pass"', "resource": f'Door::"{door}"', "context": {}}
        return cedarpy.is_authorized(request, parsed, entities).allowed

    return ask


def cedar_policies(made: Made) -> str:
    lines = [f'permit(principal in Group::"{group}", action, resource == Door::"{door}");' for group, door in made.group_grants]
    lines += [f'permit(principal == Person::"{person}", action, resource == Door::"{door}");' for person, door in made.person_grants]
    return "\n".join(lines)


def by_sets(made: Made) -> Ask:
    """What is right, computed a second way."""
    given = {*made.group_grants, *made.person_grants}
    return lambda person, door: (person, door) in given or any((group, door) in given for group in made.persons[person])


def timed_ns(ask: Ask, pairs: list[Pair], expected: list[bool]) -> float:
    """Median of a question, after the answers to all of them were compared. Raises AssertionError."""
    answers = [ask(person, door) for person, door in pairs]
    assert answers == expected[: len(pairs)], "answers differ"
    each = max(1, min(200, len(pairs) // 20))
    means = []
    for first in range(0, len(pairs), each):
        chunk = pairs[first : first + each]
        began = time.perf_counter_ns()
        for person, door in chunk:
            ask(person, door)
        means.append((time.perf_counter_ns() - began) / len(chunk))
    return statistics.median(means)


def measure(quick: bool) -> int:
    """0 when every answer was the same and ours came fast enough."""
    made = make()
    chance = random.Random(12)
    names = list(made.persons)
    pairs = [(chance.choice(names), chance.choice(made.doors)) for _ in range(100_000)]
    right = by_sets(made)
    expected = [right(person, door) for person, door in pairs]
    print(
        f"casbin {metadata.version('casbin')}, cedarpy {metadata.version('cedarpy')}, core {_core_rs.__version__}; by identifiers (strings)"
    )
    grants = len(made.group_grants) + len(made.person_grants)
    print(f"{PERSONS:,} persons, {DOORS:,} doors, {grants:,} grants; {sum(expected) / len(expected):.1%} of {len(pairs):,} pairs may pass")
    our_ns = timed_ns(ours(made), pairs, expected)
    print(f"  {'ours':<16} {our_ns:>14,.0f} ns, {len(pairs):,} answers compared")
    allowed = "permit(principal, action, resource) when { principal in resource.allowed };"
    peers: list[tuple[str, int, Callable[[], Ask]]] = [
        ("casbin", 4 if quick else 20, lambda: by_casbin(made, casbin.Enforcer(with_rules(Model())))),
        (
            "casbin, by door",
            200 if quick else 2_000,
            lambda: by_casbin(made, casbin.FastEnforcer(with_rules(FastModel([1])), cache_key_order=[1])),
        ),
        ("cedar", 20 if quick else 200, lambda: by_cedar(cedar_policies(made), cedar_entities(made, with_allowed=False))),
        ("cedar, by door", 400 if quick else 4_000, lambda: by_cedar(allowed, cedar_entities(made, with_allowed=True))),
    ]
    ratios = []
    for name, sample, prepare in peers:
        began = time.perf_counter()
        ask = prepare()
        seconds = time.perf_counter() - began
        peer_ns = timed_ns(ask, pairs[:sample], expected)
        ratios.append(peer_ns / our_ns)
        print(f"  {name:<16} {peer_ns:>14,.0f} ns, {sample:,} answers compared; {ratios[-1]:,.0f} times ours; prepared in {seconds:.1f} s")
    print(f"the fastest peer takes {min(ratios):,.1f} times as long (at least {RATIO_MIN:g})")
    return 0 if min(ratios) >= RATIO_MIN else 1


if __name__ == "__main__":
    if _core_rs.__build_profile__ != "release":
        sys.exit("refused: the core is a debug build")
    parser = argparse.ArgumentParser(description="Decisions by Casbin and Cedar beside ours.")
    parser.add_argument("--quick", action="store_true", help="smaller samples of the peers")
    sys.exit(measure(parser.parse_args().quick))
