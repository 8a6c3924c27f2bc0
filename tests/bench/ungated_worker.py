"""An ingest worker with the gate taken out, to be compared with one that has it
(tests/bench/gate_cost.py). It lets everybody write.

What is out: who the client is (Proxies.identify), everything that the head decides
(admission.admit and the look at the key), the rate limit with the watch for an
undeclared proxy (worker.count_request, worker.count_events), the checks of the disk and
the queue, and the stats (worker.count, stats.answered). Each is answered by a constant;
the calls themselves stay, about 0.5 µs a request. What stays whole: aiohttp, routing,
reading and decoding the body, consent given in the batch, validation, lines, the
durable append.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from foldlog.cli import main
from ingest.collect import admission
from ingest.collect.admission import BodyFormat, Sender
from ingest.collect.body import JSON
from ingest.context import WorkerContext
from ingest.http.auth import Keyring
from ingest.http.client_address import Client, Proxies
from shared.worker_stats import WorkerStats

HOST = "127.0.0.1"
BODY_MAX_BYTES = 64 << 10


def take_out_the_gate() -> None:
    """From now on every request of this process is let in."""
    sender = Sender(HOST, keyed=False, cross_origin=False, body_max_bytes=BODY_MAX_BYTES, consent=None)
    patch.object(Proxies, "identify", always(Client(HOST, HOST, through_proxy=False))).start()
    patch.object(Keyring, "scopes", always(None)).start()
    patch.multiple(
        admission, admit=always((BodyFormat(JSON, None), sender)), check_disk=always(None), check_queue=always(None)
    ).start()
    patch.multiple(WorkerContext, disk_free_bytes=always(None), record_request=always(None)).start()
    patch.multiple(WorkerContext, count_request=let_in, count_events=let_in).start()
    patch.object(WorkerStats, "record_response", always(None)).start()


async def let_in(_worker: WorkerContext, *_given: object, **_named: object) -> None:
    """The rate limit of a worker without a gate."""


def always(value: Any) -> Callable[..., Any]:
    """A function that gives this value, whatever it is asked."""
    return lambda *_given, **_named: value


if __name__ == "__main__":
    take_out_the_gate()
    sys.exit(main(["ingest"]))
