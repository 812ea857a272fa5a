"""One organization of 10,000, 100,000 and 1,000,000 persons in one process: how long it takes to load, what it weighs, what asking costs.

    core    `cargo run --example scale`: loads the stored documents, asks random pairs, applies changes while another thread asks; and once
            more, from the start, with pairs that are all allowed
    python  the same through `PermissionIndex`: loading with the interpreter released, and `check`
    store   the documents in the embedded MongoDB, how long it takes to hand them over, and how long a process takes to have them

The documents are generated (`scale_organization.py`), and every answer is held against arithmetic that knows no index. Of uniformly random
pairs few are allowed, so what they cost is what refusals cost; the allowed ones are of random persons, each at a random one of the doors
that they may open, and are judged by the same limits but for the median by handle, which they miss. Pairs are asked in five rounds; in
the core the first one is judged as the middle one is (by identifiers it finds nothing in the caches; by handle, the pairs of those rounds).
The limits are those of the largest size; changes that write every place of a group are printed without one. Everything is asked by
identifiers (strings), except where "by handle" stands: a person and a door that were looked up before.
`--quick` leaves the largest size out and judges nothing but answers, because the limits are meant for it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.scale_organization import KINDS, NOW_MS, ORGANIZATION, PERSONS_PER_DOOR, ScaleOrganization, named
from benchmarks.scale_store import Handed, hand_over
from py_service import _core_rs
from py_service._core_rs import PermissionIndex
from py_service.supervise.environment import LARGE_PAGES

ROOT = Path(__file__).resolve().parent.parent
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (10_000, 50_000)
STORE_PERSONS, QUICK_STORE_PERSONS = 100_000, 10_000
PAIRS, QUICK_PAIRS = 200_000, 50_000
CHANGES = 1_000  # of each kind of `CHANGED`
CHANGED = ("person", "own_grant", "door_grant", "door", "new_door", "site", "group_rename", "wide_group_rename")
# What a group may do stands at each of its places, closed over what it includes, so that a decision looks nothing up. Who changes what it
# includes therefore writes each of those places: no limit, as many as there are. A process applies these in a thread.
REACHING_CHANGES, WIDE_CHANGES = 100, 10  # there and back
REACHING = ("group_includes", "wide_group_includes")
WIDE_DOORS_MAX = 10_000  # doors at which one group is granted; it has nobody in it
CHANGE_US_MAX = 20.0  # at the median
BESIDE_TIMES_MAX = 2.0  # a decision while changes go on, beside one while nothing does
ALLOWED = "allowed_"
SAMPLES = ("", ALLOWED)  # of pairs: uniformly random ones, and those that are all allowed
CHUNK_PAIRS = 1_000
BATCH_BYTES = 4 << 20
TICK_SECONDS = 0.001
# Of 1,000,000 persons, 100,000 doors, 2,000 groups and 10,000,000 memberships. 300 ns at the median are asked of a decision by handle
# (`found_`); to find both records by their identifiers first takes two reads of far memory more, each of 140 to 190 ns.
LIMITS = {
    "load_seconds": 10.0,
    "python_load_seconds": 10.0,
    "python_pause_seconds": 0.1,  # the loop's, while the interpreter is let go of
    "index_bytes": 400e6,
    **{
        f"{sample}{asked}_ns_{which}{name}": limit
        for sample in SAMPLES
        for which in ("", "first_")
        for asked, name, limit in (
            ("found", "median", 300.0),
            ("found", "p99", 1_500.0),
            ("check", "median", 600.0),
            ("check", "p99", 1_500.0),
        )
    },
    **{f"{sample}python_ns_median": 1_000.0 for sample in SAMPLES},
    "changes_times": BESIDE_TIMES_MAX,
    "reaching_times": BESIDE_TIMES_MAX,
    **{f"change_{kind}_us_median": CHANGE_US_MAX for kind in CHANGED},
}
# Asked for of uniformly random pairs, and not met by those that are all allowed: printed beside the limit.
UNJUDGED = tuple(f"{ALLOWED}found_ns_{which}median" for which in ("", "first_"))

Figures = dict[str, float]


def write(made: ScaleOrganization, folder: Path, pairs: int) -> float:
    """What the core's example takes: stored documents, pairs with their answers, changes. In a folder of it the same documents, pairs that
    are all allowed, and no changes. The share of the pairs that are allowed."""
    (folder / ALLOWED).mkdir()
    for kind in KINDS:
        with (folder / f"{kind}.bson").open("wb") as file:
            file.writelines(made.batches(kind))
        (folder / ALLOWED / f"{kind}.bson").symlink_to(folder / f"{kind}.bson")
    chance = random.Random(8)
    persons = (chance.randrange(made.persons) for _ in itertools.count())
    share = write_pairs(made, folder, made.pairs(pairs, seed=7))
    of_allowed = write_pairs(made, folder / ALLOWED, list(itertools.islice(made.allowed_pairs(persons, seed=9), pairs)))
    assert of_allowed == 1, f"{of_allowed:.4f} of what is allowed is so by the arithmetic"
    for name in ("set_up", "changes", "reaching"):
        (folder / ALLOWED / name).touch()
    for told, records in (("set_up", set_up(made)), ("changes", changes(made)), ("reaching", reaching(made))):
        with (folder / told).open("w") as file:
            file.writelines(f"{name} {json.dumps(images)}\n" for name, images in records)
    return share


def write_pairs(made: ScaleOrganization, folder: Path, pairs: list[tuple[int, int]]) -> float:
    """With their answers; the share of those that are allowed."""
    right = [made.may_pass(person, door) for person, door in pairs]
    with (folder / "pairs").open("w") as file:
        for (person, door), allowed in zip(pairs, right, strict=True):
            file.write(f"{named('person', person)} {named('door', door)} {int(allowed)}\n")
    return sum(right) / len(right)


Image = dict[str, Any]
Record = tuple[str, list[Image]]
"""The name and the images of a change."""
GIVEN = {"effect": "allow", "schedule": None, "valid_from": None, "valid_until": None}


def image(kind: str, document: dict[str, Any]) -> Image:
    return {"kind": kind, "id": document["id"], "document": document}


def set_up(made: ScaleOrganization) -> Iterator[Record]:
    """The wide group, which is granted at many doors and has nobody in it."""
    wide = made.group(made.groups)
    at_doors = ({"id": f"wide{door}", "group": wide["id"], "door": named("door", door), **GIVEN} for door in range(wide_doors(made)))
    yield "set_up", [image("group", wide), *(image("grant", grant) for grant in at_doors)]


def wide_doors(made: ScaleOrganization) -> int:
    return min(WIDE_DOORS_MAX, made.doors)


def changes(made: ScaleOrganization) -> Iterator[Record]:
    """By turns: a person as they are, a grant of one person, a grant of a group at a door, a door as it is and a new one, a site that is
    locked down or opened, a group and the wide one under another name."""
    chance = random.Random(3)
    wide = made.group(made.groups)
    for number in range(CHANGES):
        person, named_group, door, site = (chance.randrange(count) for count in (made.persons, made.groups, made.doors, made.sites))
        renamed = {"name": f"Renamed {number}"}
        own = {"id": f"own{number}", "person": named("person", person), "door": named("door", door), **GIVEN}
        at_door = {"id": f"door{number}", "group": named("group", named_group), "door": named("door", door), **GIVEN}
        yield "person", [image("person", made.person(person))]
        yield "own_grant", [image("grant", own)]
        yield "door_grant", [image("grant", at_door)]
        yield "door", [image("door", made.door(door))]
        yield "new_door", [image("door", made.door(door) | {"id": named("door", made.doors + number)})]
        yield "site", [image("site", made.site(site) | {"locked_down": number % 2 == 0})]
        yield "group_rename", [image("group", made.group(named_group) | renamed)]
        yield "wide_group_rename", [image("group", wide | renamed)]


def reaching(made: ScaleOrganization) -> Iterator[Record]:
    """A group includes another one, and no more; the wide one does, and no more."""
    chance = random.Random(4)
    for number in range(REACHING_CHANGES):
        group, other = (named("group", chance.randrange(made.groups)) for _ in range(2))
        kinds = [("group_includes", made.group(0) | {"id": group})]
        if number < WIDE_CHANGES:
            kinds.append(("wide_group_includes", made.group(made.groups)))
        for name, document in kinds:
            yield name, [image("group", document | {"includes": [other]})]
            yield name, [image("group", document)]


def build_example() -> Path:
    """The core's example, built; where it is. Raises CalledProcessError."""
    command = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--quiet",
        "-p",
        "nexkey-permissions",
        "--example",
        "scale",
        "--message-format",
        "json",
    ]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines()]
    return next(Path(message["executable"]) for message in messages if message.get("executable"))


def in_core(example: Path, folder: Path) -> Figures:
    """Raises CalledProcessError when an answer was wrong."""
    return _run([str(example), str(folder), str(NOW_MS)])


def _run(command: list[str]) -> Figures:
    """A process of its own, with memory as the api has it: large pages, and nothing of what was there before."""
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **LARGE_PAGES})
    figures: Figures = json.loads(told.stdout)
    return figures


def documents_of(folder: Path, kind: str) -> Iterator[bytes]:
    """Whole documents, some megabytes at once."""
    content = (folder / f"{kind}.bson").read_bytes()
    first = 0
    while first < len(content):
        end = first
        while end < len(content) and end - first < BATCH_BYTES:
            end += int.from_bytes(content[end : end + 4], "little")
        yield content[first:end]
        first = end


class Ticker:
    """A thread of Python that wants to run every millisecond, as the event loop does; `longest` is what it had to wait, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick)

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _tick(self) -> None:
        before = time.perf_counter()
        while not self._stop.wait(TICK_SECONDS):
            now = time.perf_counter()
            self.longest = max(self.longest, now - before - TICK_SECONDS)
            before = now


def in_python(folder: Path) -> Figures:
    """Loads, holds every answer against the right one, and times `check` on new strings, as they come out of a request."""
    index = PermissionIndex()
    load = index.begin_load(ORGANIZATION, 0)
    seconds = 0.0
    with Ticker() as ticker:
        for kind in KINDS:
            for batch in documents_of(folder, kind):
                began = time.perf_counter()
                load.add(kind, batch)
                seconds += time.perf_counter() - began
        began = time.perf_counter()
        load.finish()
        seconds += time.perf_counter() - began
    medians = {f"{sample}python_ns_median": ask_in_python(index, folder / sample) for sample in SAMPLES}
    return {"python_load_seconds": seconds, "python_pause_seconds": ticker.longest, **medians}


def ask_in_python(index: PermissionIndex, folder: Path) -> float:
    """Nanoseconds of one of a folder's pairs, the median of the means of a thousand. Each pair was asked once before."""
    pairs = [line.split() for line in (folder / "pairs").read_text().splitlines()]
    check, means = index.check, []
    for person, door, allowed in pairs:
        assert check(ORGANIZATION, person, door, NOW_MS).allowed == (allowed == "1"), (person, door)
    for first in range(0, len(pairs), CHUNK_PAIRS):
        chunk = pairs[first : first + CHUNK_PAIRS]
        start = time.perf_counter_ns()
        for person, door, _ in chunk:
            check(ORGANIZATION, person, door, NOW_MS)
        means.append((time.perf_counter_ns() - start) / len(chunk))
    return statistics.median(means)


TOLD = """
{persons:,} persons, {doors:,} doors, {groups:,} groups, {grants:,} grants, {memberships:,} memberships; load before {load_before:.1f}
  every answer equal to the arithmetic's
  load: core {load_seconds:.2f} s; from Python {python_load_seconds:.2f} s, another thread waited {python_pause_seconds:.3f} s at most
  memory: {index_megabytes:,.0f} MB; bytes: {bytes_of_person:.0f} a person, {bytes_of_door:.0f} a door, {bytes_of_grant:.0f} a grant
  check, of random pairs, {share:.1%} of them allowed:
{pairs}
  check, of pairs that are all allowed:
{allowed_pairs}
  beside: the clock takes {clock_ns_median:.0f} ns, in all of the core's; one read of far memory {far_ns:.0f} ns (of 256 MiB)
{changes}"""
TOLD_PAIRS = """\
    by identifiers: median {check_ns_median:,.0f} ns, p99 {check_ns_p99:,.0f} ns; the first of five rounds {check_ns_first_median:,.0f}, \
{check_ns_first_p99:,.0f} ns; from Python median {python_ns_median:,.0f} ns
    by handle:      median {found_ns_median:,.0f} ns, p99 {found_ns_p99:,.0f} ns; the first of five rounds {found_ns_first_median:,.0f}, \
{found_ns_first_p99:,.0f} ns"""
TOLD_BESIDE = "  asked meanwhile: {checks:,.0f} times, median {median:,.0f} ns ({times:.2f} times alone), p99 {p99:,.0f} ns"
TOLD_CHANGE = "  change, {name}: median {median:,.1f} us, p99 {p99:,.1f} us, longest {longest:,.0f} us"
TOLD_REACHING = "  without a limit, as they write every place that the group is granted at ({doors:,} doors, of the wide one):"


def print_size(made: ScaleOrganization, figures: Figures) -> None:
    """Memory of a kind is what was resident more after its documents were in."""
    kinds = {"person": made.persons, "door": made.doors, "grant": made.grants}
    each = {f"bytes_of_{kind}": figures[f"bytes_{kind}"] / count for kind, count in kinds.items()}
    told = [
        *(told_change(kind, figures) for kind in CHANGED),
        told_beside("changes", figures),
        TOLD_REACHING.format(doors=wide_doors(made)),
        *(told_change(kind, figures) for kind in REACHING),
        told_beside("reaching", figures),
    ]
    sizes = {"persons": made.persons, "doors": made.doors, "groups": made.groups, "grants": made.grants}
    rest = {
        "memberships": made.persons * len(made.groups_of(0)),
        "load_before": os.getloadavg()[0],
        "index_megabytes": figures["index_bytes"] / 1e6,
        "changes": "\n".join(told),
        "pairs": TOLD_PAIRS.format(**figures),
        "allowed_pairs": TOLD_PAIRS.format(**{name.removeprefix(ALLOWED): value for name, value in figures.items() if ALLOWED in name}),
    }
    print(TOLD.format(**sizes, **each, **rest, **figures))


def told_change(kind: str, figures: Figures) -> str:
    median, p99, longest = (figures[f"change_{kind}_us_{name}"] for name in ("median", "p99", "max"))
    return TOLD_CHANGE.format(name=kind.replace("_", " "), median=median, p99=p99, longest=longest)


def told_beside(beside: str, figures: Figures) -> str:
    checks, median, p99 = (figures[f"{beside}_{name}"] for name in ("checks", "check_ns_median", "check_ns_p99"))
    return TOLD_BESIDE.format(checks=checks, median=median, p99=p99, times=figures[f"{beside}_times"])


def print_store(handed: Handed) -> None:
    print(f"\nstore with {handed.persons:,} persons: {handed.documents:,} documents, {handed.megabytes:,.0f} MB")
    print(
        f"  handing them over, nothing decoded: {handed.hand_over_seconds:.2f} s; a process had them after {handed.follower_seconds:.2f} s"
    )


def missed(figures: Figures) -> list[str]:
    return [f"{name} is {figures[name]:,.1f}, at most {LIMITS[name]:,.1f} is wanted" for name in beyond(figures) if name not in UNJUDGED]


def beyond(figures: Figures) -> list[str]:
    """Names of the figures that are above their limit."""
    return [name for name, limit in LIMITS.items() if figures[name] > limit]


def measure(quick: bool) -> int:
    """0 when every limit was met, 1 when one wasn't."""
    example = build_example()
    figures: Figures = {}
    for persons in QUICK_SIZES if quick else SIZES:
        made = ScaleOrganization(persons, persons // PERSONS_PER_DOOR)
        with tempfile.TemporaryDirectory(prefix="nexkey-scale-") as name:
            share = write(made, Path(name), QUICK_PAIRS if quick else PAIRS)
            figures = in_core(example, Path(name)) | _run([sys.executable, "-m", "benchmarks.scale", name])
            allowed = in_core(example, Path(name) / ALLOWED)
        figures |= {"share": share} | {f"{ALLOWED}{name}": value for name, value in allowed.items() if "_ns_" in name}
        for beside in ("changes", "reaching"):
            figures[f"{beside}_times"] = figures[f"{beside}_check_ns_median"] / figures["check_ns_median"]
        print_size(made, figures)
    print_store(asyncio.run(hand_over(QUICK_STORE_PERSONS if quick else STORE_PERSONS)))
    if quick:
        return 0
    faults = missed(figures)
    for name in UNJUDGED:
        print(
            f"printed, not judged: {name} is {figures[name]:,.1f}, {'above' if name in beyond(figures) else 'within'} {LIMITS[name]:,.1f}"
        )
    print(
        "\n".join(["", *(f"MISSED: {fault}" for fault in faults)]) if faults else "\nevery limit of the largest size that is judged was met"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    if _core_rs.__build_profile__ != "release":
        sys.exit("refused: the core is a debug build")
    if len(sys.argv) == 2 and Path(sys.argv[1]).is_dir():
        print(json.dumps(in_python(Path(sys.argv[1]))))
        sys.exit(0)
    parser = argparse.ArgumentParser(description="An organization of up to a million persons in one process.")
    parser.add_argument("--store", type=int, metavar="PERSONS", help="only the store, with so many persons in it")
    parser.add_argument("--quick", action="store_true", help="without the largest size; nothing but answers is judged")
    asked = parser.parse_args()
    if asked.store:
        print_store(asyncio.run(hand_over(asked.store)))
        sys.exit(0)
    sys.exit(measure(asked.quick))
