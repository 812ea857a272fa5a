"""Change one's own password: the other sessions end."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.errors import Problem
from py_service.identity.accounts import account_write, find_account
from py_service.identity.end_sessions import end_all
from py_service.permissions.change import Plan, View


@dataclass(frozen=True, slots=True)
class ChangePassword:
    """`proved`: the hash that the caller has just proved to know the password of. `result`: {ended, more}."""

    email: str
    proved: str
    password: str
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.stand()
        person, asking = ("", "") if view.actor is None else (view.actor.subject, view.actor.session)
        account = await find_account(view, self.email)
        if account is None or (account["org"], account["person"], account["password"]) != (view.organization, person, self.proved):
            raise password_wrong()
        plan = await end_all(view, person, "password_changed", spared=asking)
        plan.events.append(view.event("password_changed", person, person=person))
        plan.writes.append(account_write(self.email, {**account, "password": self.password}))
        return plan


def password_wrong() -> Problem:
    return Problem(403, "password_wrong", "The old password is wrong.")
