"""wrk as a closed-loop load: many prepared requests, every answer's status and body looked at. It finds the ceiling, not latencies."""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 256
SPARE_SECONDS = 20.0

# `right` and the others are global because that is how wrk hands them from its threads to `done`.
SCRIPT = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(arguments)
  right, wrong, first_wrong, at, requests = 0, 0, "", 0, {}
  wanted_status, wanted_text = tonumber(arguments[2]), arguments[3]
  for line in io.lines(arguments[1]) do
    local path, token = line:match("(%S+) (%S+)")
    table.insert(requests, wrk.format("POST", path, {["Authorization"] = "Bearer " .. token}))
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function response(status, headers, body)
  if status == wanted_status and body:find(wanted_text, 1, true) then right = right + 1 else
    wrong = wrong + 1
    if wrong == 1 then first_wrong = status .. " " .. body:sub(1, 300) end
  end
end
function done(summary, latency, requests)
  for _, thread in ipairs(threads) do
    print("RIGHT " .. thread:get("right") .. " WRONG " .. thread:get("wrong") .. " " .. thread:get("first_wrong"))
  end
  local errors = summary.errors
  print("BROKEN " .. errors.connect + errors.read + errors.write + errors.timeout)
  print("MICROSECONDS " .. summary.duration)
end
"""


@dataclass(frozen=True, slots=True)
class Wrk:
    """`right` answers had the wanted status and text; `first_wrong` is one that hadn't."""

    right: int
    wrong: int
    broken: int
    seconds: float
    first_wrong: str

    @property
    def per_second(self) -> float:
        return self.right / self.seconds


async def run_wrk(url: str, requests: list[tuple[str, str]], wanted: tuple[int, str], seconds: int) -> Wrk:
    """`requests`: (path, token). `wanted`: status, and a text of the body. Raises RuntimeError when wrk fails."""
    with tempfile.TemporaryDirectory(prefix="nexkey-wrk-") as name:
        script, lines = Path(name) / "load.lua", Path(name) / "requests"
        script.write_text(SCRIPT, encoding="utf-8")
        lines.write_text("".join(f"{path} {token}\n" for path, token in requests), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url),
            *("--", str(lines), str(wanted[0]), wanted[1]),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds + SPARE_SECONDS):
                printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    return _read(printed.decode(errors="replace"))


def _read(printed: str) -> Wrk:
    told = re.search(r"^RIGHT (\d+) WRONG (\d+) ?(.*)$", printed, re.MULTILINE)
    broken, took = re.search(r"^BROKEN (\d+)", printed, re.MULTILINE), re.search(r"^MICROSECONDS (\d+)", printed, re.MULTILINE)
    if told is None or broken is None or took is None:
        raise RuntimeError(f"wrk said:\n{printed}")
    return Wrk(int(told[1]), int(told[2]), int(broken[1]), int(took[1]) / 1e6, told[3])
