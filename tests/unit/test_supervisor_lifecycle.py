"""The supervisor with children that do nothing but start, die, ignore signals or leave others behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from py_service.supervise.child import ChildSpec
from py_service.supervise.environment import surroundings
from py_service.supervise.supervisor import ChildFailed, Notice, Supervisor

SLEEPS = "import time; time.sleep(600)"


def spec(name: str, code: str, *arguments: str, stop_seconds_max: float = 5.0, settle_seconds: float = 0.15) -> ChildSpec:
    command = (sys.executable, "-I", "-S", "-c", textwrap.dedent(code), *arguments)
    return ChildSpec(name, command, surroundings(), stop_seconds_max=stop_seconds_max, settle_seconds=settle_seconds)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


async def until(condition: Callable[[], bool], seconds_max: float = 10.0) -> None:
    async with asyncio.timeout(seconds_max):
        while not condition():  # noqa: ASYNC110  # processes set no event
            await asyncio.sleep(0.02)


def read_pid(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() and path.read_text() else None


async def test_starts_in_order_and_stops_in_reverse(tmp_path: Path) -> None:
    notices: list[Notice] = []
    async with Supervisor(tmp_path, notices.append) as supervisor:
        for name in ("first", "second", "third"):
            await supervisor.start(spec(name, SLEEPS))
        pids = [supervisor.pid(name) for name in ("first", "second", "third")]
        assert all(alive(pid) for pid in pids)
    assert [notice.name for notice in notices if notice.kind == "ready"] == ["first", "second", "third"]
    assert [notice.name for notice in notices if notice.kind == "stopped"] == ["third", "second", "first"]
    assert not any(alive(pid) for pid in pids)


async def test_ready_is_asked_before_the_next_one_starts(tmp_path: Path) -> None:
    asked = 0

    async def ready() -> bool:
        nonlocal asked
        asked += 1
        return asked == 4

    async with Supervisor(tmp_path, lambda _: None) as supervisor:
        plain = spec("slow", SLEEPS)
        await supervisor.start(ChildSpec(plain.name, plain.command, plain.environment, ready))
        assert asked == 4


async def test_a_child_that_ignores_the_signal_is_killed_within_its_bound(tmp_path: Path) -> None:
    notices: list[Notice] = []
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    async with Supervisor(tmp_path, notices.append) as supervisor:
        await supervisor.start(spec("deaf", code, stop_seconds_max=0.4))
        await until(lambda: "deaf" in (tmp_path / "deaf.log").read_text())
        began = time.monotonic()
    assert 0.3 < time.monotonic() - began < 3.0
    assert notices[-1] == Notice("stopped", "deaf", "signal SIGKILL")


async def test_a_child_that_dies_is_named_with_its_last_lines_and_started_again(tmp_path: Path) -> None:
    notices: list[Notice] = []
    once = tmp_path / "once"
    code = """
        import pathlib, sys, time
        once = pathlib.Path(sys.argv[1])
        if not once.exists():
            once.write_text("x")
            time.sleep(0.4)
            print("the disk is full", flush=True)
            sys.exit(3)
        time.sleep(600)
    """
    async with Supervisor(tmp_path, notices.append) as supervisor:
        await supervisor.start(spec("fragile", code, str(once)))
        before = supervisor.pid("fragile")
        await until(lambda: sum(notice.kind == "ready" for notice in notices) == 2)
        assert supervisor.pid("fragile") != before
        assert supervisor.restarts("fragile") == 1
    died = next(notice for notice in notices if notice.kind == "died")
    assert died.name == "fragile"
    assert "exit status 3" in died.detail
    assert died.last_lines == ["the disk is full"]


async def test_a_killed_child_is_named_by_its_signal_and_the_pauses_grow(tmp_path: Path) -> None:
    notices: list[Notice] = []
    async with Supervisor(tmp_path, notices.append) as supervisor:
        await supervisor.start(spec("victim", SLEEPS))
        for times in (1, 2, 3):
            os.kill(supervisor.pid("victim"), signal.SIGKILL)
            await until(lambda times=times: supervisor.restarts("victim") == times)  # type: ignore[misc]  # a lambda with a default has no type that mypy can say
    details = [notice.detail for notice in notices if notice.kind == "died"]
    assert all("signal SIGKILL" in detail for detail in details)
    assert [detail.rsplit(" in ", 1)[1] for detail in details] == ["0.2 s", "0.4 s", "0.8 s"]


async def test_a_child_that_dies_before_it_is_ready_fails_the_start_and_stops_the_others(tmp_path: Path) -> None:
    notices: list[Notice] = []
    async with Supervisor(tmp_path, notices.append) as supervisor:
        await supervisor.start(spec("sound", SLEEPS))
        sound = supervisor.pid("sound")
        with pytest.raises(ChildFailed) as failure:
            await supervisor.start(spec("broken", "import sys; print('no such table'); sys.exit(7)", settle_seconds=5))
    assert (failure.value.name, failure.value.detail) == ("broken", "exit status 7")
    assert failure.value.last_lines == ["no such table"]
    assert not alive(sound)


async def test_a_child_that_is_never_ready_fails_in_time(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    plain = spec("late", SLEEPS)
    with pytest.raises(ChildFailed, match="not ready in time"):
        async with Supervisor(tmp_path, lambda _: None) as supervisor:
            await supervisor.start(ChildSpec(plain.name, plain.command, plain.environment, never, ready_seconds_max=0.3))


async def test_what_a_dead_child_leaves_behind_is_ended_before_the_restart(tmp_path: Path) -> None:
    code = """
        import os, pathlib, sys, time
        if os.fork() == 0:
            pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
        time.sleep(600)
    """
    left = tmp_path / "left.pid"
    async with Supervisor(tmp_path, lambda _: None) as supervisor:
        await supervisor.start(spec("parent", code, str(left)))
        await until(lambda: read_pid(left) is not None)
        orphan = read_pid(left)
        assert orphan is not None
        os.kill(supervisor.pid("parent"), signal.SIGKILL)
        await until(lambda: not alive(orphan))
        await until(lambda: supervisor.restarts("parent") == 1)


async def test_nothing_is_restarted_once_stopping_has_begun(tmp_path: Path) -> None:
    notices: list[Notice] = []
    supervisor = Supervisor(tmp_path, notices.append)
    await supervisor.start(spec("victim", SLEEPS))
    os.kill(supervisor.pid("victim"), signal.SIGKILL)
    await until(lambda: any(notice.kind == "died" for notice in notices))
    await supervisor.stop()  # during the pause before the restart
    await asyncio.sleep(0.5)
    assert [notice.kind for notice in notices].count("started") == 1


async def test_impatience_reaches_the_child_that_is_being_stopped(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, lambda _: None)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    await supervisor.start(spec("deaf", code, stop_seconds_max=60))
    await until(lambda: "deaf" in (tmp_path / "deaf.log").read_text())
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0.2)
    assert not stopping.done()
    supervisor.kill()
    async with asyncio.timeout(5):
        await stopping


SUPERVISES = """
import asyncio, sys
from pathlib import Path
from py_service.supervise.child import ChildSpec
from py_service.supervise.supervisor import Supervisor

async def main() -> None:
    async with Supervisor(Path(sys.argv[1]), lambda _: None) as supervisor:
        await supervisor.start(ChildSpec("tied", (sys.executable, "-c", "import time; time.sleep(600)"), {}))
        Path(sys.argv[1], "tied.pid").write_text(str(supervisor.pid("tied")))
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SUPERVISES, str(tmp_path))
    try:
        await until(lambda: read_pid(tmp_path / "tied.pid") is not None)
        tied = read_pid(tmp_path / "tied.pid")
        assert tied is not None
        assert alive(tied)
    finally:
        process.kill()
        await process.wait()
    await until(lambda: not alive(tied), 3.0)
