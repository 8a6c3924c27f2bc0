"""All counters in one JSON file, which each request writes anew: beside it, fsync,
rename, fsync the directory.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import uvloop

from shared.disk.durable import publish
from tests.bench.baselines.server import DIMENSIONS, Counted, serve


class Summary:
    """The counters in memory: {dimension: {"day value": events}}, and the visitors of
    each day.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counters: dict[str, Counter[str]] = {name: Counter() for name in (*DIMENSIONS, "visitor")}

    def write(self, event: Counted) -> None:
        day = event.day.isoformat()
        for name, counter in self._counters.items():
            counter[f"{day} {getattr(event, name)}"] += 1
        publish(self._path, orjson.dumps(self._counters))


async def run(port: int, path: Path) -> None:
    loop, summary = asyncio.get_running_loop(), Summary(path)
    with ThreadPoolExecutor(1) as thread:

        async def count(event: Counted) -> None:
            await loop.run_in_executor(thread, summary.write, event)

        await serve(port, count)


def sums(path: Path) -> dict[str, int]:
    """How many events are counted, by each dimension."""
    counters = orjson.loads(path.read_bytes())
    return {name: sum(counters[name].values()) for name in DIMENSIONS}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", type=Path, required=True)
    given = parser.parse_args()
    uvloop.run(run(given.port, given.path))


if __name__ == "__main__":
    main()
