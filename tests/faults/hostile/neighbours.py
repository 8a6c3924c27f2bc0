"""Honest clients beside an attack: twenty addresses that post single events at a steady
pace, in a process of their own, so that no attacker holds them up but through the
server.

Each is sent when it is due, whether or not the one before it was answered, and its time
counts from then. A refused or unanswered event is sent again with the same id, as pages
do.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

ADDRESSES = 20
EVERY_S = 0.5  # below every limit of an address
GIVE_UP_S = 60.0
WARMUP_S = 0.5


class Felt(NamedTuple):
    """What the neighbours felt: p95 in milliseconds before and during an attack, the
    ids that were acknowledged, and their answers by status.
    """

    quiet_ms: float
    during_ms: float
    acknowledged: frozenset[str]
    statuses: dict[str, int]


class Neighbours:
    """The process, steered from here."""

    def __init__(self, port: int) -> None:
        command = [sys.executable, "-m", "tests.faults.hostile.neighbours", str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(WARMUP_S)

    def begin(self) -> None:
        """From here on the attack runs."""
        assert self._process.stdin
        self._process.stdin.write("during\n")
        self._process.stdin.flush()

    def end(self) -> Felt:
        output, _ = self._process.communicate(timeout=GIVE_UP_S * 2)
        told = json.loads(output)
        ids = frozenset(told["acknowledged"])
        return Felt(p95(told["quiet"]), p95(told["during"]), ids, told["statuses"])

    def kill(self) -> None:
        """Where the attack failed before `end`."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def p95(latencies_s: list[float]) -> float:
    return statistics.quantiles(latencies_s, n=20)[18] * 1000 if len(latencies_s) > 1 else 0.0


class _Tally:
    """What all neighbours have seen so far."""

    def __init__(self) -> None:
        self.phase = "quiet"
        self.stopped = False
        self.latencies: dict[str, list[float]] = {"quiet": [], "during": []}
        self.acknowledged: list[str] = []
        self.statuses: Counter[str] = Counter()


async def _live(port: int) -> None:
    tally = _Tally()
    loop = asyncio.get_running_loop()
    living = [asyncio.create_task(_Neighbour(port, number, tally).live()) for number in range(ADDRESSES)]
    while await loop.run_in_executor(None, sys.stdin.readline):
        tally.phase = "during"
    tally.stopped = True
    await asyncio.gather(*living)
    print(json.dumps({**tally.latencies, "acknowledged": tally.acknowledged, "statuses": tally.statuses}))


class _Neighbour:
    """One address, one keep-alive connection."""

    def __init__(self, port: int, number: int, tally: _Tally) -> None:
        self._port, self._number, self._tally = port, number, tally
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def live(self) -> None:
        due, sent = time.perf_counter() + EVERY_S * self._number / ADDRESSES, 0
        while not self._tally.stopped:
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            phase = self._tally.phase
            await self._send_until_taken(f"neighbour-{self._number:02d}-{sent:05d}")
            self._tally.latencies[phase].append(time.perf_counter() - due)
            due, sent = due + EVERY_S, sent + 1
        self._close()

    async def _send_until_taken(self, id_: str) -> None:
        for _ in range(20):
            try:
                async with asyncio.timeout(GIVE_UP_S):
                    status = await self._send(id_)
            except (OSError, EOFError, TimeoutError) as error:
                status = type(error).__name__
                self._close()
            self._tally.statuses[status] += 1
            if status == "200":
                self._tally.acknowledged.append(id_)
                return
            await asyncio.sleep(0.1)

    async def _send(self, id_: str) -> str:
        if self._streams is None:
            local = (f"127.0.1.{self._number + 1}", 0)
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, local_addr=local)
        reader, writer = self._streams
        event = {"name": "neighbour", "id": id_, "url": f"https://example.com/{self._number}"}
        body = json.dumps({"events": [event], "consent": "granted"}).encode()
        host = f"127.0.0.1:{self._port}"
        writer.write(
            f"POST /v1/events HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n"
            f"User-Agent: Mozilla/5.0 Firefox/130.0\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n")[0]))
        if "connection: close" in head:
            self._close()
        return head[9:12]

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def measured(felt: Felt) -> dict[str, Any]:
    return felt._asdict() | {"acknowledged": len(felt.acknowledged)}


if __name__ == "__main__":
    asyncio.run(_live(int(sys.argv[1])))
