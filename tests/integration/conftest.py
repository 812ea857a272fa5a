"""What takes long and needs nobody: it begins with the first test of this folder, and the test that it belongs to asks for it last."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.integration.long_silence import LongSilence, keep_silent

ASKED_FOR_BY = "test_a_client_that_does_not_answer_pings_is_closed_and_one_that_does_stays"


@pytest.fixture(scope="session", autouse=True)
def long_silence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LongSilence | None]:
    """A gateway of its own whose clients keep silent, in a thread of its own; None when the test isn't among those to run."""
    if not any(item.name == ASKED_FOR_BY for item in request.session.items):
        yield None
        return
    silence = LongSilence()
    thread = threading.Thread(target=lambda: asyncio.run(keep_silent(silence, tmp_path_factory.mktemp("silence"))), daemon=True)
    thread.start()
    yield silence
    thread.join(10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that waits for it comes behind all others of this folder."""
    folder = [place for place, item in enumerate(items) if "tests/integration/" in item.nodeid]
    waiting = [place for place in folder if items[place].name == ASKED_FOR_BY]
    if waiting:
        items.insert(folder[-1], items.pop(waiting[0]))
