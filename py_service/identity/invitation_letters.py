"""The mail of an invitation, written when it is sent: what it says, and the link that is made for it."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.identity.invitations import KIND, LETTER
from py_service.identity.mailed_tokens import MailedTokens, link_of
from py_service.mail.letter import Letter
from py_service.mail.message import Mail
from py_service.permissions.store import read_object
from py_service.stores.mongo import Mongo, store_errors

PAGE = "accept-invitation"


@dataclass(frozen=True, slots=True)
class WriteInvitationMail:
    """Nothing is said for an invitation that was accepted or taken back before its mail went out."""

    mongo: Mongo
    tokens: MailedTokens
    public_url: str

    async def __call__(self, letter: Letter) -> Mail | None:
        """Raises Problem 503."""
        async with store_errors():
            invitation = await read_object(self.mongo, letter.org, KIND, letter.about)
            organization = await read_object(self.mongo, letter.org, "organization", letter.org)
        if invitation is None or organization is None or invitation.get("ended_at") is not None or invitation["accepted_at"] is not None:
            return None
        expires_at = int(invitation["expires_at"])
        token = await self.tokens.make(LETTER, letter.org, letter.about, str(invitation["sent"]), expires_at)
        name = str(organization["name"])
        text = (
            f"Hello {invitation['name']},\n\n{name} invites you to open doors with Nexkey.\n\n"
            f"Choose a password within seven days:\n{link_of(self.public_url, PAGE, token)}\n\n"
            f"You sign in with {letter.to}. If you don't know {name}, do nothing.\n"
        )
        return Mail(letter.to, f"{name} invites you to Nexkey", text)
