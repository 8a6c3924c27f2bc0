"""A load generator in a process of its own: keep-alive connections to 127.0.0.1, each
sending its next request on the answer.

Requests are made before the clock starts. Prints one JSON line: seconds, answers by
status, latencies in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator

import orjson
import uvloop

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"


def make_event(number: int, pick: random.Random) -> dict[str, object]:
    """An event as a page sends it, about 250 bytes."""
    return {
        "name": pick.choice(("pageview", "pageview", "pageview", "signup", "click")),
        "id": uuid.UUID(int=pick.getrandbits(128)).hex,
        "time": int(time.time() * 1000) - pick.randrange(60_000),
        "visitor": f"v{pick.randrange(20_000):08d}",
        "url": f"http://127.0.0.1/articles/{pick.randrange(2_000)}?utm_source=news",
        "referrer": "https://www.example.org/search",
        "props": {"plan": pick.choice(("free", "pro")), "step": number % 7},
    }


def make_requests(count: int, events: int, port: int, seed: int) -> list[bytes]:
    """Whole HTTP requests, headers as a browser sends them."""
    pick = random.Random(seed)
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        f"Sec-Fetch-Site: same-origin\r\nUser-Agent: {AGENT}\r\nAccept-Language: de-DE,de;q=0.9\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    )
    made = []
    for number in range(count):
        batch = {"events": [make_event(number, pick) for _ in range(events)], "consent": "granted"}
        body = orjson.dumps(batch)
        made.append(f"{head}{len(body)}\r\n\r\n".encode("ascii") + body)
    return made


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, requests: Iterator[bytes], statuses: Counter[int], latencies: list[float]) -> None:
        self._requests = requests
        self._statuses = statuses
        self._latencies = latencies
        self._buffer = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._buffer = b""
        self._statuses[int(head[9:12])] += 1
        self._latencies.append(time.perf_counter() - self._sent_at)
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the server closed the connection"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]


async def run(port: int, connections: int, requests: list[bytes]) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    queue = iter(requests)
    started = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Connection(queue, statuses, latencies), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.wait_for(asyncio.gather(*[connection.done for _, connection in made]), 120)
    seconds = time.perf_counter() - started
    latencies.sort()
    at = {f"p{p}": round(latencies[min(len(latencies) - 1, int(len(latencies) * p / 100))] * 1000, 3) for p in (50, 99)}
    return {"seconds": seconds, "statuses": {str(k): v for k, v in statuses.items()}, **at}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--events", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    requests = make_requests(given.requests, given.events, given.port, given.seed)
    sys.stdout.write(json.dumps(uvloop.run(run(given.port, given.connections, requests))) + "\n")


if __name__ == "__main__":
    main()
