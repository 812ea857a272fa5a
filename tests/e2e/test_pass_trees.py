"""Who sees a pass that was passed on, and who may take it: trees of passes that are made up, and everybody asked about all of each.

The oracle knows who gave and who holds what, nothing else of the service. A preview is held against what the change then does.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import pytest_asyncio

from tests.e2e.conformance import conformance_of
from tests.e2e.running import running_service
from tests.e2e.sharing import SITE, Passes, at, doors_of, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEOPLE = [f"stranger-{number}" for number in range(5)]
MANAGER, ELSEWHERE, FOREIGNER = "stranger-5", "stranger-6", "the neighbours' owner"
EVERYBODY = [*PEOPLE, MANAGER, ELSEWHERE, FOREIGNER]
TREES, NODES_MAX, DEPTH_MAX = 4, 8, 3
RECEIVERS: list[dict[str, object]] = [{"phone": "+493012345678"}, {"link": True}]
UNKNOWN = (404, "pass_unknown")
View = Literal["whole", "without its receiver", "nothing"]
Seen = Counter[str]


@dataclass(slots=True)
class Node:
    """A pass, as far as it says who sees it. `told`: what its giver was answered."""

    told: dict[str, Any]
    given_by: str | None
    parent: Node | None
    held_by: str | None = None
    ended: bool = False
    below: list[Node] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.told["id"])

    def above(self) -> Iterator[Node]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def hanging(self) -> Iterator[Node]:
        """What was passed on from it and hasn't ended, any number of times in a row."""
        for child in self.below:
            if not child.ended:
                yield child
                yield from child.hanging()

    def seen_by(self, who: str) -> View:
        if who in (self.given_by, self.held_by, MANAGER):
            return "whole"
        return "without its receiver" if any(above.given_by == who for above in self.above()) else "nothing"

    def shown_to(self, who: str) -> list[Node] | None:
        """What was passed on from it, in the order of names; None: they aren't told that it is there."""
        hanging = sorted(self.hanging(), key=lambda node: (node.told["name"], node.id))
        if who in {node.given_by for node in (self, *self.above())}:
            return hanging
        return hanging if who == self.held_by and any(node.given_by == who for node in hanging) else None


@dataclass(frozen=True, slots=True)
class Trees:
    passes: Passes
    chance: random.Random
    seen: Seen

    async def ask(self, method: str, path: str, who: str, body: object = None) -> Any:
        service = self.passes.service
        if who != FOREIGNER:
            return await self.passes.ask(method, path, who, body)
        headers = service.headers(service.neighbour.cast["owner"].id, service.neighbour.id)
        return await self.passes.http.request(method, path, json=body, headers=headers)

    async def grown(self) -> list[Node]:
        """A tree of some passes, in the order in which they were made: its first by a manager, or by somebody who may share the door."""
        terms: dict[str, Any] = {"passes_on_max": DEPTH_MAX, "doors": self.passes.doors[:1], "receiver": self.chance.choice(RECEIVERS)}
        giver = self.chance.choice([None, *PEOPLE])
        nodes = [Node(await self.passes.give(giver, **terms), giver, None)]
        size = self.chance.randint(5, NODES_MAX)
        while len(nodes) < size:
            waiting = [node for node in nodes if node.held_by is None]
            open_ = [node for node in nodes if node.held_by is not None and node.told["passes_on_max"] > 0]
            if not open_ or (waiting and self.chance.random() < 0.6):
                node = self.chance.choice(waiting)
                node.held_by = self.chance.choice([*PEOPLE, MANAGER])
                await self.passes.held(node.told, node.held_by)
                continue
            parent = self.chance.choice([*open_, *open_[-1:] * len(open_)])  # rather deep than wide
            name, receiver = self.chance.choice("abc"), self.chance.choice(RECEIVERS)
            terms = {"name": name, "receiver": receiver, "passes_on_max": parent.told["passes_on_max"] - 1}
            answer = await self.passes.ask("POST", f"/v1/passes/{parent.id}/pass-on", parent.held_by, terms)
            assert answer.status_code == 201, answer.text
            parent.below.append(Node(answer.json(), parent.held_by, parent))
            nodes.append(parent.below[-1])
        return nodes

    async def page_by_page(self, who: str, query: str) -> list[dict[str, Any]] | None:
        """A list of passes, two at a time; None where it is refused as one that isn't there."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            answer = await self.ask("GET", f"/v1/me/passes?limit=2{query}{cursor}", who)
            if answer.status_code == 404:
                assert refused(answer) == UNKNOWN
                return None
            assert answer.status_code == 200, answer.text
            items += answer.json()["items"]
            if answer.json()["next_cursor"] is None:
                return items
            cursor = f"&cursor={answer.json()['next_cursor']}"

    async def who_sees_what(self, nodes: list[Node]) -> None:
        await asyncio.gather(*(self.reads(who, node) for who in EVERYBODY for node in nodes))
        await asyncio.gather(*(self.lists(who, node) for who in EVERYBODY for node in nodes))
        known = {node.id for node in nodes}
        for who in (*PEOPLE, MANAGER, ELSEWHERE):
            own = [item for item in await self.page_by_page(who, "") or [] if item["id"] in known]
            assert {item["id"] for item in own} == {node.id for node in nodes if who in (node.given_by, node.held_by) and not node.ended}
            assert all(item["receiver"] is not None for item in own), "their own, as ever"

    async def reads(self, who: str, node: Node) -> None:
        answer = await self.ask("GET", f"/v1/passes/{node.id}", who)
        view = node.seen_by(who)
        self.seen[f"read: {view}"] += 1
        if view == "nothing":
            assert refused(answer) == UNKNOWN, (who, node.id)
            return
        assert answer.status_code == 200, answer.text
        self.shows(who, node, answer.json())

    def shows(self, who: str, node: Node, item: dict[str, Any]) -> None:
        same = ("id", "name", "doors", "valid_from", "valid_until", "uses", "given_by", "parent", "passes_on_max")
        assert {name: item[name] for name in same} == {name: node.told[name] for name in same}
        assert item["accepted_by"] == node.held_by and (item["ended_at"] is not None) == node.ended
        assert item["receiver"] == (node.told["receiver"] if node.seen_by(who) == "whole" else None), (who, node.id)

    async def lists(self, who: str, node: Node) -> None:
        items = await self.page_by_page(who, f"&pass={node.id}")
        wanted = node.shown_to(who)
        assert (items is None) == (wanted is None), (who, node.id, wanted)
        for item, lower in zip(items or [], wanted or [], strict=True):
            self.shows(who, lower, item)
        self.seen["listed" if wanted else "empty list" if wanted is not None else "no list"] += 1
        if wanted is not None and node.held_by == who:
            self.seen["listed to its holder"] += 1

    async def only_looks(self, nodes: list[Node]) -> None:
        """Whoever only gave one above sees it, so they hear that it isn't theirs to change, nor is its link; nobody else hears of it."""
        forbidden: tuple[tuple[str, str, object, str], ...] = (
            ("PATCH", "", {"name": "Mine"}, "role_missing"), ("POST", "/link", None, "role_missing"),
            ("POST", "/resend", None, "role_missing"), ("POST", "/pass-on", {"name": "On"}, "sharing_refused"),
        )  # fmt: skip
        for who, node in ((who, node) for who in EVERYBODY for node in nodes if node.seen_by(who) != "whole"):
            view = node.seen_by(who)
            for method, path, body, code in forbidden if view != "nothing" else (self.chance.choice(forbidden),):
                answer = await self.ask(method, f"/v1/passes/{node.id}{path}", who, body)
                assert refused(answer) == (UNKNOWN if view == "nothing" else (403, code)), (who, method, path, node.id)
                self.seen[f"change: {view}"] += 1

    async def cursors_cross(self, nodes: list[Node]) -> None:
        """A cursor of the one list in the other, or of another pass: nothing is shown that the list wouldn't show."""
        for who in PEOPLE:
            listed = [node for node in nodes if node.shown_to(who)]
            queries = ["", *(f"&pass={node.id}" for node in listed)]
            firsts = {query: (await self.ask("GET", f"/v1/me/passes?limit=1{query}", who)).json()["next_cursor"] for query in queries}
            for cursor in filter(None, firsts.values()):
                for node in nodes:
                    answer = await self.ask("GET", f"/v1/me/passes?pass={node.id}&cursor={cursor}", who)
                    wanted = node.shown_to(who)
                    if wanted is None:
                        assert refused(answer) == UNKNOWN
                    else:
                        assert {item["id"] for item in answer.json()["items"]} <= {lower.id for lower in wanted}
                        self.seen["crossed"] += 1

    async def taken(self, nodes: list[Node]) -> None:
        """By anybody, until little is left: after each try all of the tree is as the oracle has it."""
        pairs = [(who, node) for who in EVERYBODY for node in nodes]
        for _ in range(2 * len(nodes)):
            view = self.chance.choice([*{node.seen_by(who): None for who, node in pairs}])  # that of most people is nothing
            who, node = self.chance.choice([(who, node) for who, node in pairs if node.seen_by(who) == view])
            answer = await self.ask("DELETE", f"/v1/passes/{node.id}", who)
            self.seen[f"take: {view}, {'ended' if node.ended else 'live'}"] += 1
            if view == "nothing":
                assert refused(answer) == UNKNOWN, (who, node.id)
            else:
                ending = [] if node.ended else [node, *node.hanging()]
                assert (answer.status_code, answer.json().get("passes")) == (200, len(ending)), (who, node.id, answer.text)
                for each in ending:
                    each.ended = True
            states = await asyncio.gather(*(self.passes.read(each.id) for each in nodes))
            assert [state["state"] == "revoked" for state in states] == [each.ended for each in nodes]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def passes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Passes]:
    """Everybody may share the first door; one may write grants where it is, another where it isn't."""
    async with (
        running_service(tmp_path_factory.mktemp("pass-trees"), locks=False, strangers=7) as service,
        service.client(hook=(await conformance_of(service)).hook) as http,
    ):
        made = Passes(service, http, await doors_of(service, SITE))
        door = made.doors[0]
        assert (await made.ask("PATCH", f"/v1/doors/{door}", None, {"sharing": True})).status_code == 200
        for person in PEOPLE:
            assert (await made.ask("POST", "/v1/grants", None, {"person": person, "door": door})).status_code == 201
        site = await made.ask("POST", "/v1/sites", None, {"name": "Elsewhere", "time_zone": "Europe/Berlin"})
        for person, where in ((MANAGER, SITE), (ELSEWHERE, site.json()["id"])):
            roles = {"roles": [{"role": "site_manager", "sites": [where]}]}
            assert (await made.ask("PUT", f"/v1/persons/{person}/roles", None, roles)).status_code == 200
        yield made


async def test_who_sees_and_who_takes_what_was_passed_on(passes: Passes) -> None:
    seen: Seen = Counter()
    for seed in range(TREES):
        trees = Trees(passes, random.Random(seed), seen)
        nodes = await trees.grown()
        seen[f"depth {max(len(list(node.above())) for node in nodes)}"] += 1
        await trees.who_sees_what(nodes)
        await trees.only_looks(nodes)
        await trees.cursors_cross(nodes)
        await trees.taken(nodes)
        await trees.who_sees_what(nodes)
    views: tuple[View, ...] = ("whole", "without its receiver", "nothing")
    wanted = {f"take: {view}, {state}" for view in views for state in ("live", "ended")} | {f"read: {view}" for view in views}
    wanted |= {"change: nothing", "change: without its receiver", f"depth {DEPTH_MAX}", "crossed", "listed", "listed to its holder"}
    assert seen.keys() >= {*wanted, "empty list", "no list"}, seen


async def test_a_giver_who_is_suspended_or_gone_neither_sees_nor_takes(passes: Passes) -> None:
    door = passes.doors[0]
    giver = (await passes.ask("POST", "/v1/persons", None, {"name": "Giver"})).json()["id"]
    assert (await passes.ask("POST", "/v1/grants", None, {"person": giver, "door": door})).status_code == 201
    root = await passes.give(giver, doors=[door], passes_on_max=2)
    await passes.held(root, PEOPLE[0])
    below = (await passes.ask("POST", f"/v1/passes/{root['id']}/pass-on", PEOPLE[0], {"name": "Below"})).json()
    asked = (("GET", f"/v1/passes/{below['id']}"), ("GET", f"/v1/me/passes?pass={root['id']}"), ("DELETE", f"/v1/passes/{below['id']}"))
    assert [(await passes.ask(method, path, giver)).status_code for method, path in asked[:2]] == [200, 200]
    assert (await passes.ask("POST", f"/v1/persons/{giver}/suspend")).status_code == 200
    assert [refused(await passes.ask(method, path, giver)) for method, path in asked] == [(403, "person_suspended")] * 3
    assert (await passes.read(below["id"]))["state"] == "issued"
    assert (await passes.ask("DELETE", f"/v1/persons/{giver}")).status_code == 200
    assert [(await passes.ask(method, path, giver)).status_code for method, path in asked] == [401] * 3


async def opened(passes: Passes, people: list[str], moment: str) -> set[tuple[str, str]]:
    """Persons, and the doors that they may open at that moment."""
    found = set()
    for person in people:
        answer = await passes.http.get("/v1/access/what", params={"person": person, "at": moment}, headers=passes.service.owner())
        assert answer.status_code == 200 and answer.json()["next_cursor"] is None, answer.text
        found |= {(person, item["id"]) for item in answer.json()["items"] if item["allowed"]}
    return found


async def test_a_preview_says_what_taking_or_shortening_a_pass_then_does(passes: Passes) -> None:
    """Trees of three levels, each holder with nothing else; at a moment at which a pass that is shortened is over."""
    chance, altered = random.Random(20_261_129), Counter[str]()
    later = at(6)
    for number in range(6):
        people = [f"preview-{number}-{person}" for person in range(4)]
        for person in people:
            assert (await passes.ask("POST", "/v1/persons", None, {"id": person, "name": person})).status_code == 201
        root = await passes.give(None, doors=passes.doors[:3], passes_on_max=2)
        await passes.held(root, people[0])
        nodes = [(root, people[0])]
        for person in people[1:]:
            above, holder = chance.choice([one for one in nodes if one[0]["passes_on_max"] > 0])
            doors = chance.sample(above["doors"], chance.randint(1, len(above["doors"])))
            terms = {"name": "On", "doors": doors, "passes_on_max": above["passes_on_max"] - 1}
            answer = await passes.ask("POST", f"/v1/passes/{above['id']}/pass-on", holder, terms)
            assert answer.status_code == 201, answer.text
            nodes.append((answer.json(), person))
            await passes.held(answer.json(), person)
        chance.shuffle(nodes)
        for node, _ in nodes:
            shortened = chance.random() < 0.5
            method, body = ("PATCH", {"valid_until": at(chance.choice((3, 9)))}) if shortened else ("DELETE", None)
            change = {"method": method, "path": f"/v1/passes/{node['id']}", **({} if body is None else {"body": body})}
            before = await opened(passes, people, later)
            asked = {"changes": [change], "at": later, "limit": 1_000}
            preview = await passes.ask("POST", "/v1/access/preview", None, asked)
            assert await opened(passes, people, later) == before
            answer = await passes.ask(method, f"/v1/passes/{node['id']}", None, body)
            assert answer.is_success == preview.is_success, (answer.text, preview.text)
            if not answer.is_success:
                assert answer.json()["code"] == preview.json()["code"]
                altered[answer.json()["code"]] += 1
                continue
            after = await opened(passes, people, later)
            told = preview.json()
            assert {(one["person"], one["door"]) for one in told["lost"]} == before - after, change
            assert {(one["person"], one["door"]) for one in told["gained"]} == after - before, change
            altered[method] += len(before - after)
    assert min(altered["PATCH"], altered["DELETE"], altered["pass_unknown"]) > 1, altered
