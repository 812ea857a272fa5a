"""The mail that brings a pass, written when it is sent: what it says, and the link that is made for it."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.exchange import moment
from py_service.mail.letter import Letter
from py_service.mail.message import Mail
from py_service.passes import link as links
from py_service.passes.givers import KIND
from py_service.permissions.store import read_object
from py_service.stores.mongo import MAJORITY_JOURNALED, Document, Mongo, find_by_ids, now_ms, store_errors

LETTER = links.LETTER


@dataclass(frozen=True, slots=True)
class WritePassMail:
    """A letter is about a pass and the number of its link. Nothing is said when the pass was accepted, taken back or is over, or when
    another link was asked for since."""

    mongo: Mongo
    public_url: str

    async def __call__(self, letter: Letter) -> Mail | None:
        """Raises Problem 503."""
        identifier, _, number = letter.about.rpartition(".")
        async with store_errors():
            found = await read_object(self.mongo, letter.org, KIND, identifier)
            organization = await read_object(self.mongo, letter.org, "organization", letter.org)
        if found is None or organization is None or found.get("ended_at") is not None or found["accepted_by"] is not None:
            return None
        if str(found["link"]) != number or found["valid_until"] <= now_ms():
            return None
        token = links.new_token()
        made = links.link_write(letter.org, found, token)
        async with store_errors():
            kept = self.mongo.database.get_collection(made.collection, write_concern=MAJORITY_JOURNALED)
            await kept.insert_one(made.document or {})
            text = await self._text(found, str(organization["name"]), links.link_of(self.public_url, token))
        return Mail(letter.to, f"A key for you: {found['name']}", text)

    async def _text(self, found: Document, organization: str, link: str) -> str:
        doors = await find_by_ids(self.mongo.database, "doors", [f"{found['org']}:{door}" for door in found["doors"]])
        giver = None if found["given_by"] is None else await read_object(self.mongo, str(found["org"]), "person", str(found["given_by"]))
        begins, ends = (moment(int(found[name])).strftime("%Y-%m-%d %H:%M UTC") for name in ("valid_from", "valid_until"))
        uses = "" if found["uses"] is None else f"It opens {found['uses']} times in all.\n"
        named = "\n".join(f"  {name}" for name in sorted(str(door["name"]) for door in doors))
        return (
            f"Hello,\n\n{organization if giver is None else giver['name']} gives you a key of {organization}:\n\n{named}\n\n"
            f"From {begins} to {ends}.\n{uses}\nAccept it, and open from there:\n{link}\n\n"
            "The link is good once: keep it to yourself. If you don't know who sends it, do nothing.\n"
        )
