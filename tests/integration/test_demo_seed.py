"""Writing the demonstration into a real embedded store: whole or not visible, completed by a second run, and never with a lost secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from py_service.demo import seed as seed_module
from py_service.demo.organization import Document
from py_service.demo.seed import is_seeded, load_demo_file, seed_demo
from py_service.errors import SettingsError
from py_service.identity.passwords import make_hasher
from py_service.settings import Settings
from py_service.supervise.data_folder import DataFolder
from py_service.supervise.stack import plan_stack, start_stores
from py_service.supervise.supervisor import Supervisor


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[AsyncDatabase[Document]]:
    folder = DataFolder.open(tmp_path / "data")
    stack = plan_stack(Settings(redis_url="redis://none", api_port=0, gateway_port=0), folder)
    async with Supervisor(folder.logs, lambda _: None) as supervisor:
        await start_stores(stack, supervisor)
        client: AsyncMongoClient[Document] = AsyncMongoClient(stack.settings.mongo_url, timeoutMS=20_000)
        yield client["nexkey"]
        await client.close()
    folder.close()


async def counts(database: AsyncDatabase[Document]) -> dict[str, int]:
    return {name: await database[name].count_documents({}) for name in sorted(await database.list_collection_names())}


async def test_a_broken_seed_is_not_visible_and_a_second_run_completes_it(
    database: AsyncDatabase[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "demo.json"
    whole = seed_module._insert_missing
    written: list[str] = []

    async def breaks(database: AsyncDatabase[Document], collection: str, documents: list[Document]) -> None:
        written.append(collection)
        half = documents[: len(documents) // 2] if collection == "grants" else documents
        await whole(database, collection, half)
        if collection == "grants":
            raise ConnectionError("the store went away")

    monkeypatch.setattr(seed_module, "_insert_missing", breaks)
    with pytest.raises(ConnectionError):
        await seed_demo(database, path, persons=20, doors=5)
    assert "persons" in written
    made = load_demo_file(path)
    organization, neighbour = made.organizations()
    assert not await is_seeded(database, organization.id)

    monkeypatch.setattr(seed_module, "_insert_missing", whole)
    again, wrote = await seed_demo(database, path)
    assert (wrote, again) == (True, made)
    for made_organization in (organization, neighbour):
        assert await is_seeded(database, made_organization.id)
        for collection, documents in made_organization.documents.items():
            stored = await database[collection].find({"org": made_organization.id}).to_list()
            assert {str(document["_id"]) for document in stored} == {str(document["_id"]) for document in documents}
            by_id = {str(document["_id"]): document for document in documents}
            for document in stored:
                given = by_id[str(document["_id"])]
                assert {name: document[name] for name in given} == given
                assert set(document) - set(given) <= {"by_name", "listed", "at_site"}  # made for lists
            assert all(str(document["by_name"]).startswith(f"{made_organization.id}:") for document in stored)
    before = await counts(database)
    _, wrote = await seed_demo(database, path)
    assert not wrote
    assert await counts(database) == before


async def test_accounts_hold_hashes_that_fit_the_passwords(database: AsyncDatabase[Document], tmp_path: Path) -> None:
    made, _ = await seed_demo(database, tmp_path / "demo.json", persons=12, doors=3)
    for account in made.accounts:
        stored = await database["accounts"].find_one({"_id": account.email})
        assert stored is not None
        assert str(stored["password"]).startswith("$argon2id$")
        assert PasswordHasher().verify(str(stored["password"]), account.password)
        # With other parameters a wrong password would take another time than an unknown e-mail.
        assert not make_hasher().check_needs_rehash(str(stored["password"]))
        assert (stored["org"], stored["person"]) == (account.organization, account.person)


async def test_a_seeded_store_without_its_file_is_refused(database: AsyncDatabase[Document], tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    await seed_demo(database, path, persons=12, doors=3)
    path.unlink()
    with pytest.raises(SettingsError, match="holds the organization nordlicht"):
        await seed_demo(database, path, persons=12, doors=3)
    assert not path.exists()
