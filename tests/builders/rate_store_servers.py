"""Real servers in which several hosts count requests, one a kind, with what can happen
to them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import psycopg

from ingest.rate_store.postgres_store import PostgresStore
from ingest.rate_store.redis_store import KEY_NAME, RedisStore
from ingest.rate_store.store import RateStore
from tests.builders import postgres, redis
from tests.builders.postgres_kinds import required
from tests.builders.processes import children


class RateStoreServer(NamedTuple):
    """`environ` is that of a `foldlog serve` which counts there, `host` the store of a
    worker, for a window in milliseconds.
    """

    environ: dict[str, str]
    host: Callable[[int], RateStore]
    dump: Callable[[], bytes]  # every name and count
    entries: Callable[[], int]  # how many clients there are
    forget_key: Callable[[], None]
    stand_still: Callable[[], None]
    go_on: Callable[[], None]
    kill: Callable[[], None]
    start: Callable[[], None]


@contextmanager
def redis_server() -> Iterator[RateStoreServer]:
    with redis.running() as server:

        def names() -> list[bytes]:
            with server.client() as client:
                return [name for name in client.keys("*") if name != KEY_NAME.encode()]

        def forget_key() -> None:
            with server.client() as client:
                client.delete(KEY_NAME)

        yield RateStoreServer(
            environ={"FOLDLOG_RATE_STORE": server.url},
            host=partial(RedisStore, server.url),
            dump=server.dump,
            entries=lambda: len(names()),
            forget_key=forget_key,
            stand_still=server.stand_still,
            go_on=server.go_on,
            kill=server.kill,
            start=server.start,
        )


@contextmanager
def postgres_server(kind: str) -> Iterator[RateStoreServer]:
    with postgres.running(required(kind), quick=True) as server:

        def execute(statement: bytes) -> list[tuple[Any, ...]]:
            with psycopg.connect(server.url) as connection:
                cursor = connection.execute(statement)
                return cursor.fetchall() if cursor.description else []

        def dump() -> bytes:
            return repr(execute(b"SELECT * FROM analytics_rate")).encode()

        def stand_still() -> None:
            os.kill(server.pid, signal.SIGSTOP)  # first: it makes no child, and none disappears
            os.waitid(os.P_PID, server.pid, os.WSTOPPED)
            for pid in children(server.pid):
                os.kill(pid, signal.SIGSTOP)

        def go_on() -> None:
            for pid in (*children(server.pid), server.pid):
                os.kill(pid, signal.SIGCONT)

        yield RateStoreServer(
            environ={"FOLDLOG_RATE_STORE": "postgres", "DATABASE_URL": server.url, "FOLDLOG_STORE": "file"},
            host=partial(PostgresStore, server.url),
            dump=dump,
            entries=lambda: int(execute(b"SELECT count(*) FROM analytics_rate")[0][0]),
            forget_key=lambda: execute(b"DELETE FROM analytics_rate_key").clear(),
            stand_still=stand_still,
            go_on=go_on,
            kill=server.kill,
            start=server.start,
        )


KINDS: dict[str, Callable[[], AbstractContextManager[RateStoreServer]]] = {
    "redis": redis_server,
    "postgres": partial(postgres_server, "packaged"),
    "postgres of the system": partial(postgres_server, "system"),
}
