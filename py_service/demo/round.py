"""`nexkey demo`: one round of the main job through every real process, judged by what the lock's bolt really did.

    granted -> refused by schedule -> refused by lockdown, released, granted again -> access taken away -> refused

What doesn't live here: starting the processes (`py_service.supervise`), the organization (`organization.py`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import msgspec

from py_service.demo.organization import Role
from py_service.demo.seed import DemoFile
from py_service.simulators.moves import read_moves
from py_service.simulators.phone import Phone, PhoneError, UnlockAnswer

DOOR = "berlin-main-entrance"
CLEANERS_DOOR = "berlin-office-north"
SETTLE_SECONDS = 0.3  # a bolt that moved against all expectation would have done so by then
UNDECIDED_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """One unlock that was asked for. `reason` "granted" means that the bolt must move, anything else that it must not."""

    title: str
    who: str
    expected: str
    answer: UnlockAnswer
    moved: bool

    @property
    def right(self) -> bool:
        if self.expected == "granted":
            return self.answer.state == "unlocked" and self.moved
        return self.answer.state == "authorized.failed" and self.answer.reason == self.expected and not self.moved


class _Created(msgspec.Struct):
    id: str


class Round:
    """One round. `moves_file` is written by the locks; `http` brings the address of the api."""

    def __init__(self, demo: DemoFile, http: httpx.AsyncClient, moves_file: Path) -> None:
        self._demo = demo
        self._http = http
        self._moves_file = moves_file
        self._owner = self._phone("owner")
        self._asked: list[tuple[str, str, str, UnlockAnswer]] = []

    async def play(self) -> list[Step]:
        """Raises PhoneError when something that isn't an unlock goes wrong, httpx.HTTPError."""
        part, door = outside_schedule(datetime.now(ZoneInfo("Europe/Berlin")))
        guest, other, guest_id = self._phone("guest"), self._phone(part), self._demo.account("guest").person
        for phone in (self._owner, guest, other):
            await phone.sign_in()
        grant = await self._give(guest_id)
        await self._ask("granted", "guest", guest, DOOR, "granted")
        await self._ask("refused by schedule", part, other, door, "outside_schedule")
        await self._manage("POST", f"/v1/doors/{DOOR}/lockdown")
        await self._ask("refused by lockdown", "guest", guest, DOOR, "door_locked_down")
        await self._manage("POST", f"/v1/doors/{DOOR}/release")
        await self._ask("released, granted again", "guest", guest, DOOR, "granted")
        await self._manage("DELETE", f"/v1/grants/{grant}")
        await self._ask("after the revoke", "guest", guest, DOOR, "no_grant")
        await asyncio.sleep(SETTLE_SECONDS)
        return self._judge()

    def stray_moves(self) -> int:
        """Bolts that moved for a command that isn't one of the round's."""
        known = {answer.id for _, _, _, answer in self._asked}
        return sum(line.command is not None and line.command not in known for line in read_moves(self._moves_file))

    def _judge(self) -> list[Step]:
        moved = {line.command for line in read_moves(self._moves_file) if line.what in ("unlocked", "held")}
        return [Step(title, who, expected, answer, answer.id in moved) for title, who, expected, answer in self._asked]

    async def _ask(self, title: str, who: Role, phone: Phone, door: str, expected: str) -> None:
        answer = await _decided(phone, door)
        self._asked.append((title, self._demo.account(who).name, expected, answer))

    async def _give(self, person: str) -> str:
        answer = await self._owner.call("POST", "/v1/grants", body={"effect": "allow", "person": person, "door": DOOR})
        if answer.status_code != 201:
            raise PhoneError(answer.status_code, "grant_not_given", answer.text[:300])
        return msgspec.json.decode(answer.content, type=_Created).id

    async def _manage(self, method: str, path: str) -> None:
        answer = await self._owner.call(method, path)
        if answer.status_code != 200:
            raise PhoneError(answer.status_code, "change_refused", f"{method} {path}: {answer.text[:300]}")

    def _phone(self, part: Role) -> Phone:
        account = self._demo.account(part)
        return Phone(self._http, account.email, account.password)


async def _decided(phone: Phone, door: str) -> UnlockAnswer:
    """An unlock that was decided. A 503 says that nothing was: it is asked again, as a phone would."""
    deadline = time.monotonic() + UNDECIDED_SECONDS_MAX
    while True:
        try:
            return await phone.unlock(door, wait_seconds=3)
        except PhoneError as error:
            if error.status != 503 or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


def outside_schedule(berlin: datetime) -> tuple[Role, str]:
    """Who of the cast has no open schedule now in Berlin, whatever the day: guard 22:00 to 06:00, cleaner 17:00 to 21:00."""
    minutes = berlin.hour * 60 + berlin.minute
    if 6 * 60 + 30 <= minutes < 21 * 60 + 30:
        return "night_guard", DOOR
    return "cleaner", CLEANERS_DOOR
