"""The floor of parsing: the bodies that the load generator sends, decoded as
ingest/collect/body.py decodes them, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import msgspec

from ingest.collect.event import Batch
from tests.bench.load import make_requests


def decode_seconds(bodies: list[bytes], events: int) -> float:
    """Seconds to decode every body. Raises AssertionError unless `events` events came
    out of them.
    """
    decode = msgspec.json.Decoder(Batch).decode
    decoded = 0
    started = time.perf_counter()
    for body in bodies:
        decoded += len(decode(body).events)
    seconds = time.perf_counter() - started
    if decoded != events:
        raise AssertionError(f"{events} events were in the bodies, {decoded} were decoded")
    return seconds


def main() -> None:
    """In a process of its own, so that neither the heap nor the collector of another
    measurement has a part in it.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    requests = make_requests(given.requests, given.events, 80, given.seed)
    bodies = [request.partition(b"\r\n\r\n")[2] for request in requests]
    sys.stdout.write(json.dumps({"seconds": decode_seconds(bodies, given.requests * given.events)}))


if __name__ == "__main__":
    main()
